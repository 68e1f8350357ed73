"""Pauses between attempts, and the gaps that finished ranges leave."""

import pytest

from clearice.errors import InputError
from clearice.micrographs.empiar.connection import Fault, Patience, persist
from clearice.micrographs.empiar.ranges import missing_ranges


def test_pauses_grow_heed_the_server_and_have_an_end():
    pauses, faults = [], [Fault("x"), Fault("x"), Fault("x", 20.0), Fault("x", 1e6), Fault("x")]

    def action():
        raise faults[len(pauses)]

    patience = Patience(attempts=5, first_pause_s=1, longest_pause_s=30)
    with pytest.raises(InputError, match="gave up after 5 failed attempts"):
        persist(action, "url", patience, advice="wait", pause=pauses.append)
    assert len(pauses) == 4
    for pause, wanted in zip(pauses, [1, 2, 20, 30], strict=True):
        assert 0.75 * wanted <= pause <= wanted


@pytest.mark.parametrize(
    ("finished", "gaps"),
    [
        ([], [(0, 4), (4, 8), (8, 10)]),
        ([[0, 10]], []),
        ([[4, 8]], [(0, 4), (8, 10)]),
        ([[8, 10], [0, 3]], [(3, 7), (7, 8)]),
        ([[0, 6], [4, 5]], [(6, 10)]),
    ],
)
def test_missing_ranges_are_the_gaps(finished, gaps):
    assert missing_ranges(finished, 10, 4) == gaps
