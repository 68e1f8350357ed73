"""Which files a person asks to denoise, and what becomes of each: one task per result."""

import dataclasses
import glob
import os
from pathlib import Path

from clearice.denoised.records import recorded
from clearice.denoised.star import StarTable
from clearice.errors import InputError
from clearice.micrographs.finding.sources import micrograph_name, role_of
from clearice.wording import listed

_ENDINGS = (".mrc", ".mrc.gz", ".mrc.bz2")  # that are taken from a folder


@dataclasses.dataclass(frozen=True)
class Task:
    """One micrograph to denoise: `files` is (micrograph,) or (input half, other half)."""

    name: str
    files: tuple
    folder: Path  # of the results
    # What a table states, in place of the header's; without one it is still the same task.
    pixel_size_angstrom: float | None = dataclasses.field(default=None, compare=False)

    @property
    def output(self):
        """The MRC file to write."""
        return self.folder / f"{self.name}.mrc"

    @property
    def record(self):
        """The JSON file beside it."""
        return self.folder / f"{self.name}.json"


@dataclasses.dataclass
class Tasks:
    """What was asked for.

    `tasks` (list of Task) in order; `tables` (list of StarTable); `faults` (list of InputError):
    what cannot be denoised and keeps nothing else from it; `left_out`: number of files that are
    no half, where halves were asked for.
    """

    tasks: list
    tables: list
    faults: list
    left_out: int = 0


def find_tasks(words, folder, halves=None):
    """Return the Tasks of `words`: files, folders, globs and RELION .star files.

    Results go into `folder`. `halves`, two stem suffixes or two folders (ending in a slash), makes
    pairs. Raises InputError where two results would have one name, or one would replace an input.
    """
    folder, found = Path(folder), Tasks([], [], [])
    paths = []
    for word in words:
        if word.endswith(".star"):
            table = StarTable(word, folder, halves)
            found.tables.append(table)
            found.tasks += [
                Task(name, files, folder, size)
                for (name, files), size in zip(table.micrographs, table.pixel_sizes, strict=True)
            ]
            continue
        try:
            paths += _expanded(word, folder)
        except InputError as error:
            found.faults.append(error)
    paths = list(dict.fromkeys(map(os.path.normpath, paths)))
    if halves is None:
        found.tasks += [Task(micrograph_name(path), (path,), folder) for path in paths]
    else:
        _add_pairs(found, paths, folder, dict(zip(("input", "target"), halves, strict=True)))
    found.tasks = list(dict.fromkeys(found.tasks))  # a file may be given and in a table as well
    _require_one_output_each(found)
    _require_inputs_to_stay(found)
    return found


def _expanded(word, folder):
    """Return the files that a word stands for; raise InputError if there are none."""
    if os.path.exists(word) and not os.path.isdir(word):  # a name may hold brackets
        return [word]
    if os.path.isdir(word):
        paths = [p for p in sorted(glob.glob(f"{glob.escape(word)}/*")) if p.endswith(_ENDINGS)]
        what, expected = "no micrographs in this folder", "files like " + " ".join(_ENDINGS)
    else:
        paths = [path for path in sorted(glob.glob(word, recursive=True)) if os.path.isfile(path)]
        what, expected = "no such file", "a file, a folder, a glob or a .star file"
    paths = [path for path in paths if not _is_a_result(path, folder)]
    if not paths:
        raise InputError(what, file=word, expected=expected)
    return paths


def _is_a_result(path, folder):
    """Say whether an earlier run into `folder` made this file: a glob may find results as well."""
    result = folder / Path(path).name
    return (
        os.path.exists(result)
        and os.path.samefile(path, result)
        and "denoised" in recorded(result.with_suffix(".json"))
    )


def _add_pairs(found, paths, folder, halves):
    pairs = {}  # (folder, name) -> {role: path}
    for path in paths:
        role, key = role_of(path, halves)
        if role is None:
            found.left_out += 1
        else:
            pairs.setdefault(key, {})[role] = path
    for (_, name), pair in pairs.items():
        if len(pair) == 2:
            found.tasks.append(Task(name, (pair["input"], pair["target"]), folder))
        else:
            ((role, path),) = pair.items()
            other = halves["target" if role == "input" else "input"]
            found.faults.append(
                InputError(
                    "a half without the other",
                    file=path,
                    expected=f"the same name with {other}",
                    advice="give both, or leave out --average-halves to denoise it alone",
                )
            )
    if paths and not pairs:
        raise InputError(
            "none of the files is a half",
            expected=f"names that end in {halves['input']} and {halves['target']}",
            found=f"{len(paths)} files, such as {paths[0]}",
            advice="leave out --average-halves, or give the suffixes of your files",
        )


def _require_one_output_each(found):
    outputs = {}
    for task in found.tasks:
        outputs.setdefault(os.path.realpath(task.output), []).append(task.files[0])
    for table in found.tables:
        outputs.setdefault(os.path.realpath(table.output), []).append(table.path)
    clashes = [listed(paths, separator=" and ") for paths in outputs.values() if len(paths) > 1]
    if clashes:
        raise InputError(
            f"{len(clashes):,} results would have the name of another "
            f"({listed(clashes, separator='; ')})",
            expected="one name per micrograph, whatever its folder",
            advice="denoise each folder with an --output of its own",
        )


def _require_inputs_to_stay(found):
    inputs = {os.path.realpath(path) for task in found.tasks for path in task.files}
    inputs |= {os.path.realpath(table.path) for table in found.tables}
    outputs = [path for task in found.tasks for path in (task.output, task.record)]
    outputs += [table.output for table in found.tables]
    replaced = sorted(str(path) for path in outputs if os.path.realpath(path) in inputs)
    if replaced:
        raise InputError(
            f"{len(replaced):,} results would replace what they are made of ({listed(replaced)})",
            advice="give another folder as --output",
        )
