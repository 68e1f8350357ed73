"""The dataset's binaries are their shards one after the other, however they came to grow."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearice.dataset import copying
from clearice.dataset.manifest import read_manifest
from clearice.dataset.reader import open_split
from clearice.dataset.segments import SIDES
from clearice.errors import InputError
from clearice.files import read_json, xxh3_of_file
from clearice.locks import only_process
from concatenate_shards import concatenate_shards
from shard_files import make_shard
from write_manifest import write_manifest

MANIFESTS = ("train.json", "test.json", "manifest.json", "manifest.nml")


def concatenate(folder, names, split="train"):
    """Run the job as Snakemake does: its outputs are removed first; return the stored order."""
    records = [folder / "shards" / f"{name}.json" for name in names]
    dataset = folder / "dataset"
    outputs = {f"{side}_bin": dataset / f"{split}_{side}.bin" for side in SIDES}
    outputs["segments"] = dataset / f"{split}.json"
    for path in outputs.values():
        path.unlink(missing_ok=True)
    bins = {f"{side}_bins": [r.with_suffix(f".{side}.bin") for r in records] for side in SIDES}
    concatenate_shards(records=records, split=split, **bins, **outputs)
    return [s["micrograph"] for s in read_json(outputs["segments"])["segments"]]


def joined(folder, names, side):
    return b"".join((folder / "shards" / f"{name}.{side}.bin").read_bytes() for name in names)


def check_binaries(folder, order, split="train"):
    for side in SIDES:
        binary = folder / "dataset" / f"{split}_{side}.bin"
        assert binary.read_bytes() == joined(folder, order, side)
        assert binary.samefile(folder / "dataset" / ".store" / f"{split}_{side}.bin")


@pytest.fixture
def copied(monkeypatch):
    """The names of the binaries that are copied, as they are."""
    names = []

    def append_binary(path, *arguments):
        names.append(Path(path).stem)
        copying.append_binary(path, *arguments)

    monkeypatch.setattr("clearice.dataset.store.append_binary", append_binary)
    return names


def shards(folder, names, **arguments):
    for name in names:
        make_shard(folder / "shards", name, **{"n": 1 + ord(name) % 3} | arguments)


def test_new_shards_are_appended_and_old_ones_not_rewritten(tmp_path, copied):
    shards(tmp_path, "abcd")
    assert concatenate(tmp_path, "ca") == ["a", "c"]
    inode = (tmp_path / "dataset" / "train_input.bin").stat().st_ino
    copied.clear()
    assert concatenate(tmp_path, "dcab") == ["a", "c", "b", "d"]
    assert copied == ["b", "b", "d", "d"]
    assert (tmp_path / "dataset" / "train_input.bin").stat().st_ino == inode
    check_binaries(tmp_path, "acbd")
    copied.clear()
    assert concatenate(tmp_path, "abcd") == ["a", "c", "b", "d"]
    assert copied == []
    check_binaries(tmp_path, "acbd")


@pytest.mark.parametrize("change", ["removed", "changed", "resized"])
def test_a_removed_or_changed_micrograph_rebuilds_by_name(tmp_path, copied, change):
    shards(tmp_path, "abcd")
    concatenate(tmp_path, "ac")
    concatenate(tmp_path, "abcd")
    with open(tmp_path / "dataset" / "train_input.bin", "rb") as reader:
        old = reader.read(100)
        names = "bcd" if change == "removed" else "abcd"
        if change != "removed":
            shards(tmp_path, "c", seed=7, n=5 if change == "resized" else 1 + ord("c") % 3)
        copied.clear()
        assert concatenate(tmp_path, names) == list(names)
        assert set(copied) == set(names)
        reader.seek(0)
        assert reader.read(100) == old  # who still reads the old file reads the old bytes
    check_binaries(tmp_path, names)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_history_ends_in_the_shards_of_the_manifest(tmp_path_factory, data):
    folder, order, seeds = tmp_path_factory.mktemp("history"), [], {}
    for _ in range(data.draw(st.integers(1, 4))):
        names = sorted(data.draw(st.sets(st.sampled_from("abcdef"), min_size=1)))
        changed = set(data.draw(st.sets(st.sampled_from("abcdef"), max_size=1)))
        before = [(name, seeds[name]) for name in order]
        for name in names:
            if name in changed or name not in seeds:
                seeds[name] = data.draw(st.integers(0, 3))
                shards(folder, name, seed=seeds[name])
        same = all(name in names and seeds[name] == seed for name, seed in before)
        expected = [*order, *(n for n in names if n not in order)] if same else names
        order = concatenate(folder, names)
        assert order == expected
        check_binaries(folder, order)


def test_segments_tile_the_files_and_their_hashes_match(tmp_path):
    shards(tmp_path, "abcdef", n=2)
    dataset = tmp_path / "dataset"
    concatenate(tmp_path, "abcd")
    concatenate(tmp_path, "ef", split="test")
    write_manifest(*(dataset / name for name in MANIFESTS))
    manifest = read_manifest(dataset / "manifest.json")
    for split in ("train", "test"):
        for side in SIDES:
            end, whole = 0, (dataset / f"{split}_{side}.bin").read_bytes()
            for segment in manifest["splits"][split]["segments"]:
                assert segment[f"{side}_offset_bytes"] == end
                end += segment["n_patches"] * 16 * 16 * 4
                part = dataset / "part"
                part.write_bytes(whole[segment[f"{side}_offset_bytes"] : end])
                assert xxh3_of_file(part) == segment[f"{side}_xxh3"]
            assert end == len(whole)


def test_both_layouts_hold_the_same_patches(tmp_path):
    shards(tmp_path, "abc")
    manifests = []
    for kind in ("dataset", "in_place"):
        folder = tmp_path / kind
        for split, names in (("train", "ab"), ("test", "c")):
            if kind == "dataset":
                concatenate(tmp_path, names, split)
            else:
                records = [tmp_path / "shards" / f"{name}.json" for name in names]
                concatenate_shards(records, [], [], folder / f"{split}.json", split)
        manifests.append(folder / "manifest.json")
        write_manifest(*(folder / name for name in MANIFESTS))
    assert len({read_manifest(m)["data_xxh3"] for m in manifests}) == 1
    with open_split(manifests[0], "train") as first, open_split(manifests[1], "train") as second:
        assert first.n_patches == second.n_patches > 2
        for i in range(first.n_patches):
            assert first.where(i) == second.where(i)
            assert [p.tobytes() for p in first.read(i)] == [p.tobytes() for p in second.read(i)]
    assert not list((tmp_path / "in_place").glob("*.bin"))


def test_outputs_are_newer_than_the_shards_even_if_nothing_was_copied(tmp_path):
    shards(tmp_path, "ab")
    concatenate(tmp_path, "ab")
    record = tmp_path / "shards" / "a.json"
    record.write_bytes(record.read_bytes())
    concatenate(tmp_path, "ab")
    for name in ("train_input.bin", "train_target.bin", "train.json"):
        assert (tmp_path / "dataset" / name).stat().st_mtime_ns >= record.stat().st_mtime_ns


@pytest.mark.parametrize("failure", [errno.EXDEV, errno.EINVAL, "short", "nothing"])
def test_where_files_cannot_be_copied_by_the_kernel_they_are_written(
    tmp_path, monkeypatch, failure
):
    real, calls = os.copy_file_range, []

    def copy_file_range(source, target, count, *offsets):
        calls.append(count)
        if failure == "nothing" or (failure == "short" and len(calls) % 3 == 0):
            return 0
        if failure == "short":
            return real(source, target, min(count, 1000), *offsets)
        raise OSError(failure, os.strerror(failure))

    monkeypatch.setattr(os, "copy_file_range", copy_file_range)
    monkeypatch.setattr(copying, "BLOCK_BYTES", 3000)
    shards(tmp_path, "abc")
    assert concatenate(tmp_path, "abc") == ["a", "b", "c"]
    check_binaries(tmp_path, "abc")
    assert calls


def test_without_hard_links_the_files_move_and_are_remade_next_time(tmp_path, monkeypatch, capsys):
    def link(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    shards(tmp_path, "abc")
    for names in ("ac", "abc"):
        assert concatenate(tmp_path, names) == list(names)
        for side in SIDES:
            binary = tmp_path / "dataset" / f"train_{side}.bin"
            assert binary.read_bytes() == joined(tmp_path, names, side)
    assert "no hard links here" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["shorter", "missing", "edited", "journal", "version"])
def test_a_damaged_store_is_rebuilt(tmp_path, damage, capsys):
    shards(tmp_path, "abc")
    concatenate(tmp_path, "ab")
    store = tmp_path / "dataset" / ".store"
    binary, journal = store / "train_target.bin", store / "train.json"
    if damage == "journal":
        journal.write_text("{")
    elif damage == "version":
        journal.write_text('{"format_version": 0}')
    elif damage == "missing":
        binary.unlink()
    else:
        content = bytearray(binary.read_bytes())
        content[100] ^= 1
        binary.write_bytes(content[:-1] if damage == "shorter" else content)
        os.utime(binary, ns=(1, 1))
    assert concatenate(tmp_path, "abc") == ["a", "b", "c"]
    check_binaries(tmp_path, "abc")
    assert "copied again" in capsys.readouterr().out


def test_a_store_whose_time_alone_changed_is_kept(tmp_path, copied):
    shards(tmp_path, "ab")
    concatenate(tmp_path, "ab")
    os.utime(tmp_path / "dataset" / "train_input.bin", ns=(1, 1))
    copied.clear()
    concatenate(tmp_path, "ab")
    assert copied == []
    check_binaries(tmp_path, "ab")


def test_two_processes_do_not_write_one_store(tmp_path, monkeypatch):
    monkeypatch.setattr("clearice.locks.PATIENCE_S", 0.5)
    shards(tmp_path, "ab")
    concatenate(tmp_path, "a")
    lock = tmp_path / "dataset" / ".store" / "train.lock"
    with (
        only_process(lock, "writing this dataset"),
        pytest.raises(InputError, match="another process is writing this dataset"),
    ):
        concatenate(tmp_path, "ab")
    assert concatenate(tmp_path, "ab") == ["a", "b"]


def test_a_micrograph_in_both_splits_makes_no_manifest(tmp_path):
    shards(tmp_path, "abc")
    concatenate(tmp_path, "ab")
    concatenate(tmp_path, "bc", split="test")
    dataset = tmp_path / "dataset"
    with pytest.raises(InputError, match="in both splits: b"):
        write_manifest(*(dataset / name for name in MANIFESTS))
    assert not (dataset / "manifest.json").exists()
