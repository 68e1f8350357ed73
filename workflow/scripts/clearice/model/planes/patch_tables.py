"""Tables of patches: where the pixels of a batch lie, for a kernel that reads them in place.

A row is four int64: the address of the first pixel of the input, that of the target, the row
stride of both in elements, and how the patch is turned (bits 0-2 of epochs.epoch_codes). The pixel
(r, c) of the square of cut_px x cut_px that is read lies r * stride + c elements behind the
address, whatever the turn, which comes after that. Swapped halves are swapped addresses. Whoever
reads by address believes it: the planes must stay until all work on them has ended. NumPy alone.
"""

import dataclasses

import numpy as np

ADDRESS, TARGET_ADDRESS, STRIDE, TURN = range(4)  # columns
_TRANSPOSED, _ROWS_FLIPPED, _COLUMNS_FLIPPED, _TURNS, _SWAPPED = 1, 2, 4, 7, 8  # bits of a code


@dataclasses.dataclass(frozen=True)
class Epoch:
    """Which patches of a split come in which order, and how each is cut.

    `order` holds indices (n,); `codes` (n_patches,), `shifts` and `places` (n_patches, 2) are by
    index: epochs.epoch_codes and epoch_shifts, None for none, and (y, x) in the micrograph.
    `patch_px` is the side of a patch, `cut_px` that of what is left of it by its shift.
    """

    order: np.ndarray
    places: np.ndarray
    patch_px: int
    cut_px: int
    codes: np.ndarray | None = None
    shifts: np.ndarray | None = None


def patch_table(epoch, indices, addresses, strides, itemsize):
    """Return the rows of the patches `indices` (n,) of an Epoch: int64 (n, 4).

    `addresses` (n, 2) are those of the first pixels of the input and target planes that each of
    these patches is cut from, `strides` (n,) their widths in elements of `itemsize` bytes.
    """
    codes = np.zeros(len(indices), np.int64)
    if epoch.codes is not None:
        codes = epoch.codes[indices].astype(np.int64)
    corners = epoch.places[indices] + _offsets(epoch, indices, codes)  # (n, 2) y, x
    first = addresses + (itemsize * (corners[:, 0] * strides + corners[:, 1]))[:, None]
    swapped = (codes & _SWAPPED) > 0
    first[swapped] = first[swapped, ::-1]
    return np.column_stack([first, strides, codes & _TURNS]).astype(np.int64)


def _offsets(epoch, indices, codes):
    """Return where in the patch, as it lies in its plane, the square begins: (n, 2) y, x.

    Shifts are those of the turned patch: turned back they are counted from the other end of an
    axis that is flipped, and change places where the patch is transposed.
    """
    if epoch.shifts is None:
        return np.zeros((len(indices), 2), np.int64)
    slack = epoch.patch_px - epoch.cut_px
    shifts = epoch.shifts[indices]
    flipped = np.column_stack([codes & _ROWS_FLIPPED, codes & _COLUMNS_FLIPPED]) > 0
    offsets = np.where(flipped, slack - shifts, shifts)
    transposed = (codes & _TRANSPOSED) > 0
    offsets[transposed] = offsets[transposed, ::-1]
    return offsets
