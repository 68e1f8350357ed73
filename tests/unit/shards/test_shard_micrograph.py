import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from affine import affine_of
from clearice.errors import InputError
from clearice.shards.patches import patch_origins
from clearice.shards.record import FILES, LAYOUTS, read_shard_record
from clearice.shards.sharding import shard_micrograph
from clearice.shards.targets import noisy_blocks
from conftest import REPOSITORY
from mrc_files import noise_image, pixels_for, write_mrc

KINDS = ("halves", "auto", "synthetic_noise", "lowpass")  # auto, alone: pixel halves


def patches_section(**changes):
    return {
        "size_px": 16,
        "stride_px": 8,
        "cover_border": False,
        "target": "halves",
        "synthetic_noise_std": 1.0,
        "lowpass_sigma_px": 2.0,
        "hot_pixel_threshold": None,
        "seed": 0,
    } | changes


@pytest.fixture(params=["patches", "planes"], autouse=True)
def layout(request, monkeypatch):
    """What the shards of a test store: patches, or planes that they are cut from afterwards."""
    monkeypatch.setitem(STORED, "layout", request.param)
    return request.param


STORED = {}


def make_shard(folder, input, other=None, *, dtype="float32", on_error="stop", name="m", **changes):
    """Run the job; return its record and the two arrays (n, size, size)."""
    files = LAYOUTS[STORED["layout"]]
    patches = patches_section(**changes)
    target = other if patches["target"] == "halves" else None
    shard_micrograph(
        input=str(input),
        target=target and str(target),
        **{argument(file): f"{folder}/{name}.{end}" for file, end in files.items()},
        record=f"{folder}/{name}.json",
        micrograph=name,
        patches=patches,
        dtype=dtype,
        on_error=on_error,
    )
    record = read_shard_record(Path(folder) / f"{name}.json")
    assert record["files"].keys() == files.keys()
    arrays = []
    for entry in record["files"].values():
        content = (Path(folder) / entry["path"]).read_bytes()
        assert entry["bytes"] == len(content)
        assert entry["xxh3"] == xxhash.xxh3_64_hexdigest(content)
        stored = np.frombuffer(content, {"float32": "<f4", "float16": "<f2"}[dtype])
        size = patches["size_px"]
        if STORED["layout"] == "planes":
            plane = stored.reshape(record["height_px"], record["width_px"])
            places = zip(record["y"], record["x"], strict=True)
            stored = np.stack([plane[y : y + size, x : x + size] for y, x in places])
        arrays.append(stored.reshape(-1, size, size))
    return record, *arrays


def argument(file):
    """Return the keyword of shard_micrograph for a file of a shard."""
    return file if file.endswith("_plane") else f"{file}_bin"


def whole_image_shard(image, other, patches, dtype, name="m"):
    """The same in plain NumPy and SciPy, with the whole image in memory."""
    location, scale = np.float32(affine_of(image))
    if patches["target"] == "auto":
        height, width = image.shape[0] // 2, image.shape[1] // 2
        blocks = image[: 2 * height, : 2 * width].astype(np.float32).reshape(height, 2, width, 2)
        image = (blocks[:, 0, :, 0] + blocks[:, 1, :, 1]) / 2
        other = (blocks[:, 0, :, 1] + blocks[:, 1, :, 0]) / 2
        scale *= np.float32(np.sqrt(0.5))
    first = (image - location) / scale
    if patches["target"] in ("halves", "auto"):
        second = (other - location) / scale
    elif patches["target"] == "lowpass":
        second = gaussian_filter(first, patches["lowpass_sigma_px"])
    else:
        second = first
        noise_std = patches["synthetic_noise_std"]
        (first,) = noisy_blocks([first], name, patches["seed"], noise_std)
    size = patches["size_px"]
    origins = patch_origins(*image.shape, size, patches["stride_px"], patches["cover_border"])
    return origins, *(
        np.stack([side[y : y + size, x : x + size] for y, x in origins]).astype(dtype)
        for side in (first, second)
    )


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(4, 40),
    stride=st.integers(1, 50),
    below=st.integers(0, 60),
    right=st.integers(0, 60),
    mode=st.sampled_from([0, 1, 2, 6, 12, 101]),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from(["float32", "float16"]),
    cover=st.booleans(),
    seed=st.integers(0, 3),
)
def test_the_streamed_shard_equals_a_whole_image_computation(
    tmp_path_factory, size, stride, below, right, mode, kind, dtype, cover, seed
):
    folder = tmp_path_factory.mktemp("shard")
    shape = np.array([size + below, size + right]) * (2 if kind == "auto" else 1)
    image = pixels_for(mode, *shape.tolist(), seed=1)
    other = pixels_for(mode, *shape.tolist(), seed=2)
    changes = {"target": kind, "stride_px": stride, "size_px": size, "seed": seed}
    record, first, second = make_shard(
        folder,
        write_mrc(folder / "a.mrc", image, mode, "<>"[seed % 2]),
        write_mrc(folder / "b.mrc", other, mode),
        dtype=dtype,
        cover_border=cover,
        **changes,
    )
    patches = patches_section(cover_border=cover, **changes)
    origins, expected_first, expected_second = whole_image_shard(image, other, patches, dtype)
    assert record["n_patches"] == len(origins)
    assert list(zip(record["y"], record["x"], strict=True)) == list(map(tuple, origins.tolist()))
    # float64 sums of another order may move the float32 mean and std by one unit
    tolerance = {"rtol": 2e-3, "atol": 2e-3} if dtype == "float16" else {"rtol": 1e-5, "atol": 2e-6}
    np.testing.assert_allclose(first, expected_first, **tolerance)
    np.testing.assert_allclose(second, expected_second, **tolerance)


def halves_of(folder, height=70, width=90, **words):
    """Write two independent halves; return their paths."""
    images = (noise_image(height, width, seed) for seed in (1, 2))
    return [write_mrc(folder / f"{n}.mrc", i, **words) for n, i in zip("ab", images, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_input_gives_the_same_bytes(tmp_path, kind):
    paths = halves_of(tmp_path)
    first, second = (make_shard(tmp_path, *paths, target=kind)[0] for _ in range(2))
    assert first == second


def test_synthetic_noise_depends_on_seed_and_name_only(tmp_path):
    (path, _) = halves_of(tmp_path)
    kind = {"target": "synthetic_noise"}
    _, noisy, clean = make_shard(tmp_path, path, **kind)
    _, other_name, _ = make_shard(tmp_path, path, name="n", **kind)
    _, other_seed, _ = make_shard(tmp_path, path, seed=1, **kind)
    _, larger_patches, _ = make_shard(tmp_path, path, size_px=24, **kind)
    assert not np.array_equal(noisy, other_name)
    assert not np.array_equal(noisy, other_seed)
    np.testing.assert_array_equal(larger_patches[0, :16, :16], noisy[0])
    assert (noisy - clean).std() == pytest.approx(1, rel=0.02)


def test_overlapping_patches_share_their_noise(tmp_path):
    (path, _) = halves_of(tmp_path)
    _, noisy, _ = make_shard(tmp_path, path, target="synthetic_noise")
    np.testing.assert_array_equal(noisy[0][:, 8:], noisy[1][:, :8])


def test_one_affine_serves_both_halves(tmp_path):
    first, _ = halves_of(tmp_path)
    brighter = write_mrc(tmp_path / "c.mrc", noise_image(70, 90, 3, mean=12.0, std=4.0))
    record, _, target = make_shard(tmp_path, first, brighter)
    assert target.mean() == pytest.approx((12 - record["mean"]) / record["std"], abs=0.1)
    assert target.std() == pytest.approx(4 / record["std"], rel=0.05)


def test_nothing_is_clipped(tmp_path):
    image = noise_image(70, 90, 1)
    image[20, 20], image[30, 30] = 500, -400
    path = write_mrc(tmp_path / "c.mrc", image)
    record, patches, _ = make_shard(tmp_path, path, target="lowpass")
    assert patches.max() == pytest.approx((500 - record["mean"]) / record["std"], rel=1e-5)
    assert patches.min() == pytest.approx((-400 - record["mean"]) / record["std"], rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_hot_pixels_are_replaced_before_anything_else(tmp_path, kind):
    images = [noise_image(70, 90, seed) for seed in (1, 2)]
    images[0][33, 44] = 1e5
    paths = [write_mrc(tmp_path / f"{n}.mrc", i) for n, i in zip("ab", images, strict=True)]
    record, first, second = make_shard(tmp_path, *paths, target=kind, hot_pixel_threshold=10)
    assert record["hot_pixels"] == 1
    std = 2 * 0.5**0.5 if kind == "auto" else 2
    assert record["std"] == pytest.approx(std, rel=0.05)
    assert max(np.abs(first).max(), np.abs(second).max()) < 8
    untouched, *untouched_patches = make_shard(tmp_path, *paths, target=kind)
    assert untouched["hot_pixels"] == 0
    assert max(np.abs(first).max() for first in untouched_patches) > 1e4


def test_the_record_says_where_the_shard_comes_from(tmp_path):
    paths = halves_of(tmp_path, stamp=bytes(4))
    record, first, _ = make_shard(tmp_path, *paths, name="mic")
    assert record["micrograph"] == "mic"
    assert [record[side]["path"] for side in ("input", "target")] == [str(p) for p in paths]
    assert record["input"]["bytes"] == paths[0].stat().st_size
    assert record["input"]["xxh3"] == xxhash.xxh3_64_hexdigest(paths[0].read_bytes())
    assert (record["height_px"], record["width_px"]) == (70, 90)
    assert record["pixel_size_angstrom"] == pytest.approx(1.5)
    assert (record["patch_size_px"], record["stride_px"]) == (16, 8)
    assert [warning.partition(":")[0] for warning in record["warnings"]] == ["a.mrc", "b.mrc"]
    assert record["noise_floor"] == pytest.approx(1, rel=0.1)
    assert abs(record["half_correlation"]) < 0.1
    assert len(first) == record["n_patches"] == len(record["y"])
    single, _, _ = make_shard(tmp_path, paths[0], target="lowpass")
    assert single["target"] is single["noise_floor"] is single["half_correlation"] is None


@pytest.mark.parametrize(("kind", "with_target"), [("halves", False), ("lowpass", True)])
def test_a_target_half_goes_with_target_halves_only(tmp_path, kind, with_target):
    first, second = map(str, halves_of(tmp_path))
    outputs = {name: str(tmp_path / name) for name in ("input_bin", "target_bin", "record")}
    with pytest.raises(InputError, match=r"a target half belongs to patches.target halves"):
        shard_micrograph(
            input=first,
            target=second if with_target else None,
            micrograph="m",
            patches=patches_section(target=kind),
            **outputs,
        )


def run_command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "clearice", "shard", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )


def test_by_hand(tmp_path, layout):
    first, second = halves_of(tmp_path)
    options = ["--patch-size-px", "16", "--stride-px", "8", "--output", tmp_path / "out" / "mic"]
    options += ["--layout", layout]
    process = run_command(first, "--target-half", second, *options)
    assert process.returncode == 0, process.stderr
    record = json.loads((tmp_path / "out" / "mic.json").read_text())
    expected, _, _ = make_shard(tmp_path, first, second, name="mic")
    assert record == expected
    ends = LAYOUTS[layout].values()
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted(f"mic.{end}" for end in ("json", *ends))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kind", KINDS)
def test_patches_cut_from_planes_are_the_stored_ones_to_the_last_bit(
    tmp_path, monkeypatch, dtype, kind
):
    paths = halves_of(tmp_path)
    stored = {}
    for layout in ("patches", "planes"):
        monkeypatch.setitem(STORED, "layout", layout)
        record, *sides = make_shard(
            tmp_path, *paths, target=kind, dtype=dtype, name=layout, cover_border=True
        )
        stored[layout] = [side.tobytes() for side in sides]
        places = record["y"], record["x"]
    if kind != "synthetic_noise":  # it hangs on the name
        assert stored["patches"] == stored["planes"]
    both = {argument(file): tmp_path / f"planes.{end}" for file, end in FILES.items()}
    shard_micrograph(
        input=str(paths[0]),
        target=str(paths[1]) if kind == "halves" else None,
        record=tmp_path / "planes.json",
        micrograph="planes",
        patches=patches_section(target=kind, cover_border=True),
        dtype=dtype,
        **both,
    )
    record = read_shard_record(tmp_path / "planes.json")
    assert (record["y"], record["x"]) == places
    patches = [(tmp_path / f"planes.{side}.bin").read_bytes() for side in ("input", "target")]
    assert patches == stored["planes"]


def test_another_layout_leaves_nothing_of_the_one_before(tmp_path, monkeypatch):
    paths = halves_of(tmp_path)
    for layout in ("planes", "patches", "planes"):
        monkeypatch.setitem(STORED, "layout", layout)
        make_shard(tmp_path, *paths)
        assert {p.name for p in tmp_path.glob("m.*")} == {
            f"m.{end}" for end in ("json", *LAYOUTS[layout].values())
        }


def test_a_rejected_micrograph_has_empty_files(tmp_path, layout):
    path = write_mrc(tmp_path / "a.mrc", np.ones((70, 90), np.float32))
    folder = tmp_path / "shards"
    files = {argument(f): folder / f"m.{end}" for f, end in LAYOUTS[layout].items()}
    shard_micrograph(str(path), folder / "m.json", "m", patches_section(target="lowpass"), **files)
    record = read_shard_record(folder / "m.json")
    assert (record["status"], record["n_patches"]) == ("rejected", 0)
    assert {(folder / entry["path"]).stat().st_size for entry in record["files"].values()} == {0}


def test_real_half_sets_become_shards(tmp_path, real_data):
    frame = real_data / "empiar-10146" / "May08_05.31.00_frame.mrc"
    rest = frame.with_name("May08_05.31.00_rest.mrc")
    record, first, second = make_shard(tmp_path, frame, rest, size_px=256, stride_px=128)
    assert record["n_patches"] == 64
    assert record["warnings"] == []
    assert first.std() == pytest.approx(1, rel=0.05)
    assert second.std() == pytest.approx(0.14, rel=0.1)
    assert abs(record["half_correlation"]) < 0.02


@pytest.mark.parametrize("target", KINDS)
def test_the_hash_of_the_pixels_is_that_of_the_whole_image(tmp_path, target):
    image, other = noise_image(64, 48), noise_image(64, 48, 1)
    path = write_mrc(tmp_path / "a.mrc", image, order=">")
    half = write_mrc(tmp_path / "b.mrc", other)
    record, *_ = make_shard(tmp_path, path, half, target=target, hot_pixel_threshold=3.0)
    assert record["input"]["pixels_xxh3"] == xxhash.xxh3_64_hexdigest(image.tobytes())
    if target == "halves":
        assert record["target"]["pixels_xxh3"] == xxhash.xxh3_64_hexdigest(other.tobytes())


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("stated", [None, 1.499, 0.885])
def test_a_stated_pixel_size_is_used_and_the_headers_is_told(tmp_path, target, stated):
    paths = [write_mrc(tmp_path / f"{i}.mrc", noise_image(64, 48, i)) for i in range(2)]
    halves = target == "halves"
    shard_micrograph(
        input=str(paths[0]),
        target=str(paths[1]) if halves else None,
        input_bin=tmp_path / "m.input.bin",
        target_bin=tmp_path / "m.target.bin",
        record=tmp_path / "m.json",
        micrograph="m",
        patches=patches_section(target=target),
        pixel_size_angstrom=stated,
    )
    record = read_shard_record(tmp_path / "m.json")
    binning = 2 if target == "auto" else 1
    assert record["pixel_size_angstrom"] == pytest.approx(binning * (stated or 1.5))
    off = stated and pytest.approx(1.5 / stated - 1)
    assert record["checks"]["stated_pixel_size"] == off
    words = "the STAR file says 0.885 angstrom per pixel, the header 1.5: 0.885 is used"
    assert (words in record["warnings"]) == (stated == 0.885)
