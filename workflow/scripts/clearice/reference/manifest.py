"""What the bundle says of itself: manifest.json."""

import numpy as np

from clearice import __version__
from clearice.reference import tolerances
from clearice.reference.bundle import bundle_identity
from clearice.reference.names import FORMAT, FORMAT_VERSION, REPEAT, REPEATED_CASE

PARAMETER_SHAPES = {
    f"conv{i}_{kind}": shape
    for i, (o, c) in enumerate(((16, 1), (16, 16), (1, 16)), start=1)
    for kind, shape in (("weight", (o, c, 3, 3)), ("bias", (o,)))
}


def describe(tensors, losses, curve, cases, training, provenance):
    """Return the manifest. `losses` and `curve` are numbers with tolerances, from export.py."""
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "bundle_id": None,
        "clearice_version": __version__,
        "network": {
            "name": "simple_cnn",
            "layers": "conv1 (1 -> 16), relu1, conv2 (16 -> 16), relu2, conv3 (16 -> 1) = output",
            "parameters": int(sum(np.prod(shape) for shape in PARAMETER_SHAPES.values())),
            "convolution": "CROSS-CORRELATION (the kernel is not flipped): out[n,o,y,x] = bias[o] "
            "+ sum over i,ky,kx of weight[o,i,ky,kx] * in[n,i,y+ky-1,x+kx-1]",
            "kernel_px": 3,
            "padding_px": 1,
            "padding": "zeros",
            "stride_px": 1,
            "weight_order": "(out, in, ky, kx) in C order; (kx, ky, in, out) in Fortran",
            "tensor_order": "(N, C, H, W) in C order; (W, H, C, N) in Fortran",
            "relu_derivative_at_zero": 0,
        },
        "loss": {
            "name": "mean squared error",
            "definition": "sum((output - target)^2) / (N*C*H*W)",
            "gradient": "d loss / d output = 2 * (output - target) / (N*C*H*W)",
        },
        "training": {
            "optimizer": "sgd: w <- w - learning_rate * gradient; no momentum, no weight decay",
            "learning_rate": training["learning_rate"],
            "initial_weights": "conv1_weight ... conv3_bias, those of the cases",
            "steps": len(training["batches"]),
            "loss_of_a_step": "before its update",
            "batches": [
                {"step": step, "first_crop": first, "crops": count}
                for step, (first, count) in enumerate(training["batches"], start=1)
            ],
            "losses": curve,
        },
        "cases": {
            name: {
                "shape": list(case["input"].shape),
                "activations": f"{name}_conv1" in tensors,
                "source": case["source"],
                "loss": losses[name],
            }
            for name, case in cases.items()
        },
        "repeat": {
            "case": REPEATED_CASE,
            "prefix": REPEAT,
            "how": "run this case again after everything else, with the initial weights",
        },
        "tolerance_reasons": tolerances.REASONS,
        "tensors": tensors,
        "provenance": provenance,
    }
    manifest["bundle_id"] = bundle_identity(manifest)
    return manifest
