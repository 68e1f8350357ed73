"""How to make these results again: the commit of the workflow, the command, and the runs so far."""

import contextlib
import os
import subprocess
from datetime import datetime
from pathlib import Path

from clearice.run_records import read_runs
from clearice.wording import listed

RUN_COLUMNS = (
    *("started", "seconds", "status", "planned", "finished", "failed"),
    *("used", "new", "left", "changed", "waiting", "rejected", "clearice_version", "command"),
)
SHOWN_RUNS = 10  # on the page; runs.tsv has all records
_GIT_S = 20
_SHOWN_CHANGES = 4


def checkout(folder):
    """Return {"commit", "changed", "words"} of the git checkout that `folder` is the top of.

    commit is None, with the reason in words, where it is none or git cannot tell. changed lists
    tracked files that are not as in the commit.
    """
    folder = Path(folder)
    if not (folder / ".git").exists():  # a release, an installed copy, or part of another checkout
        return _no_commit("the workflow is not in a git checkout of its own")
    try:
        commit = _git(folder, "rev-parse", "HEAD").strip()
        status = _git(folder, "status", "--porcelain", "-z", "--untracked-files=no", "--no-renames")
    except FileNotFoundError:
        return _no_commit("git is not installed here")
    except (OSError, subprocess.SubprocessError):
        return _no_commit("git could not say")
    changed = [entry[3:] for entry in status.split("\0") if entry]
    state = "nothing was changed since"
    if changed:
        state = f"changed since: {listed(changed, _SHOWN_CHANGES)}"
    return {"commit": commit, "changed": changed, "words": f"commit {commit}; {state}"}


def _no_commit(reason):
    return {"commit": None, "changed": [], "words": f"commit unknown: {reason}"}


def _git(folder, *words):
    found = subprocess.run(
        ["git", "-C", str(folder), *words],
        capture_output=True,
        check=True,
        timeout=_GIT_S,
        # It shall write nothing, not even its index, and ask nobody.
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
    )
    return found.stdout.decode(errors="replace")


def run_rows(folder):
    """Return one row of RUN_COLUMNS per record of a run in `folder`, the latest first.

    A record of an older version may lack its command; a damaged one is left out.
    """
    rows = []
    for record in reversed(read_runs(folder)):
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            rows.append(_run_row(record))
    return rows


def _run_row(record):
    jobs, found = record.get("jobs") or {}, record.get("micrographs") or {}
    counts = {
        key: len(found.get(key) or ()) for key in ("new", "left", "changed", "waiting", "rejected")
    }
    return {
        "started": record["started"],
        "seconds": _seconds(record["started"], record.get("ended")),
        "status": record["status"],
        "planned": jobs.get("planned"),
        "finished": jobs.get("finished"),
        "failed": ", ".join(jobs.get("failed") or ()),
        "used": found.get("used"),
        **(counts if found else dict.fromkeys(counts)),
        "clearice_version": record.get("clearice_version"),
        "command": record.get("command"),
    }


def _seconds(started, ended):
    if not ended:
        return None
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()


def command(runs):
    """Return (command of the latest run that recorded one, True), or one that makes all, False.

    `runs` are those of run_rows.
    """
    recorded = next((row["command"] for row in runs if row["command"]), None)
    return (recorded, True) if recorded else ("snakemake --cores all", False)
