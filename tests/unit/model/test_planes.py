"""Planes: a training sees the very same patches, wherever they lie and however they come."""

import os
import signal

import numpy as np
import pytest
import torch

from clearice.dataset.reader import open_planes
from clearice.errors import InputError
from clearice.model.distributed import Processes
from clearice.model.feed import Feed
from clearice.model.optimization import Optimization
from clearice.model.planes import residency
from clearice.model.planes.offsets import RandomPlaces
from clearice.model.planes.patch_tables import TURN
from clearice.model.planes.residency import ResidentPlanes, StreamedPlanes
from emulated_engine import TableEngine
from plane_feeds import CPU, EVERYTHING, assert_same, fed, one_by_one, ring_bytes
from training_data import assert_same_weights, model_settings, train, write_micrographs

pytestmark = pytest.mark.usefixtures("one_thread", "small_groups")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("grid_px", [1, 4])  # 4: each patch is cut smaller, at a shift
@pytest.mark.parametrize("epoch", [None, 0, 1])
def test_planes_give_the_patches_of_the_patches_layout_in_its_order(
    tmp_path, dtype, grid_px, epoch
):
    stored = write_micrographs(tmp_path / "patches", "patches", dtype=dtype)
    expected = one_by_one(stored, epoch, grid_px=grid_px)
    assert_same(fed(stored, epoch, grid_px=grid_px)[1], expected)
    for layout in ("planes", "both"):
        manifest = write_micrographs(tmp_path / layout, layout, dtype=dtype)
        for limit, wanted in ((None, type(None)), (EVERYTHING, ResidentPlanes)):
            kind, batches = fed(manifest, epoch, grid_px=grid_px, limit=limit)
            assert kind is wanted
            assert_same(batches, expected)
    assert {b[2].shape[-1] for b in expected} == {16 if grid_px == 1 or epoch is None else 12}


def test_every_turn_and_swap_occurs_in_the_table(tmp_path):
    manifest = write_micrographs(tmp_path, "planes")
    settings, turns, swapped = model_settings(swap_halves=True), set(), set()
    with Feed(manifest, settings, CPU, Processes(), 4, EVERYTHING) as feed:
        for batch in feed.training_batches(0):
            rows = batch.tabled.table
            assert rows.shape == (len(batch.input), 4)
            assert rows.dtype == torch.int64
            turns |= set(rows[:, TURN].tolist())
            swapped |= set((rows[:, 0] > rows[:, 1]).tolist())
            assert (batch.tabled.cut_px, batch.tabled.dtype) == (12, torch.float32)
    assert turns == set(range(8))
    assert swapped == {False, True}


def test_a_streamed_epoch_takes_each_patch_once_and_micrographs_in_groups(tmp_path):
    manifest = write_micrographs(tmp_path, "planes", train=7)
    limit = ring_bytes(manifest)
    kind, streamed = fed(manifest, 3, limit=limit)
    assert kind is StreamedPlanes
    _, loaded = fed(manifest, 3, grouped=True)
    assert_same(streamed, loaded)
    settings = model_settings()
    with Feed(manifest, settings, CPU, Processes()) as feed:
        order = feed._order("train", 3, grouped=True)
        count = feed.readers["train"].n_patches
        assert sorted(order.tolist()) == list(range(count))
        n = count // 7
        parts = [set((order[k : k + 2 * n] // n).tolist()) for k in range(0, count, 2 * n)]
        assert [len(part) for part in parts] == [2, 2, 2, 1]
        assert not np.array_equal(order, feed._order("train", 4, grouped=True))
        assert not np.array_equal(order, feed._order("train", 3))
    assert_same(fed(manifest, None, limit=limit)[1], fed(manifest, None)[1])


@pytest.mark.parametrize("batch_size", [5, 40])  # 40: more than a micrograph has, in two groups
@pytest.mark.parametrize("grouped", [False, True])
def test_an_epoch_goes_on_in_its_order_wherever_planes_lie_now(tmp_path, grouped, batch_size):
    manifest = write_micrographs(tmp_path, "planes", train=6)
    limits = {StreamedPlanes: ring_bytes(manifest), ResidentPlanes: EVERYTHING, type(None): None}
    words = {"grouped": grouped, "batch_size": batch_size}
    _, whole = fed(manifest, 1, **words)
    for wanted, limit in limits.items():
        for first in (0, 1, len(whole) // 2, len(whole) - 1):
            kind, rest = fed(manifest, 1, limit=limit, first=first, **words)
            assert kind is wanted
            assert_same(rest, whole[first:])
        assert fed(manifest, 1, limit=limit, first=len(whole), **words)[1] == []


def test_processes_share_the_batches_of_one(tmp_path):
    manifest = write_micrographs(tmp_path, "planes")
    settings = model_settings(batch_size=4)
    whole, parts = fed(manifest, 0, limit=EVERYTHING)[1], []
    for rank in range(2):
        processes = Processes()
        processes.rank, processes.world_size = rank, 2
        feed = Feed(manifest, settings, CPU, processes)
        feed._on_device = ResidentPlanes(feed._planes, CPU, 1)  # alone: nobody to agree with
        parts.append([(b.input.clone(), b.patches) for b in feed.training_batches(0)])
        feed.__exit__()
    for (_, patches, expected, _), (first, n), (second, _) in zip(whole, *parts, strict=True):
        assert n == patches
        assert torch.equal(torch.cat([first, second]), expected)


def test_a_plane_that_is_cut_short_is_named_and_ends_the_epoch(tmp_path):
    manifest = write_micrographs(tmp_path, "planes", train=7)
    limit, settings = ring_bytes(manifest), model_settings()
    with Feed(manifest, settings, CPU, Processes(), 1, limit) as feed:
        (tmp_path / "train_3.target.plane").write_bytes(b"")
        batches = (batch.input for batch in feed.training_batches(0, grouped=True))
        with pytest.raises(InputError, match=r"train_3\.target\.plane: was cut short"):
            assert all(torch.isfinite(patches).all() for patches in batches)


RANDOM = {"offsets": "random", "stride_px": 8}


def test_random_offsets_move_between_neighbours_on_the_grid(tmp_path):
    left_out = {(8, 24), (24, 40)}
    manifest = write_micrographs(tmp_path, "planes", left_out=left_out, **RANDOM)
    reader = open_planes(manifest)["train"]
    grid, places = reader.places(), RandomPlaces(reader)
    seen = [places.of_epoch(5, epoch) for epoch in range(60)]
    assert np.array_equal(seen[7], places.of_epoch(5, 7))
    assert not np.array_equal(seen[7], places.of_epoch(6, 7))
    moved = np.stack(seen) - grid  # (epochs, n, 2)
    assert moved.min() == 0
    assert moved.max() == 7
    one = {tuple(place) for place in reader.places_of(0)}
    for k, (y, x) in enumerate(reader.places_of(0)):
        down, right = moved[:, k, 0].max(), moved[:, k, 1].max()
        assert (down > 0) <= ((y + 8, x) in one)
        assert (right > 0) == ((y, x + 8) in one)
        if down and right:
            assert (y + 8, x + 8) in one
    interior = reader.places_of(0).index((8, 0))
    assert len({tuple(m) for m in moved[:, interior]}) > 30


def test_random_offsets_are_those_of_the_epoch_and_spare_the_evaluation(tmp_path):
    manifest = write_micrographs(tmp_path / "random", "planes", **RANDOM)
    both = write_micrographs(tmp_path / "both", "both", **RANDOM)
    grid = write_micrographs(tmp_path / "grid", "planes")
    _, first = fed(manifest, 0)
    assert_same(fed(manifest, 0, limit=EVERYTHING)[1], first)
    assert_same(fed(both, 0)[1], first)
    assert_same(fed(manifest, None)[1], fed(grid, None)[1])
    patches = [
        {p.numpy().tobytes() for b in fed(m, e)[1] for p in b[2]}
        for m, e in ((manifest, 0), (manifest, 1), (grid, 0))
    ]
    assert len(patches[0]) == len(patches[2])
    assert len(patches[0] & patches[1]) < len(patches[0]) / 4
    assert len(patches[0] & patches[2]) < len(patches[0]) / 4


def test_bad_pixels_are_placed_where_they_were_cut(tmp_path):
    manifest = write_micrographs(tmp_path, "planes", **RANDOM)
    plane = np.fromfile(tmp_path / "train_1.input.plane", "<f4").reshape(40, 56)
    plane[20, 30] = np.inf
    (tmp_path / "train_1.input.plane").write_bytes(plane.tobytes())
    with Feed(manifest, model_settings(), CPU, Processes()) as feed:
        for batch in feed.training_batches(2):
            bad = [int((~torch.isfinite(side)).sum()) for side in (batch.input, batch.target)]
            words = feed.places("train", batch.position, 2)
            assert words.count("not finite") == sum(bad)
            for text in words.split("), "):
                if "not finite" in text:
                    y, x = (int(text.split(f"{axis} ")[1].split(",")[0]) for axis in "yx")
                    assert y <= 20 < y + 16
                    assert x <= 30 < x + 16


def test_a_training_ends_in_the_same_weights_from_patches_and_from_planes(tmp_path, on_device):
    stored = write_micrographs(tmp_path / "patches", "patches")
    expected = train(stored, tmp_path / "1")
    manifest = write_micrographs(tmp_path / "planes", "planes")
    for number, limit in enumerate((None, EVERYTHING), 2):
        on_device(limit)
        training = train(manifest, tmp_path / str(number))
        assert_same_weights(training, expected)
        losses = [
            [row[key] for row in t.rows for key in ("train_loss", "test_loss")]
            for t in (training, expected)
        ]
        assert losses[0] == losses[1]


def test_an_engine_that_reads_tables_trains_on_the_same_patches(tmp_path, on_device, monkeypatch):
    monkeypatch.setattr(
        "clearice.model.optimization.build_engine", lambda name, network, *_: TableEngine(network)
    )
    expected = train(write_micrographs(tmp_path / "patches", "patches"), tmp_path / "1")
    manifest = write_micrographs(tmp_path / "planes", "planes")
    on_device(EVERYTHING)
    monkeypatch.setattr(residency.TabledBatch, "cut", None)  # nobody asks for tensors
    training = train(manifest, tmp_path / "2")
    assert_same_weights(training, expected)
    losses = [[row["train_loss"] for row in t.rows] for t in (training, expected)]
    assert losses[0] == losses[1]
    on_device(ring_bytes(manifest))
    streamed = train(manifest, tmp_path / "3")
    assert streamed.rows[-1]["test_loss"] < streamed.rows[0]["test_loss"]


@pytest.mark.parametrize("then", ["streamed", "resident", "loaded"])
def test_an_interrupted_epoch_goes_on_in_the_order_it_began_with(
    tmp_path, on_device, monkeypatch, then
):
    manifest = write_micrographs(tmp_path / "data", "planes", train=7)
    limits = {"streamed": ring_bytes(manifest), "resident": EVERYTHING, "loaded": None}
    taken = []

    def step(self, *arguments, original=Optimization.step, **keywords):
        taken.append(arguments[0].numpy().tobytes())
        if len(taken) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(Optimization, "step", step)
    on_device(limits["streamed"])
    with pytest.raises(SystemExit):
        train(manifest, tmp_path / "model", epochs=1)
    on_device(limits[then])
    training = train(manifest, tmp_path / "model", epochs=1)
    assert training.course.grouped
    expected = [batch[2].numpy().tobytes() for batch in fed(manifest, 0, grouped=True)[1]]
    assert taken == expected
