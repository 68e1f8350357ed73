"""Tables as text: what is written comes back, and odd text stays in its field."""

import csv
import io

import pytest

from clearice.tsv import number, read_table, table_text

ODD = [
    "",
    'a "b"',
    "two\tfields",
    "two\nlines",
    "  blanks  ",
    "\u00e9\u2028",
    "'x",
    "NA",
    "nan",
    "1e5",
    "two  blanks",
    "no\u00a0break ",
]


def unbroken(text):
    return text.translate(dict.fromkeys(map(ord, "\t\n\u2028"), " "))


def test_odd_text_stays_in_its_field(tmp_path):
    rows = [{"name": text, "count": number} for number, text in enumerate(ODD)]
    path = tmp_path / "t.tsv"
    path.write_text(table_text(("name", "count"), rows), encoding="utf-8")
    expected = [{"name": unbroken(text), "count": str(i)} for i, text in enumerate(ODD)]
    assert read_table(path) == expected
    with open(path, newline="", encoding="utf-8") as file:  # as every other reader of such files
        assert list(csv.DictReader(file, delimiter="\t")) == expected


def test_it_is_what_the_csv_module_writes():
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerows([("a", "b"), *((unbroken(text), "x") for text in ODD)])
    rows = [{"a": text, "b": "x", "other": 1} for text in ODD]
    assert table_text(("a", "b"), rows) == stream.getvalue()


def test_values_and_missing_ones():
    rows = [{"a": 1 / 3, "b": None, "c": True}, {"a": 12, "c": 1e-9}]
    assert table_text("abc", rows) == "a\tb\tc\n0.333333333\t\tTrue\n12\t\t1e-09\n"
    assert table_text("ab", []) == "a\tb\n"


def test_an_empty_file_has_no_rows(tmp_path):
    (tmp_path / "t.tsv").touch()
    assert read_table(tmp_path / "t.tsv") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("3.0", 3.0), ("1e3", 1000), ("", None), (None, None), ("nan", None), ("-", None)],
)
def test_numbers(text, value):
    assert number(text) == value
