"""A denoised file keeps what a user needs of its micrograph."""

import json

import mrcfile
import numpy as np
import pytest
import torch

from affine import affine_of
from clearice.errors import InputError
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.model.networks import SimpleCNN
from clearice.model.weights import load_model, save_model
from denoise_micrograph import denoise_micrograph, main
from memory_images import noisy_pair


@pytest.fixture
def model_file(tmp_path):
    """A model with random weights."""
    torch.manual_seed(0)
    path = tmp_path / "denoiser.safetensors"
    save_model(path, SimpleCNN(), {"architecture": "simple_cnn"})
    return path


def write_half(path, image, pixel_size_angstrom=1.25, origin=(3.0, 4.0, 0.0)):
    """Write an image as an MRC file."""
    write_micrograph(
        path,
        [image],
        *image.shape,
        pixel_size_angstrom=pixel_size_angstrom,
        origin=origin,
        label="test",
    )
    return path


@pytest.mark.parametrize(("dtype", "mode"), [("float32", 2), ("float16", 12)])
def test_a_denoised_file_keeps_shape_voxel_size_origin_and_scale(tmp_path, model_file, dtype, mode):
    _truth, raw, _target = noisy_pair()
    path = write_half(tmp_path / "raw.mrc", raw.astype(np.float32))
    denoised, record = tmp_path / "out" / "a.b.mrc", tmp_path / "out" / "a.b.json"
    settings = {"dtype": dtype, "tile_px": 100, "device": "cpu", "hot_pixel_threshold": None}
    denoise_micrograph(path, model_file, denoised, record, settings)
    assert mode == 12 or mrcfile.validate(denoised)  # which sums float16 in float16: infinity
    with mrcfile.open(denoised) as file:
        assert file.header.mode == mode
        assert file.data.shape == raw.shape
        assert file.voxel_size.x == pytest.approx(1.25)
        assert file.header.origin.tolist() == (3.0, 4.0, 0.0)
        assert b"denoised" in file.header.label[0]
        stored = file.data.astype(np.float64)
    network, _ = load_model(model_file)
    raw = raw.astype(np.float32)
    location, scale = affine_of(raw)
    with torch.inference_mode():
        seen = np.float32((raw - location) / scale)
        whole = network(torch.from_numpy(seen)[None, None])[0, 0]
    expected = whole.numpy() * scale + location
    assert stored == pytest.approx(expected, abs=1e-4 if dtype == "float32" else 0.05)
    record = json.loads(record.read_text())
    assert record["micrograph"] == "a.b"
    assert [record["mean"], record["std"]] == pytest.approx([location, scale], rel=1e-6)
    assert record["files"] == {"raw": str(path), "denoised": str(denoised)}


@pytest.mark.parametrize(("value", "words"), [(5.0, "constant"), (np.inf, "NaN or infinite")])
def test_a_micrograph_that_cannot_be_normalised_leaves_no_output(
    tmp_path, model_file, value, words
):
    raw = tmp_path / "raw.mrc"
    with mrcfile.new(raw) as file:
        file.set_data(np.full((32, 32), value, np.float32))
    with pytest.raises(InputError, match=words):
        main([str(raw), "--model", str(model_file), "--output", str(tmp_path / "o.mrc")])
    assert not (tmp_path / "o.mrc").exists()
