"""Downloads from a misbehaving archive give the right bytes, or one line and no micrograph."""

import os
import subprocess

import pytest

from clearice.micrographs.empiar.ranges import missing_ranges
from faults.archive_server import FILE, PAGE
from faults.downloads import RANGE_BYTES, fetch, refused
from small_disk import small_disk


def first_time_only(fault):
    """Misbehave once for each requested range, whatever part of it remains later."""
    seen = set()

    def misbehave(request):
        key = request["stop"]
        return fault if key not in seen and not seen.add(key) else None

    return misbehave


def test_a_file_comes_in_parallel_ranges(archive, content, tmp_path):
    archive.misbehave = lambda request: "slow"
    fetch(archive, tmp_path / "results" / "a.mrc")
    assert (tmp_path / "results" / "a.mrc").read_bytes() == content
    assert sorted(archive.ranges()) == missing_ranges([], len(content), RANGE_BYTES)
    assert 2 <= archive.most_under_way <= 3
    assert os.listdir(tmp_path / "results") == ["a.mrc"]


@pytest.mark.parametrize(
    "fault", ["503", "hang up", "stall", "trickle", "cut short", "another range", "another length"]
)
def test_a_temporary_failure_is_retried(archive, content, tmp_path, fault):
    once = first_time_only(fault)
    archive.misbehave = lambda request: None if request["stop"] == 1024 else once(request)
    fetch(archive, tmp_path / "a.mrc", fault=fault)
    assert (tmp_path / "a.mrc").read_bytes() == content
    assert PAGE not in (tmp_path / "a.mrc").read_bytes()


@pytest.mark.parametrize("fault", ["503", "hang up", "stall", "cut short", "page"])
def test_the_first_request_is_retried_too(archive, content, tmp_path, fault):
    archive.misbehave = lambda request: fault if request["number"] == 0 else None
    fetch(archive, tmp_path / "a.mrc", fault=fault)
    assert (tmp_path / "a.mrc").read_bytes() == content


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("503", "HTTP 503"),
        ("hang up", "without response"),
        ("stall", "no answer in time"),
        ("trickle", "sent only"),
        ("another range", "sent range"),
        ("no ranges", "answered 200 to a range"),
    ],
)
def test_a_permanent_failure_ends_in_one_line(archive, tmp_path, fault, words):
    archive.misbehave = lambda request: None if request["stop"] == 1024 else fault
    line = refused(archive, tmp_path / "a.mrc", connections=1, fault=fault)
    assert line.startswith(f"{archive.url}{FILE}: gave up after 4 failed attempts")
    assert words in line
    assert "run again" in line
    assert len(archive.ranges()) == 4


def test_an_interrupted_range_continues_at_the_byte_where_it_stopped(archive, content, tmp_path):
    once = first_time_only("cut short")
    archive.misbehave = lambda request: once(request) if request["first"] == RANGE_BYTES else None
    fetch(archive, tmp_path / "a.mrc", connections=1)
    assert (tmp_path / "a.mrc").read_bytes() == content
    assert (RANGE_BYTES + RANGE_BYTES // 3, 2 * RANGE_BYTES) in archive.ranges()


@pytest.mark.parametrize("status", ["missing", "page", "page without a type"])
def test_no_page_becomes_a_micrograph(archive, tmp_path, status):
    if status == "missing":
        archive.files.clear()
    archive.misbehave = lambda request: None if status == "missing" else status
    line = refused(archive, tmp_path / "a.mrc")
    assert {"missing": "HTTP 404", "page": "web page", "page without a type": "HTML"}[
        status
    ] in line
    assert len(archive.requests) == (4 if status == "page" else 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", ["truncated", "longer", "empty", "garbage"])
def test_a_file_that_is_damaged_in_the_archive_is_refused_at_its_header(
    archive, content, tmp_path, change
):
    archive.files[FILE] = {
        "truncated": content[:-4],
        "longer": content + b"\0",
        "empty": b"",
        "garbage": os.urandom(64) * 4000,
    }[change]
    words = {
        "truncated": "truncated",
        "longer": "longer",
        "empty": "",
        "garbage": "not an MRC",
    }
    assert words[change] in refused(archive, tmp_path / "a.mrc")
    assert archive.ranges() == []


@pytest.mark.parametrize("change", ["truncated", "longer"])
def test_a_damaged_file_can_be_fetched_and_rejected_later(archive, content, tmp_path, change):
    damaged = {"truncated": content[:-4], "longer": content + b"\0"}[change]
    archive.files[FILE] = damaged
    for _ in range(2):  # the second time it is already here
        fetch(archive, tmp_path / "a.mrc", keep_damaged=True)
        assert (tmp_path / "a.mrc").read_bytes() == damaged
    assert len(archive.ranges()) == len(missing_ranges([], len(damaged), RANGE_BYTES))


@pytest.mark.parametrize("bad", [b"", PAGE, b"\x7f" * 5000])
def test_a_file_that_is_not_a_micrograph_is_never_fetched(archive, tmp_path, bad):
    archive.files[FILE] = bad
    refused(archive, tmp_path / "a.mrc", keep_damaged=True)
    assert archive.ranges() == []


def test_a_server_without_ranges_gives_the_whole_file_at_once(archive, content, tmp_path):
    archive.misbehave = lambda request: "no ranges"
    fetch(archive, tmp_path / "a.mrc")
    assert (tmp_path / "a.mrc").read_bytes() == content
    assert len(archive.requests) == 2


def test_without_ranges_an_interrupted_file_starts_again(archive, content, tmp_path):
    archive.misbehave = lambda request: (
        "no ranges, cut short" if request["number"] in (1, 2) else "no ranges"
    )
    fetch(archive, tmp_path / "a.mrc")
    assert (tmp_path / "a.mrc").read_bytes() == content
    assert len(archive.requests) == 4


@pytest.mark.parametrize("difference", [-4, 4])
def test_a_content_length_that_disagrees_with_the_header_is_refused(
    archive, content, tmp_path, difference
):
    archive.misbehave = lambda request: f"length {len(content) + difference}"
    line = refused(archive, tmp_path / "a.mrc")
    assert f"the MRC header says {len(content)}" in line


@pytest.mark.parametrize("extra", [b"", b"more"])
def test_without_any_length_the_header_tells_where_the_file_ends(archive, content, tmp_path, extra):
    archive.files[FILE] = content + extra
    archive.misbehave = lambda request: "no length"
    if extra:
        assert "sent more than" in refused(archive, tmp_path / "a.mrc")
    else:
        fetch(archive, tmp_path / "a.mrc")
        assert (tmp_path / "a.mrc").read_bytes() == content


def test_redirects_are_followed_with_their_ranges(archive, content, tmp_path):
    archive.files = {"/mirror/a.mrc": content}
    archive.misbehave = lambda request: (
        f"redirect to {archive.url}/mirror/a.mrc" if request["path"] == FILE else None
    )
    fetch(archive, tmp_path / "a.mrc")
    assert (tmp_path / "a.mrc").read_bytes() == content
    assert len(archive.ranges()) == 2 * len(missing_ranges([], len(content), RANGE_BYTES))


def test_a_refused_connection_is_one_line(tmp_path, archive):
    archive.server.server_close()
    assert "ConnectionRefusedError" in refused(archive, tmp_path / "a.mrc")


def test_a_full_disk_is_one_line(archive, content, tmp_path):
    with small_disk(tmp_path / "disk", 0.25) as disk:
        assert "a.mrc: cannot be written: No space left" in refused(archive, disk / "a.mrc")
        subprocess.run(["mount", "-o", "remount,size=2m", disk], check=True)
        fetch(archive, disk / "a.mrc")
        assert (disk / "a.mrc").read_bytes() == content


def test_a_file_that_is_already_here_is_not_fetched_again(archive, content, tmp_path):
    path = tmp_path / "a.mrc"
    fetch(archive, path)
    os.utime(path, (1, 1))
    asked_before = len(archive.requests)
    fetch(archive, path)
    assert len(archive.requests) == asked_before + 1  # the header
    assert path.read_bytes() == content
    assert path.stat().st_mtime > 1e9
    path.write_bytes(content[:-4])
    fetch(archive, path)
    assert path.read_bytes() == content
