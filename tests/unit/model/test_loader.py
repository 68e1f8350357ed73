"""The streaming loader: the right bytes in the right order, through a fixed amount of memory."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from clearice.dataset.reader import open_split
from clearice.errors import InputError
from clearice.model.loader import Loader
from training_data import SCRIPTS, write_dataset, write_manifest

PATCH_KIB = 2  # input and target of 16 x 16 float32


def load(manifest, batches, *, threads=2, buffer_mib=1, batch_size=4, dtype="float32"):
    """Return the loaded batches as copies: a list of (input, target)."""
    with (
        open_split(manifest, "train") as reader,
        Loader(batch_size, 16, dtype, "cpu", threads=threads, buffer_mib=buffer_mib) as loader,
    ):
        return [(b.input.clone(), b.target.clone()) for b in loader.batches(reader, batches)]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"), train=(7, 1, 22))


def shuffled_batches(count=30, batch_size=4):
    order = np.random.default_rng(1).permutation(count)
    return [order[i : i + batch_size] for i in range(0, count, batch_size)]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batches_of_buffer", [2, 5])
def test_batches_are_the_patches_asked_for(manifest, threads, batches_of_buffer):
    batches = shuffled_batches()
    buffer_mib = batches_of_buffer * 4 * PATCH_KIB / 1024
    loaded = load(manifest, batches, threads=threads, buffer_mib=buffer_mib)
    assert [len(image) for image, _ in loaded] == [4] * 7 + [2]  # the last one is uneven
    with open_split(manifest, "train") as reader:
        for indices, (image, target) in zip(batches, loaded, strict=True):
            for row, i in enumerate(indices):
                expected = reader.read(i)
                assert np.array_equal(image[row, 0], expected[0])
                assert np.array_equal(target[row, 0], expected[1])


def test_a_loader_serves_one_iteration_after_another(manifest):
    batches = shuffled_batches()
    with (
        open_split(manifest, "train") as reader,
        Loader(4, 16, "float32", "cpu", threads=2, buffer_mib=4 * PATCH_KIB / 512) as loader,
    ):
        for first in (0, 3, 7):  # left after the first batch
            batch = next(loader.batches(reader, batches[first:]))
            assert np.array_equal(batch.input[0, 0], reader.read(batches[first][0])[0])
        assert len(list(loader.batches(reader, batches))) == len(batches)


def test_float16_stays_float16(tmp_path):
    manifest = write_dataset(tmp_path, train=(4,), dtype="float16")
    [(image, _)] = load(manifest, [np.arange(4)], dtype="float16")
    assert image.dtype == torch.float16
    with open_split(manifest, "train") as reader:
        assert np.array_equal(image[2, 0], reader.read(2)[0])


def test_buffers_hold_two_batches_or_the_error_says_how_much_would(manifest):
    with pytest.raises(InputError, match=r"buffer_mib of at least 1, found 0\.01"):
        load(manifest, [np.arange(4)], buffer_mib=0.01)


def test_a_file_that_is_cut_short_is_named_when_its_batch_is_due(tmp_path):
    manifest = write_dataset(tmp_path, train=(8, 8))
    loaded = []
    with (
        open_split(manifest, "train") as reader,
        Loader(4, 16, "float32", "cpu", threads=2, buffer_mib=1) as loader,
    ):
        (tmp_path / "train_1.target").write_bytes(b"")
        batches = [np.arange(i, i + 4) for i in range(0, 16, 4)]
        with pytest.raises(InputError, match=r"train_1\.target: was cut short"):
            loaded.extend(b.input.sum() for b in loader.batches(reader, batches))
    assert len(loaded) == 2


LIMITED = """
import json, resource, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from clearice.dataset.reader import open_split
from clearice.model.loader import Loader
from clearice.model.memory import peak_host_mib
from clearice.model.epochs import batches_of, epoch_order

resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
with open_split(sys.argv[2], "train") as reader:
    with Loader(4, reader.patch_size_px, reader.dtype, "cpu", threads=2) as loader:
        before = peak_host_mib()
        batches = [ours for ours, _ in batches_of(epoch_order(len(reader), 0, 0), 4)]
        count = sum(len(b.input) for b in loader.batches(reader, batches))
        print(json.dumps({"patches": count, "grown_mib": peak_host_mib() - before}))
"""


def linked(folder, segment, first_patch):
    """Return the segment again, of files of its own that are links to the same bytes."""
    files = {}
    for key in ("input_file", "target_file"):
        files[key] = f"{first_patch}.{key}"
        os.link(folder / segment[key], folder / files[key])
    return segment | files | {"first_patch": first_patch}


def test_a_dataset_larger_than_memory_passes_through_the_buffers(tmp_path):
    """12 GiB in a process that may address 2 GiB; on disk its segments are one and the same."""
    manifest = write_dataset(tmp_path, train=(4,), test=(1,), size_px=1024)
    content = json.loads(manifest.read_text())
    train, repeats = content["splits"]["train"], 384
    segment = train["segments"][0]
    train["segments"] = [linked(tmp_path, segment, 4 * i) for i in range(repeats)]
    train |= {"n_patches": 4 * repeats, "shape": [4 * repeats, 1024, 1024]}
    write_manifest(manifest, content)
    command = [sys.executable, "-c", LIMITED, str(SCRIPTS), str(manifest)]
    result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    assert result["patches"] * 2 * 4 * 1024**2 == 12 << 30
    assert result["grown_mib"] < 64 + 32  # the buffers and a constant
