"""What the dataset is: arrays, patches, splits, micrographs; for those who read it elsewhere."""

from collections import Counter

from clearice.dataset.segments import ITEM_BYTES, SIDES, SPLITS, plane_bytes
from clearice.files import read_result
from clearice.report.documents import Document, Part, facts
from clearice.report.words import optional
from clearice.wording import listed

FILE = "data_specs.md"
_NAMED = 40  # micrographs by name; micrographs.tsv has all
_TARGETS = {
    "halves": "the other half of the exposure: its noise is independent of the input's",
    "pixel_halves": "the other diagonal of each block of 2 x 2 pixels, at half the resolution",
    "synthetic_noise": "the micrograph itself; the input is the same with noise added",
    "lowpass": "the micrograph after a Gaussian filter",
}


def data_specs(results, config):
    """Return the Document on the dataset of `results` (results.Results).

    `config` is the configuration with its defaults.
    """
    manifest = read_result(results.manifest)
    parts = [
        _planes(manifest)
        if manifest["layout"] == "planes"
        else _arrays(manifest, config["dataset"]["concatenate"]),
        _patches(manifest, config["patches"]),
        _splits(manifest, results.micrographs),
        _micrographs(results),
        *_left_out(results.micrographs),
    ]
    return Document("Data specification", FILE, parts)


def _arrays(manifest, concatenated):
    size, dtype, rows = manifest["patch_size_px"], manifest["dtype"], []
    for split in SPLITS:
        n = manifest["splits"][split]["n_patches"]
        n_bytes = n * size * size * ITEM_BYTES[dtype]
        for side in SIDES:
            shapes = f"({n}, {size}, {size})", f"({size}, {size}, {n})"
            name = f"{split}_{side}.bin" if concatenated else f"{split} {side}"
            rows.append((name, *shapes, dtype, f"{n_bytes:,}"))
    where = (
        f"Raw little-endian {dtype} without a header, in C order. Patch i of a file begins at byte "
        f"i x {size * size * ITEM_BYTES[dtype]:,}."
        if concatenated
        else f"Raw little-endian {dtype}, in C order, not concatenated: the patches lie in the "
        "shards, and manifest.json names file and first byte of each micrograph's."
    )
    columns = ("file" if concatenated else "array", "shape", "Fortran shape", "dtype", "bytes")
    hashed = (
        f"The content is named by data_xxh3 {manifest['data_xxh3']} (docs/formats.md, Dataset)."
    )
    return Part("Arrays", (where, hashed), columns, tuple(rows), numbers=(4,))


def _planes(manifest):
    """Return the Part on a dataset of whole micrographs."""
    dtype, rows = manifest["dtype"], []
    for split in SPLITS:
        content = manifest["splits"][split]
        n_bytes = sum(2 * plane_bytes(dtype, s["planes"]) for s in content["segments"])
        counts = content["n_patches"], len(content["segments"])
        rows.append((split, *(f"{count:,}" for count in counts), dtype, f"{n_bytes:,}"))
    places = "at other places in each epoch" if "offsets" in manifest else "at places of a grid"
    where = (
        f"Whole normalised micrographs (planes) as raw little-endian {dtype} without a header, in "
        "C order, an input and a target each; manifest.json names files, height and width. "
        f"Patches are cut while they are read, {places}; the json of a shard lists y and x of the "
        "grid."
    )
    hashed = (
        f"The content is named by data_xxh3 {manifest['data_xxh3']} (docs/formats.md, Dataset)."
    )
    columns = ("split", "patches", "micrographs", "dtype", "bytes")
    return Part("Arrays", (where, hashed), columns, tuple(rows), numbers=(1, 2, 4))


def _patches(manifest, patches):
    size, stride = manifest["patch_size_px"], patches["stride_px"]
    kind = manifest["target_kind"]
    border = "covered by a last row and column" if patches["cover_border"] else "not covered"
    rows = [("size", f"{size} x {size} px"), ("stride", f"{stride} px"), ("border", border)]
    rows.append(("target", kind))
    for split in SPLITS:
        if (floor := manifest["noise_floor"][split]) is not None:
            rows.append((f"noise floor, {split}", f"{floor:.4f}"))
    for split in SPLITS:
        if (correlation := manifest["half_correlation"][split]) is not None:
            rows.append((f"correlation of the halves, {split}", f"{correlation:.4f}"))
    words = [f"Target: {_TARGETS[kind]}.", f"Normalisation: {manifest['normalisation']}."]
    if manifest["noise_floor"]["test"] is not None:
        words.append("Noise floor: the variance of the target's noise, in normalised units.")
    return facts("Patches", rows, words)


def _splits(manifest, micrographs):
    rows = []
    for split in SPLITS:
        n = manifest["splits"][split]["n_patches"]
        names = sorted(row["micrograph"] for row in micrographs if row["split"] == split)
        rows.append((split, f"{len(names):,}", f"{n:,}", listed(names, _NAMED)))
    words = "All patches of a micrograph are in one split."
    columns = ("split", "micrographs", "patches", "names")
    return Part("Splits", (words,), columns, tuple(rows), numbers=(1, 2))


def _micrographs(results):
    rows = [row for row in results.micrographs if row["used"]]
    found = Counter(
        (row["height_px"], row["width_px"], row["pixel_size_angstrom"], row["patches"])
        for row in rows
    )
    table = tuple(
        (f"{height} x {width}", optional(size), f"{patches}", f"{count:,}")
        for (height, width, size, patches), count in sorted(found.items(), key=str)
    )
    counts = {key: sum(row[key] for row in results.micrographs) for key in ("rejected", "waiting")}
    words = f"{len(rows):,} used, {counts['rejected']:,} rejected, {counts['waiting']:,} waiting."
    columns = ("height x width (px)", "pixel (Å)", "patches each", "micrographs")
    return Part("Micrographs", (words,), columns, table, numbers=(1, 2, 3))


def _left_out(micrographs):
    rows = [(r["micrograph"], r["status"], r["reason"]) for r in micrographs if not r["used"]]
    if rows:
        more = len(rows) - _NAMED
        words = (f"The first {_NAMED} of {len(rows):,}; all: micrographs.tsv.",) if more > 0 else ()
        yield Part("Left out", words, ("micrograph", "status", "reason"), tuple(rows[:_NAMED]))
