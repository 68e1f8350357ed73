"""Numbers on the page."""

import pytest

from clearice.report.words import on_page


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (None, ".4g", "–"),
        (-0.84, "+.1f", "−0.8"),
        (4.8, "+.1f", "+4.8"),
        (-0.04, "+.1f", "+0.0"),
        (-0.0001, ".3f", "0.000"),
        (-0.0, "g", "0"),
        (0, ".4g", "0"),
        (-1234.5, ",.0f", "−1,234"),
        (2e-5, ".1e", "2.0e−05"),
        (-float("inf"), ".4g", "−inf"),
    ],
)
def test_a_number_has_a_true_minus_sign_and_none_before_zero(value, form, text):
    assert on_page(value, form) == text
