"""Losses that come back from the device a little late, so that no step waits for its own."""

import collections
import functools

import torch


class LateLosses:
    """Keeps the reports of the last `lag` steps on their way to the host.

    On a GPU a report is copied into pinned memory beside the next step, which waits for no copy,
    and read `lag` steps later, when it has long arrived; on a CPU it is there at once. Every
    process reads the report of a step after the same later one, so that all of them save and stop
    together.
    """

    def __init__(self, device):
        self._device, self._stream, self._lag = torch.device(device), None, 0
        if self._device.type == "cuda":
            self._stream, self._lag = _copy_stream(self._device), 2
        self._waiting, self._spare = collections.deque(), []

    def push(self, report, about):
        """Take the `report` of a step (Optimization.step), which nobody may write to any more.

        Return those due: (about, loss, save, stop) each.
        """
        host, arrived = report, None
        if self._stream is not None:
            host = self._spare.pop() if self._spare else torch.empty(3, pin_memory=True)
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(self._stream):
                host[: len(report)].copy_(report, non_blocking=True)
                arrived = torch.cuda.Event()
                arrived.record()
        # With the report, whose memory is to be nobody else's until it has been copied.
        self._waiting.append((host, arrived, report, about))
        return self._take(self._lag)

    def drain(self):
        """Return the reports of all steps so far, waiting for the device."""
        return self._take(0)

    def _take(self, keep):
        due = []
        while len(self._waiting) > keep:
            host, arrived, report, about = self._waiting.popleft()
            if arrived is not None:
                arrived.synchronize()
                self._spare.append(host)
            loss, *wishes = host[: len(report)].tolist()
            save, stop = (wish > 0 for wish in wishes or (0, 0))
            due.append((about, loss, save, stop))
        return due


@functools.cache
def _copy_stream(device):
    """Return the stream for losses: PyTorch has 32, and gives them to the next who asks, again."""
    return torch.cuda.Stream(device)
