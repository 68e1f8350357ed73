"""Small groups of planes, and trainings on the CPU that hold or stream them."""

import pytest

from clearice.model.planes import residency
from clearice.model.planes.placement import kind_that_fits


@pytest.fixture
def small_groups(monkeypatch):
    """Two micrographs a group, and pieces that end within a plane."""
    monkeypatch.setattr(residency, "GROUP", 2)
    monkeypatch.setattr("clearice.model.feed.GROUP", 2)
    monkeypatch.setattr("clearice.model.planes.copying._PIECE_BYTES", 1000)


@pytest.fixture
def on_device(monkeypatch):
    """Return a function that lets trainings on the CPU hold or stream their planes."""

    def limit_to(limit):
        monkeypatch.setattr(
            "clearice.model.planes.placement.kind_that_fits",
            lambda *about: kind_that_fits(*about[:3], limit, about[4]),
        )

    return limit_to
