"""Adam and SGD whose step is a CUDA kernel, with the state of PyTorch's."""

import torch

from clearice.errors import InputError

_KINDS = {"adam": 1, "sgd": 2}  # ADAM and SGD in cuda/reduction.cuh
NO_STEP = 0


class KernelOptimizer:
    """The optimizer of a CudaCNN: what Optimization needs of a torch.optim.Optimizer.

    Adam's moments are one block each, of which the state has a view per parameter; a checkpoint
    is one of torch.optim.Adam or SGD, so that a training may change its engine. A step whose
    gradients are not finite changes nothing, and no step after it does (`CudaCNN.step`).
    """

    def __init__(self, engine, name, learning_rate):
        parameters = list(engine.network.parameters())
        if name == "adam":
            options = {"fused": True, "capturable": True}
            self._torch = torch.optim.Adam(parameters, lr=learning_rate, **options)
        elif name == "sgd":
            self._torch = torch.optim.SGD(parameters, lr=learning_rate, fused=True)
        else:
            raise InputError("unknown optimizer", expected="adam | sgd", found=name)
        self._engine, self.kind, self._parameters = engine, _KINDS[name], parameters
        count, device = sum(p.numel() for p in parameters), parameters[0].device
        self.means, self.squares = torch.zeros(2, count, device=device)
        self.steps = torch.zeros((), device=device)
        if name == "adam":
            self._bind()

    @property
    def param_groups(self):
        """One group, with the learning rate."""
        return self._torch.param_groups

    def hyperparameters(self):
        """Return (kind, learning rate, beta1, beta2, epsilon), as the kernel takes them."""
        group = self._torch.param_groups[0]
        beta1, beta2 = group.get("betas", (0.0, 0.0))
        return self.kind, float(group["lr"]), beta1, beta2, group.get("eps", 0.0)

    def zero_grad(self, set_to_none=True):
        """Set the gradients to zero."""
        self._engine.zero_gradients()

    def step(self):
        """Take a step with the engine's gradients."""
        self._engine.take_step(self)

    def state_dict(self):
        """Return what torch.optim.Adam or SGD would, with a step count per parameter."""
        found = self._torch.state_dict()
        found["state"] = {
            number: {**state, "step": state["step"].clone()} if "step" in state else state
            for number, state in found["state"].items()
        }
        return found

    def load_state_dict(self, state):
        """Take over the state of torch.optim.Adam or SGD."""
        self._torch.load_state_dict(state)
        if self.kind == _KINDS["adam"]:
            self._bind()

    def _bind(self):
        """Copy Adam's state, where there is one, into our blocks, and put them in its place."""
        first = 0
        self.steps.zero_()
        for parameter in self._parameters:
            state, last = self._torch.state[parameter], first + parameter.numel()
            for name, block in (("exp_avg", self.means), ("exp_avg_sq", self.squares)):
                view = block[first:last].view_as(parameter)
                view.copy_(state.get(name, torch.zeros_like(view)))
                state[name] = view
            if "step" in state:
                self.steps.copy_(state["step"])
            state["step"] = self.steps
            first = last
