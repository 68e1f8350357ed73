"""Micrographs read and surveyed in processes of their own, for a GPU that must not wait for them.

What is computed of the pixels of a micrograph before a network sees them is hundreds of short calls
of NumPy, for each of which a thread needs Python's lock: many threads are no faster than one. Such
a process (survey_worker.py) leaves the rows in memory that both share, page-locked, so that the GPU
copies them at full speed and nobody reads a file twice.
"""

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

    The process begins with the first survey, and anew after one that ended it.
    """

    def __init__(self):
        self._memory = [SharedRows() for _ in range(_FILES)]
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
        every now and then while the process works, and may raise to end the waiting.
        """

        def survey(shape):
            rows = self._memory[number].array(shape)
            item = micrograph.path, threshold, shape, self._memory[number].descriptor
            return rows, self._answer(item, watch)

        return SurveyedRows(micrograph, survey)

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

    def __init__(self, micrograph, survey):
        self.path = micrograph.path
        self.height_px, self.width_px = micrograph.height_px, micrograph.width_px
        self.numbers, self.hot_pixels, self.kept = {}, 0, None
        self._take, self._survey = survey, None

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
        return blocks_of(self.kept)


class SharedRows:
    """Memory for one image, which grows when a larger one comes. `descriptor` is that of its file.

    A file without a name, not one in /dev/shm: in a container that is often 64 MiB.
    """

    def __init__(self):
        self.descriptor = os.memfd_create("clearice rows")
        self._map, self._array, self._is_locked = None, None, False

    def array(self, shape):
        """Return it as a float32 array (H, W), page-locked where there is a GPU."""
        pixels = shape[0] * shape[1]
        if self._array is None or len(self._array) < pixels:
            self._let_go()
            os.ftruncate(self.descriptor, 4 * pixels)
            self._map = mmap.mmap(self.descriptor, 4 * pixels)
            self._array = np.frombuffer(self._map, np.float32)
            if torch.cuda.is_initialized():
                place = self._array.ctypes.data
                status = torch.cuda.cudart().cudaHostRegister(place, 4 * pixels, 0)
                self._is_locked = int(status) == 0  # where it can't be, copies are slower
        return self._array[:pixels].reshape(shape)

    def close(self):
        """Give back the memory, once nobody has an array of it any more."""
        self._let_go()
        os.close(self.descriptor)

    def _let_go(self):
        if self._is_locked:
            torch.cuda.cudart().cudaHostUnregister(self._array.ctypes.data)
        self._map = self._array = None
        self._is_locked = False


def _ending(status):
    """Say how a process ended: "killed by SIGKILL"."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
