"""Documents that the page shows folded and that lie beside it as markdown: one content, two forms.

They are made to be committed to git: a run of the same data gives the same text, measured times
and speeds aside.
"""

import re
from dataclasses import dataclass

from clearice import __version__

_WIDEST = 48  # letters that a column is padded to: a long sentence makes no long lines of blanks
_MARKUP = re.compile(
    r"([\\|`*<\[])"
)  # what markdown takes for more than text; _ within words is not


@dataclass(frozen=True)
class Part:
    """A heading, sentences below it, and a table; each may be missing.

    `rows` are tuples of text as long as `columns`; `numbers` are the indices of columns of numbers.
    """

    heading: str
    sentences: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Document:
    """A title, the name of the file, and Parts."""

    title: str
    file: str
    parts: list[Part]


def facts(heading, rows, sentences=()):
    """Return a Part of two columns: what, and its value; those that are None are left out."""
    known = tuple((label, str(value)) for label, value in rows if value is not None)
    return Part(heading, tuple(sentences), ("what", "value"), known)


def markdown(document):
    """Return a Document as markdown that reads well as plain text, too."""
    lines = [f"# {document.title}", "", f"Written with each report by clearice {__version__}.", ""]
    for part in document.parts:
        lines += [f"## {_escaped(part.heading)}", ""]
        lines += [line for sentence in part.sentences for line in (_escaped(sentence), "")]
        if part.rows:
            lines += [*_table(part), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(part):
    """Yield the lines of a table whose columns are aligned."""
    cells = [[_escaped(cell) for cell in row] for row in (part.columns, *part.rows)]
    lengths = [[min(len(cell), _WIDEST) for cell in row] for row in cells]
    widths = [max(3, *column) for column in zip(*lengths, strict=True)]
    right = [i in part.numbers for i in range(len(part.columns))]
    rules = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    for row in (cells[0], rules, *cells[1:]):
        padded = (
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, right, strict=True)
        )
        yield f"| {' | '.join(padded)} |"


def _escaped(text):
    return _MARKUP.sub(r"\\\1", text)
