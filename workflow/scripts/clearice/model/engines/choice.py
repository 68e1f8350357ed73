"""The engines by the names that config.yaml gives them, and which is fastest for a training."""

import sys

import torch

from clearice.model.engines.autograd import Autograd
from clearice.model.engines.cuda_cnn import CudaCNN, obstacle_to_cuda
from clearice.model.engines.cuda_compiler import CudaError
from clearice.model.networks import SimpleCNN

ENGINES = ("cuda", "compiled", "pytorch")
# Batches of 4 x 1024 x 1024 px from which on a compilation earns back the minute that it takes.
_COMPILED_FROM_BATCHES = 20_000


def build_engine(name, network, device, precision, images=torch.float32):
    """Return the Engine of that name (one of ENGINES) for `network`, moved to `device`.

    pytorch: PyTorch's own operations. compiled: the same, fused by torch.compile. cuda: kernels
    of ours, for simple_cnn on an NVIDIA GPU, compiled for `images` of that type at once. Where
    these cannot be had, a line says why, and the engine is PyTorch's.
    """
    network = network.to(device)
    if name == "cuda":
        reason = obstacle_to_cuda(network, device, precision)
        try:
            if reason is None:
                return CudaCNN(network, precision, images)
        except CudaError as error:
            reason = str(error).splitlines()[0]
        print(f"engine cuda: {reason}; PyTorch is used", file=sys.stderr, flush=True)
        name = "pytorch"
    return Autograd(network, device, precision, compiled=name == "compiled")


def fastest_engine(network, device, precision, trained_px, *, deterministic):
    """Return the name of the engine that trains `network` on `trained_px` pixels fastest.

    Where the CUDA engine would be but for this installation or this GPU, a line says why.
    """
    if type(network) is SimpleCNN and device.type == "cuda" and precision != "tf32":
        reason = obstacle_to_cuda(network, device, precision)
        if reason is None:
            return "cuda"
        print(f"not the faster engine cuda: {reason}", file=sys.stderr, flush=True)
    worth_compiling = trained_px >= _COMPILED_FROM_BATCHES * 4 * 1024**2
    if worth_compiling and device.type == "cuda" and not deterministic:
        return "compiled"
    return "pytorch"
