"""Tests that an honest denoiser passes: it draws nothing in noise, and its tiles do not show.

Each null test, here and in planes.py, returns a dict: name, number, threshold, passed (None where
it could not be made), verdict in words, and what else it found. A false alarm has the stated rate
for a denoiser without the fault.
"""

import math
from statistics import NormalDist

import numpy as np

from clearice.numbers import finite
from clearice.validation.images import network_output
from clearice.validation.linear_filters import filtered, on_plane
from clearice.validation.spectra import noise_floor, radial_power_spectrum

FALSE_ALARM_RATE = 0.01
LARGEST_NOISE_RESPONSE = {"noise": 0.5, "floor": 0.1}  # by the spectrum that the noise has
LARGEST_EXCURSION = 0.5  # in pure noise, of the contrast in the micrograph
LARGEST_SEAM = 1e-3
_CONSTANT = 1e-12  # a variance of normalised output below float32's digits
SLOW_RINGS = 4  # left out of correlations: periods above a quarter of a window are background


def result(name, number, threshold, verdicts, **details):
    """Return the dict of a test that passes below its threshold; no NaN passes."""
    passed = bool(number < threshold)
    verdict = verdicts[0] if passed else verdicts[1]
    number = finite(float(number))
    return {
        "name": name,
        "number": number,
        "threshold": float(threshold),
        "passed": passed,
        "verdict": verdict,
        **details,
    }


def not_measured(name, reason):
    """Return the dict of a test that could not be made."""
    verdict = f"not measured: {reason}"
    return {"name": name, "number": None, "threshold": None, "passed": None, "verdict": verdict}


def gaussian_noise(shape, frequency_per_px, power, seed):
    """Return Gaussian noise (H, W) float32 with that power per term in rings of frequency."""
    white = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    amplitude = np.sqrt(on_plane(np.maximum(power, 0), frequency_per_px, shape))
    return np.fft.irfft2(np.fft.rfft2(white) * amplitude, s=shape).astype(np.float32)


def noise_response(network, window, device="cpu", seed=0):
    """Return the variance of a network's output on noise over that on a micrograph, >= 0 or NaN.

    `window` (H, W) is a part of the micrograph as the network sees it (normalised). The noise is
    Gaussian with the spectrum that spectra.noise_floor finds in the window, so that no other half
    is needed. A network near 1 draws in noise what it draws in the micrograph. NaN for a network
    that outputs a constant. (Noise with all of the micrograph's spectrum would tell less: the
    power of good particles at low frequencies makes a good network draw blobs, as it should.)
    """
    side = min(window.shape)
    frequency_per_px, power = radial_power_spectrum(window[:side, :side])
    power = noise_floor(frequency_per_px, power)
    noise = gaussian_noise(window.shape, frequency_per_px, power, seed)
    return response_ratio(*(network_output(network, image, device) for image in (window, noise)))


def response_ratio(drawn, in_noise):
    """Return the ratio of the variances of `in_noise` and `drawn`, (H, W) each, no background.

    A background that a network rightly keeps would hide all else that it draws.
    """
    drawn, in_noise = (
        float(_without_background(image).var(dtype=np.float64)) for image in (drawn, in_noise)
    )
    return in_noise / drawn if drawn > _CONSTANT else math.nan


def _without_background(image):
    """Return an image (H, W) in periods of up to a quarter of its shorter side."""
    halo = 64
    frequency_per_px = np.arange(min(image.shape)) / min(image.shape)
    fine = (np.arange(len(frequency_per_px)) >= SLOW_RINGS).astype(float)
    padded = np.pad(image, halo, mode="symmetric")
    fine_part = filtered(padded, fine, frequency_per_px, halo)
    return fine_part - fine_part.mean(dtype=np.float64)


def noise_response_test(ratio, spectrum):
    """Judge a ratio of noise_response or response_ratio; `spectrum` says which the noise had."""
    return result(
        "noise response",
        ratio,
        LARGEST_NOISE_RESPONSE[spectrum],
        (
            f"in noise it draws {ratio:.0%} of what it draws in the micrograph",
            f"in noise it draws {ratio:.0%} of what it draws in the micrograph: do not trust what "
            "is visible"
            if math.isfinite(ratio)
            else "it draws nothing",
        ),
        spectrum=spectrum,
    )


def flatness_test(drawn, in_noise, frequency_per_px, noise_power, wiener):
    """Pure noise must come out flat.

    `drawn` and `in_noise` (H, W) are a network's output on the micrograph and on noise of its
    spectrum, `noise_power` (per term, normalised), which `wiener` filters; both on rings. The
    largest excursion must stay below what the Wiener filter leaves of the noise by chance: z
    standard deviations, z being the two-sided normal quantile that one of all pixels exceeds in
    1 % of cases (union bound; pixels that correlate exceed it more rarely). An excursion of less
    than half the contrast in the micrograph (the 99.9 % quantile there) is not counted: a network
    that is better than the filter leaves less noise, but its rare errors are larger.
    """
    drawn, in_noise = map(_without_background, (drawn, in_noise))
    z = NormalDist().inv_cdf(1 - FALSE_ALARM_RATE / (2 * in_noise.size))
    spectrum = np.maximum(noise_power, 0) * np.square(wiener)
    sigma = math.sqrt(on_plane(spectrum, frequency_per_px, in_noise.shape).mean(dtype=np.float64))
    contrast = float(np.quantile(np.abs(drawn), 0.999))
    return result(
        "flatness",
        float(np.abs(in_noise).max()),
        max(z * sigma, LARGEST_EXCURSION * contrast),
        (
            "in pure noise nothing stands out",
            "in pure noise it draws what could be taken for a particle",
        ),
        linear_excursion=z * sigma,
        contrast=contrast,
        noise_std=float(in_noise.std(dtype=np.float64)),
        false_alarm_rate=FALSE_ALARM_RATE,
    )


def seam_test(network, window, device="cpu"):
    """Two sizes of tiles must give the same result, but for rounding.

    The number is the largest difference over the standard deviation of the result.
    """
    side = min(window.shape)
    if 2 * network.receptive_radius_px >= side:
        return not_measured("seams", "every tile would see the whole micrograph")
    first, second = (
        network_output(network, window, device, max(64, side // parts)) for parts in (2, 3)
    )
    difference, std = float(np.abs(first - second).max()), float(first.std(dtype=np.float64))
    return result(
        "seams",
        difference / std if difference > 0 else 0.0,
        LARGEST_SEAM,
        ("no seams between tiles", "tiles show: the network sees further than it says"),
    )
