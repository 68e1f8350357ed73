"""Requests that survive a bad network: a short stall timeout, retries after longer pauses.

A `Fault` is what may pass (no answer, a stall, a 503, a body cut short) and is tried again; an
`InputError` is what will not (404, 403) and ends at once.
"""

import contextlib
import dataclasses
import http.client
import random
import re
import time
import urllib.error

from clearice import __version__
from clearice.errors import InputError
from clearice.micrographs.empiar.transport import open_url, printable

BLOCK_BYTES = 1 << 16
_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}
_MISSING_STATUS = {404, 410}
_PROGRESS_BYTES = 1 << 16  # an attempt that brings this much starts the count again


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to wait and how often to try."""

    stall_s: float = 20.0  # a connection too slow for this long is given up
    least_bytes: int = 1 << 14  # what it must bring in that time
    attempts: int = 7  # in a row that bring nothing
    first_pause_s: float = 1.0  # doubled after every attempt
    longest_pause_s: float = 30.0


class Missing(InputError):
    """The server says that there is no such file (404, 410)."""


class Fault(Exception):
    """A failure that may pass. `gained_bytes` arrived before it; the server asks for a pause."""

    def __init__(self, text, pause_s=0.0):
        super().__init__(printable(text))
        self.pause_s, self.gained_bytes = pause_s, 0


def persist(action, url, patience, *, advice, pause=time.sleep):
    """Return action(), called again after each Fault; InputError once patience is at its end.

    `pause` waits for a number of seconds; `advice` ends the error.
    """
    failures = 0
    while True:
        try:
            return action()
        except Fault as fault:
            failures = 1 if fault.gained_bytes >= _PROGRESS_BYTES else failures + 1
            if failures >= patience.attempts:
                attempts = "1 failed attempt" if failures == 1 else f"{failures} failed attempts"
                what = f"gave up after {attempts}; last error: {fault}"
                raise InputError(what, file=url, advice=advice) from None
            seconds = min(patience.first_pause_s * 2 ** (failures - 1), patience.longest_pause_s)
            seconds = max(seconds, min(fault.pause_s, patience.longest_pause_s))
            print(f"{url}: {fault}; trying again in {seconds:.0f} s", flush=True)
            pause(seconds * random.uniform(0.75, 1.0))  # connections must not return in step


@contextlib.contextmanager
def opened(url, patience, byte_range=None):
    """Open `url`, following redirects, and yield the response: status 200, or 206 for a range.

    `byte_range` is (first, stop). Raises Fault or InputError.
    """
    headers = {"User-Agent": f"clearice/{__version__}", "Accept-Encoding": "identity"}
    if byte_range:
        headers["Range"] = f"bytes={byte_range[0]}-{byte_range[1] - 1}"
    try:
        response = open_url(url, headers, patience.stall_s)
    except urllib.error.HTTPError as error:
        error.close()
        raise _status_error(url, error) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _fault(error) from None
    with response:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding.strip().lower() not in ("identity", ""):
            raise Fault(f"sent {encoding}-encoded, though not requested")
        yield response


def blocks(response, count, patience, may_end=False):
    """Yield `count` bytes of the body in blocks, or raise Fault.

    A body that ends before is a Fault unless it `may_end`. A connection that trickles is a
    stalled one; only the time spent waiting for it counts, not what the caller does meanwhile.
    """
    left, waited_s, brought = count, 0.0, 0
    while left:
        begun = time.monotonic()
        block = _read(response, min(BLOCK_BYTES, left))
        waited_s += time.monotonic() - begun
        if not block and may_end:
            return
        if not block:
            raise Fault(f"closed the connection {left} bytes too early")
        left, brought = left - len(block), brought + len(block)
        yield block
        if waited_s > patience.stall_s:
            if left and brought < patience.least_bytes:
                raise Fault(f"sent only {brought} bytes in {waited_s:.0f} s")
            waited_s, brought = 0.0, 0


def at_end(response):
    """Whether the body has no more bytes."""
    return not _read(response, 1)


def whole_body(response, limit_bytes, limit_s, patience):
    """Return the body of a small answer, or raise Fault; InputError if it is not small."""
    body, begun = bytearray(), time.monotonic()
    for block in blocks(response, limit_bytes + 1, patience, may_end=True):
        body += block
        if time.monotonic() - begun > limit_s:
            raise Fault(f"sent only {len(body)} bytes in {limit_s:.0f} s, and was not done")
    if len(body) > limit_bytes:
        raise InputError(
            "the answer is too long",
            file=response.geturl(),
            expected=f"at most {limit_bytes} bytes",
            found="more",
            advice="check empiar.entry, empiar.directory and empiar.base_url",
        )
    return bytes(body)


def version_of(response):
    """Return what the server says to tell a file from a later one of that name, or None.

    The time before the tag: several servers of one archive may give one file several tags.
    """
    tag = response.headers.get("ETag", "").strip()
    return response.headers.get("Last-Modified", "").strip() or tag.removeprefix("W/") or None


def content_range(response):
    """Return (first, stop, total) of a 206 answer; total is None where the server hides it."""
    text = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", text.strip())
    if not match:
        raise Fault(f"answered 206 with Content-Range {text!r}")
    first, last, total = match.groups()
    return int(first), int(last) + 1, None if total == "*" else int(total)


def _read(response, most_bytes):
    try:
        return response.read1(most_bytes)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _fault(error) from None


def _status_error(url, error):
    """Tell a status that may pass from one that will not."""
    status = printable(f"HTTP {error.code} {error.reason}")
    if error.code in _PASSING_STATUS:
        wait = error.headers.get("Retry-After", "") if error.headers else ""
        return Fault(status, float(wait) if wait.isdecimal() else 0.0)
    kind = Missing if error.code in _MISSING_STATUS else InputError
    return kind(status, file=url, advice="check empiar.entry, empiar.directory and empiar.base_url")


def _fault(error):
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return Fault("no answer in time")
    return Fault(f"{type(reason).__name__}: {reason}")
