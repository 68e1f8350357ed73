"""The networks, by the name that config.yaml gives them."""

import torch

from clearice.errors import InputError
from clearice.model.contract import Network
from clearice.model.s2d_unet import S2DUNet


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


NETWORKS = {"simple_cnn": SimpleCNN, "s2d_unet": S2DUNet}


def build_network(architecture):
    """Return a new network of that name, with PyTorch's default initialisation."""
    if architecture not in NETWORKS:
        raise InputError(
            "unknown architecture",
            expected=" | ".join(sorted(NETWORKS)),
            found=architecture,
        )
    return NETWORKS[architecture]()
