"""Micrographs surveyed in a process of their own: the same numbers, pixels and errors."""

import contextlib
import dataclasses
import os
import signal

import numpy as np
import pytest
import torch

from clearice.denoised import surveyor as module
from clearice.denoised.surveyor import SharedRows, Surveyor
from clearice.errors import InputError
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.rows import MicrographRows, hot_pixel_limit
from mrc_files import noise_image, write_mrc

THRESHOLDS, CPU = ("auto", 8, None), torch.device("cpu")


def unwatched():
    """Nobody asks for an end."""


@pytest.fixture
def surveyor():
    """A Surveyor, which is closed in the end."""
    with Surveyor(CPU) as one:
        yield one


def hot_image(path, number, shape=(300, 410)):
    """Write a micrograph with a few hot pixels and a blank border; return its path."""
    image = noise_image(*shape, number)
    image[:20] = 7.0
    image[40::11, 5] = 1e4
    return write_mrc(path, image)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_a_survey_is_that_of_this_process(surveyor, tmp_path, threshold):
    for number, shape in enumerate([(300, 410), (120, 90), (500, 600)]):  # memory grows
        path = hot_image(tmp_path / f"{number}.mrc", number, shape)
        with open_micrograph(path) as micrograph:
            theirs = surveyor.rows_of(micrograph, threshold, 0, unwatched)
            ours = MicrographRows(micrograph, hot_pixel_limit(micrograph, threshold))
            expected = dataclasses.asdict(ours.survey)
            found = dataclasses.asdict(theirs.survey)
            rows = np.concatenate([rows.copy() for rows in ours.blocks()])
        for name in ("rows", "columns", "pieces"):
            same = getattr(found["blank"], name) == getattr(expected["blank"], name)
            assert same.all()
        assert found | {"blank": None} == expected | {"blank": None}
        assert np.array_equal(theirs.kept, rows)
        assert np.array_equal(np.concatenate(list(theirs.blocks())), rows)
        assert theirs.hot_pixels == ours.hot_pixels
        assert theirs.numbers == ours.numbers
        assert theirs.numbers


def test_two_files_of_a_task_lie_beside_each_other(surveyor, tmp_path):
    images = []
    for number in range(2):
        with open_micrograph(hot_image(tmp_path / f"{number}.mrc", number)) as micrograph:
            rows = surveyor.rows_of(micrograph, None, number, unwatched)
            assert rows.survey.input.scale > 0
            images.append((rows.kept, micrograph.read_rows(0, micrograph.height_px)))
    for found, expected in images:
        assert np.array_equal(found, expected)


def test_a_bad_micrograph_has_the_line_that_it_has_here(surveyor, tmp_path):
    path = write_mrc(tmp_path / "a.mrc", np.full((90, 80), 3.0, np.float32))
    with open_micrograph(path) as micrograph:
        lines = []
        for rows in (
            surveyor.rows_of(micrograph, "auto", 0, unwatched),
            MicrographRows(micrograph),
        ):
            with pytest.raises(InputError) as raised:
                _ = rows.survey
            lines.append((str(raised.value), raised.type, raised.value.advice))
    assert lines[0] == lines[1]
    assert "constant image" in lines[0][0]


def test_a_killed_process_is_told_of_and_another_one_begins(surveyor, tmp_path):
    with open_micrograph(hot_image(tmp_path / "a.mrc", 1)) as micrograph:
        assert surveyor.rows_of(micrograph, "auto", 0, unwatched).survey
        child = surveyor._process._process
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        with pytest.raises(InputError, match=r"a\.mrc: the process .* gone: found killed by SIGK"):
            _ = surveyor.rows_of(micrograph, "auto", 0, unwatched).survey
        assert surveyor.rows_of(micrograph, "auto", 0, unwatched).survey


def test_signals_for_a_whole_job_are_not_the_process_to_act_on(surveyor, tmp_path):
    with open_micrograph(hot_image(tmp_path / "a.mrc", 1)) as micrograph:
        assert surveyor.rows_of(micrograph, "auto", 0, unwatched).survey
        child = surveyor._process._process
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(child.pid, number)
        assert surveyor.rows_of(micrograph, "auto", 0, unwatched).survey
    assert surveyor._process._process is child


def test_who_stops_us_and_kills_the_process_is_heard_first(surveyor, tmp_path):
    class Stopped(Exception):
        pass

    def stop():
        raise Stopped

    with open_micrograph(hot_image(tmp_path / "a.mrc", 1)) as micrograph:
        assert surveyor.rows_of(micrograph, "auto", 0, unwatched).survey
        child = surveyor._process._process
        child.kill()
        child.wait()
        with pytest.raises(Stopped):
            _ = surveyor.rows_of(micrograph, "auto", 0, stop).survey


def test_a_survey_that_nobody_wants_any_more_ends_its_process(surveyor, tmp_path, monkeypatch):
    class Enough(Exception):
        pass

    def enough():
        raise Enough

    monkeypatch.setattr(module, "_WORKER", "sleeping")
    (tmp_path / "sleeping.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with open_micrograph(hot_image(tmp_path / "a.mrc", 1)) as micrograph:
        started = []
        begin = module.ChildProcess
        monkeypatch.setattr(
            module, "ChildProcess", lambda *a: started.append(begin(*a)) or started[-1]
        )
        with pytest.raises(Enough):
            _ = surveyor.rows_of(micrograph, "auto", 0, enough).survey
    assert started[0]._process.poll() == -signal.SIGKILL


def test_no_process_and_no_memory_outlive_it(tmp_path):
    descriptors = set(os.listdir("/proc/self/fd"))
    with Surveyor(CPU) as surveyor, open_micrograph(hot_image(tmp_path / "a.mrc", 1)) as micrograph:
        assert surveyor.rows_of(micrograph, "auto", 0, unwatched).survey
        child = surveyor._process._process
    assert child.poll() == -signal.SIGKILL
    assert set(os.listdir("/proc/self/fd")) == descriptors


class Runtime:
    """CUDA's runtime as torch.cuda.cudart() shows it: what was asked of it, and its answer."""

    def __init__(self, status):
        self.asked, self._status = [], status

    def cudaHostRegister(self, place, count, flags):
        self.asked.append(("register", place, count, flags))
        return self._status

    def cudaHostUnregister(self, place):
        self.asked.append(("unregister", place))
        return 0


@pytest.mark.parametrize("status", [0, 2])
def test_memory_is_page_locked_for_its_own_gpu_or_is_slower(monkeypatch, status):
    """A call that fails leaves its error to the next launch of the thread, which raises it."""
    runtime, devices, heard = Runtime(status), [], []

    def launch(*_, device):
        heard.append(device)
        raise RuntimeError("CUDA error: out of memory")

    def of(device):
        devices.append(device)
        return contextlib.nullcontext()

    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)
    monkeypatch.setattr(torch.cuda, "device", of)
    monkeypatch.setattr(torch, "zeros", launch)
    gpu = torch.device("cuda", 1)
    memory = SharedRows(gpu)
    first = memory.array((30, 20)).ctypes.data
    memory.array((10, 20))
    second = memory.array((50, 20)).ctypes.data
    memory.close()
    unlocked = [("unregister", place) for place in (first, second)]
    asked = [("register", first, 2400, 0), unlocked[0], ("register", second, 4000, 0), unlocked[1]]
    assert runtime.asked == (asked if status == 0 else asked[::2])
    assert set(devices) == {gpu}
    assert heard == ([] if status == 0 else [gpu, gpu])
