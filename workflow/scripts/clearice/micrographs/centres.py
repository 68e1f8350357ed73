"""Tables of particle centres: where a simulation put its particles.

Tab-separated, with a header: y_px, x_px (of the centre; the middle of the first pixel is 0, 0) and
diameter_px, the same in every row.
"""

import csv
import io

import numpy as np

from clearice.errors import InputError
from clearice.files import regular_text
from clearice.wording import made_again

_MOST_BYTES = 1 << 26
COLUMNS = ("y_px", "x_px", "diameter_px")


def centres_text(centres_px, diameter_px):
    """Return the table of `centres_px` (n, 2), y and x, as text."""
    lines = ["\t".join(COLUMNS)]
    lines += [f"{y:.3f}\t{x:.3f}\t{diameter_px:.3f}" for y, x in centres_px]
    return "\n".join(lines) + "\n"


def read_centres(path):
    """Return (centres (n, 2) float64 in px, diameter_px) of a table, or None for one without rows.

    Raises InputError where it is not such a table.
    """
    try:
        text = regular_text(path, _MOST_BYTES, "a table of particle centres")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter="\t"))
        values = np.array([[float(row[c]) for c in COLUMNS] for row in rows]).reshape(-1, 3)
    except (KeyError, TypeError, ValueError, csv.Error):
        raise InputError(
            "not a table of particle centres",
            file=path,
            expected="tab-separated numbers " + ", ".join(COLUMNS),
            advice=made_again(path),
        ) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None
    if not len(values):
        return None
    diameter = float(values[0, 2])
    if not (np.isfinite(values).all() and (values[:, 2] == diameter).all() and diameter > 0):
        raise InputError(
            "wrong values in a table of particle centres",
            file=path,
            expected="finite numbers and one diameter above 0",
            advice=made_again(path),
        )
    return values[:, :2], diameter
