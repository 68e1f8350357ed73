"""A micrograph through a network in tiles, equal to one pass over the whole image.

A tile is read with a halo at least as wide as the network sees, and the halo's output is dropped.
Only where a tile touches the micrograph's border does the network's own zero padding stay, exactly
as in a whole-image pass. So no seams, and memory grows with the width of a band, not the height.
"""

import math

import numpy as np
import torch

from clearice.denoised.bands import overlapping_bands, plain_spans
from clearice.errors import InputError
from clearice.micrographs.normalisation import normalise

_TILE_PX = {"cpu": 256, "cuda": 2048}  # 256: activations of 16 channels stay in the cache
_HALOS_PER_TILE = 2.25  # a tile's side, at least: wider ones cost fewer pixels and more memory
_LONG = 1.5  # a tile may be that much longer than asked, to save a short one behind it


def chosen_tile_px(tile_px, device, network):
    """Return `tile_px`, or where it is None a good one for the network on the device."""
    chosen = _TILE_PX.get(torch.device(device).type, 256)
    return tile_px or max(chosen, math.ceil(_HALOS_PER_TILE * network.receptive_radius_px))


def denoise_bands(network, micrograph, *, tile_px, device="cpu"):
    """Yield the denoised micrograph as bands of rows, (b, W) float32, top to bottom.

    `network` is a networks.Network, `micrograph` a rows.MicrographRows. The network sees
    (raw - location) / scale of the micrograph; the result is on the raw intensity scale.
    `tile_px` is rounded to the network's alignment and to fill the image. Raises InputError where
    the network gives a value that is not finite. Blank areas stay what they are.
    """
    blank = micrograph.survey.blank
    location, scale = micrograph.survey.input.location, micrograph.survey.input.scale
    height, alignment = micrograph.height_px, network.alignment_px
    # Tiles begin at multiples of the alignment only if their sides and halos are such multiples.
    band_px, width_px = (
        _even_side(length, tile_px, alignment) for length in (height, micrograph.width_px)
    )
    halo = _rounded_up(network.receptive_radius_px, alignment)
    spans = plain_spans(height, band_px, halo)
    bands = overlapping_bands(micrograph.blocks(), micrograph.width_px, spans)
    for top, (first, _), rows in zip(range(0, height, band_px), spans, bands, strict=True):
        band_height = min(band_px, height - top)
        above, below = top - first, len(rows) - (top - first) - band_height
        band = np.empty((band_height, rows.shape[1]), np.float32)
        for left in range(0, rows.shape[1], width_px):
            columns = band[:, left : left + width_px]
            before = min(left, halo)
            tile = rows[:, left - before : left + width_px + halo]  # (B, T)
            margins = above, below, before, tile.shape[1] - before - columns.shape[1]
            output = _through(network, normalise(tile, location, scale), margins, device)
            np.multiply(output, np.float32(scale), out=columns)
            del tile, output  # before the next ones are made
        band += np.float32(location)
        if blank:
            stored = rows[above : above + band_height]
            np.copyto(band, stored, where=blank.mask(top, band_height))
        if not np.isfinite(band).all():
            raise InputError(
                f"the denoised rows {top} to {top + len(band) - 1} hold NaN or infinity",
                file=micrograph.path,
                advice="the model did not converge: lower its learning_rate and train again",
            )
        yield band
        del band  # before the next is made


def _even_side(length_px, tile_px, alignment_px):
    """Return the side of tiles that share a length evenly, none over _LONG times `tile_px`."""
    count = max(round(length_px / tile_px), math.ceil(length_px / (_LONG * tile_px)), 1)
    return _rounded_up(math.ceil(length_px / count), alignment_px)


def _rounded_up(count, multiple):
    return -(-count // multiple) * multiple


def _through(network, tile, margins, device):
    """Return what the network makes of a normalised tile (B, T), without its margins, float32."""
    with torch.inference_mode():
        output = network.inside(torch.from_numpy(tile)[None, None].to(device), margins)
    return output[0, 0].float().cpu().numpy()
