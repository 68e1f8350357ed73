"""Which micrographs there are, and which files are the halves of one: by name, never by order.

Runs while the Snakefile is parsed: it opens no micrograph and imports nothing heavy.
"""

import dataclasses
import glob
import re
from pathlib import Path, PurePath

from clearice.errors import InputError
from clearice.micrographs import tables
from clearice.micrographs.links import without_links

_NAME = re.compile(r"[^\s./\\{}\[\]*?\"'<>|-][^/\\{}\[\]*?\"'<>|\t\r\n]*")


@dataclasses.dataclass(frozen=True)
class MicrographFiles:
    """The files of one micrograph.

    `target` is its other half, `truth` the noise-free image, `centres` the table of its particles,
    `pixel_size_angstrom` what a table states, and `links` other paths of the same input file.
    """

    name: str
    input: str
    target: str | None = None
    truth: str | None = None
    centres: str | None = None
    pixel_size_angstrom: float | None = None
    links: tuple = ()


def find_micrographs(config, directory="."):
    """Return name -> MicrographFiles, ordered by name.

    Relative paths are relative to `directory` and stay so. Raises InputError, which lists every
    culprit, for files without a partner, names that occur twice and tables that don't fit.
    """
    section = config["micrographs"]
    if section["source"] == "simulation":
        found = _simulated(config["simulation"]["count"])
    elif section["source"] == "empiar":
        found = _paired(_published(config["empiar"], directory), section["halves"])
    else:
        found = without_links(_on_disk(section, Path(directory)), directory)
    _require_distinct_names(found)
    if config["patches"]["target"] == "halves":
        _require_targets(found)
    return {files.name: files for files in sorted(found, key=lambda files: files.name)}


def micrograph_name(path):
    """Return the name of the micrograph in `path`: its stem, without .gz or .bz2."""
    path = PurePath(path)
    return (path.with_suffix("") if path.suffix in (".gz", ".bz2") else path).stem


def _simulated(count):
    digits = max(4, len(str(count)))
    names = [f"sim_{number:0{digits}d}" for number in range(1, count + 1)]
    folder, endings = "results/micrographs", ("EVN.mrc", "ODD.mrc", "truth.mrc", "centres.tsv")
    return [MicrographFiles(n, *(f"{folder}/{n}_{ending}" for ending in endings)) for n in names]


def _published(empiar, directory):
    """Return where the files of an EMPIAR entry go once they are downloaded."""
    from clearice.micrographs.empiar import listing  # only this source needs it

    return [f"results/micrographs/{name}" for name in listing.list_entry(empiar, directory)]


def _on_disk(section, directory):
    """Return the micrographs of globs and tables.

    With on_error skip a missing file of a table, like a link to nothing, is a micrograph to
    reject.
    """
    patterns, halves = section["files"], section["halves"]
    skip_missing = section["on_error"] == "skip"
    if not patterns:
        raise InputError(
            "micrographs.files is empty",
            file="config.yaml",
            expected="a glob, a list of globs, a .star or a .tsv for micrographs.source files",
        )
    paths, found = [], []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        suffix = PurePath(pattern).suffix
        if suffix == ".tsv":
            rows = tables.rows_of_tsv(pattern, directory, skip_missing)
            found += [MicrographFiles(**row) for row in rows]
        elif suffix == ".star":
            found += _of_star(pattern, halves, directory, skip_missing)
        else:
            paths += _matches(pattern, directory)
    return found + _paired(sorted(set(paths)), halves)


def _matches(pattern, directory):
    matches = glob.glob(pattern, root_dir=directory, recursive=True)
    paths = [path for path in matches if not (directory / path).is_dir()]
    if not paths:
        raise InputError(
            "no file matches micrographs.files",
            file="config.yaml",
            expected="at least one file",
            found=f"none for {pattern} in {directory.resolve()}",
            advice="check the path; ** stands for any folders",
        )
    return paths


def _paired(paths, halves):
    """Return the micrographs in `paths`, pairs where `halves` says what makes one."""
    if halves is None:
        return [MicrographFiles(micrograph_name(path), path) for path in paths]
    pairs, strangers = {}, []  # key -> {"input": [paths], "target": [paths]}
    for path in paths:
        role, key = role_of(path, halves)
        if role is None:
            strangers.append(path)
        else:
            pairs.setdefault(key, {"input": [], "target": []})[role].append(path)
    for pair in pairs.values():
        if not (pair["input"] and pair["target"]):
            strangers += pair["input"] + pair["target"]
    if strangers:
        raise InputError(
            f"{len(strangers)} files without a partner ({', '.join(sorted(strangers))})",
            expected=f"pairs by {halves['input']} and {halves['target']}",
            advice="narrow micrographs.files, or add the missing halves",
        )
    found = []
    for (_, name), pair in pairs.items():
        _require_one(name, pair)
        found.append(MicrographFiles(name, pair["input"][0], pair["target"][0]))
    return found


def _require_one(name, pair):
    for paths in pair.values():
        if len(paths) > 1:
            raise InputError(
                f"micrograph {name} occurs {len(paths)} times ({', '.join(paths)})",
                expected="one file of each half",
                advice="narrow micrographs.files",
            )


def role_of(path, halves):
    """Return (input | target, (folder, name)) of a file, or (None, None).

    A half that ends in a slash is a folder, anywhere above the file; else it ends the stem. The
    longer one is tried first, so that one may end in the other.
    """
    for role in sorted(halves, key=lambda role: -len(halves[role])):
        mark, name = halves[role], micrograph_name(path)
        if mark.endswith("/"):
            before, found, after = f"/{path}".rpartition(f"/{mark.strip('/')}/")
            if found:
                return role, ((before, PurePath(after).parent), name)
        elif name.endswith(mark) and name != mark:
            return role, (PurePath(path).parent, name[: -len(mark)])
    return None, None


def _of_star(table, halves, directory, skip_missing):
    """Return the micrographs of a RELION .star file.

    Columns rlnMicrographNameEven and rlnMicrographNameOdd make pairs (input, target). Otherwise
    rlnMicrographName counts; with `halves`, X.mrc stands for the X_EVN.mrc and X_ODD.mrc (or
    even/X.mrc and odd/X.mrc) beside it, unless it is itself a half.
    """
    columns, sizes = tables.columns_of_star(directory / table)
    paths = columns.get("rlnMicrographName")
    if "rlnMicrographNameEven" in columns and "rlnMicrographNameOdd" in columns:
        by_role = [columns["rlnMicrographNameEven"], columns["rlnMicrographNameOdd"]]
        paths = paths or by_role[0]
    elif paths is None:
        raise InputError("rlnMicrographNameEven without rlnMicrographNameOdd", file=table)
    elif halves is None:
        by_role = [paths]
    elif any(role_of(path, halves)[0] for path in paths):
        files = tables.paths_beside(paths, table, directory, skip_missing)
        stated = dict(zip(files, sizes, strict=True))
        return [
            dataclasses.replace(pair, pixel_size_angstrom=stated[pair.input])
            for pair in _paired(files, halves)
        ]
    else:
        roles = "input", "target"
        by_role = [[half_beside(path, halves[role]) for path in paths] for role in roles]
    found = [tables.paths_beside(files, table, directory, skip_missing) for files in by_role]
    names = map(micrograph_name, paths)
    return [
        MicrographFiles(name, *files, pixel_size_angstrom=size)
        for name, size, *files in zip(names, sizes, *found, strict=True)
    ]


def half_beside(path, mark):
    """Return where the half `mark` (a suffix, or a folder) of the average in `path` lies."""
    path = PurePath(path)
    if mark.endswith("/"):
        return str(path.parent / mark.strip("/") / path.name)
    stem = micrograph_name(path)
    return str(path.with_name(stem + mark + path.name.removeprefix(stem)))


def _require_distinct_names(found):
    by_name = {}
    for files in found:
        by_name.setdefault(files.name, []).append(files.input)
    twice = [f"{name} ({', '.join(paths)})" for name, paths in by_name.items() if len(paths) > 1]
    if twice:
        raise InputError(
            f"{len(twice)} micrograph names occur twice: {'; '.join(sorted(twice))}",
            expected="one name per micrograph, whatever its folder",
            advice="rename the files, or name them in a .tsv",
        )
    odd = sorted(name for name in by_name if not _NAME.fullmatch(name))
    if odd:
        raise InputError(
            f"{len(odd)} names cannot be used in file names ({', '.join(map(repr, odd))})",
            expected="no leading dot, dash or blank, and none of / \\ { } [ ] * ? \" ' < > |",
            advice="rename the files, or name them in a .tsv",
        )


def _require_targets(found):
    alone = sorted(files.name for files in found if files.target is None)
    if alone:
        raise InputError(
            f"patches.target halves needs pairs; {len(alone)} micrographs have no other half "
            f"({', '.join(alone)})",
            file="config.yaml",
            advice="set micrographs.halves, or patches.target: auto",
        )
