"""EMPIAR: the files of an entry, and one file fetched in parallel ranges that can be resumed.

EMPIAR publishes no checksums, so a file is believed when every byte that the server announced
has arrived and the MRC header agrees with that length. Until then it is `X.mrc.part`, with the
finished ranges in `X.mrc.part.json`.
"""

import fnmatch
import html.parser
import os
import re
import urllib.parse
from pathlib import Path

from clearice.errors import InputError
from clearice.files import sync_folder, write_text
from clearice.micrographs.empiar.connection import (
    Fault,
    Patience,
    at_end,
    blocks,
    content_range,
    opened,
    persist,
    whole_body,
)
from clearice.micrographs.empiar.ranges import RangedDownload, progress_file
from clearice.micrographs.mrc_header import HEADER_BYTES, parse_header

_RANGE_BYTES = 8 << 20  # at 1.5 MB/s a connection, an interruption costs a few seconds' work
_LISTING_BYTES = 1 << 26
_PATIENCE = Patience()
_LISTING_PATIENCE = Patience(attempts=3)  # a person waits for it


def list_entry(settings, directory, patience=_LISTING_PATIENCE):
    """Return the names of the files to fetch, sorted: the `empiar` section's pattern and limit.

    The server's listing is kept in results/micrographs/empiar_{entry}.tsv under `directory` and
    is asked for again only if that file is missing or of another folder. Raises InputError.
    """
    url = folder_url(settings)
    cache = Path(directory) / "results" / "micrographs" / f"empiar_{settings['entry']}.tsv"
    listed = _cached_listing(cache, url)
    if listed is None:
        advice = "check the network; for files on disk set micrographs.source: files"
        listed = persist(lambda: _listing(url, patience), url, patience, advice=advice)
        write_text(cache, "\n".join([f"# {url}", "name", *listed]) + "\n")
    names = [name for name in listed if fnmatch.fnmatchcase(name, settings["pattern"])]
    names = [name for name in names if not name.endswith("/")]
    foreign = [name for name in names if not name.endswith(".mrc")]
    if names and not foreign:
        return names[: settings["limit"]]
    raise InputError(
        "empiar.pattern lets other files in" if foreign else "no file fits empiar.pattern",
        file=url,
        expected=f"{settings['pattern']}, all names ending in .mrc",
        found=foreign[0] if foreign else ", ".join(listed[:5]) + ", ..." * (len(listed) > 5),
        advice=f"change empiar.pattern or empiar.directory; delete {cache} to list again",
    )


def folder_url(settings):
    """Return the address of the folder in the entry."""
    return file_url(settings["base_url"], f"{settings['entry']}/{settings['directory']}/")


def file_url(base_url, file):
    """Return the address of a path in the archive."""
    return f"{base_url.rstrip('/')}/{urllib.parse.quote(re.sub('/+', '/', file))}"


def _cached_listing(cache, url):
    if not cache.exists():
        return None
    first, *rest = cache.read_text(encoding="utf-8").splitlines() or [""]
    return rest[1:] if first == f"# {url}" else None


class _Links(html.parser.HTMLParser):
    """The addresses that a page links to."""

    def __init__(self):
        super().__init__()
        self.found, self.complete = [], False

    def handle_starttag(self, tag, attrs):
        self.found += [value for key, value in attrs if (tag, key) == ("a", "href") and value]

    def handle_endtag(self, tag):
        self.complete |= tag == "html"


def _listing(url, patience):
    """Return what a directory page lists, sorted; folders end in a slash."""
    with opened(url, patience) as response:
        base = urllib.parse.urlsplit(response.geturl())
        body = whole_body(response, _LISTING_BYTES)
    page = _Links()
    page.feed(body.decode("utf-8", "replace"))
    if not page.complete:
        raise Fault("the directory listing is incomplete")
    names = set()
    for link in page.found:
        target = urllib.parse.urlsplit(urllib.parse.urljoin(base.geturl(), link))
        if (target.netloc, target.query) == (base.netloc, "") and target.path.startswith(base.path):
            name = urllib.parse.unquote(target.path.removeprefix(base.path))
            if name and "/" not in name[:-1] and name[0] not in "./" and name.isprintable():
                names.add(name)
    return sorted(names)


def fetch_file(
    url, path, connections, patience=_PATIENCE, range_bytes=_RANGE_BYTES, keep_damaged=False
):
    """Download the MRC file at `url` to `path`, over up to `connections` connections.

    Goes on where an earlier call stopped; a `path` that is the server's file already is kept and
    its time set to now. A server without ranges gets one connection and starts from the
    beginning each time. `path` appears only when it is whole. A file whose header asks for
    another length than the server has is refused, or with `keep_damaged` fetched as it is, for
    the next step to reject. Raises InputError.
    """
    path = Path(path)
    try:
        _fetch(url, path, connections, patience, range_bytes, keep_damaged)
    except OSError as error:  # of the disk: those of the network became faults
        what = f"cannot be written: {error.strerror or error}"
        raise InputError(what, file=error.filename or path) from None


def _fetch(url, path, connections, patience, range_bytes, keep_damaged):
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    advice = "check the network and run again; finished ranges are kept"
    head, total_bytes = persist(
        lambda: _probe(url, patience, keep_damaged), url, patience, advice=advice
    )
    if total_bytes is not None and _is_there(path, head, total_bytes):
        print(f"{url}: already here", flush=True)
        os.utime(path)
        return
    if total_bytes is None:
        print(f"{url}: the server does not support range requests; one connection", flush=True)
        persist(lambda: _fetch_stream(url, part, head, patience), url, patience, advice=advice)
    else:
        download = RangedDownload(url, part, head, total_bytes, patience, advice)
        download.run(connections, range_bytes)
    with open(part, "rb+") as file:
        if total_bytes is None or not keep_damaged:
            parse_header(file.read(HEADER_BYTES), url, os.fstat(file.fileno()).st_size)
        os.fsync(file.fileno())
    os.replace(part, path)
    progress_file(part).unlink(missing_ok=True)
    sync_folder(path.parent)


def _is_there(path, head, total_bytes):
    """Whether `path`, which only whole files get, has the server's header and length.

    The header holds minimum, maximum, mean and deviation: another image has another one.
    """
    if not path.is_file() or path.stat().st_size != total_bytes:
        return False
    with open(path, "rb") as file:
        return file.read(len(head)) == head


def _probe(url, patience, keep_damaged):
    """Return the MRC header and the length of the file, None where the server has no ranges.

    A page in place of a file, and a file that its own header calls truncated, end here, before
    hundreds of megabytes are fetched.
    """
    with opened(url, patience, (0, HEADER_BYTES)) as response:
        if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
            raise Fault("sent a web page, not a file")
        total_bytes = None
        count = min(HEADER_BYTES, response.length or HEADER_BYTES)
        if response.status == 206:
            first, stop, total_bytes = content_range(response)
            if first != 0 or stop > HEADER_BYTES:
                raise Fault(f"sent bytes {first} to {stop} when asked for 0 to {HEADER_BYTES}")
            count = stop
        head = b"".join(blocks(response, count, patience))
    try:
        parse_header(head, url, total_bytes)
    except InputError as damaged:
        if not keep_damaged or total_bytes is None:
            raise
        parse_header(head, url, None)  # a page, a stack or garbage is not worth its bytes
        print(f"{damaged}; fetched as it is, to be rejected", flush=True)
    return head, total_bytes


def _fetch_stream(url, part, head, patience):
    """Fetch the whole file over one connection."""
    wanted = parse_header(head, url, None).file_bytes
    with opened(url, patience) as response, open(part, "wb") as file:
        if response.length not in (None, wanted):
            raise Fault(f"announces {response.length} bytes, but the MRC header says {wanted}")
        for block in blocks(response, wanted, patience):
            file.write(block)
        if not at_end(response):
            raise Fault(f"sent more than the {wanted} bytes of the MRC header")
