"""Pages that a directory listing may be: read in one pass, or refused in one line."""

import dataclasses

import pytest

from clearice.errors import InputError
from clearice.micrographs.empiar import listing_page
from clearice.micrographs.empiar.listing import list_entry
from faults.archive_server import running_archive
from faults.downloads import CALM, entry_settings
from faults.scripted_server import scripted_server

FOLDER = "/10025/d/"
CALM = dataclasses.replace(CALM, attempts=2)
LINK = b'<a href="a.mrc">a</a>'

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def names_of(tmp_path, monkeypatch):
    """Return a function from the page that a server sends to the names that are found."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def names_of(page, pattern="*.mrc"):
        with running_archive() as archive:
            archive.files[FOLDER] = page
            return list_entry(entry_settings(archive.url, pattern=pattern), tmp_path, CALM)

    return names_of


def refusal(names_of, page, **options):
    with pytest.raises(InputError) as caught:
        names_of(page, **options)
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 1500
    return line


# Each is a page before its end; all of them link to a.mrc and to nothing else that fits.
ODD = {
    "a number of a letter that does not exist": b'<a href="&#99999999999;.x">b</a>' + LINK,
    "a number of 20,000 digits": b'<a href="&#' + b"9" * 20000 + b';.mrc">b</a>' + LINK,
    "a number of 4,000 digits": b'<a href="&#' + b"9" * 4000 + b';">b</a>' + LINK,
    "an unknown declaration": b"<![if !x]><!x<![CDATA[ ><!ELEMENT br EMPTY>" + LINK,
    "depth": b"<div>" * 200_000 + LINK,
    "NUL and other controls": b"\0\x01\x1b[31m" + LINK + b"<p\0>",
    "no UTF-8": b"\xff\xfe\xe9" + LINK,
    "an address with half a bracket": b'<a href="http://[::1/a.mrc">b</a>' + LINK,
    "an address with an odd host": "<a href='http://a\u2100b/x.mrc'>b</a>".encode() + LINK,
    "other folders": b'<a href="../a.mrc"><a href="/a.mrc"><a href="..%2f..%2fa.mrc">'
    b'<a href="file:///a.mrc"><a href="//x/a.mrc">' + LINK,
    "one name ten times": LINK * 10,
    "comments and scripts": b'<!-- <a href="b.mrc"> --><script>\'<a href="c.mrc">\'</script>'
    + LINK,
    "other ways to write a link": b"<A\nTITLE='>'>x</A><A CLASS=x HREF = 'a.mrc' >x</A>",
    "no quotes": b"<a href=a.mrc>x</a>",
    "a link without an address": b'<a name="b.mrc">b</a><a data-href="c.mrc">c</a>' + LINK,
    "tags without end": b"<a " * 1_000_000 + LINK,
    "addresses without end": b'<a href="' * 1_000_000 + LINK,
    "ends without end": b"</html " * 1_000_000 + LINK,
    "one long tag": b"<a " + b"x " * 10_000_000 + b">" + LINK,
}


@pytest.mark.parametrize("page", ODD.values(), ids=ODD)
def test_an_odd_page_is_read(names_of, page):
    assert names_of(b"<html>" + page + b"</html>") == ["a.mrc"]


@pytest.mark.parametrize("piece", [b"<!--", b"<!--->" * 5 + b"<!--", b"<script>", b"<style >"])
def test_what_is_opened_and_never_closed_is_incomplete(names_of, piece):
    page = LINK + piece * 1_000_000 + b"</html>" * (piece == b"<!--")
    assert "incomplete" in refusal(names_of, page)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("%00.mrc", r"\x00.mrc"),
        ("a%0Ab.mrc", r"a\nb.mrc"),
        ("a%1b[31m.mrc", r"\x1b[31m"),
        ("%e9.mrc", r"\udce9.mrc"),
        ("x" * 252 + ".mrc", "xxx"),
        ("%c3%a9" * 126 + ".mrc", r"\xe9"),
        ("a%E2%80%A8b.mrc", r"\u2028"),
    ],
)
def test_a_name_that_no_file_can_have_stops_only_if_it_is_wanted(names_of, name, words):
    page = f'<html>{LINK.decode()}<a href="{name}">x</a></html>'.encode()
    line = refusal(names_of, page)
    assert words in line
    assert "empiar.pattern" in line
    assert names_of(page, pattern="a.mrc") == ["a.mrc"]


def test_the_longest_name_is_a_name(names_of):
    name = "x" * 251 + ".mrc"
    assert names_of(f'<html><a href="{name}">x</a></html>'.encode()) == [name]


def test_a_page_of_100_mb_is_refused(names_of):
    assert "too long" in refusal(names_of, b"<html>" + b"x" * (100 << 20))


def test_a_folder_of_too_many_files_is_refused(names_of):
    links = b"".join(b'<a href="%d.mrc">x</a>' % number for number in range(200_001))
    assert "at most 200,000" in refusal(names_of, b"<html>" + links + b"</html>")


def test_many_names_that_do_not_fit_are_ten_and_a_number(names_of):
    links = b"".join(b'<a href="%03d.tif">x</a>' % number for number in range(500))
    assert "009.tif and 490 more" in refusal(names_of, b"<html>" + links + b"</html>")


def test_a_listing_that_takes_too_long_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(listing_page, "_LISTING_S", 1.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def script():  # always fast enough, never done
        yield b"HTTP/1.1 200 OK\r\n\r\n<html>"
        while True:
            yield b"x" * 65536
            yield None

    with (
        scripted_server(script) as (url, _),
        pytest.raises(InputError, match="was not done"),
    ):
        list_entry(entry_settings(url), tmp_path, CALM)


@pytest.mark.parametrize(
    "damage", [b"", b"\xff\xfe", b"# other\nname\n", b"%s\nname\na/../../b.mrc\n"]
)
def test_a_kept_listing_that_is_damaged_is_asked_for_again(tmp_path, monkeypatch, archive, damage):
    settings = entry_settings(archive.url, list_again=False)
    archive.files[FOLDER] = b"<html>" + LINK + b"</html>"
    list_entry(settings, tmp_path, CALM)
    kept = tmp_path / "results" / "micrographs" / "empiar_10025.tsv"
    whole = kept.read_bytes()
    kept.write_bytes(damage.replace(b"%s", whole.splitlines()[0]))
    assert list_entry(settings, tmp_path, CALM) == ["a.mrc"]
    assert kept.read_bytes() == whole
    assert len(archive.requests) == 2
