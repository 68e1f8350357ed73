"""The two halves of a pair: do they fit together, and is their noise independent?

Noise2Noise learns whatever both halves share. Noise that they share (the same frames in both,
one image given twice, a gain reference that leaks in) is learnt as if it were signal; signal that
they do not share is lost.
"""

from clearice.errors import InputError
from clearice.micrographs.halves.pairs import judge_pair, same_image

_SCALES = 0.1, 3.0  # of the standard deviations: a mean of 50 frames against one is 0.14
_SAME_PIXEL_SIZE = 1e-3  # relative: cells are stored as float32, often from rounded input


def check_headers(first, second):
    """Raise InputError unless both readers have one shape and pixel size; return warnings."""
    shapes = [f"{half.height_px} x {half.width_px} px" for half in (first, second)]
    if shapes[0] != shapes[1]:
        raise InputError(
            "the halves differ in shape",
            file=second.path,
            expected=f"{shapes[0]} as {first.path}",
            found=shapes[1],
            advice="pair halves of one micrograph",
        )
    sizes = first.pixel_size_angstrom, second.pixel_size_angstrom
    if None in sizes:
        return [] if sizes == (None, None) else ["only one half gives a pixel size"]
    if abs(sizes[0] - sizes[1]) > _SAME_PIXEL_SIZE * sizes[0]:
        raise InputError(
            "the halves differ in pixel size",
            file=second.path,
            expected=f"{sizes[0]:.5g} angstrom as {first.path}",
            found=f"{sizes[1]:.5g}",
            advice="pair halves of one micrograph",
        )
    return []


def compare_halves(survey, paths):
    """Return warnings about a surveyed pair.

    Raises InputError where nothing can be learnt from it (pairs.judge_pair).
    """
    if not survey.difference.maximum > survey.difference.minimum:
        raise same_image("the halves are the same pixels", paths, "a constant difference")
    warnings = judge_pair(survey.pair, paths)
    ratio = survey.target.std / survey.input.std
    shift = abs(survey.target.mean - survey.input.mean) / survey.input.std
    if not (_SCALES[0] <= ratio <= _SCALES[1] and shift <= _SCALES[1]):
        warnings.append(
            "the halves are on different scales (standard deviations "
            f"{survey.input.std:.4g} and {survey.target.std:.4g}, means {survey.input.mean:.4g} "
            f"and {survey.target.mean:.4g}): both get the affine of the input half"
        )
    return warnings
