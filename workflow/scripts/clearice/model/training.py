"""The training of a denoiser: epochs, their evaluation, and what interrupts them."""

import math
import time
from pathlib import Path

import torch

from clearice.dataset.contents import contents_of_manifest
from clearice.errors import InputError
from clearice.model.course import Course
from clearice.model.engines.choice import fastest_engine
from clearice.model.evaluation import squared_errors
from clearice.model.feed import Feed
from clearice.model.history import EpochTotals, utc_now
from clearice.model.interruption import Interruption
from clearice.model.late_losses import LateLosses
from clearice.model.memory import (
    keep_freed_memory,
    memory_explained,
    peak_device_mib,
    peak_host_mib,
)
from clearice.model.networks import build_network
from clearice.model.optimization import Optimization
from clearice.model.progress import Progress, describe_row
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
        self.engine = self._engine(network)
        if device.type == "cpu":
            keep_freed_memory()
        self.optimization = Optimization(
            network,
            device,
            optimizer=settings["optimizer"],
            learning_rate=settings["learning_rate"],
            precision=settings["precision"],
            all_reduce=processes.all_reduce,
            engine=self.engine,
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
        return fastest_engine(network, self.device, trained_px, deterministic=deterministic)

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
            self.feed,
            Interruption() as interruption,
            Progress(total, course.step_of_stage, self.last_epoch, quiet=quiet) as progress,
        ):
            session = _Session(self, Path(checkpoint), interruption, progress)
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
    """Return, as a flat dict, all that the weights after a given step depend on."""
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


class _Session:
    """The epochs that one process trains, up to the last one or to a signal."""

    def __init__(self, training, checkpoint, interruption, progress):
        self._settings, self._manifest = training.settings, training.manifest
        self._contents, self._last_epoch = training.contents, training.last_epoch
        self._device, self._processes = training.device, training.processes
        self._feed, self._optimization = training.feed, training.optimization
        self._course, self._checkpoint = training.course, checkpoint
        self._interruption, self._progress = interruption, progress
        self._saved_at_s = time.monotonic()

    def train_epoch(self):
        """Take the steps that are left of this epoch."""
        course = self._course
        late, clock = LateLosses(self._device), _Clock(self._feed, course.totals)
        if not course.batch:
            course.grouped = self._feed.streams
        batches = self._feed.training_batches(course.epoch, course.batch, grouped=course.grouped)
        for batch in batches:
            report = self._step(batch)
            course.batch, course.step = course.batch + 1, course.step + 1
            save, stop = self._note(late.push(report, (batch.position, batch.patches)))
            clock.read()
            if self._processes.world_size == 1:  # nobody to agree with
                stop = self._interruption.signal is not None
            if save or stop:
                stop = self._note(late.drain())[1] or stop
                self._save(stop)
        self._note(late.drain())
        clock.read()

    def _step(self, batch):
        self._optimization.set_learning_rate(self._course.step_of_stage)
        due_s = self._saved_at_s + 60 * self._settings["checkpoint_minutes"]
        return self._optimization.step(
            batch.input,
            batch.target,
            batch.patches * self._feed.training_size_px**2,
            full=batch.full,
            save=not self._processes.rank and time.monotonic() > due_s,
            stop=self._interruption.signal is not None,
        )

    def _note(self, reports):
        """Take in the losses that have arrived; return whether to save, and to stop."""
        save = stop = False
        epoch = self._course.epoch
        for (position, patches), loss, to_save, to_stop in reports:
            if not math.isfinite(loss):
                where = f"in epoch {epoch + 1}, batch {position + 1}"
                places = self._feed.places("train", position, epoch, self._course.grouped)
                raise self._not_finite(f"the loss is {loss} {where}", places)
            self._course.totals.add_loss(loss, patches)
            self._progress.step(epoch + 1, loss)
            save, stop = save or to_save, stop or to_stop
        return save, stop

    def _not_finite(self, what, places):
        advice = "look at these or lower learning_rate" + self._course.kept()
        return InputError(what, found=f"patches {places}", advice=advice)

    def _save(self, stop):
        """Write the checkpoint; with `stop` leave as the signal asks."""
        self._course.save(self._checkpoint)
        self._saved_at_s = time.monotonic()
        if stop:
            self._progress.line(f"interrupted; {self._checkpoint} continues from here")
            # Where another process had the signal, ours is that of batch systems, SIGTERM.
            raise SystemExit(128 + (self._interruption.signal or 15))

    def end_epoch(self):
        """Evaluate both splits and add the epoch's row to the history."""
        losses = {split: self._loss(split) for split in self._feed.readers}
        course = self._course
        totals, course.totals, course.batch = course.totals, EpochTotals(), 0
        course.seconds += totals.seconds
        floors = self._manifest["noise_floor"]
        row = {
            "stage": course.stage.number,
            "epoch": course.epoch + bool(course.step),
            "step": course.step,
            "train_loss": losses["train"],
            "test_loss": losses["test"],
            "learning_rate": self._optimization.learning_rate,
            **totals.rates(self._settings["batch_size"]),
            "seconds": course.seconds,
            "peak_host_mib": peak_host_mib(),
            "peak_device_mib": peak_device_mib(self._device),
            "noise_floor_train": floors["train"],
            "noise_floor_test": floors["test"],
            "dataset_xxh3": self._manifest["data_xxh3"],
            "train_micrographs": len(self._contents.splits["train"]),
            "train_patches": self._feed.readers["train"].n_patches,
            "ended": utc_now(),
        }
        course.rows.append(row)
        self._progress.line(describe_row(row, self._last_epoch))

    def _loss(self, split):
        """Return the mean squared error over all pixels of `split`."""
        feed = self._feed
        with self._optimization.averaged():
            errors, interrupted = squared_errors(
                feed, self._optimization, split, self._processes, self._interruption
            )
        if interrupted:
            self._save(stop=True)
        for position, error in enumerate(errors):
            if not math.isfinite(error):
                where = f"after epoch {self._course.epoch + 1}, batch {position + 1}"
                what = f"the loss of the {split} split is {error} {where}"
                raise self._not_finite(what, feed.places(split, position))
        return sum(errors) / (feed.readers[split].n_patches * feed.size_px**2)


class _Clock:
    """Adds the time since it was last read, and the part of it spent waiting, to the totals."""

    def __init__(self, feed, totals):
        self._feed, self._totals = feed, totals
        self._seconds, self._waited_s = time.perf_counter(), feed.waited_s

    def read(self):
        before = self._seconds, self._waited_s
        self._seconds, self._waited_s = time.perf_counter(), self._feed.waited_s
        self._totals.seconds += self._seconds - before[0]
        self._totals.waited_s += self._waited_s - before[1]
