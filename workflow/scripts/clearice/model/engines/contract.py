"""What an engine offers to a training, whoever computes it."""

import abc


class Engine(abc.ABC):
    """The output, error and gradients of one network, on one device, in one precision.

    `network` is on the device. `scaler`, a torch.amp.GradScaler, takes the optimizer's step; it
    is disabled where gradients need no scaling. Patches are (N, 1, H, W), contiguous float32, on
    the device. Nothing waits for the device. `full` is False for a batch of another size than
    all others: an engine may then choose what needs no preparation.
    """

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
