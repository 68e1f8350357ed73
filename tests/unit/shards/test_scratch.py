"""Patches that are first written to a disk of the node."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from clearice.errors import InputError
from clearice.shards.record import PLANES
from clearice.shards.scratch import by_way_of, scratch_folder
from clearice.shards.sharding import shard_micrograph
from mrc_files import noise_image, write_mrc
from small_disk import small_disk

PATCHES = {
    "size_px": 64,
    "stride_px": 32,
    "cover_border": False,
    "target": "pixel_halves",
    "hot_pixel_threshold": "auto",
    "seed": 0,
}
# One that stops in the middle of its patches, in a process of its own.
WAITING = """
import sys, time
from clearice.bridge import run_command
from clearice.shards.scratch import by_way_of

def main():
    with by_way_of(sys.argv[1], sys.argv[2]) as path, open(path, "wb") as file:
        file.write(b"half")
        print("writing", flush=True)
        time.sleep(60)

run_command(main)
"""


def cut(folder, micrograph, scratch=None):
    """Cut a shard into the folder; return its files (name -> bytes) and its record."""
    folder.mkdir(exist_ok=True)
    names = ["a.input.bin", "a.target.bin", "a.input.plane", "a.target.plane", "a.json"]
    files = dict(zip(("input_bin", "target_bin", *PLANES, "record"), names, strict=True))
    places = {argument: folder / name for argument, name in files.items()}
    shard_micrograph(str(micrograph), micrograph="a", patches=PATCHES, scratch=scratch, **places)
    assert sorted(os.listdir(folder)) == sorted(names)
    files = {name: (folder / name).read_bytes() for name in names}
    return files, json.loads(files["a.json"])


@pytest.fixture
def micrograph(tmp_path):
    return write_mrc(tmp_path / "a.mrc", noise_image(512, 512))


def test_a_shard_is_the_same_by_way_of_scratch_which_is_left_empty(tmp_path, micrograph):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    direct, record = cut(tmp_path / "direct", micrograph)
    assert record["n_patches"] == 49
    assert cut(tmp_path / "by way", micrograph, str(scratch)) == (direct, record)
    assert os.listdir(scratch) == []


def test_a_full_scratch_is_one_line_and_leaves_nothing(tmp_path, micrograph):
    with small_disk(tmp_path / "scratch", 0.25) as scratch:
        with pytest.raises(
            InputError, match=r"scratch: .*can't hold the patches.*patches\.scratch"
        ):
            cut(tmp_path / "shards", micrograph, str(scratch))
        assert os.listdir(scratch) == []
    assert os.listdir(tmp_path / "shards") == []


def test_what_fails_later_is_not_said_to_be_of_scratch(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with (
        small_disk(tmp_path / "shared", 0.25) as shared,
        pytest.raises(OSError, match="No space left") as caught,
        by_way_of(scratch, shared / "a") as path,
        open(path, "wb") as file,
    ):
        file.write(bytes(1 << 20))
    assert not isinstance(caught.value, InputError)
    assert os.listdir(scratch) == []


def test_sigterm_leaves_nothing_in_scratch(tmp_path):
    scratch, target = tmp_path / "scratch", tmp_path / "a.bin"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, scratch, target],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout.readline() == b"writing\n"
    assert len(os.listdir(scratch)) == 1
    process.send_signal(signal.SIGTERM)
    until_s = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until_s:
        time.sleep(0.05)
    assert process.returncode == 128 + signal.SIGTERM
    assert os.listdir(scratch) == []
    assert not target.exists()


def test_the_folder_is_that_of_the_node_that_cuts(tmp_path, monkeypatch):
    monkeypatch.setenv("NODES_OWN", str(tmp_path))
    assert scratch_folder("$NODES_OWN") == tmp_path
    assert scratch_folder(None) is None


@pytest.mark.parametrize(
    ("text", "what"),
    [("$NOT_SET_HERE/x", "not set on this node"), ("no/such", "no such folder on this node")],
)
def test_a_folder_that_is_not_there_is_one_line_with_advice(text, what):
    with pytest.raises(InputError, match=rf"{what}.*patches\.scratch: null"):
        scratch_folder(text)
