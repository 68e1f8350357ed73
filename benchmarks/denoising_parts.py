"""What the time of many micrographs that are denoised at once goes into."""

import os
import threading
import time

# survey: waiting for the process that reads and surveys; hash: of the input; wait: for another's
# turn on the device; device: copies to it and from it, conversion, numbers of the header; judge:
# would noise look the same (networks that see far alone); sync: fsync.
PARTS = ("survey", "hash", "wait", "device", "network", "judge", "write", "sync")


class Timing:
    """Seconds of all threads by part, those of parts inside a part not counted with it."""

    def __init__(self):
        self.seconds = dict.fromkeys((*PARTS, "rest"), 0.0)
        self._lock, self._own = threading.Lock(), threading.local()

    def measured(self, part, function):
        """Return `function` with its time added to `part`."""

        def call(*arguments, **options):
            started, outer = time.perf_counter(), getattr(self._own, "inner_s", 0.0)
            self._own.inner_s = 0.0
            try:
                return function(*arguments, **options)
            finally:
                taken = time.perf_counter() - started
                with self._lock:
                    self.seconds[part] += taken - self._own.inner_s
                self._own.inner_s = outer + taken

        return call

    def wrap(self, owner, name, part):
        """Measure a function of a module or a method of a class from now on."""
        setattr(owner, name, self.measured(part, getattr(owner, name)))


class Turn:
    """A lock that measures how long threads wait for it."""

    def __init__(self, timing):
        self._lock = threading.Lock()
        self._wait = timing.measured("wait", self._lock.acquire)

    def __enter__(self):
        self._wait()

    def __exit__(self, *_):
        self._lock.release()


def instrument(timing, device):
    """Measure the parts of clearice, wherever they are called from."""
    import torch

    from clearice.denoised import batch, records, stored, surveyor, tiles
    from clearice.micrographs import mrc_writer

    timing.wrap(surveyor.Surveyor, "_answer", "survey")
    timing.wrap(records, "xxh3_of_file", "hash")
    timing.wrap(mrc_writer, "_write_all", "write")
    timing.wrap(os, "fsync", "sync")
    timing.wrap(batch.Batch, "_denoise_file", "rest")
    timing.wrap(stored.StoredRows, "take", "device")
    timing.wrap(tiles, "_denoised_band", "device")

    def timed_network(through):
        def whole(*arguments):
            output = through(*arguments)
            settle()
            return output

        def call(*arguments):
            settle()
            return timing.measured("network", whole)(*arguments)

        return call

    def settle():
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for kind in (tiles.Tiles, tiles.KernelTiles):
        kind.__call__ = timed_network(kind.__call__)
