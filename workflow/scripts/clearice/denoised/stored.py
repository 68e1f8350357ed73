"""What a file holds of denoised rows, converted and measured on the device that made them."""

import math

import torch

from clearice.denoised.host import to_host
from clearice.errors import InputError
from clearice.micrographs.normalisation import RowStatistics

_PIECE_PX = {"cpu": 1 << 18, "cuda": 1 << 24}  # whose float64 copies are there at a time


class StoredRows:
    """Makes rows of `dtype`, float32 | float16, for the file `path`; `statistics` are theirs."""

    def __init__(self, path, dtype):
        self._path, self._dtype = path, getattr(torch, dtype)
        self.statistics = RowStatistics(keeps_pieces=False)

    @torch.inference_mode()
    def take(self, rows):
        """Return float32 rows (b, W), a tensor on any device, as an array of that type.

        Raises InputError where it cannot hold a value.
        """
        stored = rows.to(self._dtype)
        low, high = torch.stack(torch.aminmax(stored)).tolist()
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InputError(
                f"a pixel is not finite or does not fit {str(self._dtype).removeprefix('torch.')}",
                file=self._path,
                expected=f"at most {torch.finfo(self._dtype).max:g}",
                found=f"{rows.abs().max().item():g}",
                advice="use float32" if self._dtype == torch.float16 else None,
            )
        pieces = stored.split(max(1, _PIECE_PX[rows.device.type] // rows.shape[1]))
        sums = torch.cat([_row_sums(piece) for piece in pieces], 1).cpu().numpy()
        self.statistics.add_measured(*sums, low, high, rows.shape[1])
        return to_host(stored)


def _row_sums(rows):
    """Return the means of rows and their sums of squared deviations, float64 (2, b)."""
    wide = rows.double()
    means = wide.mean(1)
    wide -= means[:, None]
    return torch.stack((means, wide.square_().sum(1)))
