"""Only regular files are read: what may wait or go on for ever is named, whoever gives it."""

import contextlib
import io
import os
import signal
import socket

import pytest

from clearice import files
from clearice.command import denoise, verify
from clearice.dataset.splits import read_test_micrographs
from clearice.denoised.records import recorded
from clearice.errors import InputError
from clearice.files import open_regular, read_json, regular_bytes, regular_text, xxh3_of_file
from clearice.micrographs.centres import read_centres
from clearice.micrographs.finding.sources import find_micrographs
from clearice.micrographs.mrc import open_micrograph
from clearice.model.checkpoints import find_checkpoint
from clearice.model.weights import load_model
from clearice.reference.bundle import Bundle
from clearice.shards.record import read_shard_record, source_entry
from conftest import planned_jobs, run_snakemake, write_config
from mrc_files import noise_image, write_mrc


@contextlib.contextmanager
def no_longer_than(seconds):
    """Raise TimeoutError in what waits: a read that never ends would stop the tests for good."""

    def ring(*_):
        raise TimeoutError(f"still waiting after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as end, contextlib.chdir(path.parent):
        end.bind(path.name)  # whose whole path may be too long for a socket


SPECIAL = {
    "FIFO": (os.mkfifo, "a FIFO"),
    "socket": (make_socket, "a socket"),
    "/dev/zero": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "/dev/full": (lambda path: path.symlink_to("/dev/full"), "a device"),
    "/dev/urandom": (lambda path: path.symlink_to("/dev/urandom"), "a device"),
    "/proc/kmsg": (lambda path: path.symlink_to("/proc/kmsg"), "a file of the kernel"),
    "/proc/self/maps": (lambda path: path.symlink_to("/proc/self/maps"), "a file of the kernel"),
    "a link to a FIFO": (
        lambda path: (os.mkfifo(path.with_name("f")), path.symlink_to("f")),
        "a FIFO",
    ),
    "folder": (os.mkdir, "a folder"),
}


def config_with(pattern):
    section = {
        "source": "files",
        "files": pattern,
        "halves": None,
        "on_error": "skip",
        "settle_minutes": 0,
    }
    return {"micrographs": section, "patches": {"target": "lowpass"}}


READERS = {
    "open_regular": open_regular,
    "bytes": regular_bytes,
    "text": regular_text,
    "hash": xxh3_of_file,
    "JSON": read_json,
    "micrograph": open_micrograph,
    "centres": read_centres,
    "test micrographs": lambda path: read_test_micrographs(path, {"a"}),
    "shard record": read_shard_record,
    "model": load_model,
    "bundle": lambda path: Bundle(path.parent),
}
NAMES = {"bundle": "manifest.json"}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_refused_by_name(tmp_path, reader, kind):
    make, found = SPECIAL[kind]
    path = tmp_path / NAMES.get(reader, "x")
    make(path)
    with no_longer_than(30), pytest.raises(InputError, match=f"not a regular file.*{found}"):
        READERS[reader](path)


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("ending", ["tsv", "star"])
def test_a_table_of_micrographs_is_a_regular_file(tmp_path, ending, kind):
    make, found = SPECIAL[kind]
    make(tmp_path / f"t.{ending}")
    with no_longer_than(30), pytest.raises(InputError, match=f"not a regular file.*{found}"):
        find_micrographs(config_with(f"t.{ending}"), tmp_path)


@pytest.mark.parametrize("kind", SPECIAL)
def test_a_shard_names_its_source_without_reading_what_has_no_end(tmp_path, kind):
    SPECIAL[kind][0](tmp_path / "x.mrc")
    with no_longer_than(30):
        assert source_entry(tmp_path / "x.mrc")["xxh3"] is None


@pytest.mark.parametrize("kind", ["FIFO", "/dev/zero", "socket"])
def test_a_checkpoint_that_is_no_file_is_set_aside(tmp_path, kind):
    SPECIAL[kind][0](tmp_path / "checkpoint.pt")
    with no_longer_than(30):
        state, remark = find_checkpoint(tmp_path / "checkpoint.pt", {}, 1)
    assert state is None
    assert "not a regular file: set aside" in remark


@pytest.mark.parametrize("kind", ["FIFO", "/dev/zero"])
def test_a_record_of_a_result_that_is_no_file_is_no_record(tmp_path, kind):
    SPECIAL[kind][0](tmp_path / "a.json")
    with no_longer_than(30):
        assert recorded(tmp_path / "a.json") == {}


@pytest.mark.parametrize("kind", ["FIFO", "/dev/zero"])
def test_verify_names_what_is_no_file(tmp_path, capsys, kind):
    SPECIAL[kind][0](tmp_path / "manifest.json")
    with no_longer_than(30):
        assert verify.main([str(tmp_path)]) == 1
    assert "manifest.json: not a regular file" in capsys.readouterr().out


def test_denoise_names_a_fifo_and_denoises_the_rest(here, capsys):
    os.mkfifo("f.mrc")
    write_mrc(here / "a.mrc", noise_image(64, 64))
    with no_longer_than(120):
        arguments = ["a.mrc", "f.mrc", "--model", "m.safetensors", "--output", "out"]
        assert denoise.main([*arguments, "--device", "cpu"]) == 1
    assert "f.mrc: not a regular file" in capsys.readouterr().err
    assert (here / "out" / "a.mrc").exists()


class Growing(io.FileIO):
    """A file to which somebody writes before every read."""

    def read(self, count):
        with open(self.name, "ab") as file:
            file.write(b"more")
        return super().read(count)


def test_a_file_that_grows_is_read_as_far_as_it_went(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"1234")
    before = xxh3_of_file(path)
    monkeypatch.setattr(files, "open_regular", Growing)
    with no_longer_than(30):
        assert xxh3_of_file(path) == before
        os.truncate(path, 4)
        assert regular_bytes(path) == b"1234"


def test_a_file_beyond_the_limit_is_not_read(tmp_path):
    path = tmp_path / "names.txt"
    path.touch()
    os.truncate(path, 10 << 30)  # without room on the disk
    with no_longer_than(30), pytest.raises(InputError, match="too large for a list of test micr"):
        read_test_micrographs(path, {"a"})
    (tmp_path / "t.tsv").symlink_to("names.txt")
    with (
        no_longer_than(30),
        pytest.raises(InputError, match="too large for a table of micrographs"),
    ):
        find_micrographs(config_with("t.tsv"), tmp_path)


def test_a_workflow_rejects_them_and_goes_on(tmp_path, tiny_config):
    folder = tmp_path / "data"
    folder.mkdir()
    for seed in range(2):
        write_mrc(folder / f"good{seed}.mrc", noise_image(70, 90, seed))
    os.mkfifo(folder / "fifo.mrc")
    (folder / "zero.mrc").symlink_to("/dev/zero")
    section = {"source": "files", "files": "data/*.mrc", "max_rejected_fraction": 0.9}
    tiny_config["micrographs"] = section
    tiny_config["patches"]["target"] = "lowpass"
    write_config(tmp_path, tiny_config)
    run_snakemake(tmp_path, "--cores", "2", "dataset", timeout=240)
    reasons = {
        p: read_shard_record(tmp_path / f"results/shards/{p}.json") for p in ("fifo", "zero")
    }
    assert "found a FIFO" in reasons["fifo"]["reason"]
    assert "found a device" in reasons["zero"]["reason"]
    assert planned_jobs(tmp_path, "dataset") == {}
