"""Which runs sent jobs to Slurm from a folder, and which of those jobs are still in the queue.

The jobs outlive a Snakemake that was killed, and would write the same files as those of the next
run. So each run leaves its id here, which the Slurm plugin gives all its jobs as their name.
"""

import contextlib
import os
import shlex
import subprocess
import time
from pathlib import Path

from clearice.errors import InputError
from clearice.files import write_text
from clearice.locks import described, holder_in, this_holder
from clearice.runs import FOLDER

_TIMEOUT_S = 60
_POLL_S = 1


def remember_run(snakemake_folder, run_id):
    """Record that jobs named `run_id` will be sent to Slurm by this process."""
    folder = _folder(snakemake_folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / run_id, this_holder())


def jobs_in_queue(snakemake_folder):
    """Return run id -> (its holder, ids of its jobs that have not ended).

    Runs without such jobs are forgotten, and without any Slurm isn't asked. InputError where
    Slurm does not answer: the jobs may live.
    """
    runs = {}
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(_folder(snakemake_folder).glob("[!.]*")):
            with contextlib.suppress(FileNotFoundError):
                runs[path.name] = holder_in(path.read_text(encoding="utf-8")), []
    if not runs:
        return {}
    try:
        lines = _slurm("squeue", "--noheader", "--format=%i %j", f"--name={','.join(runs)}")
    except InputError as error:
        raise InputError(
            "jobs that a run sent to Slurm from here may still work, and Slurm does not answer",
            file=_folder(snakemake_folder),
            expected="the list of squeue",
            found=error.found,
            advice="start it where squeue works; remove that folder if those jobs are gone",
        ) from None
    for line in lines.splitlines():
        job, name = line.split()
        runs[name][1].append(job)
    for run_id in [run_id for run_id, (_, jobs) in runs.items() if not jobs]:
        (_folder(snakemake_folder) / run_id).unlink(missing_ok=True)
        del runs[run_id]
    return runs


def require_no_jobs(snakemake_folder):
    """Raise InputError if jobs of another run are in the queue, with the command that ends them."""
    runs = jobs_in_queue(snakemake_folder)
    if not runs:
        return
    count = sum(len(jobs) for _, jobs in runs.values())
    holder, _ = next(iter(runs.values()))
    where = Path(snakemake_folder).resolve().parent
    raise InputError(
        "jobs of another run are still in Slurm's queue, and write the same files",
        file=where,
        expected="none",
        found=f"{count}, of {described(holder)}",
        advice="if that run was killed, wait until they have ended, or cancel them: "
        f"clearice cancel --directory {shlex.quote(str(where))}",
    )


def cancel(run_id, patience_s):
    """Cancel the jobs of one run; return the ids of those that have not ended after a while."""
    _slurm("scancel", f"--name={run_id}")
    until_s = time.monotonic() + patience_s
    while True:
        left = _slurm("squeue", "--noheader", "--format=%i", f"--name={run_id}").split()
        if not left or time.monotonic() > until_s:
            return left
        time.sleep(_POLL_S)


def _folder(snakemake_folder):
    return Path(snakemake_folder) / FOLDER / "slurm"


def _slurm(*command):
    """Return what a command of Slurm prints; InputError if it is not there or fails."""
    try:
        process = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            env=os.environ | {"LC_ALL": "C"},
        )
    except FileNotFoundError:
        found = f"no {command[0]} on this machine"
    except subprocess.TimeoutExpired:
        found = f"no answer within {_TIMEOUT_S} s"
    else:
        if process.returncode == 0:
            return process.stdout
        found = (process.stderr.splitlines() or [f"exit status {process.returncode}"])[0]
    raise InputError(f"{command[0]} does not work", found=found, advice="ask where Slurm is")
