"""Patch tables of tensors, for the tests of what reads them."""

import numpy as np
import torch

from clearice.model.epochs import SWAP, turn
from clearice.model.planes.patch_tables import Epoch, patch_table


def table_of(inputs, targets, places, codes, size_px):
    """Return the table (N, 4), int64, of one patch of size_px in each pair of planes (H, W).

    `places` are (y, x) of the patches' first pixels, `codes` those of epochs.epoch_codes.
    """
    pairs = list(zip(inputs, targets, strict=True))
    assert all(a.stride() == b.stride() and a.stride(1) == 1 for a, b in pairs)
    addresses = np.array([[plane.data_ptr() for plane in pair] for pair in pairs])
    strides = np.array([plane.stride(0) for plane in inputs])
    epoch = Epoch(np.arange(len(pairs)), np.array(places), size_px, size_px, np.array(codes))
    itemsize = inputs[0].element_size()
    rows = patch_table(epoch, epoch.order, addresses, strides, itemsize)
    return torch.from_numpy(rows).to(inputs[0].device)


def turned(input_patches, target_patches, codes):
    """Return both batches (N, 1, S, S), each patch turned (and swapped) by its code, one by one."""
    inputs, targets = [], []
    for *pair, code in zip(input_patches, target_patches, map(int, codes), strict=True):
        image, target = reversed(pair) if code & SWAP else pair
        inputs.append(turn(image, code))
        targets.append(turn(target, code))
    return torch.stack(inputs), torch.stack(targets)
