"""The ranges of one file, fetched over several connections, and which of them are on the disk.

`X.mrc.part` has its full length from the beginning; `X.mrc.part.json` lists the finished ranges.
"""

import os
import threading

from clearice.files import read_json, write_json
from clearice.micrographs.empiar.connection import Fault, blocks, content_range, opened, persist


def progress_file(part):
    """Return the path of the list of finished ranges of a partial file."""
    return part.with_name(f"{part.name}.json")


class _Stopped(Exception):
    """Another range failed for good, or the user wants to stop."""


class RangedDownload:
    """One file, fetched by threads that each ask for the next range that is missing."""

    def __init__(self, url, part, head, total_bytes, patience, advice):
        self.url, self.part, self.patience, self.advice = url, part, patience, advice
        self.head, self.total_bytes = head, total_bytes
        self.finished = []  # [first, stop] of ranges that are on the disk
        self.failure = None
        self.lock, self.stop = threading.Lock(), threading.Event()

    def run(self, connections, range_bytes):
        """Fetch what is missing; on any exception the threads stop and finished ranges stay."""
        self.finished = self._resumable()
        self.missing = missing_ranges(self.finished, self.total_bytes, range_bytes)
        if self.finished:
            print(f"{self.url}: going on, {len(self.missing)} ranges are missing", flush=True)
        self.file = os.open(self.part, os.O_RDWR | os.O_CREAT, 0o666)
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(connections)]
        try:
            os.ftruncate(self.file, self.total_bytes)
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
        try:
            progress = read_json(progress_file(self.part))
            with open(self.part, "rb") as file:
                same = file.read(len(self.head)) == self.head
                same &= os.fstat(file.fileno()).st_size == self.total_bytes
            same &= progress["total_bytes"] == self.total_bytes
            finished = [[first, stop] for first, stop in progress["finished"]]
            if same and all(0 <= first < stop <= self.total_bytes for first, stop in finished):
                return finished
        except (OSError, ValueError, KeyError, TypeError):
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
            progress = {"total_bytes": self.total_bytes, "finished": sorted(self.finished)}
            write_json(progress_file(self.part), progress)

    def _check_answer(self, response, position, stop):
        if response.status != 206:
            raise Fault(f"answered {response.status} to a range, with the whole file or a page")
        found = content_range(response)
        if found[0] != position or found[1] > stop or found[2] not in (None, self.total_bytes):
            raise Fault(f"sent range {found} when asked for {(position, stop, self.total_bytes)}")

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
