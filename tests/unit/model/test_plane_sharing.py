"""Several processes read a part of the planes each, and have all of them (gloo, on a CPU)."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from conftest import REPOSITORY
from plane_feeds import fed
from training_data import write_micrographs

COUNT = 3
PROGRAM = """
import sys
import numpy as np
import torch
from clearice.dataset.plane_reader import PlaneReader
from clearice.errors import InputError
from clearice.model.distributed import Processes
from clearice.model.feed import Feed
from plane_feeds import CPU, EVERYTHING
from training_data import model_settings

torch.set_num_threads(1)
bytes_read, read = [0], PlaneReader.read_plane

def counted(self, number, side, first, buffer):
    bytes_read[0] += len(buffer)
    if self.segments[number]["micrograph"] == bad:
        raise InputError("was cut short", file=bad)
    return read(self, number, side, first, buffer)

PlaneReader.read_plane = counted
manifest, output, bad = sys.argv[1:]
with (
    Processes().join(CPU) as processes,
    Feed(manifest, model_settings(batch_size=6), CPU, processes, 1, EVERYTHING) as feed,
):
    try:
        sides = [
            np.stack([batch.input.numpy(), batch.target.numpy()])
            for batches in (
                feed.training_batches(0, stopped=lambda: False),
                feed.evaluation_batches("test"),
            )
            for batch in batches
        ]
    except InputError as error:
        sys.exit(f"error: {error}")
np.savez(output, bytes_read[0], *sides)
"""


def run(manifest, folder, bad=""):
    """Let three processes feed a training; return (exit status, standard error) of each.

    The planes of the micrograph `bad` turn out to be short.
    """
    paths = [REPOSITORY / "workflow" / "scripts", REPOSITORY / "tests"]
    shared = {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "WORLD_SIZE": str(COUNT),
        "CLEARICE_RENDEZVOUS": (folder / "rendezvous").as_uri(),
    }
    theirs, ours = os.pipe()  # they end with us, whose end of it closes then
    try:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, manifest, folder / f"{rank}.npz", bad],
                env={**os.environ, **shared, "RANK": str(rank)},
                stdin=theirs,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(COUNT)
        ]
        ended = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        os.close(theirs)
        os.close(ours)
    return [(process.returncode, text) for process, text in zip(processes, ended, strict=True)]


def test_each_plane_is_read_once_and_everybody_has_it(tmp_path):
    manifest = write_micrographs(tmp_path, "planes", train=5)
    assert [status for status, _ in run(manifest, tmp_path)] == [0] * COUNT
    found = [list(np.load(tmp_path / f"{rank}.npz").values()) for rank in range(COUNT)]
    read = [int(count) for count, *_ in found]
    assert sum(read) == 7 * 2 * 40 * 56 * 4
    assert max(read) <= 3 * 2 * 40 * 56 * 4
    whole = [
        torch.stack([x, t]).numpy()
        for epoch in (0, None)
        for _, _, x, t in fed(manifest, epoch, limit=1 << 30, batch_size=6)[1]
    ]
    assert len(whole) == len(found[0]) - 1
    for expected, *parts in zip(whole, *(sides for _, *sides in found), strict=True):
        assert np.array_equal(np.concatenate(parts, 1), expected)


@pytest.mark.parametrize("bad", ["train_0", "test_1"])
def test_a_plane_that_one_process_cannot_read_ends_all_of_them(tmp_path, bad):
    manifest = write_micrographs(tmp_path, "planes", train=5)
    ended = run(manifest, tmp_path, bad)
    assert [status for status, _ in ended] == [1] * COUNT
    lines = [text.strip().splitlines()[-1] for _, text in ended]
    own = 0 if bad == "train_0" else COUNT - 1
    assert lines.pop(own) == f"error: {bad}: was cut short"
    assert set(lines) == {"error: another process could not read its planes"}


def test_more_processes_than_micrographs_leave_some_without_a_part(tmp_path):
    manifest = write_micrographs(tmp_path, "planes", train=1, test=1)
    assert [status for status, _ in run(manifest, tmp_path)] == [0] * COUNT
    first = [np.load(tmp_path / f"{rank}.npz")["arr_0"] for rank in range(COUNT)]
    assert sorted(map(int, first)) == [0, 2 * 40 * 56 * 4, 2 * 40 * 56 * 4]
