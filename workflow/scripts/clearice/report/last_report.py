"""The state of the last report, kept beside the page in state.json: what the next is compared with.

It is no output of the rule, because Snakemake removes those before a job. It is written when all
else is: whatever interrupts a report, the next one compares with the same state again. A report of
the same results (a new template, a forced rerun) keeps the comparison that it had.
"""

import hashlib
import json
import sys
from pathlib import Path

from clearice.errors import InputError
from clearice.files import read_json, write_text
from clearice.report.changes import LONGEST, compare, in_words, shortened

FORMAT_VERSION = 1
FILE = "state.json"


def state_of(results, config, made):
    """Return what the next report will be compared with, as plain values for JSON.

    `results` are results.Results, `config` the configuration with its defaults, `made` the time
    of this report as text. A micrograph costs its name and, if used, 8 digits of a hash.
    """
    facts, rows = results.headlines, results.micrographs
    return {
        "made": made,
        "used": {r["micrograph"]: (r["patches_xxh3"] or "")[:8] for r in rows if r["used"]},
        "rejected": [row["micrograph"] for row in rows if row["rejected"]],
        "waiting": [row["micrograph"] for row in rows if row["waiting"]],
        "settings": settings(config),
        "verdicts": {entry["implementation"]: entry["verdict"] for entry in facts["parity"]},
        "null_tests": facts["null_tests"],
        "gain": facts["gain"],
        "models": {name: record["model_xxh3"] for name, record in results.trainings.items()},
    }


def settings(value, prefix=""):
    """Return dotted key -> value as text of a nested configuration; long values are cut."""
    if isinstance(value, dict) and value:
        found = {}
        for key, inner in value.items():
            found |= settings(inner, f"{prefix}.{key}" if prefix else str(key))
        return found
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    if len(text) > LONGEST:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        text = f"{shortened(text)} ({len(text):,} letters, {digest})"
    return {prefix: text}


class LastReport:
    """The state that the last report left in the folder of the page.

    A file that is there and can't be understood costs one sentence on the page.
    """

    def __init__(self, folder):
        self._state = self._changes = None
        try:
            content = read_json(Path(folder) / FILE)
            if content["format_version"] != FORMAT_VERSION:
                raise ValueError(f"format version {content['format_version']}")
            state, changes = content["state"], content["changes"]
            compare(state, state, {})  # both raise for what is of another shape
            in_words(changes)
            self._state, self._changes = state, changes
        except FileNotFoundError:
            pass
        except (InputError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            # Without the path, which may be too long to leave room for what is wrong.
            said = getattr(error, "what", error)
            self._changes = {"fault": shortened(f"{FILE}: {type(error).__name__}: {said}")}

    def changes(self, state, reasons):
        """Return the changes from the last report to `state`, as changes.in_words takes them.

        `state` is what state_of returned, `reasons` maps a rejected micrograph to its reason.
        """
        if self._state is None or self._is_same(state):
            return self._changes
        return compare(self._state, state, reasons)

    def text_for_next(self, state, changes):
        """Return the text of the file for the next report; `changes` are those of this one."""
        if self._state is not None and self._is_same(state):
            state = self._state  # with its time: that of the first report that said so
        content = {"format_version": FORMAT_VERSION, "state": state, "changes": changes}
        return json.dumps(content, allow_nan=False, ensure_ascii=False) + "\n"

    def _is_same(self, state):
        return {**state, "made": None} == {**self._state, "made": None}


def keep(folder, text):
    """Write the file for the next report, whole or not at all; where it can't be, say so."""
    try:
        write_text(Path(folder) / FILE, text)
    except OSError as error:
        print(f"the next report has nothing to compare with: {error}", file=sys.stderr)
