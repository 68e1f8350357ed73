"""The sides of a shard, input and target: files become the rows that patches are cut from.

Two passes over the rows: survey_sides takes the statistics and checks, side_rows normalises.
An image is named by (path, diagonal): all of a file where `diagonal` is None, else one of its two
pixel halves.
"""

import contextlib
import dataclasses
import math
from pathlib import Path

from clearice.errors import InputError
from clearice.micrographs.checks import STATED_PIXEL_SIZE
from clearice.micrographs.halves.fit import check_headers
from clearice.micrographs.halves.pairs import stripe_warnings
from clearice.micrographs.halves.pixel_halves import PIXEL_CHECKS, PixelHalf, require_independent
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.normalisation import normalise
from clearice.micrographs.pixels.survey import Survey, survey_difference, survey_warnings
from clearice.micrographs.rows import AUTO, MicrographRows, hot_pixel_limit
from clearice.shards.patches import patch_origins
from clearice.shards.targets import TARGETS

MAX_BLANK_FRACTION = 0.5  # of a patch


def images_of(paths, target):
    """Return (images, target kind): what patches are cut from for `patches.target`.

    `paths` are the micrograph and, with `halves` alone, its other half. `auto` without one means
    pixel halves.
    """
    if target not in ("auto", "pixel_halves"):
        return [(path, None) for path in paths], target
    if len(paths) == 2:
        return [(path, None) for path in paths], "halves"
    return [(paths[0], diagonal) for diagonal in (0, 1)], "pixel_halves"


def survey_sides(pool, images, patches, dtype, checks, stated_pixel_size_angstrom=None):
    """Survey the image or the pair; return facts for the record, limits, and hashes of pixels.

    `patches` holds the keys of that section of config.yaml; `pool` runs one pass per image. The
    numbers of micrographs/checks.py go into the dict `checks`, also where this ends in an error.
    `stated_pixel_size_angstrom` is a table's, which counts more than a header's. Limits are those
    of each image's hot pixels, hashes (pixels_xxh3) one per file.
    Raises InputError if the micrograph cannot be used.
    """
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(_opened(image)) for image in images]
        facts = header_facts(readers, patches)
        _use_pixel_size(facts, images, stated_pixel_size_angstrom, checks)
        limits = [hot_pixel_limit(reader, patches["hot_pixel_threshold"]) for reader in readers]
    shape = facts["height_px"], facts["width_px"]
    survey, whole, surveys, blank = _surveyed(pool, images, limits, shape, checks)
    # where nothing is hot nothing need be looked for again
    limits = [v if s.hot_pixels else None for v, s in zip(limits, surveys, strict=True)]
    judged = [whole] if whole else surveys
    digests = [image.pixels_xxh3 for image in judged]
    for (path, _), image in zip(images, judged, strict=False):
        facts["warnings"] += [f"{Path(path).name}: {text}" for text in image.warnings]
    path, _ = images[0]
    if whole is None:
        facts["warnings"] += survey_warnings(survey, [path for path, _ in images], dtype)
    else:
        facts["warnings"] += survey_warnings(Survey(survey.input), [path], dtype)
        checks |= dict.fromkeys(PIXEL_CHECKS, survey.correlation)
        facts["warnings"] += _independence(survey.correlation, path, patches["target"])
        facts["warnings"] += stripe_warnings(survey.pair)
    # only now that the file is known to be whole: a header alone could promise billions
    grid = patches["size_px"], patches["stride_px"], patches["cover_border"]
    origins = _with_a_picture(patch_origins(*shape, *grid), patches["size_px"], blank, path)
    facts["n_patches"] = len(origins)
    facts["y"], facts["x"] = origins.T.tolist()
    facts["hot_pixels"] = sum(image.hot_pixels for image in surveys)
    facts["minimum"] = min(image.input.minimum for image in judged)
    facts["maximum"] = max(image.input.maximum for image in judged)
    facts["mean"], facts["std"] = survey.input.location, survey.input.scale
    facts["noise_floor"], facts["half_correlation"] = survey.noise_floor, survey.correlation
    return facts, limits, digests


def _use_pixel_size(facts, images, stated, checks):
    """Put a table's pixel size, in angstrom or None, into the facts, and what contradicts it."""
    binning = 1 if images[0][1] is None else 2  # of pixel halves
    header = facts["pixel_size_angstrom"]
    off, warnings = None, []
    if stated:  # then alone is the module needed that compares sets
        from clearice.micrographs.whole_set.collection import pixel_size_warnings

        off, warnings = pixel_size_warnings(header and header / binning, stated)
    checks[STATED_PIXEL_SIZE.name] = off
    facts["pixel_size_angstrom"] = stated * binning if stated else header
    facts["warnings"] += warnings


def _surveyed(pool, images, limits, shape, checks):
    """Return (survey of the pair, of the whole micrograph or None, of each image, BlankArea)."""
    difference, whole, numbers = None, None, []
    scenes = images[0][1] is None  # pixel halves have one for certain
    if len(images) == 2:
        difference = pool.submit(survey_difference, *_cleaned(images, limits), shape, scenes)
    if not scenes:  # pixel halves are on the scale of the whole micrograph
        whole = pool.submit(_survey, (images[0][0], None), _whole_limit(limits[0]), numbers)
    try:
        ignored = numbers if scenes else []
        surveys = list(pool.map(_survey, images, limits, [ignored] * len(images)))
        whole = whole and whole.result()
    finally:
        for found in numbers:
            checks |= {name: max(v, checks.get(name, v)) for name, v in found.items()}
    survey, blank = dataclasses.replace(surveys[0]), surveys[0].blank
    if whole:
        scale = whole.input.scale * math.sqrt(0.5)  # of a mean of two pixels
        location = whole.input.location
        survey.input = dataclasses.replace(survey.input, location=location, scale=scale)
    if difference:
        survey.target, blank = surveys[1].input, blank.union(surveys[1].blank)
        survey.difference, survey.pair = difference.result()
        if blank:  # both share it: it would be taken for signal, or for noise
            both = [
                blank.filled(rows, image.input.location)
                for rows, image in zip(_cleaned(images, limits), surveys, strict=True)
            ]
            live = blank.counted_pieces()
            survey.difference, survey.pair = survey_difference(*both, shape, scenes, live)
        checks |= survey.pair.numbers()
    return survey, whole, surveys, blank


def _cleaned(images, limits):
    """Return the blocks of each image without its clearly hot pixels, whatever is cut."""
    limits = [AUTO if limit is None else limit for limit in limits]
    return [_blocks(image, limit) for image, limit in zip(images, limits, strict=True)]


def _with_a_picture(origins, size_px, blank, path):
    """Return the origins of patches that are not mostly blank; raise InputError if none is left."""
    kept = origins[blank.blank_fractions(origins, size_px) < MAX_BLANK_FRACTION]
    if not len(kept):
        raise InputError(
            f"every patch of {size_px} px is mostly blank",
            file=path,
            found=f"blank {blank.words()}",
            advice="use a smaller patches.size_px, or make the micrograph again",
        )
    return kept


def _whole_limit(limit):
    """Return the limit for a micrograph, from that for its pixel halves."""
    return limit if limit in (None, AUTO) else limit * math.sqrt(2)


def header_facts(readers, patches):
    """Return what the headers say for the record; raise InputError if they don't fit."""
    first, size_px = readers[0], patches["size_px"]
    files = {reader.path: reader for reader in readers}  # pixel halves: two of one file
    warnings = [f"{Path(r.path).name}: {text}" for r in files.values() for text in r.warnings]
    if len(readers) == 2:
        warnings += check_headers(*readers)
    shape = first.height_px, first.width_px
    if min(shape) < size_px:
        raise InputError(
            "smaller than a patch",
            file=first.path,
            expected=f"at least {size_px} x {size_px} px",
            found=f"{shape[0]} x {shape[1]}",
            advice="use a smaller patches.size_px",
        )
    return {
        "warnings": warnings,
        "height_px": shape[0],
        "width_px": shape[1],
        "pixel_size_angstrom": first.pixel_size_angstrom,
    }


def _independence(correlation, path, target):
    """Return warnings; with `auto` correlated noise is one: no denoiser is then trained on it."""
    try:
        return require_independent(correlation, path)
    except InputError as error:
        if target != "auto":
            raise
        return [f"{error.what}: {error.found}; s2d_unet keeps its pretrained weights"]


def side_rows(images, limits, record, patches):
    """Return the rows of input and of target: normalised, float32 (b, W) per block, in order.

    Each side reads its own file, so that the two can be written at the same time. Both are empty
    for a rejected micrograph.
    """
    if record["status"] == "rejected":
        return (), ()
    # Without a target half both sides are made of the one micrograph.
    both = (images[0], limits[0]), (images[-1], limits[-1])
    input_rows, target_rows = (_normalised(image, limit, record) for image, limit in both)
    return TARGETS[record["target_kind"]](input_rows, target_rows, record, patches)


def _normalised(image, limit, record):
    return (
        normalise(rows, record["mean"], record["std"], out=rows) for rows in _blocks(image, limit)
    )


@contextlib.contextmanager
def _opened(image, hashed=False):
    path, diagonal = image
    with open_micrograph(path, hashed) as micrograph:
        yield micrograph if diagonal is None else PixelHalf(micrograph, diagonal)


def _blocks(image, limit):
    """Yield the rows of an image of its own reader: passes over one file run at the same time."""
    with _opened(image) as micrograph:
        yield from MicrographRows(micrograph, limit).blocks()


def _survey(image, limit, numbers):
    """Return the Survey of one image; the numbers of its checks are added to the list."""
    with _opened(image, hashed=True) as micrograph:
        rows = MicrographRows(micrograph, limit)
        numbers.append(rows.numbers)
        survey = rows.survey
        survey.pixels_xxh3 = getattr(micrograph, "pixels_xxh3", None)
        return survey
