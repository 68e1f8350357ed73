"""The survey of one image: what is rejected, what is warned of, and what is not."""

import math

import numpy as np
import pytest

from clearice.errors import InputError
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.pixels.hot_pixels import local_std
from clearice.micrographs.rows import AUTO, MicrographRows
from mrc_files import MODES, header_bytes, noise_image, write_mrc


def rows_of(folder, image, mode=2, limit=AUTO):
    return MicrographRows(open_micrograph(write_mrc(folder / "a.mrc", image, mode)), limit)


def warnings_of(folder, image, mode=2, limit=AUTO):
    return rows_of(folder, image, mode, limit).survey.warnings


def counts(height=300, width=512, seed=0, per_pixel=40):
    return np.random.default_rng(seed).poisson(per_pixel, (height, width)).astype(np.float32)


@pytest.mark.parametrize("mode", [1, 2, 6, 12])
def test_an_ordinary_image_is_not_spoken_of(tmp_path, mode):
    survey = rows_of(tmp_path, counts(), mode).survey
    assert survey.warnings == []
    assert not survey.blank
    assert survey.hot_pixels == 0


# Pixels that are not finite.


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_few_single_ones_are_replaced_and_said(tmp_path, value):
    image = counts()
    image[10, 20] = image[200, 400] = value
    rows = rows_of(tmp_path, image)
    (said,) = rows.survey.warnings
    assert said.startswith("2 pixels are NaN or infinite: replaced by the median")
    assert rows.survey.hot_pixels == 2
    assert rows.survey.input.maximum < 100
    assert all(np.isfinite(block).all() for block in rows.blocks())


def test_following_the_advice_works(tmp_path):
    image = counts()
    image[10, 20] = np.nan
    rows = rows_of(tmp_path, image, limit=None)
    with pytest.raises(InputError, match=r"1 pixel is NaN.*hot_pixel_threshold: auto"):
        _ = rows.survey
    assert rows.numbers["not_finite"] == pytest.approx(1 / image.size)
    assert rows_of(tmp_path, image).survey.hot_pixels == 1


def test_a_threshold_replaces_nan_as_it_replaces_infinity(tmp_path):
    image = counts()
    image[10, 20], image[30, 40] = np.nan, np.inf
    limit = 8 * local_std(open_micrograph(write_mrc(tmp_path / "a.mrc", image)))
    rows = rows_of(tmp_path, image, limit=limit)
    assert rows.survey.hot_pixels == 2
    assert all(np.isfinite(block).all() for block in rows.blocks())


@pytest.mark.parametrize("limit", [AUTO, None])
def test_many_or_connected_ones_are_made_again(tmp_path, limit):
    connected, many = counts(), counts()
    connected[40:43, 50:53] = np.nan
    many[np.random.default_rng(0).random(many.shape) < 0.01] = np.inf
    for image in (connected, many):
        with pytest.raises(InputError, match=r"NaN or infinite.*make the micrograph again"):
            _ = rows_of(tmp_path, image, limit=limit).survey


def test_many_are_too_many_for_a_threshold_as_well(tmp_path):
    image = counts()
    image[np.random.default_rng(0).random(image.shape) < 0.01] = np.nan
    with pytest.raises(InputError, match=r"NaN or infinite, the first at row 0, column \d+.*again"):
        _ = rows_of(tmp_path, image, limit=100.0).survey


# Hot pixels.


def test_hot_pixels_rule_no_number(tmp_path):
    image = counts()
    clean = rows_of(tmp_path, image).survey.input
    image[[3, 99, 200], [5, 300, 20]] = 3e5
    for limit in (AUTO, None):
        spoilt = rows_of(tmp_path, image, limit=limit).survey
        assert spoilt.input.std == pytest.approx(clean.std, rel=1e-3)
        assert spoilt.input.scale == pytest.approx(clean.scale, rel=1e-3)
        assert (spoilt.input.maximum > 1e5) == (limit is None)
        (said,) = spoilt.warnings
        assert "3 pixels are clearly hot" in said
        assert "patches.hot_pixel_threshold" in said
        assert spoilt.hot_pixels == (0 if limit is None else 3)


# Blank areas.


@pytest.mark.parametrize("fill", [0.0, 40.0, -7.5])
def test_a_tail_is_an_unfinished_copy(tmp_path, fill):
    image = counts()
    image[180:] = fill
    with pytest.raises(InputError, match=r"unfinished copy\? 40 % .* one value: rows 180 to 299"):
        _ = rows_of(tmp_path, image).survey


@pytest.mark.parametrize("mode", [1, 2, 6])
@pytest.mark.parametrize("lost", [3000, 20000])  # pixels, in the middle of a row
def test_a_copy_that_stopped_within_a_row_is_unfinished_however_short_its_tail(
    tmp_path, mode, lost
):
    path = write_mrc(tmp_path / "a.mrc", counts(1000, 1024), mode)
    content = path.read_bytes()
    item = np.dtype(MODES[mode]).itemsize
    path.write_bytes(content[: -lost * item] + bytes(lost * item))
    with pytest.raises(InputError, match="unfinished copy"):
        _ = MicrographRows(open_micrograph(path)).survey


def test_a_hole_of_pages_is_an_unfinished_copy(tmp_path):
    path = write_mrc(tmp_path / "a.mrc", counts(1000, 1024))
    content = bytearray(path.read_bytes())
    content[1 << 20 : (1 << 20) + 5 * 4096] = bytes(5 * 4096)
    path.write_bytes(content)
    with pytest.raises(InputError, match="unfinished copy"):
        _ = MicrographRows(open_micrograph(path)).survey


BORDERS = {
    "bottom": (np.s_[-9:, :], "rows 291 to 299"),
    "top": (np.s_[:7, :], "rows 0 to 6"),
    "left": (np.s_[:, :12], "columns 0 to 11"),
    "right": (np.s_[:, -5:], "columns 507 to 511"),
    "a corner": (np.s_[:128, :192], "within rows 0 to 127, columns 0 to 191"),
    "a band": (np.s_[140:150, :], "rows 140 to 149"),
}


@pytest.mark.parametrize("where", BORDERS)
def test_a_border_is_left_out_and_said(tmp_path, where):
    part, place = BORDERS[where]
    image = counts()
    clean = rows_of(tmp_path, image).survey
    image[part] = 0
    survey = rows_of(tmp_path, image).survey
    (said,) = survey.warnings
    assert place in said
    assert survey.blank.fraction == pytest.approx((image == 0).mean())
    np.testing.assert_array_equal(survey.blank.mask(0, 300), image == 0)
    for name in ("location", "scale", "mean", "std"):
        expected = getattr(clean.input, name)
        assert getattr(survey.input, name) == pytest.approx(expected, rel=0.01)


def test_a_border_at_an_angle_is_no_copy(tmp_path):
    image = counts(1000, 1024)
    y, x = np.mgrid[:1000, :1024]
    image[y + 0.02 * x > 985] = 0
    (said,) = warnings_of(tmp_path, image)
    assert "have one value: rows" in said


def test_an_image_that_is_mostly_blank_is_rejected(tmp_path):
    image = counts()
    image[:170] = 0
    with pytest.raises(InputError, match=r"57 % of the pixels have one value: rows 0 to 169"):
        _ = rows_of(tmp_path, image).survey


@pytest.mark.parametrize("per_pixel", [0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1])
def test_a_sparse_count_is_not_blank(tmp_path, per_pixel):
    survey = rows_of(tmp_path, counts(512, 512, per_pixel=per_pixel)).survey
    assert survey.blank.fraction == 0
    assert survey.warnings == []


# Bytes that are no pixels.

PAGE = b"<html><head><title>503</title></head><body>" + b"<p>Service unavailable</p>" * 40


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("mode", [0, 1, 2, 6])
@pytest.mark.parametrize("page", [PAGE, b"connection reset by peer, retrying\r\n" * 30])
def test_text_inside_a_file_is_found(tmp_path, mode, order, page):
    if mode == 0 and page != PAGE:
        pytest.skip("any text is in range of bytes; only the beginning of a page tells")
    path = write_mrc(tmp_path / "a.mrc", counts(400, 512), mode, order)
    content = bytearray(path.read_bytes())
    content[101_023 : 101_023 + len(page)] = page
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"text in the place of pixels, in row \d+: '"):
        _ = MicrographRows(open_micrograph(path)).survey


@pytest.mark.parametrize("mode", [1, 2, 6, 12])
@pytest.mark.parametrize("normal", [False, True])
def test_a_lost_byte_is_found(tmp_path, mode, normal):
    image = noise_image(400, 512, mean=200, std=15) if normal else counts(400, 512)
    path = write_mrc(tmp_path / "a.mrc", image, mode)
    content = path.read_bytes()
    path.write_bytes(content[:200_001] + content[200_002:] + b"\0")
    with pytest.raises(InputError, match=r"lost or foreign|NaN or infinite|impossible values"):
        _ = MicrographRows(open_micrograph(path)).survey


def test_impossible_values_are_rejected_and_a_small_cluster_said(tmp_path):
    image = counts()
    image[50, 100:150] = 1e20
    with pytest.raises(InputError, match=r"impossible values: 50 pixels are .* row 50, column 100"):
        _ = rows_of(tmp_path, image).survey
    image = counts()
    image[50:53, 100:103] = 1e7
    assert any("impossible values" in text for text in warnings_of(tmp_path, image))


# Rows and columns of the detector.


def test_dead_and_hot_columns_and_rows_are_named(tmp_path):
    image = counts()
    image[:, 100] = 0
    image[:, 300:302] += 30
    image[200] *= 2
    (said,) = warnings_of(tmp_path, image)
    assert said.startswith("row 200 and columns 100, 300, 301 dead or hot")


@pytest.mark.parametrize("direction", ["rows", "columns"])
def test_stripes_are_said(tmp_path, direction):
    image = counts(512, 512)
    pattern = np.random.default_rng(5).normal(0, 0.25 * math.sqrt(40), 512).astype(np.float32)
    image += pattern[:, None] if direction == "rows" else pattern
    (said,) = warnings_of(tmp_path, image)
    assert said.startswith(f"striped along its {direction}: 0.2")


STEPS = {
    "right half": (np.s_[:, 260:], "from column 260 on another level"),
    "lower half": (np.s_[150:, :], "from row 150 on another level"),
    "a quadrant": (np.s_[:150, :256], "from row 150 on another level|from column 256 on"),
}


@pytest.mark.parametrize("where", STEPS)
def test_a_part_with_another_gain_is_named(tmp_path, where):
    part, words = STEPS[where]
    image = counts()
    image[part] *= 1.4
    said = " ".join(warnings_of(tmp_path, image))
    assert any(word in said for word in words.split("|"))


@pytest.mark.parametrize("part", [np.s_[:, 256:], np.s_[150:, :]])
def test_a_part_with_other_noise_on_the_same_level_is_named(tmp_path, part):
    image = noise_image(512, 1024, mean=0, std=1)
    image[part] *= 2.5
    said = " ".join(warnings_of(tmp_path, image))
    assert "on other noise, by a factor of 2.5" in said


@pytest.mark.parametrize("angle", [0.03, 0.3, 1.2])
def test_the_edge_of_a_specimen_is_not_a_step(tmp_path, angle):
    y, x = np.mgrid[:512, :512]
    beyond = (y - 256) * math.cos(angle) + (x - 256) * math.sin(angle) > 0
    image = counts(512, 512, per_pixel=np.where(beyond, 24, 40))
    assert warnings_of(tmp_path, image) == []


def test_a_dark_square_is_not_a_step(tmp_path):
    image = noise_image(256, 512, mean=500, std=20)
    image[20:140, 30:200] -= 400
    assert warnings_of(tmp_path, image) == []


def test_a_header_alone_is_no_image(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(header_bytes(300, 512, 2) + bytes(300 * 512 * 4))
    with pytest.raises(InputError, match="a constant image"):
        _ = MicrographRows(open_micrograph(path)).survey
