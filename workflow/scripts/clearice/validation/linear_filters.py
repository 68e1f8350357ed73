"""The best that a linear filter does: a Gaussian and a radial Wiener filter, fitted to be beaten.

Both are chosen on the micrograph that they are judged on, which no network is: it flatters them.
A filter is its transfer on rings of spatial frequency, 0..0.71 cycles per pixel with the corners.
"""

import numpy as np

SIGMAS_PX = np.geomspace(0.3, 16, 48)  # of the Gaussians that are tried
HALO_PX = 64  # 4 sigma of the widest


def gaussian_transfer(frequency_per_px, sigma_px):
    """Return the transfer of a Gaussian blur of `sigma_px`."""
    return np.exp(-2 * np.square(np.pi * sigma_px * frequency_per_px))


def smoothed(values, terms):
    """Average rings with their two neighbours, weighted by the Fourier terms of each."""
    kernel = np.ones(3)
    return np.convolve(values * terms, kernel, "same") / np.convolve(terms, kernel, "same")


def wiener_transfer(cross_power, power, terms):
    """Return the radial Wiener filter S / P, smoothed over three rings, in 0..1.

    `cross_power` of the input with an independent half (or the truth) estimates the power of the
    signal S, `power` is that of the input P. Wiener 1949, Extrapolation, Interpolation and
    Smoothing of Stationary Time Series.
    """
    signal, power = smoothed(cross_power, terms), smoothed(power, terms)
    with np.errstate(divide="ignore", invalid="ignore"):
        transfer = np.where(power > 0, signal / power, 0.0)
    return np.clip(transfer, 0.0, 1.0)


def best_gaussian_sigma_px(cross_power, power, terms, frequency_per_px, *, up_to_scale):
    """Return the sigma (px) of the best Gaussian.

    By the squared error against the other image, or with `up_to_scale` by the correlation with
    it (a linear fit then costs nothing, as in the SNR).
    """
    transfers = gaussian_transfer(frequency_per_px[None], SIGMAS_PX[:, None])  # (sigmas, rings)
    overlap = transfers @ (terms * cross_power)
    energy = np.square(transfers) @ (terms * power)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(energy > 0, overlap * abs(overlap) / energy, 0.0)
    return float(SIGMAS_PX[np.argmax(gain if up_to_scale else 2 * overlap - energy)])


def filtered(tile, transfer, frequency_per_px, halo_px):
    """Return the inside of a tile with a halo, (h + 2 halo, w + 2 halo), filtered: (h, w).

    `transfer` is given at `frequency_per_px` and interpolated. The mean of the tile is kept.
    """
    mean = tile.mean(dtype=np.float64)
    spectrum = np.fft.rfft2(np.asarray(tile - mean, np.float32))
    spectrum *= on_plane(transfer, frequency_per_px, tile.shape)
    result = np.fft.irfft2(spectrum, s=tile.shape)
    inside = tuple(slice(halo_px, side - halo_px) for side in tile.shape)
    return (result[inside] + mean).astype(np.float32)


def on_plane(values, frequency_per_px, shape):
    """Interpolate values on rings to the terms of rfft2 of that shape, (H, W // 2 + 1) float32."""
    y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    radius = np.hypot(y, x)
    return np.interp(radius.ravel(), frequency_per_px, values).reshape(radius.shape).astype("f4")
