"""One image under two names, found before anything is cut: by a few rows of pixels of each file."""

import collections
import concurrent.futures

import numpy as np
import xxhash

from clearice.errors import InputError
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.whole_set.set_checks import ONE_IMAGE_TWO_NAMES
from clearice.wording import listed

_THREADS = 16  # a network file system answers in milliseconds, whoever waits
_ROWS = 8  # that copies must share, beside the first sample
_MOST_CONFIRMED = 20  # groups of likely copies that are read again


def several_names(groups):
    """Return the InputError of `groups`, lists of micrographs that are one image each; or None."""
    groups = sorted(set(map(tuple, groups)))
    if not groups:
        return None
    count = f"{len(groups):,} image{'s' if len(groups) > 1 else ''}"
    return InputError(
        ONE_IMAGE_TWO_NAMES.message.format(count=count),
        expected="one micrograph per image",
        found=listed(" and ".join(names) for names in groups),
        advice="remove the duplicates, or leave them out of micrographs.files",
    )


def find_copies(files):
    """Return lists of micrographs that have the same pixels; a sample of their rows is read.

    `files` is a list of (name of the micrograph, path); a micrograph may have several. What
    cannot be read, and rows of one value, are no evidence. Two reads per file where none agree.
    """
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        compressed = any(path.endswith((".gz", ".bz2")) for _, path in files)
        # Of a compressed file the first rows are cheap, of others the middle has an image for sure
        where = [0.0] if compressed else [0.5]
        likely = _equal(pool, files, where)[:_MOST_CONFIRMED]
        rows = [(number + 0.5) / _ROWS for number in range(_ROWS)]
        return [
            sorted({name for name, _ in copies})
            for group in likely
            for copies in _equal(pool, group, rows)
        ]


def _equal(pool, files, where):
    """Return the groups of `files` of several micrographs whose rows at `where` (0..1) agree."""
    groups = collections.defaultdict(list)
    samples = pool.map(lambda file: _sample(file[1], where), files)
    for file, sample in zip(files, samples, strict=True):
        if sample is not None:
            groups[sample].append(file)
    return [group for group in groups.values() if len({name for name, _ in group}) > 1]


def _sample(path, where):
    """Return shape and hash of some rows as float32; None if they can't be read or say nothing."""
    digest, varied = xxhash.xxh3_128(), False
    try:
        with open_micrograph(path) as micrograph:
            shape = micrograph.height_px, micrograph.width_px
            for part in where:
                row = micrograph.read_rows(int(part * micrograph.height_px), 1)
                varied |= bool((row != row[0, 0]).any())
                digest.update(np.ascontiguousarray(row + np.float32(0)))  # -0 is 0
    except InputError:
        return None
    return (shape, digest.digest()) if varied else None
