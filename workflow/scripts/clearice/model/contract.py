"""What every network offers to training and denoising."""

import torch


class Network(torch.nn.Module):
    """What a network must offer: (N, in_channels, H, W) float -> (N, out_channels, H, W).

    A micrograph is denoised in tiles. A tile's origin lies at multiples of `alignment_px`, and it
    is read with a halo of `receptive_radius_px`: pixels further away have no influence. At the
    image's border the network pads as it does for a whole image. `in_channels` and `out_channels`
    are 1 wherever patches go in and come out.
    """

    in_channels = out_channels = 1
    alignment_px = 1
    receptive_radius_px: int
    grid_px = 4  # the period of the pattern that its own grid, if it has one, would leave

    def inside(self, x, margins):
        """Return forward(x) without its margins, (N, 1, H, W) -> the same, smaller.

        `margins` are (top, bottom, left, right), multiples of the alignment, or 0 at the image's
        border. A network that can leave out work for what nobody will see does so here.
        """
        top, bottom, left, right = margins
        return self(x)[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]

    def within_reach(self, target, x):
        """Return what of `target` the network can make of `x`, both (N, 1, H, W).

        A training compares with it, so that what lies out of reach moves no weights.
        """
        return target
