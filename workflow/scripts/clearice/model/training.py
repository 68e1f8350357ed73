"""The training of a denoiser: epochs, their evaluation, and what interrupts them."""

from pathlib import Path

import torch

from clearice.dataset.contents import contents_of_manifest
from clearice.model.course import Course
from clearice.model.engines.choice import fastest_engine
from clearice.model.feed import Feed
from clearice.model.interruption import Interruption
from clearice.model.memory import (
    keep_freed_memory,
    memory_explained,
)
from clearice.model.networks import build_network
from clearice.model.optimization import Optimization
from clearice.model.progress import Progress
from clearice.model.session import Session
from clearice.model.stages import FREE_SETTINGS, Stage, initial_weights_xxh3, keeps_pretrained
from clearice.model.weights import load_model, load_weights

# What may change between the parts of an interrupted training: how long and where it runs.
_FREE_SETTINGS = FREE_SETTINGS | {"epochs"}


class Training:
    """One training, or one stage of it: its data, its network, and how far it has come.

    `settings` is a section of config.yaml's `model`; `processes` (distributed.Processes) says
    which part of every batch is ours. Rank 0 alone prints and writes files. `stage` is a
    stages.Stage.
    """

    def __init__(self, manifest_path, architecture, settings, device, processes, stage=None):
        self.architecture, self.settings = architecture, settings
        self.device, self.processes = device, processes
        self.stage = stage = stage or Stage()
        network = _initial_network(architecture, settings, stage)
        self.feed = Feed(manifest_path, settings, device, processes, network.alignment_px)
        self.manifest = self.feed.manifest
        self.contents = contents_of_manifest(self.manifest)
        if device.type == "cpu":
            keep_freed_memory()
        self.optimization = Optimization(
            network,
            device,
            optimizer=settings["optimizer"],
            learning_rate=settings["learning_rate"],
            precision=settings["precision"],
            all_reduce=processes.all_reduce,
            engine=self._engine(network),
            images=self.feed.images,
            schedule=settings["learning_rate_schedule"],
            average_weights=settings["average_weights"],
            total_steps=self.feed.batches_per_epoch * stage.epochs(settings),
        )
        identity = _identity(architecture, settings, self.manifest, stage)
        self.last_epoch = stage.first_epoch + stage.epochs(settings)
        self.course = Course(identity, self.last_epoch, stage, self.optimization, device, processes)

    @property
    def keeps_pretrained(self):
        """Whether the data can teach nothing, and the general network's weights are kept."""
        return keeps_pretrained(self.settings, self.contents.pixel_correlation)

    @property
    def resolution(self):
        """What the network is for: half the resolution of micrographs after pixel halves."""
        halved = self.manifest["target_kind"] == "pixel_halves" and not self.keeps_pretrained
        return "half" if halved else "full"

    @property
    def engine(self):
        """The name of the engine that computes."""
        return self.optimization.engine.name

    @property
    def rows(self):
        """The rows of history.tsv so far."""
        return self.course.rows

    def _engine(self, network):
        """Return the name of the engine that the settings ask for, or the fastest one."""
        settings = self.settings
        if settings["engine"] != "auto":
            return settings["engine"]
        pixels = self.feed.readers["train"].n_patches * self.feed.size_px**2
        trained_px = self.stage.epochs(settings) * pixels
        deterministic = settings["deterministic"]
        precision = settings["precision"]
        return fastest_engine(
            network, self.device, precision, trained_px, deterministic=deterministic
        )

    def resume(self, path, *, demanded=False):
        """Continue from the checkpoint `path`, as Course.resume does."""
        return self.course.resume(path, demanded=demanded)

    def run(self, checkpoint):
        """Train to the last epoch, writing `checkpoint` on the way; `rows` become the history.

        SIGTERM or SIGINT ends it between two steps with a checkpoint and SystemExit(128 + n).
        Raises InputError for a loss that is not finite, naming the patches, and when
        memory runs out.
        """
        settings, course = self.settings, self.course
        total = self.feed.batches_per_epoch * self.stage.epochs(settings)
        quiet = self.processes.rank > 0
        with (
            memory_explained(settings, self.feed.size_px, self.device),
            Interruption() as interruption,  # before planes are read
            self.feed,
            Progress(total, course.step_of_stage, self.last_epoch, quiet=quiet) as progress,
        ):
            session = Session(self, Path(checkpoint), interruption, progress)
            if self.keeps_pretrained:
                progress.line(
                    "the noise of neighbouring pixels is not independent: nothing to learn from; "
                    "the pretrained weights are kept"
                )
                session.end_epoch()
                return
            for epoch in range(course.epoch, self.last_epoch):
                course.epoch = epoch
                session.train_epoch()
                session.end_epoch()
            course.epoch = self.last_epoch
            course.save(checkpoint)


def _initial_network(architecture, settings, stage):
    torch.manual_seed(settings["seed"])
    network = build_network(architecture)
    if weights := stage.start or settings["initial_weights"]:
        start, _ = load_model(weights)
        load_weights(network, start.state_dict(), weights)
    return network


def _identity(architecture, settings, manifest, stage):
    """Return, as a flat dict, all settings and data that the weights after a given step depend on.

    Where they may still differ: rounding (device, engine), and the order of the patches of an
    epoch that began with planes streaming through the device (Course.grouped).
    """
    scheduled = settings["learning_rate_schedule"] != "constant" or settings["average_weights"]
    return {
        **{key: value for key, value in settings.items() if key not in _FREE_SETTINGS},
        "scheduled_epochs": stage.epochs(settings) if scheduled else None,
        "architecture": architecture,
        "dataset_xxh3": manifest["data_xxh3"],
        "initial_weights_xxh3": initial_weights_xxh3(settings),
        "stage": stage.number,
        "continued_xxh3": stage.before["model_xxh3"] if stage.before else None,
    }
