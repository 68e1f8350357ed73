"""Train a denoiser on the dataset; interrupted, it continues where it was.

By hand: train_denoiser.py MANIFEST OUTPUT [--architecture NAME] [--set epochs=3 ...]
[--checkpoint FILE], or the same under torchrun. Settings are those of config.yaml's `model`.
"""

import argparse
import contextlib
import json
import platform
import sys
from pathlib import Path

import torch
import yaml

import clearice
from clearice.bridge import run_command, run_job
from clearice.config import complete_config, yaml_scalar
from clearice.errors import InputError
from clearice.files import write_json
from clearice.locks import only_process
from clearice.model.device import choose_device, set_precision
from clearice.model.distributed import Processes, launch, launched
from clearice.model.history import write_history
from clearice.model.training import Training
from clearice.model.weights import save_model

SCRIPTS = Path(clearice.__file__).parents[1]


def train_denoiser(
    manifest,
    model,
    history,
    training,
    architecture,
    settings,
    checkpoint=None,
    **_only_for_the_workflow,
):
    """Train `architecture` on the dataset of `manifest` and write its model and records.

    `settings` is a section of config.yaml's `model`. The checkpoint lies beside the model and
    is continued from if it fits; `checkpoint` names another file instead, which must fit.
    """
    if settings["devices"] > 1 and not launched():
        options = [f"--set={key}={yaml_scalar(value)}" for key, value in settings.items()]
        options += ["--architecture", architecture]
        options += ["--checkpoint", checkpoint] if checkpoint else []
        script = str(SCRIPTS / "train_denoiser.py")
        folder = str(Path(model).parent)
        launch([sys.executable, script, manifest, folder, *options], settings["devices"])
        return
    processes = Processes()
    device = own_device(settings["device"], processes)
    flags = set_precision(settings["precision"], settings["deterministic"])
    with contextlib.ExitStack() as stack:
        stack.enter_context(processes.join(device))
        own_checkpoint = Path(model).with_name("checkpoint.pt")
        stack.enter_context(only_trainer(own_checkpoint, processes))
        run = Training(manifest, architecture, settings, device, processes)
        remark = run.resume(checkpoint or own_checkpoint, demanded=checkpoint is not None)
        if remark and not processes.rank:
            print(remark, file=sys.stderr, flush=True)
        run.run(own_checkpoint)
        if not processes.rank:
            write_results(run, flags, model, history, training)


def only_trainer(checkpoint, processes):
    """Return a context manager that keeps other trainings from this one's checkpoint and results.

    After a kill -9 of Snakemake its training lives on, and the next run starts another. Rank 0
    holds the lock for all; it alone writes.
    """
    if processes.rank:
        return contextlib.nullcontext()
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    return only_process(checkpoint.with_name(f".{checkpoint.name}.lock"), "training into it")


def own_device(name, processes):
    """Return the device of this process: with several, GPU number local_rank (or the CPU)."""
    device = choose_device(name)
    if processes.world_size > 1 and device.type == "cuda":
        device = choose_device(f"cuda:{processes.local_rank}")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def write_results(run, flags, model, history, training):
    """Write the model, its history and the record of how it was trained."""
    manifest, settings, last = run.manifest, run.settings, run.rows[-1]
    metadata = {
        "architecture": run.architecture,
        "clearice_version": clearice.__version__,
        "normalisation": manifest["normalisation"],
        "resolution": run.resolution,
        "dataset_xxh3": manifest["data_xxh3"],
        "precision": settings["precision"],
        "epochs": str(last["epoch"]),
        "config": json.dumps(settings),
    }
    with run.optimization.averaged():
        save_model(model, run.optimization.network, metadata)
    write_history(history, run.rows)
    on_gpu = run.device.type == "cuda"
    write_json(
        training,
        {
            "architecture": run.architecture,
            "clearice_version": clearice.__version__,
            "dataset_xxh3": manifest["data_xxh3"],
            "device": torch.cuda.get_device_name(run.device) if on_gpu else "CPU",
            "devices": run.processes.world_size,
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cudnn": torch.backends.cudnn.version() if on_gpu else None,
            "arithmetic": flags,
            "engine": run.engine,
            "settings": settings,
            "target_kind": manifest["target_kind"],
            "kept_pretrained": run.keeps_pretrained,
            "n_patches": {split: reader.n_patches for split, reader in run.feed.readers.items()},
            "patch_size_px": manifest["patch_size_px"],
            "interruptions": run.course.interruptions,
            "seconds": last["seconds"],
            "last_epoch": last,
        },
    )


def main(arguments=None):
    """Run by hand; settings that are not given have the schema's defaults."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("manifest", help="manifest.json of a dataset")
    parser.add_argument("output", type=Path, help="folder for the model, history and checkpoint")
    parser.add_argument("--architecture", default="simple_cnn")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--checkpoint", metavar="FILE", help="continue from it; it must fit")
    options = parser.parse_args(arguments)
    given = {}
    for text in options.set:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError("not a setting", expected="--set KEY=VALUE", found=text)
        given[key] = yaml.safe_load(value)
    config = complete_config({"model": {options.architecture: given}})
    settings = config["model"][options.architecture]
    if threads := settings.pop("threads"):  # as in the workflow, no setting of the model
        torch.set_num_threads(threads)
    train_denoiser(
        options.manifest,
        *(
            options.output / name
            for name in ("denoiser.safetensors", "history.tsv", "training.json")
        ),
        options.architecture,
        settings,
        options.checkpoint,
    )


if "snakemake" in globals():
    # Not a param: more threads are no reason to train again.
    torch.set_num_threads(min(torch.get_num_threads(), snakemake.threads))
    run_job(train_denoiser, snakemake)
elif __name__ == "__main__":
    run_command(main)
