"""What was looked at in each micrograph, and how near to its threshold it came, worst first."""

from clearice.micrographs.checks import CHECKS, severity

SHOWN = 20  # micrographs on the page; micrographs.tsv has all


def check_rows(micrographs, limit=SHOWN):
    """Return one row per micrograph, that of its worst check; at most `limit`, worst first.

    `micrographs` are what facts.read_micrographs returned. A row holds micrograph, rejected, name,
    subject, value, threshold, `percent` of the threshold and `also`: names of other checks that
    reached theirs. Micrographs of which nothing was measured have none.
    """
    rows = []
    for row in micrographs:
        found = [(severity(c, row.get(c.name)), c) for c in CHECKS]
        found = [(far, check) for far, check in found if far is not None]
        if not found:
            continue
        # Of two that go by one number, the one that was reached and weighs more.
        far, worst = max(found, key=lambda pair: (pair[0], CHECKS.index(pair[1])))
        rows.append(
            {
                "micrograph": row["micrograph"],
                "rejected": row["rejected"],
                "name": worst.name,
                "subject": worst.subject,
                "value": row[worst.name],
                "threshold": worst.threshold,
                "percent": 100 * far,
                "also": [c.name for f, c in found if f >= 1 and c is not worst],
            }
        )
    rows.sort(key=lambda row: -row["percent"])  # stable: by name within each
    return rows[:limit]
