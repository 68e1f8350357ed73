"""clearice in the comparison: untrained, trained on halves, on pixels as halves, and fine-tuned.

Training is a run of the workflow up to the model, on other micrographs of the same specimen (other
seeds; of real data, the other micrographs). No network sees the noise-free image, and none that
learns from halves sees the micrograph that it is judged by. Pixel halves need no second image:
there the micrograph itself is among those that are trained on.
"""

import json
import os
import sys
from pathlib import Path

from cached_runs import cached, content_hash, run

from clearice.fingerprint import fingerprint

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPTS = REPOSITORY / "workflow" / "scripts"
ARCHITECTURE = "s2d_unet"
HALVES = {"input": "_EVN", "target": "_ODD"}
WAYS = {  # name -> (title, target of the patches, weights to start from); None: no training
    "general": ("clearice, general", None),
    "halves": ("clearice, trained on halves", ("halves", None)),
    "pixel_halves": ("clearice, pixel halves", ("pixel_halves", None)),
    "fine_tuned": ("clearice, general then halves", ("halves", "general")),
}


def command(name):
    """Return the function (case, output, options) -> command line of one of WAYS."""

    def denoise(case, output, options):
        model = options.general or "general"
        if WAYS[name][1]:
            model = _train(name, case, options) / "denoiser.safetensors"
        tool = [sys.executable, "-m", "clearice", "denoise", case.folder / "even.mrc"]
        return [*tool, "--output", output.parent, "--model", model, "--device", options.device]

    return denoise


def training_cost(name, case, options):
    """Return what training cost, or {} for the general network."""
    if not WAYS[name][1]:
        return {}
    cost = json.loads((_train(name, case, options) / "record.json").read_text())
    return {f"training_{key}": value for key, value in cost.items()}


def code():
    """Return a fingerprint of the code that trains and denoises, and of the shipped weights."""
    scripts = ("denoise_micrograph.py", "train_denoiser.py", "shard_micrograph.py")
    shipped = sorted(SCRIPTS.glob("clearice/**/*.safetensors"))
    return content_hash(*(fingerprint(SCRIPTS / script) for script in scripts), *shipped)


def _train(name, case, options):
    """Train for a case, once; return the folder with denoiser.safetensors and record.json."""
    target, start = WAYS[name][1]
    files = {}
    for number, other in enumerate(case.others):
        files[f"{number}_EVN.mrc"] = other / "even.mrc"
        files[f"{number}_ODD.mrc"] = other / ("rest.mrc" if case.real else "odd.mrc")
    if target == "pixel_halves":
        files = {key: path for key, path in files.items() if "EVN" in key}
        files["itself_EVN.mrc"] = case.folder / "even.mrc"
    alike = target == "pixel_halves" or not case.real  # one frame is noisier than the mean of 49
    training = options.fine_tuning if start else options.training
    config = {
        "micrographs": {
            "source": "files",
            "files": "micrographs/*.mrc",
            "halves": HALVES if target == "halves" else None,
        },
        "patches": {"size_px": 256, "stride_px": 256, "target": target},
        "model": {ARCHITECTURE: training | {"initial_weights": start, "swap_halves": alike}},
        "denoised": {"architecture": ARCHITECTURE},
    }
    key = content_hash(*files.values(), json.dumps(config), options.general or "", code())
    folder = options.cache / "trainings" / f"{case.name}-{name}-{key}"
    if start and options.general:
        config["model"][ARCHITECTURE]["initial_weights"] = str(options.general.resolve())
    cached(folder, lambda _: _run(config, files, folder))
    return folder


def _run(config, files, folder):
    """Run the workflow in folder/run up to the model; return the cost of all its processes."""
    (folder / "run" / "micrographs").mkdir(parents=True)
    for name, source in files.items():
        (folder / "run" / "micrographs" / name).symlink_to(source)
    (folder / "run" / "config.yaml").write_text(json.dumps(config, indent=1))
    model = f"results/model/{ARCHITECTURE}/denoiser.safetensors"
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile"]
    profile = ["--workflow-profile", REPOSITORY / "workflow" / "profiles" / "default"]
    cores = ["--cores", len(os.sched_getaffinity(0))]
    cost = run(
        [*snakemake, *profile, "--directory", folder / "run", *cores, model], folder / "log.txt"
    )
    os.link(folder / "run" / model, folder / "denoiser.safetensors")
    return cost
