"""Which micrographs are held out for testing, and the table that says so."""

import csv
import io
from pathlib import Path

import xxhash

from clearice.errors import InputError

COLUMNS = [
    *("micrograph", "status", "reason", "split", "patches"),
    *("height_px", "width_px", "pixel_size_angstrom", "input", "target", "warnings"),
]
_LISTED = 10  # names in an error's one line; the log has all of them


def split_of(names, test_fraction, seed, test_micrographs=None):
    """Return a dict name -> "train" | "test" over `names`, at least two of them.

    A micrograph is tested on if the hash of its name and the seed, as a fraction of all
    hashes, is below `test_fraction`: adding or removing others never moves it. Only where that
    leaves a split empty (few micrographs), the one with the smallest hash is tested on, or the
    one with the largest trained on. `test_micrographs`, names, replaces the hash.
    Raises InputError for fewer than two names or a split that stays empty.
    """
    if len(names) < 2:
        raise InputError(
            "training and testing need two micrographs that are not rejected",
            found=", ".join(names) or "none",
            advice="add micrographs, or mend the rejected ones",
        )
    if test_micrographs is None:
        fractions = {name: hash_fraction(name, seed) for name in names}
        tested = {name for name in names if fractions[name] < test_fraction}
        tested |= {min(names, key=fractions.get)}
        if len(tested) == len(names):
            tested -= {max(names, key=fractions.get)}
    else:
        tested = set(test_micrographs) & set(names)
        if len(tested) in (0, len(names)):
            raise InputError(
                "split.test_micrographs leaves a split empty",
                expected=f"1 to {len(names) - 1} of the {len(names)} accepted micrographs",
                found=len(tested),
            )
    return {name: "test" if name in tested else "train" for name in names}


def hash_fraction(name, seed):
    """Return a number in [0, 1) that depends on the name and the seed alone (XXH3-64)."""
    return (xxhash.xxh3_64_intdigest(f"{seed}\t{name}".encode()) >> 11) / 2**53


def read_test_micrographs(path, known):
    """Return the names in the file `path`: one a line; empty lines and lines with # are skipped.

    Raises InputError when it can't be read or names micrographs that are not in `known`.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"unreadable ({error})", file=path, advice="see split.test_micrographs in config.yaml"
        ) from None
    names = [line.strip() for line in lines]
    names = [name for name in names if name and not name.startswith("#")]
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            "unknown micrographs: " + ", ".join(unknown),
            file=path,
            expected=f"names such as {min(known)}" if known else None,
        )
    return names


def require_distinct(records):
    """Raise InputError if accepted micrographs share a file's content: the split would leak."""
    users = {}
    for record in records:
        hashes = {(record[side] or {}).get("xxh3") for side in ("input", "target")}
        for digest in (hashes - {None}) if record["status"] == "ok" else ():
            users.setdefault(digest, []).append(record["micrograph"])
    shared = sorted({" and ".join(names) for names in users.values() if len(names) > 1})
    if shared:
        raise InputError(
            f"{len(shared)} images have several names, which a split could tear apart",
            expected="one micrograph an image",
            found=", ".join(shared[:_LISTED]) + ", ..." * (len(shared) > _LISTED),
            advice="leave out the copies",
        )


def allowed_fraction(on_error, max_rejected_fraction):
    """Return the fraction of micrographs that may be rejected, by those keys of config.yaml."""
    return max_rejected_fraction if on_error == "skip" else 0


def check_rejected(records, allowed):
    """Print every rejected micrograph, and raise InputError if they are more than that fraction."""
    rejected = [record for record in records if record["status"] != "ok"]
    for record in rejected:
        print(f"rejected {record['micrograph']}: {record['reason']}")
    if not len(rejected) <= allowed * len(records):
        listed = [f"{record['micrograph']} ({record['reason']})" for record in rejected[:_LISTED]]
        if len(rejected) > _LISTED:
            listed.append(f"and {len(rejected) - _LISTED} more")
        raise InputError(
            f"{len(rejected)} of {len(records)} micrographs are rejected",
            expected=f"at most {allowed:.0%} (micrographs.on_error, max_rejected_fraction)",
            found=", ".join(listed),
            advice="mend or remove them, or change those keys",
        )


def micrograph_table(records, splits):
    """Return micrographs.tsv as text: a row a micrograph in the order of `records`.

    `splits` is what split_of returned; rejected micrographs have none. Text is on one line
    and a missing value is empty.
    """
    table = io.StringIO()
    writer = csv.writer(table, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in records:
        name = record["micrograph"]
        row = [name, record["status"], record["reason"], splits.get(name), record["n_patches"]]
        row += [record[key] for key in ("height_px", "width_px", "pixel_size_angstrom")]
        row += [(record[side] or {}).get("path") for side in ("input", "target")]
        row.append("; ".join(record["warnings"]))
        writer.writerow("" if value is None else " ".join(str(value).split()) for value in row)
    return table.getvalue()
