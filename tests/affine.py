"""The affine that a network's input goes through, computed plainly."""

import numpy as np


def affine_of(image):
    """Return (location, scale) of an image (H, W): medians over pieces of rows of 64 px."""
    piece_px = min(64, image.shape[1])
    count = image.shape[1] // piece_px
    pieces = image[:, : count * piece_px].astype(np.float64).reshape(-1, piece_px)
    stds = pieces.std(axis=1, ddof=1 if piece_px > 1 else 0)
    location, scale = np.median(pieces.mean(axis=1)), np.median(stds)
    return float(location), float(scale if scale > 0 else image.std(dtype=np.float64))
