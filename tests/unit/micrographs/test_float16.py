"""float16 is refused where it would round away what denoising shows, and nowhere else."""

import numpy as np
import pytest

from clearice.config import complete_config
from clearice.errors import InputError
from clearice.micrographs.finding.sources import MicrographFiles
from clearice.micrographs.normalisation import RowStatistics
from clearice.micrographs.pixels.float16 import require_float16, require_float16_of_a_sample
from clearice.planning import check_denoised_dtype
from mrc_files import noise_image, write_mrc

ADVICE = "set denoised.dtype: float32"
LOST = [  # mean, noise
    (32000, 60),
    (-32000, 60),
    (9000, 60),
    (60000, 300),
    (1e-8, 1e-8),  # below its smallest numbers
]
KEPT = [(0, 1), (40, 6), (0.6, 0.8), (1000, 32), (2000, 60), (-500, 10), (0, 5000), (1e-2, 1e-3)]


def require(image):
    statistics = RowStatistics()
    statistics.add(image)
    found = statistics.result()
    extremes = found.minimum, found.maximum
    require_float16("a.mrc", found.location, found.scale, *extremes, ADVICE)


def distinct_levels_per_noise_level(mean, std):
    """Return how many numbers of float16 there are within one noise level of the mean."""
    values = np.linspace(mean - std / 2, mean + std / 2, 5000).astype(np.float16)
    # Not np.unique: NumPy 2.4 missorts many equal float16 on processors with AVX512_ICL.
    return len(set(values.tolist()))


@pytest.mark.parametrize(("mean", "std"), LOST)
def test_what_would_keep_a_handful_of_values_is_refused(mean, std):
    assert distinct_levels_per_noise_level(mean, std) <= 20
    with pytest.raises(InputError, match=r"^a.mrc: float16 would round away.*; set denoised.dtype"):
        require(noise_image(128, 128, mean=mean, std=std))


@pytest.mark.parametrize(("mean", "std"), KEPT)
def test_ordinary_counts_and_densities_pass(mean, std):
    assert distinct_levels_per_noise_level(mean, std) >= 20
    require(noise_image(128, 128, mean=mean, std=std))


def test_pixels_beyond_its_range_are_refused():
    image = noise_image(128, 128, mean=40000, std=5000)
    image[5, 5] = 70000
    with pytest.raises(InputError, match=r"a pixel that float16 cannot hold: .* found 70,000"):
        require(image)


def write_uint16(path, offset):
    return write_mrc(path, noise_image(200, 200, mean=offset, std=60).round(), mode=6)


@pytest.mark.parametrize(("offset", "refused"), [(32000, True), (300, False)])
def test_a_few_rows_tell_before_any_job(tmp_path, offset, refused):
    path = write_uint16(tmp_path / "a.mrc", offset)
    micrographs = {"a": MicrographFiles("a", str(path))}
    for dtype, enabled in (("float16", True), ("float32", True), ("float16", False)):
        config = complete_config({"denoised": {"dtype": dtype, "enabled": enabled}})
        if refused and enabled and dtype == "float16":
            with pytest.raises(InputError, match=r"a.mrc: float16 would round away"):
                check_denoised_dtype(config, micrographs)
        else:
            check_denoised_dtype(config, micrographs)


def test_a_file_that_cannot_be_read_is_left_to_its_shard(tmp_path):
    broken = tmp_path / "b.mrc"
    broken.write_bytes(b"no micrograph")
    for path in (broken, tmp_path / "absent.mrc", tmp_path):
        require_float16_of_a_sample(path, ADVICE)
    image = noise_image(100, 100, mean=32000)
    image[40:60, 3] = np.nan
    require_float16_of_a_sample(write_mrc(tmp_path / "n.mrc", image), ADVICE)
    flat = write_mrc(tmp_path / "flat.mrc", np.full((100, 100), 32000.0))
    require_float16_of_a_sample(flat, ADVICE)
