"""What the download tests share: one archive on this machine with one micrograph."""

import pytest

from faults.archive_server import FILE, micrograph_bytes, running_archive


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return micrograph_bytes(tmp_path_factory.mktemp("content"))


@pytest.fixture
def archive(content, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running_archive() as archive:
        archive.files[FILE] = content
        yield archive
