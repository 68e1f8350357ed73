"""Making a shard needs the memory of one row of patches, whatever the micrograph's height."""

import subprocess
import sys

import numpy as np
import pytest

from clearice.micrographs.mrc_writer import write_micrograph
from clearice.shards.record import LAYOUTS
from conftest import REPOSITORY

WIDTH_PX, PATCH_PX = 3000, 512
LIMIT_MIB = 80  # interpreter and NumPy 28, two rows of patches 12, blocks; no image (34 or 69)
GROWTH_MIB = 12  # allocator noise; an image in memory would add 34

# A child's ru_maxrss starts at its parent's memory, so this small process runs in between.
MEASURE = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
)


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """Return {height: the two halves of that height}."""
    folder = tmp_path_factory.mktemp("halves")
    pairs = {}
    for height_px in (3000, 6000):
        pairs[height_px] = [folder / f"{height_px}_{half}.mrc" for half in "ab"]
        for seed, path in enumerate(pairs[height_px]):
            generator = np.random.default_rng(seed)
            rows = (generator.standard_normal(WIDTH_PX, np.float32) for _ in range(height_px))
            shape = height_px, WIDTH_PX
            write_micrograph(path, rows, *shape, pixel_size_angstrom=1.0, label="")
    return pairs


def peak_rss_mib(folder, first, second, target, layout):
    command = [sys.executable, "-m", "clearice", "shard", first]
    command += ["--target", target, "--output", folder / "m", "--layout", layout]
    command += ["--patch-size-px", str(PATCH_PX), "--stride-px", str(PATCH_PX)]
    if target == "halves":
        command += ["--target-half", second]
    process = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, command)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    for end in LAYOUTS[layout].values():
        (folder / f"m.{end}").unlink()
    return float(process.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit outside Linux")
@pytest.mark.parametrize(
    ("target", "layout"),
    [
        ("halves", "patches"),
        ("synthetic_noise", "patches"),
        ("lowpass", "patches"),
        ("halves", "planes"),
        ("halves", "both"),
    ],
)
def test_memory_is_bounded_and_does_not_grow_with_the_height(tmp_path, halves, target, layout):
    peaks = [peak_rss_mib(tmp_path, *pair, target, layout) for pair in halves.values()]
    assert max(peaks) < LIMIT_MIB
    assert peaks[1] < peaks[0] + GROWTH_MIB
