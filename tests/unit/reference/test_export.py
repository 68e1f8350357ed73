"""The reference bundle: whole, deterministic, and right by definitions of its own."""

import json
import os
import subprocess
import sys

import jsonschema
import numpy as np
import pytest

from clearice.errors import InputError
from clearice.files import read_json
from clearice.namelist import namelist
from clearice.parity.comparison import compare
from clearice.parity.numpy_network import forward
from clearice.reference import cases, passes, tolerances
from clearice.reference.bundle import Bundle
from clearice.reference.export import write_bundle
from clearice.reference.names import PARAMETERS, bundle_files
from clearice.schemas import REFERENCE_SCHEMA
from parity_bundle import (
    SETTINGS,
    MadePatches,
    load_implementation,
    made_weights,
    write_small_bundle,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    write_small_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def bundle(folder):
    return Bundle(folder)


def test_the_manifest_is_what_the_schema_says(bundle):
    schema = read_json(REFERENCE_SCHEMA)
    jsonschema.Draft202012Validator(schema).validate(bundle.manifest)


def test_the_bundle_has_the_files_that_the_workflow_declares_and_no_other(folder):
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == set(bundle_files())


def test_every_tensor_has_the_bytes_that_the_manifest_says(bundle):
    for name, entry in bundle.manifest["tensors"].items():
        values = bundle.tensor(name)  # checks the hash
        assert list(values.shape) == entry["shape"] == entry["fortran_shape"][::-1]
        assert values.ravel()[:8].tolist() == entry["first_values"]


def test_two_exports_of_one_model_are_byte_equal(folder, tmp_path):
    write_small_bundle(tmp_path)
    for name in bundle_files():
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


WRITE = """
import sys
sys.path[:0] = sys.argv[2:]
from parity_bundle import write_small_bundle
write_small_bundle(sys.argv[1])
"""


def test_the_number_of_threads_changes_no_byte(tmp_path, repository):
    for threads in ("1", "2"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        words = [sys.executable, "-c", WRITE, tmp_path / threads]
        words += [repository / "workflow" / "scripts", repository / "tests"]
        subprocess.run(words, check=True, env={**os.environ, **dict.fromkeys(names, threads)})
    for name in bundle_files():
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name


def test_another_model_has_another_bundle_id(bundle, tmp_path):
    assert write_small_bundle(tmp_path, seed=2)["bundle_id"] != bundle.manifest["bundle_id"]


def test_a_bundle_of_1024_px_patches_is_below_200_mb(bundle):
    size_px = {"test": 1024, "training": 256}
    total = 0
    for entry in bundle.manifest["tensors"].values():
        shape = list(entry["shape"])
        if entry.get("case") in size_px and entry["role"] in ("input", "target", "output"):
            shape[2:] = [size_px[entry["case"]]] * 2
        total += np.prod(shape) * np.dtype(entry["dtype"]).itemsize
    assert total < 200e6


@pytest.mark.parametrize("case", ["test", "impulse", "structured", "noise"])
def test_the_oracles_gradients_are_the_slopes_of_its_loss(bundle, case):
    weights = {name: bundle.tensor(name).astype(np.float64) for name in PARAMETERS}
    x = bundle.tensor(f"{case}_input").astype(np.float64)
    target = bundle.tensor(f"{case}_target").astype(np.float64)
    random = np.random.default_rng(0)
    for name in PARAMETERS:
        direction = random.standard_normal(weights[name].shape)
        step = 1e-6 * direction
        losses = [
            np.square(forward(x, weights | {name: weights[name] + s})["output"] - target).mean()
            for s in (step, -step)
        ]
        slope = (losses[0] - losses[1]) / 2e-6
        gradient = float((bundle.oracle(f"{case}_grad_{name}") * direction).sum())
        assert slope == pytest.approx(gradient, rel=1e-5, abs=1e-8)


def test_the_impulse_shows_the_kernels_as_a_correlation_does(bundle):
    weight, bias = bundle.tensor("conv1_weight")[:, 0], bundle.tensor("conv1_bias")
    seen = bundle.oracle("impulse_conv1")[0, :, 7:10, 4:7] - bias[:, None, None]
    np.testing.assert_allclose(seen, cases.IMPULSE * weight[:, ::-1, ::-1], rtol=1e-6)


def test_the_structured_case_has_no_symmetry_in_any_axis():
    image, target = cases.structured_case()
    for array in (image, target):
        n, _, height, width = array.shape
        assert height != width
        assert height % 2
        assert width % 2
        assert n == 3
        for axis in (0, 2, 3):
            assert np.abs(array - np.flip(array, axis)).max() > 0.5


def test_the_training_curve_follows_from_the_gradients(bundle):
    training = bundle.manifest["training"]
    assert len(training["losses"]["float32"]) == SETTINGS["steps"] == training["steps"]
    first = training["batches"][0]
    part = slice(first["first_crop"], first["first_crop"] + first["crops"])
    x, target = (bundle.tensor(f"training_{side}")[part].copy() for side in ("input", "target"))
    weights = {name: bundle.tensor(name) for name in PARAMETERS}
    results, loss, _ = passes.oracle_pass(weights, x, target)
    assert loss == pytest.approx(training["losses"]["float64"][0], rel=1e-14)
    one_step, _ = passes.train(weights, x, target, [(0, len(x))], 0.01, passes.oracle_pass)
    for name in PARAMETERS:
        expected = weights[name] - 0.01 * results[f"grad_{name}"]
        np.testing.assert_allclose(one_step[name], expected, rtol=1e-14)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
def test_each_round_of_batches_ends_in_a_smaller_one(batch_size):
    batches, crops = cases.training_batches(20, batch_size)
    full = max(2, batch_size)
    assert len(batches) == 20
    assert all(first + count <= crops for first, count in batches)
    rounds = [count for first, count in batches if first + count == crops]
    assert rounds
    assert max(rounds) < full


def test_crops_are_of_whole_patches_where_those_are_smaller():
    x, _ = cases.training_crops(MadePatches(), 256, 3)
    assert x.shape == (3, 1, 40, 40)


def test_bands_change_nothing(monkeypatch):
    x, target = cases.structured_case()
    weights = made_weights()
    whole = passes.oracle_pass(weights, x, target)
    monkeypatch.setattr(passes, "BAND_PIXELS", 5 * x.shape[3])
    banded = passes.oracle_pass(weights, x, target)
    assert banded[1] == pytest.approx(whole[1], rel=1e-14)
    for name, values in banded[0].items():
        np.testing.assert_allclose(values, whole[0][name], rtol=1e-11, atol=1e-15)


def test_a_tie_in_a_relu_widens_the_gradients_tolerance():
    weights = made_weights()
    weights["conv1_bias"][0] = 0  # where the image is zero, the pre-activation is exactly 0
    x, target = cases.impulse_case()
    _, _, scales = passes.oracle_pass(weights, x, target, with_scales=True)
    assert scales["ties"] > 0
    assert scales["grad_conv1_bias"]["flips_l2"] > 0
    weights["conv1_bias"][0] = 0.1
    _, _, scales = passes.oracle_pass(weights, x, target, with_scales=True)
    assert scales["ties"] == 0
    assert scales["grad_conv1_bias"]["flips_l2"] == 0


def test_large_images_have_absolute_tolerances_only():
    assert tolerances.is_small((2, 1, 256, 256))
    assert not tolerances.is_small((2, 1, 256, 257))
    gradient = {f"grad_{name}": np.zeros(3) for name in PARAMETERS}
    found = tolerances.case_tolerances((2, 1, 1024, 1024), gradient, gradient, {})
    assert all(t == {"absolute": 1e-5, "l2": None} for t in found.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("conv2_bias"), "conv2_bias is not simple_cnn's"),
        (lambda w: w.update(conv1_weight=np.zeros((8, 1, 3, 3))), "conv1_weight is not"),
        (lambda w: w["conv3_bias"].fill(np.nan), "not finite"),
    ],
)
def test_weights_that_are_not_the_networks_are_an_input_error(change, words, tmp_path):
    weights = made_weights()
    change(weights)
    made, training = cases.bundle_data(MadePatches(), SETTINGS)
    with pytest.raises(InputError, match=words):
        write_bundle(tmp_path, weights, made, training, {})
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("bias", [-1.0, 0.0])
def test_a_dead_network_has_a_bundle_that_honest_code_passes(bias, tmp_path):
    weights = {name: np.zeros_like(value) for name, value in made_weights().items()}
    weights["conv1_bias"] += np.float32(bias)
    made, training = cases.bundle_data(MadePatches(), SETTINGS)
    write_bundle(tmp_path / "bundle", weights, made, training, {})
    load_implementation("numpy_cnn").run(tmp_path / "bundle", tmp_path / "output", np.float32)
    assert compare(Bundle(tmp_path / "bundle"), tmp_path / "output")["verdict"] == "passed"


def test_a_patch_that_is_not_finite_is_named():
    class Broken(MadePatches):
        def read(self, i):
            return super().read(i)[0] * np.float32(np.inf), super().read(i)[1]

    with pytest.raises(InputError, match="input patch 0 of the test split"):
        cases.test_case(Broken(), 2)


def test_namelists_have_short_lines_and_quoted_text():
    text = namelist("group", {"name": "it's", "flag": True, "rate": 0.1, "many": [1.5] * 40})
    assert "name = 'it''s'" in text
    assert "flag = .true." in text
    assert "rate = 1.0000000000000001d-01" in text
    assert max(map(len, text.splitlines())) <= 132
    assert text.count("1.5000000000000000d+00") == 40


def test_the_twin_of_the_weights_is_equal(folder, bundle):
    from safetensors.numpy import load_file

    twin = load_file(folder / "weights.safetensors")
    for name in PARAMETERS:
        np.testing.assert_array_equal(twin[name.replace("_", ".")], bundle.tensor(name))


def test_the_manifest_says_how_it_was_made(bundle):
    provenance = bundle.manifest["provenance"]
    assert provenance["threads"] == 1
    assert provenance["cudnn_allow_tf32"] in (True, False)
    assert json.dumps(bundle.manifest["tolerance_reasons"])
