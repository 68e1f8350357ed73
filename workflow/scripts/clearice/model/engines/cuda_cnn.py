"""simple_cnn's error, gradients and output in CUDA kernels of ours, on tensor cores.

The kernels are in cuda/, the reasons in their headers, the limits in docs/engine.md. Nothing but
images, sums and weights is in device memory; sums are added in a fixed order, so that repeats
are equal to the last bit.

    float32   two float16 per value, three products: errors of a float32 code
    float16, bfloat16   one 16-bit number per value

Sums are float32 in all. Values beyond 65504 (float32, float16) have no float16: the error is
then NaN, the step is not taken, nor is any after it, and the training goes on with PyTorch.
"""

import math

import torch

from clearice.model.engines.contract import PlaneEngine
from clearice.model.engines.cuda_blocks import (
    PLANE_ROWS,
    PLANE_STRIP_PX,
    PRECISIONS,
    STRIP_PX,
    SUM_COLUMNS,
    SUM_THREADS,
    SUMS,
    SUMS_STRIDE,
    TRAINING_ROWS,
    WEIGHTS,
    divide,
)
from clearice.model.engines.cuda_compiler import obstacle
from clearice.model.engines.cuda_kernels import CudaKernels
from clearice.model.engines.cuda_optimizer import NO_STEP, KernelOptimizer
from clearice.model.networks import SimpleCNN

_STEP_THREADS = 1024  # as in cuda/reduction.cuh


def obstacle_to_cuda(network, device, precision):
    """Return in words why CudaCNN cannot compute `network` on `device`, None if it can."""
    if type(network) is not SimpleCNN:
        return "it computes simple_cnn alone"
    if device.type != "cuda" or torch.version.cuda is None:
        return "it needs an NVIDIA GPU"
    if precision not in PRECISIONS:
        return f"it does not compute in {precision}"
    return obstacle(torch.cuda.get_device_capability(device))


class CudaCNN(PlaneEngine):
    """A SimpleCNN on an NVIDIA GPU; `precision` is float32, float16 or bfloat16.

    The parameters of `network`, which is on the GPU, become views of one block of memory. The
    kernels of a training on `images` of that type are compiled at once, None for none of them;
    others when they are first needed. Raises CudaError where that fails.
    """

    name = "cuda"
    may_be_captured = False  # three launches: a graph would copy its batch to save nothing

    def __init__(self, network, precision, images=torch.float32):
        self.network = network
        self.has_limited_range = precision != "bfloat16"
        self._parameters = list(network.parameters())
        device = self._parameters[0].device
        self.device = torch.device("cuda", device.index or 0)
        self._kernels = CudaKernels(precision, self.device)
        self.scaler = torch.amp.GradScaler(enabled=False)
        with torch.no_grad():
            self._weights = torch.cat([p.detach().reshape(-1) for p in self._parameters])
            # Of the gradients' batch, and of others: an evaluation leaves gradients as they are.
            self._sums, self._other_sums = torch.zeros(2, SUMS, device=device)
        parts = [p.numel() for p in self._parameters]
        for parameter, view in zip(self._parameters, self._weights.split(parts), strict=True):
            parameter.data = view.view_as(parameter)
        views = self._sums[:WEIGHTS].split(parts)
        self._gradients = [v.view_as(p) for v, p in zip(views, self._parameters, strict=True)]
        self._stopped = torch.zeros((), dtype=torch.int32, device=device)
        self._partial = torch.empty(0, SUMS_STRIDE, device=device)
        self._training = None if images is None else self._kernels.training(images)

    @torch.no_grad()
    def output(self, input_patches):
        output = torch.empty_like(input_patches)
        self._add_up(input_patches, input_patches, None, output)
        return output

    @torch.no_grad()
    def squared_error(self, input_patches, target_patches, *, full=True):
        self._add_up(input_patches, target_patches)
        return self._error(self._other_sums)

    @torch.no_grad()
    def error_and_gradients(self, input_patches, target_patches, pixels, *, full=True):
        self._add_up(input_patches, target_patches, 2 / pixels)
        return self._judged()

    def fused_optimizer(self, name, learning_rate):
        return KernelOptimizer(self, name, learning_rate)

    @torch.no_grad()
    def step(self, input_patches, target_patches, pixels, optimizer):
        self._add_up(input_patches, target_patches, 2 / pixels)
        return self.take_step(optimizer, pixels)

    # ---- patches of whole planes, by address (planes/patch_tables.py)

    @torch.no_grad()
    def squared_error_of_table(self, table, size_px, dtype):
        self._add_up_table(table, size_px, None, dtype)
        return self._error(self._other_sums)

    @torch.no_grad()
    def error_and_gradients_of_table(self, table, size_px, pixels, dtype):
        self._add_up_table(table, size_px, 2 / pixels, dtype)
        return self._judged()

    @torch.no_grad()
    def step_of_table(self, table, size_px, pixels, optimizer, dtype):
        self._add_up_table(table, size_px, 2 / pixels, dtype)
        return self.take_step(optimizer, pixels)

    # ---- whole planes

    def prepare_planes(self, dtype=torch.float32):
        """Compile what denoise_plane needs, so that a CudaError is raised here if anywhere."""
        self._kernels.plane(dtype)

    @torch.no_grad()
    def denoise_plane(self, image, output, scale=1.0, offset=0.0):
        """Write network(image) * scale + offset into `output`; both (H, W) on the GPU.

        `image` is float16 or float32, `output` float32; rows may lie further apart than W. What
        a value beyond the precision's range has touched becomes NaN. Nothing waits for the GPU.
        """
        height, width = image.shape
        if output.dtype != torch.float32 or output.shape != image.shape:
            raise ValueError("the output of a plane must be float32, and of the plane's size")
        if image.stride(1) != 1 or output.stride(1) != 1:
            raise ValueError("the pixels of a plane's row must lie beside each other")
        kernel, block = self._kernels.plane(image.dtype)
        parts = divide(1, height, width, PLANE_STRIP_PX, block.units_at_once, PLANE_ROWS)
        kernel(
            -(-parts.units // block.units),
            block.threads,
            image.data_ptr(),
            output.data_ptr(),
            self._weights.data_ptr(),
            image.stride(0),
            output.stride(0),
            height,
            width,
            parts.strips,
            parts.segments,
            parts.rows,
            scale,
            offset,
        )

    # ---- to look inside

    @torch.no_grad()
    def layers(self, input_patches):
        """Return what conv1 and conv2 put out before relu, (N, 16, H, W) each."""
        count, _, height, width = input_patches.shape
        layers = torch.empty(count, 2, 16, height, width, device=input_patches.device)
        self._add_up(input_patches, input_patches, layers=layers)
        return layers[:, 0], layers[:, 1]

    # ---- what the above is made of

    def zero_gradients(self):
        """Set all gradients to zero: those of a batch without patches."""
        self._sums.zero_()
        self._show_gradients()

    def take_step(self, optimizer, pixels=1):
        """Take the step of a KernelOptimizer with the gradients; return the error by `pixels`.

        That is a scalar, and NaN where a sum is not finite, or was in a step before: then no
        weight has changed since.
        """
        blocks = [b.data_ptr() for b in (optimizer.means, optimizer.squares, optimizer.steps)]
        return self._error(self._sums, blocks, 1 / pixels, optimizer.hyperparameters())

    def _judged(self):
        """Return the error, and let the parameters have their gradients."""
        self._show_gradients()
        return self._error(self._sums)

    def _error(self, sums, blocks=(None,) * 3, scale=1.0, step=(NO_STEP, 0.0, 0.0, 0.0, 0.0)):
        """Return the error in `sums` times `scale`; take a `step` with what else is in them."""
        error = torch.empty((), device=self.device)
        kernels = self._training or self._kernels.training(torch.float32)
        addresses = (sums.data_ptr(), self._weights.data_ptr(), *blocks)
        to = (self._stopped.data_ptr(), error.data_ptr())
        kernels.take_step(1, _STEP_THREADS, *addresses, *to, scale, *step)
        return error

    def _show_gradients(self):
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient

    def _add_up(self, inputs, targets, scale=None, output=None, layers=None):
        """Compute the sums of patches (N, 1, H, W) float32, gradients times `scale`.

        With a scale of None they are not the gradients' batch, and go to the other sums.
        """
        for patches in (inputs, targets):
            if patches.dtype != torch.float32 or not patches.is_contiguous():
                raise ValueError("patches must be contiguous and float32")
        kernels = self._kernels.training(torch.float32, layers is not None)
        addresses = (None, inputs.data_ptr(), targets.data_ptr())
        count, _, height, width = inputs.shape
        self._launch(kernels, addresses, (count, height, width), scale, output, layers)

    def _add_up_table(self, table, size_px, scale, dtype):
        _require_table(table, self.device)
        kernels = self._kernels.training(dtype)
        addresses = (table.data_ptr(), None, None)
        self._launch(kernels, addresses, (len(table), size_px, size_px), scale)

    def _launch(self, kernels, addresses, size, scale, output=None, layers=None):
        self._training, block = kernels, kernels.block
        parts = divide(*size, STRIP_PX, block.units_at_once, TRAINING_ROWS)
        if len(self._partial) < parts.units:
            self._partial = torch.empty(parts.units, SUMS_STRIDE, device=self.device)
        partial, weights = self._partial.data_ptr(), self._weights.data_ptr()
        to = None if output is None else output.data_ptr()
        extra = [] if layers is None else [layers.data_ptr()]
        division = (parts.strips, parts.segments, parts.rows)
        blocks = -(-parts.units // block.units)
        kernels.train(
            blocks, block.threads, *addresses, partial, weights, to, *size, *division, *extra
        )
        columns = math.ceil(SUMS / SUM_COLUMNS)
        sums = (self._other_sums if scale is None else self._sums).data_ptr()
        kernels.sum_strips(columns, SUM_THREADS, partial, parts.units, sums, scale or 1.0)


def _require_table(table, device):
    """Raise ValueError unless `table` has the shape, type and device of one."""
    found = (*table.shape[1:], table.dtype, table.device, table.is_contiguous())
    if found != (4, torch.int64, device, True):
        raise ValueError(
            f"not a patch table, a contiguous (N, 4) int64 tensor on {device}, but "
            f"{tuple(table.shape)} {table.dtype} on {table.device}"
        )
