"""The kernels of a CudaCNN, compiled for its GPU when they are first needed."""

import dataclasses
import functools
import threading

import torch

from clearice.model.engines.cuda_blocks import Block, plane_block, training_block
from clearice.model.engines.cuda_compiler import CudaError, Kernel, Module, compile_cubin, gpu_of

_LOADING = threading.Lock()  # threads that ask at once wait for one compilation
# The types of their arguments, as Module.kernel takes them.
_TRAIN, _SUM_STRIPS, _TAKE_STEP = "pppppp" + "iiiiii", "pipf", "ppppppp" + "fifddf"
_DENOISE = "pppll" + "iiiii" + "ff"


@dataclasses.dataclass(frozen=True)
class TrainingKernels:
    """Those of cuda/train.cu for one type of images."""

    block: Block
    train: Kernel
    sum_strips: Kernel
    take_step: Kernel


class CudaKernels:
    """What is compiled for one precision and GPU so far; `device` has an index."""

    def __init__(self, precision, device):
        self._precision, self._device, self._gpu = precision, device, gpu_of(device)
        self._built = {}

    def training(self, dtype, layers=False):
        """Return the TrainingKernels for images of that type; with `layers` those that keep them.

        Raises CudaError where they cannot be had.
        """
        key = ("train", dtype, layers)
        if key not in self._built:
            block = training_block(self._precision, _is_half(dtype), self._gpu)
            module = self._module("train.cu", block, {"LAYERS": int(layers)})
            self._built[key] = TrainingKernels(
                block,
                module.kernel("train", _TRAIN + "p" * layers, block.shared_bytes),
                module.kernel("sum_strips", _SUM_STRIPS),
                module.kernel("take_step", _TAKE_STEP),
            )
        return self._built[key]

    def plane(self, dtype):
        """Return (Kernel, Block) of cuda/denoise.cu for planes of that type."""
        key = ("denoise", dtype)
        if key not in self._built:
            block = plane_block(self._precision, _is_half(dtype), self._gpu)
            module = self._module("denoise.cu", block, {})
            self._built[key] = module.kernel("denoise", _DENOISE, block.shared_bytes), block
        return self._built[key]

    def _module(self, name, block, macros):
        if block is None:
            raise CudaError(f"{self._gpu.block_bytes} bytes of shared memory per block: too few")
        capability = torch.cuda.get_device_capability(self._device)
        macros = tuple({**block.macros, **macros}.items())
        with _LOADING:
            return _loaded(name, macros, capability, self._device)


@functools.cache
def _loaded(name, macros, capability, device):
    """Return the Module of a source file; once per process, for engines that come and go."""
    return Module(compile_cubin(name, dict(macros), capability)[0], device)


def _is_half(dtype):
    if dtype not in (torch.float16, torch.float32):
        raise ValueError(f"images must be float16 or float32, not {dtype}")
    return dtype == torch.float16
