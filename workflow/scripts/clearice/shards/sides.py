"""The sides of a shard, input and target: files become the rows that patches are cut from.

Two passes over the rows: survey_sides takes the statistics and checks, side_rows normalises.
"""

import contextlib
from pathlib import Path

from clearice.errors import InputError
from clearice.micrographs.halves import check_headers
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.normalisation import normalise
from clearice.micrographs.rows import MicrographRows, hot_pixel_limit
from clearice.micrographs.survey import survey_difference, survey_warnings
from clearice.shards.patches import patch_origins
from clearice.shards.targets import TARGETS


def survey_sides(pool, paths, patches, dtype):
    """Survey the image or the pair; return facts for the record, and each file's hot-pixel limit.

    `patches` holds the keys of that section of config.yaml; `pool` runs one pass per file.
    Raises InputError if the micrograph cannot be used.
    """
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(open_micrograph(path)) for path in paths]
        facts = header_facts(readers, patches)
        limits = [hot_pixel_limit(reader, patches["hot_pixel_threshold"]) for reader in readers]
    shape = facts["height_px"], facts["width_px"]
    difference = None
    if len(paths) == 2:
        both = [_blocks(path, limit) for path, limit in zip(paths, limits, strict=True)]
        difference = pool.submit(survey_difference, *both, shape)
    surveys = list(pool.map(_survey, paths, limits))
    survey = surveys[0][0]
    if difference:
        survey.target = surveys[1][0].input
        survey.difference, survey.correlation = difference.result()
    facts["warnings"] += survey_warnings(survey, paths, dtype)
    # only now that the file is known to be whole: a header alone could promise billions
    grid = patches["size_px"], patches["stride_px"], patches["cover_border"]
    origins = patch_origins(*shape, *grid)
    facts["n_patches"] = len(origins)
    facts["y"], facts["x"] = origins.T.tolist()
    facts["hot_pixels"] = sum(count for _, count in surveys)
    facts["mean"], facts["std"] = survey.input.location, survey.input.scale
    facts["noise_floor"], facts["half_correlation"] = survey.noise_floor, survey.correlation
    return facts, limits


def header_facts(readers, patches):
    """Return what the headers say for the record; raise InputError if they don't fit."""
    first, size_px = readers[0], patches["size_px"]
    warnings = [f"{Path(r.path).name}: {text}" for r in readers for text in r.warnings]
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


def side_rows(paths, limits, record, patches):
    """Return the rows of input and of target: normalised, float32 (b, W) per block, in order.

    Each side reads its own file, so that the two can be written at the same time. Both are empty
    for a rejected micrograph.
    """
    if record["status"] == "rejected":
        return (), ()
    # Without a target half both sides are made of the one micrograph.
    files = (paths[0], limits[0]), (paths[-1], limits[-1])
    input_rows, target_rows = (_normalised(path, limit, record) for path, limit in files)
    return TARGETS[patches["target"]](input_rows, target_rows, record, patches)


def _normalised(path, limit, record):
    return (
        normalise(rows, record["mean"], record["std"], out=rows) for rows in _blocks(path, limit)
    )


def _blocks(path, limit):
    """Yield the rows of a file of its own reader: passes over one file run at the same time."""
    with open_micrograph(path) as micrograph:
        yield from MicrographRows(micrograph, limit).blocks()


def _survey(path, limit):
    """Return the Survey of one image and the number of its hot pixels."""
    with open_micrograph(path) as micrograph:
        rows = MicrographRows(micrograph, limit)
        return rows.survey, rows.hot_pixels
