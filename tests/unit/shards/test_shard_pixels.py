"""Pairs with hot pixels, blank areas and broken pixels: what becomes of their shards."""

import numpy as np
import pytest

from clearice.config import complete_config
from clearice.errors import InputError
from clearice.shards.record import read_shard_record
from clearice.shards.sharding import shard_micrograph
from mrc_files import write_mrc

SIZE = 64


def pair(height=512, width=512):
    """Return two counted halves of one scene with dark blobs, float32 (H, W)."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width]
    scene = np.full((height, width), 40.0)
    for cy, cx in rng.uniform(0, (height, width), (40, 2)):
        scene -= 6 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 162)
    return [rng.poisson(np.maximum(scene, 1)).astype(np.float32) for _ in range(2)]


def shard(folder, *images, on_error="stop", dtype="float32", **patches):
    """Return the record and the input patches (n, size, size)."""
    paths = [write_mrc(folder / f"{n}.mrc", i) for n, i in zip("ab", images, strict=False)]
    patches = complete_config({"patches": {"size_px": SIZE, "stride_px": SIZE} | patches})
    shard_micrograph(
        input=str(paths[0]),
        target=str(paths[1]) if len(paths) == 2 else None,
        input_bin=str(folder / "m.input.bin"),
        target_bin=str(folder / "m.target.bin"),
        record=str(folder / "m.json"),
        micrograph="m",
        patches=patches["patches"],
        dtype=dtype,
        on_error=on_error,
    )
    record = read_shard_record(folder / "m.json")
    stored = np.fromfile(folder / "m.input.bin", dtype).reshape(-1, SIZE, SIZE)
    return record, stored


def with_hot_pixels(images, count=6):
    y, x = np.random.default_rng(3).integers(0, 512, (2, count))
    images = [image.copy() for image in images]
    for image in images:
        image[y, x] = 3e5
    return images


def test_hot_pixels_in_both_halves_are_replaced_and_the_pair_is_as_without(tmp_path):
    clean, _ = shard(tmp_path, *pair())
    record, patches = shard(tmp_path, *with_hot_pixels(pair()))
    assert record["status"] == "ok"
    assert record["hot_pixels"] == 12
    assert np.abs(patches).max() < 10
    assert any("6 pixels are clearly hot" in text for text in record["warnings"])
    for key in ("mean", "std", "noise_floor"):
        assert record[key] == pytest.approx(clean[key], rel=2e-3)
    assert record["checks"]["one_image"] == pytest.approx(clean["checks"]["one_image"], abs=2e-3)


def test_where_they_are_kept_a_pair_is_still_two_images(tmp_path):
    record, patches = shard(tmp_path, *with_hot_pixels(pair()), hot_pixel_threshold=None)
    assert record["status"] == "ok"
    assert patches.max() > 1e4
    assert abs(record["checks"]["one_image"]) < 0.02
    assert any("set patches.hot_pixel_threshold: auto" in text for text in record["warnings"])


def test_one_image_is_one_image_with_other_hot_pixels(tmp_path):
    image = pair()[0]
    other = image.copy()
    other[[3, 90, 300], [40, 200, 7]] = 1e6
    with pytest.raises(InputError, match=r"the halves are the same pixels|the same image"):
        shard(tmp_path, image, other)


def test_hot_pixels_do_not_keep_patches_from_float16(tmp_path):
    record, patches = shard(tmp_path, *with_hot_pixels(pair()), dtype="float16")
    assert record["status"] == "ok"
    assert np.isfinite(patches).all()
    images = [np.where(image > 1e5, 1e8, image) for image in with_hot_pixels(pair())]
    with pytest.raises(InputError, match=r"does not fit float16.*hot_pixel_threshold: auto"):
        shard(tmp_path, *images, dtype="float16", hot_pixel_threshold=None)


def test_pixel_halves_take_the_same_pixels_out(tmp_path):
    image = with_hot_pixels(pair())[0]
    image[100, 100] = np.nan
    record, patches = shard(tmp_path, image)
    assert record["target_kind"] == "pixel_halves"
    assert record["hot_pixels"] == 7
    assert np.abs(patches).max() < 10


def test_the_numbers_of_a_rejected_micrograph_are_kept(tmp_path):
    first, second = pair()
    first[300:] = 0
    record, _ = shard(tmp_path, first, second, on_error="skip")
    assert record["status"] == "rejected"
    assert record["checks"]["blank"] == pytest.approx(212 / 512)
    assert record["checks"]["unfinished_copy"] == pytest.approx(212 / 512)


def test_patches_that_are_mostly_blank_are_not_cut(tmp_path):
    clean, _ = shard(tmp_path, *pair())
    images = pair()
    for image in images:
        image[:100] = 0  # a row of patches, and more than half of the next
        image[:, :20] = 0
    record, patches = shard(tmp_path, *images)
    assert sorted(set(record["y"])) == [128, 192, 256, 320, 384, 448]
    assert len(patches) == record["n_patches"] == 48
    assert set(record["x"]) == set(range(0, 512, 64))
    for key in ("mean", "std", "noise_floor"):
        assert record[key] == pytest.approx(clean[key], rel=0.02)
    assert abs(record["half_correlation"]) < 0.02


def test_a_border_that_both_halves_share_is_no_signal_and_no_noise(tmp_path):
    images = pair()
    for image in images:
        image[-15:] = 0
    record, _ = shard(tmp_path, *images)
    assert record["status"] == "ok"
    (first, second) = record["warnings"]
    assert first == second.replace("b.mrc", "a.mrc")
    assert "2.9 % of the pixels have one value: rows 497 to 511" in first


def test_a_blank_half_of_a_pair_takes_its_place_out_of_both(tmp_path):
    first, second = pair()
    second[:200] = 0
    record, _ = shard(tmp_path, first, second)
    assert min(record["y"]) == 192


def test_an_image_in_which_every_patch_is_blank_is_rejected(tmp_path):
    first, second = pair()
    first[:180], second[100:180] = 0, 0
    with pytest.raises(InputError, match=r"every patch of 300 px is mostly blank.*rows 0 to 179"):
        shard(tmp_path, first, second, size_px=300, stride_px=400)


@pytest.mark.parametrize("height", [200, 300])
def test_a_small_image_that_is_mostly_blank_is_rejected(tmp_path, height):
    first, second = (image[:height] for image in pair())
    first[: height * 2 // 3] = second[: height * 2 // 3] = 0
    with pytest.raises(InputError, match=r"6\d % of the pixels have one value: rows 0 to"):
        shard(tmp_path, first, second)
