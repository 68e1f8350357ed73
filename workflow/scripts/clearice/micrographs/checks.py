"""What is looked at in every set, micrograph and pair: one entry per check, and its threshold.

docs/checks.md is this table in words; a test holds the two together. The code that measures a
value compares it with the entry's threshold and says the entry's message.
"""

import re

from clearice.micrographs.check import REJECTED, STOPS, WARNING, Check
from clearice.micrographs.pixels.pixel_checks import OF_PIXELS

SHARED_NOISE = Check(
    "shared_noise",
    "correlation of the halves above half the Nyquist frequency",
    0.1,
    WARNING,
    "the noise of the halves is not independent: they correlate at {value:.3f} above half the "
    "Nyquist frequency (more than {threshold}); the network will keep what they share",
    "64 tiles of 256 px measure it to about 0.001; independent frames give 0",
)
ONE_IMAGE = Check(
    "one_image",
    "correlation of the halves above half the Nyquist frequency",
    0.99,
    REJECTED,
    "both halves are the same image",
    "two rounded or rescaled copies of one image correlate at 0.99 and more",
)
INVERTED_CONTRAST = Check(
    "inverted_contrast",
    "correlation of the halves at low frequencies, weighted by the signal expected there",
    -0.1,
    REJECTED,
    "the other half has inverted contrast",
    "and six standard errors: +0.2 to +0.9 in good pairs, the same below 0 if one is inverted",
)
FOREIGN_HALF = Check(
    "foreign_half",
    "part of the halves' own signal (power at low frequencies beyond the noise) that they do not "
    "share",
    0.7,
    REJECTED,
    "the halves do not show the same scene",
    "pairs lack at most 0.4 (single frames that drift), strangers of one session 0.88 and more; "
    "not measured where four standard errors exceed 0.6: too little signal, or filtered noise",
)
TURNED_HALF = Check(
    "turned_half",
    "the rotation or flip with which the halves correlate best at low frequencies",
    None,
    REJECTED,
    "the other half is {value}",
    "with eight standard errors or more, and 1.2 times those of any other way",
)
UNALIGNED_HALVES = Check(
    "unaligned_halves",
    "shift (px) with which the halves correlate best at low frequencies",
    5.0,
    WARNING,
    "the halves lie {value:.0f} px apart (more than {threshold:g}): detail will be smeared; align "
    "them",
    "frames without motion correction lie up to 3.5 px apart",
)
SHIFTED_HALF = Check(
    "shifted_half",
    "shift (px) with which the halves correlate best at low frequencies",
    16.0,
    REJECTED,
    "the halves show different parts of one scene",
    "no drift: other borders were cut off, or another place was taken",
)
SHARED_STRIPES = Check(
    "shared_stripes",
    "standard deviation of what the column or row means of both halves have in common, in noise "
    "levels",
    0.05,
    WARNING,
    "the halves share stripes of {value:.2f} noise levels (more than {threshold:g}) in their "
    "columns or rows; the network will keep them; correct the gain reference",
    "a tenth or so of the contrast of particles; independent halves give 0",
)
FILTERED_HALF = Check(
    "filtered_half",
    "how many times steeper the noise of one half falls towards high frequencies",
    4.0,
    WARNING,
    "the halves were filtered differently: the noise of one falls {value:.1f} times as steeply "
    "(more than {threshold:g}); give both halves as they were recorded",
    "one frame against 49 others gives 1.1",
)
NEIGHBOUR_NOISE = Check(
    "neighbour_noise",
    "correlation of the pixel halves above half of their Nyquist frequency",
    0.03,
    WARNING,
    "the noise of neighbouring pixels correlates at {value:.3f} (more than {threshold}); the "
    "network will keep a part of it",
    "signal has a few thousandths of the power there",
)
DEPENDENT_PIXELS = Check(
    "dependent_pixels",
    "correlation of the pixel halves above half of their Nyquist frequency",
    0.1,
    REJECTED,
    "the noise of neighbouring pixels is not independent",
    "an integrating camera gives more; with patches.target auto nothing is trained instead",
)
FLOAT16_STEP = Check(
    "float16_step",
    "step of float16 at the median, in noise levels, with `denoised.dtype: float16`",
    0.05,
    STOPS,
    "float16 would round away what denoising shows",
    "denoised particles have a contrast of some tenths; counts of less than about 2,000 per pixel "
    "pass",
)
FLOAT16_RANGE = Check(
    "float16_range",
    "largest pixel, with `denoised.dtype: float16`",
    65504.0,
    STOPS,
    "a pixel that float16 cannot hold",
    "the largest number of float16",
)

STATED_PIXEL_SIZE = Check(
    "stated_pixel_size",
    "pixel size of the header over that of the STAR file's optics group, less 1",
    0.01,
    WARNING,
    "the STAR file says {stated} angstrom per pixel, the header {header}: {stated} is used",
    "the optics group is what was calibrated; a header holds it to 4 digits at least",
)
CHECKS = (
    SHARED_NOISE,
    ONE_IMAGE,
    INVERTED_CONTRAST,
    FOREIGN_HALF,
    TURNED_HALF,
    UNALIGNED_HALVES,
    SHIFTED_HALF,
    SHARED_STRIPES,
    FILTERED_HALF,
    NEIGHBOUR_NOISE,
    DEPENDENT_PIXELS,
    STATED_PIXEL_SIZE,
    FLOAT16_STEP,
    FLOAT16_RANGE,
    *OF_PIXELS,
)


def measured_names(checks=CHECKS):
    """Return the names of the checks that leave a number in records: columns of tables."""
    return [c.name for c in checks if c.threshold is not None and c.outcome != STOPS]


def severity(check, value):
    """Return how far a measured value went: 1 and more at the threshold and beyond it.

    A negative threshold is reached from above, any other by values of either sign. None for what
    was not measured.
    """
    if value is None or check.threshold is None:
        return None
    return value / check.threshold if check.threshold < 0 else abs(value) / check.threshold


def table(checks=CHECKS):
    """Return the rows of docs/checks.md, Markdown, one per check."""
    rows = []
    for check in checks:
        threshold = "" if check.threshold is None else f"{check.threshold:,.6g}"
        message = re.sub(r"{.*?}", "...", check.message)
        cells = (f"`{check.name}`", check.subject, threshold, check.outcome, message)
        rows.append("| " + " | ".join((*cells, check.reason)) + " |")
    return "\n".join(rows)
