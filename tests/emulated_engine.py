"""The CUDA engine's rules in PyTorch on a CPU: its optimizer and its limited range."""

import ctypes

import torch

from clearice.model.engines.autograd import Autograd
from clearice.model.engines.contract import PlaneEngine, SteppingEngine
from clearice.model.engines.cuda_optimizer import KernelOptimizer
from clearice.model.epochs import turn


class EmulatedEngine(SteppingEngine):
    """What CudaCNN promises, step by step as its kernel take_step; pixels end at `limit`."""

    name = "cuda"
    may_be_captured = False
    has_limited_range = True

    def __init__(self, network, limit=float("inf")):
        self.network, self._limit, self.device = network, limit, torch.device("cpu")
        self._exact = Autograd(network, self.device, "float32")
        self.scaler = self._exact.scaler
        self._parameters = list(network.parameters())
        self._error, self._stopped = torch.zeros(()), False
        self.steps_asked = 0

    def output(self, input_patches):
        return self._exact.output(input_patches)

    def squared_error(self, input_patches, target_patches, *, full=True):
        error = self._exact.squared_error(input_patches, target_patches)
        return error if self._holds(input_patches) else error * float("nan")

    def error_and_gradients(self, input_patches, target_patches, pixels, *, full=True):
        self.zero_gradients()
        self._error = self._exact.error_and_gradients(input_patches, target_patches, pixels)
        if not self._holds(input_patches):
            self._parameters[0].grad[:] = float("inf")
        return self.take_step(None)

    def fused_optimizer(self, name, learning_rate):
        return KernelOptimizer(self, name, learning_rate)

    def step(self, input_patches, target_patches, pixels, optimizer):
        self.error_and_gradients(input_patches, target_patches, pixels)
        return self.take_step(optimizer, pixels)

    def zero_gradients(self):
        for parameter in self._parameters:
            parameter.grad = torch.zeros_like(parameter)

    @torch.no_grad()
    def take_step(self, optimizer, pixels=1):
        self.steps_asked += optimizer is not None
        gradients = torch.cat([p.grad.reshape(-1) for p in self._parameters])
        if self._stopped or not torch.isfinite(gradients).all():
            self._stopped = self._stopped or optimizer is not None
            return torch.tensor(float("nan"))
        if optimizer is not None:
            kind, rate, beta1, beta2, epsilon = optimizer.hyperparameters()
            change = gradients
            if kind == 1:
                optimizer.steps += 1
                count = float(optimizer.steps)
                optimizer.means.lerp_(gradients, 1 - beta1)
                optimizer.squares.mul_(beta2).addcmul_(gradients, gradients, value=1 - beta2)
                root = optimizer.squares.sqrt() / (1 - beta2**count) ** 0.5
                change = optimizer.means / (1 - beta1**count) / (root + epsilon)
            parts = change.split([p.numel() for p in self._parameters])
            for parameter, part in zip(self._parameters, parts, strict=True):
                parameter -= rate * part.view_as(parameter)
        return self._error / pixels

    def _holds(self, patches):
        return bool(patches.abs().max() <= self._limit)


class TableEngine(EmulatedEngine, PlaneEngine):
    """It also reads patches by their addresses in planes, as the kernels do."""

    def squared_error_of_table(self, table, size_px, dtype):
        return self.squared_error(*_read(table, size_px, dtype))

    def error_and_gradients_of_table(self, table, size_px, pixels, dtype):
        return self.error_and_gradients(*_read(table, size_px, dtype), pixels)

    def step_of_table(self, table, size_px, pixels, optimizer, dtype):
        return self.step(*_read(table, size_px, dtype), pixels, optimizer)


def _read(table, size_px, dtype):
    """Return (N, 1, size_px, size_px) float32 inputs and targets."""
    sides = [[], []]
    for *addresses, stride, code in table.tolist():
        count = (size_px - 1) * stride + size_px
        for address, side in zip(addresses, sides, strict=True):
            memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
            pixels = torch.frombuffer(memory, dtype=dtype)
            patch = pixels.as_strided((1, size_px, size_px), (0, stride, 1))
            side.append(turn(patch, code).float())
    return [torch.stack(side).contiguous() for side in sides]
