"""What a run does about results that are there before it plans its jobs.

READS   results/**/.seals/
WRITES  nothing; a result that is not what was written is renamed to *.damaged
"""

from clearice.inspection import (
    digest_of,
    is_made_otherwise,
    require_good_results,
    require_times_of_today,
)
from clearice.slurm_jobs import require_no_jobs

SEALED = {}  # result of one micrograph -> digest of what its seal says that it was made with


@functools.cache
def look_at_results():
    """Stop, with one line, if a result is damaged; called by input functions, acts once a run.

    Not while this file is parsed: every job parses it, and so do --unlock, --lint and the like.
    """
    if not workflow.is_main_process or workflow.executor_plugin is None or workflow.touch:
        return
    _remember_by_seals(workflow.persistence)
    refuse_in_one_line(workflow.persistence)
    _ask_anew_after_the_checkpoint(workflow.dag)
    if config["micrographs"]["source"] == "empiar":
        remember_downloads(workflow.persistence)
    if another_run_writes():
        return
    try:
        if not workflow.dryrun:
            require_no_jobs(".snakemake")
        if config["micrographs"]["source"] == "files":
            files = [
                path for m in MICROGRAPHS for path in existing_files(m, "input", "target").values()
            ]
            require_times_of_today(files)
        require_good_results("results", touch=not workflow.dryrun, note=_note_seal)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


def another_run_writes():
    """Say whether another run is writing here, or was killed: Snakemake will refuse to start."""
    return any(Path(".snakemake/locks").glob("*"))


def _note_seal(path, sealed):
    if sealed.get("rule", "").endswith("_micrograph"):
        SEALED[str(path)] = digest_of(sealed["made_with"])


def _remember_by_seals(persistence):
    """Let the seals say what Snakemake forgot: its records of results are lost or empty.

    Without a record it compares no params, code or names of inputs, and would leave a result of
    other settings as it is.
    """
    has_record = persistence.has_metadata

    def has_metadata(job):
        found = has_record(job)
        if not found and is_made_otherwise(job.output, job.params.items(), job.input):
            workflow.dag.reason(job).params_changed = "its record is lost, its seal differs"
        return found

    persistence.has_metadata = has_metadata


def _ask_anew_after_the_checkpoint(dag):
    """Let Snakemake forget that a job had to follow another which turned out to have nothing to do.

    Before the micrographs are listed, whatever depends on the list seems to need a run. Where the
    list then leaves the dataset as it was (a file was rejected, or waits), only the jobs that read
    the list itself have something to do: without this, the network would be trained again.
    """
    update_needrun = dag.update_needrun

    async def updated(*arguments, **keywords):
        for job in dag.jobs:
            if not dag.finished(job):
                dag.reason(job).updated_input_run.clear()
        await update_needrun(*arguments, **keywords)

    dag.update_needrun = updated
