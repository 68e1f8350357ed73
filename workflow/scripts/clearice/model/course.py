"""How far a training has come, and the checkpoint that it continues from."""

import torch

from clearice.errors import InputError
from clearice.model.checkpoints import find_checkpoint, load_checkpoint, save_checkpoint
from clearice.model.files import HISTORY
from clearice.model.history import EpochTotals, read_history

_POSITION = ("epoch", "batch", "step", "grouped", "rows", "seconds", "interruptions")


class Course:
    """The position of a training, written to and read from checkpoints with all that it needs.

    epoch, batch, step: whole epochs, batches of this one, and steps. grouped: whether this epoch's
    order takes micrographs in groups (Feed.streams when it began). rows: those of history.tsv.
    totals: sums over this epoch. `identity` is a flat dict of all that the weights after a given
    step depend on; `stage` (stages.Stage) says where it begins, `epochs` how many there are at its
    end, those before the stage counted. Of several processes, rank 0 alone writes.
    """

    def __init__(self, identity, epochs, stage, optimization, device, processes):
        self.identity, self._epochs, self.stage = identity, epochs, stage
        self._optimization, self._device, self._processes = optimization, device, processes
        self.epoch, self.batch, self.step = stage.first_epoch, 0, stage.first_step
        self.grouped = False
        self.rows = read_history(stage.folder / HISTORY) if stage.folder else []
        self.seconds = stage.before["seconds"] if stage.before else 0.0
        self.interruptions = 0
        self.totals = EpochTotals()
        self._good_checkpoint = None  # the last one, read or written

    @property
    def step_of_stage(self):
        """How many steps of this stage were taken."""
        return self.step - self.stage.first_step

    def resume(self, path, *, demanded=False):
        """Continue from the checkpoint `path` if it is ours; return a line about it, or None.

        `demanded`: a checkpoint that does not fit is an InputError; else it is set aside.
        """
        if demanded:
            state, remark = load_checkpoint(path, self.identity, self._epochs), None
        elif self._processes.rank:  # rank 0 sets aside what is not ours
            state, remark = None, None
        else:
            past = self.stage.before["identity"] if self.stage.before else None
            state, remark = find_checkpoint(path, self.identity, self._epochs, past)
        state = self._processes.share(state)
        if state is None:
            return remark
        finished, is_first = state["epoch"] == self._epochs, self.stage.number == 1
        if finished and is_first and not demanded:  # this training was asked for anew
            return f"{path} belongs to a finished training; starting from scratch"
        self._restore(state)
        self.interruptions += 1
        self._good_checkpoint = path
        if self.epoch == self._epochs:
            return f"{path} holds all {self._epochs} epochs: nothing is left to train"
        return f"continues from {path}: epoch {self.epoch + 1}, batch {self.batch + 1}"

    def save(self, path):
        """Write a checkpoint; InputError if the weights have ceased to be finite."""
        if not self._optimization.is_finite():
            raise InputError(
                f"the weights are not finite after step {self.step}",
                advice="lower learning_rate" + self.kept(),
            )
        if not self._processes.rank:
            save_checkpoint(path, self._state())
        self._good_checkpoint = path

    def kept(self):
        """Return the end of an advice: whether there is something good to go back to."""
        kept = "; the last good checkpoint is kept" if self._good_checkpoint else ""
        return kept + (
            f"; the network before this stage is {self.stage.start}" * bool(self.stage.start)
        )

    def _state(self):
        """Return all that a checkpoint holds."""
        on_gpu = self._device.type == "cuda"
        state = {name: getattr(self, name) for name in _POSITION} | self._optimization.state()
        return state | {
            "identity": self.identity,
            "totals": vars(self.totals),
            "rng": torch.get_rng_state(),
            "device_rng": torch.cuda.get_rng_state(self._device) if on_gpu else None,
        }

    def _restore(self, state):
        self._optimization.restore(state)
        for name in _POSITION:
            setattr(self, name, state[name])
        self.totals = EpochTotals(**state["totals"])
        torch.set_rng_state(state["rng"])
        if self._device.type == "cuda" and state["device_rng"] is not None:
            torch.cuda.set_rng_state(state["device_rng"], self._device)
