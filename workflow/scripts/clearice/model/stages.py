"""The stages of a training that goes on while the dataset grows, and what is kept of each.

The first stage is the training of `epochs`; each further one continues from the network before it,
over old and new patches. `stages/{n}/` beside a model holds model, history and record as stage n
left them: Snakemake removes a job's outputs before it starts. Light on purpose (no PyTorch): the
workflow's planning asks which network there will be.
"""

import contextlib
import dataclasses
import functools
import json
import os
import shutil
from pathlib import Path

import xxhash

from clearice.errors import InputError
from clearice.files import read_json, sync_folder, xxh3_of_file
from clearice.micrographs.checks import DEPENDENT_PIXELS
from clearice.model.files import MODEL, RECORD, model_file
from clearice.wording import listed

FOLDER = "stages"
# What becomes of a network when micrographs come in: no settings of the network itself.
CONTINUING = ("continue_training", "continue_epochs")
# What no weights depend on, but for rounding: where and how a training runs.
FREE_SETTINGS = {
    "device",
    "devices",
    "checkpoint_minutes",
    "buffer_mib",
    "reader_threads",
    "threads",
    "engine",
    "initial_weights",  # their hash counts, wherever they lie
    *CONTINUING,  # what they say, stages say
}


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a training: what it starts from, and whether anything is left to train.

    `lineage` names the training that it is a stage of. `before` is the record of the stage that
    it continues (its own where `is_done`), `folder` where that one is kept; None for a first
    stage. `anew_because` says in words why no older network is continued, None if there is none.
    """

    number: int = 1
    lineage: str | None = None
    before: dict | None = None
    folder: Path | None = None
    is_done: bool = False
    anew_because: str | None = None

    @property
    def start(self):
        """The model file that the stage starts from, None for a first one."""
        return self.folder / MODEL if self.folder else None

    @property
    def first_epoch(self):
        """Epochs that were trained before this stage."""
        return self.before["last_epoch"]["epoch"] if self.before else 0

    @property
    def first_step(self):
        """Steps that were taken before this stage."""
        return self.before["last_epoch"]["step"] if self.before else 0

    def epochs(self, settings):
        """Return how many epochs this stage trains."""
        return settings["continue_epochs" if self.number > 1 else "epochs"]


def recipe_of(architecture, settings, code, contents):
    """Return, as a flat dict, all that the network of a first stage depends on but the patches.

    `settings` is a section of config.yaml's `model`, `code` the fingerprint of the training's code,
    `contents` the dataset.contents.Contents that it is trained on.
    """
    return {
        **{key: value for key, value in settings.items() if key not in FREE_SETTINGS},
        "architecture": architecture,
        "code": code,
        "initial_weights_xxh3": initial_weights_xxh3(settings),
        "keeps_pretrained": keeps_pretrained(settings, contents.pixel_correlation),
    }


def initial_weights_xxh3(settings):
    """Return the hash of the file that a first stage starts from; None without one."""
    weights = settings["initial_weights"]
    return _file_xxh3(str(model_file(weights))) if weights else None


@functools.cache
def _file_xxh3(path):
    return xxh3_of_file(path)


def keeps_pretrained(settings, pixel_correlation):
    """Return whether the data can teach nothing, and the general network's weights are kept.

    `pixel_correlation` is that of the pixel halves to train on; None for other targets.
    """
    dependent = abs(pixel_correlation or 0.0) > DEPENDENT_PIXELS.threshold
    return dependent and settings["initial_weights"] == "general"


def next_stage(folder, recipe, contents, *, continues):
    """Return the Stage that the network in `folder` needs for a dataset of these `contents`.

    With `continues` (continue_training) the last stage that is kept is continued if it was made by
    the same recipe, and if every micrograph that it saw is still trained on with the same patches.
    """
    stages = Path(folder) / FOLDER
    last = _last_record(stages)
    if last is None or not continues:
        return Stage(lineage=_lineage(recipe, contents))
    kept = stages / str(last["stage"])
    if reason := _unfit(kept, last, recipe, contents):
        return Stage(lineage=_lineage(recipe, contents), anew_because=reason)
    new = contents.splits["train"].keys() - last["trained_on"].keys()
    number = last["stage"] + bool(new)
    return Stage(number, last["lineage"], last, kept, is_done=not new)


def stage_in_words(stage):
    """Return a line about a Stage, None for the first one of all."""
    if stage.is_done:
        return f"no new micrograph to train on: the network of stage {stage.number} stays"
    if stage.number > 1:
        return f"stage {stage.number}: the network of {stage.folder} is trained further"
    return stage.anew_because and f"starts anew: {stage.anew_because}"


def _lineage(recipe, contents):
    text = json.dumps({**recipe, "contents_xxh3": contents.xxh3}, sort_keys=True)
    return xxhash.xxh3_64(text.encode()).hexdigest()


def _last_record(stages):
    """Return the record of the last stage in a folder of stages, None where there is none."""
    numbers = [int(path.name) for path in stages.glob("[0-9]*") if path.name.isdigit()]
    if not numbers:
        return None
    try:
        record = read_json(stages / str(max(numbers)) / RECORD)
        if record["stage"] == max(numbers):
            return record
    except (OSError, ValueError, LookupError, TypeError, InputError):
        pass
    return {"stage": max(numbers), "recipe": None}


def _unfit(kept, record, recipe, contents):
    """Return in words why the stage in the folder `kept` cannot be continued, None if it can."""
    try:
        sound = record["recipe"] and xxh3_of_file(kept / MODEL) == record["model_xxh3"]
    except (OSError, InputError):
        sound = False
    if not sound:
        return f"{kept} is damaged"
    if record["recipe"]["code"] != recipe["code"]:
        return "the code of the training changed"
    kinds = [record["kind"], contents.kind or record["kind"]]
    if differences := describe_differences(
        *({**about, **kind} for about, kind in zip((record["recipe"], recipe), kinds, strict=True))
    ):
        return differences
    seen, train = record["trained_on"], contents.splits["train"]
    held_out = seen.keys() & contents.splits["test"].keys()
    lost = seen.keys() - train.keys() - held_out
    changed = {name for name in seen.keys() & train.keys() if seen[name] != train[name]}
    moved = train.keys() & set(record["held_out"])
    for names, words in (
        (held_out, "held out for testing now, and trained on before"),
        (lost, "trained on before, and not in the dataset any more"),
        (changed, "other pixels than those trained on before"),
        (moved, "held out for testing before, and to be trained on now"),
    ):
        if names:
            return f"{words}: {listed(sorted(names), 3)}"
    return None


def describe_differences(theirs, ours):
    """Return in words how two flat dicts differ; an empty text when they don't."""
    return "; ".join(
        f"{key} {theirs.get(key)} there, {ours.get(key)} here"
        for key in sorted(theirs.keys() | ours.keys())
        if theirs.get(key) != ours.get(key)
    )


@contextlib.contextmanager
def kept_stage(folder, number):
    """Yield an empty folder for what stage `number` leaves; on success it is kept, whole.

    A first stage takes the place of all stages before it, which stay as `stages.other`.
    """
    folder = Path(folder)
    stages, temporary = folder / FOLDER, folder / f".{FOLDER}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    if number == 1 and stages.exists():
        other = stages.with_name(f"{FOLDER}.other")
        shutil.rmtree(other, ignore_errors=True)
        os.replace(stages, other)
    stages.mkdir(exist_ok=True)
    shutil.rmtree(stages / str(number), ignore_errors=True)
    os.replace(temporary, stages / str(number))
    sync_folder(stages)
