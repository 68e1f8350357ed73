"""Pictures keep their scale and their grey; curves are well-formed, and say when there are none."""

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from clearice.report import figures
from clearice.report.examples import contrast_limits, stretched
from clearice.report.pictures import (
    View,
    central_view,
    common_limits,
    data_uri,
    grey,
    picture_bytes,
    round_length,
    whole_view,
)

SVG = "{http://www.w3.org/2000/svg}"


class MemoryReader:
    """An image in memory with the interface of an open micrograph."""

    pixel_size_angstrom = 2.0

    def __init__(self, image):
        self.image = np.asarray(image, np.float32)
        self.height_px, self.width_px = self.image.shape

    def blocks(self):
        """Yield five rows at a time."""
        for first in range(0, self.height_px, 5):
            yield first, self.image[first : first + 5]

    def read_rows(self, first, count):
        """Return rows first to first + count."""
        return self.image[first : first + count]


def curve(axes):
    """Draw a curve with a marker, which SVG refers to by its id."""
    axes.plot([1, 2, 3], [1, 3, 2], marker="o", label="a curve")


@pytest.mark.parametrize(
    ("shape", "side", "binning"),
    [((40, 60), 20, 3), ((7420 // 20, 7676 // 20), 48, 8), ((12, 12), 480, 1), ((3, 100), 10, 10)],
)
def test_a_whole_view_averages_blocks_of_pixels(shape, side, binning):
    image = np.random.default_rng(0).normal(5, 1, shape)
    view = whole_view(MemoryReader(image), side)
    assert view.binning == binning
    assert max(view.image.shape) <= side
    high = min(binning, shape[0])
    rows, columns = max(shape[0] // binning, 1), shape[1] // binning
    expected = image[: rows * high, : columns * binning].reshape(rows, high, columns, binning)
    assert view.image == pytest.approx(expected.mean(axis=(1, 3)), abs=1e-5)


def test_a_central_view_is_the_centre_itself():
    image = np.arange(100 * 80).reshape(100, 80)
    view = central_view(MemoryReader(image), 20)
    assert view.image.tolist() == image[40:60, 30:50].tolist()
    assert central_view(MemoryReader(image), 999).image.shape == (100, 80)


@pytest.mark.parametrize(
    ("length", "expected"), [(1, 1), (1.9, 1), (2, 2), (49, 20), (50, 50), (0.3, 0.2), (1000, 1000)]
)
def test_scale_bars_have_round_lengths(length, expected):
    assert round_length(length) == pytest.approx(expected)


def test_a_scale_bar_measures_the_field_and_not_the_picture():
    binned = View(np.zeros((100, 100)), 8, 1.25)  # 800 px of 1.25 angstrom: 100 nm
    assert binned.scale_bar == (pytest.approx(0.2), "20 nm")
    assert View(np.zeros((50, 100)), 1, None).scale_bar == (pytest.approx(0.2), "20 px")


def test_grey_is_linear_and_saturates():
    values = np.array([[-5.0, 0.0, 1.0, 2.0, 9.0]])
    assert grey(values, (0.0, 2.0)).tolist() == [[0, 0, 128, 255, 255]]


def test_limits_of_a_constant_image_do_not_divide_by_zero():
    least, greatest = common_limits(np.full((4, 4), 3.0))
    assert least < 3 < greatest


def test_the_contrast_is_that_of_the_less_noisy_images():
    quiet = np.random.default_rng(0).normal(0, 1, (64, 64))
    noisy = np.random.default_rng(1).normal(0, 50, (64, 64))
    assert contrast_limits([noisy, quiet]) == contrast_limits([100 * noisy, quiet])
    assert contrast_limits([quiet]) == contrast_limits([quiet, quiet])


def test_a_denoised_image_of_little_contrast_is_shown_once_more_stretched():
    image = np.random.default_rng(0).normal(0, 1, (64, 64))
    least, greatest = contrast_limits([image])
    assert stretched(image, (2 * least, 2 * greatest)) == []
    ((title, picture),) = stretched(image, (20 * least, 20 * greatest))
    assert title == "denoised, contrast x 20"
    assert picture.std() > 30


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_pictures_are_encoded_as_they_are(kind):
    image = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
    data = picture_bytes(image, kind)
    with Image.open(io.BytesIO(data)) as decoded:
        assert decoded.mode == "L"
        assert np.abs(np.asarray(decoded, int) - image).max() <= (0 if kind == "png" else 8)
    assert data_uri(data, kind).startswith(f"data:image/{kind};base64,")


def test_the_correlation_figure_has_a_panel_for_each_judge():
    curves = {"frequency_per_px": [0, 0.25, 0.5], "raw_target": [None, 0.5, 0.1]}
    curves["denoised_target"] = [None, 0.6, None]
    one = texts(figures.frc_svg(curves, 2.0))
    assert {"against the raw other half", "spatial frequency (1/Å)"} <= one
    assert "against the truth" not in one
    curves |= {"raw_truth": [1, 1, 1], "denoised_truth": [1, 1, 1], "truth_target": [1, 1, 1]}
    both = texts(figures.frc_svg(curves, None))
    assert {"against the truth", "truth: the most possible"} <= both
    assert "spatial frequency (cycles per pixel)" in both


def test_the_same_figure_has_the_same_bytes():
    assert figures.svg_of([curve], "a") == figures.svg_of([curve], "a")


def test_figures_on_one_page_share_no_id_and_follow_its_colours():
    svg = figures.svg_of([curve], "a")
    pages = [figures.for_page(svg, 'one & "two"', name) for name in ("x", "y")]
    ids = [{e.get("id") for e in ElementTree.fromstring(p).iter() if e.get("id")} for p in pages]
    assert ids[0]
    assert not ids[0] & ids[1]
    root = ElementTree.fromstring(pages[0])
    assert root.get("aria-label") == 'one & "two"'
    assert "currentColor" in pages[0]
    assert figures.INK not in pages[0]
    references = {e.get("{http://www.w3.org/1999/xlink}href") for e in root.iter()} - {None}
    assert references
    assert {reference.removeprefix("#") for reference in references} <= ids[0]


def test_a_file_is_black_on_white():
    svg = figures.for_file(figures.svg_of([curve], "a"))
    assert ElementTree.fromstring(svg).find(f"{SVG}rect").get("fill") == "#ffffff"
    assert figures.INK not in svg


def test_nothing_to_draw_is_said_and_not_left_blank():
    assert "Nothing was trained." in texts(figures.no_data("Nothing was trained.", "svg"))
    with Image.open(io.BytesIO(figures.no_data("nothing", "png"))) as image:
        assert np.asarray(image.convert("L")).min() < 100


def test_a_sheet_of_pictures_holds_them_all():
    black, white = np.zeros((30, 40), np.uint8), np.full((30, 40), 255, np.uint8)
    rows = [
        ("$odd_name", [("a", black, (0.2, "5 nm")), ("b", white, None)]),
        ("n", [("a", black, None)]),
    ]
    with Image.open(io.BytesIO(figures.sheet_png(rows))) as image:
        pixels = np.asarray(image.convert("L"))
    assert 0.35 < (pixels < 40).mean() < 0.5  # half of the places, less the titles


def texts(svg):
    """Return the text elements of an SVG."""
    root = ElementTree.fromstring(svg)
    return {"".join(element.itertext()).strip() for element in root.iter(f"{SVG}text")}
