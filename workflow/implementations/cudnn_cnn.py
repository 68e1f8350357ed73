#!/usr/bin/env python3
"""simple_cnn by direct calls of cuDNN and cuBLAS through ctypes, without PyTorch.

    cudnn_cnn.py --bundle DIR --output DIR [--time N,H,W] [--deterministic] [--libraries DIR]

Exit status 3: no GPU, driver or library can be used here.
"""

import argparse
import ctypes
import json
import statistics
import sys
from pathlib import Path

import numpy as np
from cuda_libraries import Unavailable
from cudnn_network import LAYERS, Gpu, Plan

CANNOT_RUN = 3
TIMED_BATCH = 4
WARM_UP, ROUNDS, STEPS = 10, 7, 20  # training steps before timing, rounds, steps per round


class Bundle:
    """The bundle's tensors, as float32 arrays."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.manifest = json.loads((self.folder / "manifest.json").read_text())

    def tensor(self, name):
        """Return a tensor of the bundle by its name."""
        entry = self.manifest["tensors"][name]
        return np.fromfile(self.folder / entry["file"], "<f4").reshape(entry["shape"])

    def weights(self):
        """Return the initial weights."""
        return {f"{n}_{k}": self.tensor(f"{n}_{k}") for n in LAYERS for k in ("weight", "bias")}


class Parameters:
    """Weights and gradients, one block each, so that the SGD step is one axpy."""

    def __init__(self, gpu, weights, learning_rate):
        self.gpu = gpu
        self.shapes = {name: value.shape for name, value in weights.items()}
        self.sizes = {name: value.size for name, value in weights.items()}
        starts = np.cumsum([0, *self.sizes.values()])
        self.offsets = dict(zip(weights, (4 * int(start) for start in starts), strict=False))
        self.count = int(starts[-1])
        self.block = gpu.allocate(self.count)
        self.gradient_block = gpu.upload(np.zeros(self.count, np.float32))
        self.minus_rate = gpu.upload(np.float32([-learning_rate]))
        self.reset(weights)

    def reset(self, weights):
        """Set the weights."""
        self.gpu.upload(np.concatenate([value.ravel() for value in weights.values()]), self.block)

    def weight(self, name):
        """Return the address of a parameter."""
        return self.block + self.offsets[name]

    def gradient(self, name):
        """Return the address of a parameter's gradient."""
        return self.gradient_block + self.offsets[name]

    def step(self):
        """w <- w - rate * gradient."""
        self.gpu.cublas.cublasSaxpy_v2(
            self.gpu.blas, self.count, self.minus_rate, self.gradient_block, 1, self.block, 1
        )

    def read(self, address):
        """Return {name: array} of the block at that address."""
        values = self.gpu.download(address, self.count)
        parts = np.split(values, np.cumsum(list(self.sizes.values()))[:-1])
        named = zip(self.shapes.items(), parts, strict=True)
        return {name: part.reshape(shape) for (name, shape), part in named}


class Program:
    """Compute everything that the bundle asks for, on one GPU."""

    def __init__(self, gpu, bundle, output, deterministic):
        self.bundle, self.output, self.deterministic = bundle, output, deterministic
        self.gpu, self.weights = gpu, bundle.weights()
        rate = bundle.manifest["training"]["learning_rate"]
        self.parameters = Parameters(self.gpu, self.weights, rate)

    def plan(self, shape):
        """Return a new plan for batches of that shape."""
        return Plan(self.gpu, self.parameters, shape, self.deterministic)

    def case(self, case, prefix):
        """Write the results of one case under that prefix; return its loss."""
        x, target = self.bundle.tensor(f"{case}_input"), self.bundle.tensor(f"{case}_target")
        plan, wanted = self.plan(x.shape), self.bundle.manifest["cases"][case]["activations"]
        self.parameters.reset(self.weights)
        plan.load(x, target)

        def keep(name, tensor):
            if wanted or name == "output":
                shape = (x.shape[0], 1 if tensor == "output" else 16, *x.shape[2:])
                self.write(f"{prefix}_{name}", self.gpu.download(plan.at[tensor], shape))

        plan.forward(keep)
        plan.loss()
        loss = plan.loss_value()
        plan.backward()
        for name, values in self.parameters.read(self.parameters.gradient_block).items():
            self.write(f"{prefix}_grad_{name}", values)
        plan.close()
        return loss

    def training(self):
        """Write the weights after the SGD steps; return the losses."""
        crops = self.bundle.tensor("training_input")
        targets = self.bundle.tensor("training_target")
        plans, losses = {}, []
        self.parameters.reset(self.weights)
        for batch in self.bundle.manifest["training"]["batches"]:
            first, count = batch["first_crop"], batch["crops"]
            if count not in plans:
                plans[count] = self.plan((count, *crops.shape[1:]))
            plan = plans[count]
            plan.load(crops[first : first + count], targets[first : first + count])
            train_step(plan)
            losses.append(plan.loss_value())
        for name, values in self.parameters.read(self.parameters.block).items():
            self.write(f"training_{name}", values)
        for plan in plans.values():
            plan.close()
        return losses

    def timing(self, shape):
        """Return the median time of a training step of that shape (N, H, W), by CUDA events."""
        plan = self.plan((shape[0], 1, *shape[1:]))
        noise = np.random.default_rng(0).standard_normal((2, plan.count), np.float32)
        plan.load(noise[0], noise[1])
        self.parameters.reset(self.weights)
        cuda = self.gpu.cuda
        start, stop = (self.gpu.create("cudaEventCreate", cuda) for _ in range(2))
        for _ in range(WARM_UP):
            train_step(plan)
        rounds = []
        for _ in range(ROUNDS):
            cuda.cudaEventRecord(start, None)
            for _ in range(STEPS):
                train_step(plan)
            cuda.cudaEventRecord(stop, None)
            cuda.cudaEventSynchronize(stop)
            elapsed = ctypes.c_float()
            cuda.cudaEventElapsedTime(ctypes.byref(elapsed), start, stop)
            rounds.append(elapsed.value / STEPS)
        loss = plan.loss_value()
        algorithms = {
            f"{name} {kind}": value
            for (kind, name, for_shape), value in self.gpu.algorithms.items()
            if for_shape == plan.shape
        }
        plan.close()
        median = statistics.median(rounds)
        return {
            "shape": [shape[0], 1, *shape[1:]],
            "training_step_ms": round(median, 4),
            "training_batches_per_s": round(1000 / median, 3),
            "rounds_ms": [round(value, 4) for value in rounds],
            "last_loss": loss,
            "algorithms": algorithms,
        }

    def write(self, name, values):
        """Write one tensor, little-endian."""
        values.astype("<f4").tofile(self.output / f"{name}.bin")


def train_step(plan):
    """Do one SGD step on the loaded batch; does not wait for the GPU."""
    plan.forward()
    plan.loss()
    plan.backward()
    plan.parameters.step()


def run(arguments):
    """Compute everything that the bundle asks for and write it into the output folder."""
    bundle, output = Bundle(arguments.bundle), Path(arguments.output)
    program = Program(Gpu(arguments.libraries), bundle, output, arguments.deterministic)
    output.mkdir(parents=True, exist_ok=True)
    losses = {case: program.case(case, case) for case in bundle.manifest["cases"]}
    curve = program.training()
    repeat = bundle.manifest["repeat"]
    losses[repeat["prefix"]] = program.case(repeat["case"], repeat["prefix"])
    write_table(output / "loss.tsv", "case\tloss", losses.items())
    write_table(output / "training_loss.tsv", "step\tloss", enumerate(curve, start=1))
    sides = bundle.manifest["cases"]["test"]["shape"][2:]
    timing = program.timing(arguments.time or (TIMED_BATCH, *sides))
    result = {
        "bundle_id": bundle.manifest["bundle_id"],
        "implementation": "cudnn",
        "precision": "float32",
        **program.gpu.facts,
        "deterministic": arguments.deterministic,
        "training_batches_per_s": timing["training_batches_per_s"],
        "timing": timing,
    }
    (output / "result.json").write_text(json.dumps(result, indent=1) + "\n")


def write_table(path, header, rows):
    """Write two columns: a name or number, and a loss with 17 digits."""
    path.write_text("\n".join([header, *(f"{a}\t{b:.16e}" for a, b in rows), ""]))


def batch_shape(text):
    """Read N,H,W."""
    n, height, width = (int(word) for word in text.split(","))
    return n, height, width


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", required=True, help="folder of the reference bundle")
    parser.add_argument("--output", required=True, help="folder to write the results into")
    parser.add_argument(
        "--time",
        type=batch_shape,
        metavar="N,H,W",
        help="batch to time (default: 4 of the test case)",
    )
    parser.add_argument(
        "--deterministic", action="store_true", help="only algorithms that repeat bit for bit"
    )
    parser.add_argument("--libraries", metavar="DIR", help="look here first for the libraries")
    try:
        run(parser.parse_args())
    except Unavailable as why:
        print(f"cudnn_cnn: {why}", file=sys.stderr)
        sys.exit(CANNOT_RUN)
