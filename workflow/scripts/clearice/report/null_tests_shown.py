"""Null tests as shown: what each asks, how near it came, and on which micrograph."""

NULL_TEST_COLUMNS = (
    *("micrograph", "test", "passed", "number", "threshold", "percent", "verdict"),
)
QUESTIONS = {
    "flatness": "Does anything stand out where there is only noise?",
    "noise response": "Does it draw particles in pure noise?",
    "shuffled pairs": "Does it agree with the other half at the wrong place, too?",
    "calibration": "Does it draw with too much or too little contrast?",
    "seams": "Do the borders of its tiles show?",
    "grid": "Does it lay a regular pattern over the image?",
}
METER_PERCENT = 150  # the right end of a meter, so that what is over its threshold shows


def null_test_rows(records):
    """Yield one row of NULL_TEST_COLUMNS per micrograph and test, in the order of the tests.

    `records` is micrograph -> record of the validation. percent is of the threshold; None where
    a test could not be made, or failed without a number.
    """
    for micrograph, record in records.items():
        for test in record["null_tests"]:
            yield {
                "micrograph": micrograph,
                "test": test["name"],
                **{key: test[key] for key in ("passed", "number", "threshold", "verdict")},
                "percent": _percent(test["number"], test["threshold"]),
            }


def null_tests_shown(records):
    """Return one row per test: that of its worst micrograph, with counts and its question.

    Worst is a failure without a number, then the largest share of the threshold. `state` is passed,
    failed or "not made"; `judged` and `failed_on` count micrographs; `meter` is the length of the
    bar in per cent of its track.
    """
    by_test = {}
    for row in null_test_rows(records):
        by_test.setdefault(row["test"], []).append(row)
    return [_shown(name, rows) for name, rows in by_test.items()]


def _shown(name, rows):
    made = [row for row in rows if row["passed"] is not None]
    failed = [row for row in made if not row["passed"]]
    worst = max(failed or made or rows, key=_how_bad)
    percent = worst["percent"]
    return {
        **worst,
        "name": name,
        "question": QUESTIONS.get(name),
        "state": "failed" if failed else "passed" if made else "not made",
        "judged": len(made),
        "failed_on": len(failed),
        "meter": None if percent is None else 100 * min(percent, METER_PERCENT) / METER_PERCENT,
    }


def _how_bad(row):
    return float("inf") if row["percent"] is None else row["percent"]


def _percent(number, threshold):
    return 100 * number / threshold if None not in (number, threshold) and threshold > 0 else None
