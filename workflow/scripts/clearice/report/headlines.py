"""The few figures that say how a run went: for the top of the page and for the terminal."""

import textwrap
from statistics import fmean

from clearice.parity.verdict import passed_text
from clearice.report.words import duration, memory, optional

LINE_WIDTH = 80


def headlines(micrographs, manifest, histories, verdicts, denoised, steps, busy_s):
    """Return the headline figures as plain values, ready for JSON; None where there are none.

    Arguments are what clearice.report.facts and clearice.report.costs read; `histories` maps an
    architecture to its rows, `denoised` is a DenoisedRecords or None.
    """
    rejected = sum(row["rejected"] for row in micrographs)
    peaks = [row["peak_rss_mib"] for row in steps if row["peak_rss_mib"] is not None]
    return {
        "micrographs": {"used": len(micrographs) - rejected, "rejected": rejected},
        "patches": {split: content["n_patches"] for split, content in manifest["splits"].items()},
        "patch_size_px": manifest["patch_size_px"],
        "loss": {name: _loss(rows[-1]) for name, rows in histories.items() if rows},
        "gain": gain(denoised) if denoised else None,
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


def gain(denoised):
    """Return what denoising gained, by the best evidence there is; None where there is none.

    With a truth: peak signal-to-noise ratio against it, decibel. Without: correlation with the
    raw other half, whose noise bounds it. Means over held-out micrographs where there are any.
    """
    for against, key in (("truth", "psnr_db"), ("target", "correlation")):
        raw, after = (denoised.judged(f"{side}_{against}") for side in ("raw", "denoised"))
        pairs = {name: (raw[name][key], after[name][key]) for name in raw if name in after}
        pairs = {name: both for name, both in pairs.items() if None not in both}
        if pairs:
            before, after = (fmean(both[i] for both in pairs.values()) for i in (0, 1))
            return {
                "against": against,
                "measure": key,
                "raw": before,
                "denoised": after,
                "micrographs": len(pairs),
                "held_out": all(denoised.split_of(name) == "test" for name in pairs),
            }
    return None


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


def summary_text(facts, page):
    """Return the headline figures as lines of at most 80 columns, for a terminal."""
    used, rejected = facts["micrographs"]["used"], facts["micrographs"]["rejected"]
    patches = ", ".join(f"{count:,} {split}" for split, count in facts["patches"].items())
    lines = [
        ("micrographs", f"{used:,} used, {rejected:,} rejected"),
        ("patches", f"{patches}, {facts['patch_size_px']} px"),
    ]
    for name, loss in facts["loss"].items():
        lines.append((f"loss {name}", loss_text(loss)))
    if facts["gain"]:
        lines.append(("denoising", gain_text(facts["gain"])))
    for entry in facts["parity"]:
        lines.append((f"parity {entry['implementation']}", parity_text(entry)))
    lines.append(("time", duration(facts["busy_s"])))
    if facts["peak_rss_mib"] is not None:
        lines.append(("peak memory", f"{memory(facts['peak_rss_mib'])} (largest job)"))
    lines.append(("report", str(page)))
    width = min(max(len(label) for label, _ in lines), 24)
    return "\n".join(_wrapped(label, text, width) for label, text in lines)


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
    """Say what denoising gained."""
    held_out = " held-out" if gain["held_out"] else ""
    count = gain["micrographs"]
    where = f"{count:,}{held_out} micrograph{'s' if count != 1 else ''}"
    if gain["measure"] == "psnr_db":
        change = gain["denoised"] - gain["raw"]
        return f"{change:+.1f} dB against the truth ({where})"
    return f"correlation with the other half {gain['raw']:.3f} -> {gain['denoised']:.3f} ({where})"


def parity_text(entry):
    """Say one verdict."""
    name = entry["precision"]
    if entry["verdict"] == "passed":
        return f"PASSED ({name}), {passed_text(entry['worst_percent'])}"
    if entry["verdict"] == "failed":
        return f"FAILED ({name}), lowest rung {entry['lowest_failing_rung']}"
    return f"{entry['verdict'].upper()} ({name})"
