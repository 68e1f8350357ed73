"""How far an implementation may be from the reference, and why. docs/parity.md derives it.

A tolerance is {"absolute": a, "l2": b}: the largest error of an element must not exceed a, the
Euclidean norm of the error not b (null: not checked). A precision class has its own.
"""

import math

import numpy as np

from clearice.reference.names import ACTIVATIONS, PARAMETERS

U32 = 2.0**-24  # unit roundoff of float32
OUTPUT_ABSOLUTE = 1e-5
LOSS_ABSOLUTE = 1e-6
GRADIENT_ABSOLUTE = 1e-5
# What the first twin of this network had to keep on the original data: absolute errors, by rung.
ORIGINAL_TOLERANCES = {
    "output": OUTPUT_ABSOLUTE,
    "loss": LOSS_ABSOLUTE,
    "gradients": GRADIENT_ABSOLUTE,
    "loss curve": LOSS_ABSOLUTE,
}
OUTPUT_RELATIVE = 1e-5
VALUE_RELATIVE = 16 * U32  # of the largest value of a tensor: rounding a value of 10 may cost 1e-6
LOSS_RELATIVE = 8 * U32  # storing a loss as float32 costs up to U32 of it
SMALL_PIXELS = 256 * 256
LEAST = 1e-15
HONEST_FACTOR = 8  # no tolerance is below this many times the error of plain PyTorch float32
FLOAT64_RELATIVE = 1e-11  # of float64 results against the float64 oracle
CLASS_FACTOR = 16  # times the error of an emulation of bfloat16
EMULATED = "bfloat16"
# Errors of the other classes in units of bfloat16's. Rounding is an eighth (3 bits more). So is
# the number of ReLUs that switch, but their random sum, which rules gradients, falls as its root.
ROUNDING_SHARES = {"tf32": 1 / 8, "bfloat16": 1.0, "float16": 1 / 8}
SWITCHING_SHARES = {"tf32": 8**-0.5, "bfloat16": 1.0, "float16": 8**-0.5}
PRECISIONS = ("float32", "tf32", "bfloat16", "float16", "float64")

REASONS = {
    "output": "absolute 1e-5: what the first float32 twin had to keep, 40 times what correct "
    "codes need; l2 1e-5 of the norm where an image has at most 256 x 256 pixels",
    "gradients": "absolute 1e-5, as above; l2 4 * 2^-24 * sqrt(N*H*W) of the scale where an "
    "image has at most 256 x 256 pixels: a sum of N*H*W terms in any order has a rounding error "
    "that grows with the root of their number; the scale is the gradient's norm, or the root of "
    "the sum of its squared terms where those cancel; plus what ReLU ties can change",
    "loss": "absolute 1e-6, as above; relative 4 * 2^-24 * sqrt(N*H*W) where small",
    "weights": "absolute 1e-5; l2 the sum over the steps of learning rate times the gradient's "
    "l2 tolerance, plus 4 * 2^-24 * sqrt(steps) of the norm for the rounding of the weights",
    "large values": "no absolute tolerance is below 16 * 2^-24 of the case's largest activation "
    "(or the gradient's largest element), none of a loss below 8 * 2^-24 of it: 1e-5 and 1e-6 are "
    "meant for values up to 10 and losses up to 2",
    "all": "never below 8 times the error of plain PyTorch float32 on this very case: what "
    "honest arithmetic loses must not fail, and fast algorithms (Winograd) lose a few times more",
    "classes": "bfloat16: 16 times the error of an emulation whose convolutions round their "
    "operands and results to it; tf32 and float16 have 3 bits more: an eighth of that for "
    "activations, outputs and losses, the root of an eighth for gradients and weights (fewer "
    "ReLUs switch, and their sum is random); none below the float32 tolerance",
    "class losses": "what an output error of the emulation's norm can change in a loss at most",
    "float64": "results stored as float64 against the float64 oracle: 1e-11 of the scale",
}


def gradient_relative(shape):
    """Return the relative l2 tolerance of gradients of a case of shape (N, C, H, W)."""
    return 4 * U32 * math.sqrt(shape[0] * shape[2] * shape[3])


def is_small(shape):
    """Tell whether images of shape (N, C, H, W) are small enough for relative tolerances."""
    return shape[2] * shape[3] <= SMALL_PIXELS


def case_tolerances(shape, results, honest, scales):
    """Return {tensor: float32 tolerance} for one case's reference `results`.

    `honest` are the errors of plain PyTorch float32, `scales` oracle.gradient_scales, or empty
    for large images.
    """
    small = is_small(shape)
    tolerances = {}
    # An output may be small and made of large activations: their rounding is in it.
    layers = [results[name] for name in (*ACTIVATIONS, "output") if name in results]
    rounding = max(map(_rounding, layers), default=0.0)
    for name in (*ACTIVATIONS, "output"):
        if name in results:
            l2 = OUTPUT_RELATIVE * norm(results[name]) if small else None
            tolerances[name] = _float32(max(OUTPUT_ABSOLUTE, rounding), l2, honest.get(name))
    for name in (f"grad_{parameter}" for parameter in PARAMETERS):
        scale = scales.get(name, {"flips_max": 0.0})
        absolute = max(GRADIENT_ABSOLUTE, _rounding(results[name])) + scale["flips_max"]
        l2 = gradient_relative(shape) * scale["scale_l2"] + scale["flips_l2"] if small else None
        tolerances[name] = _float32(absolute, l2, honest[name])
    return tolerances


def weight_tolerances(weights, honest, steps, learning_rate):
    """Return {parameter: tolerance} of the trained weights.

    `honest` are the reference's own errors; `steps` (shape of the batch, scales) of each step.
    """
    tolerances = {}
    for name, weight in weights.items():
        l2 = 4 * U32 * math.sqrt(len(steps)) * norm(weight)
        for shape, scales in steps:
            scale = scales[f"grad_{name}"]
            l2 += learning_rate * (gradient_relative(shape) * scale["scale_l2"] + scale["flips_l2"])
        tolerances[name] = _float32(GRADIENT_ABSOLUTE, l2, honest[name])
    return tolerances


def layer_errors(errors, scales):
    """Return {parameter: norm} of the emulation's errors, none smaller than its layer's by chance.

    `errors`: {conv1_weight: array, ...}; `scales`: what each is in proportion to. A bias of one
    element may have no error by luck; the relative error of its layer's weights has it, too.
    """
    relative = {}
    for name, error in errors.items():
        layer = name.split("_")[0]
        share = norm(error) / scales[name] if scales[name] else 0.0
        relative[layer] = max(relative.get(layer, 0.0), share)
    return {name: relative[name.split("_")[0]] * scales[name] for name in errors}


def tensor_tolerances(float32, error, oracle, error_l2=None, scale_l2=0.0):
    """Return the tolerances of every class for one tensor.

    `float32`: that class's; `error`: the error of the bfloat16 emulation; `error_l2`: its norm by
    layer_errors, for gradients and weights; `oracle`: the float64 result; `scale_l2`: what a
    gradient's rounding error is in proportion to.
    """
    exact = FLOAT64_RELATIVE * max(norm(oracle), scale_l2)
    shares = ROUNDING_SHARES if error_l2 is None else SWITCHING_SHARES
    error_l2 = norm(error) if error_l2 is None else error_l2
    error_max = max(float(np.abs(error).max()), error_l2 / math.sqrt(error.size))
    classes = {"float32": float32}
    for precision, share in shares.items():
        factor = CLASS_FACTOR * share
        absolute, l2 = max(float32["absolute"], factor * error_max), float32["l2"]
        l2 = None if l2 is None else max(l2, factor * error_l2)
        classes[precision] = _tolerance(absolute, l2)
    return {**classes, "float64": _tolerance(exact, exact)}


def loss_tolerances(shape, loss, honest, emulated, exact):
    """Return {class: tolerance} of a loss.

    `honest`: the error of plain PyTorch float32; `emulated`: how far bfloat16 can move the loss;
    `exact`: the float64 loss.
    """
    relative = gradient_relative(shape) * abs(loss) if is_small(shape) else math.inf
    floor = max(LOSS_RELATIVE * abs(loss), HONEST_FACTOR * abs(honest), LEAST)
    float32 = max(min(LOSS_ABSOLUTE, relative), floor)
    classes = {name: max(float32, share * emulated) for name, share in ROUNDING_SHARES.items()}
    return {"float32": float32, **classes, "float64": max(LEAST, FLOAT64_RELATIVE * abs(exact))}


def loss_reach(residual, error):
    """Return how far an error like that of an output can move the loss (Cauchy-Schwarz).

    The emulation's own loss is no measure: its errors may cancel in it by chance.
    """
    return 2 * norm(residual) * norm(error) / residual.size


def loss_walk(residual, error):
    """Return how far an output's errors move a loss if their signs are random."""
    return 2 * norm(residual * error) / residual.size


def norm(values):
    """Return the Euclidean norm of an array of any shape, summed in float64.

    NumPy sums pairwise in one thread. np.linalg.norm asks BLAS, whose sum depends on its threads.
    """
    return math.sqrt(np.square(values, dtype=np.float64).sum())


def _rounding(values):
    """Return what rounding may cost the largest of these values."""
    return VALUE_RELATIVE * float(np.abs(values).max())


def _float32(absolute, l2, honest_error):
    """Return a float32 tolerance, widened where honest arithmetic is not that good."""
    if honest_error is not None:
        absolute = max(absolute, HONEST_FACTOR * float(np.abs(honest_error).max()))
        l2 = None if l2 is None else max(l2, HONEST_FACTOR * norm(honest_error))
    return _tolerance(absolute, l2)


def _tolerance(absolute, l2):
    """Return a tolerance that is not 0: a dead layer's results are, and have no scale."""
    l2 = l2 if l2 is None else max(float(l2), LEAST)
    return {"absolute": max(float(absolute), LEAST), "l2": l2}
