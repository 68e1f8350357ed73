"""Is all well? One sentence on a run, its most costly problem first."""

from typing import NamedTuple

from clearice.report.headlines import over_linear
from clearice.report.learning import rises
from clearice.wording import listed

BAD, DOUBTFUL = "bad", "warn"
_MANY_REJECTED = 0.1  # of the micrographs: the default of micrographs.max_rejected_fraction
_NAMED = 3  # problems in the sentence; the page shows all where they belong


class Problem(NamedTuple):
    """What is not well: its state (BAD or DOUBTFUL), its words, and where the page shows it."""

    state: str
    text: str
    link: str


def assess(results, config):
    """Return {"state", "opening", "parts"}: the sentence on top of the page.

    `results` are results.Results, `config` the configuration with its defaults. State is good, warn
    or bad; a part is {"text", "link", "after"}, the last its punctuation.
    """
    found = problems(results, config)
    if not found:
        return {
            "state": "good",
            "opening": "All is well:",
            "parts": _parts(_good_news(results.headlines), ",", "."),
        }
    bad = any(problem.state == BAD for problem in found)
    more = len(found) - _NAMED
    return {
        "state": BAD if bad else DOUBTFUL,
        "opening": "Look at this first:" if bad else "Well, but",
        "parts": _parts(
            [(problem.text, problem.link) for problem in found[:_NAMED]],
            ";",
            f"; and {more} more below." if more > 0 else ".",
        ),
    }


def _parts(texts, between, end):
    parts = [{"text": text, "link": link, "after": between} for text, link in texts]
    parts[-1]["after"] = end
    return parts


def sentence(assessment):
    """Return what assess returned as one line of text."""
    parts = " ".join(f"{part['text']}{part['after']}" for part in assessment["parts"])
    return f"{assessment['opening']} {parts}"


def problems(results, config):
    """Return the Problems of a run, those that cost the user most first."""
    facts = results.headlines
    found = [
        *_null_tests(facts["null_tests"]),
        *_failed_parity(facts["parity"]),
        *_gain(facts, config),
        *_rejected(facts["micrographs"]),
        *_losses(results.histories),
        *_warnings(results.micrographs),
        *_not_trained(results.trainings),
        *_nothing_passed(facts["parity"]),
    ]
    return sorted(found, key=lambda problem: problem.state != BAD)  # stable


def _null_tests(tests):
    if tests and tests["failed"]:
        text = f"{len(tests['failed'])} of {tests['judged']} null tests failed"
        yield Problem(BAD, f"{text} ({listed(tests['failed'], 2)})", "#validation")


def _failed_parity(parity):
    failed = [e for e in parity if e["verdict"] == "failed"]
    if failed:
        named = [f"{e['implementation']}, lowest rung {e['lowest_failing_rung']}" for e in failed]
        yield Problem(BAD, f"parity failed ({listed(named, 2, separator='; ')})", "#parity")


def _gain(facts, config):
    gain = facts["gain"]
    if not config["denoised"]["enabled"]:
        return  # as the user wished: the good news names no gain
    if not gain:
        why = _why_no_gain(facts, config)
        yield Problem(DOUBTFUL, f"no gain was measured: {why}", "#validation")
    elif gain["gain_over_linear_db"] is not None and not gain["gain_over_linear_db"] >= 0:
        text = f"the denoised micrographs are {over_linear(gain['gain_over_linear_db'])}"
        yield Problem(BAD, text, "#validation")
    elif gain["measure"] == "correlation" and not gain["denoised"] >= gain["linear"]:
        text = (
            "the denoised micrographs agree less with the other half (correlation "
            f"{gain['denoised']:.3f}) than the best linear filter's ({gain['linear']:.3f})"
        )
        yield Problem(BAD, text, "#validation")


def _why_no_gain(facts, config):
    if not config["validation"]["enabled"]:
        return "validation is off"
    if facts["null_tests"] is None:
        return "no micrograph was validated"
    return "no held-out micrograph has a sound other half or a truth"


def _rejected(counts):
    rejected, used = counts["rejected"], counts["used"]
    if rejected:
        were = "was" if rejected == 1 else "were"
        many = rejected > _MANY_REJECTED * (used + rejected)
        text = f"{rejected:,} of {used + rejected:,} micrographs {were} rejected"
        yield Problem(BAD if many else DOUBTFUL, text, "#micrographs?status=rejected")


def _losses(histories):
    for name, rows in histories.items():
        losses = [row["test_loss"] for row in rows]
        if rows and losses[-1] is None:
            yield Problem(BAD, f"the loss of {name} is not a number", "#training")
        elif rises(rows):
            text = f"the test loss of {name} rose again, to {losses[-1]:.4g}"
            yield Problem(DOUBTFUL, text, "#training")


def _warnings(micrographs):
    count = sum(bool(row["used"] and row["warnings"]) for row in micrographs)
    if count:
        has = "micrograph has warnings" if count == 1 else "micrographs have warnings"
        yield Problem(DOUBTFUL, f"{count:,} {has}", "#micrographs?status=warnings")


def _not_trained(trainings):
    kept = [name for name, record in trainings.items() if record["kept_pretrained"]]
    if kept:
        text = f"{listed(kept)} kept its pretrained weights: the pixels' noise is not independent"
        yield Problem(DOUBTFUL, text, "#training")
    elif not trainings:
        yield Problem(DOUBTFUL, "nothing was trained", "#training")


def _nothing_passed(parity):
    if parity and all(entry["verdict"] == "not run" for entry in parity):
        yield Problem(DOUBTFUL, "no implementation could be compared here", "#parity")


def _good_news(facts):
    """Yield (text, link) of what went well, together one sentence."""
    used = facts["micrographs"]["used"]
    yield f"{used:,} micrographs", "#micrographs"
    gain, tests = facts["gain"], facts["null_tests"]
    if not gain:
        yield "none denoised, as configured", "#denoised"
    elif gain["gain_over_linear_db"] is not None:
        yield f"denoised {over_linear(gain['gain_over_linear_db'])}", "#validation"
    else:
        yield "denoised better than the best linear filter", "#validation"
    if tests and tests["judged"]:
        yield "null tests passed", "#validation"
    passed = sum(entry["verdict"] == "passed" for entry in facts["parity"])
    if passed:
        not_run = len(facts["parity"]) - passed
        rest = f" ({not_run} implementation{'s' if not_run > 1 else ''} not run here)"
        yield f"parity passed{rest if not_run else ''}", "#parity"
