"""Two halves compared, from one pass over the rows of both: may a network learn one from the other?

What a pair must share (the scene) and must not share (noise, stripes of the camera) are measured
apart, in half_noise.py, shared_signal.py and stripes.py. Thresholds and words are in checks.py.
"""

import dataclasses

from clearice.errors import InputError
from clearice.micrographs import checks
from clearice.micrographs.halves.half_noise import HighFrequencyCorrelation
from clearice.micrographs.halves.shared_signal import (
    NO_SIGNAL,
    BlockMeans,
    SharedSignal,
    shared_signal,
)
from clearice.micrographs.halves.stripes import shared_stripes
from clearice.numbers import finite

_LEAST_SCORE = 6  # standard errors by which contrast must be inverted
_SHARED_BY_GOOD_PAIRS = 0.6  # of their signal, at least; frames that drift apart share least
_LEAST_SIDE_PX = 128  # of what is compared: in smaller ones the noise is not known well enough
_SIGNIFICANT = 4  # standard errors that must lie between a stranger and that


@dataclasses.dataclass(frozen=True)
class PairSurvey:
    """What was measured of two halves; None stands for what could not be.

    `noise_correlation`: above half the Nyquist frequency; `filtering`: how much steeper the noise
    of one half falls there than that of the other, 1 or more; `stripes`: standard deviation of the
    stripes that they share, in noise levels; `signal`: a shared_signal.SharedSignal, None for two
    halves of one image, which share what they hold.
    """

    noise_correlation: float | None
    filtering: float | None
    stripes: float | None
    signal: SharedSignal | None

    def numbers(self):
        """Return name of a check -> number or None, for the record of a shard."""
        found = {checks.SHARED_STRIPES.name: self.stripes}
        if self.signal is not None:
            shift = None if self.signal.movement is None else self.signal.movement.shift_px
            found |= {
                checks.SHARED_NOISE.name: self.noise_correlation,
                checks.ONE_IMAGE.name: self.noise_correlation,
                checks.FILTERED_HALF.name: self.filtering,
                checks.INVERTED_CONTRAST.name: self.signal.correlation,
                checks.FOREIGN_HALF.name: self._missing(),
                checks.UNALIGNED_HALVES.name: shift,
                checks.SHIFTED_HALF.name: shift,
            }
        return {name: v if v is None else finite(float(f"{v:.4g}")) for name, v in found.items()}

    def _missing(self):
        """Return the part of their signal that the halves do not share, None where unknown."""
        share, error = self.signal.share, self.signal.share_error
        certain = share is not None and _SIGNIFICANT * error <= _SHARED_BY_GOOD_PAIRS
        return 1 - share if certain else None

    def is_foreign(self):
        """Say whether the halves certainly show two scenes."""
        missing = self._missing()
        if missing is None or missing < checks.FOREIGN_HALF.threshold:
            return False
        doubt = _SIGNIFICANT * self.signal.share_error
        return 1 - missing + doubt <= _SHARED_BY_GOOD_PAIRS

    def is_inverted(self):
        """Say whether one half certainly has the other's contrast, inverted."""
        signal = self.signal
        if signal.movement is not None and signal.movement.inverted:
            return True
        reached = (signal.correlation or 0) <= checks.INVERTED_CONTRAST.threshold
        return reached and signal.score <= -_LEAST_SCORE


class PairMeasure:
    """Measures a PairSurvey from the rows of two images in order.

    `scenes` False: both are halves of one image (pixel halves), whose signal need not be compared.
    """

    def __init__(self, height_px, width_px, scenes=True):
        self._noise = HighFrequencyCorrelation(height_px, width_px)
        self._means = [BlockMeans(height_px, width_px) for _ in range(2)]
        self._scenes, self._shape = scenes, (height_px, width_px)

    def add(self, first, second):
        """Take in the next rows of both images, float32 (b, W)."""
        self._noise.add(first, second)
        for means, rows in zip(self._means, (first, second), strict=True):
            means.add(rows)

    def result(self):
        """Return the PairSurvey of all rows."""
        noise = self._noise.noise()
        whiteness = [
            above / below if below > 0 else 0.0
            for above, below in zip(noise.above, noise.below, strict=True)
        ]
        filtering = None
        if min(whiteness) > 0:
            filtering = max(whiteness) / min(whiteness)
        profiles = [
            tuple(means.column_means() for means in self._means),
            tuple(means.row_means() for means in self._means),
        ]
        level = (noise.below[0] * noise.below[1]) ** 0.5
        stripes = shared_stripes(profiles, self._shape, level, noise.shared)
        signal = None
        if self._scenes:
            images = [means.image() for means in self._means]
            signal = NO_SIGNAL
            if min(self._shape) >= _LEAST_SIDE_PX:
                signal = shared_signal(images, self._means[0].bin_px, noise.below, whiteness)
        return PairSurvey(self._noise.result(), filtering, stripes, signal)


def measure_pair(blocks, others, shape):
    """Return the PairSurvey of two images of `shape` (H, W) that yield rows, float32 (b, W)."""
    measure = PairMeasure(*shape)
    for rows, other_rows in zip(blocks, others, strict=True):
        measure.add(rows, other_rows)
    return measure.result()


def judge_pair(pair, paths):
    """Return warnings about the PairSurvey of the halves at `paths`.

    Raises InputError for halves that nothing can be learnt from: one image twice, inverted
    contrast, a half that is turned, shifted or of another micrograph.
    """
    _require_one_scene(pair, paths)
    correlation, warnings = pair.noise_correlation, []
    if correlation is None:
        warnings.append("the halves hold nothing above half the Nyquist frequency to compare")
    elif not correlation < checks.ONE_IMAGE.threshold:
        raise same_image(
            checks.ONE_IMAGE.message, paths, f"correlation {correlation:.4f} of their noise"
        )
    elif not abs(correlation) <= checks.SHARED_NOISE.threshold:
        warnings.append(_said(checks.SHARED_NOISE, correlation))
    movement = pair.signal.movement
    if movement is not None and movement.shift_px >= checks.UNALIGNED_HALVES.threshold:
        warnings.append(_said(checks.UNALIGNED_HALVES, movement.shift_px))
    if pair.filtering is not None and pair.filtering >= checks.FILTERED_HALF.threshold:
        warnings.append(_said(checks.FILTERED_HALF, pair.filtering))
    return warnings + stripe_warnings(pair)


def pair_doubts(first, second):
    """Return why what one half says of the other is no evidence, a list of texts.

    Both are rows.MicrographRows of one shape.
    """
    shape = first.height_px, first.width_px
    pair = measure_pair(first.blocks(), second.blocks(), shape)
    try:
        return judge_pair(pair, [first.path, second.path])
    except InputError as error:
        return [str(error)]


def stripe_warnings(pair):
    """Return what is to be said of the stripes that the two images of a PairSurvey share."""
    if pair.stripes is None or pair.stripes < checks.SHARED_STRIPES.threshold:
        return []
    return [_said(checks.SHARED_STRIPES, pair.stripes)]


def same_image(what, paths, found):
    """Return the InputError of a pair that is one image twice."""
    return InputError(
        what,
        file=paths[1],
        expected=f"noise independent of {paths[0]}",
        found=found,
        advice="make halves from even and odd frames",
    )


def _require_one_scene(pair, paths):
    """Raise InputError unless both halves show one scene in one way, or nothing that can tell."""
    movement, inverted = pair.signal.movement, pair.is_inverted()
    if movement is not None and movement.turned:
        raise InputError(
            checks.TURNED_HALF.message.format(value=movement.turned),
            file=paths[1],
            expected=f"the orientation of {paths[0]}",
            advice=movement.remedy + (", and multiply it by -1" if inverted else ""),
        )
    if inverted:
        raise InputError(
            checks.INVERTED_CONTRAST.message,
            file=paths[1],
            expected=f"the contrast of {paths[0]}",
            found=f"a correlation of {pair.signal.correlation:.2f} at low frequencies",
            advice="multiply it by -1",
        )
    if movement is not None and movement.shift_px >= checks.SHIFTED_HALF.threshold:
        raise InputError(
            checks.SHIFTED_HALF.message,
            file=paths[1],
            expected=f"the field of view of {paths[0]}",
            found=f"the same scene {movement.down_px:+.0f} rows and {movement.right_px:+.0f} "
            "columns further",
            advice="cut both halves alike",
        )
    if pair.is_foreign():
        raise InputError(
            checks.FOREIGN_HALF.message,
            file=paths[1],
            expected=f"the scene of {paths[0]}",
            found=f"{max(0.0, pair.signal.share):.0%} of the signal in common",
            advice="pair halves of one micrograph, processed alike",
        )


def _said(check, value):
    return check.message.format(value=value, threshold=check.threshold)
