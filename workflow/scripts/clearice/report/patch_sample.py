"""A look at some patches of the dataset, few enough for any dataset: which stand out, and how."""

import dataclasses
import math

import numpy as np

from clearice.dataset.reader import open_split

SAMPLE = 2000  # patches that are looked at, of both splits together
SAMPLE_BYTES = 1 << 29  # that are read for it, at most
_STRIPES = 4  # of rows, where a patch is not read whole: less than a grain hides between them
_FINALISTS = 24  # at each end of the sample, read whole
SPLITS = ("train", "test")


@dataclasses.dataclass(frozen=True)
class Looked:
    """One patch of the sample: split, index in it, variance of its input (1: the noise's).

    `whole` says whether the variance is that of all its pixels.
    """

    split: str
    index: int
    variance: float
    whole: bool


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a look at the dataset found.

    `patches` are the Looked ones, `total` is how many patches the dataset holds, `rows` how many
    of each were read of `patch_size_px`. `test` holds means over the sampled test patches:
    {"patches", "of", "raw": squared difference of input and target, "constant": variance of the
    target}, both in variances of the input, as the loss is; None where the look was too short.
    """

    patches: list[Looked]
    total: int
    rows: int
    patch_size_px: int
    test: dict | None


def spread_indices(total, count, seed=0):
    """Return at most `count` of range(total), sorted: a random one of each of `count` equal parts.

    Patches lie in the order of their micrographs, so that every micrograph with as many patches as
    a part is long is looked at. The same for the same arguments.
    """
    if total <= count:
        return list(range(total))
    edges = np.linspace(0, total, count + 1).astype(np.int64)
    return np.random.default_rng(seed).integers(edges[:-1], edges[1:]).tolist()


def look_at(manifest_path, count=SAMPLE, limit_bytes=SAMPLE_BYTES):
    """Return the Sample of the dataset: at most `count` patches and `limit_bytes`, one at a time.

    Large patches are seen through stripes of rows; those that stand out, at most 2 * _FINALISTS,
    are then read whole.
    """
    readers = {split: open_split(manifest_path, split) for split in SPLITS}
    try:
        return _look(readers, count, limit_bytes)
    finally:
        for reader in readers.values():
            reader.close()


def _look(readers, count, limit_bytes):
    size = readers["train"].patch_size_px
    totals = {split: len(reader) for split, reader in readers.items()}
    total = sum(totals.values())
    chosen = [_place(i, totals) for i in spread_indices(total, count)]
    row_bytes = size * readers["train"].dtype.itemsize
    rows = min(size, max(_STRIPES, limit_bytes // (2 * row_bytes * max(len(chosen), 1))))
    stripes = _stripes(size, rows)
    rows = sum(height for _, height in stripes)
    looked, errors, moments = [], [], []
    for split, index in chosen:
        given = _read(readers[split], index, "input", stripes)
        looked.append(Looked(split, index, float(given.var()), rows == size))
        if split == "test":
            wanted = _read(readers[split], index, "target", stripes)
            errors.append(float(np.square(given - wanted).mean()))
            moments.append((float(wanted.mean()), float(np.square(wanted).mean())))
    test = None
    if errors:
        mean, square = (math.fsum(column) / len(moments) for column in zip(*moments, strict=True))
        test = {"patches": len(errors), "of": totals["test"]}
        test |= {"raw": math.fsum(errors) / len(errors), "constant": square - mean * mean}
    if rows < size:
        looked = _exact(looked, readers)
    return Sample(looked, total, rows, size, test)


def _place(index, totals):
    """Return (split, index in it) of a patch of both splits one after the other."""
    first = totals["train"]
    return ("train", index) if index < first else ("test", index - first)


def _stripes(size, rows):
    """Return [(first, count)] of evenly spaced stripes with about `rows` rows; all where few."""
    if rows >= size:
        return [(0, size)]
    height, part = max(rows // _STRIPES, 1), size // _STRIPES
    return [(k * part + (part - height) // 2, height) for k in range(_STRIPES)]


def _read(reader, index, side, stripes):
    """Return the stripes of one side of a patch as float64 (rows, size)."""
    parts = [reader.read_rows(index, side, *stripe) for stripe in stripes]
    return np.concatenate(parts).astype(np.float64)


def _exact(looked, readers):
    """Return the patches with the variance of all their pixels at both ends of the sample."""
    order = sorted(range(len(looked)), key=lambda k: looked[k].variance)
    for k in {*order[:_FINALISTS], *order[-_FINALISTS:]}:
        patch, reader = looked[k], readers[looked[k].split]
        whole = _read(reader, patch.index, "input", [(0, reader.patch_size_px)])
        looked[k] = dataclasses.replace(patch, variance=float(whole.var()), whole=True)
    return looked
