"""The epochs that one process trains: their steps, their evaluation, and what interrupts them."""

import contextlib
import math
import time

from clearice.errors import InputError
from clearice.model.evaluation import squared_errors
from clearice.model.history import EpochTotals, utc_now
from clearice.model.interruption import Interrupted
from clearice.model.late_losses import LateLosses
from clearice.model.memory import peak_device_mib, peak_host_mib
from clearice.model.progress import describe_row


class _OutOfRange(Exception):
    """A step's error is not finite, perhaps for the engine's limited range alone."""

    def __init__(self, position):
        super().__init__(f"batch {position}")
        self.position = position


class Session:
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
        """Take the steps that are left of this epoch.

        Those that the engine could not take, for its range, are taken again by PyTorch.
        """
        course = self._course
        while True:
            try:
                return self._take_steps()
            except _OutOfRange as error:
                course.step -= course.batch - error.position
                course.batch = error.position
                self._say_fallen_back(f"in epoch {course.epoch + 1}, batch {error.position + 1}")

    def _take_steps(self):
        course = self._course
        late, clock = LateLosses(self._device), _Clock(self._feed, course.totals)
        if not course.batch:
            course.grouped = self._feed.streams
        fed = self._feed.training_batches(
            course.epoch,
            course.batch,
            grouped=course.grouped,
            stopped=self._interruption.has_signal,
        )
        with contextlib.suppress(Interrupted), contextlib.closing(fed) as batches:
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
        if course.batch < self._feed.batches_per_epoch:  # a signal ended the wait for planes
            self._save(stop=True)

    def _step(self, batch):
        self._optimization.set_learning_rate(self._course.step_of_stage)
        due_s = self._saved_at_s + 60 * self._settings["checkpoint_minutes"]
        return self._optimization.step_on(
            batch,
            batch.patches * self._feed.training_size_px**2,
            save=not self._processes.rank and time.monotonic() > due_s,
            stop=self._interruption.signal is not None,
        )

    def _note(self, reports):
        """Take in the losses that have arrived; return whether to save, and to stop."""
        save = stop = False
        epoch = self._course.epoch
        for (position, patches), loss, to_save, to_stop in reports:
            if not math.isfinite(loss):
                if self._optimization.fall_back():
                    raise _OutOfRange(position)
                where = f"in epoch {epoch + 1}, batch {position + 1}"
                places = self._feed.places("train", position, epoch, self._course.grouped)
                raise self._not_finite(f"the loss is {loss} {where}", places)
            self._course.totals.add_loss(loss, patches)
            self._progress.step(epoch + 1, loss)
            save, stop = save or to_save, stop or to_stop
        return save, stop

    def _say_fallen_back(self, where):
        self._progress.line(
            f"{where} a value was beyond the range of the cuda engine: PyTorch goes on from there"
        )

    def _not_finite(self, what, places):
        advice = "look at these or lower learning_rate"
        if self._settings["precision"] == "float16":
            advice += ", or set precision to bfloat16: float16 ends at 65504"
        advice += self._course.kept()
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
        if not math.isfinite(sum(errors)) and self._optimization.fall_back():
            self._say_fallen_back(f"after epoch {self._course.epoch + 1}")
            return self._loss(split)
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
