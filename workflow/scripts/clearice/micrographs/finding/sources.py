"""Which micrographs there are, and which files are the halves of one: by name, never by order.

Runs while the Snakefile is parsed: it opens no micrograph but those that were changed lately, and
imports nothing heavy.
"""

import dataclasses
import os
from pathlib import Path, PurePath

from clearice.errors import InputError
from clearice.micrographs.finding import tables
from clearice.micrographs.finding.distinct import named_twice, require_distinct, require_text
from clearice.micrographs.finding.globs import matching_files
from clearice.micrographs.finding.links import without_links
from clearice.micrographs.finding.settling import with_states, without_temporary_names
from clearice.micrographs.names import key_of
from clearice.micrographs.waiting import NO_OTHER_HALF
from clearice.wording import listed


@dataclasses.dataclass(frozen=True)
class MicrographFiles:
    """The files of one micrograph.

    `target` is its other half, `truth` the noise-free image, `centres` the table of its particles,
    `pixel_size_angstrom` what a table states, and `links` other paths of the same input file.
    `reason` says why it is set aside before anything is opened. `is_there` is False where a table
    names files that were not there when it was read. `states` are those of the user's own files
    (waiting.file_state) as the run began: of the input, and of the target if there is one.
    """

    name: str
    input: str
    target: str | None = None
    truth: str | None = None
    centres: str | None = None
    pixel_size_angstrom: float | None = None
    links: tuple = ()
    reason: str | None = None
    is_there: bool = True
    states: tuple = dataclasses.field(default=(), compare=False)

    @property
    def key(self):
        """What stands for the name in paths and wildcards."""
        return key_of(self.name)


def find_micrographs(config, directory=".", say=lambda line: None, ask=True):
    """Return name -> MicrographFiles, ordered by name.

    Relative paths are relative to `directory` and stay so. `say` is called with each line that a
    person should read. With `ask` false an archive whose files were listed before is not asked
    what it has today. Raises InputError, which names the culprits, for files without a partner,
    names that occur twice and tables that don't fit. With micrographs.on_error skip a half without
    the other is set aside, unless all are alone.
    """
    section = config["micrographs"]
    if section["source"] == "simulation":
        found = _simulated(config["simulation"]["count"])
    elif section["source"] == "empiar":
        names = _published(config["empiar"], directory, say, ask)
        found = [_downloaded(files) for files in _paired(names, section["halves"])]
    else:
        found = without_links(_on_disk(section, Path(directory), say), directory)
        found = with_states(found, directory, section["settle_minutes"], say)
    require_text(found)
    require_distinct(found)
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


def _published(empiar, directory, say, ask):
    """Return the names of the files of an EMPIAR entry."""
    from clearice.micrographs.empiar import listing  # only this source needs it

    return listing.list_entry(empiar, directory, say=say, ask=ask)


def _downloaded(files):
    """Return the micrograph of an EMPIAR entry with the paths that its files are downloaded to."""
    from clearice.micrographs.empiar.kept_listing import download_path

    target = files.target and download_path(files.target)
    return dataclasses.replace(files, input=download_path(files.input), target=target)


def _on_disk(section, directory, say):
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
        suffix = PurePath(pattern).suffix.lower()
        if suffix == ".tsv":
            rows = tables.rows_of_tsv(pattern, directory, skip_missing)
            found += [MicrographFiles(**row) for row in rows]
        elif suffix == ".star":
            found += _of_star(pattern, halves, directory, skip_missing, say)
        else:
            matching = matching_files(pattern, directory)
            if section["settle_minutes"]:
                matching = without_temporary_names(matching, pattern, say)
            paths += matching
    found = [_noted(files, directory) for files in found]
    return found + _paired(sorted(set(paths)), halves, skip_missing, say)


def _noted(files, directory):
    """Return a table's micrograph with a note of whether its files are there (links are)."""
    paths = [path for path in (files.input, files.target) if path]
    is_there = all(os.path.lexists(directory / path) for path in paths)
    return files if is_there else dataclasses.replace(files, is_there=False)


def _paired(paths, halves, skip_alone=False, say=lambda line: None):
    """Return the micrographs in `paths`, pairs where `halves` says what makes one.

    With `skip_alone` a half without the other is a micrograph to reject, unless all are alone.
    """
    if halves is None:
        return [MicrographFiles(micrograph_name(path), path) for path in paths]
    pairs, strangers = {}, []  # key -> {"input": [paths], "target": [paths]}
    for path in paths:
        role, key = role_of(path, halves)
        if role is None:
            strangers.append(path)
        else:
            pairs.setdefault(key, {"input": [], "target": []})[role].append(path)
    alone = {key: pair for key, pair in pairs.items() if not (pair["input"] and pair["target"])}
    if strangers or (alone and (not skip_alone or len(alone) == len(pairs))):
        strangers += [path for pair in alone.values() for both in pair.values() for path in both]
        raise InputError(
            f"{len(strangers):,} files without a partner ({listed(sorted(strangers))})",
            expected=f"pairs by {halves['input']} and {halves['target']}",
            advice="narrow micrographs.files, or add the missing halves",
        )
    found = []
    for (_, name), pair in pairs.items():
        input, target = (_one(name, pair[role]) for role in ("input", "target"))
        if input and target:
            found.append(MicrographFiles(name, input, target))
    whole = {files.name for files in found}
    for (_, name), pair in alone.items():
        if name in whole:
            # A half in another folder, of a pair that is whole.
            raise named_twice({name: pair["input"] + pair["target"]})
        (path,) = pair["input"] + pair["target"]
        found.append(MicrographFiles(name, path, reason=NO_OTHER_HALF))
    if alone:
        names = listed(sorted(name for _, name in alone))
        say(
            f"{len(alone):,} of {len(pairs):,} micrographs have {NO_OTHER_HALF}, set aside: {names}"
        )
    return found


def _one(name, paths):
    """Return the one file of a half, None if there is none."""
    if len(paths) > 1:
        raise InputError(
            f"micrograph {name} occurs {len(paths)} times ({listed(paths)})",
            expected="one file of each half",
            advice="narrow micrographs.files",
        )
    return paths[0] if paths else None


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


def _of_star(table, halves, directory, skip_missing, say):
    """Return the micrographs of a RELION .star file.

    Columns rlnMicrographNameEven and rlnMicrographNameOdd make pairs (input, target). Otherwise
    rlnMicrographName counts; with `halves`, X.mrc stands for the X_EVN.mrc and X_ODD.mrc (or
    even/X.mrc and odd/X.mrc) beside it, unless it is itself a half. Of a table of particles each
    micrograph counts once.
    """
    columns, sizes = tables.columns_of_star(directory / table)
    columns, sizes, n_rows = tables.distinct_rows(columns, sizes)
    paths = columns.get("rlnMicrographName")
    n_micrographs = len(next(iter(columns.values())))
    if n_rows > n_micrographs:
        say(f"{table}: {n_rows:,} rows name {n_micrographs:,} micrographs: each is taken once")
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


def _require_targets(found):
    alone = sorted(f.name for f in found if f.target is None and f.reason is None)
    if alone:
        raise InputError(
            f"patches.target halves needs pairs; {len(alone):,} micrographs have no other half "
            f"({listed(alone)})",
            file="config.yaml",
            advice="set micrographs.halves, or patches.target: auto",
        )
