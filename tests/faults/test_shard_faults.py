"""A full disk or a kill leaves no shard that looks complete, and the next run makes it."""

import signal
import subprocess
import sys

import pytest

from clearice.shards.record import LAYOUTS, read_shard_record
from mrc_files import noise_image, write_mrc
from small_disk import small_disk


@pytest.mark.parametrize("layout", ["patches", "both"])
def test_a_full_disk_leaves_no_shard_that_looks_complete(tmp_path, layout):
    halves = [write_mrc(tmp_path / f"{n}.mrc", noise_image(512, 512, n)) for n in range(2)]
    with small_disk(tmp_path / "disk", 4) as disk:  # one side has 3.5 MiB of patches
        command = [
            sys.executable,
            "-m",
            "clearice",
            "shard",
            *halves[:1],
            "--target-half",
            *halves[1:],
            "--output",
            disk / "m",
        ]
        command += ["--patch-size-px", "64", "--stride-px", "32", "--on-error", "skip"]
        command += ["--layout", layout]
        process = subprocess.run(command, capture_output=True, text=True)
        assert process.stderr == "error: No space left on device; make room and run again\n"
        assert process.returncode == 1
        assert list(disk.glob("*.json")) == list(disk.glob(".*.part")) == []
        subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
        assert subprocess.run(command).returncode == 0
        assert read_shard_record(disk / "m.json")["n_patches"] == 225


KILLED = """
import os, signal
from clearice.command.main import main
from clearice.shards.binary import RawFile
write, calls = RawFile.write, []
def dying(file, patches):
    write(file, patches)
    calls.append(file)
    if len(calls) == CALL:
        os.kill(os.getpid(), signal.SIGKILL)
RawFile.write = dying
main()
"""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_killed_job_leaves_no_shard_and_the_next_job_cleans_up(tmp_path, layout):
    image = write_mrc(tmp_path / "a.mrc", noise_image(1024, 1024))
    arguments = ["--target", "lowpass", "--patch-size-px", "64", "--stride-px", "16"]
    command = ["shard", image, *arguments, "--layout", layout, "--output"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    at = 2 if layout == "planes" else 3  # a plane of this size is one write
    dying = [sys.executable, "-c", KILLED.replace("CALL", str(at)), *command, killed / "m"]
    process = subprocess.run(dying)
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "m.json").exists()
    assert list(killed.glob(".*.part"))
    for folder in (killed, whole):
        subprocess.run([sys.executable, "-m", "clearice", *command, folder / "m"], check=True)
    ends = ("json", *LAYOUTS[layout].values())
    assert sorted(path.name for path in killed.iterdir()) == sorted(f"m.{end}" for end in ends)
    for path in killed.iterdir():
        assert path.read_bytes() == (whole / path.name).read_bytes()
