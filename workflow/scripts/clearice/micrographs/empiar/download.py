"""One file of an EMPIAR entry, fetched in parallel ranges that can be resumed.

EMPIAR publishes no checksums, so a file is believed when every byte that the server announced
has arrived and the MRC header agrees with that length. Until then it is `X.mrc.part`, with the
finished ranges in `X.mrc.part.json`. The header comes first and says how long the file may be:
whatever a server announces or sends, no more is asked for.
"""

import email.utils
import errno
import functools
import os
from pathlib import Path

from clearice.disk import free_bytes
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
    version_of,
)
from clearice.micrographs.empiar.ranges import (
    Announced,
    ChangedOnServer,
    RangedDownload,
    progress_file,
    require_version,
)
from clearice.micrographs.mrc_header import HEADER_BYTES, parse_header

_RANGE_BYTES = 8 << 20  # at 1.5 MB/s a connection, an interruption costs a few seconds' work
_MOST_CHANGES = 3  # of a file on the server while it is fetched
_PATIENCE = Patience()


def fetch_file(
    url,
    path,
    connections,
    patience=_PATIENCE,
    range_bytes=_RANGE_BYTES,
    keep_damaged=False,
    record=None,
):
    """Download the MRC file at `url` to `path`, over up to `connections` connections.

    Returns the Announced file, and whether it was fetched: a `path` that is the server's file
    already is kept and its time set to now. `record` is what is known of it
    (kept_listing.read_record), or None. Goes on where an earlier call stopped. A server without
    ranges gets one connection and starts from the beginning each time. `path` appears only when
    it is whole; until then an older one stays. A file whose header asks for another length than
    the server has is refused. With `keep_damaged` a shorter one is fetched as it is, and of a
    longer one a byte more than the header asks for, for the next step to reject. A file that
    changes on the server meanwhile is fetched from its beginning. Raises InputError.
    """
    path = Path(path)
    try:
        for _ in range(_MOST_CHANGES):
            try:
                return _fetch(url, path, connections, patience, range_bytes, keep_damaged, record)
            except ChangedOnServer:
                print(f"{url}: changed on the server; from the beginning", flush=True)
                progress_file(_part(path)).unlink(missing_ok=True)
        raise InputError(
            f"changed on the server {_MOST_CHANGES} times while it was fetched",
            file=url,
            expected="the same time or tag (Last-Modified, ETag) in every answer",
            advice="run again later, or use another mirror: empiar.base_url",
        )
    except OSError as error:  # of the disk: those of the network became faults
        what = f"cannot be written: {error.strerror or error}"
        raise InputError(what, file=error.filename or path) from None


def has_changed(url, path, record, patience=_PATIENCE):
    """Whether `path` is not the file that the server has at `url`: asks for 1,024 bytes.

    Raises InputError: connection.Missing where the server has none, and for a file there that is
    damaged or no micrograph.
    """
    advice = "check the network and run again"
    file = persist(lambda: _probe(url, patience, False), url, patience, advice=advice)
    return not _is_there(path, file, url, record)


def _fetch(url, path, connections, patience, range_bytes, keep_damaged, record):
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    advice = "check the network and run again; finished ranges are kept"
    file = persist(lambda: _probe(url, patience, keep_damaged), url, patience, advice=advice)
    if file.total_bytes is not None and _is_there(path, file, url, record):
        print(f"{url}: already here", flush=True)
        os.utime(path)
        return file, False
    _require_room(path, file.wanted_bytes)
    if file.has_ranges:
        RangedDownload(url, part, file, patience, advice).run(connections, range_bytes)
    else:
        print(f"{url}: the server does not support range requests; one connection", flush=True)
        fetch = functools.partial(_fetch_stream, url, part, file, patience, keep_damaged)
        persist(fetch, url, patience, advice=advice)
    with open(part, "rb+") as fetched:
        head = fetched.read(HEADER_BYTES)
        if head != file.head:
            raise ChangedOnServer
        if not keep_damaged:
            parse_header(head, url, os.fstat(fetched.fileno()).st_size)
        os.fsync(fetched.fileno())
    os.replace(part, path)
    progress_file(part).unlink(missing_ok=True)
    sync_folder(path.parent)
    return file, True


def _part(path):
    return path.with_name(f"{path.name}.part")


def _require_room(path, wanted_bytes):
    """Raise the OSError of a full disk before it is full."""
    part = _part(path)
    there = part.stat().st_blocks * 512 if part.is_file() else 0
    if free_bytes(path.parent) + there < wanted_bytes:
        raise OSError(errno.ENOSPC, f"No space left for its {wanted_bytes} bytes", str(path))


def _is_there(path, file, url, record):
    """Whether `path`, which only whole files get, is the file that the server has at `url`.

    It must have its header and length; the header holds minimum, maximum, mean and deviation, and
    another image mostly has others. Then the version counts that `record` holds of `url`. Without
    one (of another mirror, or lost) a time on the server after that of `path` is a change.
    """
    if not path.is_file() or path.stat().st_size != file.wanted_bytes:
        return False
    with open(path, "rb") as ours:
        if ours.read(len(file.head)) != file.head:
            return False
    if record and record["bytes"] == file.wanted_bytes and record["url"] == url:
        return len({record["version"], file.version} - {None}) < 2
    return not _time_of(file.version) > path.stat().st_mtime


def _time_of(version):
    """Return a Last-Modified as seconds since 1970, 0 for what is none."""
    try:
        return email.utils.parsedate_to_datetime(version or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _probe(url, patience, keep_damaged):
    """Return what the server Announced, from the first 1,024 bytes of the file.

    A page in place of a file, and a file that its own header calls truncated, end here, before
    hundreds of megabytes are fetched.
    """
    with opened(url, patience, (0, HEADER_BYTES)) as response:
        if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
            raise Fault("sent a web page, not a file")
        total_bytes, has_ranges = response.length, False
        count = min(HEADER_BYTES, response.length or HEADER_BYTES)
        if response.status == 206:
            first, stop, total_bytes = content_range(response)
            if first != 0 or stop > HEADER_BYTES:
                raise Fault(f"sent bytes {first} to {stop} when asked for 0 to {HEADER_BYTES}")
            count, has_ranges = stop, total_bytes is not None
        head = b"".join(blocks(response, count, patience))
        version = version_of(response)
    try:
        wanted_bytes = parse_header(head, url, total_bytes).file_bytes
    except InputError as damaged:
        if total_bytes is None:
            raise
        asked_bytes = parse_header(head, url, None).file_bytes  # or no micrograph at all
        if not keep_damaged and has_ranges:
            raise
        if not keep_damaged:  # perhaps of a proxy on the way
            what = f"announces {total_bytes} bytes, but the MRC header says {asked_bytes}"
            raise Fault(what) from None
        wanted_bytes = min(total_bytes, asked_bytes + 1)
        print(f"{damaged}; {wanted_bytes} bytes are fetched, to be rejected", flush=True)
    return Announced(head, has_ranges, total_bytes, wanted_bytes, version)


def _fetch_stream(url, part, file, patience, keep_damaged):
    """Fetch the whole file over one connection."""
    wanted_bytes = file.wanted_bytes
    announced_bytes = wanted_bytes if file.total_bytes is None else file.total_bytes
    with opened(url, patience) as response, open(part, "wb") as ours:
        if response.length not in (None, announced_bytes):
            raise Fault(f"announces {response.length} bytes in place of {announced_bytes}")
        require_version(response, file)
        for block in blocks(response, wanted_bytes, patience):
            ours.write(block)
        if file.total_bytes is None and not at_end(response):
            if not keep_damaged:
                raise Fault(f"sent more than the {wanted_bytes} bytes of the MRC header")
            print(f"{url}: longer than its header says; to be rejected", flush=True)
            ours.write(b"\0")
