"""Which files are still being written when the micrographs are listed, and by whose clock."""

import bz2
import gzip
import os
import time

import numpy as np
import pytest

from clearice.micrographs.finding import settling
from clearice.micrographs.finding.sources import find_micrographs
from clearice.micrographs.waiting import STILL_WRITTEN, Clock, file_state, file_status
from mrc_files import noise_image, write_mrc

WHOLE = noise_image(20, 30)
OLD_S = 3600


def content(mode=2):
    path = settling.Path("whole.mrc")
    write_mrc(path, WHOLE.astype(np.float16) if mode == 12 else WHOLE, mode=mode)
    whole = path.read_bytes()
    path.unlink()
    return whole


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listed(files="*.mrc*", settle_minutes=10, halves=None, on_error="skip"):
    """Return name -> reason of what is found, and the lines that are said."""
    lines = []
    section = {"source": "files", "files": files, "halves": halves, "on_error": on_error}
    config = {"micrographs": section | {"settle_minutes": settle_minutes}}
    found = find_micrographs(config | {"patches": {"target": "auto"}}, say=lines.append)
    return {name: files.reason for name, files in found.items()}, lines


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


@pytest.mark.parametrize("on_error", ["skip", "stop"])
@pytest.mark.parametrize("mode", [2, 12])
def test_a_young_short_file_waits_at_every_length_and_a_whole_or_old_one_does_not(
    folder, mode, on_error
):
    whole, path = content(mode), folder / "b.mrc"
    write_mrc(folder / "a.mrc", WHOLE)
    for length in (0, 1, 500, 1023, 1024, 1500, len(whole) - 1):
        path.write_bytes(whole[:length])
        reasons, lines = listed(on_error=on_error)
        assert reasons == {"a": None, "b": STILL_WRITTEN}, length
        assert lines == [f"1 of 2 micrographs are {STILL_WRITTEN} and wait for the next run: b"]
    assert listed(settle_minutes=0) == ({"a": None, "b": None}, [])
    age(path, 600 + 5)
    assert listed() == ({"a": None, "b": None}, [])
    age(path, 600 - 5)
    assert listed()[0]["b"] == STILL_WRITTEN
    path.write_bytes(whole)
    assert listed() == ({"a": None, "b": None}, [])


def test_room_for_a_file_that_is_not_written_yet_waits(folder):
    (folder / "a.mrc").write_bytes(bytes(5000))  # as the header comes last
    assert listed()[0] == {"a": STILL_WRITTEN}


@pytest.mark.parametrize("bad", [b"<html>503</html>", b"\x7f" * 5000])
def test_what_no_further_byte_makes_a_micrograph_does_not_wait(folder, bad):
    (folder / "a.mrc").write_bytes(bad)
    assert listed()[0] == {"a": None}


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_a_compressed_file_is_left_to_its_shard_unless_it_is_empty(folder, compress):
    packed = compress(content())
    (folder / "a.mrc.gz").write_bytes(packed[: len(packed) // 2])
    (folder / "b.mrc.gz").write_bytes(b"")
    assert listed()[0] == {"a": None, "b": STILL_WRITTEN}


def test_either_half_makes_a_pair_wait(folder):
    whole = content()
    for name in ("a_EVN", "a_ODD", "b_EVN", "b_ODD", "c_EVN", "c_ODD"):
        (folder / f"{name}.mrc").write_bytes(whole[: -8 * (name in ("b_EVN", "c_ODD")) or None])
    reasons, _ = listed(halves={"input": "_EVN", "target": "_ODD"})
    assert reasons == {"a": None, "b": STILL_WRITTEN, "c": STILL_WRITTEN}


@pytest.mark.parametrize(
    "name", ["b.mrc.part", "b.MRC.Tmp", "b.mrc.filepart", ".b.mrc.Xq3dZ1", "b.mrc.crdownload"]
)
def test_names_of_unfinished_copies_are_left_out_whatever_their_age(folder, name):
    for half in ("_EVN", "_ODD"):
        write_mrc(folder / f"a{half}.mrc", WHOLE)
    (folder / name).write_bytes(content())
    age(folder / name, OLD_S)
    globs = ["*.[mM]*", ".*.mrc.*"] if name.startswith(".") else "*.[mM]*"
    halves = {"input": "_EVN", "target": "_ODD"}  # of which it is neither
    reasons, lines = listed(globs, halves=halves)
    assert reasons == {"a": None}
    assert lines == [f"1 files with the name of an unfinished copy are left out: {name}"]
    asked_for = "*" + os.path.splitext(name)[1]
    if not name.startswith("."):
        assert listed(asked_for) == ({name.rpartition(".")[0]: None}, [])


@pytest.mark.parametrize("ahead_s", [-2 * OLD_S, 2 * OLD_S])
def test_the_clock_of_the_file_server_tells_the_age(folder, monkeypatch, ahead_s):
    now = time.time
    (folder / "a.mrc").write_bytes(content()[:-8])
    monkeypatch.setattr(time, "time", lambda: now() + ahead_s)
    assert listed()[0] == {"a": STILL_WRITTEN}
    then = now() - OLD_S
    os.utime(folder / "a.mrc", (then, then))
    assert listed()[0] == {"a": None}


def test_a_file_of_the_future_is_young_and_one_that_vanished_is_not(folder):
    (folder / "a.mrc").write_bytes(content()[:-8])
    age(folder / "a.mrc", -200)
    assert listed()[0] == {"a": STILL_WRITTEN}
    assert not Clock().is_young(file_status(folder / "gone.mrc"), 10)
    assert file_state(file_status(folder / "gone.mrc")) is None


def test_only_young_files_are_opened(folder, monkeypatch):
    opened, open_regular = [], settling.open_regular

    def noted(path):
        opened.append(path.name)
        return open_regular(path)

    monkeypatch.setattr(settling, "open_regular", noted)
    for name in "abc":
        write_mrc(folder / f"{name}.mrc", WHOLE)
    age(folder / "a.mrc", OLD_S)
    listed()
    assert opened == ["b.mrc", "c.mrc"]
    listed(settle_minutes=0)
    assert opened == ["b.mrc", "c.mrc"]
