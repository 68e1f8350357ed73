"""What the steps left behind, read as plain values for the report.

Micrographs may be thousands: of each, only what the page shows is kept.
"""

import contextlib
from pathlib import Path
from urllib.parse import quote

from clearice.errors import InputError
from clearice.files import read_result
from clearice.micrographs.checks import measured_names
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.names import key_of, natural
from clearice.micrographs.whole_set.collection import entry_warnings
from clearice.model import history
from clearice.tsv import number, read_table

_HEADERS = 20  # of the micrographs of an entry: the others are compared with these elsewhere
_DRAWN = (
    *("micrograph", "thumbnail", "thumbnail_kind", "thumbnail_px"),
    *("mean", "std", "hot_pixels", "half_correlation"),
)
_NUMBERS = ("patches", "height_px", "width_px", "pixel_size_angstrom", *measured_names())


def read_micrographs(path):
    """Return the rows of micrographs.tsv as dicts: rejected and waiting first, numbers as numbers.

    Within each by name, as people count: m2 before m10. `used`, `rejected` and `waiting` say which
    of these a micrograph is.
    """
    rows = read_table(path)
    for row in rows:
        for key in _NUMBERS:
            row[key] = number(row[key])
        for key, status in (("used", "ok"), ("rejected", "rejected"), ("waiting", "waiting")):
            row[key] = row["status"] == status
    order = ("rejected", "waiting", "ok")
    return sorted(rows, key=lambda row: (order.index(row["status"]), natural(row["micrograph"])))


def read_history(path):
    """Return the rows of history.tsv as dicts, None where a field is empty.

    A noise floor that a loss went below is taken out: it is wrong, because the halves differ in
    more than independent noise.
    """
    rows = history.read_history(path)
    for split in ("train", "test"):
        floor, losses = f"noise_floor_{split}", [row[f"{split}_loss"] for row in rows]
        least = min((loss for loss in losses if loss is not None), default=None)
        for row in rows:
            if None not in (least, row[floor]) and least < row[floor]:
                row[floor] = None
    return rows


def read_denoised(paths):
    """Return micrograph -> {"files", "seconds", "device", "model"} of each denoised one."""
    keys = "files", "seconds", "device", "model"
    return {r["micrograph"]: {key: r[key] for key in keys} for r in map(read_result, paths)}


def read_drawn(path):
    """Return micrograph -> what draw_micrographs recorded of it, as far as the report shows it.

    `path` is drawn.tsv, which lists them; the records are in the folder micrographs beside it.
    """
    folder = Path(path).parent / "micrographs"
    drawn = {}
    for row in read_table(path):
        record = read_result(folder / f"{row['key']}.json")
        drawn[row["micrograph"]] = {key: record[key] for key in _DRAWN}
    return drawn


def page_file(micrograph):
    """Return the name of the page about a micrograph, as a part of an address."""
    return f"{quote(key_of(micrograph), safe='')}.html"


def earlier_states(denoised, training):
    """Return how many micrographs earlier states of the network denoised, and each stage's share.

    `denoised` is what read_denoised returned, `training` the record of the network's training.
    {"micrographs": how many in all, "earlier": how many of them, "stages": stage -> how many}; the
    stage of a network that was trained anew since is None.
    """
    by_model = {stage["model_xxh3"]: stage["stage"] for stage in training["stages"]}
    found = [facts["model"]["xxh3"] for facts in denoised.values()]
    earlier = [by_model.get(model) for model in found if model != training["model_xxh3"]]
    stages = sorted(set(earlier), key=lambda stage: stage or 0)
    return {
        "micrographs": len(found),
        "earlier": len(earlier),
        "stages": {stage: earlier.count(stage) for stage in stages},
    }


def example_names(rows, available, count):
    """Return up to `count` names to show, held-out micrographs first: no network saw those."""
    used = [row for row in rows if row["used"] and row["micrograph"] in available]
    used.sort(key=lambda row: row["split"] != "test")
    return [row["micrograph"] for row in used[:count]]


def entry_lines(entry, rows):
    """Return {"words", "warnings"}: what an EMPIAR entry says, and what the headers contradict.

    `entry` is what Description.facts returned, `rows` those of micrographs.tsv. Reads the headers
    of the first micrographs: a table holds the pixel size of what was trained on.
    """
    sizes = []
    for row in [row for row in rows if not row["rejected"]][:_HEADERS]:
        with contextlib.suppress(InputError, OSError), open_micrograph(row["input"]) as opened:
            sizes.append(opened.pixel_size_angstrom)
    warnings = entry_warnings(entry["entry"], entry["pixel_size_angstrom"], sizes)
    return {"words": entry["words"], "warnings": warnings}


def versions():
    """Return the versions of what made the report, by package."""
    import importlib.metadata
    import platform

    from clearice import __version__

    found = {"clearice": __version__, "python": platform.python_version()}
    for package in ("numpy", "pandas", "matplotlib", "pillow", "jinja2", "torch", "snakemake"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
