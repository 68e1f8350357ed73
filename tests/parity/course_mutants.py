"""Mistakes in the course of a run: state kept between calls, training steps, precision."""

import numpy as np
from registry import network, numpy_cnn


@network("outputs accumulate from the second call on (beta)")
class StaleOutput(numpy_cnn.Network):
    """A saved beta: 0 in the first call, 1 in later calls, on buffers that are kept."""

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


@network("sum of squares never set to zero")
class StaleSquares(numpy_cnn.Network):
    kept = 0.0

    def loss(self, output, target):
        right, delta = super().loss(output, target)
        self.kept += right * output.size
        return self.kept / output.size, delta


class StepMistake(numpy_cnn.Network):
    """A base for mistakes in training only. The cases are evaluated with N = 2, 2, 3, 2."""

    step = 0

    def update(self, weights, results, rate):
        self.step += 1
        return super().update(weights, results, rate)


def momentum(name, factor):
    """Register a mutant whose optimizer has momentum."""

    class Momentum(StepMistake):
        def update(self, weights, results, rate):
            old = getattr(self, "velocity", dict.fromkeys(results, 0))
            names = [name for name in results if name.startswith("grad_")]
            self.velocity = {n: np.float32(factor) * old[n] + results[n] for n in names}
            return super().update(weights, self.velocity, rate)

    network(name)(Momentum)


def fast_rate(name, factor):
    """Register a mutant whose learning rate is `factor` times the right one."""

    class FastRate(StepMistake):
        def update(self, weights, results, rate):
            return super().update(weights, results, factor * rate)

    network(name)(FastRate)


momentum("SGD with momentum", 0.9)
momentum("momentum 0.01", 0.01)
fast_rate("learning rate 1.01 times", 1.01)
fast_rate("learning rate 1.03 times", 1.03)


def decaying(name, decay):
    """Register a mutant whose optimizer has weight decay."""

    class Decay(StepMistake):
        def update(self, weights, results, rate):
            updated = super().update(weights, results, rate)
            return {n: updated[n] - np.float32(rate * decay) * weights[n] for n in weights}

    network(name)(Decay)


decaying("weight decay 1e-2", 1e-2)
decaying("weight decay 1e-3", 1e-3)
decaying("weight decay 1e-4", 1e-4)


def small_batches(name, factor):
    """Register a mutant whose update after a smaller batch (of one) is scaled by `factor`."""

    class SmallBatch(StepMistake):
        def evaluate(self, x, target, weights):
            self.count = len(x)
            return super().evaluate(x, target, weights)

        def update(self, weights, results, rate):
            return super().update(weights, results, rate * (factor if self.count == 1 else 1))

    network(name)(SmallBatch)


small_batches("no update after the smaller batch", 0)
small_batches("half an update after the smaller batch", 0.5)


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
    """Register a mutant whose products have operands (and results) with `bits` mantissa bits."""
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
