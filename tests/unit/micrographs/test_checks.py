"""Tests of the table of checks, and of its twin in the documentation."""

from clearice.micrographs.checks import CHECKS, REJECTED, STOPS, WARNING, table
from conftest import REPOSITORY


def test_the_documentation_shows_the_table_of_checks():
    assert table() in (REPOSITORY / "docs" / "checks.md").read_text(encoding="utf-8")


def test_every_check_has_a_name_of_its_own_and_an_outcome():
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert {check.outcome for check in CHECKS} <= {WARNING, REJECTED, STOPS}
