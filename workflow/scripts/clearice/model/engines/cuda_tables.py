"""Patch tables: patches of whole planes by address, for the CUDA engine.

A table is (N, 4) int64 on the GPU, a row per patch:

    0  address of the input's first pixel (bytes)
    1  address of the target's first pixel
    2  elements from row to row, of both planes
    3  how the patch is turned: 0 to 7, the lower three bits of epochs.epoch_codes

A patch is size_px x size_px pixels of a plane, from its first pixel (its upper left one, as the
plane lies) on, whatever the turn. The kernels read it as it lies and turn the network's taps
instead, which gives the error and the gradients of epochs.turned(patch): code bit 0 transposes,
then bit 1 flips rows, then bit 2 flips columns. epochs.SWAP is no turn: it exchanges columns 0
and 1. All planes of a table have one type, float16 or float32, and whoever makes a table keeps
the planes' memory until the work on it has ended. Every pixel of a patch must lie in its plane:
nothing checks that.
"""

import torch

from clearice.errors import InputError
from clearice.model.epochs import SWAP

COLUMNS = 4


def patch_table(inputs, targets, places, codes):
    """Return a table, (N, 4) int64 on the planes' device; codes may have the bit SWAP.

    `inputs` and `targets` are lists of N planes (H, W), the target of one stride with its input;
    `places` are (y, x) of the patches' first pixels.
    """
    rows = []
    for image, target, (y, x), code in zip(inputs, targets, places, codes, strict=True):
        if image.stride() != target.stride() or image.stride(1) != 1:
            raise InputError("input and target planes lie differently in memory")
        offset = (y * image.stride(0) + x) * image.element_size()
        pair = image.data_ptr() + offset, target.data_ptr() + offset
        pair = pair[::-1] if code & SWAP else pair
        rows.append([*pair, image.stride(0), int(code) % SWAP])
    return torch.tensor(rows, dtype=torch.int64, device=inputs[0].device)


def require_table(table, device):
    """Raise InputError unless `table` has the shape, type and device of one."""
    found = (*table.shape[1:], table.dtype, table.device, table.is_contiguous())
    if found != (COLUMNS, torch.int64, device, True):
        raise InputError(
            "not a patch table",
            expected=f"a contiguous (N, {COLUMNS}) int64 tensor on {device}",
            found=f"{tuple(table.shape)} {table.dtype} on {table.device}",
        )


def turned_tap(tap, code):
    """Return which tap (0..8, row by row) of the weights the kernels put at `tap` of a patch.

    The arithmetic of `Turn` in cuda/weights.cuh: a tap is an offset from the middle one, and
    a turn changes what a step along a row or a column of the patch is.
    """
    rows, columns = (-1 if code & 2 else 1), (-1 if code & 4 else 1)
    per_row, per_column = (columns, 3 * rows) if code & 1 else (3 * rows, columns)
    return 4 + (tap // 3 - 1) * per_row + (tap % 3 - 1) * per_column
