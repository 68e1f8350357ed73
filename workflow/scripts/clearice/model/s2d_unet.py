"""A space-to-depth U-Net: the network for quality.

Four by four pixels become sixteen channels, a small U-Net (Ronneberger et al., MICCAI 2015) works
on the sixteen times smaller image, and its channels become pixels again (Shi et al., CVPR 2016).
So the convolutions see far at little cost: the signal of a micrograph lies at low frequencies.
"""

import itertools

import torch
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

from clearice.model.contract import Network

SPACE_TO_DEPTH = 4
CHANNELS = (32, 48, 96, 160)  # of each level, finest first
BACKGROUND_PX = 32  # side of the cells whose means make the background
CLIP = 8.0  # noise levels: what lies further out is an edge, a crystal or a hot pixel


class S2DUNet(Network):
    """(N, 1, H, W) float -> (N, 1, H, W), for any H and W.

    The slow background (ice thickness, a crystal, the rim of the hole) goes around the network:
    it is subtracted, what is left is clipped to +-CLIP, and it is added to the result. So the
    network only sees what it was trained on, wherever in the micrograph that lies.
    """

    alignment_px = BACKGROUND_PX  # also the side of the coarsest level's pixels
    # Of the pixel at the worst place in its cell; found by perturbing it (test_networks.py).
    receptive_radius_px = 283

    def __init__(self, channels=CHANNELS):
        super().__init__()
        depth = SPACE_TO_DEPTH**2
        self.down = torch.nn.ModuleList(
            _two_convolutions(first, last)
            for first, last in zip((depth, *channels), channels, strict=False)
        )
        self.up = torch.nn.ModuleList(
            _two_convolutions(fine + coarse, fine) for fine, coarse in itertools.pairwise(channels)
        )
        self.last = torch.nn.Conv2d(channels[0], depth, 3, padding=1)

    def within_reach(self, target, x):
        height, width = x.shape[-2:]
        background = slow_background(self._padded(x))[..., :height, :width]
        return background + torch.clamp(target - background, -CLIP, CLIP)

    def _padded(self, x):
        height, width = x.shape[-2:]
        extra = -width % self.alignment_px, -height % self.alignment_px
        return pad(x, (0, extra[0], 0, extra[1]), "replicate") if any(extra) else x

    def forward(self, x):  # (N, 1, H, W)
        return self.inside(x, (0, 0, 0, 0))

    def inside(self, x, margins):
        top, bottom, left, right = margins
        rows, columns = slice(top, x.shape[-2] - bottom), slice(left, x.shape[-1] - right)
        x = self._padded(x)
        background = slow_background(x)
        x = torch.clamp(x - background, -CLIP, CLIP)
        return self._unet(x, (rows, columns)) + background[..., rows, columns]

    def _unet(self, x, seen):
        """Return the network's output in the rows and columns `seen`, two slices of pixels.

        On the way back up, each level is made only as far as the next one sees it: on full halos
        the upper half of the network would cost more than all else.
        """
        x = torch.nn.functional.pixel_unshuffle(x, SPACE_TO_DEPTH)  # (N, 16, H / 4, W / 4)
        levels = []
        for number, block in enumerate(self.down):
            x = block(max_pool2d(x, 2) if number else x)  # (N, C, H / 4 / 2^number, ...)
            levels.append(x)
        x, origin = levels.pop(), (0, 0)
        for number, block in reversed(list(enumerate(self.up))):
            fine = levels.pop()
            step = SPACE_TO_DEPTH * 2**number
            windows = [_window(s, step, n) for s, n in zip(seen, fine.shape[-2:], strict=True)]
            coarse = [
                slice(w.start // 2 - o, w.stop // 2 - o)
                for w, o in zip(windows, origin, strict=True)
            ]
            x = interpolate(x[..., *coarse], scale_factor=2.0, mode="nearest")
            x = block(torch.cat([x, fine[..., *windows]], 1))
            origin = [w.start for w in windows]
        x = torch.nn.functional.pixel_shuffle(self.last(x), SPACE_TO_DEPTH)
        inside = [
            slice(s.start - SPACE_TO_DEPTH * o, s.stop - SPACE_TO_DEPTH * o)
            for s, o in zip(seen, origin, strict=True)
        ]
        return x[..., *inside]


def _window(seen, step, length):
    """Return which pixels of a level, `step` image pixels wide, are made for those `seen`.

    Four more on each side: two 3 x 3 convolutions take two of them, and two are one pixel of the
    level below, or two. Even, as the coarser level's pixels are.
    """
    first, last = seen.start // step - 4, -(-seen.stop // step) + 4
    return slice(max(first, 0), min(last + last % 2, length))


def slow_background(x):
    """Return the slow part of images, (N, 1, H, W) -> the same; sides are multiples of 32 px.

    Means of 32 x 32 px, each averaged with its eight neighbours, joined linearly. It reaches
    95 px. White noise leaves about a hundredth of its standard deviation in it.
    """
    cells = avg_pool2d(x, BACKGROUND_PX)
    cells = avg_pool2d(pad(cells, (1, 1, 1, 1), "replicate"), 3, 1)
    return interpolate(cells, scale_factor=float(BACKGROUND_PX), mode="bilinear")


def _two_convolutions(channels_in, channels_out):
    return torch.nn.Sequential(
        torch.nn.Conv2d(channels_in, channels_out, 3, padding=1),
        torch.nn.LeakyReLU(0.1, inplace=True),
        torch.nn.Conv2d(channels_out, channels_out, 3, padding=1),
        torch.nn.LeakyReLU(0.1, inplace=True),
    )
