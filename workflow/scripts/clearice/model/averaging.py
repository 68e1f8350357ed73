"""The running average of a network's weights over its last steps.

The noise of the last gradients averages out, as with a lower learning rate (Polyak and Juditsky,
SIAM J. Control Optim. 30 (1992) 838); a network that is trained on noisy targets gains most.
"""

import contextlib

import torch

SPAN = 1 / 20  # of a training's steps


class WeightAverage:
    """An exponential average of the parameters of `network`, on its device.

    `total_steps` is the length of the training: the average spans a twentieth of it.
    """

    def __init__(self, network, total_steps):
        self._parameters = list(network.parameters())
        self._averages = [parameter.detach().clone() for parameter in self._parameters]
        self._kept, self._updates = 1 - 1 / max(total_steps * SPAN, 2), 0

    @torch.no_grad()
    def update(self):
        """Take in the weights after a step; the first ones are soon forgotten."""
        self._updates += 1
        kept = min(self._kept, self._updates / (self._updates + 10))
        torch._foreach_lerp_(self._averages, self._parameters, 1 - kept)

    @contextlib.contextmanager
    def in_place(self):
        """Put the average into the network, and afterwards the weights back."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self):
        for parameter, average in zip(self._parameters, self._averages, strict=True):
            held = parameter.clone()
            parameter.copy_(average)
            average.copy_(held)

    def state(self):
        """Return what a checkpoint needs to hold of this."""
        return {"averages": self._averages, "updates": self._updates}

    def restore(self, state):
        """Take over what `state` returned."""
        for average, theirs in zip(self._averages, state["averages"], strict=True):
            average.copy_(theirs)
        self._updates = state["updates"]
