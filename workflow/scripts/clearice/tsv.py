"""Tables as tab-separated text with a header: how every step writes and reads them.

Not by pandas, whose import takes a fifth of a second and 50 MiB in every training.
"""

import csv
import io
import re

from clearice.files import regular_text
from clearice.numbers import finite

_BREAKS = re.compile(r"[\t-\r\x1c-\x1e\x85\u2028\u2029]+")


def table_text(columns, rows):
    """Return rows (dicts) as tab-separated text with a header line.

    A float has 9 digits, tabs and line breaks in text become a blank (all other blanks stay: a name
    may hold them), None and a missing key are an empty field; other keys are left out.
    """
    text = io.StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    table.writerow(columns)
    table.writerows([_field(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def _field(value):
    if value is None:
        return ""
    return f"{value:.9g}" if isinstance(value, float) else _BREAKS.sub(" ", str(value))


def read_table(path):
    """Return the table at `path` as a list of dicts of text, one per row; none in an empty file."""
    return list(csv.DictReader(io.StringIO(regular_text(path), newline=""), delimiter="\t"))


def number(text):
    """Return text (or a number) as int or float; None where it is empty or not finite."""
    try:
        value = finite(float(text))
    except (TypeError, ValueError):
        return None
    if value is None:
        return None
    return int(value) if value.is_integer() and "." not in str(text) else value
