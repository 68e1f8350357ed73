"""The table of all micrographs, rejected ones too, and what it may not hold."""

import math

from clearice.dataset.contents import patches_xxh3
from clearice.dataset.segments import facts_of_record
from clearice.errors import InputError
from clearice.micrographs.checks import STATED_PIXEL_SIZE, measured_names
from clearice.micrographs.pixels.float16 import require_float16
from clearice.micrographs.waiting import REASONS
from clearice.micrographs.whole_set.collection import Member, compare
from clearice.micrographs.whole_set.copies import several_names
from clearice.tsv import table_text
from clearice.wording import listed

FLOAT16_ADVICE = "set denoised.dtype: float32"
COLUMNS = [
    *("micrograph", "status", "reason", "split", "patches"),
    *("height_px", "width_px", "pixel_size_angstrom", "input", "target", "warnings"),
    "patches_xxh3",
    *measured_names(),
]


def status_of(record):
    """Return ok, rejected or waiting: the last one may be whole the next time."""
    return "waiting" if record["reason"] in REASONS else record["status"]


def require_distinct(records):
    """Raise InputError if accepted micrographs share their pixels: the split would leak."""
    users = {}
    for record in records:
        hashes = {(record[side] or {}).get("pixels_xxh3") for side in ("input", "target")}
        for digest in (hashes - {None}) if record["status"] == "ok" else ():
            users.setdefault(digest, []).append(record["micrograph"])
    if fault := several_names(names for names in users.values() if len(names) > 1):
        raise fault


def compare_records(records, section):
    """Return the collection.Comparison of the accepted micrographs among `records`.

    `section` is `micrographs` of config.yaml.
    """
    members = []
    for record in records:
        if record["status"] != "ok":
            continue
        binning = 2 if record["target_kind"] == "pixel_halves" else 1
        used, header, stated = record["pixel_size_angstrom"], record["pixel_size_angstrom"], None
        off = record["checks"].get(STATED_PIXEL_SIZE.name)
        if off is not None:
            header, stated = used * (1 + off) / binning, used / binning
        elif used is not None:
            header = used / binning
        shape = [binning * record[key] for key in ("height_px", "width_px")]
        members.append(Member(record["micrograph"], *shape, header, stated))
    return compare(members, section)


def allowed_fraction(on_error, max_rejected_fraction):
    """Return the fraction of micrographs that may be rejected, by those keys of config.yaml."""
    return max_rejected_fraction if on_error == "skip" else 0


def check_rejected(records, allowed):
    """Print every rejected micrograph, and raise InputError if they are more than that fraction.

    Those that wait for the next run do not count.
    """
    for record in records:
        if record["status"] != "ok":
            print(f"{status_of(record)} {record['micrograph']}: {record['reason']}")
    rejected = [record for record in records if status_of(record) == "rejected"]
    if not len(rejected) <= allowed * len(records):
        named = [f"{record['micrograph']} ({record['reason']})" for record in rejected]
        raise InputError(
            f"{len(rejected)} of {len(records)} micrographs are rejected",
            expected=f"at most {allowed:.0%} (micrographs.on_error, max_rejected_fraction)",
            found=listed(named),
            advice="fix or remove them"
            + ", or change those keys" * (len(rejected) < len(records) - 1),  # two must be left
        )


def require_two(records):
    """Raise InputError if fewer than two micrographs are whole, because others wait."""
    waiting = [r["micrograph"] for r in records if status_of(r) == "waiting"]
    accepted = sum(status_of(record) == "ok" for record in records)
    if waiting and accepted < 2:
        raise InputError(
            "training and testing need two whole micrographs",
            found=f"{accepted} and {len(waiting):,} that wait: {listed(waiting)}",
            advice="run again once they are whole",
        )


def require_storable(records, dtype):
    """Raise InputError if denoised micrographs of that dtype would lose what they show.

    `dtype` is denoised.dtype, or None where nothing will be denoised.
    """
    if dtype != "float16":
        return
    lost = []
    for record in records:
        if record["status"] == "ok":
            # Pixel halves have the noise of a mean of two pixels.
            of_a_pixel = math.sqrt(2) if record["target_kind"] == "pixel_halves" else 1.0
            affine = record["mean"], record["std"] * of_a_pixel
            extremes = record["minimum"], record["maximum"]
            try:
                require_float16(record["input"]["path"], *affine, *extremes, FLOAT16_ADVICE)
            except InputError as error:
                lost.append(error)
    if lost:
        first = lost[0]
        raise InputError(
            f"{first.what} ({len(lost):,} of {len(records):,} micrographs)",
            file=first.file,
            expected=first.expected,
            found=first.found,
            advice=first.advice,
        )


def micrograph_table(records, splits, warnings):
    """Return micrographs.tsv as text: one row per micrograph in the order of `records`.

    `splits` is what split_of returned; rejected micrographs have none. `warnings` is name -> list
    of texts, what sets a micrograph apart from the others.
    """
    rows = []
    for record in records:
        size = record["pixel_size_angstrom"]
        row = {"micrograph": record["micrograph"], "status": status_of(record)}
        row["reason"] = record["reason"]
        row |= {"split": splits.get(record["micrograph"]), "patches": record["n_patches"]}
        row |= {key: record[key] for key in ("height_px", "width_px")}
        row["pixel_size_angstrom"] = None if size is None else str(size)  # with all its digits
        row |= {side: (record[side] or {}).get("path") for side in ("input", "target")}
        row |= {name: record["checks"].get(name) for name in measured_names()}
        if record["status"] == "ok":
            row["patches_xxh3"] = patches_xxh3(facts_of_record(record))
        texts = warnings.get(record["micrograph"], []) + record["warnings"]
        rows.append({**row, "warnings": "; ".join(texts)})
    return table_text(COLUMNS, rows)
