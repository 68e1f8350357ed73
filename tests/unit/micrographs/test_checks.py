"""Tests of the table of checks, and of its twin in the documentation."""

from clearice.micrographs.check import REJECTED, STOPS, WARNING
from clearice.micrographs.checks import CHECKS, table
from clearice.micrographs.whole_set.set_checks import SET_CHECKS
from conftest import REPOSITORY


def test_the_documentation_shows_the_table_of_checks():
    text = (REPOSITORY / "docs" / "checks.md").read_text(encoding="utf-8")
    assert table() in text
    assert table(SET_CHECKS) in text


def test_every_check_has_a_name_of_its_own_and_an_outcome():
    checks = CHECKS + SET_CHECKS
    assert len({check.name for check in checks}) == len(checks)
    assert {check.outcome for check in checks} <= {WARNING, REJECTED, STOPS}
