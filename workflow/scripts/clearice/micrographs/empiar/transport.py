"""HTTP answers with an end to every part: in seconds, in bytes, and in redirects.

urllib's timeout starts again with every byte, so that one byte a second holds it for ever, in
headers, sizes of chunks and trailers too. It follows redirects from https to http and to ftp.
"""

import http.client
import io
import string
import time
import urllib.parse
import urllib.request

from clearice.errors import InputError

_HEAD_BYTES = 1 << 17  # status line and headers; those of archives have less than 1 KiB
_READ_BYTES = 1 << 18  # a block and what frames it
_MOST_REDIRECTS = 5


def open_url(url, headers, stall_s):
    """Return the answer (an `Answer`) to a GET of `url`, an http or https address.

    Connection, TLS and headers must each be there within `stall_s` seconds, and so must what each
    call of read1 waits for. Raises InputError for a redirect that must not be followed, else what
    urllib raises.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Plain(),
        _Secure(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener.open(urllib.request.Request(url, headers=headers), timeout=stall_s)


def printable(text, limit=160):
    """Return what a server sent as a short piece of one line, safe for a terminal."""
    text = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * limit])
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]}..."


class TooManyBytes(http.client.HTTPException):
    """A server sends headers, sizes of chunks or trailers without end."""


class Answer(http.client.HTTPResponse):
    """An HTTP response that gives up a server which is too slow or sends too much of a part.

    Its body is read by `read1` alone.
    """

    def __init__(self, sock, *args, **kwargs):
        super().__init__(sock, *args, **kwargs)
        self._stall_s = sock.gettimeout()
        self._meter = _Meter(sock, self.fp.detach())
        self.fp = io.BufferedReader(self._meter)
        self._meter.allow(self._stall_s, _HEAD_BYTES)

    def read1(self, n=-1):
        """Return some bytes of the body, b"" at its end; waits for `stall_s` seconds at most."""
        self._meter.allow(self._stall_s, _READ_BYTES)
        return super().read1(n)


class _Meter(io.RawIOBase):
    """The stream of a socket, with a number of bytes and a time in which they must come."""

    def __init__(self, sock, stream):
        self._sock, self._stream = sock, stream
        self._until = self._left = 0

    def allow(self, seconds, count):
        self._until, self._left = time.monotonic() + seconds, count

    def readable(self):
        return True

    def readinto(self, buffer):
        seconds = self._until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        if not self._left:
            raise TooManyBytes("headers, chunk sizes or trailers without end")
        usual = self._sock.gettimeout()
        self._sock.settimeout(seconds)
        try:
            count = self._stream.readinto(memoryview(buffer)[: self._left])
        finally:
            self._sock.settimeout(usual)  # TLS through a proxy goes on with this socket
        self._left -= count
        return count

    def close(self):
        self._stream.close()
        super().close()


class _PlainConnection(http.client.HTTPConnection):
    response_class = Answer


class _SecureConnection(http.client.HTTPSConnection):
    response_class = Answer


class _Plain(urllib.request.HTTPHandler):
    def http_open(self, request):
        return self.do_open(_PlainConnection, request)


class _Secure(urllib.request.HTTPSHandler):
    def https_open(self, request):
        return self.do_open(_SecureConnection, request)


class _Redirects(urllib.request.BaseHandler):
    """Redirects to any host, but never from https to anything else."""

    def http_error_302(self, request, response, code, reason, headers):
        response.close()
        place = urllib.parse.quote(
            headers.get("Location", ""), encoding="iso-8859-1", safe=string.punctuation
        )
        target = urllib.parse.urljoin(request.full_url, place)
        steps = getattr(request, "steps", 0) + 1
        schemes = [urllib.parse.urlsplit(address).scheme for address in (request.full_url, target)]
        if schemes[1] != "https" and schemes != ["http", "http"]:
            left_tls = schemes[0] == "https"
            raise InputError(
                f"redirects {'away from https' if left_tls else 'to what is not HTTP'}",
                file=printable(request.full_url),
                expected="an https:// address" if left_tls else "an http:// or https:// address",
                found=printable(target),
                advice="check empiar.base_url, or use another mirror",
            )
        if steps > _MOST_REDIRECTS:
            raise InputError(
                f"redirects more than {_MOST_REDIRECTS} times",
                file=printable(request.full_url),
                found=printable(target),
                advice="check empiar.base_url, or use another mirror",
            )
        following = urllib.request.Request(target, headers=request.headers)
        following.steps = steps
        return self.parent.open(following, timeout=request.timeout)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302
