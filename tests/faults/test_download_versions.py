"""A file that changes on the server while it is fetched never becomes a mixture of the two."""

import pytest

from faults.archive_server import FILE, micrograph_bytes
from faults.downloads import RANGE_BYTES, fetch, refused

MARKS = ["ETag", "Last-Modified"]


@pytest.fixture
def other(content, tmp_path_factory):
    """Another image with the same header: only what the server says tells them apart."""
    return content[:1024] + micrograph_bytes(tmp_path_factory.mktemp("other"), seed=1)[1024:]


@pytest.mark.parametrize("mark", MARKS)
def test_a_change_midway_starts_from_the_beginning(archive, content, other, tmp_path, mark):
    def headers(request):
        later = request["number"] > 5
        archive.files[FILE] = other if later else content
        return {mark: '"second"' if later else '"first"'}

    archive.headers = headers
    archive.misbehave = lambda request: headers(request) and None
    fetch(archive, tmp_path / "a.mrc")
    assert (tmp_path / "a.mrc").read_bytes() == other
    assert [path.name for path in tmp_path.iterdir()] == ["a.mrc"]


def test_a_file_that_always_changes_is_one_line(archive, tmp_path):
    archive.headers = lambda request: {"ETag": f'"{request["number"]}"'}
    assert "changed on the server 3 times" in refused(archive, tmp_path / "a.mrc")


def test_servers_that_share_a_file_may_tag_it_differently(archive, content, tmp_path):
    time = "Tue, 01 Jan 2019 00:00:00 GMT"
    archive.headers = lambda request: {"ETag": f'"{request["number"]}"', "Last-Modified": time}
    fetch(archive, tmp_path / "a.mrc")
    assert (tmp_path / "a.mrc").read_bytes() == content


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("changed", [False, True])
def test_only_the_same_version_is_continued(archive, content, other, tmp_path, mark, changed):
    archive.headers = lambda request: {mark: "first"}
    archive.misbehave = lambda request: (
        "503" if (request["first"] or 0) >= 3 * RANGE_BYTES else None
    )
    refused(archive, tmp_path / "a.mrc", connections=1)
    archive.misbehave = lambda request: None
    if changed:
        archive.files[FILE] = other
        archive.headers = lambda request: {mark: "second"}
    asked_before = len(archive.requests)
    fetch(archive, tmp_path / "a.mrc")
    assert (tmp_path / "a.mrc").read_bytes() == (other if changed else content)
    assert min(archive.ranges(asked_before))[0] == (0 if changed else 3 * RANGE_BYTES)


def test_without_ranges_a_change_between_header_and_file_is_noticed(
    archive, content, other, tmp_path
):
    new = micrograph_bytes(tmp_path, seed=2)

    def misbehave(request):
        archive.files[FILE] = new if request["number"] else content
        return "no ranges"

    archive.misbehave = misbehave
    fetch(archive, tmp_path / "a.mrc")
    assert (tmp_path / "a.mrc").read_bytes() == new
