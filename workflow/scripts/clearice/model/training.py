"""The training of a denoiser: epochs, evaluation, checkpoints, interruption."""

import math
import time
from pathlib import Path

import torch

from clearice.errors import InputError
from clearice.files import xxh3_of_file
from clearice.model.checkpoints import find_checkpoint, load_checkpoint, save_checkpoint
from clearice.model.engines.choice import can_fuse
from clearice.model.feed import Feed
from clearice.model.history import EpochTotals, Progress, describe_row
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
from clearice.model.weights import load_model, load_weights

# What may change between the parts of an interrupted training: how long and where it runs.
_FREE_SETTINGS = {
    "epochs",
    "device",
    "devices",
    "checkpoint_minutes",
    "buffer_mib",
    "reader_threads",
    "kernels",
    "initial_weights",  # their hash counts, wherever they lie
}
# Batches of 4 x 1024 x 1024 px from which on a compilation earns back the minute that it takes.
_COMPILED_FROM_BATCHES = 20_000
_POSITION = ("epoch", "batch", "step", "rows", "seconds", "interruptions")


class Training:
    """One training: its data, its network, and how far it has come.

    `settings` is a section of config.yaml's `model`; `processes` (distributed.Processes) says
    which part of every batch is ours. Rank 0 alone prints and writes files.
    """

    def __init__(self, manifest_path, architecture, settings, device, processes):
        self.architecture, self.settings = architecture, settings
        self.device, self.processes = device, processes
        self.feed = Feed(manifest_path, settings, device, processes)
        self.manifest = self.feed.manifest
        torch.manual_seed(settings["seed"])
        network = build_network(architecture)
        if settings["initial_weights"]:
            start, _ = load_model(settings["initial_weights"])
            load_weights(network, start.state_dict(), settings["initial_weights"])
        self.identity, self.kernels = self._identity(), self._kernels(network)
        if device.type == "cpu":
            keep_freed_memory()
        self.optimization = Optimization(
            network,
            device,
            optimizer=settings["optimizer"],
            learning_rate=settings["learning_rate"],
            precision=settings["precision"],
            all_reduce=processes.all_reduce,
            kernels=self.kernels,
        )
        self.epoch = self.batch = self.step = 0  # whole epochs, batches of this one, and steps
        self.rows, self.seconds, self.interruptions = [], 0.0, 0
        self.totals = EpochTotals()
        self._good_checkpoint = None  # the last one, read or written

    def _identity(self):
        """Return, as a flat dict, all that the weights after a given step depend on."""
        weights = self.settings["initial_weights"]
        return {
            **{k: v for k, v in self.settings.items() if k not in _FREE_SETTINGS},
            "architecture": self.architecture,
            "dataset_xxh3": self.manifest["data_xxh3"],
            "initial_weights_xxh3": xxh3_of_file(weights) if weights else None,
        }

    def _kernels(self, network):
        """Return the kernels (arithmetic.KERNELS) that are fastest for this training."""
        if self.settings["kernels"] != "auto":
            return self.settings["kernels"]
        if can_fuse(network, self.device):
            return "fused"
        pixels = self.feed.readers["train"].n_patches * self.feed.size_px**2
        work = self.settings["epochs"] * pixels / (4 * 1024**2)
        fast = self.device.type == "cuda" and not self.settings["deterministic"]
        return "compiled" if fast and work >= _COMPILED_FROM_BATCHES else "plain"

    # Checkpoints

    def resume(self, path, *, demanded=False):
        """Continue from the checkpoint `path` if it is ours; return a line about it, or None.

        `demanded`: a checkpoint that does not fit is an InputError; else it is set aside.
        """
        epochs = self.settings["epochs"]
        if demanded:
            state, remark = load_checkpoint(path, self.identity, epochs), None
        elif self.processes.rank:  # rank 0 sets aside what is not ours
            state, remark = None, None
        else:
            state, remark = find_checkpoint(path, self.identity, epochs)
        state = self.processes.share(state)
        if state is None:
            return remark
        if state["epoch"] == epochs and not demanded:  # this training was asked for anew
            return f"{path} is of a training that came to its end; this one starts anew"
        self.optimization.restore(state)
        for name in _POSITION:
            setattr(self, name, state[name])
        self.totals = EpochTotals(**state["totals"])
        self.interruptions += 1
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and state["device_rng"] is not None:
            torch.cuda.set_rng_state(state["device_rng"], self.device)
        self._good_checkpoint = path
        if self.epoch == epochs:
            return f"{path} holds all {epochs} epochs: nothing is left to train"
        return f"continues from {path}: epoch {self.epoch + 1}, batch {self.batch + 1}"

    def save(self, path):
        """Write a checkpoint; InputError if the weights have ceased to be finite."""
        if not self.optimization.is_finite():
            raise InputError(
                f"the weights are not finite after step {self.step}",
                advice="lower learning_rate" + self._kept(),
            )
        if not self.processes.rank:
            save_checkpoint(path, self._state())
        self._good_checkpoint = path

    def _state(self):
        """Return all that a checkpoint holds."""
        on_gpu = self.device.type == "cuda"
        state = {name: getattr(self, name) for name in _POSITION} | self.optimization.state()
        return state | {
            "identity": self.identity,
            "totals": vars(self.totals),
            "rng": torch.get_rng_state(),
            "device_rng": torch.cuda.get_rng_state(self.device) if on_gpu else None,
        }

    def _kept(self):
        return "; the last good checkpoint is kept" if self._good_checkpoint else ""

    # Training

    def run(self, checkpoint):
        """Train to the last epoch, writing `checkpoint` on the way; `rows` become the history.

        SIGTERM or SIGINT ends it between two steps with a checkpoint and SystemExit(128 + n).
        Raises InputError for a loss that is not finite, naming the patches, and for want of
        memory.
        """
        settings, first = self.settings, self.epoch
        self._checkpoint, self._saved_at_s = Path(checkpoint), time.monotonic()
        total = self.feed.batches_per_epoch * settings["epochs"]
        quiet = self.processes.rank > 0
        with (
            memory_explained(settings, self.feed.size_px, self.device),
            self.feed,
            Interruption() as self._interruption,
            Progress(total, self.step, quiet=quiet) as self._progress,
        ):
            for self.epoch in range(first, settings["epochs"]):
                self._train_epoch()
                self._end_epoch()
            self.epoch = settings["epochs"]
            self.save(checkpoint)

    def _train_epoch(self):
        """Take the steps that are left of this epoch."""
        late, clock = LateLosses(self.device), _Clock(self.feed, self.totals)
        for batch in self.feed.training_batches(self.epoch, self.batch):
            report = self._step(batch)
            self.batch, self.step = self.batch + 1, self.step + 1
            save, stop = self._note(late.push(report, (batch.position, batch.patches)))
            clock.read()
            if self.processes.world_size == 1:  # nobody to agree with
                stop = self._interruption.signal is not None
            if save or stop:
                stop = self._note(late.drain())[1] or stop
                self._save(stop)
        self._note(late.drain())
        clock.read()

    def _step(self, batch):
        due_s = self._saved_at_s + 60 * self.settings["checkpoint_minutes"]
        return self.optimization.step(
            batch.input,
            batch.target,
            batch.patches * self.feed.size_px**2,
            full=batch.full,
            save=not self.processes.rank and time.monotonic() > due_s,
            stop=self._interruption.signal is not None,
        )

    def _note(self, reports):
        """Take in the losses that have arrived; return whether to save, and to stop."""
        save = stop = False
        for (position, patches), loss, to_save, to_stop in reports:
            if not math.isfinite(loss):
                where = f"in epoch {self.epoch + 1}, batch {position + 1}"
                places = self.feed.places("train", position, self.epoch)
                raise self._not_finite(f"the loss is {loss} {where}", places)
            self.totals.add_loss(loss, patches)
            self._progress.step(self.epoch + 1, loss)
            save, stop = save or to_save, stop or to_stop
        return save, stop

    def _not_finite(self, what, places):
        advice = "look at these or lower learning_rate" + self._kept()
        return InputError(what, found=f"patches {places}", advice=advice)

    def _save(self, stop):
        """Write the checkpoint; with `stop` leave as the signal asks."""
        self.save(self._checkpoint)
        self._saved_at_s = time.monotonic()
        if stop:
            self._progress.line(f"interrupted; {self._checkpoint} continues from here")
            # Where another process had the signal, ours is that of batch systems, SIGTERM.
            raise SystemExit(128 + (self._interruption.signal or 15))

    # Evaluation

    def _end_epoch(self):
        """Evaluate both splits and add the epoch's row to the history."""
        losses = {split: self._evaluate(split) for split in self.feed.readers}
        totals, self.totals, self.batch = self.totals, EpochTotals(), 0
        self.seconds += totals.seconds
        self.rows.append(
            {
                "epoch": self.epoch + 1,
                "step": self.step,
                "train_loss": losses["train"],
                "test_loss": losses["test"],
                "learning_rate": self.settings["learning_rate"],
                **totals.rates(self.settings["batch_size"]),
                "seconds": self.seconds,
                "peak_host_mib": peak_host_mib(),
                "peak_device_mib": peak_device_mib(self.device),
                "noise_floor_train": self.manifest["noise_floor"]["train"],
                "noise_floor_test": self.manifest["noise_floor"]["test"],
            }
        )
        self._progress.line(describe_row(self.rows[-1], self.settings["epochs"]))

    def _evaluate(self, split):
        """Return the mean squared error over all pixels of `split`."""
        n_patches = self.feed.readers[split].n_patches
        count = -(-n_patches // self.settings["batch_size"])
        sums = torch.zeros(count + 1, dtype=torch.float64, device=self.device)  # the last: to stop
        for batch in self.feed.evaluation_batches(split):
            error = self.optimization.error_sum(batch.input, batch.target, full=batch.full)
            sums[batch.position] = error
            if self._interruption.signal is not None and self.processes.world_size == 1:
                break
        sums[-1] = float(self._interruption.signal is not None)
        if self.processes.all_reduce is not None:
            self.processes.all_reduce(sums)
        *errors, stop = sums.tolist()
        if stop:
            self._save(stop=True)
        for position, error in enumerate(errors):
            if not math.isfinite(error):
                where = f"after epoch {self.epoch + 1}, batch {position + 1}"
                places = self.feed.places(split, position)
                raise self._not_finite(f"the loss of the {split} split is {error} {where}", places)
        return sum(errors) / (n_patches * self.feed.size_px**2)


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
