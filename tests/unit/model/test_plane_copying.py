"""Threads that read planes: what fails is heard, what nobody waits for stays unread."""

import contextlib
import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest
import torch

from clearice.dataset.plane_reader import PlaneReader
from clearice.dataset.reader import open_planes
from clearice.errors import InputError
from clearice.model.distributed import Processes
from clearice.model.interruption import Interrupted
from clearice.model.planes import copying, placement
from clearice.model.planes.copying import Dropped, PlaneCopier
from clearice.model.planes.placement import wait_together
from clearice.model.planes.residency import ResidentPlanes, StreamedPlanes
from training_data import assert_same_weights, train, write_micrographs

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
pytestmark = pytest.mark.usefixtures("one_thread", "small_groups")


class FakeStream:
    """The copy stream of a machine without a GPU."""

    def __init__(self, device):
        self.device, self.synchronized = device, 0

    def synchronize(self):
        self.synchronized += 1


class GatedReader:
    """A reader of planes that stands still in its first read until it is let go."""

    def __init__(self):
        self.reads, self.has_begun, self.may_go = 0, threading.Event(), threading.Event()

    def read_plane(self, number, side, first, buffer):
        self.reads += 1
        self.has_begun.set()
        assert self.may_go.wait(60)


def planes(reader, count):
    return [(reader, 0, "input", torch.empty(8, dtype=torch.uint8)) for _ in range(count)]


def test_buffers_that_cannot_be_had_are_an_ordinary_error(monkeypatch):
    def refuse(_stream):
        raise RuntimeError("no pinned memory")

    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(copying, "_Staging", refuse)
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="no pinned memory"):
        PlaneCopier(GPU, 2)
    assert threading.active_count() == before


@pytest.mark.parametrize("call", ["set_device", "Event"])
def test_what_fails_on_the_device_reaches_whoever_waits(monkeypatch, call):
    def refuse(*_):
        raise RuntimeError("the device is gone")

    class FakeStaging:
        def __init__(self, stream):
            pass

        def buffer_of(self, count):
            return memoryview(bytearray(count))

        def copy_to(self, destination, after):
            pass

    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(copying, "_Staging", FakeStaging)
    monkeypatch.setattr(torch.cuda, call, refuse)
    copier, reader = PlaneCopier(GPU, 2), GatedReader()
    reader.may_go.set()
    arrival = copier.submit(planes(reader, 3), after=object())
    with pytest.raises(RuntimeError, match="the device is gone"):
        arrival.wait(GPU, stopped=_after(60))
    copier.close()
    assert copier._stream.synchronized == 1  # its memory is freed next


def _after(seconds):
    """Return a callable that is true from then on, so that a test of a wait ends."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def test_a_dropped_arrival_reads_no_more_and_others_do():
    copier, reader = PlaneCopier(CPU, 1), GatedReader()
    dropped, other = copier.submit(planes(reader, 5)), copier.submit(planes(reader, 2))
    assert reader.has_begun.wait(60)
    threading.Timer(0.1, reader.may_go.set).start()
    dropped.drop()
    other.wait(CPU)
    assert reader.reads == 1 + 2
    with pytest.raises(Dropped):
        dropped.wait(CPU)
    copier.close()


def test_closing_reads_nothing_more():
    copier, reader = PlaneCopier(CPU, 1), GatedReader()
    arrival = copier.submit(planes(reader, 5))
    assert reader.has_begun.wait(60)
    threading.Timer(0.1, reader.may_go.set).start()
    copier.close()
    assert reader.reads == 1
    with pytest.raises(Dropped):
        arrival.wait(CPU)


def test_a_wait_ends_when_a_signal_came(monkeypatch):
    monkeypatch.setattr(copying, "POLL_S", 0.01)
    copier, reader, looks = PlaneCopier(CPU, 1), GatedReader(), []
    arrival = copier.submit(planes(reader, 1))
    with pytest.raises(Interrupted):
        arrival.wait(CPU, stopped=lambda: looks.append(1) or len(looks) == 3)
    reader.may_go.set()
    arrival.wait(CPU, stopped=_after(60))
    copier.close()


class Pair(Processes):
    """The first of two processes; `other` says what the second one adds to each vote."""

    def __init__(self, other):
        super().__init__()
        self.world_size, self._other = 2, other

    @property
    def all_reduce(self):
        return lambda state: state.add_(torch.tensor(self._other()))


UNFAILED = {"have_failed": lambda: False, "waited_s": 0.0}


@pytest.mark.parametrize("signal_comes_to", [0, 1])
def test_processes_that_wait_for_all_planes_stop_together(monkeypatch, signal_comes_to):
    monkeypatch.setattr(placement, "POLL_S", 0.01)
    copier, reader, votes = PlaneCopier(CPU, 1), GatedReader(), []
    arrival = copier.submit(planes(reader, 1))

    def other():
        votes.append(1)
        return [1, int(signal_comes_to == 1 and len(votes) > 2), 0]

    held = SimpleNamespace(have_arrived=lambda: arrival.has_ended, **UNFAILED)
    with pytest.raises(Interrupted):
        wait_together(held, CPU, Pair(other), lambda: signal_comes_to == 0 and len(votes) > 1)
    assert len(votes) == 3
    reader.may_go.set()
    copier.close()


@pytest.mark.parametrize("signalled", [False, True])
def test_planes_that_are_there_in_all_processes_are_waited_for_no_more(monkeypatch, signalled):
    """A signal at that moment ends the training after its next step, as ever."""
    monkeypatch.setattr(placement, "POLL_S", 0.01)
    votes = []

    def other():
        votes.append(1)
        return [int(len(votes) < 3), int(signalled and len(votes) >= 3), 0]

    held = SimpleNamespace(have_arrived=lambda: True, **UNFAILED)
    wait_together(held, CPU, Pair(other), lambda: False)
    assert len(votes) == 3
    assert held.waited_s > 0


@pytest.mark.parametrize("ours", [False, True])
def test_a_process_whose_planes_are_bad_stops_the_others(ours):
    """It says itself what is the matter, when it waits for them."""
    held = SimpleNamespace(have_arrived=lambda: True, have_failed=lambda: ours, waited_s=0.0)
    ending = contextlib.nullcontext() if ours else pytest.raises(InputError, match="another proc")
    with ending:
        wait_together(held, CPU, Pair(lambda: [0, 0, int(not ours)]), None)


@pytest.mark.parametrize(
    ("kind", "during"),
    [
        (ResidentPlanes, "training"),
        (StreamedPlanes, "training"),
        (StreamedPlanes, "evaluation"),
    ],
)
def test_a_signal_while_planes_are_read_ends_the_training_with_a_checkpoint(
    tmp_path, monkeypatch, on_device, kind, during
):
    """Reads stand still from the signal on until it is heard; most of them never happen."""
    monkeypatch.setattr(copying, "POLL_S", 0.01)
    manifest = write_micrographs(tmp_path / "data", "planes", train=7)
    on_device(kind.bytes_of(open_planes(manifest)))
    expected = train(manifest, tmp_path / "whole")
    assert isinstance(expected.feed._on_device, kind)
    heard, reads = threading.Event(), []
    pieces = 2 * -(-40 * 56 * 4 // 1000)  # of a micrograph

    def read(self, number, side, first, buffer, original=PlaneReader.read_plane):
        reads.append(number)
        epoch_read = kind is StreamedPlanes and len(reads) > 7 * pieces
        if during == "training" or epoch_read:
            if not heard.is_set():
                os.kill(os.getpid(), signal.SIGTERM)
            assert heard.wait(60)
            time.sleep(0.02)
        return original(self, number, side, first, buffer)

    class Heard(Interrupted):
        def __init__(self):
            super().__init__()
            heard.set()

    with monkeypatch.context() as patch:
        patch.setattr(PlaneReader, "read_plane", read)
        patch.setattr(copying, "Interrupted", Heard)
        with pytest.raises(SystemExit) as stopped:
            train(manifest, tmp_path / "model")
    assert stopped.value.code == 128 + signal.SIGTERM
    assert heard.is_set()
    assert len(reads) < (7 * pieces if during == "training" else 9 * pieces)
    state = torch.load(tmp_path / "model" / "checkpoint.pt", weights_only=False)
    steps = 0 if during == "training" else expected.feed.batches_per_epoch
    assert (state["epoch"], state["batch"], state["step"]) == (0, steps, steps)
    continued = train(manifest, tmp_path / "model")
    assert continued.course.interruptions == 1
    assert_same_weights(continued, expected)
