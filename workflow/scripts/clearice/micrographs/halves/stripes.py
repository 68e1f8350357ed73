"""Stripes that two halves share: patterns in the means of their columns or rows.

A camera whose gain reference is not right leaves them in both halves, in the same place, and a
network keeps them. They are looked for above a tenth of a cycle per pixel, where the means of
thousands of pixels hold no signal that would matter; what there is, is measured off the axes of
Fourier space and taken off.
"""

import math

import numpy as np

_LOWEST_PER_PX = 0.1
_LEAST_SCORE = 6  # standard errors
_SIGNAL = 2  # times what the rest of Fourier space has: few coefficients scatter


def shared_stripes(means, counts, noise_power, signal_power):
    """Return the standard deviation of stripes that two halves share, in noise levels.

    `means` is a list of pairs, (first half, second half), float (n,) each: the column means, and
    the row means; `counts` are the numbers of pixels that each list's means are of. The stronger
    of the two counts; 0 where chance could make it. `noise_power` is the variance of the noise of
    a pixel (geometric mean of both halves), `signal_power` what the halves share per pixel at
    those frequencies, off the axes. None where there is no noise, or too few columns and rows.
    """
    if not noise_power > 0:
        return None
    found = []
    for (first, second), count in zip(means, counts, strict=True):
        variance = _shared_variance(first, second, max(0.0, _SIGNAL * signal_power / count))
        if variance is not None:
            found.append(math.sqrt(variance / noise_power))
    return max(found, default=None)


def _shared_variance(first, second, expected):
    """Return the variance of what two profiles share beyond the `expected`; None if too short."""
    window = np.hanning(len(first) + 2)[1:-1]
    spectra = [np.fft.rfft((profile - profile.mean()) * window) for profile in (first, second)]
    high = np.fft.rfftfreq(len(first)) > _LOWEST_PER_PX
    if high.sum() < 16:
        return None
    energy = np.square(window).sum()
    a, b = (spectrum[high] / math.sqrt(energy) for spectrum in spectra)
    cross = float((a * b.conj()).real.mean())
    powers = float(np.square(np.abs(a)).mean() * np.square(np.abs(b)).mean())
    # Of a mean over products of real and imaginary parts; the window halves what is independent.
    error = math.sqrt(powers / high.sum())
    if not cross - expected > _LEAST_SCORE * error:
        return 0.0
    return (cross - expected) * (1 - 2 * _LOWEST_PER_PX)
