"""The error of a network over a whole split, without a step."""

import contextlib

import torch

from clearice.model.interruption import Interrupted


def squared_errors(feed, optimization, split, processes, interruption):
    """Return (squared errors, interrupted): a sum per batch of `split`, over all processes.

    Each is the sum over the batch's pixels of (output - target)^2, as a float. `interrupted` says
    that a signal came to any process; the sums are then not complete.
    """
    n_patches, batch_size = feed.readers[split].n_patches, feed.batch_size
    count = -(-n_patches // batch_size)
    device = optimization.device
    sums = torch.zeros(count + 1, dtype=torch.float64, device=device)  # the last: interrupted
    with contextlib.suppress(Interrupted):
        for batch in feed.evaluation_batches(split, interruption.has_signal):
            error = optimization.error_sum_on(batch)
            sums[batch.position] = error
            if interruption.has_signal() and processes.world_size == 1:
                break
    sums[-1] = float(interruption.has_signal())
    if processes.all_reduce is not None:
        processes.all_reduce(sums)
    *errors, interrupted = sums.tolist()
    return errors, bool(interrupted)
