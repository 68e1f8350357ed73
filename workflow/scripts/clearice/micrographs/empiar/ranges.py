"""The ranges of one file, fetched over several connections, and which of them are on the disk.

`X.mrc.part` has its full length from the beginning; `X.mrc.part.json` lists the finished ranges.
"""

import dataclasses
import json
import os
import threading

from clearice.errors import InputError
from clearice.files import open_regular, write_json
from clearice.micrographs.empiar.connection import (
    Fault,
    blocks,
    content_range,
    opened,
    persist,
    version_of,
)

_MOST_PROGRESS_BYTES = 1 << 24


@dataclasses.dataclass(frozen=True)
class Announced:
    """A file on the server, as its first answer described it.

    `head` is its MRC header. `has_ranges` says whether parts of it can be had. `total_bytes` is
    None where the server does not say. `wanted_bytes` of it are fetched, never more than one byte
    beyond what the header asks for. `version` is its time there, or its tag; None where the
    server gives neither.
    """

    head: bytes
    has_ranges: bool
    total_bytes: int | None
    wanted_bytes: int
    version: str | None


class ChangedOnServer(Exception):
    """The file is no longer the one that the first answer described."""


def progress_file(part):
    """Return the path of the list of finished ranges of a partial file."""
    return part.with_name(f"{part.name}.json")


def require_version(response, announced):
    """Raise ChangedOnServer for an answer that comes from a later version of the file."""
    if len({version_of(response), announced.version} - {None}) > 1:
        raise ChangedOnServer


class _Stopped(Exception):
    """Another range failed for good, or the user wants to stop."""


class RangedDownload:
    """One file, fetched by threads that each ask for the next range that is missing."""

    def __init__(self, url, part, file, patience, advice):
        self.url, self.part, self.patience, self.advice = url, part, patience, advice
        self.announced = file
        self.finished = []  # [first, stop] of ranges that are on the disk
        self.failure = None
        self.lock, self.stop = threading.Lock(), threading.Event()

    def run(self, connections, range_bytes):
        """Fetch what is missing; on any exception the threads stop and finished ranges stay.

        Raises InputError, OSError of the disk, or ChangedOnServer.
        """
        wanted_bytes = self.announced.wanted_bytes
        self.finished = self._resumable()
        self.missing = missing_ranges(self.finished, wanted_bytes, range_bytes)
        if self.finished:
            print(f"{self.url}: going on, {len(self.missing)} ranges are missing", flush=True)
        self.file = os.open(self.part, os.O_RDWR | os.O_CREAT, 0o666)
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(connections)]
        try:
            os.ftruncate(self.file, wanted_bytes)
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            self.stop.set()
            with self.lock:  # no thread writes any more
                os.close(self.file)
        if self.failure:
            raise self.failure

    def _resumable(self):
        """Return the finished ranges of an earlier call, if the file is still the same one."""
        wanted_bytes = self.announced.wanted_bytes
        try:
            with open_regular(progress_file(self.part)) as file:
                progress = json.loads(file.read(_MOST_PROGRESS_BYTES))
            with open_regular(self.part) as file:
                same = file.read(len(self.announced.head)) == self.announced.head
                same &= os.fstat(file.fileno()).st_size == wanted_bytes
            same &= progress["total_bytes"] == self.announced.total_bytes
            versions = {progress.get("version"), self.announced.version} - {None}
            finished = [[first, stop] for first, stop in progress["finished"]]
            if same and len(versions) < 2 and all(_is_range(r, wanted_bytes) for r in finished):
                return finished
        except (OSError, InputError, ValueError, LookupError, TypeError, RecursionError):
            pass  # none, or not to be trusted: from the beginning
        progress_file(self.part).unlink(missing_ok=True)
        return []

    def _work(self):
        while not self.stop.is_set():
            with self.lock:
                if not self.missing:
                    return
                first, stop = self.missing.pop(0)
            try:
                self._fetch_range(first, stop)
            except _Stopped:
                return
            except BaseException as failure:
                self.failure = self.failure or failure
                self.stop.set()

    def _fetch_range(self, first, stop):
        position = first

        def attempt():
            nonlocal position
            begun = position
            self._check_stop()
            try:
                with opened(self.url, self.patience, (position, stop)) as response:
                    self._check_answer(response, position, stop)
                    for block in blocks(response, stop - position, self.patience):
                        self._write(block, position)
                        position += len(block)
            except Fault as fault:
                fault.gained_bytes = position - begun
                raise

        persist(attempt, self.url, self.patience, advice=self.advice, pause=self.stop.wait)
        with self.lock:
            self._check_stop()
            os.fdatasync(self.file)  # a range counts as finished only once it is on the disk
            self.finished.append([first, stop])
            progress = {
                "total_bytes": self.announced.total_bytes,
                "version": self.announced.version,
                "finished": sorted(self.finished),
            }
            write_json(progress_file(self.part), progress)

    def _check_answer(self, response, position, stop):
        if response.status != 206:
            raise Fault(f"answered {response.status} to a range, with the whole file or a page")
        found, total_bytes = content_range(response), self.announced.total_bytes
        if found[0] != position or found[1] > stop or found[2] not in (None, total_bytes):
            raise Fault(f"sent range {found} when asked for {(position, stop, total_bytes)}")
        require_version(response, self.announced)

    def _write(self, block, position):
        with self.lock:
            self._check_stop()
            view = memoryview(block)
            while view:
                count = os.pwrite(self.file, view, position)
                position, view = position + count, view[count:]

    def _check_stop(self):
        if self.stop.is_set():
            raise _Stopped


def _is_range(pair, stop):
    return all(type(end) is int for end in pair) and 0 <= pair[0] < pair[1] <= stop


def missing_ranges(finished, total_bytes, range_bytes):
    """Return the (first, stop) gaps that `finished` leaves in 0 to `total_bytes`, cut to size."""
    gaps, position = [], 0
    for first, stop in [*sorted(finished), (total_bytes, total_bytes)]:
        gaps += [
            (start, min(start + range_bytes, first))
            for start in range(position, first, range_bytes)
        ]
        position = max(position, stop)
    return gaps
