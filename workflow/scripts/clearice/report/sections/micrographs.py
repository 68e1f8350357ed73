"""Section micrographs: all of them in a table that a reader sorts, filters and searches."""

import base64

from clearice.micrographs.checks import measured_names
from clearice.micrographs.names import natural
from clearice.report.checked import worst_check
from clearice.report.facts import entry_lines, page_file
from clearice.report.micrograph_columns import COLUMNS, STATES, state_of
from clearice.report.pictures import data_uri
from clearice.report.section import Section
from clearice.report.validated import gain_of
from clearice.tsv import table_text

FIRST_ROWS = 50  # are part of the page as it is; the others are data that its script shows
TABLE_COLUMNS = (
    *("micrograph", "status", "reason", "split", "patches", "height_px", "width_px"),
    *("pixel_size_angstrom", "mean", "std", "hot_pixels_count", "half_correlation"),
    *("gain_over_linear_db", "correlation_raw", "correlation_denoised"),
    *("worst_check", "worst_check_percent", "warnings", *measured_names()),
)
_DRAWN = {  # of the record of a micrograph; hot_pixels is a check's share in our table
    "mean": "mean",
    "std": "std",
    "hot_pixels_count": "hot_pixels",
    "half_correlation": "half_correlation",
}


def section(results, config):
    """Return the Section of the micrographs."""
    rows = micrograph_rows(results.micrographs, results.validation, results.drawn)
    columns = shown_columns(rows)
    shown = [shown_row(row, columns, row["micrograph"] in results.denoised) for row in rows]
    status = next(i for i, column in enumerate(columns) if column.key == "status")
    first = sorted(shown, key=lambda row: row["cells"][status][2])[:FIRST_ROWS]
    checks = {row["worst_check"]: row["worst"]["check"] for row in rows if row["worst"]}
    facts = {
        "columns": columns,
        "first": first,
        "blank": {**dict.fromkeys(first[0], ""), "cells": [("", "", None)] * len(columns)},
        "data": page_data(shown, columns),
        "counts": counts(shown),
        "checks": [check for _, check in sorted(checks.items())],
        "entry": results.entry and entry_lines(results.entry, results.micrographs),
    }
    rows.sort(key=lambda row: STATES.index(state_of(row)))  # stable: by name within each
    return Section(facts, {"micrographs.tsv": table_text(TABLE_COLUMNS, rows)})


def micrograph_rows(micrographs, validation, drawn):
    """Return a row per micrograph in the order of names, that of people: m2 before m10.

    `micrographs` are what facts.read_micrographs returned, `validation` ValidationRecords or None,
    `drawn` name -> what draw_micrographs recorded. A row gets what denoising gained, what was
    drawn and its worst check (checked.worst_check); None where something is not known.
    """
    rows = []
    for row in micrographs:
        record = validation.by_name.get(row["micrograph"], {}) if validation else {}
        correlation = (record.get("target") or {}).get("correlation", {})
        picture = drawn.get(row["micrograph"], {})
        worst = worst_check(row)
        rows.append(
            {
                **row,
                **{key: picture.get(name) for key, name in _DRAWN.items()},
                "gain_over_linear_db": gain_of(record),
                "correlation_raw": correlation.get("raw"),
                "correlation_denoised": correlation.get("denoised"),
                "worst": worst,
                "worst_check": worst and worst["check"].name,
                "worst_check_percent": worst and worst["percent"],
                "picture": picture,
            }
        )
    rows.sort(key=lambda row: natural(row["micrograph"]))
    for rank, row in enumerate(rows):
        row["rank"] = rank
    return rows


def shown_columns(rows):
    """Return those of COLUMNS that say something of a micrograph at least."""
    return [column for column in COLUMNS if any(column.cell(row)[0] for row in rows)]


def counts(rows):
    """Return how many rows of shown_row there are of each state and split, and with warnings."""
    found = {"all": len(rows), "warnings": sum(row["warned"] for row in rows)}
    found |= {state: sum(row["state"] == state for row in rows) for state in STATES}
    return found | {
        split: sum(row["split"] == split for row in rows) for split in ("train", "test")
    }


def shown_row(row, columns, denoised):
    """Return a row of micrograph_rows as the page shows it; `denoised` says whether it was.

    {"state", "warned", "split", "file": name of its page as part of an address, or None, "image":
    a data URI or None, "alt": its words, "cells": per column (text, small text, sorted by)}
    """
    picture = row["picture"]
    image = None
    if picture.get("thumbnail"):
        image = data_uri(base64.b64decode(picture["thumbnail"]), picture["thumbnail_kind"])
    return {
        "state": state_of(row),
        "warned": bool(row["warnings"]),
        "split": row["split"] or "",
        "file": page_file(row["micrograph"]) if picture else None,
        "image": image,
        "alt": "raw, denoised" if denoised else "raw",
        "cells": [column.cell(row) for column in columns],
    }


def page_data(rows, columns):
    """Return what the page's script reads: the keys of the columns, and of each row a list.

    A list per row and not a dict: of 10,000 rows the keys alone would be a megabyte.
    """
    fields = ("file", "image", "alt", "state", "warned", "split")
    return {
        "columns": [column.key for column in columns],
        "states": STATES,
        "rows": [
            [
                *(row[field] for field in fields[:3]),
                STATES.index(row["state"]),
                int(row["warned"]),
                row["split"],
                *([cell[part] for cell in row["cells"]] for part in range(3)),
            ]
            for row in rows
        ],
    }
