"""The device that a network runs on, and the precision of this process."""

import os
import sys

import torch

from clearice.errors import InputError

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")  # that a network trains in


def choose_device(name="auto"):
    """Return the torch.device that `name` (auto | cpu | cuda | cuda:N) stands for here.

    Raises InputError for a GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    device = torch.device(name)
    if device.type == "cpu":
        return device
    index, count = device.index or 0, torch.cuda.device_count()
    if index >= count:
        raise InputError(
            "no such GPU",
            expected=f"a device below cuda:{count}" if count else "cpu or auto (there is no GPU)",
            found=name,
            advice="set device to auto",
        )
    return torch.device("cuda", index)


def set_precision(precision, deterministic=False):
    """Set this process's precision and return what was set, for the record, as a flat dict.

    float32 means IEEE float32: PyTorch would run convolutions in TF32 (10 bits of mantissa)
    unless told not to, and its newer `fp32_precision` alone does not reach cudnn.conv, so both
    are set. bfloat16 and float16 are mixed precision: weights, loss and what autocast does not
    touch stay float32. `deterministic` makes repeats on one machine bit-equal.
    """
    if precision not in PRECISIONS:
        raise InputError("unknown precision", expected=" | ".join(PRECISIONS), found=precision)
    tf32 = precision == "tf32"
    torch.backends.fp32_precision = "tf32" if tf32 else "ieee"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.deterministic = deterministic
    if deterministic:  # cuBLAS reads it when its first handle is made
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    set_deterministic(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a pass over every new tensor
    return {
        "precision": precision,
        "deterministic": deterministic,
        "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "cudnn.conv.fp32_precision": torch.backends.cudnn.conv.fp32_precision,
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
    }


def set_deterministic(deterministic):
    """Let PyTorch's operations repeat to the bit or fail, as torch.use_deterministic_algorithms.

    That function imports the compiler to tell it as well: seconds and 70 MiB in every process. A
    process that has the compiler already asks it to.
    """
    if "torch._inductor.config" in sys.modules:
        torch.use_deterministic_algorithms(deterministic)
    else:
        torch._C._set_deterministic_algorithms(deterministic, warn_only=False)
