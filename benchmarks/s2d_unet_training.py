"""How fast s2d_unet trains in each precision, beside plain PyTorch, on a batch in memory.

    python benchmarks/s2d_unet_training.py [--device auto] [--size 1024] [--precisions NAME ...]

Blocks of steps of all configurations take turns (A B C A B C ...) in one process, so that what else
the machine does falls on all of them; the figures are medians. Seconds of a CPU are those of the
process (user and system), which other processes hardly change. Plain: eager float32 in PyTorch's
own layout with torch.optim.Adam. Writes benchmarks/results/s2d_unet_training_{cpu,cuda}.json.
"""

import argparse
import copy
import statistics
import time
from pathlib import Path

import torch
from measuring import Stopwatch, environment

from clearice.files import write_json
from clearice.model.device import choose_device, set_precision
from clearice.model.memory import keep_freed_memory
from clearice.model.networks import build_network
from clearice.model.optimization import Optimization

RESULTS = Path(__file__).resolve().parent / "results"
RATE = 1e-3


def main():
    """Measure, print and write the JSON."""
    options = parse()
    device = choose_device(options.device)
    size = options.size or (1024 if device.type == "cuda" else 256)
    keep_freed_memory()
    torch.manual_seed(0)
    network = build_network("s2d_unet")
    batch = torch.randn(2, options.batch, 1, size, size, device=device)
    steps = {"plain": ("float32", plain_step(copy.deepcopy(network).to(device)))}
    for precision in options.precisions:
        steps[precision] = precision, our_step(copy.deepcopy(network), device, precision)
    rates = {name: [] for name in steps}
    cpu_s = {name: [] for name in steps}
    for block in range(options.blocks + 1):
        for name, (precision, step) in steps.items():
            set_precision(precision)
            watch, started_s = Stopwatch(device), time.process_time()
            watch.mark()
            for _ in range(options.steps):
                step(*batch)
            watch.mark()
            (rate,) = watch.rates(options.steps)
            if block:  # the first warms up, and captures
                rates[name].append(rate)
                cpu_s[name].append((time.process_time() - started_s) / options.steps)
    rows = []
    for name in steps:
        ratios = [a / b for a, b in zip(rates[name], rates["plain"], strict=True)]
        rows.append(
            {
                "configuration": name,
                "steps_per_s": round(statistics.median(rates[name]), 3),
                "times_plain": round(statistics.median(ratios), 2),
                "cpu_s_a_step": round(statistics.median(cpu_s[name]), 4),
            }
        )
        print(rows[-1])
    facts = {"batch": options.batch, "size_px": size, "threads": torch.get_num_threads()}
    output = options.output or RESULTS / f"s2d_unet_training_{device.type}.json"
    write_json(output, {"environment": environment(), **facts, "rows": rows})


def parse():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, help="default: 1024 on a GPU, 256 on a CPU")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


def plain_step(network):
    """Return a step as a user of PyTorch would write it."""
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)

    def step(image, target):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(network(image), target).backward()
        optimizer.step()

    return step


def our_step(network, device, precision):
    """Return a step of a training of ours."""
    ours = Optimization(network, device, optimizer="adam", learning_rate=RATE, precision=precision)
    return lambda image, target: ours.step(image, target, target.numel())


if __name__ == "__main__":
    main()
