"""Tables that name micrographs: tab-separated ones, and RELION's STAR files."""

import csv
import io
import math
import os
from pathlib import PurePath

from clearice.errors import InputError
from clearice.files import regular_text
from clearice.wording import listed

_MOST_BYTES = 1 << 28  # a thousand bytes for each of 250,000 micrographs
_ROLES = ("input", "target", "truth")
_OTHER_TABLES = {  # a column of what people give by mistake -> what it is
    "rlnImageName": "particles without the names of their micrographs",
    "rlnTomoName": "tomograms",
    "rlnMicrographMovieName": "movies",
    "wrpMovieName": "a Warp table of a tilt series",
    "rlnCoordinateX": "coordinates of particles",
    "rlnJobTypeLabel": "the settings of a job",
}


def rows_of_tsv(table, directory, skip_missing=False):
    """Return a dict per line of a table with columns micrograph, input and (for pairs) target.

    Keys: name, input, and target and truth where the line has them. Paths are relative to
    `directory` or to a folder above the table; see paths_beside for missing ones. Raises
    InputError, listing every culprit.
    """
    text = io.StringIO(_table_text(directory / table), newline="")
    try:
        lines = list(csv.DictReader(text, delimiter="\t", strict=True))
    except csv.Error as error:
        raise InputError(f"not a table of tab-separated UTF-8 text: {error}", file=table) from None
    columns = {column or "" for column in lines[0]} if lines else set()
    if any(column.startswith(("data_", "loop_")) for column in columns):
        raise InputError(
            "a STAR file, not a tab-separated table", file=table, advice="name it .star"
        )
    if not {"micrograph", "input"} <= columns:
        raise InputError(
            "not a table of micrographs",
            file=table,
            expected="tab-separated columns micrograph, input and (for pairs) target, and a row",
            found=listed(sorted(columns)) or "no rows",
        )
    empty = [
        str(n) for n, line in enumerate(lines, 2) if not (line["micrograph"] and line["input"])
    ]
    if empty:
        raise InputError(f"no micrograph or no input in line {listed(empty)}", file=table)
    named = [(line, role) for line in lines for role in _ROLES if line.get(role)]
    rows = {id(line): {"name": line["micrograph"]} for line in lines}
    paths = paths_beside([line[role] for line, role in named], table, directory, skip_missing)
    for (line, role), path in zip(named, paths, strict=True):
        rows[id(line)][role] = path
    return list(rows.values())


def columns_of_star(path):
    """Return what the loop in the STAR file `path` says that names micrographs.

    column -> list of str, and the list of their pixel sizes (stated_pixel_sizes).
    """
    blocks = _blocks_of_star(path)
    block = blocks[micrograph_loop(blocks, path)]
    columns = {name: [str(value) for value in block[name]] for name in block.columns}
    return columns, stated_pixel_sizes(blocks, block)


def stated_pixel_sizes(blocks, rows):
    """Return the pixel size in angstrom of each of `rows`, a list; None where nothing states one.

    `blocks` are those of a STAR file, `rows` its loop of micrographs. Their optics groups count
    (RELION 3.1 and later), or else the columns of the loop itself, where detector pixels (um) over
    magnification is what RELION before 3.1 wrote.
    """
    optics, sizes = blocks.get("optics", {}), [None] * len(rows)
    if "rlnOpticsGroup" in optics and "rlnOpticsGroup" in rows:
        columns = {name: _values(optics[name]) for name in optics}
        groups = dict(zip(columns["rlnOpticsGroup"], _pixel_sizes(columns), strict=True))
        sizes = [groups.get(group) for group in _values(rows["rlnOpticsGroup"])]
    own = _pixel_sizes({name: _values(rows[name]) for name in rows})
    return [size or other for size, other in zip(sizes, own, strict=True)]


def _values(column):
    """Return the texts of a column of a loop, or of the one value of a block that is no loop."""
    return [str(column)] if isinstance(column, str | int | float) else list(map(str, column))


def _pixel_sizes(columns):
    rows = len(next(iter(columns.values())))
    if "rlnMicrographPixelSize" in columns:
        return [_positive(text) for text in columns["rlnMicrographPixelSize"]]
    old = [columns.get(name) for name in ("rlnDetectorPixelSize", "rlnMagnification")]
    if None in old:
        return [None] * rows
    both = [(_positive(pixel), _positive(times)) for pixel, times in zip(*old, strict=True)]
    return [pixel and times and 1e4 * pixel / times for pixel, times in both]


def _positive(text):
    """Return the number in a text if it is finite and above 0, else None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


def text_of_star(path):
    """Return name -> block of the STAR file `path`, every value as the text that stands there.

    A loop is a DataFrame, any other block a dict. Raises InputError for what is no STAR file.
    """
    names = {name for block in _blocks_of_star(path).values() for name in block}
    return _blocks_of_star(path, sorted(names))


def micrograph_loop(blocks, path):
    """Return the name of the loop among `blocks` (of the STAR file `path`) of the micrographs."""
    for name, block in blocks.items():
        columns = [] if isinstance(block, dict) else block.columns
        if "rlnMicrographName" in columns or "rlnMicrographNameEven" in columns:
            return name
    columns = [name for block in blocks.values() for name in block]
    kind = next((text for name, text in _OTHER_TABLES.items() if name in columns), None)
    raise InputError(
        "no micrographs in this STAR file" + (f": {kind}" if kind else ""),
        file=path,
        expected="a loop with the column rlnMicrographName",
        found=listed(columns) or "no columns",
        advice="give corrected_micrographs.star or micrographs.star",
    )


def distinct_rows(columns, sizes):
    """Return (columns, sizes, n): what columns_of_star returned, and how many rows there were.

    Of the columns those that name micrographs; each micrograph has one row, the first.
    """
    named = [name for name in columns if name.startswith("rlnMicrographName")]
    rows = list(zip(*(columns[name] for name in named), strict=True))
    first = dict(reversed(list(zip(rows, sizes, strict=True))))
    once = list(dict.fromkeys(rows))
    columns = dict(zip(named, map(list, zip(*once, strict=True)), strict=True))
    return columns, [first[row] for row in once], len(rows)


def _blocks_of_star(path, text_columns=()):
    start = _table_text(path).lstrip()
    if "\t" in start.partition("\n")[0] and not start.startswith(("data_", "#")):
        raise InputError("a tab-separated table, not a STAR file", file=path, advice="name it .tsv")
    import starfile  # brings pandas: half a second that other sources need not wait

    try:
        return starfile.read(path, always_dict=True, parse_as_string=list(text_columns))
    except Exception as error:  # the parser raises whatever broke
        raise InputError(f"not a STAR file ({error})", file=path) from None


def paths_beside(paths, table, directory, skip_missing=False):
    """Return `paths`, found relative to `directory` or to a folder above `table`.

    RELION writes paths relative to its project, which is some folder above the STAR file.
    Raises InputError that lists the missing ones; with `skip_missing` they stay as they are, to
    be rejected one by one, unless all are missing.
    """
    found = [_beside(path, table, directory) for path in paths]
    missing = [path for path, there in zip(paths, found, strict=True) if not there]
    if skip_missing and len(missing) < len(paths):
        return [there or path for path, there in zip(paths, found, strict=True)]
    if missing:
        raise InputError(
            f"{len(missing):,} files that it names are missing ({listed(missing)})",
            file=table,
            expected="paths relative to the working directory or to a folder above the table",
        )
    return found


def _beside(path, table, directory):
    for base in (PurePath(), *PurePath(table).parents):
        # What is no regular file is rejected when it is opened.
        if os.path.exists(directory / base / path):
            return str(base / path)
    return None


def _table_text(path):
    try:
        # Spreadsheets write a BOM.
        return regular_text(path, _MOST_BYTES, "a table of micrographs", encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"not UTF-8 text (byte {error.start})", file=path, advice="save it as UTF-8"
        ) from None
