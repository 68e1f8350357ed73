#!/usr/bin/env python3
"""simple_cnn in PyTorch, by autograd, on a CPU or an NVIDIA GPU, in any precision class.

    torch_cnn.py --bundle DIR --output DIR [--device auto|cpu|cuda] [--precision CLASS]
                 [--native] [--benchmark] [--time N,H,W]

On the CPU it differs from the bundle's reference in threads and, with --native, in the kernels
(PyTorch's own instead of oneDNN's). Exit status 3: the device or precision is not available.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

CANNOT_RUN = 3
WARM_UP, ROUNDS, STEPS = 10, 7, 20  # training steps before timing, rounds, steps per round
LAYERS = ("conv1", "conv2", "conv3")
LOSS_SCALE = {"float16": 4096.0}  # float16 cannot hold gradients below 6e-8


def cannot_run(why):
    """Print why and exit with the status for "cannot run here"."""
    print(why, file=sys.stderr)
    sys.exit(CANNOT_RUN)


try:
    import torch
    import torch.nn.functional as F
except ImportError:
    cannot_run("torch_cnn: PyTorch is not installed")


def set_arithmetic(precision, deterministic):
    """Turn both TF32 switches on for the class tf32 and off for every other class."""
    tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.deterministic = deterministic


class Network:
    """The network on a device in a precision; weights and results are float32."""

    def __init__(self, device, precision):
        self.device, self.precision = torch.device(device), precision

    def evaluate(self, x, target, weights):
        """Return (activations and gradients by name, loss) of one batch (N, 1, H, W)."""
        leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}
        layers, source = {}, x
        with self._autocast():
            for index, name in enumerate(LAYERS, start=1):
                weight, bias = leaves[f"{name}_weight"], leaves[f"{name}_bias"]
                z = F.conv2d(source, weight, bias, padding=1)
                layers[name if index < 3 else "output"] = z
                if index < 3:
                    source = layers[f"relu{index}"] = torch.relu(z)
        scale = LOSS_SCALE.get(self.precision, 1.0)
        loss = F.mse_loss(layers["output"].float(), target)
        gradients = torch.autograd.grad(loss * scale, list(leaves.values()))
        named = zip(leaves, gradients, strict=True)
        results = {f"grad_{name}": (value / scale).detach() for name, value in named}
        return {**{name: z.detach().float() for name, z in layers.items()}, **results}, loss

    def _autocast(self):
        dtype = getattr(torch, self.precision) if self.precision != "tf32" else torch.float32
        return torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)


class Bundle:
    """The bundle's tensors, on the device."""

    def __init__(self, folder, device):
        self.folder, self.device = Path(folder), device
        self.manifest = json.loads((self.folder / "manifest.json").read_text())

    def tensor(self, name):
        """Return a tensor of the bundle by its name."""
        entry = self.manifest["tensors"][name]
        values = np.fromfile(self.folder / entry["file"], "<f4").reshape(entry["shape"])
        return torch.from_numpy(values).to(self.device)

    def weights(self):
        """Return the initial weights."""
        return {f"{n}_{k}": self.tensor(f"{n}_{k}") for n in LAYERS for k in ("weight", "bias")}


def run_case(bundle, network, case, output, prefix):
    """Write the results of one case under that prefix; return its loss."""
    x, target = bundle.tensor(f"{case}_input"), bundle.tensor(f"{case}_target")
    results, loss = network.evaluate(x, target, bundle.weights())
    for name, values in results.items():
        if bundle.manifest["cases"][case]["activations"] or name.startswith(("output", "grad")):
            values.cpu().numpy().astype("<f4").tofile(output / f"{prefix}_{name}.bin")
    return loss.item()


def run_training(bundle, network, output):
    """Write the weights after the SGD steps; return the losses and the batches per second."""
    training, weights = bundle.manifest["training"], bundle.weights()
    rate = training["learning_rate"]
    crops, targets = bundle.tensor("training_input"), bundle.tensor("training_target")
    losses, start = [], time.perf_counter()
    for batch in training["batches"]:
        part = slice(batch["first_crop"], batch["first_crop"] + batch["crops"])
        losses.append(train_step(network, crops[part], targets[part], weights, rate))
    losses = [loss.item() for loss in losses]  # waits for the device
    seconds = time.perf_counter() - start
    for name, values in weights.items():
        values.cpu().numpy().astype("<f4").tofile(output / f"training_{name}.bin")
    return losses, len(losses) / seconds


def train_step(network, x, target, weights, rate):
    """Update the weights by one SGD step; return the loss before it, still on the device."""
    results, loss = network.evaluate(x, target, weights)
    for name, value in weights.items():
        value -= rate * results[f"grad_{name}"]
    return loss.detach()


def timing(bundle, network, shape):
    """Return the median time of a training step of that shape (N, H, W), by CUDA events."""
    n, height, width = shape
    noise = np.random.default_rng(0).standard_normal((2, n, 1, height, width), np.float32)
    x, target = (torch.from_numpy(half).to(network.device) for half in noise)
    weights, rate = bundle.weights(), bundle.manifest["training"]["learning_rate"]
    return timed(lambda: train_step(network, x, target, weights, rate), x.shape)


def timed(step, shape):
    """Return the median time of `step`, a training step on that shape, by CUDA events."""
    for _ in range(WARM_UP):
        step()
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    rounds = []
    for _ in range(ROUNDS):
        start.record()
        for _ in range(STEPS):
            step()
        stop.record()
        stop.synchronize()
        rounds.append(start.elapsed_time(stop) / STEPS)
    median = statistics.median(rounds)
    return {
        "shape": list(shape),
        "training_step_ms": round(median, 4),
        "training_batches_per_s": round(1000 / median, 3),
        "rounds_ms": [round(value, 4) for value in rounds],
    }


def run(arguments):
    """Compute everything that the bundle asks for and write it into the output folder."""
    device, output = choose_device(arguments), Path(arguments.output)
    set_arithmetic(arguments.precision, not arguments.benchmark)
    bundle, network = Bundle(arguments.bundle, device), Network(device, arguments.precision)
    output.mkdir(parents=True, exist_ok=True)
    losses = {}
    if arguments.native:
        torch.backends.mkldnn.enabled = False
    for case in bundle.manifest["cases"]:
        losses[case] = run_case(bundle, network, case, output, case)
    curve, batches_per_s = run_training(bundle, network, output)
    repeat = bundle.manifest["repeat"]
    prefix = repeat["prefix"]
    losses[prefix] = run_case(bundle, network, repeat["case"], output, prefix)
    write_table(output / "loss.tsv", "case\tloss", losses.items())
    write_table(output / "training_loss.tsv", "step\tloss", enumerate(curve, start=1))
    gpu = device == "cuda"
    result = {
        "bundle_id": bundle.manifest["bundle_id"],
        "implementation": "torch",
        "precision": arguments.precision,
        "device": torch.cuda.get_device_name() if gpu else torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version() if gpu else None,
        "cudnn_allow_tf32": torch.backends.cudnn.allow_tf32,
        "onednn": not arguments.native and not gpu,
        "training_batches_per_s": round(batches_per_s, 3),
    }
    if arguments.time and gpu:
        result["timing"] = timing(bundle, network, arguments.time)
    (output / "result.json").write_text(json.dumps(result, indent=1) + "\n")


def choose_device(arguments):
    """Return cpu or cuda, or exit with status 3 if the request cannot be met."""
    gpu = torch.cuda.is_available()
    if arguments.device == "cuda" and not gpu:
        cannot_run("torch_cnn: no NVIDIA GPU that this PyTorch can use")
    device = "cuda" if gpu and arguments.device != "cpu" else "cpu"
    if arguments.precision == "tf32" and device == "cpu":
        cannot_run("torch_cnn: a CPU has no TF32")
    return device


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
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument(
        "--precision", choices=["float32", "tf32", "bfloat16", "float16"], default="float32"
    )
    parser.add_argument("--native", action="store_true", help="CPU: PyTorch's own kernels")
    parser.add_argument("--benchmark", action="store_true", help="GPU: let cuDNN choose by timing")
    parser.add_argument("--time", type=batch_shape, metavar="N,H,W", help="GPU: batch to time")
    run(parser.parse_args())
