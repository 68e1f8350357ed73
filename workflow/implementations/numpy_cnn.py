#!/usr/bin/env python3
"""simple_cnn in NumPy alone, sharing no code with the program that wrote the bundle.

    numpy_cnn.py --bundle DIR --output DIR [--dtype float32|float64]

Convolutions are matrix products of the kernels with the columns of the image (im2col), one band
of rows at a time. With --dtype float64 the results are stored as float64, for the class float64.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

LAYERS = ("conv1", "conv2", "conv3")
BAND_PIXELS = 1 << 16  # 144 columns of float32 per pixel: 38 MB per band


def columns(x):
    """Yield (first row, rows, columns) of one image x (C, H, W), zero-padded by one pixel.

    Columns are (C*9, rows*W), in the order of a kernel (C, 3, 3).
    """
    channels, height, width = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    rows = max(1, BAND_PIXELS // width)
    for first in range(0, height, rows):
        count = min(rows, height - first)
        windows = sliding_window_view(padded[:, first : first + count + 2], (3, 3), axis=(1, 2))
        order = windows.transpose(0, 3, 4, 1, 2)  # (C, 3, 3, rows, W)
        yield first, count, order.reshape(channels * 9, count * width)


class Network:
    """The network's arithmetic. Weights are a dict: conv1_weight (16, 1, 3, 3) and so on."""

    def __init__(self, dtype=np.float32):
        self.dtype = np.dtype(dtype)

    def convolve(self, name, x, weight, bias):
        """Return the cross-correlation of x (N, C, H, W) with weight (O, C, 3, 3), plus bias."""
        n, _, height, width = x.shape
        matrix = weight.reshape(len(weight), -1)  # (O, C*9)
        out = np.empty((n, len(weight), height, width), self.dtype)
        for image, result in zip(x, out, strict=True):
            for first, count, block in columns(image):
                result[:, first : first + count] = (matrix @ block).reshape(-1, count, width)
        return out + bias[:, None, None]

    def rectify(self, name, z):
        """Return max(z, 0)."""
        return np.maximum(z, 0)

    def forward(self, x, weights):
        """Return every activation of x (N, 1, H, W): conv1, relu1, conv2, relu2, output."""
        layers, source = {}, x
        for index, name in enumerate(LAYERS, start=1):
            z = self.convolve(name, source, weights[f"{name}_weight"], weights[f"{name}_bias"])
            if name == "conv3":
                layers["output"] = z
            else:
                layers[name] = z
                source = layers[f"relu{index}"] = self.rectify(name, z)
        return layers

    def loss(self, output, target):
        """Return the mean squared error over all elements, and its derivative by the output."""
        difference = output - target
        # A float32 sum of two million squares would lose the sixth digit.
        value = float(np.square(difference).sum(dtype=np.float64) / difference.size)
        return value, (difference * self.dtype.type(2 / difference.size)).astype(self.dtype)

    def weight_gradient(self, name, x, delta):
        """Return d loss / d weight (O, C, 3, 3) from the layer's input and delta (N, O, H, W)."""
        total = np.zeros((delta.shape[1], x.shape[1] * 9), self.dtype)
        for image, part in zip(x, delta, strict=True):
            for first, count, block in columns(image):
                band = part[:, first : first + count].reshape(len(part), -1)
                total += band @ block.T
        return total.reshape(delta.shape[1], x.shape[1], 3, 3)

    def bias_gradient(self, name, delta):
        """Return d loss / d bias (O,)."""
        return delta.sum(axis=(2, 3)).sum(axis=0)

    def input_gradient(self, name, weight, delta):
        """Return d loss / d input (N, C, H, W): delta correlated with the flipped kernels."""
        flipped = np.ascontiguousarray(weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])
        return self.convolve(f"{name} gradient", delta, flipped, np.zeros(len(flipped), self.dtype))

    def backward(self, x, layers, delta, weights):
        """Return {grad_conv1_weight: ..., ...}; delta is d loss / d output."""
        gradients = {}
        for index, name in reversed(list(enumerate(LAYERS, start=1))):
            source = x if index == 1 else layers[f"relu{index - 1}"]
            gradients[f"grad_{name}_weight"] = self.weight_gradient(name, source, delta)
            gradients[f"grad_{name}_bias"] = self.bias_gradient(name, delta)
            if index > 1:
                delta = self.input_gradient(name, weights[f"{name}_weight"], delta)
                delta = delta * (layers[f"conv{index - 1}"] > 0)
        return gradients

    def evaluate(self, x, target, weights):
        """Return (activations and gradients, loss) of one batch."""
        layers = self.forward(x, weights)
        loss, delta = self.loss(layers["output"], target)
        return {**layers, **self.backward(x, layers, delta, weights)}, loss

    def update(self, weights, results, rate):
        """Return the weights after one SGD step."""
        rate = self.dtype.type(rate)
        return {name: value - rate * results[f"grad_{name}"] for name, value in weights.items()}


class Bundle:
    """The bundle's inputs, as arrays of `dtype`."""

    def __init__(self, folder, dtype):
        self.folder, self.dtype = Path(folder), np.dtype(dtype)
        self.manifest = json.loads((self.folder / "manifest.json").read_text())

    def tensor(self, name):
        """Return a tensor of the bundle by its name."""
        entry = self.manifest["tensors"][name]
        values = np.fromfile(self.folder / entry["file"], dtype="<f4").reshape(entry["shape"])
        return values.astype(self.dtype)

    def weights(self):
        """Return the initial weights."""
        return {f"{n}_{k}": self.tensor(f"{n}_{k}") for n in LAYERS for k in ("weight", "bias")}


def run(folder, output, dtype, network=None):
    """Compute everything that the bundle asks for and write it into `output`."""
    bundle, output = Bundle(folder, dtype), Path(output)
    network = network or Network(dtype)
    output.mkdir(parents=True, exist_ok=True)
    losses = {}
    for case in bundle.manifest["cases"]:
        losses[case] = run_case(bundle, network, case, output, case)
    curve, batches_per_s = run_training(bundle, network, output)
    repeat = bundle.manifest["repeat"]
    losses[repeat["prefix"]] = run_case(bundle, network, repeat["case"], output, repeat["prefix"])
    write_table(output / "loss.tsv", "case\tloss", losses.items())
    write_table(output / "training_loss.tsv", "step\tloss", enumerate(curve, start=1))
    result = {
        "bundle_id": bundle.manifest["bundle_id"],
        "implementation": "numpy",
        "precision": bundle.dtype.name,
        "device": f"cpu, NumPy {np.__version__}",
        "training_batches_per_s": round(batches_per_s, 3),
    }
    (output / "result.json").write_text(json.dumps(result, indent=1) + "\n")


def run_case(bundle, network, case, output, prefix):
    """Write the results of one case under that prefix; return its loss."""
    x, target = bundle.tensor(f"{case}_input"), bundle.tensor(f"{case}_target")
    results, loss = network.evaluate(x, target, bundle.weights())
    for name, values in results.items():
        if bundle.manifest["cases"][case]["activations"] or name.startswith(("output", "grad")):
            values.astype(bundle.dtype.newbyteorder("<")).tofile(output / f"{prefix}_{name}.bin")
    return loss


def run_training(bundle, network, output):
    """Write the weights after the SGD steps; return the losses and the batches per second."""
    training, weights = bundle.manifest["training"], bundle.weights()
    crops, targets = bundle.tensor("training_input"), bundle.tensor("training_target")
    losses, start = [], time.perf_counter()
    for batch in training["batches"]:
        part = slice(batch["first_crop"], batch["first_crop"] + batch["crops"])
        results, loss = network.evaluate(crops[part], targets[part], weights)
        weights = network.update(weights, results, training["learning_rate"])
        losses.append(loss)
    seconds = time.perf_counter() - start
    for name, values in weights.items():
        values.astype(bundle.dtype.newbyteorder("<")).tofile(output / f"training_{name}.bin")
    return losses, len(losses) / seconds


def write_table(path, header, rows):
    """Write two columns: a name or number, and a loss with 17 digits."""
    path.write_text("\n".join([header, *(f"{a}\t{b:.16e}" for a, b in rows), ""]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", required=True, help="folder of the reference bundle")
    parser.add_argument("--output", required=True, help="folder to write the results into")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    arguments = parser.parse_args()
    run(arguments.bundle, arguments.output, arguments.dtype)
