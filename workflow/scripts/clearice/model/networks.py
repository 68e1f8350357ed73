"""The networks, by the name that config.yaml gives them."""

import torch

from clearice.errors import InputError


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


class SimpleCNN(Network):
    """Conv(1,16,3)-ReLU-Conv(16,16,3)-ReLU-Conv(16,1,3), zero padding 1: 2,625 parameters.

    The network that is exported as the reference. (N, 1, H, W) float -> (N, 1, H, W).
    """

    receptive_radius_px = 3  # three 3 x 3 convolutions

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(16, 16, 3, padding=1)
        self.conv3 = torch.nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x):  # (N, 1, H, W)
        x = torch.relu(self.conv1(x))  # (N, 16, H, W)
        x = torch.relu(self.conv2(x))  # (N, 16, H, W)
        return self.conv3(x)  # (N, 1, H, W)


NETWORKS = {"simple_cnn": SimpleCNN}


def build_network(architecture):
    """Return a new network of that name, with PyTorch's default initialisation."""
    if architecture not in NETWORKS:
        raise InputError(
            "unknown architecture",
            expected=" | ".join(sorted(NETWORKS)),
            found=architecture,
        )
    return NETWORKS[architecture]()
