"""A small reference bundle for tests, the same on every machine up to rounding."""

import importlib.util
import sys
from pathlib import Path

import numpy as np

from clearice.reference.cases import bundle_data
from clearice.reference.export import write_bundle

IMPLEMENTATIONS = Path(__file__).resolve().parent.parent / "workflow" / "implementations"
SETTINGS = {"batch_size": 2, "steps": 7, "learning_rate": 0.01, "crop_px": 20}


class MadePatches:
    """Six patches of waves and noise, with the interface of dataset.PatchReader."""

    n_patches, patch_size_px = 6, 40

    def read(self, i):
        """Return input and target, (40, 40) float32."""
        y, x = np.mgrid[0:40, 0:40]
        signal = np.sin(x / (2 + i) + y / 5) + np.cos(0.7 * y - 0.2 * x)
        noise = np.random.default_rng(i).standard_normal((2, 40, 40))
        return tuple((signal + 0.5 * half).astype(np.float32) for half in noise)

    def where(self, i):
        """Return (micrograph, y, x)."""
        return "made", 0, 40 * i


def made_weights(seed=1):
    """Return random weights of simple_cnn, large enough for lively gradients."""
    random = np.random.default_rng(seed)
    weights = {}
    for i, (o, c) in enumerate(((16, 1), (16, 16), (1, 16)), start=1):
        scale = (1 / (9 * c)) ** 0.5
        weights[f"conv{i}_weight"] = random.standard_normal((o, c, 3, 3)) * scale
        weights[f"conv{i}_bias"] = random.standard_normal(o) * 0.1
    return {name: value.astype(np.float32) for name, value in weights.items()}


def write_small_bundle(folder, seed=1):
    """Write the bundle into `folder` and return its manifest."""
    cases, training = bundle_data(MadePatches(), SETTINGS)
    return write_bundle(folder, made_weights(seed), cases, training, {})


def write_honest_results(folder):
    """Write a small bundle and what the NumPy implementation makes of it; return `folder`."""
    write_small_bundle(folder / "bundle")
    load_implementation("numpy_cnn").run(folder / "bundle", folder / "output", np.float32)
    return folder


def load_implementation(name):
    """Return an implementation as a module, though it is a stand-alone program."""
    if str(IMPLEMENTATIONS) not in sys.path:
        sys.path.insert(0, str(IMPLEMENTATIONS))
    spec = importlib.util.spec_from_file_location(name, IMPLEMENTATIONS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
