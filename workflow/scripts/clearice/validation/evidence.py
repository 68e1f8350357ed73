"""Evidence: a denoised micrograph against the raw other half and against the truth."""

import math

import numpy as np

from clearice.numbers import finite
from clearice.validation import linear_filters
from clearice.validation.images import tiles_of, window_size_px, windows_of
from clearice.validation.metrics import PairMoments, Range, StructuralSimilarity, snr_db
from clearice.validation.picking import (
    average_precision,
    blob_transfer,
    local_maxima,
    ranked_particles,
)
from clearice.validation.spectra import RingSums

WINDOW_PX = 512  # of spectra
TILE_PX = 1024  # of filtered images
PAIRS = (
    ("raw", "target"),
    ("denoised", "target"),
    ("denoised", "denoised_target"),
    ("raw", "truth"),
    ("denoised", "truth"),
    ("truth", "target"),  # the most that any denoiser could correlate with the target
)


def ring_sums(images, observers=()):
    """Return RingSums over square windows that cover the images (name -> image with blocks()).

    The names are raw, denoised, and target, denoised_target, truth if they exist. Each of
    `observers` is called with the spectra of every window.
    """
    size = window_size_px(images["raw"].height_px, images["raw"].width_px, WINDOW_PX)
    pairs = [pair for pair in PAIRS if set(pair) <= set(images)]
    own = [(name, name) for name in images]  # so that every image has a power
    rings = RingSums((size, size), pairs + own)
    for windows in windows_of(images, size):
        spectra = rings.add(windows)
        for observe in observers:
            observe(spectra)
    return rings


class Filters:
    """The linear filters that a network must beat: a Gaussian and a radial Wiener filter.

    `judge` is target or truth: the image that they are chosen by. frequency_per_px, wiener and
    gaussian are arrays over rings, `sigma_px` is that of the Gaussian.
    """

    def __init__(self, rings, judge):
        terms = rings.terms(corners=True)
        cross = rings.cross_power("raw", judge, corners=True)
        power = rings.power("raw", corners=True)
        self.frequency_per_px = rings.frequencies_per_px(corners=True)
        self.wiener = linear_filters.wiener_transfer(cross, power, terms)
        self.sigma_px = linear_filters.best_gaussian_sigma_px(
            cross, power, terms, self.frequency_per_px, up_to_scale=judge == "truth"
        )
        self.gaussian = linear_filters.gaussian_transfer(self.frequency_per_px, self.sigma_px)

    def images(self, tile, halo_px):
        """Return {gaussian, wiener}: the inside of a raw tile, filtered."""
        return {
            name: linear_filters.filtered(tile, transfer, self.frequency_per_px, halo_px)
            for name, transfer in (("gaussian", self.gaussian), ("wiener", self.wiener))
        }


def curves(rings):
    """Return pair -> Fourier ring correlation, lists with None where a ring has no power."""
    pairs = [pair for pair in rings.pairs if pair[0] != pair[1]]
    return {"_".join(pair): _listed(rings.correlation(*pair)) for pair in pairs}


def transfer(rings):
    """Return H(k) = <f(E) O*> / <E O*>: how much of the signal in a ring is left; a list.

    None where the two raw halves do not correlate: nothing is known of the signal there.
    """
    shared = rings.cross_power("raw", "target")
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = rings.cross_power("denoised", "target") / shared
    known = rings.correlation("raw", "target") > _significant_correlation(rings)
    return _listed(np.where(known, kept, np.nan))


def _significant_correlation(rings):
    """Return what chance exceeds in 0.1 % of rings: their terms, halved by the Hann taper."""
    independent = rings.terms() * rings.windows / 4  # a term and its conjugate are one
    return 3.1 / np.sqrt(np.maximum(independent, 1))


def compare_tiles(images, filters, centres=None, diameter_px=None):
    """Compare the images pixel by pixel with the filtered ones, in tiles.

    `filters` maps target and truth, if they exist, to their Filters; `centres` (m, 2) in px are
    those of particles. Returns (target's, truth's, picking's) results, None where there are none.
    """
    moments = {judge: {} for judge in filters}
    truth_range = _range_of(images["truth"]) if "truth" in images else Range()
    similarities, finders = {}, {}
    halo = linear_filters.HALO_PX
    if centres is not None:
        halo = max(halo, math.ceil(1.5 * diameter_px))
        finders = {n: _Finder(diameter_px) for n in ("raw", "wiener", "denoised", "truth")}
    inside = (slice(halo, -halo),) * 2
    for top, left, _, _, tile in tiles_of(images, TILE_PX, halo):
        for judge, chosen in filters.items():
            candidates = {name: tile[name][inside] for name in ("raw", "denoised")}
            candidates |= chosen.images(tile["raw"], halo)
            for name, image in candidates.items():
                pair = moments[judge].setdefault(name, PairMoments())
                pair.add(image, tile[judge][inside])
                if judge == "truth" and min(image.shape) > 10:
                    similarity = similarities.setdefault(
                        name, StructuralSimilarity(truth_range.span)
                    )
                    similarity.add(image, tile["truth"][inside])
        for name, finder in finders.items():
            finder.add(tile, name, filters["truth"], top, left, halo)
    return (
        _against_target(moments["target"], filters["target"]) if "target" in filters else None,
        _against_truth(moments["truth"], similarities, filters["truth"])
        if "truth" in filters
        else None,
        _picking(finders, centres, diameter_px) if finders else None,
    )


def _range_of(image):
    found = Range()
    for rows in image.blocks():
        found.add(rows)
    return found


def _against_target(moments, filters):
    """Squared errors against the raw other half, and how far above the noise floor they lie."""
    raw = moments["raw"]
    floor = raw.variance_second - raw.covariance  # the variance of the target's noise
    errors = {name: pair.mse for name, pair in moments.items()}
    excess = {name: error - floor for name, error in errors.items()}
    # The covariance of the halves sets the floor; chance moves it by this much.
    doubt = math.sqrt(raw.variance_first * raw.variance_second / raw.count)
    linear = min(excess["gaussian"], excess["wiener"])
    gain, reason = None, None
    if min(linear, excess["denoised"]) > 2 * doubt:
        gain = 10 * math.log10(linear / excess["denoised"])
    else:
        reason = "an error lies within two standard errors of the noise floor"
    return {
        "noise_floor": floor,
        "noise_floor_standard_error": doubt,
        "mse": errors,
        "excess": excess,
        "correlation": {name: finite(float(p.correlation)) for name, p in moments.items()},
        "gaussian_sigma_px": round(filters.sigma_px, 3),
        "gain_over_linear_db": gain,
        "no_gain_because": reason,
    }


def _against_truth(moments, similarities, filters):
    """SNR, correlation and SSIM against the truth."""
    ratios = {name: snr_db(p.correlation) for name, p in moments.items()}
    ratios = {name: None if v is None else finite(v) for name, v in ratios.items()}
    gain = None
    if None not in ratios.values():
        gain = ratios["denoised"] - max(ratios["gaussian"], ratios["wiener"])
    return {
        "snr_db": ratios,
        "correlation": {name: finite(float(p.correlation)) for name, p in moments.items()},
        "mse": {name: pair.mse for name, pair in moments.items()},
        "ssim": {name: similarity.mean for name, similarity in similarities.items()},
        "gaussian_sigma_px": round(filters.sigma_px, 3),
        "gain_over_linear_db": gain,
    }


class _Finder:
    """Candidates of particles of both signs in one image, tile by tile."""

    def __init__(self, diameter_px):
        self._diameter_px = diameter_px
        self._found = {1: [], -1: []}  # sign -> [(positions, scores)]

    def add(self, tile, name, filters, top, left, halo):
        frequency = filters.frequency_per_px
        transfer = blob_transfer(frequency, self._diameter_px)
        if name == "wiener":
            transfer, name = transfer * filters.wiener, "raw"
        # One pixel of halo stays: a maximum must be above its neighbours in the next tile, too.
        response = linear_filters.filtered(tile[name], transfer, frequency, halo - 1)
        for sign, found in self._found.items():
            positions, scores = local_maxima(sign * response)
            found.append((positions + np.array((top, left)), scores))

    def ranked(self, sign):
        """Return particles brighter (1) or darker (-1) than what is around them, best first."""
        parts = zip(*self._found[sign], strict=True)
        return ranked_particles(*map(np.concatenate, parts), self._diameter_px)


def _picking(finders, centres, diameter_px):
    """Average precision for each image; the truth's better sign is that of the particles."""
    best = {
        sign: average_precision(finders["truth"].ranked(sign), centres, diameter_px)
        for sign in (-1, 1)
    }
    sign = max(best, key=best.get)
    precision = {
        name: average_precision(finder.ranked(sign), centres, diameter_px)
        for name, finder in finders.items()
    }
    return {
        "particles": len(centres),
        "diameter_px": diameter_px,
        "dark_particles": sign == -1,
        "average_precision": precision,
    }


def _listed(values):
    return [finite(round(float(value), 6)) for value in values]
