"""Wrong and honest implementations by name: each writes results for a bundle into a folder.

MUTANTS and HONEST map a name to a function (bundle folder, output folder).
"""

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
    """Register a function that damages a folder of honest results."""

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
    """Rotate kernels by 180 degrees."""
    return np.ascontiguousarray(weight[:, :, ::-1, ::-1])
