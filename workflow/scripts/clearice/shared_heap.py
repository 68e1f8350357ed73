"""One heap for all threads of a process: what one frees another can use."""

import ctypes
import sys

_M_ARENA_MAX = -8  # glibc's malloc.h


def share_heap():
    """Let threads that start from now on allocate in one heap; only with glibc.

    Each thread would else keep the largest arrays that it has freed, and the peak is their sum.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)
