import errno
import fcntl
import json
import os

import numpy as np
import pytest
import xxhash

from clearice.errors import InputError
from clearice.shards import binary
from clearice.shards.binary import write_side
from clearice.shards.record import (
    new_record,
    read_shard_record,
    source_entry,
    write_record,
)

PATCHES = {"size_px": 4, "stride_px": 2, "cover_border": False, "target": "lowpass"}


def record_of(**facts):
    return new_record("m", PATCHES, "halves", "float32", **facts)


def test_a_record_comes_back_as_it_was(tmp_path):
    record = record_of(mean=0.1, std=2.0, y=[0], x=[2], n_patches=1)
    write_record(tmp_path / "m.json", record)
    assert read_shard_record(tmp_path / "m.json") == record
    assert record["status"] == "ok"
    assert record["noise_floor"] is None


def test_a_record_has_the_keys_of_the_format_only():
    with pytest.raises(KeyError, match="colour"):
        record_of(colour="blue")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a shard record"),
        ('{"format_version": 2', "not a shard record"),
        ("[]", "found list"),
        ('{"format_version": 99}', "expected format_version 2, found 99"),
        ('{"format_version": 2, "micrograph": "m"}', "a shard record without status, reason"),
    ],
)
def test_what_is_not_a_record_is_refused(tmp_path, text, message):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_shard_record(tmp_path / "m.json")
    assert "m.json" in str(error.value)


def test_an_absent_record_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no such shard record"):
        read_shard_record(tmp_path / "m.json")


def test_sources_are_named_by_size_and_content(tmp_path):
    (tmp_path / "a.mrc").write_bytes(b"pixels")
    entry = source_entry(tmp_path / "a.mrc")
    assert entry["bytes"] == 6
    assert entry["xxh3"] == xxhash.xxh3_64_hexdigest(b"pixels")
    absent = {"path": str(tmp_path / "b.mrc"), "bytes": None, "xxh3": None, "pixels_xxh3": None}
    assert source_entry(tmp_path / "b.mrc") == absent


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_patches_are_written_little_endian_and_hashed(tmp_path, dtype):
    image = np.random.default_rng(0).random((6, 8), np.float32)
    record = record_of(y=[0, 2], x=[4, 0], n_patches=2, width_px=8)
    record["dtype"] = dtype
    written = write_side({"input": tmp_path / "m.input.bin"}, [image[:5], image[5:]], record)
    entry = written["input"]
    content = (tmp_path / "m.input.bin").read_bytes()
    expected = np.stack([image[0:4, 4:8], image[2:6, 0:4]])
    assert content == expected.astype({"float32": "<f4", "float16": "<f2"}[dtype]).tobytes()
    assert entry == {
        "path": "m.input.bin",
        "bytes": len(content),
        "xxh3": xxhash.xxh3_64_hexdigest(content),
    }
    json.dumps(entry)


def write_large(folder, size_px=32, n=5):
    """Write n patches side by side; return the file's entry, and the bytes that it must hold."""
    image = np.random.default_rng(1).random((size_px, n * size_px), np.float32)
    xs = [size_px * number for number in range(n)]
    record = record_of(y=[0] * n, x=xs, n_patches=n, width_px=n * size_px)
    record["patch_size_px"] = size_px
    entry = write_side({"input": folder / "m.input.bin"}, [image], record)["input"]
    return entry, np.stack([image[:, x : x + size_px] for x in xs]).tobytes()


def invalid(*_):
    raise OSError(errno.EINVAL, "Invalid argument")


@pytest.mark.parametrize("size_px", [32, 33])  # 33: a patch is no whole number of blocks
@pytest.mark.parametrize("refused", [None, "open", "write"])
def test_direct_writes_and_file_systems_without_them_give_the_same_bytes(
    tmp_path, monkeypatch, size_px, refused
):
    system_open, system_write, opened = os.open, os.write, []

    def watched_open(path, flags, *mode):
        opened.append(flags & binary._DIRECT)
        return invalid() if refused == "open" and opened[-1] else system_open(path, flags, *mode)

    def watched_write(descriptor, view):
        direct = fcntl.fcntl(descriptor, fcntl.F_GETFL) & binary._DIRECT
        return invalid() if refused == "write" and direct else system_write(descriptor, view)

    monkeypatch.setattr(binary, "DIRECT_BYTES", 1)
    monkeypatch.setattr(os, "open", watched_open)
    monkeypatch.setattr(os, "write", watched_write)
    entry, expected = write_large(tmp_path, size_px)
    assert any(opened) == (size_px == 32 and binary._DIRECT != 0)
    assert (tmp_path / "m.input.bin").read_bytes() == expected
    assert entry["bytes"] == len(expected)
    assert entry["xxh3"] == xxhash.xxh3_64_hexdigest(expected)


def test_small_files_stay_in_the_page_cache(tmp_path, monkeypatch):
    system_open, opened = os.open, []
    monkeypatch.setattr(os, "open", lambda *a: opened.append(a[1]) or system_open(*a))
    write_large(tmp_path)
    assert [flags & binary._DIRECT for flags in opened] == [0] * len(opened)


def test_other_errors_of_writing_are_not_hidden(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(binary, "DIRECT_BYTES", 1)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        write_large(tmp_path)


@pytest.mark.parametrize("name", ["input", "input_plane"])
def test_a_record_without_patches_makes_an_empty_file(tmp_path, name):
    assert write_side({name: tmp_path / "e.bin"}, (), record_of())[name]["bytes"] == 0
    assert (tmp_path / "e.bin").read_bytes() == b""


def test_a_failure_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.input.bin"
    path.write_bytes(b"old")
    record = record_of(y=[0], x=[0], n_patches=1, width_px=4)

    def failing():
        yield np.zeros((2, 4), np.float32)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_side({"input": path}, failing(), record)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.input.bin"]
