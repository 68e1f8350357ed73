"""The files of micrographs as inputs and params of jobs; the user's own come and go as they like.

READS   results/dataset/micrographs.tsv, once it is there: what was not whole in an earlier run;
        results/micrographs/empiar_{entry}.tsv and {micrograph}.download.json: what the archive has
WRITES  nothing; removes records of shards whose micrograph is another by now
"""

import contextlib
import time


def existing_files(micrograph, *roles):
    """Return the files of those roles (input, target, truth, centres) that the micrograph has."""
    found = {role: getattr(MICROGRAPHS[micrograph], role) for role in roles}
    return {role: path for role, path in found.items() if path is not None}


def shard_sources(wildcards):
    """Return what a shard is cut from: the micrograph, and its other half if that is the target."""
    halves = config["patches"]["target"] in ("auto", "halves")
    roles = ("input", "target") if halves else ("input",)
    return existing_files(wildcards.micrograph, *roles)


def shard_inputs(wildcards):
    """Return the sources that other jobs make."""
    look_at_results()
    forget_stale_shards()
    return made_here(shard_sources(wildcards))


def made_here(files):
    """Return role -> path of files that other jobs make; the user's own are none of them.

    Snakemake would stop the run for one that vanishes, and take braces for wildcards. Theirs are
    params: path, size and time of change.
    """
    return {} if config["micrographs"]["source"] == "files" else files


def source_states(wildcards):
    """Return the size and time of change of the user's files: an older file is another one too."""
    found = MICROGRAPHS[wildcards.micrograph].states[: len(shard_sources(wildcards))]
    return [list(state) for state in found if state is not None]


def file_of(role):
    """Return a function of wildcards: the path of that role of the micrograph, or None."""
    return lambda wildcards: getattr(MICROGRAPHS[wildcards.micrograph], role)


def name_of_job(wildcards):
    """Return the micrograph's own name, whose key is the wildcard."""
    return MICROGRAPHS[wildcards.micrograph].name


def denoise_inputs(wildcards):
    """Return the micrograph to denoise, and its other half, if other jobs make them."""
    return renamed(made_here(existing_files(wildcards.micrograph, "input", "target")))


def validate_inputs(wildcards):
    """Return the micrograph to validate on, and what judges the result, likewise."""
    roles = "input", "target", "truth", "centres"
    return renamed(made_here(existing_files(wildcards.micrograph, *roles)))


def renamed(files):
    """Return role -> path with `micrograph` in place of `input`: that one is looked at, too."""
    return {"micrograph" if role == "input" else role: path for role, path in files.items()}


FORGOTTEN = {}  # key -> what told the source of a shard whose record was removed


@functools.cache
def forget_stale_shards():
    """Remove the records of shards whose micrograph is newer, or was not whole and is there again.

    Snakemake does not see the user's files (made_here), and what it remembers of them may be lost,
    or be the same: a file that is back has the size and time that the shard was planned with.
    """
    if config["micrographs"]["source"] != "files" or not workflow.is_main_process:
        return
    if workflow.executor_plugin is None or workflow.dryrun or workflow.touch:
        return
    if another_run_writes():
        return
    table = Path("results/dataset/micrographs.tsv")
    rows = read_table(table) if table.exists() else []
    left_out = (VANISHED, STILL_WRITTEN)
    came_back = {row.get("micrograph") for row in rows if row.get("reason") in left_out}
    now = time.time()
    for key, files in MICROGRAPHS.items():
        paths = [path for path in (files.input, files.target) if path]
        record = Path(f"results/shards/{key}.json")
        with contextlib.suppress(OSError):
            changed = max(os.stat(path).st_mtime for path in paths)
            back = files.name in came_back and files.reason is None
            if back or record.stat().st_mtime < changed <= now:
                FORGOTTEN[key] = source_hash(record)
                record.unlink()


def nothing_but_a_look(wildcards):
    """Return no inputs; what was downloaded is looked at before it is planned what to do."""
    look_at_results()
    return {}


@functools.cache
def archive_revisions():
    """Return name of a file -> how many files the archive had under that name."""
    from clearice.micrographs.empiar.kept_listing import revisions

    return revisions(".", config["empiar"]["entry"])


def revision_of(wildcards):
    """Return that number for a download."""
    return archive_revisions().get(f"{name_of(wildcards.micrograph)}.mrc", 1)


def described_entry():
    """Return what the archive says of the entry, as plain values; None without one."""
    if config["micrographs"]["source"] != "empiar":
        return None
    from clearice.micrographs.empiar.description import kept_description

    described = kept_description(config["empiar"], ".")
    return described and described.facts()


def remember_downloads(persistence):
    """Let the records of downloads say which file is here.

    After a download that failed Snakemake gives back the older file, and remembers the params of
    the newer one all the same: it would never ask for it again.
    """
    from clearice.micrographs.empiar.kept_listing import read_record, record_path

    params_changed = persistence.params_changed

    def changed(job, file=None):
        found = params_changed(job, file)
        if not found and job.params.get("revision"):  # of a download
            record = read_record(record_path(job.output.micrograph))
            if record and record["revision"] != job.params.revision:
                return "the archive has another file of that name"
        return found

    persistence.params_changed = changed


def results_of_files(step, keys, suffix):
    """Return those results of a step that are there, or whose micrograph is there to be read."""
    paths = {key: f"results/{step}/{key}.{suffix}" for key in keys}
    if config["micrographs"]["source"] == "files":
        for key in keys:
            sources = existing_files(key, "input", "target").values()
            if not (os.path.exists(paths[key]) or all(map(os.path.exists, sources))):
                say(f"{MICROGRAPHS[key].name}: {VANISHED}; not in results/{step}")
                del paths[key]
    return list(paths.values())


def made_micrographs():
    """Return the files that are simulated or downloaded."""
    if config["micrographs"]["source"] == "files":
        return []
    roles = ("input", "target", "truth", "centres")
    paths = [(key, path) for key in MICROGRAPHS for path in existing_files(key, *roles).values()]
    return without_finished("micrographs", paths)
