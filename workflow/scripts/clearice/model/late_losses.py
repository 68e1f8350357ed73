"""Losses that come back from the device a little late, so that no step waits for its own."""

import collections

import torch


class LateLosses:
    """Keeps the reports of the last `lag` steps on their way to the host.

    On a GPU a report is copied into pinned memory behind its step and read `lag` steps later,
    when it has long arrived; on a CPU it is there at once. Every process reads the report of a
    step after the same later one, so that all of them save and stop together.
    """

    def __init__(self, device):
        self._on_gpu = torch.device(device).type == "cuda"
        self._lag = 2 if self._on_gpu else 0
        self._waiting, self._spare = collections.deque(), []

    def push(self, report, about):
        """Take the (3,) `report` of a step; return those due: (about, loss, save, stop) each."""
        host, arrived = report, None
        if self._on_gpu:
            host = self._spare.pop() if self._spare else torch.empty(3, pin_memory=True)
            host.copy_(report, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        self._waiting.append((host, arrived, about))
        return self._take(self._lag)

    def drain(self):
        """Return the reports of all steps so far, waiting for the device."""
        return self._take(0)

    def _take(self, keep):
        due = []
        while len(self._waiting) > keep:
            host, arrived, about = self._waiting.popleft()
            if arrived is not None:
                arrived.synchronize()
                self._spare.append(host)
            loss, save, stop = host.tolist()
            due.append((about, loss, save > 0, stop > 0))
        return due
