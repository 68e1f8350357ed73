"""Redirects: to any host, in a bounded number, and never away from https."""

import shutil
import subprocess

import pytest

from clearice.errors import InputError
from clearice.micrographs.empiar.listing import list_entry
from faults.archive_server import FILE, running_archive
from faults.downloads import CALM, entry_settings, fetch, refused

OUTSIDE = ["ftp://127.0.0.1/a.mrc", "file:///etc/passwd", "data:text/plain,hello", "gopher://x/"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("needs the command openssl to make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    paths = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-out", paths[0], "-keyout", paths[1]]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return paths


@pytest.fixture
def secure(certificate, content, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running_archive(certificate) as archive:
        archive.files[FILE] = content
        yield archive


def redirect(archive, target):
    archive.misbehave = lambda request: f"redirect to {target}" if request["path"] == FILE else None


def test_https_works_and_its_certificate_counts(secure, content, tmp_path, monkeypatch):
    fetch(secure, tmp_path / "a.mrc")
    assert (tmp_path / "a.mrc").read_bytes() == content
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "CERTIFICATE_VERIFY_FAILED" in refused(secure, tmp_path / "b.mrc")


def test_https_never_falls_back_to_http(secure, archive, tmp_path):
    redirect(secure, f"{archive.url}{FILE}")
    line = refused(secure, tmp_path / "a.mrc")
    assert "away from https" in line
    assert archive.requests == []
    assert len(secure.requests) == 1  # it won't pass
    assert list(tmp_path.iterdir()) == []


def test_nor_by_way_of_another_https_address(secure, archive, content, tmp_path):
    secure.files["/there/a.mrc"] = content
    targets = {FILE: "/there/a.mrc", "/there/a.mrc": f"{archive.url}{FILE}"}
    secure.misbehave = lambda request: f"redirect to {targets[request['path']]}"
    assert "away from https" in refused(secure, tmp_path / "a.mrc")
    redirect(archive, f"{secure.url}/there/a.mrc")
    assert "away from https" in refused(archive, tmp_path / "a.mrc")


def test_a_listing_does_not_fall_back_either(secure, archive, tmp_path):
    folder = "/10025/d/"
    archive.files[folder] = b'<html><a href="a.mrc">a</a></html>'
    secure.misbehave = lambda request: f"redirect to {archive.url}{folder}"
    with pytest.raises(InputError, match="away from https"):
        list_entry(entry_settings(secure.url), tmp_path, CALM)
    assert archive.requests == []


def test_http_may_lead_to_https_on_another_host(secure, archive, content, tmp_path):
    redirect(archive, f"{secure.url}{FILE}")
    fetch(archive, tmp_path / "a.mrc")
    assert (tmp_path / "a.mrc").read_bytes() == content


@pytest.mark.parametrize("target", OUTSIDE)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_only_http_is_followed(request, tmp_path, target, scheme):
    archive = request.getfixturevalue("archive" if scheme == "http" else "secure")
    redirect(archive, target)
    line = refused(archive, tmp_path / "a.mrc")
    assert f"found {target}" in line
    assert len(archive.requests) == 1


@pytest.mark.parametrize("target", ["", FILE, "http://[::1", "//\t/", "/x" * 30000])
def test_redirects_to_nowhere_are_one_line(archive, tmp_path, target):
    archive.misbehave = lambda request: f"redirect to {target}"
    line = refused(archive, tmp_path / "a.mrc")
    assert line.isprintable()
    assert len(line) < 800
    assert len(archive.requests) <= 6 * CALM.attempts
