"""A small archive on 127.0.0.1 that misbehaves on request."""

import contextlib
import email.utils
import re
import ssl
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from clearice.micrographs.mrc_writer import write_micrograph

FILE = "/10025/data/averaged/a.mrc"

PAGE = b"<html><head><title>Service unavailable</title></head><body>later</body></html>"


def micrograph_bytes(directory, seed=0):
    """Return the bytes of a micrograph of 337 kB."""
    path = directory / "made.mrc"
    pixels = np.random.default_rng(seed).normal(size=(300, 280)).astype(np.float32)
    write_micrograph(path, [pixels], 300, 280, pixel_size_angstrom=1.5, label="test")
    content = path.read_bytes()
    path.unlink()
    return content


ROW = (
    '<tr><td valign="top"><img src="/icons/{icon}.gif" alt="[   ]"></td><td><a href="{link}">{name}'
    '</a></td><td align="right">{modified}  </td><td align="right">{size}</td><td>&nbsp;</td></tr>'
)


def apache_page(folder, files):
    """Return the page that EMPIAR's server makes of a folder: name -> (modified, bytes or None).

    Times to the minute, sizes to two or three digits, names cut after 23 letters.
    """
    rows = [
        ROW.format(
            icon="folder" if size is None else "unknown",
            link=urllib.parse.quote(name),
            name=name if len(name) <= 23 else f"{name[:20]}..&gt;",
            modified=f"{modified:%Y-%m-%d %H:%M}",
            size="  - " if size is None else _rounded(size),
        )
        for name, (modified, size) in sorted(files.items())
    ]
    title = f"Index of {folder}"
    heads = '<a href="?C=N;O=D">Name</a> <a href="?C=M;O=A">Last modified</a>'
    top = f'<a href="{folder.rsplit("/", 2)[0]}/">Parent Directory</a>'
    table = "\n".join([f"<tr><th>{heads}</th></tr>", f"<tr><td>{top}</td></tr>", *rows])
    page = (
        f"<html>\n <head><title>{title}</title></head>\n <body>\n<h1>{title}</h1>\n<table>{table}"
    )
    return f"{page}\n</table>\n</body></html>\n".encode()


def _rounded(size):
    for unit in ("", "K", "M", "G"):
        if size < 1000:
            return f"{size:.1f}{unit}" if unit and size < 10 else f"{size:.0f}{unit}"
        size /= 1024
    return f"{size:.0f}T"


class Archive:
    """`files`: path -> bytes. `misbehave(request)` names what goes wrong with a request, or None.

    A request is a dict: path, first and stop (None without a range), number (counts from 0),
    sent_bytes of the answer's body. `headers(request)` are sent with every file, and
    `modified` (path -> datetime) as Last-Modified.
    """

    def __init__(self, certificate=None):
        self.files, self.requests, self.modified = {}, [], {}
        self.misbehave = lambda request: None
        self.headers = lambda request: {}
        self.released = threading.Event()  # set at the end, so that nothing waits any longer
        self.under_way, self.most_under_way, self.lock = 0, 0, threading.Lock()
        archive = self

        class Handler(_Handler):
            pass

        Handler.archive = archive
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        scheme = "http"
        if certificate:
            scheme, context = "https", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self.server.server_port}"

    def publish(self, path, content, modified):
        """Put a file into the archive, and into the page of its folder."""
        self.files[path], self.modified[path] = content, modified
        self.list_folder(path.rpartition("/")[0] + "/")

    def withdraw(self, path):
        """Take a file out of the archive, and out of the page of its folder."""
        del self.files[path], self.modified[path]
        self.list_folder(path.rpartition("/")[0] + "/")

    def list_folder(self, folder, without=()):
        """Make the page of a folder; it leaves out the files `without`, which are there."""
        names = {path: path.removeprefix(folder) for path in self.modified}
        self.files[folder] = apache_page(
            folder,
            {
                name: (self.modified[path], len(self.files[path]))
                for path, name in names.items()
                if path.startswith(folder) and "/" not in name and name not in without
            },
        )

    def traffic(self, since=0):
        """Return path -> (requests, bytes of answers) of the requests from that number on."""
        counts = {}
        for request in self.requests[since:]:
            number, sent = counts.get(request["path"], (0, 0))
            counts[request["path"]] = number + 1, sent + request["sent_bytes"]
        return counts

    def ranges(self, since=0):
        """Return the requested (first, stop), without the requests for the header."""
        asked = [(r["first"], r["stop"]) for r in self.requests[since:]]
        return [(first, stop) for first, stop in asked if first is not None and stop != 1024]


@contextlib.contextmanager
def running_archive(certificate=None):
    """Serve an Archive from a thread; over TLS with a `certificate` (its file and its key)."""
    archive = Archive(certificate)
    thread = threading.Thread(target=archive.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield archive
    finally:
        archive.released.set()
        archive.server.shutdown()
        archive.server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        archive = self.archive
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, stop = (int(match[1]), int(match[2]) + 1) if match else (None, None)
        path = urllib.parse.unquote(self.path)
        with archive.lock:
            self.asked = request = {
                "path": path,
                "first": first,
                "stop": stop,
                "number": len(archive.requests),
                "sent_bytes": 0,
            }
            archive.requests.append(request)
            archive.under_way += 1
            self.counted = 1
            archive.most_under_way = max(archive.most_under_way, archive.under_way)
        try:
            with contextlib.suppress(ConnectionError):
                self.answer(archive.misbehave(request), path, first, stop)
        finally:
            self.answered()

    def answered(self):
        """Count this request as done, once, before its last bytes let the next one start."""
        with self.archive.lock:
            self.archive.under_way -= self.counted
            self.counted = 0

    def answer(self, fault, path, first, stop):
        body = self.archive.files.get(path)
        if fault == "hang up":
            return
        if fault == "503":
            self.page(503)
        elif fault == "404":
            self.page(404)
        elif fault == "page":
            self.page(200)
        elif fault == "page without a type":
            self.send(200, {"Content-Length": len(PAGE)}, PAGE)
        elif fault and fault.startswith("redirect to "):
            self.send(302, {"Location": fault.removeprefix("redirect to ")}, b"")
        elif body is None:
            self.page(404)
        elif path.startswith("/api/"):
            self.send(200, {"Content-Type": "application/json"}, body, fault)
        elif path.endswith("/"):
            headers = {"Content-Type": "text/html;charset=UTF-8"}
            self.send(200, headers, body[: len(body) // 2] if fault == "cut short" else body)
        elif fault == "no length":
            self.send(200, {}, body)
        elif first is None or fault == "no ranges" or (fault or "").startswith("length "):
            length = int(fault.split()[1]) if (fault or "").startswith("length ") else len(body)
            self.send(200, {"Content-Length": length}, body, fault)
        else:
            self.send_range(fault, body, first, min(stop, len(body)))

    def page(self, status):
        self.send(status, {"Content-Type": "text/html", "Content-Length": len(PAGE)}, PAGE)

    def send_range(self, fault, body, first, stop):
        if fault == "another range":
            first = first + 512
        total = len(body) + 1 if fault == "another length" else len(body)
        if (fault or "").startswith("announce "):
            total = fault.removeprefix("announce ")
        part = body[first:stop]
        content_range = f"bytes {first}-{stop - 1}/{total}"
        self.send(206, {"Content-Range": content_range, "Content-Length": len(part)}, part, fault)

    def send(self, status, headers, body, fault=None):
        self.send_response(status)
        headers = {**headers, **self.archive.headers(self.asked)}
        if status < 300 and (modified := self.archive.modified.get(self.asked["path"])):
            headers.setdefault("Last-Modified", email.utils.format_datetime(modified, usegmt=True))
        for key, value in headers.items():
            self.send_header(key, str(value))
        self.asked["sent_bytes"] = len(body)
        self.end_headers()
        if fault == "slow":
            time.sleep(0.02)
        if fault == "trickle":
            for byte in body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                if self.archive.released.wait(0.05):
                    return
        if fault in ("stall", "cut short", "no ranges, cut short"):
            self.wfile.write(body[: len(body) // 3])
            self.wfile.flush()
            if fault == "stall":
                self.archive.released.wait(30)
            return
        self.answered()
        self.wfile.write(body)
