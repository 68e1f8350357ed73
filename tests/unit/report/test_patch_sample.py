"""A look at some patches is spread, bounded, always the same, and exact where it counts."""

import tracemalloc

import numpy as np
import pytest

from clearice.dataset.manifest import build_manifest, split_part
from clearice.dataset.reader import open_split
from clearice.files import read_json, write_json
from clearice.report.patch_sample import look_at, spread_indices
from shard_files import make_shard

SIZE = 32


def dataset(folder, train, test, size_px=SIZE):
    """Write a dataset of micrographs with that many patches each; return its manifest."""
    parts = {}
    for split, counts in (("train", train), ("test", test)):
        paths = [
            make_shard(folder / "shards", f"{split}{k}", n=n, size_px=size_px)
            for k, n in enumerate(counts)
        ]
        parts[split] = split_part([(p, read_json(p)) for p in paths], folder / "dataset")
    write_json(folder / "dataset" / "manifest.json", build_manifest(parts))
    return folder / "dataset" / "manifest.json"


def whole(manifest, split, index):
    with open_split(manifest, split) as reader:
        return [patch.astype("f8") for patch in reader.read(index)]


@pytest.mark.parametrize(("total", "count"), [(10, 20), (20, 20), (21, 20), (33_124, 2000)])
def test_indices_are_spread_and_never_repeated(total, count):
    found = spread_indices(total, count)
    assert len(found) == min(total, count)
    assert len(set(found)) == len(found)
    assert found == sorted(found)
    assert found == spread_indices(total, count)
    gaps = np.diff([-1, *found, total])
    assert gaps.max() <= 2 * -(-total // len(found))
    if total > count:
        assert found != spread_indices(total, count, seed=1)


def test_a_small_dataset_is_looked_at_whole(tmp_path):
    manifest = dataset(tmp_path, [4, 3], [2])
    sample = look_at(manifest)
    places = [(patch.split, patch.index) for patch in sample.patches]
    assert places == [("train", k) for k in range(7)] + [("test", 0), ("test", 1)]
    assert sample.total == 9
    assert sample.rows == sample.patch_size_px == SIZE
    for patch in sample.patches:
        assert patch.variance == pytest.approx(whole(manifest, patch.split, patch.index)[0].var())
    pairs = [whole(manifest, "test", k) for k in range(2)]
    raw = np.mean([np.square(given - wanted).mean() for given, wanted in pairs])
    assert sample.test["raw"] == pytest.approx(raw)
    assert sample.test["constant"] == pytest.approx(np.var([wanted for _, wanted in pairs]))
    assert (sample.test["patches"], sample.test["of"]) == (2, 2)


def test_a_limit_of_bytes_is_kept_and_the_extremes_are_exact(tmp_path):
    manifest = dataset(tmp_path, [60, 60], [20])
    limit = 100 * 2 * 8 * SIZE * 4  # 8 rows of both sides of 100 patches
    sample = look_at(manifest, count=100, limit_bytes=limit)
    assert len(sample.patches) == 100
    assert sample.rows == 8
    assert sum(patch.whole for patch in sample.patches) == 48
    for patch in filter(lambda patch: patch.whole, sample.patches):
        assert patch.variance == pytest.approx(whole(manifest, patch.split, patch.index)[0].var())
    assert sample == look_at(manifest, count=100, limit_bytes=limit)


def test_memory_does_not_grow_with_the_dataset(tmp_path):
    peaks = []
    for number, counts in enumerate(([40], [40] * 20)):
        manifest = dataset(tmp_path / str(number), counts, [10], size_px=64)
        tracemalloc.start()
        look_at(manifest, count=50)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 760 patches more are 24 MiB; what grows are the segments of the manifest.
    assert peaks[1] < peaks[0] + 500_000
