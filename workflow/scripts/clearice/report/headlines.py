"""The few figures that say how a run went: for the top of the page and for the terminal."""

import textwrap

from clearice.parity.verdict import passed_text
from clearice.report.words import duration, memory, optional

LINE_WIDTH = 80


def headlines(micrographs, manifest, histories, verdicts, validation, steps, busy_s):
    """Return the headline figures as plain values, ready for JSON; None where there are none.

    Arguments are what clearice.report.facts and clearice.report.costs read; `histories` maps an
    architecture to its rows, `validation` is the summary of the validation or None.
    """
    peaks = [row["peak_rss_mib"] for row in steps if row["peak_rss_mib"] is not None]
    return {
        "micrographs": {
            key: sum(row[key] for row in micrographs) for key in ("used", "rejected", "waiting")
        },
        "patches": {split: content["n_patches"] for split, content in manifest["splits"].items()},
        "patch_size_px": manifest["patch_size_px"],
        "target_kind": manifest["target_kind"],
        "loss": {name: _loss(rows[-1]) for name, rows in histories.items() if rows},
        "gain": gain(validation) if validation else None,
        "null_tests": null_tests(validation) if validation else None,
        "parity": [
            {
                "implementation": verdict["implementation"],
                "precision": verdict["precision"],
                "verdict": verdict["verdict"],
                "worst_percent": verdict["worst_percent"],
                "lowest_failing_rung": verdict["lowest_failing_rung"],
            }
            for verdict in verdicts
        ],
        "busy_s": busy_s,
        "peak_rss_mib": max(peaks, default=None),
    }


def _loss(last):
    keys = ("epoch", "train_loss", "test_loss", "noise_floor_test")
    return {key: last[key] for key in keys}


def gain(validation):
    """Return what denoising gained over the best linear filter, by the best evidence there is.

    With a truth: signal-to-noise ratio against it, decibel. Without: squared error against the
    raw other half above its noise floor, or, where chance hides that, the correlation with it.
    Medians over held-out micrographs. None without evidence.
    """
    values, best = validation["values"], {"snr_db": max, "excess": min, "correlation": max}
    for against, measure in (("truth", "snr_db"), ("target", "excess"), ("target", "correlation")):
        names = ("raw", "gaussian", "wiener", "denoised")
        found = {name: values.get(f"{measure}_{name}") for name in names}
        over_linear = values[f"gain_over_linear_db_{against}"]
        if found["denoised"] and (over_linear or measure == "correlation"):
            medians = {name: spread and spread["median"] for name, spread in found.items()}
            return {
                "against": against,
                "measure": measure,
                "raw": medians["raw"],
                "linear": best[measure](medians["gaussian"], medians["wiener"]),
                "denoised": medians["denoised"],
                "gain_over_linear_db": over_linear["median"] if over_linear else None,
                "micrographs": found["denoised"]["count"],
            }
    return None


def null_tests(validation):
    """Return {"judged", "failed"}: how many null tests were made, and which failed."""
    judged = sum(test["judged"] > 0 for test in validation["null_tests"])
    return {"judged": judged, "failed": validation["failed"]}


def verdict_line(parity):
    """Return (state, text) of all verdicts together: passed, failed, not run or none."""
    if not parity:
        return "none", "parity was not asked for"
    names = {}
    for entry in parity:
        names.setdefault(entry["verdict"], []).append(entry["implementation"])
    said = [state for state in ("failed", "passed", "not run") if state in names]
    text = "; ".join(f"{state}: {', '.join(names[state])}" for state in said)
    overall = next(state for state in ("failed", "not run", "passed") if state in names)
    return overall, f"parity {text}"


def left_out_text(facts):
    """Return how many micrographs were left out, in words."""
    counts = facts["micrographs"]
    waiting = f", {counts['waiting']:,} waiting" if counts["waiting"] else ""
    return f"{counts['rejected']:,} rejected{waiting}"


def summary_text(facts, page):
    """Return the headline figures as lines of at most 80 columns, for a terminal."""
    patches = ", ".join(f"{count:,} {split}" for split, count in facts["patches"].items())
    lines = [
        ("micrographs", f"{facts['micrographs']['used']:,} used, {left_out_text(facts)}"),
        ("patches", f"{patches}, {facts['patch_size_px']} px"),
    ]
    for name, loss in facts["loss"].items():
        lines.append((f"loss {name}", loss_text(loss)))
    if facts["gain"]:
        lines.append(("denoising", gain_text(facts["gain"])))
    if facts["null_tests"]:
        lines.append(("null tests", null_tests_text(facts["null_tests"])))
    for entry in facts["parity"]:
        lines.append((f"parity {entry['implementation']}", parity_text(entry)))
    lines.append(("time", duration(facts["busy_s"])))
    if facts["peak_rss_mib"] is not None:
        lines.append(("peak memory", f"{memory(facts['peak_rss_mib'])} (largest job)"))
    lines.append(("report", str(page)))
    width = min(max(len(label) for label, _ in lines), 24)
    first = textwrap.fill(facts["assessment"], LINE_WIDTH)
    return "\n".join([first, "", *(_wrapped(label, text, width) for label, text in lines)])


def _wrapped(label, text, width):
    """Wrap a line; a path has no spaces and stays whole, so that it can be copied."""
    return textwrap.fill(
        text,
        LINE_WIDTH,
        initial_indent=f"{label[:width]:<{width}}  ",
        subsequent_indent=" " * (width + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def loss_text(loss):
    """Say the last losses, and the noise floor where it is known."""
    text = f"test {optional(loss['test_loss'])}, training {optional(loss['train_loss'])}"
    floor = loss["noise_floor_test"]
    return text + (f" (noise floor {floor:.4g})" if floor is not None else "")


def gain_text(gain):
    """Say what denoising gained over the best linear filter."""
    where = held_out(gain["micrographs"])
    if gain["measure"] == "snr_db":
        gained = over_linear(gain["gain_over_linear_db"])
        return f"{gain['denoised']:.1f} dB against the truth, {gained} ({where})"
    if gain["measure"] == "excess":
        return f"error above the noise floor {over_linear(gain['gain_over_linear_db'])} ({where})"
    filtered = f"best linear filter {gain['linear']:.3f}"
    return f"correlation with the other half {gain['denoised']:.3f}, {filtered} ({where})"


def over_linear(gain_db):
    """Say how many decibels better or worse than the best linear filter a result is."""
    side = "better" if gain_db >= 0 else "worse"
    return f"{abs(gain_db):.1f} dB {side} than the best linear filter"


def held_out(count):
    """Say on how many micrographs something was measured."""
    return f"{count:,} held-out micrograph{'s' if count != 1 else ''}"


def null_tests_text(tests):
    """Say how many null tests passed, and which failed."""
    passed = tests["judged"] - len(tests["failed"])
    if not tests["failed"]:
        return f"{passed} of {tests['judged']} passed"
    return f"{len(tests['failed'])} of {tests['judged']} FAILED: {', '.join(tests['failed'])}"


def parity_text(entry):
    """Say one verdict."""
    name = entry["precision"]
    if entry["verdict"] == "passed":
        return f"PASSED ({name}), {passed_text(entry['worst_percent'])}"
    if entry["verdict"] == "failed":
        return f"FAILED ({name}), lowest rung {entry['lowest_failing_rung']}"
    return f"{entry['verdict'].upper()} ({name})"
