"""Tests of lists that do not grow with the run."""

from clearice.wording import listed


def test_a_short_list_is_whole():
    assert listed(["a", "b"]) == "a, b"


def test_a_long_list_ends_in_the_number_of_the_rest():
    assert listed(range(3000), limit=2) == "0, 1 and 2,998 more"
