"""One step of training: loss, gradients, weights; in the chosen precision."""

import contextlib

import torch

from clearice.errors import InputError

_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Optimization:
    """The network, its optimizer and the arithmetic of a step.

    `network` is on its device already. `all_reduce` sums a tensor over all processes in place;
    None when there is one.
    """

    def __init__(self, network, *, optimizer, learning_rate, precision, all_reduce=None):
        self.network, self.precision, self._all_reduce = network, precision, all_reduce
        self.device = next(network.parameters()).device
        fused = self.device.type == "cuda"
        kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
        if optimizer not in kinds:
            raise InputError("unknown optimizer", expected=" | ".join(kinds), found=optimizer)
        self.optimizer = kinds[optimizer](network.parameters(), lr=learning_rate, fused=fused)
        # float16 has no exponent to hold gradients of a mean over 10^6 pixels: they are scaled.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "float16")

    def _autocast(self):
        dtype = _AUTOCAST.get(self.precision)
        if dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=dtype, cache_enabled=False)

    def squared_error(self, input_patches, target_patches):
        """Return the sum over all pixels of (output - target)^2, a float32 scalar."""
        with self._autocast():
            output = self.network(input_patches)  # (N, 1, H, W)
            return torch.nn.functional.mse_loss(output, target_patches, reduction="sum")

    def step(self, input_patches, target_patches, pixels, stop=False):
        """Take one step on (N, 1, H, W) batches; return (loss before it, stop), a (2,) tensor.

        The loss is the mean over `pixels`: those of the batch over all processes, so that
        gradients and losses of the processes simply add up. `stop` is positive when any process
        was told to stop. Nothing here waits for the device.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self.device)
        if len(input_patches):
            loss = self.squared_error(input_patches, target_patches) / pixels
            self.scaler.scale(loss).backward()
        report = torch.stack((loss.detach(), torch.full_like(loss, float(stop))))
        if self._all_reduce is not None:
            report = self._sum_over_processes(report)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return report

    def _sum_over_processes(self, report):
        """Add up gradients and reports of all processes, in one message."""
        parameters = list(self.network.parameters())
        for parameter in parameters:
            if parameter.grad is None:  # no patch of this batch is ours
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([*(p.grad.reshape(-1) for p in parameters), report])
        self._all_reduce(flat)
        sizes = [parameter.numel() for parameter in parameters] + [len(report)]
        *gradients, report = flat.split(sizes)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad.copy_(gradient.view_as(parameter))
        return report

    @torch.no_grad()
    def error_sum(self, input_patches, target_patches):
        """Return the sum of squared errors as a float64 scalar on the device, without a step."""
        if not len(input_patches):
            return torch.zeros((), dtype=torch.float64, device=self.device)
        return self.squared_error(input_patches, target_patches).double()

    def is_finite(self):
        """Say whether every weight is finite (waits for the device)."""
        checks = [torch.isfinite(p).all() for p in self.network.parameters()]
        return bool(torch.stack(checks).all())

    def state(self):
        """Return what a checkpoint needs, on the CPU when it is saved."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state):
        """Take over what `state` returned, perhaps on another kind of device."""
        self.network.load_state_dict(state["network"])
        theirs, ours = state["optimizer"]["param_groups"], self.optimizer.param_groups
        for group, own in zip(theirs, ours, strict=True):
            group.update(
                {key: own[key] for key in ("fused", "foreach", "capturable") if key in own}
            )
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
