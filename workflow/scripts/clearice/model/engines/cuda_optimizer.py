"""Adam and SGD whose step is a CUDA kernel, with the state of PyTorch's."""

import copy

import torch

from clearice.errors import InputError

KINDS = {"adam": 1, "sgd": 2}  # ADAM and SGD in cuda/reduction.cuh
NO_STEP = 0
# The options of torch.optim.Adam and SGD, as their state_dict holds them.
_OPTIONS = {
    "adam": {
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0,
        "amsgrad": False,
        "maximize": False,
        "foreach": None,
        "capturable": True,
        "differentiable": False,
        "fused": True,
        "decoupled_weight_decay": False,
    },
    "sgd": {
        "momentum": 0,
        "dampening": 0,
        "weight_decay": 0,
        "nesterov": False,
        "maximize": False,
        "foreach": None,
        "differentiable": False,
        "fused": True,
    },
}


class KernelOptimizer:
    """The optimizer of a CudaCNN: what Optimization needs of a torch.optim.Optimizer.

    Its state_dict is that of torch.optim.Adam or SGD, so that a training may change its engine.
    (To make one of those takes three seconds, in which they import PyTorch's compiler.) A step
    whose gradients are not finite changes nothing, and no step after it does (`CudaCNN.step`).
    """

    def __init__(self, engine, name, learning_rate):
        if name not in KINDS:
            raise InputError("unknown optimizer", expected=" | ".join(KINDS), found=name)
        self._engine, self._name = engine, name
        self._shapes = [parameter.shape for parameter in engine.network.parameters()]
        self.param_groups = [{"lr": learning_rate, **_OPTIONS[name]}]
        count, device = sum(map(torch.Size.numel, self._shapes)), engine.device
        self.means, self.squares = torch.zeros(2, count, device=device)  # Adam's moments
        self.steps = torch.zeros((), device=device)

    def hyperparameters(self):
        """Return (kind, learning rate, beta1, beta2, epsilon), as the kernel takes them."""
        group = self.param_groups[0]
        beta1, beta2 = group.get("betas", (0.0, 0.0))
        return KINDS[self._name], float(group["lr"]), beta1, beta2, group.get("eps", 0.0)

    def zero_grad(self, set_to_none=True):
        """Set the gradients to zero."""
        self._engine.zero_gradients()

    def step(self):
        """Take a step with the engine's gradients."""
        self._engine.take_step(self)

    def state_dict(self):
        """Return what PyTorch's would; of tensors, views of ours and copies of the step count."""
        state = {}
        if self._name == "adam":
            moments = zip(self._parts(self.means), self._parts(self.squares), strict=True)
            for number, (mean, square) in enumerate(moments):
                state[number] = {"step": self.steps.clone(), "exp_avg": mean, "exp_avg_sq": square}
        groups = [{**self.param_groups[0], "params": list(range(len(self._shapes)))}]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state):
        """Take over the state of torch.optim.Adam or SGD, from any device."""
        group = copy.deepcopy(state["param_groups"][0])
        self.param_groups[0] |= {key: group[key] for key in self.param_groups[0] if key in group}
        if self._name != "adam":
            return
        means, squares = self._parts(self.means), self._parts(self.squares)
        for number, (mean, square) in enumerate(zip(means, squares, strict=True)):
            found = state["state"].get(number, {})  # PyTorch's has none before its first step
            mean.copy_(found.get("exp_avg", torch.zeros(())))
            square.copy_(found.get("exp_avg_sq", torch.zeros(())))
            self.steps.copy_(found.get("step", torch.zeros(())))

    def _parts(self, block):
        """Return a view of a block for each parameter."""
        parts = block.split([shape.numel() for shape in self._shapes])
        return [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]
