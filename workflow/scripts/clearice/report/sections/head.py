"""The head of the page: whether all is well, five figures, what is new since the last report."""

from datetime import datetime

from clearice.parity.verdict import passed_text
from clearice.report.assessment import assess
from clearice.report.changes import in_words
from clearice.report.facts import versions
from clearice.report.headlines import held_out, left_out_text, null_tests_text, verdict_line
from clearice.report.last_report import FILE as STATE
from clearice.report.last_report import LastReport, state_of
from clearice.report.section import Section
from clearice.report.words import duration, memory, on_page
from clearice.wording import listed


def section(results, config):
    """Return the Section of the head; its file is the state that the next report compares with."""
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    last, state = LastReport(results.folder / "report"), state_of(results, config, made)
    changes = last.changes(state, {r["micrograph"]: r["reason"] for r in results.micrographs})
    facts = {
        "title": config["report"]["title"],
        "made": made,
        "version": versions()["clearice"],
        "assessment": assess(results, config),
        "figures": five_figures(results.headlines, config),
        "new": in_words(changes),
    }
    return Section(facts, {STATE: last.text_for_next(state, changes)})


def five_figures(facts, config):
    """Return five dicts of label, value, detail (texts), state (good, bad, warn, None) and link.

    `facts` are headlines.headlines, `config` the configuration with its defaults; the link is
    where on the page the evidence is.
    """
    figures = (
        _micrographs(facts),
        _patches(facts, config["denoised"]["architecture"]),
        _gain(facts["gain"], facts["null_tests"], config),
        _parity(facts["parity"]),
        _cost(facts),
    )
    keys = ("label", "value", "detail", "state", "link")
    return [dict(zip(keys, figure, strict=True)) for figure in figures]


def _micrographs(facts):
    counts = facts["micrographs"]
    state, link = None, "#micrographs"
    if counts["rejected"]:
        state, link = "warn", "#micrographs?status=rejected"
    return "Micrographs", f"{counts['used']:,}", f"used; {left_out_text(facts)}", state, link


def _patches(facts, architecture):
    counts = ", ".join(f"{n:,} {split}" for split, n in facts["patches"].items())
    detail = f"{counts}; {facts['patch_size_px']} px"
    loss = facts["loss"].get(architecture)
    if loss and loss["test_loss"] is not None:
        detail += f"; test loss {loss['test_loss']:.3f}"
        floor = loss["noise_floor_test"]
        detail += f", noise floor {floor:.3f}" if floor is not None else ""
    return "Patches", f"{sum(facts['patches'].values()):,}", detail, None, "#patches"


def _gain(gain, tests, config):
    """Return the figure of what denoising gained, with the null tests: no gain counts without."""
    label, value, state, said = "Gain over linear filters", "not measured", "warn", []
    if not config["denoised"]["enabled"]:
        value, state, said = "none", None, ["denoising is off"]
    elif not config["validation"]["enabled"]:
        said = ["validation is off"]
    elif not gain:
        said = ["there is no other half or truth to measure it by"]
    elif gain["gain_over_linear_db"] is None:
        label, value = "Correlation with the other half", f"{gain['denoised']:.3f}"
        said = [f"best linear filter {gain['linear']:.3f}", held_out(gain["micrographs"])]
        state = "good" if gain["denoised"] >= gain["linear"] else "bad"
    else:
        value = f"{on_page(gain['gain_over_linear_db'], '+.1f')} dB"
        against = "against the truth" if gain["against"] == "truth" else "against the other half"
        said = [f"{against}, {held_out(gain['micrographs'])}"]
        state = "good" if gain["gain_over_linear_db"] >= 0 else "bad"
    if tests and tests["judged"]:
        said.append(f"null tests: {null_tests_text(tests)}")
        state = "bad" if tests["failed"] else state
    return label, value, "; ".join(said), state, "#validation"


def _parity(parity):
    state, _ = verdict_line(parity)
    by_verdict = {
        verdict: [entry for entry in parity if entry["verdict"] == verdict]
        for verdict in ("passed", "failed", "not run")
    }
    passed, failed = by_verdict["passed"], by_verdict["failed"]
    not_run = listed((entry["implementation"] for entry in by_verdict["not run"]), 3)
    if state == "none":
        return "Parity", "none", "no implementation was asked for", None, "#parity"
    if failed:
        rungs = (f"{e['implementation']}, rung {e['lowest_failing_rung']}" for e in failed)
        value, detail = "failed", listed(rungs, 3, separator="; ")
    elif passed:
        value = "passed" if state == "passed" else f"{len(passed)} of {len(parity)} passed"
        detail = passed_text(max(entry["worst_percent"] for entry in passed))
        detail += f"; not run: {not_run}" if not_run else ""
    else:
        value, detail = "not run", not_run
    colour = {"passed": "good", "failed": "bad"}.get(state, "warn")
    return "Parity", value, detail, colour, "#parity"


def _cost(facts):
    value = "unknown" if facts["busy_s"] is None else duration(facts["busy_s"])
    peak = facts["peak_rss_mib"]
    if peak is not None:
        detail = f"peak memory {memory(peak)}, largest job"
        detail += "; the times are those of a copy" if facts["busy_s"] is None else ""
    else:
        detail = "no job was long enough to be sampled for memory"
        detail = "there are no benchmark files" if facts["busy_s"] is None else detail
    return "Time and memory", value, detail, None, "#costs"
