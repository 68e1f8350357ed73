"""A download that was interrupted fetches what is missing, and nothing else."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from clearice.micrographs.empiar.ranges import missing_ranges
from conftest import REPOSITORY
from faults.archive_server import FILE, micrograph_bytes, running_archive
from faults.downloads import RANGE_BYTES, fetch, refused

KILLED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
from clearice.micrographs.empiar.connection import Patience
from clearice.micrographs.empiar.download import fetch_file
fetch_file(sys.argv[1], sys.argv[2], 2, Patience(), int(sys.argv[3]))
"""


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_download_continues_with_what_is_missing(archive, content, tmp_path, stop):
    path, progress = tmp_path / "a.mrc", tmp_path / "a.mrc.part.json"
    archive.misbehave = lambda request: (
        "stall" if (request["first"] or 0) > len(content) // 2 else None
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow" / "scripts")}
    command = [sys.executable, "-c", KILLED, archive.url + FILE, str(path), str(RANGE_BYTES)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while len(json.loads(progress.read_text())["finished"] if progress.exists() else []) < 6:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(stop)
        assert process.wait(timeout=15) != 0  # it does not wait for the stalled connections
    assert not path.exists()
    finished = json.loads(progress.read_text())["finished"]
    with running_archive() as again:  # requests of the killed process may still reach the first
        again.files[FILE] = content
        fetch(again, path)
        asked = again.ranges()
    assert path.read_bytes() == content
    assert sorted(asked) == missing_ranges(finished, len(content), RANGE_BYTES)
    assert os.listdir(tmp_path) == ["a.mrc"]


def interrupt(archive, path):
    """Leave a download with three finished ranges behind."""
    archive.misbehave = lambda request: (
        "503" if (request["first"] or 0) >= 3 * RANGE_BYTES else None
    )
    refused(archive, path, connections=1)
    archive.misbehave = lambda request: None
    return len(archive.requests)


def test_a_failed_download_keeps_its_finished_ranges(archive, content, tmp_path):
    asked_before = interrupt(archive, tmp_path / "a.mrc")
    fetch(archive, tmp_path / "a.mrc")
    assert (tmp_path / "a.mrc").read_bytes() == content
    assert min(archive.ranges(since=asked_before)) == (3 * RANGE_BYTES, 4 * RANGE_BYTES)


def test_another_file_of_that_name_starts_from_the_beginning(archive, content, tmp_path):
    interrupt(archive, tmp_path / "a.mrc")
    other = archive.files[FILE] = micrograph_bytes(tmp_path, seed=1)
    fetch(archive, tmp_path / "a.mrc")
    assert (tmp_path / "a.mrc").read_bytes() == other


@pytest.mark.parametrize(
    "progress", ["", "{", "[]", '{"total_bytes": 1}', '{"total_bytes": %d, "finished": [[0, 1e9]]}']
)
def test_a_nonsensical_list_of_ranges_is_ignored(archive, content, tmp_path, progress):
    interrupt(archive, tmp_path / "a.mrc")
    text = progress.replace("%d", str(len(content)))
    (tmp_path / "a.mrc.part.json").write_text(text)
    fetch(archive, tmp_path / "a.mrc")
    assert (tmp_path / "a.mrc").read_bytes() == content
