"""Adam and SGD whose step is a CUDA kernel, with the state of PyTorch's."""

import torch

from clearice.errors import InputError
from clearice.model.optimizers import BETA1, BETA2, EPSILON, FusedOptimizer

KINDS = {"adam": 1, "sgd": 2}  # ADAM and SGD in cuda/reduction.cuh
NO_STEP = 0


class KernelOptimizer(FusedOptimizer):
    """The optimizer of a CudaCNN.

    Its state is that of the others, so that a training may change its engine. A step whose
    gradients are not finite changes nothing, and no step after it does (`CudaCNN.step`).
    """

    def __init__(self, engine, name, learning_rate):
        if name not in KINDS:
            raise InputError("unknown optimizer", expected=" | ".join(KINDS), found=name)
        parameters = list(engine.network.parameters())
        super().__init__(parameters, learning_rate)
        self._engine, self._kind = engine, KINDS[name]
        sizes = [parameter.numel() for parameter in parameters]
        self.means, self.squares = torch.zeros(2, sum(sizes), device=engine.device)  # of Adam
        self.steps = torch.zeros((), device=engine.device)
        if name == "adam":
            means, squares = (
                [part.view_as(p) for part, p in zip(block.split(sizes), parameters, strict=True)]
                for block in (self.means, self.squares)
            )
            steps = [self.steps] * len(parameters)
            self._state = {"step": steps, "exp_avg": means, "exp_avg_sq": squares}

    def hyperparameters(self):
        """Return (kind, learning rate, beta1, beta2, epsilon), as the kernel takes them."""
        return self._kind, float(self.param_groups[0]["lr"]), BETA1, BETA2, EPSILON

    def zero_grad(self):
        """Set the gradients to zero."""
        self._engine.zero_gradients()

    def step(self):
        """Take a step with the engine's gradients."""
        self._engine.take_step(self)
