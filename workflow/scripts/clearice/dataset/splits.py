"""Which micrographs are held out for testing."""

import xxhash

from clearice.errors import InputError
from clearice.files import regular_text
from clearice.micrographs.whole_set.exposures import exposures
from clearice.wording import listed

_MOST_BYTES = 1 << 26


def split_of(names, test_fraction, seed, test_micrographs=None):
    """Return a dict name -> "train" | "test" over `names`, at least two of them.

    A micrograph goes into the test split if the hash of its name and the seed, as a fraction of
    all hashes, is below `test_fraction`: adding or removing others never moves it. Only where that
    leaves a split empty (few micrographs), the one with the smallest hash goes into the test split,
    or the one with the largest into the training split. `test_micrographs`, names, replaces the
    hash. Images of one exposure (X and X_DW, see micrographs/whole_set/exposures.py) go together,
    by the hash of what their names share. Raises InputError for fewer than two names, or if a split
    stays empty.
    """
    if len(names) < 2:
        raise InputError(
            "training and testing need two micrographs that are not rejected",
            found=listed(names) or "none",
            advice="add micrographs, or fix the rejected ones",
        )
    exposure = exposures(names)
    if len(set(exposure.values())) < 2:
        raise InputError(
            "training and testing need two exposures, and by their names all are of one",
            found=listed(sorted(names)),
            advice="add micrographs, or name the files otherwise in a .tsv",
        )
    if test_micrographs is None:
        fractions = {name: hash_fraction(name, seed) for name in set(exposure.values())}
        tested = {name for name in fractions if fractions[name] < test_fraction}
        tested |= {min(fractions, key=fractions.get)}
        if len(tested) == len(fractions):
            tested -= {max(fractions, key=fractions.get)}
    else:
        tested = {exposure[name] for name in set(test_micrographs) & set(names)}
        if len(tested) in (0, len(set(exposure.values()))):
            raise InputError(
                "split.test_micrographs leaves a split empty",
                expected=f"1 to {len(names) - 1} of the {len(names)} accepted micrographs",
                found=len(set(test_micrographs) & set(names)),
            )
    return {name: "test" if exposure[name] in tested else "train" for name in names}


def hash_fraction(name, seed):
    """Return a number in [0, 1) that depends on the name and the seed alone (XXH3-64)."""
    return (xxhash.xxh3_64_intdigest(f"{seed}\t{name}".encode()) >> 11) / 2**53


def read_test_micrographs(path, known):
    """Return the names in the file `path`: one per line; empty lines and lines with # are skipped.

    Raises InputError when it can't be read or names micrographs that are not in `known`.
    """
    try:
        text = regular_text(path, _MOST_BYTES, "a list of test micrographs", encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"unreadable ({error})", file=path, advice="see split.test_micrographs in config.yaml"
        ) from None
    names = [
        line if line in known else line.strip() for line in text.splitlines()
    ]  # blanks may belong to it
    names = [name for name in names if name in known or (name and not name.startswith("#"))]
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"{len(unknown):,} unknown micrographs: {listed(unknown)}",
            file=path,
            expected=f"names such as {min(known)}" if known else None,
        )
    return names
