"""Train the general network on simulated micrographs; interrupted, it continues where it was.

By hand, on one GPU: train_general.py OUTPUT.safetensors --steps 40000
"""

import argparse
import math
import time
from pathlib import Path

import torch

import clearice
from clearice.bridge import run_command
from clearice.locks import only_process
from clearice.model.device import choose_device, set_precision
from clearice.model.general.training import ARCHITECTURE, GeneralTraining
from clearice.model.weights import save_model


def train_general(output, steps, seed, device, minutes=math.inf, **settings):
    """Write the model after `steps`; after `minutes` only a checkpoint beside it, and so far.

    The checkpoint is continued from if it is there.
    """
    device = choose_device(device)
    set_precision("tf32", deterministic=False)
    torch.backends.cudnn.benchmark = True
    training = GeneralTraining(steps, seed, device, **settings)
    checkpoint = Path(output).with_suffix(".checkpoint.pt")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with only_process(checkpoint.with_name(f".{checkpoint.name}.lock"), "training into it"):
        if checkpoint.exists():
            training.restore(checkpoint)
        started = time.monotonic()

        def report(step, loss):
            seconds = time.monotonic() - started
            print(f"step {step} of {steps}, {seconds:.0f} s: {loss:.5f}", flush=True)

        training.run(started + 60 * minutes, report)
        training.save(checkpoint)
    metadata = {
        "architecture": ARCHITECTURE,
        "clearice_version": clearice.__version__,
        "normalisation": "(raw - location) / scale, robust, per micrograph",
        "seed": str(seed),
        "steps": f"{training.step} of {steps}",
        "training": "simulated micrographs (train_general.py)",
    }
    save_model(output, training.average, metadata, dtype=torch.float16)


def main(arguments=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", help="model file (safetensors, float16)")
    parser.add_argument("--steps", type=int, default=40_000, help="batches of 16 x 512 x 512 px")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda | cuda:N")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop early, to continue")
    train_general(**vars(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    run_command(main)
