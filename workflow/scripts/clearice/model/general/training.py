"""The training of the general network: steps on simulated batches, averaged weights."""

import copy
import math
import time

import torch

from clearice.errors import InputError
from clearice.files import atomic_path
from clearice.model.checkpoints import describe_differences
from clearice.model.general.scenes import Pool, training_pair
from clearice.model.networks import build_network

ARCHITECTURE = "s2d_unet"
SIZE_PX = 512
POOL_STEPS = 1000  # after which new particles are drawn
WARM_UP_STEPS = 300
DECAY_FRACTION = 0.35  # of the steps, at the end: the learning rate falls to nothing
AVERAGE_STEPS = 1000  # over which weights are averaged


class GeneralTraining:
    """The network, its running average, and how many steps it has taken.

    A step depends on the seed and its number alone, so that an interrupted training continues
    as if nothing had happened.
    """

    def __init__(self, steps, seed, device, *, batch_size=16, learning_rate=1.5e-3):
        torch.manual_seed(seed)
        self.steps, self.seed, self.device = steps, seed, torch.device(device)
        self.batch_size, self.learning_rate = batch_size, learning_rate
        self.network = build_network(ARCHITECTURE).to(device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).eval()
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=learning_rate, weight_decay=1e-3
        )
        self.step = 0
        self._pool, self._pool_number = None, None

    def run(self, until_s, report):
        """Train until the last step or `until_s` (of time.monotonic); report(step, loss)."""
        losses = []
        while self.step < self.steps and time.monotonic() < until_s:
            losses.append(self._train_step())
            if self.step % 100 == 0:
                loss, losses = torch.stack(losses).mean().item(), []
                if not math.isfinite(loss):
                    what = f"the loss before step {self.step} is {loss}"
                    raise InputError(what, advice="lower --learning-rate")
                report(self.step, loss)

    def _train_step(self):
        noisy, clean, variance = self._batch(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * self._rate()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            output = self.network(noisy)
        # Relative to each image's signal: a faint one counts as much as a strong one.
        loss = ((output.float() - clean) ** 2 / (variance + 0.02)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return loss.detach()

    def _batch(self, step):
        number = step // POOL_STEPS
        if number != self._pool_number:
            self._pool, self._pool_number = Pool(self.seed, number, self.device), number
        args = self._pool, self.batch_size, SIZE_PX, self.seed, step, self.device
        noisy, clean, variance = training_pair(*args)
        return noisy, self.network.within_reach(clean, noisy), variance

    def _rate(self):
        """Return the learning rate's factor: a warm-up, a plateau, a linear decay."""
        left = (self.steps - self.step) / (DECAY_FRACTION * self.steps)
        return min(1.0, (self.step + 1) / WARM_UP_STEPS, left)

    @torch.no_grad()
    def _update_average(self):
        kept = min(1 - 1 / AVERAGE_STEPS, self.step / (self.step + 20))
        averages = list(self.average.parameters())
        torch._foreach_lerp_(averages, list(self.network.parameters()), 1 - kept)

    def _identity(self):
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
        }

    def save(self, path):
        """Write all that a later run continues from."""
        state = {
            "identity": self._identity(),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def restore(self, path):
        """Continue from what `save` wrote; InputError if that was another training."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        if differences := describe_differences(state["identity"], self._identity()):
            raise InputError(
                f"a checkpoint of another training: {differences}", file=path, advice="remove it"
            )
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
