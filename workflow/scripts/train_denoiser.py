"""Train a denoiser on the dataset; interrupted, it continues where it was.

With continue_training the network of an earlier, smaller dataset is trained further.

By hand: train_denoiser.py MANIFEST OUTPUT [--architecture NAME] [--set epochs=3 ...]
[--checkpoint FILE], or the same under torchrun. Settings are those of config.yaml's `model`.
"""

import argparse
import contextlib
import functools
import json
import platform
import shutil
import sys
from pathlib import Path

import torch
import yaml

import clearice
from clearice.bridge import run_command, run_job, say_on_terminal
from clearice.config import complete_config, yaml_scalar
from clearice.dataset.contents import contents_of_manifest
from clearice.dataset.manifest import read_manifest
from clearice.errors import InputError
from clearice.files import atomic_path, write_json, xxh3_of_file
from clearice.fingerprint import fingerprint
from clearice.locks import only_process
from clearice.model.device import choose_device, set_precision
from clearice.model.distributed import Processes, launch, launched
from clearice.model.files import HISTORY, MODEL, RECORD
from clearice.model.history import write_history
from clearice.model.stages import CONTINUING, kept_stage, next_stage, recipe_of, stage_in_words
from clearice.model.stages import FOLDER as STAGES
from clearice.model.training import Training
from clearice.model.weights import save_model

SCRIPTS = Path(clearice.__file__).parents[1]
NAME = "train_denoiser.py"


def train_denoiser(
    manifest,
    model,
    history,
    training,
    architecture,
    settings,
    checkpoint=None,
    continuing=None,
    **_only_for_the_workflow,
):
    """Train `architecture` on the dataset of `manifest` and write its model and records.

    `settings` is a section of config.yaml's `model`, of which the workflow gives the keys
    CONTINUING apart, as `continuing`. The checkpoint lies beside the model and is continued from
    if it fits; `checkpoint` names another file instead, which must fit. Beside them `stages` keeps
    what every stage left (model/stages.py).
    """
    settings = settings | (continuing or {})
    if settings["devices"] > 1 and not launched():
        options = [f"--set={key}={yaml_scalar(value)}" for key, value in settings.items()]
        options += ["--architecture", architecture]
        options += ["--checkpoint", checkpoint] if checkpoint else []
        script = str(SCRIPTS / NAME)
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
        folder, outputs = Path(model).parent, (model, history, training)
        contents = contents_of_manifest(read_manifest(manifest))
        recipe = recipe_of(architecture, settings, fingerprint(SCRIPTS / NAME), contents)
        stage = next_stage(folder, recipe, contents, continues=settings["continue_training"])
        stage = processes.share(stage)
        say(stage_in_words(stage), processes)
        if not stage.is_done:
            run = Training(manifest, architecture, settings, device, processes, stage)
            remark = run.resume(checkpoint or own_checkpoint, demanded=checkpoint is not None)
            say(remark, processes)
            run.run(own_checkpoint)
        if not processes.rank:
            if not stage.is_done:
                with kept_stage(folder, stage.number) as kept:
                    write_results(run, flags, recipe, kept)
            hand_out(folder / STAGES / str(stage.number), outputs)


def say(remark, processes):
    """Say what a person must know, once: in the log of a job, and on the terminal."""
    if not remark or processes.rank:
        return
    print(remark, file=sys.stderr, flush=True)
    if sys.stderr is not sys.__stderr__:
        say_on_terminal(f"train_denoiser: {remark}")


def hand_out(kept, outputs):
    """Copy model, history and record of a stage to where they are asked for."""
    for name, path in zip((MODEL, HISTORY, RECORD), outputs, strict=True):
        with atomic_path(path) as temporary:
            shutil.copyfile(kept / name, temporary)


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


def write_results(run, flags, recipe, folder):
    """Write the model, its history and the record of how it was trained into `folder`."""
    manifest, last, stage = run.manifest, run.rows[-1], run.stage
    settings = {k: v for k, v in run.settings.items() if k not in ("threads", *CONTINUING)}
    metadata = {
        "architecture": run.architecture,
        "clearice_version": clearice.__version__,
        "normalisation": manifest["normalisation"],
        "resolution": run.resolution,
        "dataset_xxh3": manifest["data_xxh3"],
        "precision": settings["precision"],
        "epochs": str(last["epoch"]),
        "stage": str(stage.number),
        "lineage": stage.lineage,
        "config": json.dumps(settings),
    }
    with run.optimization.averaged():
        save_model(folder / MODEL, run.optimization.network, metadata)
    write_history(folder / HISTORY, run.rows)
    model_xxh3 = xxh3_of_file(folder / MODEL)
    entry = stage_entry(run, model_xxh3)
    on_gpu = run.device.type == "cuda"
    write_json(
        folder / RECORD,
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
            "planes": run.feed.placement,
            "settings": settings,
            "target_kind": manifest["target_kind"],
            "kept_pretrained": run.keeps_pretrained,
            "n_patches": {split: reader.n_patches for split, reader in run.feed.readers.items()},
            "patch_size_px": manifest["patch_size_px"],
            "interruptions": run.course.interruptions,
            "seconds": last["seconds"],
            "last_epoch": last,
            "model_xxh3": model_xxh3,
            "stage": stage.number,
            "stages": [*(stage.before["stages"] if stage.before else []), entry],
            "anew_because": stage.anew_because,
            "lineage": stage.lineage,
            "recipe": recipe,
            "kind": run.contents.kind,
            "identity": run.course.identity,
            "trained_on": run.contents.splits["train"],
            "held_out": sorted(run.contents.splits["test"]),
        },
    )


def stage_entry(run, model_xxh3):
    """Return what one stage did: which epochs, from which network on, over which micrographs."""
    stage, last = run.stage, run.rows[-1]
    seen = stage.before["trained_on"] if stage.before else {}
    names = run.contents.splits["train"].keys()
    return {
        "stage": stage.number,
        "first_epoch": stage.first_epoch + 1,
        "last_epoch": last["epoch"],
        "started_from": f"stage {stage.number - 1}"
        if stage.before
        else run.settings["initial_weights"] or "random weights",
        "micrographs": {split: len(found) for split, found in run.contents.splits.items()},
        "new_train_micrographs": len(names - seen.keys()),
        "patches": {split: reader.n_patches for split, reader in run.feed.readers.items()},
        "dataset_xxh3": run.manifest["data_xxh3"],
        "learning_rate": run.settings["learning_rate"],
        "train_loss": last["train_loss"],
        "test_loss": last["test_loss"],
        "seconds": last["seconds"] - (stage.before["seconds"] if stage.before else 0),
        "ended": last["ended"],
        "clearice_version": clearice.__version__,
        "model_xxh3": model_xxh3,
    }


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
        *(options.output / name for name in (MODEL, HISTORY, RECORD)),
        options.architecture,
        settings,
        options.checkpoint,
    )


if "snakemake" in globals():
    # Not a param: more threads are no reason to train again.
    torch.set_num_threads(min(torch.get_num_threads(), snakemake.threads))
    section = snakemake.config["model"][snakemake.wildcards.architecture]
    continuing = {key: section[key] for key in CONTINUING}  # a change trains nothing anew
    run_job(functools.partial(train_denoiser, continuing=continuing), snakemake)
elif __name__ == "__main__":
    run_command(main)
