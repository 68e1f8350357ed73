"""Where planes lie: what memory and micrographs allow, on all devices alike."""

import pytest
import torch

from clearice.dataset.reader import open_planes
from clearice.model.distributed import Processes
from clearice.model.feed import Feed
from clearice.model.planes.placement import kind_that_fits
from clearice.model.planes.residency import ResidentPlanes, StreamedPlanes
from plane_feeds import CPU, EVERYTHING, assert_same, fed, ring_bytes
from training_data import model_settings, run_script, write_micrographs

pytestmark = pytest.mark.usefixtures("one_thread", "small_groups")


def test_what_fits_decides(tmp_path):
    planes = open_planes(write_micrographs(tmp_path, "planes", train=7))
    ring, everything = StreamedPlanes.bytes_of(planes), ResidentPlanes.bytes_of(planes)
    for limit, kind in (
        (everything, ResidentPlanes),
        (everything - 1, StreamedPlanes),
        (ring, StreamedPlanes),
        (ring - 1, None),
        (None, None),  # of a CPU
    ):
        assert kind_that_fits(planes, CPU, 4 * 16**2, limit) is kind


def without_memory_for(monkeypatch, *kinds):
    def refuse(self, *_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    for kind in kinds:
        monkeypatch.setattr(kind, "__init__", refuse)


@pytest.mark.parametrize(
    ("refused", "placement"),
    [
        ((), "resident"),
        ((ResidentPlanes,), "streamed"),
        ((ResidentPlanes, StreamedPlanes), "loader"),
    ],
)
def test_memory_that_cannot_be_had_leaves_the_next_kind(tmp_path, monkeypatch, refused, placement):
    manifest = write_micrographs(tmp_path, "planes", train=7)
    grouped = placement == "streamed"
    _, expected = fed(manifest, 0, grouped=grouped)
    without_memory_for(monkeypatch, *refused)
    with Feed(manifest, model_settings(), CPU, Processes(), 1, EVERYTHING) as feed:
        assert (feed.placement, feed.streams) == (placement, grouped)
    assert_same(fed(manifest, 0, limit=EVERYTHING)[1], expected)


class Pair(Processes):
    """The first of two processes; the second one names `others`, one after the other."""

    def __init__(self, others):
        super().__init__()
        self.world_size, self.others = 2, list(others)

    @property
    def all_reduce(self):
        def add(named):
            named[self.others.pop(0)] += 1

        return add


@pytest.mark.parametrize(
    ("others", "placement"),
    [
        ((0, 0), "resident"),  # it fits; it was had
        ((1, 0), "streamed"),  # this one fits there
        ((2,), "loader"),  # nothing fits
        ((0, 1, 0, 0), "streamed"),  # it fits and could not be had; the only one left could
        ((1, 1), "loader"),
        ((0, 1, 0, 1), "loader"),
    ],
)
def test_all_processes_take_the_kind_that_all_have_memory_for(
    tmp_path, monkeypatch, others, placement
):
    manifest, closed = write_micrographs(tmp_path, "planes", train=7), []
    for kind in (ResidentPlanes, StreamedPlanes):
        original = kind.close
        monkeypatch.setattr(
            kind, "close", lambda self, close=original: (closed.append(self.name), close(self))
        )
    processes = Pair(others)
    with Feed(manifest, model_settings(batch_size=4), CPU, processes, 1, EVERYTHING) as feed:
        assert feed.placement == placement
        assert processes.others == []
        tried = ["resident"] * (others[0] == 0 and others[1:] != (0,))
        tried += ["streamed"] * (placement == "loader" and others[-1] == 1)
        assert closed == tried  # nothing keeps memory that is not used


def test_planes_do_not_stream_where_groups_have_fewer_patches_than_a_batch(tmp_path):
    few, one_group = (
        write_micrographs(tmp_path / str(train), "planes", train=train, test=6) for train in (7, 4)
    )
    for manifest, batch_size, placement in (
        (few, 48, "streamed"),  # two micrographs of 24 patches
        (few, 49, "loader"),
        (one_group, 49, "streamed"),  # all of it lies in two groups
    ):
        settings, limit = model_settings(batch_size=batch_size), ring_bytes(manifest)
        with Feed(manifest, settings, CPU, Processes(), 1, limit) as feed:
            assert feed.placement == placement
            assert feed.streams == (placement == "streamed")
            for epoch in range(3):
                tabled = [b.tabled for b in feed.training_batches(epoch, grouped=feed.streams)]
                assert all((t.device_table is not None) == feed.streams for t in tabled)


def test_the_record_says_how_planes_were_read(tmp_path, on_device):
    manifest = write_micrographs(tmp_path / "planes", "planes", train=7)
    limits = {"resident": EVERYTHING, "streamed": ring_bytes(manifest), "loader": None}
    for placement, limit in limits.items():
        on_device(limit)
        record = run_script(manifest, tmp_path / placement, epochs=1, reader_threads=2)
        assert record["planes"] == placement
    stored = write_micrographs(tmp_path / "patches", "patches")
    assert run_script(stored, tmp_path / "stored", epochs=1)["planes"] is None
