"""The memory of a training: how much it took, how it is kept, and what to do when it is short."""

import contextlib
import ctypes

import torch

from clearice.errors import InputError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc, malloc.h


def peak_host_mib():
    """Return this process's largest resident set so far (MiB), pinned buffers included.

    VmHWM and not getrusage: ru_maxrss survives exec, so that a child inherits its parent's.
    """
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None


def peak_device_mib(device):
    """Return the largest amount of device memory held so far (MiB); None on a CPU.

    What is reserved and not what is allocated: the latter leaves out the pools of CUDA graphs.
    """
    return torch.cuda.max_memory_reserved(device) / 2**20 if device.type == "cuda" else None


def keep_freed_memory():
    """Let freed activations stay in the process, for the next step to use.

    glibc returns large blocks to the kernel at every free, and a training on a CPU then spends
    up to 40 % of its time in page faults. Without glibc nothing is changed.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def return_freed_memory():
    """Let freed activations go back to the kernel at once: the opposite, for a small peak.

    Otherwise glibc keeps a hundred MiB of s2d_unet's. It costs page faults, about a third of the
    time on a CPU. Without glibc nothing is changed.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 20)


@contextlib.contextmanager
def memory_explained(settings, patch_size_px, device):
    """Turn a failed allocation inside into an InputError that says what to lower."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; a CPU's has no type of its own
        first = (str(error).splitlines() or [""])[0]
        if not isinstance(error, torch.OutOfMemoryError) and not any(
            words in first.lower() for words in ("can't allocate memory", "out of memory")
        ):
            raise
        now = {"batch_size": settings["batch_size"], "patches.size_px": patch_size_px}
        advice = "lower " + " or ".join(f"{key} (now {value})" for key, value in now.items())
        if device.type == "cuda" and settings["precision"] in ("float32", "tf32"):
            advice += f", or precision (now {settings['precision']}) to bfloat16"
        raise InputError(
            "the GPU is out of memory" if device.type == "cuda" else "out of memory",
            found=first[:160],
            advice=advice,
        ) from None
