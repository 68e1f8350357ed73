"""Whatever a server announces or sends, a download ends, and takes no more than the file's size."""

import dataclasses
import itertools

import pytest

from clearice.errors import InputError
from clearice.micrographs.empiar.download import fetch_file
from clearice.micrographs.empiar.listing import list_entry
from clearice.micrographs.mrc_header import HEADER_BYTES
from faults.archive_server import FILE
from faults.downloads import HURRY, RANGE_BYTES, entry_settings, fetch, refused
from faults.scripted_server import scripted_server
from small_disk import small_disk

pytestmark = pytest.mark.timeout(120)

SOON = dataclasses.replace(HURRY, attempts=2)
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def trickled(*pieces):
    for byte in itertools.chain(*pieces):
        yield bytes([byte])
        yield None


def endless(start, piece):
    yield start
    while True:
        yield piece


# What a server may send at one byte a time, or without end, before a single byte of a body.
WITHOUT_A_BODY = {
    "a slow status line": lambda: trickled(itertools.repeat(ord("H"))),
    "slow headers": lambda: trickled(OK, b"X-A: ", itertools.repeat(ord("a"))),
    "a long header": lambda: endless(OK + b"X-A: ", b"a" * 4096),
    "many headers": lambda: endless(OK, b"X-A: a\r\n" * 512),
    "long headers": lambda: endless(OK, b"X-A: " + b"a" * 60000 + b"\r\n"),
    "many answers that promise another": lambda: endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a slow size of a chunk": lambda: trickled(CHUNKED, itertools.repeat(ord("0"))),
    "a long size of a chunk": lambda: endless(CHUNKED + b"400;", b"a" * 4096),
    "trailers without end": lambda: endless(CHUNKED + b"0\r\n", b"X-A: a\r\n" * 512),
    "a redirect with an endless page": lambda: endless(
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n", b"a" * 4096
    ),
    "an error with an endless page": lambda: endless(
        b"HTTP/1.1 503 Busy\r\nContent-Length: 99999999999\r\n\r\n", b"a" * 4096
    ),
    "slow chunks": lambda: trickled(CHUNKED, itertools.cycle(b"1\r\na\r\n")),
    "a slow page": lambda: trickled(
        OK + b"Content-Length: 9999\r\n\r\n<html>", itertools.repeat(ord("a"))
    ),
    "nothing": lambda: iter([b""]),
}


@pytest.fixture
def script(request, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with scripted_server(WITHOUT_A_BODY[request.param]) as (url, counts):
        yield url, counts


@pytest.mark.parametrize("script", WITHOUT_A_BODY, indirect=True)
def test_no_part_of_an_answer_can_hold_a_download(script, tmp_path):
    url, counts = script
    with pytest.raises(InputError) as caught:
        fetch_file(url + FILE, tmp_path / "a.mrc", 2, SOON, RANGE_BYTES)
    line = str(caught.value)
    assert line.startswith(url)
    assert "\n" not in line
    assert len(line) < 600
    assert list(tmp_path.iterdir()) == []
    assert all(count < 64 << 20 for count in counts)


@pytest.mark.parametrize("script", WITHOUT_A_BODY, indirect=True)
def test_no_part_of_an_answer_can_hold_a_listing(script, tmp_path):
    with pytest.raises(InputError) as caught:
        list_entry(entry_settings(script[0], pattern="*"), tmp_path, SOON)
    assert str(caught.value).startswith(script[0])
    assert len(str(caught.value)) < 600
    assert list(tmp_path.iterdir()) == []


def test_slow_but_steady_chunks_are_a_file(content, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def script():
        yield CHUNKED
        for start in range(0, len(content), 4096):
            piece = content[start : start + 4096]
            yield b"%x;name=value\r\n%s\r\n" % (len(piece), piece)
            yield None if start % (1 << 15) == 0 else b""
        yield b"0\r\nX-Checked: no\r\n\r\n"

    with scripted_server(script) as (url, _):
        fetch_file(url + FILE, tmp_path / "a.mrc", 2, HURRY, RANGE_BYTES)
    assert (tmp_path / "a.mrc").read_bytes() == content


@pytest.mark.parametrize("keep_damaged", [False, True])
@pytest.mark.parametrize("start", [OK + b"\r\n", CHUNKED])
def test_a_stream_without_end_ends_where_the_header_says(
    content, tmp_path, monkeypatch, start, keep_damaged
):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    more = b"\0" * 65536
    more = b"10000\r\n" + more + b"\r\n" if start == CHUNKED else more
    first = b"%x\r\n%s\r\n" % (len(content), content) if start == CHUNKED else content
    path = tmp_path / "a.mrc"
    with scripted_server(lambda: endless(start + first, more)) as (url, counts):
        if keep_damaged:
            fetch_file(url + FILE, path, 2, SOON, RANGE_BYTES, keep_damaged=True)
            assert path.read_bytes() == content + b"\0"
        else:
            with pytest.raises(InputError, match="sent more than"):
                fetch_file(url + FILE, path, 2, SOON, RANGE_BYTES)
            assert not path.exists()
    assert all(count < 64 << 20 for count in counts)


@pytest.mark.parametrize("announced", [300_000_000, 10**14, 10**17])
def test_of_a_file_that_is_announced_too_long_one_byte_more_is_fetched(
    archive, content, tmp_path, announced
):
    archive.files[FILE] = content + bytes(1 << 20)
    archive.misbehave = lambda request: f"announce {announced}"
    assert "longer than its header says" in refused(archive, tmp_path / "a.mrc")
    assert archive.ranges() == []
    fetch(archive, tmp_path / "a.mrc", keep_damaged=True)
    assert (tmp_path / "a.mrc").read_bytes() == content + b"\0"
    assert max(stop for _, stop in archive.ranges()) == len(content) + 1


def test_a_number_of_thousands_of_digits_is_no_length(archive, tmp_path):
    archive.misbehave = lambda request: f"announce {'9' * 5000}"
    line = refused(archive, tmp_path / "a.mrc", keep_damaged=True)
    assert "Content-Range" in line
    assert len(line) < 600


def test_a_file_larger_than_the_disk_is_refused_before_it_is_fetched(archive, content, tmp_path):
    huge = bytearray(content)
    huge[:8] = (131072).to_bytes(4, "little") * 2  # 64 GiB of float32
    huge[28:36] = (131072).to_bytes(4, "little") * 2
    archive.files[FILE] = bytes(huge)
    archive.misbehave = lambda request: f"announce {HEADER_BYTES + 4 * 131072**2}"
    with small_disk(tmp_path / "disk", 1) as disk:
        assert "No space left for its" in refused(archive, disk / "a.mrc")
        assert list(disk.iterdir()) == []
    assert archive.ranges() == []


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_encoded_answers_are_refused(archive, tmp_path, encoding):
    archive.headers = lambda request: {"Content-Encoding": encoding}
    assert f"{encoding}-encoded" in refused(archive, tmp_path / "a.mrc")


def test_what_a_server_says_is_one_short_printable_line(archive, tmp_path):
    archive.headers = lambda request: {"Content-Encoding": "\x1b[31m" + "x" * 60000}
    line = refused(archive, tmp_path / "a.mrc")
    assert line.isprintable()
    assert len(line) < 600
