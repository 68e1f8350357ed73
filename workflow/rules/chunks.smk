"""Many micrographs a job, where each costs more to start than to do.

On a cluster `micrographs_per_job` jobs of a rule are one job of the queue (a group of Snakemake).
Everywhere one process does as many, in turn, so that Python, PyTorch and the GPU start once.

READS   nothing
WRITES  nothing
"""

import inspect
import pickle
import subprocess

from clearice.kept_results import IN_A_GROUP, forget_kept
from clearice.workers import Workers, thread_variables

PER_JOB = config["micrographs_per_job"]
# In a cluster's job one member after the other: the job has the memory of the largest.
WORKERS = Workers(PER_JOB, at_once=None if workflow.is_main_process else 1)


# Members of a group are added up as if they ran in turn: memory of the largest, sum of the times.
resource_scopes:
    in_turn="local",


def one_job_for_many(group):
    """Return a function of wildcards: the group of a micrograph's job, None if it has none."""

    def group_of(wildcards):
        if PER_JOB == 1 or workflow.local_exec:
            return None
        settings = workflow.group_settings
        settings.group_components = {group: PER_JOB, **settings.group_components}
        workflow.global_resources["in_turn"] = 1
        return group

    return group_of


def in_one_process(made, script):
    """Let the script of a rule run in a process that does the jobs of several micrographs.

    A job with an environment, a container or modules of its own is left to Snakemake.
    """
    start, path = made.run_func, SCRIPTS / f"{script}.py"
    if PER_JOB == 1 or start is None:  # a module of another workflow may leave rules out
        return
    names = inspect.signature(start)

    def run(*arguments):
        job = names.bind(*arguments).arguments
        if not workflow.is_main_process:
            _prepare_group()
        if job["conda_env"] or job["container_img"] or job["env_modules"]:
            with WORKERS.turn:
                return start(*arguments)
        status = WORKERS.run(path, _pickled(job), *_surroundings(job))
        if status:
            raise subprocess.CalledProcessError(status, path.name)

    made.run_func = run


def _prepare_group():
    """Let the other members go on if one fails, and what is finished be kept (kept_results.py)."""
    if len(workflow.dag.targetjobs) > 1:
        workflow.scheduler.keepgoing = True
        os.environ[IN_A_GROUP] = "1"


def _pickled(job):
    """Return the `snakemake` of a script, as Snakemake itself hands it over."""
    from snakemake.iocontainers import Snakemake

    names = ["input", "output", "params", "wildcards", "threads", "resources", "log"]
    values = [job[name] for name in names]
    return pickle.dumps(
        Snakemake(*values, config, job["rule"], job["bench_iteration"], str(SCRIPTS))
    )


def _surroundings(job):
    """Return the variables of a script's process, and what measures it, as Snakemake does both."""
    from snakemake.benchmark import benchmarked

    folder = job["resources"].get("tmpdir")
    folders = {name: folder for name in ("TMPDIR", "TMP", "TEMP", "TEMPDIR") if folder}
    variables = {**os.environ, **thread_variables(job["threads"]), **folders}
    return variables, lambda pid: benchmarked(
        pid if job["bench_record"] else False, job["bench_record"]
    )


def say_why_groups_failed():
    """Print the errors of a failed group's members: Snakemake leaves them in Slurm's log."""
    for group in filter(lambda job: job.is_group(), workflow.scheduler.failed):
        for member in group:
            with contextlib.suppress(OSError):
                for line in Path(member.log[0]).read_text(errors="replace").splitlines():
                    if line.startswith("error: "):
                        print(f"{member.rule.name}: {line}", file=sys.stderr)
