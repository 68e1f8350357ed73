"""After a kill, a full disk or an edited shard, the next run ends like an undisturbed one."""

import multiprocessing
import os
import random
import shutil
import time

import pytest

from clearice.dataset.segments import SIDES
from clearice.dataset.store import grow
from clearice.errors import InputError
from clearice.files import read_json
from clearice.locks import only_process
from concatenate_shards import concatenate_shards
from conftest import run_snakemake, write_config
from shard_files import make_shard
from small_disk import small_disk

FORK = multiprocessing.get_context("fork")  # imports once, not once per trial


def make_shards(folder, count, n=3, size_px=32):
    """Return the paths of the records of `count` shards of n x size x size float32."""
    names = [f"m{i:02d}" for i in range(count)]
    return [make_shard(folder / "shards", name, n=n, size_px=size_px) for name in names]


def concatenate(dataset, records):
    """Run the job as Snakemake does: its outputs are removed first."""
    outputs = {f"{side}_bin": dataset / f"train_{side}.bin" for side in SIDES}
    outputs["segments"] = dataset / "train.json"
    for path in outputs.values():
        path.unlink(missing_ok=True)
    concatenate_shards(records, [], [], split="train", **outputs)


def contents(dataset):
    """Return the bytes of everything that the job leaves, including its store."""
    names = ("train_input.bin", "train_target.bin", "train.json")
    names += tuple(f".store/train_{side}.bin" for side in SIDES)
    return {name: (dataset / name).read_bytes() for name in names}


def undisturbed(folder, *histories):
    """Return what remains after one run per list of records, one after the other."""
    for records in histories:
        concatenate(folder, records)
    return contents(folder)


def start_from(folder, *histories):
    """Return a new dataset folder in which those runs have finished."""
    for records in histories:
        concatenate(folder, records)
    return folder


def run_and_kill(dataset, records, seconds):
    """Run the job in a process and kill it after that time; return whether it was still alive."""
    process = FORK.Process(target=concatenate, args=(dataset, records))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode == -9


HISTORIES = {  # the runs that finish before the killed one, by shard indices
    "first run": [slice(0, 12)],
    "growth": [slice(0, 12, 2), slice(0, 12)],
    "rebuild": [slice(0, 12), slice(1, 12)],
}


@pytest.mark.parametrize("history", HISTORIES)
def test_kill_9_at_random_moments(tmp_path, monkeypatch, history):
    monkeypatch.setattr(
        "clearice.dataset.store._COMMIT_BYTES", 30_000
    )  # a commit every other shard
    records = make_shards(tmp_path, 12)
    *before, last = [records[part] for part in HISTORIES[history]]
    expected = undisturbed(tmp_path / "undisturbed", *before, last)
    start_from(tmp_path / "timed", *before)
    begin = time.perf_counter()
    assert not run_and_kill(tmp_path / "timed", last, 60)
    seconds, killed = time.perf_counter() - begin, 0
    chance = random.Random(0)
    for trial in range(8):
        dataset = start_from(tmp_path / f"killed_{trial}", *before)
        for _ in range(3):
            alive = run_and_kill(dataset, last, chance.uniform(0, seconds))
            killed += alive
            if not alive:  # the timed run was slower than these: aim earlier
                seconds *= 0.7
        concatenate(dataset, last)
        assert contents(dataset) == expected
        shutil.rmtree(dataset)
    assert killed > 5, "nearly no run was hit"


class Crash:
    """End the process, as kill -9 would, before the k-th call of any of these functions."""

    CALLS = ("open", "fsync", "replace", "link", "unlink", "utime", "copy_file_range")

    def __init__(self, k):
        self.k, self.calls = k, 0

    def __enter__(self):
        for name in self.CALLS:
            setattr(os, name, self._wrap(getattr(os, name)))
        return self

    def __exit__(self, *_):
        pass  # the process ends

    def _wrap(self, function):
        def called(*arguments, **keywords):
            self.calls += 1
            if self.calls == self.k:
                os._exit(9)
            return function(*arguments, **keywords)

        return called


def run_and_crash(dataset, records, k):
    def job():
        with Crash(k):
            concatenate(dataset, records)

    process = FORK.Process(target=job)
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.parametrize("history", HISTORIES)
def test_a_crash_at_every_step(tmp_path, monkeypatch, history):
    monkeypatch.setattr("clearice.dataset.store._COMMIT_BYTES", 2 * 3 * 32 * 32 * 4)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what a dead process wrote is kept anyway
    records = make_shards(tmp_path, 4)
    steps = {"first run": [[0, 1, 2, 3]], "growth": [[1, 2], [0, 1, 2, 3]]}
    steps["rebuild"] = [[0, 1, 2], [0, 2, 3]]
    *before, last = [[records[i] for i in chosen] for chosen in steps[history]]
    expected = undisturbed(tmp_path / "undisturbed", *before, last)
    for k in range(1, 1000):
        dataset = start_from(tmp_path / f"crashed_{k}", *before)
        status = run_and_crash(dataset, last, k)
        assert status in (0, 9)
        concatenate(dataset, last)
        assert contents(dataset) == expected, f"crash at step {k}"
        shutil.rmtree(dataset)
        if status == 0:
            break
    assert status == 0
    assert k > 30, "the steps are not those of a whole run"


def test_a_disk_too_small_is_one_line_before_anything_is_written(tmp_path):
    records = make_shards(tmp_path, 6, n=256)  # 1 MiB per binary
    with small_disk(tmp_path / "disk", 8) as disk:
        dataset = disk / "dataset"
        concatenate(dataset, records[:3])
        good = {side: (dataset / f".store/train_{side}.bin").read_bytes() for side in SIDES}
        with pytest.raises(InputError, match=r"dataset: the disk can't hold the dataset: expected"):
            concatenate(dataset, records)
        for side in SIDES:
            assert (dataset / f".store/train_{side}.bin").read_bytes() == good[side]
        concatenate(dataset, records[:3])  # the good data is back, without a copy
        assert (dataset / "train_input.bin").read_bytes() == good["input"]


def test_the_workflow_does_not_start_on_a_disk_too_small(tmp_path, tiny_config):
    tiny_config["simulation"] |= {"height_px": 512, "width_px": 512}  # 1 MiB per image
    with small_disk(tmp_path / "disk", 16) as disk:
        write_config(disk, tiny_config)
        process = run_snakemake(disk, "--cores", "1", check=False)
        assert process.returncode == 1
        (line,) = [line for line in process.stdout.splitlines() if "error" in line.lower()]
        assert line.startswith(f"error: {disk}: the disk can't hold what is to be written (")
        for part in ("micrographs 9.0 MiB", "shards 6.0 MiB", "dataset 6.0 MiB", "found 1"):
            assert part in line
        assert not (disk / "results").exists()


def test_a_disk_that_fills_during_the_job_is_one_line_and_the_rest_follows(tmp_path, monkeypatch):
    monkeypatch.setattr("clearice.dataset.store._COMMIT_BYTES", 1)
    monkeypatch.setattr(
        "clearice.dataset.store._check_free_space", lambda *_: None
    )  # the disk looked free
    records = make_shards(tmp_path, 6, n=256)
    expected = undisturbed(tmp_path / "undisturbed" / "dataset", records)
    with small_disk(tmp_path / "disk", 20) as disk:
        dataset, other = disk / "dataset", disk / "other"
        other.write_bytes(bytes(13 << 20))
        with pytest.raises(InputError, match=r"No space left on device; make room and run again"):
            concatenate(dataset, records)
        kept = len(read_json(dataset / ".store" / "train.json")["segments"])
        assert 0 < kept < 6
        assert sum(p.stat().st_size for p in (dataset / ".store").glob("*.bin")) == kept << 21
        other.unlink()
        concatenate(dataset, records)
        assert contents(dataset) == expected


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("edit", ["changed", "shorter", "longer", "missing"])
def test_an_edited_shard_is_named_and_nothing_is_lost(tmp_path, stored, edit):
    records = make_shards(tmp_path, 3)
    dataset = start_from(tmp_path / "dataset", records if stored else records[:1])
    store = [(dataset / f".store/train_{side}.bin") for side in SIDES]
    good = [path.read_bytes() for path in store]
    binary = tmp_path / "shards" / "m01.target.bin"
    content, record = binary.read_bytes(), records[1].stat()
    changed = bytes([content[0] ^ 1]) + content[1:]
    edits = {"changed": changed, "shorter": content[:-4], "longer": content + bytes(4)}
    binary.unlink()
    if edit in edits:
        binary.write_bytes(edits[edit])
        os.utime(binary, ns=(record.st_mtime_ns + 10**9,) * 2)
    with pytest.raises(InputError) as caught:
        concatenate(dataset, records)
    line = str(caught.value)
    assert line.startswith(f"{binary}: ")
    assert line.endswith(f"to make it again, delete it and run again: rm {records[1]}")
    assert [path.read_bytes() for path in store] == good
    make_shard(tmp_path / "shards", "m01", n=3, size_px=32)  # as a new run would do
    concatenate(dataset, records)
    assert contents(dataset) == undisturbed(tmp_path / "undisturbed", records[:1], records)


@pytest.mark.parametrize("end", ["input.bin", "input.plane"])
def test_an_edited_shard_that_is_used_in_place_is_named_too(tmp_path, end):
    layout = "planes" if end == "input.plane" else "patches"
    records = [make_shard(tmp_path / "shards", name, layout=layout) for name in ("m00", "m01")]
    binary = tmp_path / "shards" / f"m00.{end}"
    content = binary.read_bytes()
    segments = tmp_path / "dataset" / "train.json"
    os.utime(binary, ns=(records[0].stat().st_mtime_ns + 10**9,) * 2)
    concatenate_shards(records, [], [], segments, "train")  # touched, not changed
    segments.unlink()
    binary.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(binary, ns=(records[0].stat().st_mtime_ns + 10**9,) * 2)
    with pytest.raises(InputError, match=rf"m00\.{end}: was modified outside the workflow"):
        concatenate_shards(records, [], [], segments, "train")
    assert not segments.exists()


def test_a_new_run_beside_a_running_job_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("clearice.locks.PATIENCE_S", 0.5)
    records = make_shards(tmp_path, 2)
    store = tmp_path / "dataset" / ".store"
    begun, end = FORK.Event(), FORK.Event()

    def living_job():
        store.mkdir(parents=True)
        with only_process(store / "train.lock", "writing this dataset"):
            begun.set()
            end.wait(60)

    process = FORK.Process(target=living_job)
    process.start()
    try:
        assert begun.wait(60)
        shards = [(path, read_json(path)) for path in records]
        with pytest.raises(InputError, match="another process is writing this dataset"):
            grow(store, "train", shards)
    finally:
        end.set()
        process.join()
    assert [record["micrograph"] for _, record in grow(store, "train", shards)] == ["m00", "m01"]
