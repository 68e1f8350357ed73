"""How one half lies on the other: flipped, rotated, shifted, or as it should.

The cross-correlation of both, with the frequencies that hold no signal weighted down, peaks where
they fit. All eight symmetries of the square are tried (four where the sides differ).
"""

import dataclasses
import math

import numpy as np

_LEAST_SCORE = 8  # standard errors: 4 million places are looked at, and chance stays below 6
_LEAST_RATIO = 1.2  # of a far place to no shift at all: a crystal fits itself in many places
_LEAST_GAIN = 50  # near: twice the gain in log-likelihood
_NEAR = 2  # pixels of block means
_STEPS = 10  # per pixel of block means

# How the other half lies, what puts it right, and that as an operation on its block means. In rows
# and columns: some programs show the first row on top, others at the bottom.
_SYMMETRIES = (
    (None, None, lambda image: image),
    (
        "rotated by 180 degrees",
        "reverse the order of its rows and of its columns",
        lambda image: image[::-1, ::-1],
    ),
    ("flipped top to bottom", "reverse the order of its rows", lambda image: image[::-1]),
    ("flipped left to right", "reverse the order of its columns", lambda image: image[:, ::-1]),
    ("transposed", "exchange its rows and columns", lambda image: image.T),
    (
        "rotated by 90 degrees",
        "exchange its rows and columns, then reverse the order of the rows",
        lambda image: image.T[::-1],
    ),
    (
        "rotated by 90 degrees",
        "exchange its rows and columns, then reverse the order of the columns",
        lambda image: image.T[:, ::-1],
    ),
    (
        "transposed and rotated by 180 degrees",
        "exchange its rows and columns, then reverse the order of both",
        lambda image: image.T[::-1, ::-1],
    ),
)


@dataclasses.dataclass(frozen=True)
class Movement:
    """Where the other half fits the first.

    `turned` says how it is turned and `remedy` what puts it right, both None where it is not. It
    then lies `down_px` rows and `right_px` columns beyond the first, in pixels of the micrograph;
    with `inverted` contrast or not.
    """

    turned: str | None
    remedy: str | None
    down_px: float
    right_px: float
    inverted: bool

    @property
    def shift_px(self):
        """Length of the shift (pixels of the micrograph)."""
        return math.hypot(self.down_px, self.right_px)


def find_movement(spectra, second, weights, bin_px, *, turned):
    """Return the Movement of the second image against the first, or None where none is certain.

    `spectra` are those (rfft2, norm "forward") of both images of block means without plane,
    tapered, and `second` is the second image itself (h, w); `weights` (h, w // 2 + 1) make the sum
    of the products of their coefficients a score in standard errors. Only with `turned` are flips
    and rotations looked for.
    """
    weighted = spectra[0] * weights
    square = second.shape[0] == second.shape[1]
    best = None
    for *words, turn in _SYMMETRIES[: (8 if square else 4) if turned else 1]:
        other = np.fft.rfft2(turn(second), norm="forward") if words[0] else spectra[1]
        cross = weighted * other.conj()
        scores = np.fft.irfft2(cross, s=second.shape) * (second.size / 2)
        at = np.unravel_index(np.abs(scores).argmax(), scores.shape)
        place = _Place(words, cross, at, scores)
        if best is None or abs(place.score) > _LEAST_RATIO * abs(best.score):
            best = place
    if not abs(best.score) >= _LEAST_SCORE:
        return None
    down, right = best.offset()
    turned, remedy = best.words
    if turned and math.hypot(down, right) < _NEAR:
        down = right = 0.0  # rows and columns beyond the last block
    return Movement(turned, remedy, *(float(-n * bin_px) for n in (down, right)), best.score < 0)


class _Place:
    """The best place of one symmetry."""

    def __init__(self, words, cross, at, scores):
        self.words, self._cross, self._shape = words, cross, scores.shape
        self._at = [
            i if i < side / 2 else i - side for i, side in zip(at, scores.shape, strict=True)
        ]
        self.score, self._unmoved = float(scores[at]), float(scores[0, 0])

    def offset(self):
        """Return its offset (blocks down, right) to a tenth; 0, 0 where that fits as well."""
        sign = math.copysign(1, self.score)
        near = math.hypot(*self._at) <= _NEAR
        if not near:
            unmoved = max(0.0, sign * self._unmoved)
            return self._at if abs(self.score) > _LEAST_RATIO * unmoved else (0.0, 0.0)
        steps = np.arange(-_STEPS, _STEPS + 1) / _STEPS
        downs, rights = (middle + steps for middle in self._at)
        fine = sign * self._scores(downs, rights)
        at = np.unravel_index(fine.argmax(), fine.shape)
        gain = fine[at] ** 2 - max(0.0, sign * self._unmoved) ** 2
        return (downs[at[0]], rights[at[1]]) if gain >= _LEAST_GAIN else (0.0, 0.0)

    def _scores(self, downs, rights):
        """Return the scores at fractional offsets, (downs, rights)."""
        height, width = self._shape
        phase_down = np.exp(2j * np.pi * np.outer(downs, np.fft.fftfreq(height)))
        phase_right = np.exp(2j * np.pi * np.outer(rights, np.fft.rfftfreq(width)))
        # Not by BLAS, as in half_noise.py.
        half = np.einsum("dh,hw->dw", phase_down.astype(self._cross.dtype), self._cross)
        return np.einsum("dw,rw->dr", half, phase_right).real
