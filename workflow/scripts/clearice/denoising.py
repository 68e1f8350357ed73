"""A micrograph through a network in tiles, equal to one pass over the whole image.

A tile is read with a halo as wide as the network sees, and the halo's output is dropped. Only
where a tile touches the micrograph's border does the network's own zero padding stay, exactly as
in a whole-image pass. So no seams, and memory grows with the width of a band, not the height.
"""

from dataclasses import dataclass

import numpy as np
import torch

from clearice.errors import InputError

FLOAT16_MAX = 65504.0
_TILE_PX = {"cpu": 512, "cuda": 2048}  # 512: activations of 16 channels stay below 20 MB


@dataclass(frozen=True)
class Affine:
    """normalised = (raw - mean) / std, and back; float64, in units of the micrograph."""

    mean: float
    std: float


def chosen_tile_px(tile_px, device):
    """Return `tile_px`, or where it is None a good one for the device."""
    return tile_px or _TILE_PX.get(torch.device(device).type, 512)


def denoise_bands(network, micrograph, affine, *, tile_px, device="cpu"):
    """Yield the denoised micrograph as bands of rows, (<= tile_px, W) float32, top to bottom.

    `network` maps (N, 1, H, W) to the same shape and names its `receptive_radius_px`;
    `micrograph` is an open reader (height_px, width_px, read_rows). Values are on the input's
    intensity scale. Raises InputError where the network gives a value that is not finite.
    """
    height, halo = micrograph.height_px, network.receptive_radius_px
    for top in range(0, height, tile_px):
        bottom = min(top + tile_px, height)
        first, last = max(top - halo, 0), min(bottom + halo, height)
        rows = micrograph.read_rows(first, last - first)  # (band + halos, W)
        normalised = (rows - np.float32(affine.mean)) / np.float32(affine.std)
        band = _denoise_band(network, normalised, tile_px, halo, device)
        band = band[top - first : bottom - first]  # (band, W)
        band *= np.float32(affine.std)
        band += np.float32(affine.mean)
        if not np.isfinite(band).all():
            raise InputError(
                f"the denoised rows {top} to {bottom - 1} hold NaN or infinity",
                file=micrograph.path,
                advice="the model did not converge: lower its learning_rate and train again",
            )
        yield band


def within_float16(bands, path):
    """Pass bands through; raise InputError where one does not fit MRC mode 12."""
    for band in bands:
        largest = float(np.abs(band).max())
        if not largest <= FLOAT16_MAX:
            raise InputError(
                "too bright for float16",
                file=path,
                expected=f"at most {FLOAT16_MAX:g}",
                found=f"{largest:g}",
                advice="set denoised.dtype: float32",
            )
        yield band


def _denoise_band(network, rows, tile_px, halo, device):
    """Denoise a normalised band with its halos, (B, W), tile after tile."""
    width = rows.shape[1]
    denoised = np.empty_like(rows)
    for left in range(0, width, tile_px):
        right = min(left + tile_px, width)
        first, last = max(left - halo, 0), min(right + halo, width)
        tile = torch.from_numpy(np.ascontiguousarray(rows[:, first:last]))  # (B, T)
        with torch.inference_mode():
            output = network(tile[None, None].to(device))[0, 0]  # (B, T)
        denoised[:, left:right] = output[:, left - first : right - first].float().cpu().numpy()
    return denoised
