"""A small model and micrographs for the tests of denoising."""

import numpy as np
import torch

from clearice.command.denoise import main
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.model.networks import SimpleCNN
from clearice.model.weights import save_model


def write_model(path, seed=0):
    """Write a simple_cnn of random weights; return its path."""
    torch.manual_seed(seed)
    save_model(path, SimpleCNN(), {"architecture": "simple_cnn"})
    return path


def write_image(path, seed=0, shape=(70, 90), std=1.0, signal=0.0):
    """Write white noise of that deviation on a wave of amplitude `signal`; return its path.

    The voxel size is 1.25 angstrom, the origin (3, 4, 0).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(10.0, std, shape)
    wave = signal * np.sin(np.arange(shape[1]) / 9)
    facts = {"pixel_size_angstrom": 1.25, "origin": (3.0, 4.0, 0.0), "label": "test"}
    write_micrograph(path, [(noise + wave).astype(np.float32)], *shape, **facts)
    return path


def denoise(*words, output="out", model="m.safetensors"):
    """Run the command on the CPU; return its exit status."""
    options = ["--output", output, "--model", str(model), "--device", "cpu"]
    return main([*map(str, words), *options])


def results(folder):
    """Return the names of all that lies in a folder."""
    return sorted(path.name for path in folder.iterdir())
