"""Keys of names: safe in paths and wildcards, reversible, and ordinary names are their own."""

import random
import re

import pytest
from snakemake.io import PeriodicityDetector

from clearice.micrographs.names import is_usable, key_of, name_of, natural

LETTERS = "aB9 .-_%{}[]()*?\"'<>|,\\/$`&;!~#=+@:\u00e9\u00a0\u200b\u4e2d"


def random_names(count, seed=0):
    generator = random.Random(seed)
    for _ in range(count):
        part = "".join(generator.choices(LETTERS, k=generator.randint(1, 8)))
        yield part * generator.choice((1, 1, 1, 20, 25))


@pytest.mark.parametrize(
    "name",
    [
        "May08_05.53.51_rest",
        "FoilHole_1_Data_2_Fractions",
        "my mic",
        "Position_99_035[-61_00]",
        "a+b=c@d~e#f!g&h;i(j):k$l",
        "\u00e9\u4e2d",
        "x" * 19,
    ],
)
def test_ordinary_names_are_their_own_key(name):
    assert key_of(name) == name


def test_every_key_gives_its_name_back_and_no_two_names_share_one():
    names = {}
    for name in random_names(20_000):
        key = key_of(name)
        assert names.setdefault(key, name) == name
        if len(name.encode()) < 60:
            assert name_of(key) == name


def test_a_key_holds_nothing_that_a_shell_or_snakemake_takes_for_something_else():
    periodic = PeriodicityDetector()
    for name in random_names(20_000, seed=1):
        key = key_of(name)
        assert not re.search(r"""[\\/{}*?"'<>|,]|  |^[ .-]| $""", key), name
        assert repr(key) == f"'{key}'"  # how Snakemake quotes it for its own command line
        assert periodic.is_periodic(key) is None, name
        assert len(f".{key}.input.bin.part".encode()) <= 255
        assert len(f"{key}.benchmark.tsv".encode()) <= 255


def test_names_that_are_cut_keep_apart():
    names = ["x" * 240 + ending for ending in "ab"] + ["\u00e9" * 120, "\u00e9" * 121]
    keys = {key_of(name) for name in names}
    assert len(keys) == len(names)
    assert all(name_of(key) == key for key in keys)


def test_a_micrograph_that_is_called_as_a_summary_is_not_one():
    assert key_of("summary") != "summary"
    assert name_of(key_of("summary")) == "summary"


def test_text_on_one_line_is_usable():
    for name in ("a  b", " a ", "a\u00a0b", "\u200bx", "{", "[a]", "\u4e2d"):
        assert is_usable(name), ascii(name)
    for name in ("", "a\tb", "a\nb", "a\x7f", "a\u2028b", "a\x85b", "\udce5", "\x1b[31m"):
        assert not is_usable(name), ascii(name)


def test_names_are_sorted_as_people_count():
    names = ["m10", "M2", "m1_20", "m1_3", "b", "10", "9", "m²"]
    expected = ["9", "10", "b", "m1_3", "m1_20", "M2", "m10", "m²"]
    assert sorted(names, key=natural) == expected
