"""The training of a denoiser: epochs, evaluation, interruption, history."""

import time
from pathlib import Path

import numpy as np
import torch

from clearice.checkpoints import find_checkpoint, load_checkpoint, save_checkpoint
from clearice.dataset import open_split
from clearice.errors import InputError
from clearice.files import xxh3_of_file
from clearice.history import Progress, peak_device_mib, peak_host_mib, write_history
from clearice.interruption import Interruption
from clearice.loader import Loader
from clearice.losses import LateLosses
from clearice.manifest import read_manifest
from clearice.model import load_model, load_weights
from clearice.networks import build_network
from clearice.optimization import Optimization
from clearice.sampling import batches_of, epoch_codes, epoch_order, turned

# What may differ between the two parts of an interrupted training: where and how long it runs.
_FREE_SETTINGS = {
    "epochs",
    "device",
    "devices",
    "checkpoint_minutes",
    "buffer_mib",
    "reader_threads",
    "compile",
    "initial_weights",
}


class Training:
    """One training, from its first step or from a checkpoint, to its last epoch.

    `settings` is a section of config.yaml's `model`, `checkpoint` the file to continue from and
    to write; with `demand_checkpoint` it must fit, otherwise one that does not is set aside.
    `processes` (distributed.Processes) says which part of every batch is ours. Progress is
    printed by rank 0 alone, and files are written by it alone.
    """

    def __init__(self, manifest_path, architecture, settings, device, processes):
        self.manifest_path, self.manifest = manifest_path, read_manifest(manifest_path)
        self.architecture, self.settings = architecture, settings
        self.device, self.processes = device, processes
        self.readers = {split: open_split(manifest_path, split) for split in ("train", "test")}
        self.noise_floor = self.manifest["noise_floor"]
        self._check()
        torch.manual_seed(settings["seed"])
        network = build_network(architecture)
        self.identity = self._identity()
        if settings["initial_weights"]:
            start, _ = load_model(settings["initial_weights"])
            load_weights(network, start.state_dict(), settings["initial_weights"])
        memory_format = (
            torch.channels_last if settings["channels_last"] else torch.contiguous_format
        )
        self.optimization = Optimization(
            network.to(device, memory_format=memory_format),
            optimizer=settings["optimizer"],
            learning_rate=settings["learning_rate"],
            precision=settings["precision"],
            all_reduce=processes.all_reduce,
        )
        self.epoch = self.batch = self.step = 0  # epochs, batches of this one, and steps done
        self.totals = _Totals()
        self.rows, self.seconds, self.interruptions = [], 0.0, 0

    def _check(self):
        for split, reader in self.readers.items():
            if not reader.n_patches:
                raise InputError(f"the {split} split has no patches", file=self.manifest_path)
        if self.settings["batch_size"] % self.processes.world_size:
            raise InputError(
                "batch_size cannot be shared by the devices",
                expected=f"a multiple of {self.processes.world_size}",
                found=self.settings["batch_size"],
            )

    def _identity(self):
        """Return, as a flat dict, all that the weights after a given step depend on."""
        weights = self.settings["initial_weights"]
        return {
            **{k: v for k, v in self.settings.items() if k not in _FREE_SETTINGS},
            "architecture": self.architecture,
            "dataset_xxh3": self.manifest["data_xxh3"],
            "initial_weights_xxh3": xxh3_of_file(weights) if weights else None,
        }

    # --- checkpoints

    def resume(self, path, *, demanded=False):
        """Continue from the checkpoint `path` if it is ours; return a line about it, or None.

        `demanded`: a checkpoint of another training is an InputError and not set aside.
        """
        if demanded:
            state, remark = load_checkpoint(path, self.identity), None
        else:
            state, remark = find_checkpoint(path, self.identity)
        if state is None:
            return remark
        if state["epoch"] >= self.settings["epochs"] and not demanded:
            return None  # that training has ended; this one was asked for anew
        self.optimization.restore(state)
        for name in ("epoch", "batch", "step", "rows", "seconds", "interruptions"):
            setattr(self, name, state[name])
        self.totals = _Totals(**state["totals"])
        self.interruptions += 1
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and state["device_rng"] is not None:
            torch.cuda.set_rng_state(state["device_rng"], self.device)
        return f"continues from {path}: epoch {self.epoch + 1}, batch {self.batch + 1}"

    def save(self, path):
        """Write the checkpoint, unless the weights have ceased to be finite (InputError)."""
        if not self.optimization.is_finite():
            raise InputError(
                "the weights are not finite",
                advice="lower learning_rate; the last checkpoint is kept",
            )
        if self.processes.rank:
            return
        on_gpu = self.device.type == "cuda"
        state = {
            "identity": self.identity,
            **self.optimization.state(),
            **{
                name: getattr(self, name)
                for name in ("epoch", "batch", "step", "rows", "seconds", "interruptions")
            },
            "totals": vars(self.totals),
            "rng": torch.get_rng_state(),
            "device_rng": torch.cuda.get_rng_state(self.device) if on_gpu else None,
        }
        save_checkpoint(path, state)

    # --- the training

    def run(self, checkpoint, history):
        """Train to the last epoch, writing `checkpoint` on the way and `history` every epoch.

        SIGTERM or SIGINT ends it between two steps with a checkpoint and SystemExit(128 + n).
        Raises InputError for a loss that is not finite, naming the batch.
        """
        settings, done = self.settings, self.epoch
        self._checkpoint, self._saved_at_s = Path(checkpoint), time.monotonic()
        per_epoch = -(-self.readers["train"].n_patches // settings["batch_size"])
        loader = Loader(
            -(-settings["batch_size"] // self.processes.world_size),
            self.manifest["patch_size_px"],
            self.manifest["dtype"],
            self.device,
            threads=settings["reader_threads"],
            buffer_mib=settings["buffer_mib"],
        )
        total, quiet = per_epoch * settings["epochs"], self.processes.rank > 0
        with (
            loader as self._loader,
            Interruption() as self._interruption,
            Progress(total, self.step, quiet=quiet) as self._progress,
        ):
            for self.epoch in range(done, settings["epochs"]):
                self._train_epoch()
                self._end_epoch()
                if not self.processes.rank:
                    write_history(history, self.rows)
            self.epoch = settings["epochs"]
            self.save(checkpoint)

    def _train_epoch(self):
        """Take the steps that are left of this epoch."""
        settings, reader = self.settings, self.readers["train"]
        order = epoch_order(reader.n_patches, settings["seed"], self.epoch)
        codes = None
        if settings["augmentation"]:
            swap = self.noise_floor["train"] is not None  # only halves are alike
            codes = epoch_codes(reader.n_patches, settings["seed"], self.epoch, swap=swap)
        batches = self._shared(order)
        late = LateLosses(self.device)
        before_s, waited_s = time.perf_counter(), self._loader.waited_s
        ours = [batch for batch, _ in batches[self.batch :]]
        for batch in self._loader.batches(reader, ours):
            position, count = self.batch, batches[self.batch][1]
            report = self._step(batch, count, codes)
            self.batch, self.step = self.batch + 1, self.step + 1
            stop = self._note(late.push(report, (position, count)), order)
            now_s = time.perf_counter()
            self.totals.seconds += now_s - before_s
            before_s = now_s
            self.totals.waited_s += self._loader.waited_s - waited_s
            waited_s = self._loader.waited_s
            if stop or time.monotonic() - self._saved_at_s > 60 * settings["checkpoint_minutes"]:
                self._note(late.drain(), order)
                self._save_and_stop(stop)
        self._note(late.drain(), order)
        self.totals.seconds += time.perf_counter() - before_s

    def _shared(self, order):
        processes = self.processes
        return batches_of(
            order,
            self.settings["batch_size"],
            rank=processes.rank,
            world_size=processes.world_size,
        )

    def _step(self, batch, count, codes):
        pixels = count * self.manifest["patch_size_px"] ** 2
        stop = self._interruption.signal is not None
        return self.optimization.step(*self._prepared(batch, codes), pixels, stop)

    def _prepared(self, batch, codes):
        """Return input and target of `batch` as float32 on the device, turned by `codes`."""
        pair = batch.input, batch.target
        if codes is not None and len(batch.indices):
            pair = turned(*pair, codes[batch.indices])
        return tuple(patches.float() for patches in pair)

    def _note(self, reports, order):
        """Take in the losses that have arrived; say whether it is time to stop."""
        stop = False
        for (position, count), loss, told in reports:
            if not np.isfinite(loss):
                raise self._not_finite(loss, position, order)
            self.totals.loss += loss * count
            self.totals.patches += count
            self._progress.step(self.epoch + 1, loss)
            stop = stop or told
        return stop

    def _not_finite(self, loss, position, order):
        size = self.settings["batch_size"]
        places = []
        for i in order[position * size : (position + 1) * size]:
            micrograph, y, x = self.readers["train"].where(int(i))
            places.append(f"{micrograph} (y {y}, x {x})")
        return InputError(
            f"the loss is {loss} in epoch {self.epoch + 1}, batch {position + 1}",
            found="patches " + ", ".join(places),
            advice="look at these micrographs or lower learning_rate; the last checkpoint is kept",
        )

    def _save_and_stop(self, stop):
        """Write a checkpoint; with `stop` leave the process as the signal asks."""
        self.save(self._checkpoint)
        self._saved_at_s = time.monotonic()
        if stop:
            self._progress.line(f"interrupted: {self._checkpoint} continues from here")
            # Another process may have been told and not this one: Slurm's signal is SIGTERM.
            raise SystemExit(128 + (self._interruption.signal or 15))

    # --- evaluation

    def _end_epoch(self):
        """Evaluate both splits and add the epoch's row."""
        losses = {split: self._evaluate(split) for split in self.readers}
        totals, self.totals, self.batch = self.totals, _Totals(), 0
        self.seconds += totals.seconds
        row = {
            "epoch": self.epoch + 1,
            "step": self.step,
            "train_loss": losses["train"],
            "test_loss": losses["test"],
            "learning_rate": self.settings["learning_rate"],
            "batches_per_s": totals.patches / self.settings["batch_size"] / totals.seconds,
            "device_wait_fraction": min(1.0, totals.waited_s / totals.seconds),
            "seconds": self.seconds,
            "peak_host_mib": peak_host_mib(),
            "peak_device_mib": peak_device_mib(self.device),
            "noise_floor_train": self.noise_floor["train"],
            "noise_floor_test": self.noise_floor["test"],
        }
        self.rows.append(row)
        floor = (
            ""
            if row["noise_floor_test"] is None
            else f", noise floor {row['noise_floor_test']:.5g}"
        )
        self._progress.line(
            f"epoch {row['epoch']} of {self.settings['epochs']}: train {row['train_loss']:.5g}, "
            f"test {row['test_loss']:.5g}{floor}; {row['batches_per_s']:.4g} batches/s, "
            f"waited {100 * row['device_wait_fraction']:.1f} %"
        )

    def _evaluate(self, split):
        """Return the mean squared error over all pixels of `split`."""
        reader = self.readers[split]
        batches = self._shared(np.arange(reader.n_patches))
        total = torch.zeros(2, dtype=torch.float64, device=self.device)
        for batch in self._loader.batches(reader, [batch for batch, _ in batches]):
            total[0] += self.optimization.error_sum(*self._prepared(batch, None))
            if self._interruption.signal is not None and self.processes.world_size == 1:
                break
        total[1] = float(self._interruption.signal is not None)
        if self.processes.all_reduce is not None:
            self.processes.all_reduce(total)
        error, stop = total.tolist()
        if stop:
            self._save_and_stop(True)
        return error / (reader.n_patches * self.manifest["patch_size_px"] ** 2)


class _Totals:
    """Sums over the steps of an epoch."""

    def __init__(self, loss=0.0, patches=0, seconds=0.0, waited_s=0.0):
        self.loss, self.patches, self.seconds, self.waited_s = loss, patches, seconds, waited_s
