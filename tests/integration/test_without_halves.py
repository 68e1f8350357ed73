"""Micrographs without halves: pixels as halves, or the pretrained network where they can't be."""

import json

import mrcfile
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from clearice.model.weights import load_model
from conftest import run_snakemake, write_config
from mrc_files import write_mrc

pytestmark = pytest.mark.slow
SHAPE = 193, 258  # odd, so that a last row is no part of a 2 x 2 block


def run_folder(folder, tiny_config, blur_px, target="auto"):
    """Write three micrographs of discs in noise and a configuration for them."""
    (folder / "data").mkdir(parents=True)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for seed in range(3):
        generator = np.random.default_rng(seed)
        image = gaussian_filter(generator.normal(size=SHAPE), blur_px)
        image /= image.std()
        for cy, cx in generator.uniform(15, 180, (6, 2)):
            image -= 0.8 / (1 + np.exp((np.hypot(y - cy, x - cx) - 10) / 1.5))
        write_mrc(folder / "data" / f"mic{seed}.mrc", 100 + 5 * image.astype(np.float32))
    del tiny_config["simulation"]
    tiny_config["micrographs"] = {"source": "files", "files": "data/*.mrc"}
    tiny_config["micrographs_per_job"] = 5
    tiny_config["patches"] |= {"target": target}
    write_config(folder, tiny_config)
    return folder


def test_independent_pixels_train_a_network_of_half_the_resolution(tmp_path, tiny_config):
    run = run_folder(tmp_path, tiny_config, blur_px=0)
    run_snakemake(run, "--cores", "2", "denoised", "validation")
    manifest = json.loads((run / "results/dataset/manifest.json").read_text())
    assert manifest["target_kind"] == "pixel_halves"
    assert abs(manifest["half_correlation"]["train"]) < 0.1
    _, metadata = load_model(run / "results/model/s2d_unet/denoiser.safetensors")
    assert metadata["resolution"] == "half"
    for seed in range(3):
        with mrcfile.open(run / f"results/denoised/mic{seed}.mrc") as file:
            assert file.data.shape == SHAPE
            assert file.data.std() < 3  # the noise was 5
    summary = json.loads((run / "results/validation/summary.json").read_text())
    assert any("no other half" in line for line in summary["not_measured"])


def test_correlated_pixels_leave_the_pretrained_weights_as_they_are(tmp_path, tiny_config):
    run = run_folder(tmp_path, tiny_config, blur_px=0.8)
    run_snakemake(run, "--cores", "2", "denoised")
    table = (run / "results/dataset/micrographs.tsv").read_text()
    assert table.count("is not independent") == 3
    record = json.loads((run / "results/model/s2d_unet/training.json").read_text())
    assert record["kept_pretrained"] is True
    network, metadata = load_model(run / "results/model/s2d_unet/denoiser.safetensors")
    assert metadata["resolution"] == "full"
    general, _ = load_model("general")
    for name, weight in general.state_dict().items():
        assert network.state_dict()[name].equal(weight), name


def test_correlated_pixels_are_refused_where_pixel_halves_are_asked_for(tmp_path, tiny_config):
    run = run_folder(tmp_path, tiny_config, blur_px=0.8, target="pixel_halves")
    process = run_snakemake(run, "--cores", "2", "denoised", check=False)
    assert process.returncode != 0
    log = (run / "results/shards/mic0.log").read_text()
    assert "the noise of neighbouring pixels is not independent" in log
    assert "clearice denoise, or patches.target auto" in log
