"""One step of training: loss, gradients, weights; on a GPU as one launch."""

import contextlib
import math
import sys

import torch

from clearice.model.averaging import WeightAverage
from clearice.model.engines.choice import build_engine

_WARM_UP_STEPS = 100  # of the cosine schedule, or a tenth of the training
_STEPS_BEFORE_CAPTURE = 3  # cuDNN chooses its kernels and the optimizer makes its state in them


class Optimization:
    """The network, its optimizer and the engine that computes a step.

    `network` is moved to `device`; `engine` is one of choice.ENGINES, and the one that can be had
    instead is what `engine.name` says. `images` is the type of the pixels that it will mostly
    read. `all_reduce` sums a tensor over all processes in place; None when there is one.
    `schedule` (constant | cosine) says how the learning rate runs over `total_steps`; with
    `average_weights` what is evaluated and kept is the average over the last of them. On a GPU
    the step of a full batch is captured as a CUDA graph and replayed, so that its speed does not
    depend on Python's, unless the engine launches little anyway.
    """

    def __init__(
        self,
        network,
        device,
        *,
        optimizer,
        learning_rate,
        precision,
        engine="pytorch",
        images=torch.float32,
        schedule="constant",
        average_weights=False,
        total_steps=None,
        all_reduce=None,
    ):
        self.network, self.device, self._all_reduce = network, device, all_reduce
        self._precision, self._optimizer_name = precision, optimizer
        self._schedule, self._total_steps = schedule, total_steps
        self._peak_rate = learning_rate
        self._take_engine(build_engine(engine, network, device, precision, images))
        self._average = WeightAverage(network, total_steps) if average_weights else None
        self._no_wishes = torch.zeros(2, device=device)

    def _take_engine(self, engine):
        """Compute with `engine` from here on, with an optimizer that has taken no step."""
        self.engine, name, on_gpu = engine, self._optimizer_name, self.device.type == "cuda"
        self._graph, self._full_steps = None, 0
        follows_rate = self._schedule == "constant" or name == "adam"
        may_capture = on_gpu and self._all_reduce is None and follows_rate
        self.may_capture = may_capture and engine.may_be_captured
        rate = self._peak_rate
        if self._schedule != "constant" and self.may_capture:
            rate = torch.tensor(rate, device=self.device)  # a graph can follow it
        self.optimizer = engine.fused_optimizer(name, rate)

    def fall_back(self):
        """Go on with PyTorch if an error that is not finite may be the engine's own.

        Returns whether it did. The steps since that error have changed no weights, as an engine
        of limited range takes care, and are to be taken again. (An average of the weights has seen
        the last ones a few times more.)
        """
        if not self.engine.has_limited_range:
            return False
        state, rate = self.state(), self.learning_rate
        self._take_engine(build_engine("pytorch", self.network, self.device, self._precision))
        self.restore(state)
        self._set_rate(rate)
        return True

    def step(self, input_patches, target_patches, pixels, *, full=True, save=False, stop=False):
        """Take one step on (N, 1, H, W) batches; return a report of it, a tensor.

        That is (loss before it,), or with wishes (loss, save, stop). The loss is the mean over
        `pixels`: those of the batch over all processes, so that gradients and losses of the
        processes simply add up. `full` batches all have one shape. `save` and `stop` come back
        positive when any process wished it; several processes always report them. Nothing here
        waits for the device, so what is returned is not there yet.
        """
        if full and self._graph is not None:
            loss = self._graph.replay(input_patches, target_patches)
        else:
            loss = self._eager_step(input_patches, target_patches, pixels, full)
        report = self._ended_step(loss, save, stop)
        if self._all_reduce is None and full and self._graph is None:
            self._full_steps += 1
            if self.may_capture and self._full_steps == _STEPS_BEFORE_CAPTURE:
                self._capture(input_patches, target_patches, pixels)
        return report

    def step_on(self, batch, pixels, *, save=False, stop=False):
        """Take the step that `step` takes, on a feed.FedBatch.

        An engine that reads tables takes its patches where they lie.
        """
        if not self.engine.reads_tables:
            pair = batch.input, batch.target
            return self.step(*pair, pixels, full=batch.full, save=save, stop=stop)
        return self._ended_step(self._table_step(batch.tabled, pixels), save, stop)

    def _ended_step(self, loss, save, stop):
        """Take what a step still lacks, and return what it reports."""
        report = loss.reshape(1)
        if save or stop or self._all_reduce is not None:
            wishes = self._no_wishes
            if save or stop:
                wishes = torch.tensor([float(save), float(stop)], device=self.device)
            report = torch.cat((report, wishes))
        if self._all_reduce is not None:
            report = self._sum_over_processes(report)
            self._update()
        if self._average is not None:
            self._average.update()
        return report

    def set_learning_rate(self, step):
        """Set the learning rate of the schedule for step number `step`, from 0 on."""
        if self._schedule == "constant":
            return
        warm_up = min(_WARM_UP_STEPS, self._total_steps / 10)
        falling = 0.5 + 0.5 * math.cos(math.pi * step / self._total_steps)
        self._set_rate(self._peak_rate * falling * min(1, (step + 1) / warm_up))

    def _set_rate(self, rate):
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    @property
    def learning_rate(self):
        """The learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def averaged(self):
        """Return a context in which the network has its averaged weights, if there are any."""
        return self._average.in_place() if self._average else contextlib.nullcontext()

    def _eager_step(self, input_patches, target_patches, pixels, full):
        """Compute loss and gradients, and (alone) the new weights; return the loss."""
        if self.engine.has_optimizer and self._all_reduce is None:
            return self.engine.step(input_patches, target_patches, pixels, self.optimizer)
        self.optimizer.zero_grad()
        if not len(input_patches):  # all patches of this batch are other processes'
            return torch.zeros((), device=self.device)
        compute = self.engine.error_and_gradients
        error = compute(input_patches, target_patches, pixels, full=full)
        if self._all_reduce is None:
            self._update()
        return error / pixels

    def _table_step(self, tabled, pixels):
        """Do what _eager_step does, for a tabled_batch.TabledBatch."""
        engine, size = self.engine, (tabled.cut_px, pixels)
        if self._all_reduce is None:
            return engine.step_of_table(tabled.table, *size, self.optimizer, tabled.dtype)
        self.optimizer.zero_grad()
        if not len(tabled.host_table):
            return torch.zeros((), device=self.device)
        return engine.error_and_gradients_of_table(tabled.table, *size, tabled.dtype) / pixels

    def _update(self):
        self.engine.scaler.step(self.optimizer)
        self.engine.scaler.update()

    @torch.no_grad()
    def error_sum(self, input_patches, target_patches, *, full=True):
        """Return the sum of squared errors as a float64 scalar on the device, without a step."""
        if not len(input_patches):
            return torch.zeros((), dtype=torch.float64, device=self.device)
        return self.engine.squared_error(input_patches, target_patches, full=full).double()

    @torch.no_grad()
    def error_sum_on(self, batch):
        """Return the error_sum of a feed.FedBatch."""
        tabled = batch.tabled
        if not self.engine.reads_tables or not len(tabled.host_table):
            return self.error_sum(batch.input, batch.target, full=batch.full)
        where = tabled.table, tabled.cut_px, tabled.dtype
        return self.engine.squared_error_of_table(*where).double()

    @property
    def captured(self):
        """Whether full steps are replayed as a CUDA graph."""
        return self._graph is not None

    def _capture(self, input_patches, target_patches, pixels):
        """Record the step as a CUDA graph; where that cannot be done, go on without."""
        try:
            self._graph = _StepGraph(self._eager_step, input_patches, target_patches, pixels)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            first = (str(error).splitlines() or [""])[0]
            print(f"no CUDA graph of the step ({first[:120]})", file=sys.stderr, flush=True)
        self.may_capture = False

    def _sum_over_processes(self, report):
        """Add up gradients and reports of all processes, in one message."""
        parameters = list(self.network.parameters())
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([*(p.grad.reshape(-1) for p in parameters), report])
        self._all_reduce(flat)
        sizes = [parameter.numel() for parameter in parameters] + [len(report)]
        *gradients, report = flat.split(sizes)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad.copy_(gradient.view_as(parameter))
        return report

    def is_finite(self):
        """Say whether every weight is finite (waits for the device)."""
        checks = [torch.isfinite(p).all() for p in self.network.parameters()]
        return bool(torch.stack(checks).all())

    def state(self):
        """Return what a checkpoint needs to hold of this."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.engine.scaler.state_dict(),
            "average": self._average.state() if self._average else None,
        }

    def restore(self, state):
        """Take over what `state` returned, perhaps on another kind of device."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.restore(state["average"])
        if self.engine.scaler.is_enabled() and state["scaler"]:
            self.engine.scaler.load_state_dict(state["scaler"])


class _StepGraph:
    """A step on fixed buffers, as one launch."""

    def __init__(self, step, input_patches, target_patches, pixels):
        self._input, self._target = input_patches.clone(), target_patches.clone()
        self._graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        # thread_local: meanwhile the threads of PlaneCopier launch copies on a stream of their own
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._loss = step(self._input, self._target, pixels, True)

    def replay(self, input_patches, target_patches):
        """Return the loss of a step on these."""
        self._input.copy_(input_patches)
        self._target.copy_(target_patches)
        self._graph.replay()
        return self._loss.clone()  # the next one overwrites it
