"""The validation of many micrographs in a few numbers and sentences.

The other half is no evidence where the pair was doubted (micrographs/halves/pairs.py): a network
keeps what both halves share by mistake, and that looks like a gain.
"""

from statistics import median

from clearice.wording import listed

_VALUES = {  # name in the summary -> where it lies in a record
    "gain_over_linear_db_truth": ("truth", "gain_over_linear_db"),
    "snr_db_raw": ("truth", "snr_db", "raw"),
    "snr_db_gaussian": ("truth", "snr_db", "gaussian"),
    "snr_db_wiener": ("truth", "snr_db", "wiener"),
    "snr_db_denoised": ("truth", "snr_db", "denoised"),
    "ssim_raw": ("truth", "ssim", "raw"),
    "ssim_gaussian": ("truth", "ssim", "gaussian"),
    "ssim_wiener": ("truth", "ssim", "wiener"),
    "ssim_denoised": ("truth", "ssim", "denoised"),
    "gain_over_linear_db_target": ("target", "gain_over_linear_db"),
    "excess_raw": ("target", "excess", "raw"),
    "excess_gaussian": ("target", "excess", "gaussian"),
    "excess_wiener": ("target", "excess", "wiener"),
    "excess_denoised": ("target", "excess", "denoised"),
    "correlation_raw": ("target", "correlation", "raw"),
    "correlation_gaussian": ("target", "correlation", "gaussian"),
    "correlation_wiener": ("target", "correlation", "wiener"),
    "correlation_denoised": ("target", "correlation", "denoised"),
    "average_precision_raw": ("picking", "average_precision", "raw"),
    "average_precision_wiener": ("picking", "average_precision", "wiener"),
    "average_precision_denoised": ("picking", "average_precision", "denoised"),
}


def summarise(records):
    """Return {"micrographs", "values", "null_tests", "failed", "not_measured", "not_counted",
    "words"}.

    `records` are those of validate_micrograph, of held-out micrographs. "values" maps a name to
    {median, least, greatest, count} or None, "null_tests" lists {name, passed, judged, worst,
    threshold, failed_on, verdict}; "words" are sentences for a reader.
    """
    count, found, tests, missing = 0, {name: [] for name in _VALUES}, {}, []
    doubted = []
    for record in map(without_doubted, records):
        count += 1
        doubted += [f"{record['micrograph']} ({'; '.join(record['doubts'])})"] * bool(
            record["doubts"]
        )
        for name, path in _VALUES.items():
            value = _at(record, path)
            if value is not None:
                found[name].append(value)
        for test in record["null_tests"]:
            tests.setdefault(test["name"], []).append((record["micrograph"], test))
        missing += [line for line in record["not_measured"] if line not in missing]
    values = {name: _spread(values) for name, values in found.items()}
    judged = [_judged(name, results) for name, results in tests.items()]
    failed = [test["name"] for test in judged if test["failed_on"]]
    summary = {
        "format_version": 1,
        "micrographs": count,
        "values": values,
        "null_tests": judged,
        "failed": failed,
        "not_measured": missing,
        "not_counted": doubted,
    }
    return {**summary, "words": _words(summary)}


def without_doubted(record):
    """Return the record, without what it says against the other half if the pair was doubted."""
    if not record["doubts"]:
        return record
    curves = {pair: c for pair, c in record.get("frc", {}).items() if "target" not in pair}
    return {**record, "target": None, "frc": curves}


def _at(record, path):
    for key in path:
        record = (record or {}).get(key)
    return record


def _spread(values):
    if not values:
        return None
    ends = {"least": min(values), "greatest": max(values)}
    return {"median": median(values), **ends, "count": len(values)}


def _judged(name, results):
    """Sum up one null test over (micrograph, result); the worst is nearest above its threshold."""
    made = [(m, r) for m, r in results if r["passed"] is not None]
    failed = [(m, r) for m, r in made if not r["passed"]]
    numbered = [r for _, r in made if None not in (r["number"], r["threshold"])]
    worst = max(numbered, key=lambda r: r["number"] / r["threshold"], default=None)
    shown = (failed or made or results)[0][1]
    if worst and (not failed or not worst["passed"]):
        shown = worst
    return {
        "name": name,
        "passed": len(made) - len(failed),
        "judged": len(made),
        "number": shown["number"],
        "threshold": shown["threshold"],
        "failed_on": [micrograph for micrograph, _ in failed],
        "verdict": shown["verdict"],
    }


def _words(summary):
    """Return sentences that say what was gained, over the best linear filter, and what failed."""
    values, words = summary["values"], []
    snr, gain = values["snr_db_denoised"], values["gain_over_linear_db_truth"]
    if snr and gain:
        linear = max(values[f"snr_db_{name}"]["median"] for name in ("gaussian", "wiener"))
        words.append(
            f"Signal-to-noise ratio against the truth: {snr['median']:.1f} dB, "
            f"{_gain(gain['median'])} the best linear filter ({linear:.1f} dB); "
            f"raw {values['snr_db_raw']['median']:.1f} dB."
        )
    gain, excess = values["gain_over_linear_db_target"], values["excess_denoised"]
    if excess:
        linear = min(values[f"excess_{name}"]["median"] for name in ("gaussian", "wiener"))
        words.append(
            "Error against the raw other half, above its noise floor: "
            f"{excess['median']:.3g}, with the best linear filter {linear:.3g}"
            + (f"; {_gain(gain['median'])} the filter." if gain else ".")
        )
    picked = values["average_precision_denoised"]
    if picked:
        others = " and ".join(
            f"{values[f'average_precision_{name}']['median']:.2f} {words_of}"
            for name, words_of in (("raw", "raw"), ("wiener", "with the Wiener filter"))
        )
        words.append(f"Particles found, average precision: {picked['median']:.2f}; {others}.")
    words += null_test_words(summary)
    words += [f"Not measured: {line}." for line in summary["not_measured"]]
    doubted = summary["not_counted"]
    if doubted:
        words.append(
            f"Not counted, against the other half of {len(doubted)} of {summary['micrographs']} "
            f"micrographs: {listed(doubted, 3, separator='; ')}."
        )
    return words


def null_test_words(summary):
    """Return a list of the one sentence that says which null tests failed; empty without any."""
    judged = [test for test in summary["null_tests"] if test["judged"]]
    if summary["failed"]:
        said = "; ".join(f"{t['name']}: {t['verdict']}" for t in judged if t["failed_on"])
        return [f"{len(summary['failed'])} of {len(judged)} null tests failed: {said}."]
    return [f"All null tests that could be made passed ({len(judged)})."] if judged else []


def _gain(gain_db):
    side = "better than" if gain_db >= 0 else "worse than"
    return f"{abs(gain_db):.1f} dB {side}"
