"""What was looked at in each micrograph, and how near to its threshold the worst of it came."""

from clearice.micrographs.checks import CHECKS, severity


def worst_check(row):
    """Return what the check says that came nearest to its threshold or went furthest beyond it.

    `row` is one of facts.read_micrographs. {"check": the Check, "value", "percent" of the
    threshold, "also": names of other checks that reached theirs}; None where nothing was measured.
    """
    found = [(severity(check, row.get(check.name)), check) for check in CHECKS]
    found = [(far, check) for far, check in found if far is not None]
    if not found:
        return None
    # Of two that go by one number, the one that was reached and weighs more.
    far, worst = max(found, key=lambda pair: (pair[0], CHECKS.index(pair[1])))
    return {
        "check": worst,
        "value": row[worst.name],
        "percent": 100 * far,
        "also": [check.name for far, check in found if far >= 1 and check is not worst],
    }
