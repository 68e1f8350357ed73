"""A micrograph through a network in tiles, equal to one pass over the whole image.

A tile is read with a halo as wide as the network sees, and the halo's output is dropped. Only
where a tile touches the micrograph's border does the network's own zero padding stay, exactly as
in a whole-image pass. So no seams, and memory grows with the width of a band, not the height.
"""

import numpy as np
import torch

from clearice.denoised.bands import overlapping_bands, plain_spans
from clearice.errors import InputError
from clearice.micrographs.hot_pixels import HotPixels, local_std
from clearice.micrographs.normalisation import normalise
from clearice.micrographs.survey import survey_micrograph

_TILE_PX = {"cpu": 256, "cuda": 2048}  # 256: activations of 16 channels stay in the cache


def chosen_tile_px(tile_px, device):
    """Return `tile_px`, or where it is None a good one for the device."""
    return tile_px or _TILE_PX.get(torch.device(device).type, 256)


class Source:
    """The rows of an open micrograph as the network was trained on them.

    Hot pixels are replaced first if `hot_pixel_threshold` (standard deviations of the local
    noise) is not None. `statistics` are those of the rows; blocks() gives them in order, any
    number of times. Raises InputError for a micrograph that is constant or not finite.
    """

    def __init__(self, micrograph, hot_pixel_threshold=None):
        self.path = micrograph.path
        self.height_px, self.width_px = micrograph.height_px, micrograph.width_px
        self._micrograph, self._cleaner = micrograph, None
        if hot_pixel_threshold is not None:
            limit = hot_pixel_threshold * local_std(micrograph)
            self._cleaner = HotPixels(limit, micrograph.height_px)
        self.statistics = survey_micrograph(self.blocks(), micrograph.path).input

    @property
    def hot_pixels(self):
        """Number of pixels replaced."""
        return self._cleaner.count if self._cleaner else 0

    def blocks(self):
        """Yield float32 (b, W), top to bottom; a block is valid until the next one."""
        rows = (rows for _, rows in self._micrograph.blocks())
        return self._cleaner.blocks(rows) if self._cleaner else rows


def denoise_bands(network, source, *, tile_px, device="cpu"):
    """Yield the denoised micrograph as bands of rows, (<= tile_px, W) float32, top to bottom.

    `network` maps (N, 1, H, W) to the same shape and names its `receptive_radius_px`. It sees
    (raw - mean) / std of the `source`; the result is on the raw intensity scale. Raises
    InputError where the network gives a value that is not finite.
    """
    mean, std = source.statistics.mean, source.statistics.std
    height, halo = source.height_px, network.receptive_radius_px
    spans = plain_spans(height, tile_px, halo)
    bands = overlapping_bands(source.blocks(), source.width_px, spans)
    for top, (first, _), rows in zip(range(0, height, tile_px), spans, bands, strict=True):
        bottom = min(top + tile_px, height)
        band = _denoise_band(network, normalise(rows, mean, std), tile_px, halo, device)
        band = band[top - first : bottom - first]  # without halos, (bottom - top, W)
        band *= np.float32(std)
        band += np.float32(mean)
        if not np.isfinite(band).all():
            raise InputError(
                f"the denoised rows {top} to {bottom - 1} hold NaN or infinity",
                file=source.path,
                advice="the model did not converge: lower its learning_rate and train again",
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
