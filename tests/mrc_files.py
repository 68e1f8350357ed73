"""MRC files of every kind that tests need, written byte by byte: good, odd and bad ones."""

import struct

import numpy as np

MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_WORDS = {  # name -> (byte, struct letter)
    "nx": (0, "i"), "ny": (4, "i"), "nz": (8, "i"), "mode": (12, "i"),
    "mx": (28, "i"), "my": (32, "i"), "mz": (36, "i"),
    "cell_x": (40, "f"), "cell_y": (44, "f"), "cell_z": (48, "f"),
    "mapc": (64, "i"), "mapr": (68, "i"), "maps": (72, "i"),
    "dmin": (76, "f"), "dmax": (80, "f"), "dmean": (84, "f"),
    "ispg": (88, "i"), "nsymbt": (92, "i"), "exttyp": (104, "4s"), "nversion": (108, "i"),
    "imod_stamp": (152, "i"), "imod_flags": (156, "i"), "origin_x": (196, "f"),
    "map": (208, "4s"), "stamp": (212, "4s"),
}  # fmt: skip


def packed_nibbles(image):
    """Return mode 101 bytes of an image of 0..15: the first pixel in the low half of a byte."""
    height, width = image.shape
    padded = np.zeros((height, width + width % 2), np.uint8)
    padded[:, :width] = image
    return (padded[:, 0::2] | padded[:, 1::2] << 4).tobytes()


def header_bytes(height, width, mode, order="<", **words):
    """Return the 1,024 bytes of a valid header, with `words` set to what the test wants."""
    values = {
        "nx": width, "ny": height, "nz": 1, "mode": mode, "mx": width, "my": height, "mz": 1,
        "cell_x": 1.5 * width, "cell_y": 1.5 * height, "cell_z": 1.5,
        "mapc": 1, "mapr": 2, "maps": 3, "dmin": 0.0, "dmax": -1.0, "nversion": 20140,
        "map": b"MAP ", "stamp": b"\x44\x44\0\0" if order == "<" else b"\x11\x11\0\0",
    }  # fmt: skip
    raw = bytearray(1024)
    for name, value in (values | words).items():
        offset, letter = _WORDS[name]
        struct.pack_into(order + letter, raw, offset, value)
    return bytes(raw)


def write_mrc(path, image, mode=2, order="<", extended=b"", **words):
    """Write `image` (H, W) in that mode and byte order; `words` override the header's."""
    height, width = image.shape
    data = packed_nibbles(image) if mode == 101 else image.astype(order + MODES[mode]).tobytes()
    words = {"nsymbt": len(extended)} | words
    path.write_bytes(header_bytes(height, width, mode, order, **words) + extended + data)
    return path


def noise_image(height, width, seed=0, mean=10.0, std=2.0):
    """Return a noisy image, float32 (H, W)."""
    generator = np.random.default_rng(seed)
    return (mean + std * generator.standard_normal((height, width))).astype(np.float32)


def pixels_for(mode, height, width, seed=0):
    """Return an image that the mode can hold exactly, float32 (H, W)."""
    generator = np.random.default_rng(seed)
    low, high = {0: (-128, 128), 1: (-32768, 32768), 6: (0, 65536), 101: (0, 16)}.get(mode, (0, 0))
    if high:
        return generator.integers(low, high, (height, width)).astype(np.float32)
    return noise_image(height, width, seed).astype(MODES[mode]).astype(np.float32)
