"""A denoised file keeps what a user needs of its micrograph."""

import json
import subprocess
import sys

import mrcfile
import numpy as np
import pytest
import torch

from affine import affine_of
from clearice.config import complete_config
from clearice.denoised.averaging import half_noise
from clearice.errors import InputError
from clearice.micrographs.mrc import read_micrograph
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.micrographs.rows import MicrographRows
from clearice.model.networks import SimpleCNN
from clearice.model.weights import load_model, save_model
from denoise_micrograph import denoise_micrograph
from memory_images import MemoryReader, noisy_pair
from training_data import SCRIPTS


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


def denoising(**changes):
    """Return the settings of the rule."""
    config = complete_config({"denoised": {"device": "cpu", **changes}})
    return config["denoised"] | {"hot_pixel_threshold": None}


@pytest.mark.parametrize(("dtype", "mode"), [("float32", 2), ("float16", 12)])
def test_a_denoised_file_keeps_shape_voxel_size_origin_and_scale(tmp_path, model_file, dtype, mode):
    _truth, raw, _target = noisy_pair()
    path = write_half(tmp_path / "raw.mrc", raw.astype(np.float32))
    denoised, record = tmp_path / "out" / "a.b.mrc", tmp_path / "out" / "a.b.json"
    settings = denoising(dtype=dtype, tile_px=100)
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
        denoise_micrograph(
            raw, model_file, tmp_path / "o.mrc", tmp_path / "o.json", denoising(tile_px=64)
        )
    assert not (tmp_path / "o.mrc").exists()


@pytest.mark.parametrize(
    ("choice", "noise", "averaged", "reason"),
    [
        ("auto", 1.0, True, None),
        ("auto", 1.3, False, "the halves are not equally noisy"),
        (True, 1.05, True, None),
        (False, 1.0, False, "average_halves is false"),
    ],
)
def test_equally_noisy_halves_are_averaged(tmp_path, model_file, choice, noise, averaged, reason):
    truth, raw, target = noisy_pair()
    images = {"raw": raw, "target": truth + noise * (target - truth)}
    files = [write_half(tmp_path / f"{n}.mrc", i.astype(np.float32)) for n, i in images.items()]
    denoised, metrics = tmp_path / "out" / "a.mrc", tmp_path / "out" / "a.json"
    settings = denoising(average_halves=choice)
    denoise_micrograph(files[0], model_file, denoised, metrics, settings, files[1])
    assert sorted(path.name for path in denoised.parent.iterdir()) == ["a.json", "a.mrc"]
    record = json.loads(metrics.read_text())
    assert record["averaged_halves"] is averaged
    if reason is None:
        assert record["not_averaged_because"] is None
        assert record["half_noise_std"] == pytest.approx([1, noise], rel=0.02)
    else:
        assert reason in record["not_averaged_because"]
    for number, path in enumerate(files):
        single = tmp_path / f"{number}.mrc"
        choice = denoising(average_halves=False)
        denoise_micrograph(path, model_file, single, tmp_path / "b.json", choice)
    first, second = (read_micrograph(tmp_path / f"{n}.mrc") for n in (0, 1))
    expected = (first + second) / 2 if averaged else first
    assert np.array_equal(read_micrograph(denoised), expected)


def test_halves_that_must_be_averaged_and_differ_are_an_error(tmp_path, model_file):
    truth, raw, target = noisy_pair()
    loud = write_half(tmp_path / "loud.mrc", (2 * target - truth).astype(np.float32))
    raw = write_half(tmp_path / "raw.mrc", raw.astype(np.float32))
    for halves in ([raw, loud], [loud, raw], [raw, raw]):
        with pytest.raises(InputError, match=r"not equally noisy|the same pixels"):
            denoise_micrograph(
                halves[0],
                model_file,
                tmp_path / "o.mrc",
                tmp_path / "o.json",
                denoising(average_halves=True),
                halves[1],
            )
    assert not (tmp_path / "o.mrc").exists()


@pytest.mark.parametrize("crystal", [False, True])
def test_the_noise_of_halves_is_that_of_their_noise(crystal):
    truth, raw, target = noisy_pair()
    if crystal:
        for image in (truth, raw, target):
            image[:100, :120] -= 500
    readers = [MemoryReader(image) for image in (raw, 1.2 * (target - truth) + truth)]
    noise, _ = half_noise([MicrographRows(reader) for reader in readers])
    assert noise == pytest.approx([1, 1.2], rel=0.03)


def test_halves_on_different_scales_have_no_noise_to_compare():
    truth, raw, target = noisy_pair()
    readers = [MemoryReader(image) for image in (20 * truth + raw, target)]
    with pytest.raises(InputError, match="different scales"):
        half_noise([MicrographRows(reader) for reader in readers])


def test_the_pixel_size_of_a_table_is_the_results(tmp_path, model_file):
    path = write_half(tmp_path / "raw.mrc", noisy_pair()[1].astype(np.float32))
    denoised, record = tmp_path / "a.mrc", tmp_path / "a.json"
    denoise_micrograph(path, model_file, denoised, record, denoising(), pixel_size_angstrom=0.885)
    with mrcfile.open(denoised) as file:
        assert file.voxel_size.x == pytest.approx(0.885)
    facts = json.loads(record.read_text())
    assert facts["pixel_size_angstrom"] == 0.885
    assert facts["warnings"] == [
        "raw.mrc: the STAR file says 0.885 angstrom per pixel, the header 1.25: 0.885 is used"
    ]


def test_a_half_of_inverted_contrast_is_not_averaged_away(tmp_path, model_file):
    _, raw, target = noisy_pair()
    files = [
        write_half(tmp_path / f"{n}.mrc", image.astype(np.float32))
        for n, image in (("raw", raw), ("inverted", 100 - target))
    ]
    arguments = files[0], model_file, tmp_path / "o.mrc", tmp_path / "o.json"
    with pytest.raises(InputError, match=r"inverted.mrc: .*inverted contrast.*multiply it by -1"):
        denoise_micrograph(*arguments, denoising(average_halves=True), files[1])
    assert not (tmp_path / "o.mrc").exists()
    denoise_micrograph(*arguments, denoising(average_halves="auto"), files[1])
    record = json.loads((tmp_path / "o.json").read_text())
    assert "inverted contrast" in record["not_averaged_because"]


def test_halves_that_share_noise_are_averaged_with_a_warning(tmp_path, model_file):
    _, raw, target = noisy_pair()
    shared = np.random.default_rng(7).normal(size=raw.shape)
    files = [
        write_half(tmp_path / f"{n}.mrc", (image + shared).astype(np.float32))
        for n, image in (("raw", raw), ("target", target))
    ]
    arguments = files[0], model_file, tmp_path / "o.mrc", tmp_path / "o.json"
    denoise_micrograph(*arguments, denoising(average_halves=True), files[1])
    (warning,) = json.loads((tmp_path / "o.json").read_text())["warnings"]
    assert "the noise of the halves is not independent" in warning


def test_float16_that_would_lose_the_result_is_refused_before_it_is_made(tmp_path, model_file):
    _, raw, _ = noisy_pair()
    path = write_half(tmp_path / "raw.mrc", (60 * raw + 30000).astype(np.float32))
    arguments = path, model_file, tmp_path / "o.mrc", tmp_path / "o.json"
    with pytest.raises(InputError, match=r"raw.mrc: float16 would round away.*write float32"):
        denoise_micrograph(*arguments, denoising(dtype="float16"))
    assert not (tmp_path / "o.mrc").exists()
    denoise_micrograph(*arguments, denoising(dtype="float32"))


DENOISE = """
import sys
from denoise_micrograph import denoise_micrograph
settings = {"dtype": "float16", "tile_px": None, "device": "cpu"}
settings |= {"hot_pixel_threshold": "auto", "average_halves": "auto"}
denoise_micrograph(*sys.argv[1:], settings)
print(*sys.modules)
"""


def test_a_denoising_imports_nothing_heavy_beside_pytorch(tmp_path, model_file):
    path = write_half(tmp_path / "raw.mrc", noisy_pair()[1].astype(np.float32))
    words = path, model_file, tmp_path / "a.mrc", tmp_path / "a.json"
    process = subprocess.run(
        [sys.executable, "-c", DENOISE, *words], cwd=SCRIPTS, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    heavy = ("torch._dynamo", "torch._inductor", "sympy", "pandas", "matplotlib", "scipy", "yaml")
    assert [m for m in process.stdout.splitlines()[-1].split() if m.startswith(heavy)] == []
