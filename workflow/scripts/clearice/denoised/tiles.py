"""A micrograph through a network in tiles, equal to one pass over the whole image.

A tile is read with a halo at least as wide as the network sees, and the halo's output is dropped.
Only where a tile touches the micrograph's border does the network's own zero padding stay, exactly
as in a whole-image pass. So no seams, and memory grows with the width of a band, not the height.
"""

import numpy as np
import torch

from clearice.denoised.bands import overlapping_bands, plain_spans
from clearice.errors import InputError
from clearice.micrographs.normalisation import normalise

_TILE_PX = {"cpu": 256, "cuda": 2048}  # 256: activations of 16 channels stay in the cache


def chosen_tile_px(tile_px, device):
    """Return `tile_px`, or where it is None a good one for the device."""
    return tile_px or _TILE_PX.get(torch.device(device).type, 256)


def denoise_bands(network, micrograph, *, tile_px, device="cpu"):
    """Yield the denoised micrograph as bands of rows, (b, W) float32, top to bottom.

    `network` is a networks.Network, `micrograph` a rows.MicrographRows. The network sees
    (raw - mean) / std of the micrograph; the result is on the raw intensity scale.
    `tile_px` is rounded up to the network's alignment. Raises InputError where the network gives a
    value that is not finite.
    """
    mean, std = micrograph.survey.input.mean, micrograph.survey.input.std
    height, alignment = micrograph.height_px, network.alignment_px
    # Tiles begin at multiples of the alignment only if their sides and halos are such multiples.
    tile_px, halo = (_rounded_up(n, alignment) for n in (tile_px, network.receptive_radius_px))
    spans = plain_spans(height, tile_px, halo)
    bands = overlapping_bands(micrograph.blocks(), micrograph.width_px, spans)
    for top, (first, _), rows in zip(range(0, height, tile_px), spans, bands, strict=True):
        bottom = min(top + tile_px, height)
        band = _denoise_band(network, normalise(rows, mean, std), tile_px, halo, device)
        band = band[top - first : bottom - first]  # without halos, (bottom - top, W)
        band *= np.float32(std)
        band += np.float32(mean)
        if not np.isfinite(band).all():
            raise InputError(
                f"the denoised rows {top} to {bottom - 1} hold NaN or infinity",
                file=micrograph.path,
                advice="the model did not converge: lower its learning_rate and train again",
            )
        yield band


def _rounded_up(count, multiple):
    return -(-count // multiple) * multiple


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
