"""Files are whole or absent."""

import errno
import fcntl
import os

import pytest
import xxhash

from clearice.errors import InputError
from clearice.files import atomic_path, open_regular, read_json, write_json, xxh3_of_file


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half of the ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_what_a_killed_process_left_of_this_file_and_no_other_is_replaced(tmp_path):
    others = {".a.json.json.part", "a.json.part", ".b.json.part"}
    for name in (*others, ".a.json.part"):
        (tmp_path / name).write_text("half of i")
    write_json(tmp_path / "a.json", 1)
    assert read_json(tmp_path / "a.json") == 1
    assert set(os.listdir(tmp_path)) == {"a.json", *others}


def test_of_two_that_write_one_file_the_second_says_so_and_touches_nothing(tmp_path):
    path = tmp_path / "a.bin"
    with atomic_path(path) as first:
        first.write_bytes(b"first")
        with pytest.raises(InputError, match="another process writes this file"):
            write_json(path, "second")
        assert first.read_bytes() == b"first"
    assert path.read_bytes() == b"first"
    write_json(path, "second")
    assert read_json(path) == "second"


@pytest.mark.parametrize("ended", [False, True])
def test_without_locks_the_later_of_two_wins_and_the_first_says_so(tmp_path, monkeypatch, ended):
    path = tmp_path / "a.bin"

    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, "no locks")

    def write_both():
        with atomic_path(path) as first:
            first.write_bytes(b"first")
            with atomic_path(path) as second:
                second.write_bytes(b"second")
            if not ended:
                first.write_bytes(b"more of the first")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(InputError, match="another process writes this file"):
        write_both()
    assert path.read_bytes() == b"second"


def test_writing_a_file_reads_no_folder(tmp_path, monkeypatch):
    def read_folder(*arguments):
        pytest.fail("a folder of all micrographs is read for each of its files")

    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, read_folder)
    write_json(tmp_path / "a.json", 1)
    assert read_json(tmp_path / "a.json") == 1


def test_a_finished_write_replaces_the_old_file(tmp_path):
    path = tmp_path / "folder" / "a.bin"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["a.bin"]


def test_json_comes_back_and_nan_is_refused(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": [1, 2.5, None, "å"]})
    assert read_json(path) == {"x": [1, 2.5, None, "å"]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"x": float("nan")})
    assert read_json(path) == {"x": [1, 2.5, None, "å"]}


def test_the_hash_is_xxh3_64_of_all_bytes(tmp_path):
    path = tmp_path / "a.bin"
    content = os.urandom((1 << 20) + 17)
    path.write_bytes(content)
    assert xxh3_of_file(path) == xxhash.xxh3_64_hexdigest(content)


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name, kind in (("fifo", "a FIFO"), ("link", "a device"), (".", "a folder")):
        with pytest.raises(InputError, match=f"not a regular file.*found {kind}"):
            open_regular(tmp_path / name)


def test_a_regular_file_is_opened_through_a_link(tmp_path):
    (tmp_path / "file").write_bytes(b"12")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"12"
