"""Micrographs read and surveyed in processes of their own, for a GPU that must not wait for them.

What is computed of the pixels of a micrograph before a network sees them is hundreds of short calls
of NumPy, for each of which a thread needs Python's lock: many threads are no faster than one. Such
a process (survey_worker.py) leaves the rows in memory that both share, page-locked, so that the GPU
copies them at full speed and the network's rows are read and cleaned once.
"""

import contextlib
import mmap
import os
import signal

import numpy as np
import torch

from clearice.child_process import ChildEnded, ChildProcess
from clearice.errors import InputError
from clearice.micrographs.rows import blocks_of

_WORKER = "clearice.denoised.survey_worker"
_FILES = 2  # of a task, at most: the halves of a micrograph


class Surveyor:
    """A process for one task at a time, and the memory of its micrographs. A context manager.

    The process begins with the first survey, and anew after one that ended it. `device` is where
    the rows go.
    """

    def __init__(self, device):
        self._memory = [SharedRows(device) for _ in range(_FILES)]
        self._process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end()
        for memory in self._memory:
            memory.close()

    def rows_of(self, micrograph, threshold, number, watch):
        """Return the SurveyedRows of an open micrograph, file `number` of its task.

        They are valid until the next task. `threshold` is a hot_pixel_threshold; `watch` is called
        every now and then while the process works and before each block, and may raise.
        """

        def survey(shape):
            rows = self._memory[number].array(shape)
            item = micrograph.path, threshold, shape, self._memory[number].descriptor
            return rows, self._answer(item, watch)

        return SurveyedRows(micrograph, survey, watch)

    def _answer(self, item, watch):
        """Return the answer of the process; raise InputError where that is one."""
        if self._process is None:
            shared = [memory.descriptor for memory in self._memory]
            self._process = ChildProcess(_WORKER, shared)
        try:
            answer = self._process.work(item, watch)
        except BaseException as error:
            self._end()
            if not isinstance(error, ChildEnded):
                raise
            watch()  # whoever stops us may have stopped it as well
            raise InputError(
                "the process that read it is gone",
                file=item[0],
                found=_ending(error.status),
                advice="if memory ran out, give it more; the same command continues",
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _end(self):
        if self._process is not None:
            self._process.__exit__()
            self._process = None


class SurveyedRows:
    """A rows.MicrographRows whose survey another process takes."""

    def __init__(self, micrograph, survey, watch):
        self.path = micrograph.path
        self.height_px, self.width_px = micrograph.height_px, micrograph.width_px
        self.numbers, self.hot_pixels, self.kept = {}, 0, None
        self._take, self._survey, self._watch = survey, None, watch

    @property
    def survey(self):
        """The Survey of the rows, taken the first time. Raises InputError as MicrographRows do."""
        if self._survey is None:
            self.kept, answer = self._take((self.height_px, self.width_px))
            self._survey, self.hot_pixels, self.numbers = answer
        return self._survey

    def blocks(self):
        """Yield float32 (b, W), top to bottom, any number of times."""
        _ = self.survey
        for rows in blocks_of(self.kept):
            self._watch()
            yield rows


class SharedRows:
    """Memory for one image, which grows when a larger one comes. `descriptor` is that of its file.

    A file without a name, not one in /dev/shm: in a container that is often 64 MiB. For a
    `device` that is a GPU it is page-locked where that can be had; else copies are slower.
    """

    def __init__(self, device):
        self._device = device
        self.descriptor = os.memfd_create("clearice rows")
        self._map, self._array, self._is_locked = None, None, False

    def array(self, shape):
        """Return it as a float32 array (H, W)."""
        pixels = shape[0] * shape[1]
        if self._array is None or len(self._array) < pixels:
            self._let_go()
            os.ftruncate(self.descriptor, 4 * pixels)
            self._map = mmap.mmap(self.descriptor, 4 * pixels)
            self._array = np.frombuffer(self._map, np.float32)
            if self._device.type == "cuda":
                self._is_locked = self._ask("cudaHostRegister", 4 * pixels, 0)
        return self._array[:pixels].reshape(shape)

    def close(self):
        """Give back the memory, once nobody has an array of it any more."""
        self._let_go()
        os.close(self.descriptor)

    def _let_go(self):
        if self._is_locked:
            self._ask("cudaHostUnregister")
        self._map = self._array = None
        self._is_locked = False

    def _ask(self, function, *arguments):
        """Call one of CUDA's functions about the memory; return whether it succeeded."""
        with torch.cuda.device(self._device):  # of each thread; the first GPU may be somebody's
            status = getattr(torch.cuda.cudart(), function)(self._array.ctypes.data, *arguments)
            if int(status):
                # The next launch in this thread would hear of it. This one does, and forgets it.
                with contextlib.suppress(RuntimeError):
                    torch.zeros((), device=self._device)
        return int(status) == 0


def _ending(status):
    """Say how a process ended: "killed by SIGKILL"."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
