"""Few descriptors, many files, many threads: every read gets its file."""

import concurrent.futures
import os
import resource
import subprocess
import sys

import pytest

from clearice.dataset.open_files import OpenFiles, most_open_files


@pytest.fixture
def folder(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}").write_bytes(bytes([number]) * 100)
    return tmp_path


def open_here(folder):
    """Return the names of the files of `folder` that this process has open."""
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    places = [os.readlink(link) for link in links if os.path.islink(link)]
    return sorted(os.path.basename(p) for p in places if p.startswith(f"{folder}/"))


def read(files, number):
    with files.opened(str(number)) as descriptor:
        return os.pread(descriptor, 1, 50)[0]


def test_those_read_last_stay_open(folder):
    files = OpenFiles(folder, most=3)
    for number in (1, 2, 3, 1, 4):
        assert read(files, number) == number
    assert open_here(folder) == ["1", "3", "4"]
    files.close()
    assert open_here(folder) == []


def test_a_file_in_use_is_not_closed(folder):
    files = OpenFiles(folder, most=1)
    with files.opened("1") as descriptor:
        assert [read(files, number) for number in (2, 3)] == [2, 3]
        assert os.pread(descriptor, 1, 0) == b"\1"
    assert len(files) == 1


def test_a_missing_file_is_the_readers_error(folder):
    files = OpenFiles(folder)
    with pytest.raises(FileNotFoundError), files.opened("none"):
        pass
    assert len(files) == 0


FEW = """
import concurrent.futures, os, resource, sys
from clearice.dataset.open_files import OpenFiles
def read(number):
    with files.opened(str(number % 20)) as descriptor:
        return os.pread(descriptor, 1, 50)[0] == number % 20
files = OpenFiles(sys.argv[1], most=20)
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(len, [""] * 100))  # the threads are there
    used = len(os.listdir("/proc/self/fd")) - 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, used + 2))  # two are left
    print(all(pool.map(read, range(5000))))
"""


def test_more_threads_than_descriptors(folder):
    command = [sys.executable, "-c", FEW, str(folder)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (process.stdout, process.stderr) == ("True\n", "")


def test_many_threads_share_few_files(folder):
    files = OpenFiles(folder, most=3)
    numbers = [i * 7 % 20 for i in range(3000)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda number: read(files, number), numbers)) == numbers
    assert len(open_here(folder)) == 3


def test_a_usual_limit_leaves_room_for_others():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        found = []
        for limit in (20, 64, 1024, before[1]):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, before[1]), before[1]))
            found.append(most_open_files())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert found[:2] == [1, 8]
    assert 240 <= found[2] <= found[3] <= 256
