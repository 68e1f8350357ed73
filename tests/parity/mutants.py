"""Wrong implementations: the NumPy one with one mistake each, and honest ones that are not wrong.

MUTANTS and HONEST map a name to a function (bundle folder, output folder) that writes results.
"""

import json
import shutil
from pathlib import Path

import numpy as np
from parity_bundle import load_implementation

numpy_cnn = load_implementation("numpy_cnn")
MUTANTS, HONEST = {}, {}


def network(name, registry=MUTANTS):
    """Register a subclass of the NumPy network under `name`."""

    def register(cls):
        registry[name] = lambda bundle, output: numpy_cnn.run(bundle, output, np.float32, cls())
        return cls

    return register


def tampered(name):
    """Register a function that spoils a folder of honest results."""

    def register(spoil):
        def write(bundle, output):
            honest = Path(bundle).parent / "honest"
            if not honest.is_dir():
                numpy_cnn.run(bundle, honest, np.float32)
            shutil.copytree(honest, output)
            spoil(output)

        MUTANTS[name] = write
        return spoil

    return register


def flip(weight):
    """Turn kernels by 180 degrees."""
    return np.ascontiguousarray(weight[:, :, ::-1, ::-1])


def wrong_kernels(name, layers, change):
    """Register a mutant whose forward convolutions of `layers` use changed weights."""

    class WrongKernels(numpy_cnn.Network):
        def convolve(self, layer, x, weight, bias):
            weight = np.ascontiguousarray(change(weight)) if layer in layers else weight
            return super().convolve(layer, x, weight, bias)

    network(name)(WrongKernels)


def wrong_bias(name, layer, factor):
    """Register a mutant whose layer adds `factor` times its bias."""

    class WrongBias(numpy_cnn.Network):
        def convolve(self, which, x, weight, bias):
            bias = bias * np.float32(factor) if which == layer else bias
            return super().convolve(which, x, weight, bias)

    network(name)(WrongBias)


def wrong_loss(name, value=1.0, gradient=1.0):
    """Register a mutant whose loss and derivative have wrong factors: functions of (N,1,H,W)."""

    class WrongLoss(numpy_cnn.Network):
        def loss(self, output, target):
            right, delta = super().loss(output, target)
            factors = [f(output.shape) if callable(f) else f for f in (value, gradient)]
            return right * factors[0], delta * np.float32(factors[1])

    network(name)(WrongLoss)


for LAYER in ("conv1", "conv2", "conv3"):
    wrong_kernels(f"{LAYER}: kernel flipped", [LAYER], flip)
    wrong_kernels(f"{LAYER}: kernel transposed", [LAYER], lambda w: w.transpose(0, 1, 3, 2))
    wrong_bias(f"{LAYER}: bias missing", LAYER, 0)
wrong_kernels("all kernels flipped", numpy_cnn.LAYERS, flip)
wrong_kernels("conv2: in and out exchanged", ["conv2"], lambda w: w.transpose(1, 0, 2, 3))
wrong_kernels(
    "kernels in the other memory order",
    numpy_cnn.LAYERS,
    lambda w: w.ravel().reshape(w.shape, order="F"),
)
wrong_bias("conv2: bias twice", "conv2", 2)
wrong_loss("loss / N", lambda s: s[2] * s[3], lambda s: s[2] * s[3])
wrong_loss("loss: mean over the wrong axes (N, H)", lambda s: s[3], lambda s: s[3])
wrong_loss("loss with a factor 1/2", 0.5, 0.5)
wrong_loss("gradient without the factor 2", 1, 0.5)
wrong_loss("gradient of the wrong sign", 1, -1)
wrong_loss("gradient not divided by N", 1, lambda s: s[0])


@network("loss is the mean absolute error")
class AbsoluteLoss(numpy_cnn.Network):
    def loss(self, output, target):
        return float(np.abs(output - target).mean()), super().loss(output, target)[1]


@network("input and target exchanged")
class Exchanged(numpy_cnn.Network):
    def evaluate(self, x, target, weights):
        return super().evaluate(target, x, weights)


@network("height and width exchanged")
class Transposed(numpy_cnn.Network):
    def convolve(self, name, x, weight, bias):
        n, c, height, width = x.shape
        out = super().convolve(name, x.reshape(n, c, width, height), weight, bias)
        return out.reshape(n, -1, height, width)


@network("hidden channels permuted")
class Permuted(numpy_cnn.Network):
    def evaluate(self, x, target, weights):
        swapped = dict(weights)
        for name in ("conv1_weight", "conv1_bias"):
            swapped[name] = weights[name][::-1].copy()
        swapped["conv2_weight"] = weights["conv2_weight"][:, ::-1].copy()
        return super().evaluate(x, target, swapped)


@network("padding shifted by one pixel")
class Shifted(numpy_cnn.Network):
    def convolve(self, name, x, weight, bias):
        if name == "conv1":
            x = np.pad(x, ((0, 0), (0, 0), (1, 0), (1, 0)))[:, :, :-1, :-1]
        return super().convolve(name, x, weight, bias)


@network("border repeated instead of zeros")
class Repeated(numpy_cnn.Network):
    def convolve(self, name, x, weight, bias):
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
        return super().convolve(name, padded, weight, bias)[:, :, 1:-1, 1:-1].copy()


@network("last row of odd heights lost")
class LostRow(numpy_cnn.Network):
    def convolve(self, name, x, weight, bias):
        out = super().convolve(name, x, weight, bias)
        out[:, :, x.shape[2] // 2 * 2 :] = 0
        return out


@network("ReLU missing after conv2")
class NoReLU(numpy_cnn.Network):
    def rectify(self, name, z):
        return z.copy() if name == "conv2" else super().rectify(name, z)


@network("leaky ReLU")
class Leaky(numpy_cnn.Network):
    def rectify(self, name, z):
        return np.where(z > 0, z, z * np.float32(0.01))


@network("derivative of ReLU missing")
class NoMask(numpy_cnn.Network):
    def backward(self, x, layers, delta, weights):
        linear = layers | {"conv1": np.ones_like(layers["conv1"])}
        return super().backward(x, linear, delta, weights)


@network("derivative of the other ReLU")
class OtherMask(numpy_cnn.Network):
    def backward(self, x, layers, delta, weights):
        return super().backward(x, layers | {"conv1": layers["conv2"]}, delta, weights)


@network("input gradient with kernels not flipped")
class NotFlipped(numpy_cnn.Network):
    def input_gradient(self, name, weight, delta):
        return super().input_gradient(name, flip(weight), delta)


@network("conv2: gradient of output instead of input")
class WrongSource(numpy_cnn.Network):
    def backward(self, x, layers, delta, weights):
        right = super().backward(x, layers, delta, weights)
        wrong = super().backward(x, layers | {"relu1": layers["relu2"]}, delta, weights)
        return right | {"grad_conv2_weight": wrong["grad_conv2_weight"]}


@network("conv2: gradient of input instead of weights")
class InputGradient(numpy_cnn.Network):
    def weight_gradient(self, name, x, delta):
        if name != "conv2":
            return super().weight_gradient(name, x, delta)
        return super().weight_gradient(name, delta, x)


@network("conv1: weight gradient of the first sample only")
class FirstSample(numpy_cnn.Network):
    def weight_gradient(self, name, x, delta):
        part = slice(0, 1) if name == "conv1" else slice(None)
        return super().weight_gradient(name, x[part], delta[part])


@network("conv3: weight gradient 25 % too large")
class QuarterMore(numpy_cnn.Network):
    def weight_gradient(self, name, x, delta):
        right = super().weight_gradient(name, x, delta)
        return right * np.float32(1.25) if name == "conv3" else right


@network("bias gradients averaged over pixels")
class MeanBias(numpy_cnn.Network):
    def bias_gradient(self, name, delta):
        return delta.mean(axis=(2, 3)).sum(axis=0)


@network("outputs accumulate from the second call on (beta)")
class StaleOutput(numpy_cnn.Network):
    """A saved beta: 0 in the first call, 1 in those after it, on buffers that are kept."""

    def __init__(self):
        super().__init__()
        self.kept = {}

    def convolve(self, name, x, weight, bias):
        out = super().convolve(name, x, weight, bias)
        out = out + self.kept.get((name, out.shape), 0)
        self.kept[name, out.shape] = out
        return out


@network("gradients are never set to zero")
class StaleGradients(numpy_cnn.Network):
    def __init__(self):
        super().__init__()
        self.kept = {}

    def backward(self, x, layers, delta, weights):
        right = super().backward(x, layers, delta, weights)
        self.kept = {name: value + self.kept.get(name, 0) for name, value in right.items()}
        return self.kept


class StepMistake(numpy_cnn.Network):
    """A base for mistakes in training only: the cases are evaluated with N = 2, 2, 3, 2."""

    step = 0

    def update(self, weights, results, rate):
        self.step += 1
        return super().update(weights, results, rate)


@network("SGD with momentum")
class Momentum(StepMistake):
    def update(self, weights, results, rate):
        old = getattr(self, "velocity", dict.fromkeys(results, 0))
        names = [name for name in results if name.startswith("grad_")]
        self.velocity = {n: np.float32(0.9) * old[n] + results[n] for n in names}
        return super().update(weights, self.velocity, rate)


@network("learning rate 1.01 times")
class FastRate(StepMistake):
    def update(self, weights, results, rate):
        return super().update(weights, results, 1.01 * rate)


@network("weight decay 1e-3")
class Decay(StepMistake):
    def update(self, weights, results, rate):
        updated = super().update(weights, results, rate)
        return {name: updated[name] - np.float32(rate * 1e-3) * weights[name] for name in weights}


@network("gradient ascent in training")
class Ascent(StepMistake):
    def update(self, weights, results, rate):
        return super().update(weights, results, -rate)


@network("bias never updated")
class FrozenBias(StepMistake):
    def update(self, weights, results, rate):
        updated = super().update(weights, results, rate)
        return {n: weights[n] if n.endswith("bias") else updated[n] for n in weights}


@network("last partial batch averaged over the full size")
class PartialBatch(numpy_cnn.Network):
    def loss(self, output, target):
        value, delta = super().loss(output, target)
        if len(output) != 1:
            return value, delta
        return value / 2, delta / np.float32(2)


@network("repeated case run with the trained weights")
class TrainedWeights(StepMistake):
    def update(self, weights, results, rate):
        self.trained = super().update(weights, results, rate)
        return self.trained

    def evaluate(self, x, target, weights):
        repeated = len(x) == 3 and self.step > 0
        return super().evaluate(x, target, self.trained if repeated else weights)


def rounded(name, bits, results):
    """Register a mutant whose products have operands (and results) of `bits` bits of mantissa."""
    drop = 23 - bits

    def shorten(x):
        pattern = np.ascontiguousarray(x, np.float32).view(np.uint32)
        half = np.uint32((1 << (drop - 1)) - 1) + ((pattern >> np.uint32(drop)) & np.uint32(1))
        return ((pattern + half) & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)).view(np.float32)

    class Rounded(numpy_cnn.Network):
        def convolve(self, which, x, weight, bias):
            out = super().convolve(which, shorten(x), shorten(weight), bias)
            return shorten(out) if results else out

        def weight_gradient(self, which, x, delta):
            return super().weight_gradient(which, shorten(x), shorten(delta))

    network(name)(Rounded)


rounded("TF32", 10, results=False)
rounded("bfloat16", 7, results=True)
rounded("float16", 10, results=True)


def edit(output, name, change):
    """Change one array in place."""
    path = output / name
    values = np.fromfile(path, "<f4")
    change(values)
    values.tofile(path)


@tampered("NaN in one element")
def nan_element(output):
    edit(output, "structured_relu1.bin", lambda values: values.__setitem__(77, np.nan))


@tampered("infinity in one gradient")
def infinite_element(output):
    edit(output, "noise_grad_conv2_bias.bin", lambda values: values.__setitem__(3, np.inf))


@tampered("NaN in the loss curve")
def nan_loss(output):
    path = output / "training_loss.tsv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], "4\tnan", *lines[5:], ""]))


@tampered("one element off by 3e-5")
def one_element(output):
    edit(output, "test_output.bin", lambda values: values.__setitem__(1234, values[1234] + 3e-5))


@tampered("one file truncated")
def truncated(output):
    path = output / "noise_conv2.bin"
    path.write_bytes(path.read_bytes()[:-4])


@tampered("one file missing")
def missing(output):
    (output / "training_conv2_weight.bin").unlink()


@tampered("one file of the wrong shape")
def wrong_shape(output):
    np.fromfile(output / "structured_output.bin", "<f4")[: 3 * 26 * 36].tofile(
        output / "structured_output.bin"
    )


@tampered("big-endian")
def big_endian(output):
    for path in output.glob("*.bin"):
        np.fromfile(path, "<f4").astype(">f4").tofile(path)


@tampered("Fortran record markers")
def record_markers(output):
    for path in output.glob("*_output.bin"):
        data = path.read_bytes()
        marker = len(data).to_bytes(4, "little")
        path.write_bytes(marker + data + marker)


@tampered("float64 files")
def doubles(output):
    for path in output.glob("*.bin"):
        np.fromfile(path, "<f4").astype("<f8").tofile(path)


@tampered("one loss missing")
def missing_loss(output):
    path = output / "loss.tsv"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("impulse")]
    path.write_text("\n".join([*lines, ""]))


@tampered("stale results of another bundle")
def stale(output):
    record = json.loads((output / "result.json").read_text())
    (output / "result.json").write_text(json.dumps(record | {"bundle_id": "0123456789abcdef"}))


@tampered("no result.json")
def no_record(output):
    (output / "result.json").unlink()


@network("im2col in float32", HONEST)
class Plain(numpy_cnn.Network):
    pass


@network("channels summed in reverse", HONEST)
class Reversed(numpy_cnn.Network):
    def convolve(self, name, x, weight, bias):
        return super().convolve(name, x[:, ::-1].copy(), weight[:, ::-1].copy(), bias)


@network("one pixel after the other", HONEST)
class Sequential(numpy_cnn.Network):
    """Sums in a loop with one float32 accumulator: the least accurate honest code."""

    def bias_gradient(self, name, delta):
        terms = delta.transpose(1, 0, 2, 3).reshape(delta.shape[1], -1)
        return np.cumsum(terms, axis=1, dtype=np.float32)[:, -1]

    def weight_gradient(self, name, x, delta):
        height, width = x.shape[2:]
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        gradient = np.empty((delta.shape[1], x.shape[1], 3, 3), np.float32)
        for ky in range(3):
            for kx in range(3):
                window = padded[:, :, ky : ky + height, kx : kx + width]
                terms = delta[:, :, None] * window[:, None]  # (N, O, C, H, W)
                rows = terms.transpose(1, 2, 0, 3, 4).reshape(*gradient.shape[:2], -1)
                gradient[:, :, ky, kx] = np.cumsum(rows, axis=2, dtype=np.float32)[..., -1]
        return gradient


@network("Winograd F(2x2, 3x3)", HONEST)
class Winograd(numpy_cnn.Network):
    """Minimal filtering (Winograd 1980; Lavin and Gray 2016, arXiv:1509.09308), as cuDNN may."""

    B = np.float32([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    G = np.float32([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    A = np.float32([[1, 1, 1, 0], [0, 1, -1, -1]])

    def convolve(self, name, x, weight, bias):
        n, _, height, width = x.shape
        rows, columns = -(-height // 2), -(-width // 2)
        extra = ((0, 0), (0, 0), (1, 2 * rows - height + 1), (1, 2 * columns - width + 1))
        padded = np.pad(x, extra)
        tiles = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), axis=(2, 3))[
            :, :, ::2, ::2
        ]
        kernels = self.G @ weight @ self.G.T  # (O, C, 4, 4)
        images = self.B @ tiles @ self.B.T  # (N, C, rows, columns, 4, 4)
        products = np.einsum("ocab,ncyxab->noyxab", kernels, images, optimize=True)
        out = self.A @ products @ self.A.T  # (N, O, rows, columns, 2, 2)
        out = out.transpose(0, 1, 2, 4, 3, 5).reshape(n, len(weight), 2 * rows, 2 * columns)
        return out[:, :, :height, :width] + bias[:, None, None]
