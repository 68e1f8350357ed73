"""Input functions: which files a job needs, where the rules' own words can't say it.

READS   results/dataset/micrographs.tsv, once it is there: the accepted micrographs
WRITES  nothing
"""

import shlex

from snakemake.io import contains_wildcard

from clearice.reference.names import bundle_files
from clearice.shards.record import FILES, LAYOUTS, PLANES, concatenates
from clearice.slurm_jobs import remember_run
from clearice.tsv import read_table

# Planes are never copied.
CONCATENATED = concatenates(config["dataset"])


def plain(files):
    """Return those files that are there and that Snakemake can wait for.

    It takes braces for wildcards, and cannot be told otherwise.
    """
    return [path for path in files if not contains_wildcard(path) and os.path.isfile(path)]


def shards(suffix, keys=MICROGRAPHS):
    """Return the shard files with that suffix; no jobs are planned for finished ones."""
    return without_finished("shards", [(key, f"results/shards/{key}.{suffix}") for key in keys])


def test_names(wildcards):
    """Return the file of the names to test on, if there is one that Snakemake can wait for."""
    path = config["split"]["test_micrographs"]
    return plain([path]) if path else []


def shard_records(wildcards):
    """Return the records of all shards, rejected ones too."""
    return shards("json")


def accepted_micrographs(split=None):
    """Return the keys of micrographs that were not rejected, known once they are listed."""
    rows = read_table(checkpoints.list_micrographs.get().output.table)
    kept = [row for row in rows if row["status"] == "ok" and split in (None, row["split"])]
    return [key_of(row["micrograph"]) for row in kept]


def stored_sides(stem):
    """Return keyword of shard_micrograph -> file, for the binaries of a shard."""
    files = LAYOUTS[config["dataset"]["layout"]]
    return {n if n in PLANES else f"{n}_bin": f"{stem}.{end}" for n, end in files.items()}


def stored(files, keys=MICROGRAPHS):
    """Return those of `files` (names in a record) that shards of this layout have."""
    ends = [end for name, end in LAYOUTS[config["dataset"]["layout"]].items() if name in files]
    return [path for end in ends for path in shards(end, keys)]


def split_shards(wildcards):
    """Return the shards of one split."""
    keys = accepted_micrographs(wildcards.split)
    return {
        "records": shards("json", keys),
        "input_bins": stored(("input",), keys),
        "target_bins": stored(("target",), keys),
        "planes": stored(PLANES, keys),
    }


def dataset_binaries(wildcards):
    """Return the files that hold the patches, and the planes that they are cut from."""
    copied = [
        f"results/dataset/{split}_{side}.bin"
        for split in ("train", "test")
        for side in ("input", "target")
        if CONCATENATED
    ]
    in_shards = PLANES if CONCATENATED else FILES
    if not in_shards.keys() & LAYOUTS[config["dataset"]["layout"]]:
        return copied  # known before the micrographs are listed
    return copied + stored(in_shards, accepted_micrographs())


def initial_weights(wildcards):
    """Return the model file that a training starts from, if it is the user's."""
    weights = config["model"][wildcards.architecture]["initial_weights"]
    return [] if weights in (None, "general") else plain([weights])


def training_threads(wildcards):
    """Return the cores of a training: those configured, or all that the run has.

    A run with a cluster executor and --jobs alone has no number of cores. Its jobs are told to
    take all of the node: there Slurm says how many it gave.
    """
    configured = config["model"][wildcards.architecture]["threads"]
    given = None if workflow.is_main_process else os.environ.get("SLURM_CPUS_PER_TASK")
    return configured or int(given or 0) or workflow.resource_settings.cores or 8


def implementation(key):
    """Return an input function of wildcards: that key of the implementation's configuration."""
    return lambda wildcards: config["parity"]["implementations"][wildcards.implementation][key]


def program_paths(wildcards):
    """Return the files that the command of an implementation names."""
    words = shlex.split(implementation("command")(wildcards))
    paths = [Path(word.replace("{repository}", str(REPOSITORY))) for word in words]
    return [path for path in paths if path.is_file()]


def program_files(wildcards):
    """Return the files of its command that are not Python, so that a newer one runs again."""
    paths = program_paths(wildcards)
    files = plain([os.path.relpath(path) for path in paths if path.suffix != ".py"])
    if "{fortran}" in implementation("command")(wildcards):
        files += rules.build_fortran.output
    return files


def program_code(wildcards):
    """Return the fingerprints of its Python files and of the modules beside them they import."""
    return [fingerprint(path) for path in program_paths(wildcards) if path.suffix == ".py"]


def denoised_files(suffix):
    """Return one file per accepted micrograph, or none where denoising is off."""
    keys = accepted_micrographs() if config["denoised"]["enabled"] else []
    return results_of_files("denoised", keys, suffix)


def validation_files(wildcards=None):
    """Return one record per held-out micrograph, or none where there is nothing to validate."""
    if not (config["denoised"]["enabled"] and config["validation"]["enabled"]):
        return []
    return results_of_files("validation", accepted_micrographs("test"), "json")


def validation_summary():
    """Return the summary of the validation, or nothing."""
    return ["results/validation/summary.json"] if validation_files() else []


def draw_inputs(wildcards):
    """Return what tells of each micrograph; the user's own files come and go as they like."""
    look_at_results()
    forget_lost_pages()
    return {
        "micrographs": "results/dataset/micrographs.tsv",
        "records": shards("json"),
        "denoised": denoised_files("json"),
        "denoised_micrographs": denoised_files("mrc"),
        "validation": validation_files(),
    }


@functools.cache
def forget_lost_pages():
    """Remove the list of pages if a page or its record is gone: they are no outputs of the rule,
    Snakemake misses none. So, too, if nobody can tell which pages there should be.
    """
    drawn = Path("results/report/drawn.tsv")
    if not workflow.is_main_process or workflow.executor_plugin is None or workflow.touch:
        return
    if workflow.dryrun or another_run_writes() or not drawn.is_file():
        return
    try:
        keys = [row["key"] for row in read_table(drawn)]
        files = {f"{key}{ending}" for key in keys for ending in (".html", ".json")}
        lost = not files <= set(os.listdir("results/report/micrographs"))
    except (InputError, OSError, ValueError, KeyError):
        lost = True
    if lost:
        drawn.unlink(missing_ok=True)


def truths():
    """Return key -> the image without noise, of a simulation."""
    return {key: files.truth for key, files in MICROGRAPHS.items() if files.truth}


def report_inputs(wildcards):
    """Return what the report is made of."""
    look_at_results()
    return {
        "micrographs": "results/dataset/micrographs.tsv",
        "manifest": "results/dataset/manifest.json",
        "histories": [f"results/model/{a}/history.tsv" for a in ARCHITECTURES],
        "trainings": [f"results/model/{a}/training.json" for a in ARCHITECTURES],
        "verdicts": [f"results/parity/{i}/verdict.json" for i in IMPLEMENTATIONS],
        "denoised": denoised_files("json"),
        "denoised_micrographs": denoised_files("mrc"),
        "validation": validation_files(),
        "validation_summary": validation_summary(),
        "drawn": "results/report/drawn.tsv",
    }


def results_of(*steps):
    """Return an input function: every result of these steps.

    A target asks for all of them. Snakemake does not miss a file that was lost in the middle of
    a chain whose end exists, and it records a failed job's inputs and params as it does those of
    a finished one: the run after a failure would find nothing to do.
    """
    files = {
        "micrographs": made_micrographs,
        "shards": lambda: shards("json") + stored(FILES),
        "dataset": lambda: dataset_binaries(None)
        + [
            f"results/dataset/{name}"
            for name in (
                "micrographs.tsv",
                "train.json",
                "test.json",
                "manifest.json",
                "manifest.nml",
            )
        ],
        "model": lambda: expand(rules.train_denoiser.output, architecture=ARCHITECTURES),
        "reference": lambda: rules.export_reference.output,
        "parity": lambda: expand(
            [*rules.run_implementation.output, *rules.compare_implementation.output],
            implementation=IMPLEMENTATIONS,
        ),
        "denoised": lambda: denoised_files("mrc") + denoised_files("json"),
        "validation": lambda: validation_files() + validation_summary(),
        "report": lambda: [*map(str, rules.draw_micrographs.output + rules.report.output)],
    }

    def paths(wildcards):
        look_at_results()
        forget_stale_shards()
        return [path for step in steps for path in files[step]()]

    return paths


def begin_run():
    """Keep the list of micrographs for the jobs; stop, with one line, for what can't go well.

    That is: micrographs that are no set, and disk, dtype, memory or inodes that are too small.
    """
    from clearice.limits import require_address_space, require_inodes
    from clearice.planning import check_start  # with NumPy: jobs that parse this file need neither

    keep_list(by_name)
    # The plugin gives its jobs this name, and no other way to tell it.
    if run_id := getattr(getattr(workflow.scheduler, "_executor", None), "run_uuid", None):
        remember_run(".snakemake", run_id)
    jobs, needed = list(workflow.dag.needrun_jobs()), []
    for job in jobs:
        if name := own_name(job.rule.name):
            files = MICROGRAPHS.get(job.wildcards_dict.get("micrograph"))
            needed.append((name, files and files.name))
    try:
        require_address_space()
        check_start(config, by_name, needed)
        require_inodes(".", [path for job in jobs for path in job.output])
    except InputError as error:
        sys.exit(f"error: {error}")
