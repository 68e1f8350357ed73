"""The numbers of the reference bundle: a float32 reference and a float64 oracle, by PyTorch.

The loss is sum((output - target)^2) / (N*C*H*W); the training step is w <- w - rate * gradient.
Weights go in and out as a dict of NumPy arrays, conv1_weight (16, 1, 3, 3) and so on.
"""

import contextlib
import math

import numpy as np
import torch
import torch.nn.functional as F

from clearice.model.device import set_deterministic
from clearice.reference.names import ACTIVATIONS, CONVOLUTIONS, PARAMETERS
from clearice.reference.tolerances import norm

HALO_PX = 3  # three 3 x 3 convolutions
BAND_PIXELS = 128 * 128  # 144 columns of float64 a pixel: 19 MB, which malloc keeps and reuses


@contextlib.contextmanager
def deterministic_cpu():
    """One thread and deterministic algorithms, so that two runs give the same bytes.

    Yields the flags as they are recorded in the bundle. What was set before is restored.
    """
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    set_deterministic(True)
    try:
        yield {
            "device": "cpu",
            "torch": torch.__version__,
            "numpy": np.__version__,
            "threads": torch.get_num_threads(),
            "deterministic_algorithms": True,
            "onednn": torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "cuda_matmul_allow_tf32": torch.backends.cuda.matmul.allow_tf32,
            "cudnn_allow_tf32": torch.backends.cudnn.allow_tf32,
        }
    finally:
        torch.set_num_threads(threads)
        set_deterministic(strict)


def network(parameters, x, convolution=None):
    """Return every activation of simple_cnn: a dict of (N, C, H, W) tensors.

    `convolution(x, weight, bias)` replaces the zero-padded 3 x 3 cross-correlation.
    """
    convolve = convolution or (lambda x, weight, bias: F.conv2d(x, weight, bias, padding=1))
    layers, source = {}, x  # (N, 1, H, W)
    for name, activation in zip(CONVOLUTIONS, ("relu1", "relu2", None), strict=True):
        z = convolve(source, parameters[f"{name}_weight"], parameters[f"{name}_bias"])
        layers[name if activation else "output"] = z
        if activation:
            source = layers[activation] = torch.relu(z)  # derivative 0 at 0
    return layers


def plain_pass(weights, x, target, convolution=None):
    """Return (results, loss) of one case in float32, the whole batch at once, as anyone would.

    Its sums are as long as the batch is large: it shows what an honest float32 code may lose.
    """
    parameters = _leaves(weights, torch.float32)
    layers = network(parameters, torch.from_numpy(x), convolution)
    loss = F.mse_loss(layers["output"], torch.from_numpy(target))
    loss.backward()
    gradients = {f"grad_{name}": value.grad.numpy() for name, value in parameters.items()}
    return {**_arrays(layers), **gradients}, float(loss.detach())


def reference_pass(weights, x, target):
    """Return (results, loss) of one case in float32, by bands whose sums are added in float64."""
    results, loss, _ = _banded_pass(weights, x, target, torch.float32)
    return {name: values.astype(np.float32) for name, values in results.items()}, loss


def oracle_pass(weights, x, target, with_scales=False):
    """Return (results, loss, scales) of one case in float64.

    `scales` (see gradient_scales) is empty unless asked for, which is for small images: it takes
    each as one band.
    """
    return _banded_pass(weights, x, target, torch.float64, with_scales)


def _banded_pass(weights, x, target, dtype, with_scales=False):
    """Evaluate by bands of rows with a halo, one sample at a time: memory stays bounded.

    Activations are there only where an image fits into one band.
    """
    parameters = _leaves(weights, dtype)
    rows = x.shape[2] if with_scales else max(1, BAND_PIXELS // x.shape[3])
    whole, loss, pieces, sums = rows >= x.shape[2], 0.0, [], {}
    results = {f"grad_{name}": np.zeros(np.shape(value)) for name, value in weights.items()}
    output = np.empty(x.shape, np.float64)
    for n in range(x.shape[0]):
        for top in range(0, x.shape[2], rows):
            bottom = min(top + rows, x.shape[2])
            low, high = max(0, top - HALO_PX), min(x.shape[2], bottom + HALO_PX)
            band = torch.from_numpy(x[n : n + 1, :, low:high]).to(dtype)
            layers = network(parameters, band)
            inside = layers["output"][:, :, top - low : bottom - low]
            wanted = torch.from_numpy(target[n : n + 1, :, top:bottom]).to(dtype)
            part = (inside - wanted).square().sum() / x.size
            wrt = [*parameters.values(), *(layers.values() if with_scales else ())]
            gradients = torch.autograd.grad(part, wrt)
            for name, gradient in zip(parameters, gradients, strict=False):
                results[f"grad_{name}"] += gradient.numpy()
            loss += float(part.detach())
            output[n, :, top:bottom] = inside.detach().numpy()[0]
            if whole:
                pieces.append(_arrays(layers))
            if with_scales:
                deltas = dict(zip(layers, gradients[len(parameters) :], strict=True))
                _add_scales(sums, parameters, band, layers, deltas)
    results["output"] = output
    if whole:
        results |= {name: np.concatenate([p[name] for p in pieces]) for name in ACTIVATIONS}
    return results, loss, gradient_scales(sums, results) if with_scales else {}


def _add_scales(scales, parameters, x, layers, deltas):
    """Add one sample's sums: squares of the terms of each gradient, and what ties can change.

    A pre-activation so close to 0 that float32 cannot tell its sign is a tie: an honest code may
    take the other side of the ReLU there, which changes gradients by whole terms.
    """
    with torch.no_grad():
        sources = {"conv1": x, "conv2": layers["relu1"], "conv3": layers["relu2"]}
        flips = torch.zeros_like(layers["output"])
        ties = 0
        for name in reversed(CONVOLUTIONS):
            weight = parameters[f"{name}_weight"]
            delta = deltas["output" if name == "conv3" else name]
            if name != "conv3":
                near = layers[name].abs() <= _rounding(parameters, name, sources[name])
                ties += int(near.sum())
                arriving = deltas[name.replace("conv", "relu")].abs()
                flips = flips * (near | (layers[name] > 0)) + arriving * near
            _add(scales, "walk", name, sources[name].square(), weight, delta.square())
            _add(scales, "flips", name, sources[name].abs(), weight, flips)
            flips = F.conv_transpose2d(flips, weight.abs(), padding=1)
        scales["ties"] = scales.get("ties", 0) + ties


def _rounding(parameters, name, source):
    """Bound the float32 error of a pre-activation: 8 u sum |w x|, also of inputs that have one."""
    weight, bias = parameters[f"{name}_weight"].abs(), parameters[f"{name}_bias"].abs()
    return 8 * 2.0**-24 * F.conv2d(source.abs(), weight, bias, padding=1)


def _add(scales, kind, name, x, weight, delta):
    sums = scales.setdefault(kind, {})
    parts = {
        f"{name}_weight": torch.nn.grad.conv2d_weight(x, weight.shape, delta, padding=1),
        f"{name}_bias": delta.sum((0, 2, 3)),
    }
    for parameter, part in parts.items():
        sums[parameter] = sums.get(parameter, 0) + part.numpy()


def gradient_scales(sums, results):
    """Return for each gradient what its rounding error is in proportion to, and the ties.

    `scale_l2` is the larger of the gradient's norm and the root of the sum of its squared terms
    (a gradient that nearly cancels has the rounding error of its terms, not of their sum).
    `flips_l2` and `flips_max` are what ties can change at most.
    """
    scales = {"ties": sums["ties"]}
    for parameter in PARAMETERS:
        walk, flips = sums["walk"][parameter], sums["flips"][parameter]
        size = norm(results[f"grad_{parameter}"])
        scales[f"grad_{parameter}"] = {
            "scale_l2": max(size, math.sqrt(float(walk.sum()))),
            "flips_l2": norm(flips),
            "flips_max": float(np.abs(flips).max()),
        }
    return scales


def train(weights, crops, targets, batches, learning_rate, evaluate):
    """Return (weights, losses) after one SGD step per batch; a step's loss is before its update.

    `batches` are (first crop, crops); `evaluate(weights, x, target)` is one of the passes above
    and gives the dtype.
    """
    losses = []
    for first, count in batches:
        batch = slice(first, first + count)
        results, loss, *_ = evaluate(weights, crops[batch], targets[batch])
        losses.append(loss)
        gradients = {name: results[f"grad_{name}"] for name in weights}
        rate = next(iter(gradients.values())).dtype.type(learning_rate)
        weights = {name: weights[name] - rate * gradients[name] for name in weights}
    return weights, losses


def _leaves(weights, dtype):
    return {
        name: torch.tensor(value, dtype=dtype, requires_grad=True)
        for name, value in weights.items()
    }


def _arrays(layers):
    return {name: tensor.detach().numpy() for name, tensor in layers.items()}
