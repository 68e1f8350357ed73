"""Files in, a record out: what a job of the validation leaves, with and without other halves."""

import json

import numpy as np
import pytest
import torch

from clearice.config import complete_config
from clearice.errors import InputError
from clearice.micrographs.mrc import read_micrograph
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.model.networks import SimpleCNN
from clearice.model.weights import save_model
from simulate_micrograph import simulate_micrograph
from sum_up_validation import sum_up_validation
from validate_micrograph import validate_micrograph

SETTINGS = {"tile_px": None, "device": "cpu", "hot_pixel_threshold": 12}
ROLES = ("input", "target", "truth", "centres")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A simulated micrograph and a model with random weights."""
    folder = tmp_path_factory.mktemp("files")
    paths = {role: folder / f"{role}.mrc" for role in ROLES}
    settings = complete_config({})["simulation"]
    settings |= {"height_px": 320, "width_px": 400, "particles": 6}
    simulate_micrograph(**paths, name="a", settings=settings)
    torch.manual_seed(0)
    model = folder / "denoiser.safetensors"
    save_model(model, SimpleCNN(), {"architecture": "simple_cnn"})
    return {**paths, "model": model}


def test_a_simulated_micrograph_is_judged_by_all_that_is_known(files, tmp_path):
    output = tmp_path / "new" / "a.b.json"
    judges = {role: files[role] for role in ("target", "truth", "centres")}
    validate_micrograph(files["input"], files["model"], output, SETTINGS, **judges)
    assert [path.name for path in output.parent.iterdir()] == ["a.b.json"]
    record = json.loads(output.read_text())
    assert record["micrograph"] == "a.b"
    assert record["files"]["truth"] == str(files["truth"])
    assert record["not_measured"] == []
    assert record["picking"]["particles"] == 6
    assert len(record["frequency_per_px"]) == len(record["frc"]["denoised_target"])
    assert len(record["target"]["transfer"]) == len(record["frequency_per_px"])
    assert record["truth"]["snr_db"]["wiener"] > record["truth"]["snr_db"]["raw"] + 3
    assert len(record["null_tests"]) == 6
    summary = tmp_path / "summary.json"
    sum_up_validation([output, output], summary)
    summed = json.loads(summary.read_text())
    assert summed["micrographs"] == 2
    gain = summed["values"]["gain_over_linear_db_truth"]
    assert gain["median"] == gain["least"] == record["truth"]["gain_over_linear_db"]
    assert gain["count"] == 2


def test_a_single_micrograph_still_gets_the_null_tests(files, tmp_path):
    output = tmp_path / "a.json"
    validate_micrograph(files["input"], files["model"], output, SETTINGS)
    record = json.loads(output.read_text())
    made = {test["name"] for test in record["null_tests"] if test["passed"] is not None}
    assert made == {"noise response", "seams", "grid"}
    assert record["target"] is record["truth"] is record["picking"] is None
    assert record["frc"] == {}
    assert "no other half" in record["not_measured"][0]


def test_a_pair_that_shares_noise_is_no_evidence(files, tmp_path):
    first = read_micrograph(files["input"])
    shared = tmp_path / "shared.mrc"
    average = (first + read_micrograph(files["target"])) / 2
    write_micrograph(shared, [average], *average.shape, pixel_size_angstrom=3.0, label="test")
    good, bad, summary = (tmp_path / name for name in ("good.json", "bad.json", "summary.json"))
    for output, target in ((good, files["target"]), (bad, shared)):
        validate_micrograph(files["input"], files["model"], output, SETTINGS, target=target)
    assert json.loads(good.read_text())["doubts"] == []
    (doubt,) = json.loads(bad.read_text())["doubts"]
    assert "the noise of the halves is not independent" in doubt
    sum_up_validation([good, bad], summary)
    summed = json.loads(summary.read_text())
    assert summed["values"]["correlation_denoised"]["count"] == 1
    assert any("Not counted" in line and "bad (the noise of" in line for line in summed["words"])
    sum_up_validation([bad], summary)
    summed = json.loads(summary.read_text())
    assert all(value is None for name, value in summed["values"].items() if "target" in name)
    assert not any("better" in line for line in summed["words"])


def test_a_judge_of_another_size_is_an_error_that_names_it(files, tmp_path):
    small = tmp_path / "small.mrc"
    image = np.random.default_rng(0).normal(size=(320, 300)).astype(np.float32)
    write_micrograph(small, [image], *image.shape, pixel_size_angstrom=3.0, label="test")
    output = tmp_path / "a.json"
    found = r"small\.mrc: the target .* expected 320 x 400 px, found 320 x 300 px"
    with pytest.raises(InputError, match=found):
        validate_micrograph(files["input"], files["model"], output, SETTINGS, target=small)
    assert not output.exists()
