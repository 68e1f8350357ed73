"""What a number becomes before it goes into JSON."""

import math

import numpy as np
import pytest

from clearice.numbers import finite


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_what_json_cannot_hold_is_none(value):
    assert finite(value) is None


@pytest.mark.parametrize("value", [0.0, -1.5, 3, True, "nan", None, [math.nan]])
def test_anything_else_stays(value):
    assert finite(value) is value
