"""The engine that is PyTorch: its operations as they are, or compiled."""

import contextlib

import torch

from clearice.model.engines.contract import Engine

_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Autograd(Engine):
    """PyTorch's operations, in mixed precision for the 16-bit types.

    `compiled` fuses them by torch.compile, which takes a minute.
    """

    def __init__(self, network, device, precision, *, compiled=False):
        self.network, self._device = network.to(device), device
        self.name = "compiled" if compiled else "pytorch"
        self._dtype = _AUTOCAST.get(precision)
        if device.type == "cpu" or self._dtype is not None:
            # Seen to be faster: on a CPU by a fifth, on a GPU for the 16-bit types.
            network.to(memory_format=torch.channels_last)
        # float16 has no exponent to hold gradients of a mean over 10^6 pixels: they are scaled.
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
        if self.scaler.is_enabled():  # makes its state, which a process without patches needs too
            self.scaler.scale(torch.zeros((), device=device))
        self._error = _squared_error
        if compiled:
            mode = "max-autotune-no-cudagraphs"
            self._error = torch.compile(_squared_error, mode=mode, dynamic=False)

    def _mixed(self):
        if self._dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype, cache_enabled=False)

    def output(self, input_patches):
        with self._mixed():
            return self.network(input_patches)

    def squared_error(self, input_patches, target_patches, *, full=True):
        with self._mixed():  # an uneven batch is not worth a compilation of its own
            error = self._error if full else _squared_error
            return error(self.network, input_patches, target_patches)

    def error_and_gradients(self, input_patches, target_patches, pixels, *, full=True):
        error = self.squared_error(input_patches, target_patches, full=full)
        self.scaler.scale(error / pixels).backward()
        return error.detach()


def _squared_error(network, input_patches, target_patches):
    output = network(input_patches)  # (N, 1, H, W)
    target_patches = network.within_reach(target_patches, input_patches)
    return torch.nn.functional.mse_loss(output.float(), target_patches, reduction="sum")
