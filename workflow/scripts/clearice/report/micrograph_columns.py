"""The columns of the micrograph browser: what a cell says, what it is sorted by, what it means."""

import dataclasses
from collections.abc import Callable

from clearice.report.words import on_page

STATES = ("rejected", "waiting", "used")
_SPLITS = {"train": "train", "test": "test (held out)"}


@dataclasses.dataclass(frozen=True)
class Column:
    """One column.

    `key` names it in the address of the page, `title` heads it, `meaning` says its unit and what is
    good. `cell` makes of a row of micrograph_rows (text, small text below it, what it is sorted by:
    a number or None); where all texts of a column are empty it is not shown.
    """

    key: str
    title: str
    meaning: str
    cell: Callable
    numeric: bool = True


def _name(row):
    return row["micrograph"], "", row["rank"]


def _status(row):
    """Rejected ones first, then those that wait, then used ones with warnings."""
    state = state_of(row)
    order = STATES.index(state) + (state == "used" and not row["warnings"])
    return state, "; ".join(filter(None, (row["reason"], row["warnings"]))), order


def state_of(row):
    """Return rejected, waiting or used."""
    return next(state for state in STATES if row[state])


def _split(row):
    if row["split"] not in _SPLITS:
        return "", "", None
    patches = "" if row["patches"] is None else f"{row['patches']:,} patches"
    return _SPLITS[row["split"]], patches, list(_SPLITS).index(row["split"])


def _size(row):
    height, width = row["height_px"], row["width_px"]
    if not (height and width):
        return "", "", None
    return f"{height} x {width}", "", height * width


def _worst(row):
    worst = row["worst"]
    if worst is None:
        return "", "", None
    check = worst["check"]
    said = f"{check.name} {on_page(worst['value'], '.3g')} of {on_page(check.threshold, '.3g')}"
    also = f"; also {', '.join(worst['also'])}" if worst["also"] else ""
    return f"{worst['percent']:,.0f} %", said + also, worst["percent"]


def _correlation(row):
    denoised, raw = row["correlation_denoised"], row["correlation_raw"]
    if denoised is None:
        return "", "", None
    return on_page(denoised, ".3f"), f"raw {on_page(raw, '.3f')}", denoised


def _number(key, form):
    """Return a function of a row: that number of it, in that form."""

    def cell(row):
        value = row[key]
        return ("", "", None) if value is None else (on_page(value, form), "", value)

    return cell


COLUMNS = (
    Column(
        "name",
        "Micrograph",
        "its name, and a picture: as recorded on the left, denoised on the right. The name leads "
        "to a page about it",
        _name,
        numeric=False,
    ),
    Column(
        "status",
        "Status",
        "whether it was used, and if not, why; below that, its warnings",
        _status,
        numeric=False,
    ),
    Column(
        "split",
        "Split",
        "train, or test: held out, never seen by the network in training. All patches of a "
        "micrograph are in one split",
        _split,
        numeric=False,
    ),
    Column("size", "Size (px)", "height x width", _size),
    Column(
        "pixel",
        "Pixel (Å)",
        "pixel size in angstrom; all of one session should agree",
        _number("pixel_size_angstrom", ".4g"),
    ),
    Column(
        "mean",
        "Mean",
        "level of the pixels, in the unit of the file: the median of the means of pieces of 64 px. "
        "It follows dose and thickness: an outlier is thick ice, an empty hole or a short exposure",
        _number("mean", ".4g"),
    ),
    Column(
        "std",
        "Std",
        "scale of the pixels, in the unit of the file: the median of the standard deviations of "
        "pieces of 64 px, mostly noise. An outlier is carbon, a crystal or another exposure",
        _number("std", ".4g"),
    ),
    Column(
        "hot",
        "Hot pixels",
        "clearly hot pixels, which were replaced. A good camera leaves a few in ten million",
        _number("hot_pixels_count", ",.0f"),
    ),
    Column(
        "pair",
        "Pair",
        "pair check: correlation of the two halves. Above 0 they show the same scene; near 1 they "
        "are copies of one image",
        _number("half_correlation", ".3f"),
    ),
    Column(
        "check",
        "Worst check",
        "the check that came nearest to its threshold or went furthest beyond it, in per cent of "
        "the threshold. From 100 % on it is a warning or a reason to reject",
        _worst,
    ),
    Column(
        "gain",
        "Gain (dB)",
        "what denoising gains over the best linear filter, measured where a micrograph was held "
        "out. Above 0 the network is better",
        _number("gain_over_linear_db", "+.1f"),
    ),
    Column(
        "correlation",
        "Correlation",
        "of the denoised micrograph with the raw other half, and of the raw one below it. Higher "
        "is better; the noise of the other half keeps it below 1",
        _correlation,
    ),
)
