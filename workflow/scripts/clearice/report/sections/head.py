"""The head of the page: how it went, in one line and a few figures."""

from datetime import datetime

from clearice.parity.verdict import passed_text
from clearice.report.facts import versions
from clearice.report.headlines import held_out, left_out_text, verdict_line
from clearice.report.section import Section
from clearice.report.words import duration, memory, optional


def section(results, config):
    """Return the Section of the head."""
    state, text = verdict_line(results.headlines["parity"])
    return Section(
        {
            "title": config["report"]["title"],
            "made": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            "version": versions()["clearice"],
            "verdict": {"state": state, "text": text},
            "tiles": headline_tiles(results.headlines),
        }
    )


def headline_tiles(facts):
    """Return the tiles on top of the page: label, value, detail and state (or None)."""
    used, rejected = facts["micrographs"]["used"], facts["micrographs"]["rejected"]
    tiles = [
        ("Micrographs", f"{used:,}", f"used; {left_out_text(facts)}", "warn" if rejected else None),
        (
            "Patches",
            f"{sum(facts['patches'].values()):,}",
            ", ".join(f"{n:,} {split}" for split, n in facts["patches"].items())
            + f"; {facts['patch_size_px']} px",
            None,
        ),
    ]
    for name, loss in facts["loss"].items():
        floor = loss["noise_floor_test"]
        detail = f"noise floor {floor:.4g}" if floor is not None else "no noise floor known"
        tiles.append(("Test loss", optional(loss["test_loss"]), f"{detail}; {name}", None))
    if facts["gain"]:
        tiles.append((*_gain_tile(facts["gain"]), None))
    if facts["null_tests"]:
        tiles.append(_null_test_tile(facts["null_tests"]))
    state, _ = verdict_line(facts["parity"])
    value, detail = _parity_in_words(state, facts["parity"])
    tiles.append(("Parity", value, detail, {"passed": "good", "failed": "bad"}.get(state, "warn")))
    tiles.append(
        ("Time", duration(facts["busy_s"]), f"peak memory {memory(facts['peak_rss_mib'])}", None)
    )
    keys = ("label", "value", "detail", "state")
    return [dict(zip(keys, tile, strict=True)) for tile in tiles]


def _parity_in_words(state, parity):
    passed, failed, not_run = (
        [entry for entry in parity if entry["verdict"] == verdict]
        for verdict in ("passed", "failed", "not run")
    )
    if state == "passed":
        worst = max(entry["worst_percent"] for entry in passed)
        return state, passed_text(worst)
    if state == "failed":
        return state, ", ".join(
            f"{e['implementation']}: {e['lowest_failing_rung']}" for e in failed
        )
    if state == "none":
        return state, "not asked for"
    waiting = ", ".join(entry["implementation"] for entry in not_run)
    return f"{len(passed)} of {len(parity)}", f"passed; not run: {waiting}"


def _gain_tile(gain):
    where = held_out(gain["micrographs"])
    if gain["gain_over_linear_db"] is None:
        detail = f"with the raw other half; best linear filter {gain['linear']:.3f}; {where}"
        return "Correlation", f"{gain['denoised']:.3f}", detail
    value = f"{gain['gain_over_linear_db']:+.1f} dB".replace("-", "−")
    if gain["measure"] == "snr_db":
        detail = f"{gain['denoised']:.1f} dB against the truth; {where}"
    else:
        detail = f"in error above the noise floor of the other half; {where}"
    return "Gain over the best linear filter", value, detail


def _null_test_tile(tests):
    passed, failed = tests["judged"] - len(tests["failed"]), tests["failed"]
    detail = f"failed: {', '.join(failed)}" if failed else "passed"
    return "Null tests", f"{passed} of {tests['judged']}", detail, "bad" if failed else "good"
