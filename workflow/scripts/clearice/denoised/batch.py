"""Many micrographs through one network: what is done is skipped, and one that fails stops no other.

On a GPU a few micrographs are under way at once, each in a thread of its own with a process that
reads and surveys for it (surveyor.py): while one is on the device, others are read, surveyed and
written, so that files set the pace. The device has one at a time, the host's memory two images of
each.
"""

import concurrent.futures
import contextlib
import os
import queue
import threading
import time

import torch

from clearice.bridge import users_line
from clearice.denoised.micrograph import write_denoised
from clearice.denoised.records import file_state, is_done, write_record
from clearice.denoised.surveyor import Surveyor
from clearice.disk import disk_full, free_bytes, is_full
from clearice.errors import InputError
from clearice.micrographs.mrc import open_micrograph

_AT_ONCE = 8  # micrographs under way on a GPU, each with a process for its survey
_PAGE_LOCKED_BYTES = 4 << 30  # of the host for all of them, or what two need
_HEADER_THREADS = 16  # a network file system answers in milliseconds, whoever waits
_ITEM_BYTES = {"float32": 4, "float16": 2}


class Stopped(Exception):
    """Somebody asked for an end: what was under way is gone, and no error of any file."""


class Batch:
    """One network, one set of settings, and the files that go through it.

    `network`, `model` and `device` are what micrograph.load_denoiser returns, `settings` those of
    write_denoised. `stopped` is a function that says whether to end; it is asked before every
    block of rows. `judge` is called with a file and its facts and returns (more facts, warnings).
    """

    def __init__(
        self,
        network,
        model,
        settings,
        device,
        stopped=lambda: False,
        judge=lambda *_: ({}, []),
    ):
        self._network, self._model, self._settings = network, model, settings
        self._device, self._asked_to_stop, self._judge = device, stopped, judge
        self._turn, self._surveyors = threading.Lock(), queue.SimpleQueue()

    def is_done(self, task):
        """Say whether the result of a tasks.Task exists and is that of unchanged files."""
        size = task.pixel_size_angstrom
        return is_done(task.record, task.files, task.output, self._model, self._settings, size)

    def sizes_px(self, tasks):
        """Return the pixels of each task's result, from headers; 0 where there is no good one."""
        with concurrent.futures.ThreadPoolExecutor(_HEADER_THREADS) as pool:
            return list(pool.map(_pixels, tasks))

    def require_room(self, folder, sizes_px):
        """Raise InputError if the disk of the existing `folder` can't hold the results."""
        needed, free = sum(sizes_px) * _ITEM_BYTES[self._settings["dtype"]], free_bytes(folder)
        if needed > free:
            raise disk_full(
                "the denoised micrographs",
                folder,
                ", or use --dtype float16",
                expected=f"{needed / 2**30:.1f} GiB free",
                found=f"{free / 2**30:.1f} GiB",
            )

    def run(self, tasks, progress, largest_px=0):
        """Denoise every task; yield (task, None or the line of its error) as each one ends.

        `largest_px` is the most pixels that one has: of large ones fewer are under way at once.
        Ends early, after the micrographs under way have been dropped, when it is to stop. Raises
        InputError for a full disk, and whatever is a mistake of ours.
        """
        files = max((len(task.files) for task in tasks), default=1)
        workers = max(1, min(_at_once(self._device, files * largest_px), len(tasks)))
        with contextlib.ExitStack() as stack:
            for _ in range(workers):
                own = stack.enter_context(Surveyor(self._device)) if workers > 1 else None
                self._surveyors.put(own)
            pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(workers))
            futures = {pool.submit(self._denoise, task, progress): task for task in tasks}
            try:
                for future in concurrent.futures.as_completed(futures):
                    try:
                        fault = future.result()
                    except (Stopped, concurrent.futures.CancelledError):
                        continue
                    progress.add_file()
                    yield futures[future], fault
            finally:
                self._asked_to_stop = lambda: True  # after a mistake of ours, too
                pool.shutdown(wait=True, cancel_futures=True)

    def _watch(self):
        if self._asked_to_stop():
            raise Stopped

    def _denoise(self, task, progress):
        """Denoise one task; return None, or the line of an error that the user can fix."""
        self._watch()
        surveyor = self._surveyors.get()
        try:
            self._denoise_file(task, progress, surveyor)
        except torch.OutOfMemoryError:
            return (
                f"{task.files[0]}: the GPU's memory is too small; "
                "use a smaller --tile-px (such as 512), or --device cpu"
            )
        except Exception as error:
            if isinstance(error, OSError) and is_full(error):
                raise disk_full(
                    "the denoised micrographs", task.folder, " and run the same command again"
                ) from None
            line = users_line(error)
            if line is None:
                raise
            return line
        finally:
            self._surveyors.put(surveyor)
        return None

    def _denoise_file(self, task, progress, surveyor):
        started = time.perf_counter()
        states = [_state(path) for path in task.files]
        facts = write_denoised(
            self._network,
            self._model,
            task.files,
            task.output,
            self._settings,
            self._device,
            task.pixel_size_angstrom,
            watch=self._watch,
            count=progress.add_pixels,
            turn=self._turn,
            surveyor=surveyor,
        )
        judgement, doubts = self._judge(task.files[0], facts)
        facts |= judgement
        for warning in [*facts["warnings"], *doubts]:
            progress.line(f"warning: {warning}")
        write_record(
            task.record,
            task.name,
            states,
            task.output,
            self._model,
            self._settings,
            device=str(self._device),
            **facts,
            seconds=round(time.perf_counter() - started, 3),
        )


def _at_once(device, largest_px):
    """Return how many micrographs are under way, if their files have so many pixels together.

    On a GPU each has its pixels and the result page-locked. On a CPU PyTorch uses all cores.
    """
    if device.type == "cpu" or not hasattr(os, "memfd_create"):
        return 1
    each = 4 * largest_px + 4 * (1 << max(largest_px - 1, 1).bit_length())  # as PyTorch rounds
    most = min(_AT_ONCE, len(os.sched_getaffinity(0)))
    return max(2, min(most, _PAGE_LOCKED_BYTES // each))


def _state(path):
    try:
        return file_state(path)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None


def _pixels(task):
    try:
        with open_micrograph(task.files[0], hashed=False) as reader:
            return reader.height_px * reader.width_px
    except InputError:
        return 0
