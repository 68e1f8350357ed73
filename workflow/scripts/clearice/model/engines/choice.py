"""The engines by the names that config.yaml gives them, and which is fastest for a training."""

import importlib.util

import torch

from clearice.model.engines.autograd import Autograd
from clearice.model.networks import SimpleCNN

ENGINES = ("triton", "compiled", "pytorch")
# Batches of 4 x 1024 x 1024 px from which on a compilation earns back the minute that it takes.
_COMPILED_FROM_BATCHES = 20_000


def build_engine(name, network, device, precision):
    """Return the Engine of that name (one of ENGINES) for `network`, moved to `device`.

    pytorch: PyTorch's own operations. compiled: the same, fused by torch.compile. triton: kernels
    of ours, for simple_cnn on an NVIDIA GPU.
    """
    if name == "triton":
        from clearice.model.engines.triton_cnn import TritonCNN  # comes with PyTorch for GPUs alone

        return TritonCNN(network.to(device), precision)
    return Autograd(network, device, precision, compiled=name == "compiled")


def fastest_engine(network, device, trained_px, *, deterministic):
    """Return the name of the engine that trains `network` on `trained_px` pixels fastest."""
    if triton_can(network, device):
        return "triton"
    worth_compiling = trained_px >= _COMPILED_FROM_BATCHES * 4 * 1024**2
    if worth_compiling and device.type == "cuda" and not deterministic:
        return "compiled"
    return "pytorch"


def triton_can(network, device):
    """Say whether the Triton kernels can compute this network on this device."""
    return (
        type(network) is SimpleCNN
        and device.type == "cuda"
        and torch.version.cuda is not None
        and torch.cuda.get_device_capability(device) >= (8, 0)
        and importlib.util.find_spec("triton") is not None
    )
