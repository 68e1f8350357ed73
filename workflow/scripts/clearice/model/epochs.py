"""Which patches make a batch, in which order, and how each is turned: all from the seed.

Everything here is a function of (seed, epoch) and the dataset alone, so that it is the same for any
number of threads, buffers and processes, and for a training that was interrupted. There are two
orders, though: that of planes which stream through a GPU is grouped_order, and the memory that is
free when a training begins decides whether they do.
"""

import numpy as np
import torch

SWAP = 8  # the bit of a code that swaps input and target; the lower three turn the patch


def epoch_order(n_patches, seed, epoch):
    """Return a permutation of range(n_patches), int64, of this epoch.

    The patches are sorted by random 64-bit keys: other languages can do the same (fortran/), and
    NumPy promises the stream of its bit generators for ever, but not that of
    Generator.permutation.
    """
    return np.argsort(random_bits(n_patches, seed, epoch, stream=0), kind="stable")


def epoch_codes(n_patches, seed, epoch, *, swap):
    """Return how each patch (by its index) is turned in this epoch: (n_patches,) uint8.

    Bits 0-2 are one of the 8 symmetries of the square; bit 3 (SWAP), only with `swap`, lets the
    two halves change places: either is a noisy image of the other (Lehtinen et al. 2018,
    Noise2Noise).
    """
    bits = random_bits(n_patches, seed, epoch, stream=1) >> np.uint64(60)
    return (bits if swap else bits & np.uint64(SWAP - 1)).astype(np.uint8)


def epoch_shifts(n_patches, seed, epoch, step_px):
    """Return where each patch (by its index) is cut from in this epoch: (n_patches, 2) int64.

    y and x, 0 to step_px - 1. A network with a grid of step_px sees a patch at as many places of
    its grid: at one and the same place it would soon know the noise of every patch by heart.
    """
    bits = random_bits(2 * n_patches, seed, epoch, stream=2)
    return (bits % np.uint64(step_px)).astype(np.int64).reshape(n_patches, 2)


def grouped_order(segments, seed, epoch, group):
    """Return a permutation of the patches, int64, that takes their micrographs in groups.

    `segments` (n_patches,) says which micrograph each patch is of. The micrographs are shuffled
    and dealt into groups of `group`; within a group the patches are sorted by the keys of
    epoch_order. So a training that streams its micrographs needs two groups at once.
    """
    shuffled = np.argsort(random_bits(int(segments.max()) + 1, seed, epoch, stream=3))
    groups = np.argsort(shuffled)[segments] // group
    return np.lexsort((random_bits(len(segments), seed, epoch, stream=0), groups))


def random_bits(count, seed, epoch, stream):
    """Return random 64-bit numbers, (count,) uint64: Philox4x64-10 (Salmon et al. 2011, SC11).

    Key (seed, epoch), counters (1, 0, 0, stream), (2, 0, 0, stream), ...: four numbers each.
    """
    key = np.array([seed % 2**64, epoch], np.uint64)
    return np.random.Philox(key=key, counter=[0, 0, 0, stream]).random_raw(count)


def batches_of(order, batch_size, *, rank=0, world_size=1):
    """Return the batches of `order`: a list of (indices of this process, patches of all).

    Batch b is order[b * batch_size : (b + 1) * batch_size], the last one may be smaller; each
    of `world_size` processes takes its part of every batch, which may be empty. The first ones
    take one patch more where a batch does not divide evenly.
    """
    batches = []
    for first in range(0, len(order), batch_size):
        count = min(batch_size, len(order) - first)
        each, more = divmod(count, world_size)
        begin = first + rank * each + min(rank, more)
        batches.append((order[begin : begin + each + (rank < more)], count))
    return batches


def turn(patch, code):
    """Return a patch (..., S, S) turned by the lower three bits of its code.

    Bit 0 transposes, bit 1 flips rows and bit 2 flips columns afterwards: together the 8
    symmetries of the square, which move pixels and interpolate nothing.
    """
    if code & 1:
        patch = patch.transpose(-2, -1)
    axes = [axis for axis, bit in ((-2, 2), (-1, 4)) if code & bit]
    return torch.flip(patch, axes) if axes else patch
