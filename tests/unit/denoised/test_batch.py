"""Many micrographs under way at once: each result is that of a job of its own."""

import json
import threading

import pytest
import torch

from clearice.denoised import batch as module
from clearice.denoised import micrograph
from clearice.denoised.batch import Batch, _at_once
from clearice.denoised.micrograph import load_denoiser
from clearice.denoised.progress import FileProgress
from clearice.denoised.tasks import find_tasks
from denoise_files import results, write_image, write_model
from denoise_micrograph import denoise_micrograph

SETTINGS = {
    "dtype": "float16",
    "tile_px": 64,
    "hot_pixel_threshold": "auto",
    "average_halves": False,
}


@pytest.fixture
def files(tmp_path):
    """Twelve micrographs, the seventh of them bad."""
    paths = [write_image(tmp_path / f"{n:02}.mrc", n, (150, 110 + n)) for n in range(12)]
    paths[6].write_bytes(paths[6].read_bytes()[:-100])
    return paths


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """How many are under way at once, to be set by a test: six, as a GPU might have them."""
    chosen = [6]
    monkeypatch.setattr(module, "_at_once", lambda *_: chosen[0])
    return chosen


def run(paths, folder, stopped=lambda: False):
    """Denoise files into a folder, made here, six at once; return a generator of what ended."""
    folder.mkdir()
    model = write_model(folder.parent / "m.safetensors")
    network, identity, device = load_denoiser(model, "cpu")
    tasks = find_tasks(map(str, paths), folder).tasks
    batch = Batch(network, identity, SETTINGS, device, stopped)
    return batch.run(tasks, FileProgress(len(tasks), 1))


def test_results_are_those_of_jobs_one_by_one_and_a_bad_one_fails_alone(files, tmp_path):
    faults = {task.name: fault for task, fault in run(files, tmp_path / "many")}
    assert [name for name, fault in faults.items() if fault] == ["06"]
    assert "06.mrc: truncated" in faults["06"]
    assert len(results(tmp_path / "many")) == 22
    for path in files[:6] + files[7:]:
        one = tmp_path / "one" / path.name
        record = one.with_suffix(".json")
        settings = SETTINGS | {"device": "cpu"}
        denoise_micrograph(str(path), str(tmp_path / "m.safetensors"), one, record, settings)
        assert (tmp_path / "many" / path.name).read_bytes() == one.read_bytes()
        records = [json.loads((tmp_path / f / record.name).read_text()) for f in ("many", "one")]
        for key in ("mean", "std", "hot_pixels", "warnings", "height_px", "width_px"):
            assert records[0][key] == records[1][key]


def test_the_device_has_one_micrograph_at_a_time(files, tmp_path, monkeypatch):
    there, most = threading.Semaphore(1), []
    take = micrograph.StoredRows.take

    def alone(self, rows):
        free = there.acquire(blocking=False)
        most.append(threading.active_count())
        try:
            assert free, "two bands on the device"
            return take(self, rows)
        finally:
            there.release()

    monkeypatch.setattr(micrograph.StoredRows, "take", alone)
    assert sum(fault is None for _, fault in run(files, tmp_path / "out")) == 11
    assert max(most) > 4  # others were read meanwhile


def test_what_is_finished_is_kept_when_it_is_to_end(files, tmp_path):
    out = tmp_path / "out"
    enough = lambda: len(list(out.glob("*.json"))) > 2  # noqa: E731 (before the last begins)
    ended = [task.name for task, fault in run(files, out, stopped=enough) if fault is None]
    assert 2 < len(ended) < 11
    assert results(out) == sorted(f"{name}.{end}" for name in ended for end in ("json", "mrc"))


def test_of_large_micrographs_fewer_are_under_way(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(16))
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    sizes_px = [0, 1, 4096 * 4096, 7676 * 7420, 8184 * 11520, 30000 * 30000]
    assert [_at_once(gpu, size) for size in sizes_px] == [8, 8, 8, 8, 4, 2]
    assert {_at_once(cpu, size) for size in sizes_px} == {1}


def test_both_halves_are_surveyed_apart_and_averaged(tmp_path, at_once):
    paths = [
        write_image(tmp_path / "halves" / f"{n}_{half}.mrc", 2 * n + k, (150, 210), signal=4.0)
        for n in range(3)
        for k, half in enumerate(("EVN", "ODD"))
    ]
    model = write_model(tmp_path / "m.safetensors")
    network, identity, device = load_denoiser(model, "cpu")
    settings = SETTINGS | {"average_halves": True}
    for name, at_once[0] in (("alone", 1), ("many", 3)):
        folder = tmp_path / name
        folder.mkdir()
        tasks = find_tasks(map(str, paths), folder, ["_EVN", "_ODD"]).tasks
        batch = Batch(network, identity, settings, device)
        assert [fault for _, fault in batch.run(tasks, FileProgress(3, 1))] == [None] * 3
    assert len(results(tmp_path / "many")) == 6
    for alone in (tmp_path / "alone").glob("*.mrc"):
        assert (tmp_path / "many" / alone.name).read_bytes() == alone.read_bytes()


@pytest.mark.parametrize("count", [1, 2])
def test_a_stop_is_heard_between_the_bands_of_a_micrograph(tmp_path, at_once, count):
    at_once[0] = count
    paths = [write_image(tmp_path / f"{n}.mrc", n, (900, 120)) for n in range(2)]
    network, identity, device = load_denoiser(write_model(tmp_path / "m.safetensors"), "cpu")
    (tmp_path / "out").mkdir()
    tasks, bands = find_tasks(map(str, paths), tmp_path / "out").tasks, []
    batch = Batch(network, identity, SETTINGS, device, lambda: len(bands) > 1)
    progress = FileProgress(2, 1)
    progress.add_pixels = bands.append
    assert list(batch.run(tasks, progress)) == []
    assert 2 <= len(bands) <= 1 + count  # of fourteen each
    assert results(tmp_path / "out") == []
