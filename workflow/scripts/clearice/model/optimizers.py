"""Adam and SGD by PyTorch's own functions, without the classes around them.

torch.optim.Optimizer imports the compiler (torch._dynamo: a second and 150 MiB) when it is made,
and again wherever it takes a step. What a training needs of it is little.
"""

import torch
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from clearice.errors import InputError

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's, as its authors and PyTorch have them


class FusedOptimizer:
    """What steps over all parameters in one kernel, and takes the scale of a GradScaler with it.

    `parameters` is a list of them, on one device. `param_groups` holds them and their learning
    rate, `lr`, a number or (to be followed by a CUDA graph) a scalar tensor. What it keeps of each
    parameter is by the names of torch.optim, in the parameter's own strides.
    """

    # torch.amp.GradScaler then leaves grad_scale and found_inf here for a step, and does not wait.
    _step_supports_amp_scaling = True

    def __init__(self, parameters, learning_rate):
        self.param_groups = [{"params": parameters, "lr": learning_rate}]
        self._state = {}  # name -> a tensor per parameter

    @property
    def _parameters(self):
        return self.param_groups[0]["params"]

    def zero_grad(self):
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def state_dict(self):
        """Return what a checkpoint needs to hold of this, as torch.optim has it; no copies."""
        numbers = range(len(self._parameters) if self._state else 0)
        return {"state": {i: {name: of[i] for name, of in self._state.items()} for i in numbers}}

    @torch.no_grad()
    def load_state_dict(self, state):
        """Copy what state_dict returned, perhaps on another device or by another optimizer."""
        for name, tensors in self._state.items():
            for number, tensor in enumerate(tensors):  # torch.optim has none before a first step
                tensor.copy_(state["state"].get(number, {}).get(name, torch.zeros(())))

    def _common(self):
        return {
            "lr": self.param_groups[0]["lr"],
            "weight_decay": 0.0,
            "maximize": False,
            "fused": True,
            "grad_scale": getattr(self, "grad_scale", None),
            "found_inf": getattr(self, "found_inf", None),
        }


class SGD(FusedOptimizer):
    """Gradient descent without momentum."""

    @torch.no_grad()
    def step(self):
        """Change every parameter by its gradient."""
        gradients = [parameter.grad for parameter in self._parameters]
        none = [None] * len(gradients)
        plain = {"momentum": 0.0, "dampening": 0.0, "nesterov": False}
        sgd(self._parameters, gradients, none, **plain, **self._common())


class Adam(FusedOptimizer):
    """Adam (Kingma and Ba, ICLR 2015) with its authors' constants."""

    def __init__(self, parameters, learning_rate):
        super().__init__(parameters, learning_rate)
        self._state = {
            "step": [torch.zeros((), device=p.device) for p in parameters],
            "exp_avg": [torch.zeros_like(p, requires_grad=False) for p in parameters],
            "exp_avg_sq": [torch.zeros_like(p, requires_grad=False) for p in parameters],
        }

    @torch.no_grad()
    def step(self):
        """Change every parameter by its gradient and those before."""
        gradients = [parameter.grad for parameter in self._parameters]
        steps, means, squares = self._state.values()
        constants = {"beta1": BETA1, "beta2": BETA2, "eps": EPSILON, "amsgrad": False}
        states = gradients, means, squares, [], steps
        adam(self._parameters, *states, capturable=True, **constants, **self._common())


def build_optimizer(name, network, learning_rate):
    """Return the optimizer of that name (adam | sgd) for all parameters of `network`."""
    if name not in ("adam", "sgd"):
        raise InputError("unknown optimizer", expected="adam | sgd", found=name)
    return (Adam if name == "adam" else SGD)(list(network.parameters()), learning_rate)
