"""The network's arithmetic in float64 NumPy, for trying out mistakes on small images."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def _columns(x, mode="constant"):
    """Return the 3 x 3 neighbourhoods of x (N, C, H, W) as (N, C*9, H*W)."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode=mode)
    windows = sliding_window_view(padded, (3, 3), axis=(2, 3))  # (N, C, H, W, 3, 3)
    order = windows.transpose(0, 1, 4, 5, 2, 3)
    return order.reshape(x.shape[0], x.shape[1] * 9, -1)


def correlate(x, weight, bias, mode="constant"):
    """Return the cross-correlation (N, O, H, W) of x (N, C, H, W) with weight (O, C, 3, 3).

    `mode` is numpy.pad's way of making the border of one pixel; constant is zeros.
    """
    out = weight.reshape(len(weight), -1) @ _columns(x, mode)
    out = out.reshape(x.shape[0], len(weight), *x.shape[2:])
    return out + np.asarray(bias)[:, None, None]


def weight_gradient(x, delta):
    """Return d loss / d weight (O, C, 3, 3) from the input x and delta (N, O, H, W)."""
    flat = delta.reshape(*delta.shape[:2], -1)
    gradient = (flat @ _columns(x).transpose(0, 2, 1)).sum(0)
    return gradient.reshape(delta.shape[1], x.shape[1], 3, 3)


def input_gradient(weight, delta):
    """Return d loss / d input (N, C, H, W) from delta (N, O, H, W)."""
    flipped = weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    return correlate(delta, flipped, np.zeros(len(flipped)))


def forward(x, weights):
    """Return every activation of simple_cnn: conv1, relu1, conv2, relu2, output."""
    layers = {"conv1": correlate(x, weights["conv1_weight"], weights["conv1_bias"])}
    layers["relu1"] = np.maximum(layers["conv1"], 0)
    layers["conv2"] = correlate(layers["relu1"], weights["conv2_weight"], weights["conv2_bias"])
    layers["relu2"] = np.maximum(layers["conv2"], 0)
    layers["output"] = correlate(layers["relu2"], weights["conv3_weight"], weights["conv3_bias"])
    return layers


def round_mantissa(x, bits):
    """Return float32 values of x with `bits` explicit bits of mantissa, rounded to nearest even."""
    drop = 23 - bits
    pattern = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    pattern += (1 << (drop - 1)) - 1 + ((pattern >> drop) & 1)
    pattern &= ~np.uint64((1 << drop) - 1)
    return pattern.astype(np.uint32).view(np.float32).reshape(np.shape(x))
