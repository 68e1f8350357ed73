"""Reader threads that bring planes into the memory of a device."""

import queue
import threading

import torch

_PIECE_BYTES = 8 << 20  # of one read, and of a staging buffer


class Arrival:
    """Planes under way: wait() returns when what is launched next finds them there."""

    def __init__(self, count):
        self._left, self._lock = count, threading.Lock()
        self._ended, self._event, self._error = threading.Event(), None, None
        if not count:
            self._ended.set()

    def wait(self, device):
        """Wait for the reads, and let the device's current stream wait for the copies.

        Raises what a read raised.
        """
        self._ended.wait()
        if self._error is not None:
            raise self._error
        if self._event is not None:
            torch.cuda.current_stream(device).wait_event(self._event)

    def settle(self):
        """Wait for the reads alone, whatever became of them."""
        self._ended.wait()

    def count_piece(self, stream, error=None):
        """Note that a piece was read and its copy launched on `stream`, or that it failed."""
        with self._lock:
            self._left -= 1
            self._error = self._error or error
            if self._left:
                return
            if stream is not None:
                self._event = torch.cuda.Event()
                self._event.record(stream)
        self._ended.set()


class PlaneCopier:
    """Threads that read planes; on a GPU through pinned buffers, on one copy stream.

    On a CPU they read into the destination itself.
    """

    def __init__(self, device, threads):
        self._device, self._tasks = device, queue.SimpleQueue()
        self._stream = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
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
        """End the threads, when what they have been asked for is read."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self):
        """Read one piece after the other, until a None."""
        staging = None
        if self._stream is not None:
            torch.cuda.set_device(self._stream.device)  # a thread begins with the first of all
            staging = [_Staging(self._stream) for _ in range(2)]
        while (task := self._tasks.get()) is not None:
            arrival, after, (reader, number, side, first, destination) = task
            try:
                if staging is None:
                    buffer = memoryview(destination.numpy())
                    reader.read_plane(number, side, first, buffer)
                else:
                    staging.reverse()
                    buffer = staging[0].buffer_of(len(destination))
                    reader.read_plane(number, side, first, buffer)
                    staging[0].copy_to(destination, after)
            except BaseException as error:  # it is the consumer's: it waits for the plane
                arrival.count_piece(None, error)
            else:
                arrival.count_piece(self._stream)


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
