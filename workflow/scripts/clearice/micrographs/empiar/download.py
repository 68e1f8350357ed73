"""One file of an EMPIAR entry, fetched in parallel ranges that can be resumed.

EMPIAR publishes no checksums, so a file is believed when every byte that the server announced
has arrived and the MRC header agrees with that length. Until then it is `X.mrc.part`, with the
finished ranges in `X.mrc.part.json`.
"""

import os
from pathlib import Path

from clearice.errors import InputError
from clearice.files import sync_folder
from clearice.micrographs.empiar.connection import (
    Fault,
    Patience,
    at_end,
    blocks,
    content_range,
    opened,
    persist,
)
from clearice.micrographs.empiar.ranges import RangedDownload, progress_file
from clearice.micrographs.mrc_header import HEADER_BYTES, parse_header

_RANGE_BYTES = 8 << 20  # at 1.5 MB/s a connection, an interruption costs a few seconds' work
_PATIENCE = Patience()


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
