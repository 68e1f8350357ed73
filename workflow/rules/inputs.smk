"""Input functions: which files a job needs, where the rules' own words can't say it.

READS   results/dataset/micrographs.tsv, once it is there: the accepted micrographs
WRITES  nothing
"""

import csv
import io
import shlex

from clearice.files import regular_text
from clearice.reference.names import bundle_files


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
    """Return the sources that Snakemake can read: what is missing or no file gets rejected.

    Snakemake hashes small inputs, and would wait for ever for a FIFO.
    """
    look_at_results()
    sources = shard_sources(wildcards)
    if config["micrographs"]["source"] != "files":
        return sources
    return {role: path for role, path in sources.items() if os.path.isfile(path)}


def source_states(wildcards):
    """Return the size and time of change of the user's files: an older file is another one too."""
    if config["micrographs"]["source"] != "files":
        return []
    files = [os.stat(path) for path in shard_inputs(wildcards).values()]
    return [[status.st_size, int(status.st_mtime)] for status in files]


def denoise_inputs(wildcards):
    """Return the micrograph to denoise, and its other half."""
    files = existing_files(wildcards.micrograph, "input", "target")
    return {"micrograph": files.pop("input"), **files}


def validate_inputs(wildcards):
    """Return the micrograph to validate on, and what the result is judged by."""
    files = existing_files(wildcards.micrograph, "input", "target", "truth", "centres")
    return {"micrograph": files.pop("input"), **files}


def shards(suffix, micrographs=MICROGRAPHS):
    """Return the shard files with that suffix."""
    return [f"results/shards/{micrograph}.{suffix}" for micrograph in micrographs]


def shard_records(wildcards):
    """Return the records of all shards, rejected ones too."""
    return shards("json")


def accepted_micrographs(split=None):
    """Return the names of micrographs that were not rejected, known once they are listed."""
    # Not tsv.read_table: every job parses this file, and would wait for pandas.
    table = regular_text(checkpoints.list_micrographs.get().output.table)
    rows = list(csv.DictReader(io.StringIO(table, newline=""), delimiter="\t"))
    return [r["micrograph"] for r in rows if r["status"] == "ok" and split in (None, r["split"])]


def split_shards(wildcards):
    """Return the shards of one split."""
    names = accepted_micrographs(wildcards.split)
    return {
        "records": shards("json", names),
        "input_bins": shards("input.bin", names),
        "target_bins": shards("target.bin", names),
    }


def dataset_binaries(wildcards):
    """Return the files that hold the patches."""
    if config["dataset"]["concatenate"]:
        return [
            f"results/dataset/{split}_{side}.bin"
            for split in ("train", "test")
            for side in ("input", "target")
        ]
    names = accepted_micrographs()
    return shards("input.bin", names) + shards("target.bin", names)


def initial_weights(wildcards):
    """Return the model file that a training starts from, if it is the user's."""
    weights = config["model"][wildcards.architecture]["initial_weights"]
    return [] if weights in (None, "general") else weights


def training_threads(wildcards):
    """Return the cores of a training: those configured, or all that the run has.

    A run with a cluster executor and --jobs alone has no number of cores.
    """
    configured = config["model"][wildcards.architecture]["threads"]
    return configured or workflow.resource_settings.cores or 8


def implementation(key):
    """Return an input function of wildcards: that key of the implementation's configuration."""
    return lambda wildcards: config["parity"]["implementations"][wildcards.implementation][key]


def program_paths(wildcards):
    """Return the files that the command of an implementation names."""
    words = shlex.split(implementation("command")(wildcards))
    paths = [Path(word.replace("{repository}", str(workflow.basedir))) for word in words]
    return [path for path in paths if path.is_file()]


def program_files(wildcards):
    """Return the files of its command that are not Python, so that a newer one runs again."""
    files = [os.path.relpath(path) for path in program_paths(wildcards) if path.suffix != ".py"]
    if "{fortran}" in implementation("command")(wildcards):
        files += rules.build_fortran.output
    return files


def program_code(wildcards):
    """Return the fingerprints of its Python files and of the modules beside them they import."""
    return [fingerprint(path) for path in program_paths(wildcards) if path.suffix == ".py"]


def denoised_files(suffix):
    """Return one file per accepted micrograph, or none where denoising is off."""
    names = accepted_micrographs() if config["denoised"]["enabled"] else []
    return [f"results/denoised/{name}.{suffix}" for name in names]


def validation_files(wildcards=None):
    """Return one record per held-out micrograph, or none where there is nothing to validate."""
    if not (config["denoised"]["enabled"] and config["validation"]["enabled"]):
        return []
    names = accepted_micrographs("test")
    return [f"results/validation/{name}.json" for name in names if name != "summary"]


def validation_summary():
    """Return the summary of the validation, or nothing."""
    return ["results/validation/summary.json"] if validation_files() else []


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
    }


def results_of(*steps):
    """Return an input function: every result of these steps.

    A target asks for all of them. Snakemake does not miss a file that was lost in the middle of
    a chain whose end exists, and it records a failed job's inputs and params as it does those of
    a finished one: the run after a failure would find nothing to do.
    """
    files = {
        "micrographs": made_micrographs,
        "shards": lambda: shards("json") + shards("input.bin") + shards("target.bin"),
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
    }

    def paths(wildcards):
        look_at_results()
        return [path for step in steps for path in files[step]()]

    return paths


def made_micrographs():
    """Return the files that are simulated or downloaded."""
    if config["micrographs"]["source"] == "files":
        return []
    roles = ("input", "target", "truth", "centres")
    return [path for m in MICROGRAPHS for path in existing_files(m, *roles).values()]


def check_before_the_first_job():
    """Stop the run, with one line, if its micrographs are no set, or disk or dtype too small."""
    from clearice.limits import require_address_space, require_inodes
    from clearice.planning import check_start  # with NumPy: jobs that parse this file need neither

    jobs = list(workflow.dag.needrun_jobs())
    needed = [(j.rule.name, j.wildcards_dict.get("micrograph")) for j in jobs]
    try:
        require_address_space()
        check_start(config, MICROGRAPHS, needed)
        require_inodes(".", [path for j in jobs for path in j.output])
    except InputError as error:
        sys.exit(f"error: {error}")
