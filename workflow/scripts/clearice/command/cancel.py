"""clearice cancel: end the Slurm jobs that a killed run left in the queue."""

import argparse
from pathlib import Path

from clearice.errors import InputError
from clearice.locks import described
from clearice.runs import is_alive
from clearice.slurm_jobs import cancel, jobs_in_queue

PATIENCE_S = 120  # a training writes a checkpoint before it ends


def main(arguments=None):
    """Cancel the jobs of the dead runs of a folder; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="clearice cancel",
        description="End the Slurm jobs of runs of a folder whose Snakemake was killed, and only "
        "those. Trainings write a checkpoint first. Then the same run can be started again.",
    )
    parser.add_argument("--directory", type=Path, default=Path(), help="of the run (default: here)")
    folder = parser.parse_args(arguments).directory / ".snakemake"
    runs = jobs_in_queue(folder)
    if not runs:
        print(f"{folder.parent.resolve()}: no jobs of a run in Slurm's queue")
    for run_id, (holder, jobs) in runs.items():
        if is_alive(folder, holder):
            raise InputError(
                f"the run that sent {len(jobs)} jobs to Slurm still works",
                file=folder.parent.resolve(),
                found=described(holder),
                advice="stop it with Ctrl-C, or wait for it; it ends its jobs itself",
            )
        print(f"{len(jobs)} jobs of {described(holder)}: cancelled, waiting for them to end")
        if left := cancel(run_id, PATIENCE_S):
            raise InputError(
                f"jobs have not ended {PATIENCE_S} s after scancel",
                found=", ".join(left),
                advice="squeue --jobs shows them; wait, or ask the administrator",
            )
    return 0
