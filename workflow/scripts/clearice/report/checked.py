"""What was looked at in each micrograph, and how near to its threshold it came."""

from clearice.micrographs.checks import CHECKS, severity


def check_rows(row):
    """Return what each check says that measured something, nearest to its threshold first.

    `row` is one of facts.read_micrographs. Rows are {"check": the Check, "value", "percent" of the
    threshold (0 at least), "reached"}; what went beyond its threshold comes before what did not.
    """
    found = [(severity(check, row.get(check.name)), check) for check in CHECKS]
    found = [(far, check) for far, check in found if far is not None]
    # Of two that go by one number, the one that was reached and weighs more.
    found.sort(key=lambda pair: (pair[0], CHECKS.index(pair[1])), reverse=True)
    return [
        {
            "check": check,
            "value": row[check.name],
            "percent": 100 * max(far, 0),
            "reached": far >= 1,
        }
        for far, check in found
    ]


def worst_check(row):
    """Return the first of check_rows and, as "also", the names of others that were reached.

    None where nothing was measured.
    """
    rows = check_rows(row)
    if not rows:
        return None
    worst, *others = rows
    return {**worst, "also": [other["check"].name for other in others if other["reached"]]}
