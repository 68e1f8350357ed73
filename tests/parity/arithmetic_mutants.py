"""Mistakes in one evaluation: kernels, biases, padding, activations, loss, gradients."""

import numpy as np
from registry import flip, network, numpy_cnn


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
    """Register a mutant whose loss and derivative have wrong factors, functions of (N,1,H,W)."""

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


@network("ReLU6")
class ClippedReLU(numpy_cnn.Network):
    def rectify(self, name, z):
        return np.clip(z, 0, np.float32(6))


@network("input clipped to 5 standard deviations")
class ClippedInput(numpy_cnn.Network):
    def evaluate(self, x, target, weights):
        return super().evaluate(np.clip(x, -5, 5), target, weights)


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
