"""What changed between two reports, and how the page says it."""

from clearice.report.words import on_page

SHOWN = 8  # names, and settings, on the page; the counts are of all
LONGEST = 120  # letters of a value or a reason; more are cut
_NONE = "none"
_CUT_BY = ("patches", "dataset", "simulation")  # sections of config.yaml that change all patches
_HAPPENED = {  # kind of change -> what happened to the micrographs, and where the page shows them
    "added": ("added", "#micrographs"),
    "accepted": ("no longer rejected", "#micrographs"),
    "removed": ("removed", "#micrographs"),
    "rejected": ("newly rejected", "#micrographs?status=rejected"),
    "waiting": ("waiting for the next run", "#micrographs?status=waiting"),
    "replaced": ("with other pixels than before", "#micrographs"),
}


def compare(before, now, reasons):
    """Return what changed between two states (last_report.state_of), bounded, ready for JSON.

    "since" is the time of the earlier. Kinds of micrographs are {"count", "names"}, of which the
    newly rejected have "reasons" (`reasons`: micrograph -> reason); "trained" are names of
    networks; the others are lists of [name, old, new].
    """
    known = {*before["used"], *before["rejected"]}
    listed = {*now["used"], *now["rejected"], *now["waiting"]}
    refused_before, waited = set(before["rejected"]), set(before["waiting"])
    refused = [name for name in now["rejected"] if name not in refused_before]
    changed = _changed(before["settings"], now["settings"])
    return {
        "since": before["made"],
        "added": _names(name for name in now["used"] if name not in known),
        "accepted": _names(name for name in before["rejected"] if name in now["used"]),
        "removed": _names(sorted(known - listed)),
        "rejected": {
            **_names(refused),
            "reasons": [shortened(reasons.get(name) or "no reason") for name in refused[:SHOWN]],
        },
        "waiting": _names(name for name in now["waiting"] if name not in waited),
        "replaced": _names(_replaced(before["used"], now["used"], changed)),
        "settings": changed,
        "trained": sorted(
            name
            for name, model in now["models"].items()
            if before["models"].get(name, model) != model
        ),
        "verdicts": _changed(before["verdicts"], now["verdicts"]),
        "outcome": _changed(_outcome(before), _outcome(now)),
    }


def shortened(text):
    """Return text of at most LONGEST letters."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _names(names):
    names = list(names)
    return {"count": len(names), "names": [shortened(name) for name in names[:SHOWN]]}


def _changed(before, now):
    """Return [key, old, new] of each key whose value differs; "none" where one side has no such."""
    return [
        [key, before.get(key, _NONE), now.get(key, _NONE)]
        for key in sorted({*before, *now})
        if before.get(key, _NONE) != now.get(key, _NONE)
    ]


def _replaced(was, used, changed_settings):
    """Yield the names whose patches are others than before, though no setting says why."""
    if not any(key.split(".")[0] in _CUT_BY for key, *_ in changed_settings):
        yield from (name for name, digest in used.items() if was.get(name, digest) != digest)


def _outcome(state):
    """Return the null tests and the gain of a state, rounded and in words."""
    found, tests, gain = {}, state["null_tests"], state["gain"]
    if tests:
        passed = f"{tests['judged'] - len(tests['failed'])} of {tests['judged']} passed"
        failed = ", ".join(sorted(tests["failed"]))
        found["null tests"] = f"{passed} (failed: {failed})" if failed else passed
    if gain and gain["gain_over_linear_db"] is not None:
        gained = f"{on_page(gain['gain_over_linear_db'], '+.1f')} dB"
        found["gain over the best linear filter"] = gained
    elif gain:
        found["correlation with the other half"] = f"{gain['denoised']:.3f}"
    return found


def in_words(changes):
    """Return {"sentence", "lines"}: what the page says of `changes`.

    `changes` are what compare returned, None for a first report, or {"fault": why} where the last
    one is unknown. A line is {"label", "text", "link"}.
    """
    if changes is None:
        return {"sentence": "This is the first report of this folder.", "lines": []}
    if "fault" in changes:
        why = f"The record of the last report cannot be read ({changes['fault']})"
        return {"sentence": f"{why}, so nothing is compared with it.", "lines": []}
    lines = [_of_micrographs(kind, changes[kind]) for kind in _HAPPENED if changes[kind]["count"]]
    for label, link, kind in (
        ("setting {}", "#costs", "settings"),
        ("parity of {}", "#parity", "verdicts"),
        ("{}", "#validation", "outcome"),
    ):
        lines += [_line(label.format(k), f"{a} → {b}", link) for k, a, b in changes[kind][:SHOWN]]
        if more := changes[kind][SHOWN:]:
            lines.append(_line(f"{len(more):,} more", ", ".join(key for key, *_ in more), link))
    if changes["trained"]:
        lines.append(_line("trained again", ", ".join(changes["trained"]), "#training"))
    same = "the same micrographs, settings, verdicts and gain"
    sentence = "" if lines else f"Nothing is new since the report of {changes['since']}: {same}."
    return {"sentence": sentence or f"Since the report of {changes['since']}:", "lines": lines}


def _of_micrographs(kind, found):
    happened, link = _HAPPENED[kind]
    names = found["names"]
    if "reasons" in found:
        names = [f"{n} ({why})" for n, why in zip(names, found["reasons"], strict=True)]
    count = found["count"]
    more = f" and {count - len(names):,} more" if count > len(names) else ""
    label = f"{count:,} micrograph{'s' if count != 1 else ''} {happened}"
    return _line(label, "; ".join(names) + more, link)


def _line(label, text, link):
    return {"label": label, "text": text, "link": link}
