"""A blank area that both halves share earns no correlation."""

import json

import numpy as np
import pytest

from denoise_files import write_model
from mrc_files import write_mrc
from validate_micrograph import validate_micrograph

SETTINGS = {"tile_px": None, "device": "cpu", "hot_pixel_threshold": "auto"}


def measured(folder, images, model):
    paths = [write_mrc(folder / f"{n}.mrc", i) for n, i in zip("ab", images, strict=True)]
    validate_micrograph(paths[0], model, folder / "v.json", SETTINGS, target=paths[1])
    return json.loads((folder / "v.json").read_text())


def test_the_correlation_is_that_of_the_picture(tmp_path):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:512, :512]
    scene = 40 + 2 * np.sin(x / 9) * np.cos(y / 13)
    halves = [scene + rng.normal(0, 6, scene.shape) for _ in range(2)]
    model = tmp_path / "m.safetensors"
    write_model(model)
    clean = measured(tmp_path, halves, model)
    for half in halves:
        half[:128] = 0
    blank = measured(tmp_path, halves, model)
    for name in ("raw", "gaussian", "wiener", "denoised"):
        found = blank["target"]["correlation"][name]
        assert found == pytest.approx(clean["target"]["correlation"][name], abs=0.06)
    assert blank["frc"]["raw_target"][1] == pytest.approx(clean["frc"]["raw_target"][1], abs=0.2)
    assert clean["target"]["correlation"]["raw"] < 0.1
