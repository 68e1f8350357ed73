"""Random micrographs made on the device: particles, optics, ice, contamination, detector.

Weak-phase images as in micrographs/simulation, but every parameter is drawn at random, per image
and over the range that microscopes have, and all images of a batch are made at once.
"""

import numpy as np
import torch

from clearice.micrographs.simulation.particles import random_rotations
from clearice.model.general.particles import filament, particle

N_PARTICLES, N_FILAMENTS = 224, 48  # in a pool; pools follow each other
PIXEL_SIZES_ANGSTROM = (0.5, 3.0)
DEFOCUS_ANGSTROM = (0.4e4, 3.5e4)
POINT_SIGMAS_ANGSTROM = (1.5, 7.0)  # from single atoms to smooth blobs
SIGNAL_TO_NOISE = (0.002, 0.5)  # variance of the particles' image over that of the noise
_PIECE_PX = 64


class Pool:
    """Particles and filaments that images are made of for some hundred steps."""

    def __init__(self, seed, number, device):
        generator = np.random.default_rng([seed, number, 1])
        models = [particle(generator) for _ in range(N_PARTICLES)]
        self.radii = np.array([radius for _, radius in models])
        self.particles = torch.from_numpy(np.stack([points for points, _ in models])).to(device)
        filaments = np.stack([filament(generator) for _ in range(N_FILAMENTS)])
        self.filaments = torch.from_numpy(filaments).to(device)


def training_pair(pool, count, size_px, seed, step, device):
    """Return (input, target, signal variance), (N, 1, S, S) twice and (N, 1, 1, 1) float32.

    Both images are on the scale that a network sees: less the location, over the scale of the
    noisy image. The target is the noise-free image. All depends on seed and step alone, up to
    the rounding of the device.
    """
    draw = np.random.default_rng([seed, step, 2])
    chance = torch.Generator(device).manual_seed(int(draw.integers(2**62)))
    scene = _Scene(draw, chance, count, size_px, device)
    signal = scene.image_of(scene.projections(pool))  # unit variance
    signal = signal * scene.uniform(*np.log(SIGNAL_TO_NOISE)).exp().sqrt()
    variance = signal.var((1, 2), keepdim=True)
    clean = scene.with_background(signal)
    noisy, clean = scene.exposed(clean)
    location, scale = robust_affine(noisy)
    noisy, clean = ((image - location) / scale for image in (noisy, clean))
    return noisy[:, None], clean[:, None], (variance / scale**2)[:, None]


def robust_affine(images):
    """Return (location, scale), each (N, 1, 1), of (N, H, W): normalisation.py's, on the device."""
    pieces = images.unflatten(2, (-1, _PIECE_PX)).flatten(1, 2)  # (N, pieces, 64)
    std, mean = torch.std_mean(pieces, 2)
    scale = std.median(1).values.clamp(min=0.05)  # the noise before it is scaled has 1
    return mean.median(1).values[:, None, None], scale[:, None, None]


class _Scene:
    """The random parameters of a batch of images, and what is made of them."""

    def __init__(self, draw, chance, count, size_px, device):
        self._draw, self._chance, self._device = draw, chance, device
        self._count, self._size_px = count, size_px
        self._pixel_size = np.exp(draw.uniform(*np.log(PIXEL_SIZES_ANGSTROM), count))
        frequency = torch.fft.fftfreq(size_px, device=device)
        half = torch.fft.rfftfreq(size_px, device=device)
        self._squared_per_px = frequency[:, None] ** 2 + half[None] ** 2  # (S, S / 2 + 1)
        angstrom = self._tensor(self._pixel_size)
        self._squared = self._squared_per_px / angstrom**2  # 1 / angstrom^2, (N, S, S / 2 + 1)
        self._transfer = self._contrast_transfer()

    def _tensor(self, values):
        values = np.asarray(values, np.float32).reshape(-1, 1, 1)
        return torch.from_numpy(values).to(self._device)

    def uniform(self, low, high):
        """Return one random number per image, (N, 1, 1)."""
        return self._tensor(self._draw.uniform(low, high, self._count))

    def _some(self, probability):
        """Return 1 for a random part of the images, 0 for the others, (N, 1, 1)."""
        return self._tensor(self._draw.random(self._count) < probability)

    def _white(self):
        shape = (self._count, self._size_px, self._size_px)
        return torch.randn(shape, generator=self._chance, device=self._device)

    def _filtered(self, images, transfer):
        size = (self._size_px, self._size_px)
        return torch.fft.irfft2(torch.fft.rfft2(images) * transfer, s=size)

    def _contrast_transfer(self):
        """Return the contrast transfer with its envelope, (N, S, S / 2 + 1)."""
        volts = self._draw.choice([120e3, 200e3, 300e3, 300e3, 300e3], self._count)
        wavelength = self._tensor(12.2643 / np.sqrt(volts * (1 + 0.978466e-6 * volts)))  # angstrom
        defocus = self.uniform(*DEFOCUS_ANGSTROM)
        aberration = self._tensor(self._draw.choice([0.01e7, 2.0e7, 2.7e7, 2.7e7], self._count))
        phase = np.pi * wavelength * defocus * self._squared
        phase = phase - np.pi / 2 * aberration * wavelength**3 * self._squared**2
        phase = phase + torch.asin(self.uniform(0.05, 0.12))
        return torch.sin(phase) * torch.exp(-self.uniform(20, 250) / 4 * self._squared)

    def projections(self, pool):
        """Return the projected mass of random particles and filaments, (N, S, S)."""
        image = torch.zeros(self._count * self._size_px**2, device=self._device)
        kind = self._draw.random(self._count)
        self._add_particles(image, pool, np.flatnonzero(kind > 0.18))
        self._add_filaments(image, pool, np.flatnonzero(kind < 0.27))
        return image.reshape(self._count, self._size_px, self._size_px)

    def _add_particles(self, image, pool, numbers):
        places, models, images = [], [], []
        for number in np.repeat(numbers, self._draw.choice([1, 1, 1, 2], len(numbers))):
            model = self._draw.integers(len(pool.radii))
            where = self._places(pool.radii[model] / self._pixel_size[number])
            places.append(where)
            models += [model] * len(where)
            images += [number] * len(where)
        turns = torch.from_numpy(random_rotations(len(images), self._draw)).float().to(self._device)
        points = pool.particles[torch.tensor(models, device=self._device)]  # (M, P, 3)
        points = torch.einsum("mpj,mij->mpi", points, turns)[..., :2]
        self._splat(image, points, np.concatenate(places), np.array(images))

    def _places(self, radius_px):
        """Return random places (m, 2) in pixels: at least a diameter apart, or anywhere."""
        size = self._size_px
        cover = self._draw.uniform(0.02, 0.6)
        count = int(np.clip(cover * size**2 / (np.pi * (1.2 * radius_px) ** 2), 1, 160))
        cells = int(size / (self._draw.uniform(2.0, 3.0) * radius_px))
        if self._draw.random() < 0.4 or cells < 2:
            return self._draw.uniform(0, size, (count, 2))
        chosen = self._draw.permutation(cells**2)[:count]
        grid = np.stack(np.divmod(chosen, cells), 1) + 0.5
        jitter = self._draw.uniform(-0.25, 0.25, grid.shape)
        return (grid + jitter) * size / cells

    def _add_filaments(self, image, pool, numbers):
        numbers = np.repeat(numbers, self._draw.integers(1, 9, len(numbers)))
        if not len(numbers):
            return
        models = torch.from_numpy(self._draw.integers(len(pool.filaments), size=len(numbers)))
        points = pool.filaments[models.to(self._device)]  # (M, P, 3)
        angle = self._tensor(self._draw.uniform(0, 2 * np.pi, len(numbers)))[..., 0]
        bend = self._tensor(self._draw.uniform(-1e-4, 1e-4, len(numbers)))[..., 0]
        along, across = points[..., 0], points[..., 1] + bend * points[..., 0] ** 2
        y = along * angle.sin() + across * angle.cos()
        x = along * angle.cos() - across * angle.sin()
        places = self._draw.uniform(0, self._size_px, (len(numbers), 2))
        self._splat(image, torch.stack([y, x], -1), places, numbers)

    def _splat(self, image, points, places, numbers):
        """Add points (M, P, 2) in angstrom around `places` (M, 2) in pixels, bilinearly."""
        size = self._size_px
        per_px = self._tensor(1 / self._pixel_size[numbers])
        centres = torch.from_numpy(places.astype(np.float32)).to(self._device)
        points = points * per_px + centres[:, None]
        whole = points.floor()
        part, whole = points - whole, whole.long()
        first = torch.from_numpy(numbers * size**2).to(self._device)[:, None]
        for dy in (0, 1):
            for dx in (0, 1):
                index = first + (whole[..., 0] + dy) % size * size + (whole[..., 1] + dx) % size
                y, x = (part[..., i] if d else 1 - part[..., i] for i, d in ((0, dy), (1, dx)))
                image.index_add_(0, index.flatten(), (y * x).flatten())

    def image_of(self, mass):
        """Return the image of projected mass: dark where mass is, unit variance, (N, S, S)."""
        width = self.uniform(*np.log(POINT_SIGMAS_ANGSTROM)).exp()
        points = torch.exp(-2 * np.pi**2 * width**2 * self._squared)
        image = -self._filtered(mass, self._transfer * points)
        return image / (image.std((1, 2), keepdim=True) + 1e-9)

    def with_background(self, signal):
        """Return the signal with ice gradients, crystals, carbon and other large things."""
        contrast = signal.std((1, 2), keepdim=True)
        slow = torch.exp(-3 * self._squared_per_px * self.uniform(40, 250) ** 2)
        waves = self._filtered(self._white(), slow)
        waves = waves / waves.std((1, 2), keepdim=True)
        image = signal + waves * contrast * self.uniform(0, 0.6) * self._some(0.5)
        y, x = self._coordinates()
        slope = y * self.uniform(-1, 1) + x * self.uniform(-1, 1)
        image = image + slope / self._size_px * self.uniform(0, 4) * self._some(0.3)
        self.inside = self._some(0.2) * self._ellipse(y, x)
        image = image * (1 - self.inside) - self.inside * self.uniform(1, 20)
        edge = torch.sigmoid((slope - self.uniform(-40, 40)) / self.uniform(1, 6))
        self.carbon = edge * self._some(0.08)
        return image - self.carbon * self.uniform(0.5, 5)

    def _coordinates(self):
        line = torch.arange(self._size_px, device=self._device, dtype=torch.float32)
        return line[None, :, None], line[None, None, :]

    def _ellipse(self, y, x):
        """Return soft-edged ellipses anywhere in the image, 0 to 1, (N, S, S)."""
        size = self._size_px
        y, x = y - self.uniform(-0.2 * size, 1.2 * size), x - self.uniform(-0.2 * size, 1.2 * size)
        angle, stretch = self.uniform(0, np.pi), self.uniform(0.5, 1)
        v, u = y * angle.cos() - x * angle.sin(), y * angle.sin() + x * angle.cos()
        radius = self.uniform(np.log(8), np.log(260)).exp()
        return torch.sigmoid((radius - torch.hypot(v, u / stretch)) / self.uniform(0.7, 8))

    def exposed(self, clean):
        """Return (what a detector records, its expectation); noise of unit variance, (N, S, S)."""
        noise = self._filtered(self._white(), self._detector())
        noise = noise / noise.std((1, 2), keepdim=True)
        ice = self._filtered(self._white(), self._transfer)
        ice = ice / ice.std((1, 2), keepdim=True) * self.uniform(0, 0.6)
        noise = noise + ice * torch.clamp(self._some(0.35) + self.carbon * 3, max=3.0)
        noise = noise * (1 - self.inside * self.uniform(0, 0.7))
        counts = self.uniform(np.log(0.3), np.log(40)).exp()  # electrons per pixel
        # Nothing is black: a crystal that fills the image would leave no noise to scale by.
        rate = torch.maximum(counts + clean * counts.sqrt(), 0.1 * counts)
        counted = torch.poisson(rate, generator=self._chance)
        counting = self._some(0.25) > 0
        counted, expected = ((image - counts) / counts.sqrt() for image in (counted, rate))
        return torch.where(counting, counted, clean + noise), torch.where(counting, expected, clean)

    def _detector(self):
        """Return the amplitude of the noise at each frequency, (N, S, S / 2 + 1)."""
        blur = self._some(0.5) * self.uniform(0.2, 1.1)
        falling = torch.exp(-2 * np.pi**2 * blur**2 * self._squared_per_px)
        radius = self._squared_per_px.sqrt()
        tilted = 1 + self._some(0.3) * self.uniform(-0.6, 0.8) * 2 * radius.clamp(max=0.5)
        cut = torch.where(self._some(0.1) > 0, self.uniform(0.3, 0.5), 1.0)
        long = self.uniform(np.log(0.005), np.log(0.06)).exp()  # 1/px, of what looks like ice
        slow = self._some(0.3) * self.uniform(0, 4) * torch.exp(-self._squared_per_px / long**2)
        return falling * tilted * (1 + slow).sqrt() * (0.02 + torch.sigmoid((cut - radius) * 100))
