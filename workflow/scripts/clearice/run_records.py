"""What each run of the workflow did: one file a run in results/runs, for the report and for people.

The main process writes it when its first job is about to start, and again at the end; what a
killed run left is completed by the next one. One writer at a time: Snakemake locks the folder.
Format: docs/formats.md, section Runs.
"""

import datetime
import shlex
from pathlib import Path

import clearice
from clearice.files import read_json, regular_text, write_json
from clearice.tsv import number, read_table

FOLDER = "results/runs"
FORMAT_VERSION = 1
KEPT = 200  # records; a weekly run fills them in four years
_MOST_FAILED = 20
_TABLE = Path("results/dataset/micrographs.tsv")
# Of Snakemake's options those that say what is made, and how. Others may hold passwords of storage
# and say nothing that a later run needs.
_TOLD_OPTIONS = (
    *("--cores", "-c", "--jobs", "-j", "--profile", "--workflow-profile", "--snakefile", "-s"),
    *("--directory", "-d", "--configfile", "--configfiles", "--config", "-C", "--executor", "-e"),
    *("--software-deployment-method", "--sdm", "--resources", "--groups", "--group-components"),
    *("--until", "-U", "--omit-from", "-O", "--forcerun", "-R", "--force", "-f"),
    *("--forceall", "-F", "--keep-going", "-k", "--batch", "--rerun-triggers", "--"),
)


def read_runs(folder=FOLDER):
    """Return the records of all runs that can be read, oldest first, each with its `path`."""
    found = []
    for path in sorted(Path(folder).glob("*.json")):
        try:
            record = read_json(path)
            if record["format_version"] == FORMAT_VERSION:
                found.append(record | {"path": path})
        except (OSError, ValueError, KeyError, TypeError):
            continue  # of another version, or not ours
    return found


class RunRecord:
    """The record of a run that begins now.

    `planned` is the number of its jobs, `cut_again` is micrograph -> (path of the record of a shard
    that will be cut again, what source_hash said of it), `command` what as_typed returned.
    """

    def __init__(self, planned, cut_again, folder=FOLDER, command=None):
        for record in read_runs(folder):
            if record["status"] == "running":
                _finish(record.pop("path"), record, "killed", None)
        for path in sorted(Path(folder).glob("*.json"))[: 1 - KEPT]:
            path.unlink(missing_ok=True)
        now, number = _now(), 1
        self._path = first = Path(folder) / f"{now.replace(':', '-')}.json"
        while self._path.exists():
            number += 1
            self._path = first.with_stem(f"{first.stem}_{number}")
        before = {name: status for name, (status, _) in _listed().items()}
        self._content = {
            "format_version": FORMAT_VERSION,
            "status": "running",
            "started": now,
            "ended": None,
            "clearice_version": clearice.__version__,
            "command": command,
            "jobs": {"planned": planned, "finished": None, "failed": []},
            "training": {},
            "before": {"status": before, "cut_again": cut_again},
        }
        self.is_open = True
        write_json(self._path, self._content)

    def end(self, status, finished=None, failed=(), training=None):
        """Complete the record and return it: `finished` is a number of jobs, `failed` their names.

        `training` is architecture -> what training_state returned.
        """
        self.is_open = False
        self._content["jobs"] |= {"finished": finished, "failed": list(failed)[:_MOST_FAILED]}
        self._content["training"] = training or {}
        return _finish(self._path, self._content, status, _now())


def as_typed(words, targets=(), home=None):
    """Return the command line of a run as a shell reads it, without what is nobody's business.

    `words` are those of the process, `targets` what Snakemake was asked for. Only the options that
    decide what is made are kept (_TOLD_OPTIONS); `home` (that of this user) becomes $HOME. None for
    a program that is not Snakemake's own.
    """
    if Path(words[0]).name not in ("snakemake", "__main__.py"):
        return None
    home = str(home or Path.home())
    told, is_told = ["snakemake"], True
    for word in words[1:]:
        if word.startswith("-") and len(word) > 1:
            name = word.partition("=")[0]
            is_told = name in _TOLD_OPTIONS or (name[:2] in ("-c", "-j") and name[2:].isdigit())
        if is_told:
            told.append(word)
    told += [target for target in targets if target not in told]
    return " ".join(_under_home(word, home) for word in told)


def _under_home(word, home):
    """Quote a word for a shell; the home folder becomes $HOME."""
    before, found, rest = word.partition(f"{home}/")
    if not found or home == "/":
        return shlex.quote(word)
    return f"{shlex.quote(before) if before else ''}$HOME/{shlex.quote(rest) if rest else ''}"


def _finish(path, record, status, ended):
    """Write a record with what its run changed; return it."""
    before = record.pop("before", {"status": {}, "cut_again": {}})
    record |= {"status": status, "ended": ended, "micrographs": _changes(before, _listed())}
    write_json(path, record)
    return record


def _changes(before, after):
    """Return what became of the micrographs: counts, names, and reasons of those left out.

    `before` holds status and shards by name, `after` is name -> (status, reason).
    """
    was, cut_again = before["status"], before["cut_again"]
    used = [name for name, (status, _) in after.items() if status == "ok"]
    return {
        "used": len(used),
        "new": [name for name in used if was.get(name) != "ok"],
        "left": [name for name, status in was.items() if status == "ok" and name not in after],
        "changed": [
            name
            for name in used
            if name in cut_again and was.get(name) == "ok" and _is_another(*cut_again[name])
        ],
        "waiting": {name: why for name, (status, why) in after.items() if status == "waiting"},
        "rejected": {
            name: why
            for name, (status, why) in after.items()
            if status == "rejected" and was.get(name) != "rejected"
        },
    }


def source_hash(path):
    """Return what tells the source of the shard whose record is at `path`; None without one."""
    try:
        record = read_json(path)
        return [(record[role] or {}).get("xxh3") for role in ("input", "target")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_another(path, hash_before):
    return source_hash(path) not in (None, hash_before)


def _listed():
    """Return name -> (status, reason) of the table of micrographs; nothing before there is one."""
    try:
        rows = read_table(_TABLE)
    except (OSError, ValueError):
        return {}
    return {row["micrograph"]: (row["status"], row["reason"]) for row in rows}


def training_state(history, log, is_finished):
    """Return how far a training went: its epochs and last losses, or how its log ends."""
    if not is_finished:
        return {"finished": False, "log_ends": _last_line(log)}
    try:
        rows = read_table(history)
    except (OSError, ValueError):
        rows = []
    if not rows:
        return {"finished": True}
    losses = {key: number(rows[-1].get(key)) for key in ("train_loss", "test_loss")}
    losses = {key: loss for key, loss in losses.items() if loss is not None}
    return {"finished": True, "epochs": int(rows[-1]["epoch"]), **losses}


def _last_line(path):
    try:
        lines = regular_text(path, encoding="utf-8").split("\n")
    except (OSError, ValueError):
        return None
    return next((line.strip()[-200:] for line in reversed(lines) if line.strip()), None)


def in_words(record):
    """Return one line on a finished record: how the run went, and which micrographs it took in."""
    found = record["micrographs"]
    counts = {key: len(found[key]) for key in ("new", "left", "changed", "waiting", "rejected")}
    said = [f"{count:,} {key}" for key, count in counts.items() if count]
    what = f"micrographs: {', '.join(said)}" if said else "micrographs: none new"
    failed = record["jobs"]["failed"]
    more = f" ({failed[0]}{f' and {len(failed) - 1} more' * (len(failed) > 1)})" if failed else ""
    return f"run {record['status']}{more}; {what}; {found['used']:,} used"


def _now():
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
