"""The record of a run, and the one line at its end; one run at a time in a folder.

READS   results/dataset/micrographs.tsv, results/shards/{micrograph}.json, histories and logs of
        trainings
WRITES  results/runs/{start of the run}.json
"""

from snakemake.exceptions import LockException

from clearice.run_records import FOLDER as RUNS, RunRecord, as_typed, in_words
from clearice.run_records import source_hash, training_state
from clearice.runs import living_runs

OTHER_RUN_STATUS = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, try again later
RECORD = []  # the RunRecord of this run, once its first job is about to start


def record_run():
    """Write the record of this run; what it was then told at the end is not lost by a signal."""
    jobs = list(workflow.dag.needrun_jobs())
    if workflow.touch or {own_name(job.rule.name) for job in jobs} <= {"plan", None}:
        return
    shards = [path for job in jobs for path in job.output if is_shard_record(path)]
    keys = {path: Path(path).name.removesuffix(".json") for path in shards}
    known = {path: FORGOTTEN.get(key) or source_hash(path) for path, key in keys.items()}
    cut_again = {MICROGRAPHS[key].name: (path, known[path]) for path, key in keys.items()}
    again = {name: shard for name, shard in cut_again.items() if shard[1]}
    try:
        command = as_typed(sys.argv, sorted(map(str, workflow.dag_settings.targets)))
        RECORD.append(RunRecord(len(jobs), again, command=command))
    except OSError as error:
        say(f"no record of this run in {RUNS}: {error}")
    else:
        atexit.register(end_run, "interrupted")


def is_shard_record(path):
    """Say whether an output is the record of a shard."""
    return path.startswith("results/shards/") and path.endswith(".json")


def end_run(status):
    """Complete the record of this run, and say in one line what the run did."""
    if not RECORD or not RECORD[0].is_open:
        return
    ended = [job if job.is_group() else [job] for job in workflow.scheduler.failed]
    failed = [" ".join([job.rule.name, *job.wildcards]) for jobs in ended for job in jobs]
    if status == "failed" and not failed:
        status = "interrupted"
    trained = [job for job in workflow.dag.jobs if own_name(job.rule.name) == "train_denoiser"]
    trained = [job for job in trained if workflow.dag.needrun(job) or workflow.dag.finished(job)]
    training = {
        job.wildcards.architecture: training_state(
            job.output.history, job.log[0], workflow.dag.finished(job)
        )
        for job in trained
    }
    finished = sum(1 for _ in workflow.dag.finished_jobs)
    try:
        done = RECORD[0].end(status, finished, sorted(failed), training)
    except OSError as error:
        print(f"{RUNS}: {error}", file=sys.stderr)
    else:
        print(in_words(done), file=sys.stderr)


def refuse_in_one_line(persistence):
    """Let the lock of Snakemake say who works in this folder, if that run is known to live.

    Its own words advise to unlock the folder, which would let two runs write one result.
    """
    lock = persistence.lock

    @contextlib.contextmanager
    def lock_or_say(*arguments):
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock(*arguments))
            except LockException:
                if not (others := living_runs(".snakemake")):
                    raise
                print(
                    f"another run works in this folder: {others[0]}; nothing was done",
                    file=sys.stderr,
                )
                sys.exit(OTHER_RUN_STATUS)
            yield

    persistence.lock = lock_or_say
