"""Reader threads that bring planes into the memory of a device."""

import queue
import threading

import torch

from clearice.model.interruption import Interrupted

_PIECE_BYTES = 8 << 20  # of one read, and of a staging buffer
POLL_S = 0.5  # between two looks at whether a signal came


class Dropped(Exception):
    """A plane is not read any more: nobody waits for it."""


class Arrival:
    """Planes under way: wait() returns when what is launched next finds them there."""

    def __init__(self, count):
        self._left, self._lock = count, threading.Lock()
        self._ended, self._event, self._error = threading.Event(), None, None
        self.is_dropped = False
        if not count:
            self._ended.set()

    def wait(self, device, stopped=None):
        """Wait for the reads, and let the device's current stream wait for the copies.

        Raises what a read raised, and Interrupted soon after `stopped` (a callable) says so.
        """
        while not self._ended.wait(POLL_S if stopped else None):
            if stopped():
                raise Interrupted
        if self._error is not None:
            raise self._error
        if self._event is not None:
            torch.cuda.current_stream(device).wait_event(self._event)

    @property
    def has_ended(self):
        """Whether all was read, or failed."""
        return self._ended.is_set()

    @property
    def has_failed(self):
        """Whether a read failed: then `wait` raises what it raised."""
        return self._error is not None

    def drop(self):
        """Let what no thread has begun to read stay unread; return when no thread reads."""
        self.is_dropped = True
        self._ended.wait()

    def count_piece(self, stream, error=None):
        """Note that a piece was read and its copy launched on `stream`, or that it failed."""
        with self._lock:
            self._left -= 1
            self._error = self._error or error
            if self._left:
                return
            if stream is not None:
                try:
                    self._event = torch.cuda.Event()
                    self._event.record(stream)
                except BaseException as failed:  # whoever waits must hear of it
                    self._error = self._error or failed
        self._ended.set()


class PlaneCopier:
    """Threads that read planes; on a GPU through pinned buffers, on one copy stream.

    On a CPU they read into the destination itself. What their buffers lack is raised here.
    """

    def __init__(self, device, threads):
        self._device, self._tasks = device, queue.SimpleQueue()
        self._stream, self._closing, buffers = None, threading.Event(), [None] * threads
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)
            buffers = [[_Staging(self._stream) for _ in range(2)] for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._work, args=(staging,), daemon=True) for staging in buffers
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, planes, after=None):
        """Begin to read; return an Arrival.

        `planes` lists (PlaneReader, number of a segment, side, destination: uint8, a plane's
        bytes). Copies wait for the CUDA event `after`: until then the device reads what is there.
        """
        pieces = [
            (reader, number, side, first, destination[first : first + _PIECE_BYTES])
            for reader, number, side, destination in planes
            for first in range(0, len(destination), _PIECE_BYTES)
        ]
        if after is None and self._stream is not None:
            after = torch.cuda.Event()  # of whoever had this memory before
            after.record(torch.cuda.current_stream(self._device))
        arrival = Arrival(len(pieces))
        for piece in pieces:
            self._tasks.put((arrival, after, piece))
        return arrival

    def close(self):
        """End the threads, and the copies: the memory that they write to may be freed then.

        What no thread has begun to read stays unread.
        """
        self._closing.set()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
        if self._stream is not None:
            self._stream.synchronize()

    def _work(self, staging):
        """Bring one piece after the other, until a None; `staging` is a pair, None on a CPU."""
        while (task := self._tasks.get()) is not None:
            arrival, after, piece = task
            try:
                if arrival.is_dropped or self._closing.is_set():
                    raise Dropped
                self._bring(piece, staging, after)
            except BaseException as error:  # it is the consumer's: it waits for the plane
                arrival.count_piece(None, error)
            else:
                arrival.count_piece(self._stream)

    def _bring(self, piece, staging, after):
        """Read a piece into its destination; on a GPU launch its copy there."""
        reader, number, side, first, destination = piece
        if staging is None:
            reader.read_plane(number, side, first, memoryview(destination.numpy()))
            return
        torch.cuda.set_device(self._stream.device)  # a thread begins with the first of all
        staging.reverse()
        buffer = staging[0].buffer_of(len(destination))
        reader.read_plane(number, side, first, buffer)
        staging[0].copy_to(destination, after)


class _Staging:
    """A pinned buffer of a thread, and the copy out of it."""

    def __init__(self, stream):
        self._stream, self._copied = stream, None
        self._pinned = torch.empty(_PIECE_BYTES, dtype=torch.uint8, pin_memory=True)

    def buffer_of(self, count):
        """Return `count` bytes to read into, once they are copied no more."""
        if self._copied is not None:
            self._copied.synchronize()
        return memoryview(self._pinned.numpy())[:count]

    def copy_to(self, destination, after):
        """Launch the copy of what was read, behind the event `after`."""
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(after)
            destination.copy_(self._pinned[: len(destination)], non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record(self._stream)
