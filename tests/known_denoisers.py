"""Denoisers that a validation must tell apart: good, useless, and dishonest ones."""

import numpy as np
import torch

from clearice.model.networks import Network
from clearice.validation.linear_filters import on_plane


class Identity(Network):
    """Returns what it is given."""

    receptive_radius_px = 0

    def forward(self, x):
        return x


class Constant(Network):
    """Returns the mean of a normalised micrograph."""

    receptive_radius_px = 0

    def forward(self, x):
        return torch.zeros_like(x)


class Convolution(Network):
    """Convolves with a symmetric kernel (k, k), k odd, zeros around the image."""

    def __init__(self, kernel):
        super().__init__()
        self.receptive_radius_px = len(kernel) // 2
        self.kernel = torch.from_numpy(np.asarray(kernel, np.float32))

    def forward(self, x):  # by Fourier transform: large kernels take seconds otherwise
        shape = [side + len(self.kernel) - 1 for side in x.shape[-2:]]
        spectrum = torch.fft.rfft2(x, s=shape) * torch.fft.rfft2(self.kernel, s=shape)
        inside = (..., *(slice(len(self.kernel) // 2, n - len(self.kernel) // 2) for n in shape))
        return torch.fft.irfft2(spectrum, s=shape)[inside]


def kernel_of(transfer, frequency_per_px, size_px=49):
    """Return the kernel (size, size) of a radial transfer, tapered at its border."""
    plane = on_plane(transfer, frequency_per_px, (256, 256))
    kernel = np.fft.fftshift(np.fft.irfft2(plane, s=(256, 256)))
    middle = slice(128 - size_px // 2, 128 + size_px // 2 + 1)
    taper = np.hanning(size_px + 2)[1:-1]
    return kernel[middle, middle] * np.sqrt(np.outer(taper, taper))


def blob_kernel(sigma_px, size_px=49):
    """Return a Gaussian blob of height 1, (size, size)."""
    offset = np.arange(size_px) - size_px // 2
    profile = np.exp(-0.5 * np.square(offset / sigma_px))
    return np.outer(profile, profile)


class Hallucinator(Network):
    """Pastes a dark blob wherever a matched filter finds a hint of one, which noise gives as well.

    `threshold` is in standard deviations of the filter's answer to white noise of variance 1.
    """

    def __init__(self, sigma_px=8.0, threshold=2.0, depth=0.6):
        super().__init__()
        blob = blob_kernel(sigma_px)
        self.matched = Convolution(-blob / np.sqrt(np.square(blob).sum()))
        self.paste = Convolution(-depth * blob)
        self.threshold = threshold
        self.receptive_radius_px = 2 * self.matched.receptive_radius_px + 4

    def forward(self, x):
        found = self.matched(x)
        nearby = torch.nn.functional.max_pool2d(found, 9, stride=1, padding=4)
        return self.paste(((found == nearby) & (found > self.threshold)).to(x.dtype))


class Gridded(Network):
    """Adds a pattern to another network's output, of the period that its grid has."""

    def __init__(self, network, amplitude, period_px=4):
        super().__init__()
        self.network, self.amplitude = network, amplitude
        self.alignment_px = self.grid_px = period_px
        self.receptive_radius_px = network.receptive_radius_px

    def forward(self, x):
        pattern = torch.zeros_like(x)
        pattern[..., 1 :: self.grid_px, 2 :: self.grid_px] = self.amplitude
        return self.network(x) + pattern


class ShortSighted(Network):
    """Says that it sees less of the image than it does."""

    receptive_radius_px = 1

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)
