"""A network that was trained on pixel halves, for micrographs of full resolution."""

import math

from torch.nn.functional import interpolate, pad

from clearice.model.contract import Network


class OnPixelHalves(Network):
    """(N, 1, H, W) float -> (N, 1, H, W): the mean of both denoised pixel halves, at full size.

    The halves are those of micrographs/pixel_halves.py, on the scale that shards have: a mean of
    two pixels has 1 / sqrt(2) of their noise. The result holds nothing above half the Nyquist
    frequency.
    """

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.alignment_px = 2 * network.alignment_px
        self.receptive_radius_px = 2 * (network.receptive_radius_px + 2)  # cubic: two blocks

    def forward(self, x):  # (N, 1, H, W)
        height, width = x.shape[-2:]
        x = pad(x, (0, width % 2, 0, height % 2), "replicate")
        x = self._denoised(x, 0) + self._denoised(x, 1)  # (N, 1, H / 2, W / 2)
        x = interpolate(x * (math.sqrt(0.5) / 2), scale_factor=2.0, mode="bicubic")
        return x[..., :height, :width]

    def _denoised(self, x, diagonal):
        """Denoise the pixel half, (N, 1, H, W) -> (N, 1, H / 2, W / 2)."""
        half = x[..., 0::2, diagonal::2] + x[..., 1::2, 1 - diagonal :: 2]
        return self.network(half * math.sqrt(0.5)).to(x.dtype)


def at_full_resolution(network, metadata):
    """Return the network that denoises micrographs, given what load_model returned."""
    return OnPixelHalves(network).eval() if metadata.get("resolution") == "half" else network


def resolution_of(target_kind):
    """Return the `resolution` of a network trained on a dataset of that target_kind."""
    return "half" if target_kind == "pixel_halves" else "full"
