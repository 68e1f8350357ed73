"""Numbers that JSON and tables can hold.

Not in tsv.py: the checker, which reads results with NumPy alone, asks for them too.
"""

import math


def finite(value):
    """Return `value`, or None in place of a float that is NaN or infinite; JSON has neither."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
