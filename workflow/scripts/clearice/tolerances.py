"""How far an implementation may be from the reference, and why. docs/parity.md derives it.

A tolerance is {"absolute": a, "l2": b}: the largest error of an element must not exceed a, the
Euclidean norm of the error not b (null: not checked). A precision class has its own.
"""

import math

import numpy as np

from clearice.layout import ACTIVATIONS, PARAMETERS

U32 = 2.0**-24  # unit roundoff of float32
OUTPUT_ABSOLUTE = 1e-5
LOSS_ABSOLUTE = 1e-6
GRADIENT_ABSOLUTE = 1e-5
OUTPUT_RELATIVE = 1e-5
SMALL_PIXELS = 256 * 256
OWN_ERROR_FACTOR = 4  # no tolerance is below this many times the reference's own error
FLOAT64_RELATIVE = 1e-11  # of float64 results against the float64 oracle
CLASS_FACTOR = 8  # times the error of an emulation of the class
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
    "all": "never below 4 times the reference's own error against the float64 oracle",
    "classes": "tf32, bfloat16, float16: 8 times the error of an emulation whose convolutions "
    "round their operands (and, but for tf32, their results) to that precision, and no less "
    "than the float32 tolerance",
    "float64": "results stored as float64 against the float64 oracle: 1e-11 of the scale",
}


def gradient_relative(shape):
    """Return the relative l2 tolerance of gradients of a case of shape (N, C, H, W)."""
    return 4 * U32 * math.sqrt(shape[0] * shape[2] * shape[3])


def is_small(shape):
    """Tell whether images of shape (N, C, H, W) are small enough for relative tolerances."""
    return shape[2] * shape[3] <= SMALL_PIXELS


def case_tolerances(shape, results, oracle, scales):
    """Return {tensor: float32 tolerance} for one case's reference `results`.

    `oracle` are its float64 results, `scales` oracle.gradient_scales, or empty for large images.
    """
    small = is_small(shape)
    tolerances = {}
    for name in (*ACTIVATIONS, "output"):
        if name in results:
            l2 = OUTPUT_RELATIVE * norm(results[name]) if small else None
            tolerances[name] = _float32(OUTPUT_ABSOLUTE, l2, results[name], oracle.get(name))
    for name in (f"grad_{parameter}" for parameter in PARAMETERS):
        scale = scales.get(name, {"flips_max": 0.0})
        absolute = GRADIENT_ABSOLUTE + scale["flips_max"]
        l2 = gradient_relative(shape) * scale["scale_l2"] + scale["flips_l2"] if small else None
        tolerances[name] = _float32(absolute, l2, results[name], oracle[name])
    return tolerances


def loss_tolerance(shape, loss, exact):
    """Return the float32 tolerance of a loss: the smaller of absolute and relative."""
    relative = gradient_relative(shape) * abs(loss) if is_small(shape) else math.inf
    return max(min(LOSS_ABSOLUTE, relative), OWN_ERROR_FACTOR * abs(loss - exact))


def weight_tolerances(weights, oracle, steps, learning_rate):
    """Return {parameter: tolerance} of the trained weights.

    `oracle` are the float64 ones, `steps` (shape of the batch, scales) of each step.
    """
    tolerances = {}
    for name, weight in weights.items():
        l2 = 4 * U32 * math.sqrt(len(steps)) * norm(weight)
        for shape, scales in steps:
            scale = scales[f"grad_{name}"]
            l2 += learning_rate * (gradient_relative(shape) * scale["scale_l2"] + scale["flips_l2"])
        tolerances[name] = _float32(GRADIENT_ABSOLUTE, l2, weight, oracle[name])
    return tolerances


def class_tolerance(float32, emulated, reference):
    """Return the tolerance of a class from the error of its emulation (arrays of one shape)."""
    error = emulated.astype(np.float64) - reference
    l2 = None if float32["l2"] is None else max(float32["l2"], CLASS_FACTOR * norm(error))
    return _tolerance(max(float32["absolute"], CLASS_FACTOR * float(np.abs(error).max())), l2)


def float64_tolerance(oracle, scale_l2=0.0):
    """Return the tolerance of a float64 result against the float64 oracle."""
    l2 = FLOAT64_RELATIVE * max(norm(oracle), scale_l2)
    return _tolerance(l2, l2)


def norm(values):
    """Return the Euclidean norm of an array of any shape, summed in float64."""
    return float(np.linalg.norm(np.asarray(values, np.float64).ravel()))


def _float32(absolute, l2, reference, oracle):
    """Return a float32 tolerance, widened where the reference itself is not that good."""
    if oracle is None:  # activations of images in bands
        return _tolerance(absolute, l2)
    own = np.abs(reference - oracle)
    l2 = None if l2 is None else max(l2, OWN_ERROR_FACTOR * norm(own))
    return _tolerance(max(absolute, OWN_ERROR_FACTOR * float(own.max())), l2)


def _tolerance(absolute, l2):
    return {"absolute": float(absolute), "l2": l2 if l2 is None else float(l2)}
