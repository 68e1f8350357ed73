"""Limits of the machine: one line that names the limit, by the real thing running into it."""

import contextlib
import subprocess
import sys

import pytest

from conftest import REPOSITORY, run_snakemake, write_config

PROGRAM = """
from clearice.bridge import run_command
def main():
    {}
run_command(main)
"""


def line_of(statements, *limit):
    """Return the one line that statements print under a limit of `prlimit`."""
    program = PROGRAM.format("\n    ".join(statements.splitlines()))
    command = ["prlimit", *limit, sys.executable, "-c", program]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    return line


def test_descriptors():
    line = line_of("files = [open('/dev/null') for _ in range(100)]", "--nofile=50")
    assert line == (
        "error: too many open files: a process may have 50 (ulimit -n); raise that limit"
    )


@pytest.mark.parametrize(
    "statement",
    ["bytes(1 << 34)", "import numpy; numpy.ones(1 << 31)", "import mmap; mmap.mmap(-1, 1 << 34)"],
)
def test_address_space(statement):
    line = line_of(statement, f"--as={1 << 30}")
    assert line.startswith("error: out of memory")
    assert line.endswith("the address space is limited to 1 GiB (ulimit -v); raise that limit")


def test_address_space_for_a_library():
    line = line_of("import torch", f"--as={200 << 20}")
    assert line.startswith("error: out of memory")
    assert "the address space is limited to 200 MiB (ulimit -v)" in line


def test_address_space_for_threads():
    statements = "import threading, time\n"
    statements += (
        "for _ in range(200): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"
    )
    line = line_of(statements, f"--as={300 << 20}")
    assert line.startswith("error: no further process or thread can be started")
    assert "ulimit -v" in line


def test_size_of_a_file(tmp_path):
    statement = (
        f"from clearice.files import write_text; write_text({str(tmp_path / 'a')!r}, 'x' * 9999)"
    )
    line = line_of(statement, "--fsize=5000")
    assert line == "error: a file may have 5000 bytes (ulimit -f); raise that limit"
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_may_not_be_that_large(tmp_path):
    statement = "import torch; from clearice.model.checkpoints import save_checkpoint\n"
    statement += f"save_checkpoint({str(tmp_path / 'c.pt')!r}, {{'network': torch.zeros(100_000)}})"
    line = line_of(statement, "--fsize=100000")
    assert "a file may have 100000 bytes (ulimit -f)" in line


def test_no_folder_for_temporary_files(tmp_path):
    statement = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/nonexistent']\n"
    line = line_of(statement + "tempfile.TemporaryDirectory()")
    assert "set TMPDIR to one that can" in line


@contextlib.contextmanager
def mounted(folder, *options):
    """Mount a tmpfs, or `folder` onto itself; skip where that is not allowed."""
    folder.mkdir(exist_ok=True)
    command = ["mount", *options, str(folder)]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        pytest.skip(f"needs root to mount: {process.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_no_inodes_left(tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "nr_inodes=8", "tmpfs") as disk:
        statement = "from clearice.files import write_text\n"
        statement += f"for n in range(9): write_text(f'{disk}/{{n}}', 'x')"
        line = line_of(statement)
    assert "no inodes left on device (it holds too many files); make room" in line


def test_a_run_that_needs_more_inodes_does_not_begin(tmp_path, tiny_config):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "nr_inodes=40", "tmpfs") as disk:
        write_config(disk / "run", tiny_config)
        process = run_snakemake(disk / "run", "--cores", "1", "all", check=False)
    (line,) = [x for x in process.stdout.splitlines() if x.startswith("error: ")]
    assert "the disk can't hold that many files: expected" in line
    assert "Traceback" not in process.stdout


@pytest.mark.parametrize("existing", [True, False])
def test_a_run_folder_that_is_read_only(tmp_path, tiny_config, existing):
    run = tmp_path / "run"
    write_config(run, tiny_config)
    if existing:
        (run / ".snakemake").mkdir()
    with mounted(run, "--bind", str(run)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(run)], check=True)
        process = run_snakemake(run, "--cores", "1", "dataset", check=False)
    assert process.returncode == 1
    (line,) = [x for x in process.stdout.splitlines() if x.startswith("error: ")]
    assert line.endswith(
        "a read-only file system; Snakemake writes there: give --directory a folder of your own"
    )
    assert "Traceback" not in process.stdout


@pytest.mark.parametrize("mib", [350, 500])
def test_a_run_in_too_small_an_address_space_does_not_begin(tmp_path, tiny_config, mib):
    write_config(tmp_path, tiny_config)
    process = run_snakemake_under(f"--as={mib << 20}", tmp_path, "dataset")
    assert process.returncode == 1
    assert f"error: the address space is limited to {mib} MiB (ulimit -v)" in process.stdout
    assert "Traceback" not in process.stdout


def run_snakemake_under(limit, folder, *arguments):
    command = ["prlimit", limit, sys.executable, "-m", "snakemake", "--cores", "1", "--directory"]
    return subprocess.run(
        [*command, folder, *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_few_descriptors_train_from_many_shards(tmp_path, tiny_config):
    tiny_config["simulation"]["count"] = 40
    tiny_config["micrographs_per_job"] = 20
    tiny_config["dataset"] = {"concatenate": False}
    tiny_config["parity"] = {"implementations": {}}
    tiny_config["denoised"] = {"enabled": False}
    write_config(tmp_path, tiny_config)
    process = run_snakemake_under("--nofile=64", tmp_path, "model")
    assert process.returncode == 0, process.stdout[-2000:]
