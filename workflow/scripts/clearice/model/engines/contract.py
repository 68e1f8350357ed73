"""What an engine offers to a training, whoever computes it."""

import abc

from clearice.model.optimizers import build_optimizer


class Engine(abc.ABC):
    """The output, error and gradients of one network, on one device, in one precision.

    `network` is on the device. `scaler`, a torch.amp.GradScaler, takes the optimizer's step; it
    is disabled where gradients need no scaling. Patches are (N, 1, H, W), contiguous float32, on
    the device. Nothing waits for the device. `full` is False for a batch of another size than
    all others: an engine may then choose what needs no preparation.
    """

    name: str  # one of choice.ENGINES
    may_be_captured = True  # as a CUDA graph
    has_optimizer = False  # of its own: then it is a SteppingEngine
    reads_tables = False  # of patches in whole planes: then it is a PlaneEngine
    has_limited_range = False  # an error that is NaN may be the engine's, not the network's

    @abc.abstractmethod
    def output(self, input_patches):
        """Return the network's output (N, 1, H, W)."""

    @abc.abstractmethod
    def squared_error(self, input_patches, target_patches, *, full=True):
        """Return the sum over all pixels of (output - target)^2, a float32 scalar."""

    @abc.abstractmethod
    def error_and_gradients(self, input_patches, target_patches, pixels, *, full=True):
        """Return squared_error; set the network's gradients to those of squared_error / pixels.

        Gradients are multiplied by the scale of `scaler`.
        """

    def fused_optimizer(self, name, learning_rate):
        """Return the optimizers.FusedOptimizer of that name (adam | sgd) for the network."""
        return build_optimizer(name, self.network, learning_rate)


class SteppingEngine(Engine):
    """An engine that takes whole steps, with an optimizer of its own."""

    has_optimizer = True

    @abc.abstractmethod
    def step(self, input_patches, target_patches, pixels, optimizer):
        """Return squared_error / pixels; take a step of the fused optimizer with its gradients.

        With a limited range, an error that is not finite is NaN, and neither this step nor any
        later one has changed a weight.
        """


class PlaneEngine(SteppingEngine):
    """An engine that also reads patches where they lie in whole planes on the device."""

    reads_tables = True

    @abc.abstractmethod
    def squared_error_of_table(self, table, size_px, dtype):
        """Return the squared_error of patches of whole planes, read where they lie.

        `table`, int64 (N, 4) on the device, is that of planes/patch_tables.py: N patches of
        size_px x size_px in planes of `dtype` (float16 or float32).
        """

    @abc.abstractmethod
    def error_and_gradients_of_table(self, table, size_px, pixels, dtype):
        """Return and set what error_and_gradients does, for the patches in `table`."""

    @abc.abstractmethod
    def step_of_table(self, table, size_px, pixels, optimizer, dtype):
        """Take the step that `step` takes, on the patches in `table`; return what it returns."""
