"""How much of a GPU a block of each kernel takes: its macros, threads and shared memory.

A block's shared memory and registers are what limits these kernels: the more warps share a
multiprocessor, the better it hides their waiting, until registers spill. The sizes below were
measured on an H100; a GPU with less shared memory gets fewer strips per block. Only an H100 and
an H200 were ever run.
"""

import dataclasses
import math

PRECISIONS = ("float32", "float16", "bfloat16")
STRIP_PX, PLANE_STRIP_PX = 44, 60  # output columns of a warp's strip: TILES * 16 - 4
TRAINING_ROWS, PLANE_ROWS = 16, 32  # that a segment has at least
WEIGHTS, SUMS, SUMS_STRIDE = 2625, 2626, 2656  # as in cuda/weights.cuh
SUM_THREADS, SUM_COLUMNS = 1024, 32  # of a block of sum_strips, as in cuda/reduction.cuh
_ROW_BYTES, _PIXEL_BYTES = 160, 32  # of an image row in shared memory; of 16 channels of 2 bytes
_PLANE_WARPS = 4  # of a block of the kernel denoise
_REGISTERS, _MOST_REGISTERS = 65536, 255  # of a multiprocessor; of a thread
_STRIPS = {"float32": 4, "float16": 6, "bfloat16": 6}  # most that pay: more would spill
_PLANE_BLOCKS = {"float32": 2, "float16": 4, "bfloat16": 4}  # of a multiprocessor, likewise
_RESERVED_BYTES = 1024  # of shared memory for each block, by the driver


@dataclasses.dataclass(frozen=True)
class Gpu:
    """What is asked of a GPU: bytes of shared memory, and how many multiprocessors."""

    block_bytes: int  # that one block may have at most
    multiprocessor_bytes: int
    multiprocessors: int


@dataclasses.dataclass(frozen=True)
class Block:
    """One block of a kernel on a certain GPU."""

    macros: dict  # name -> value, for the compiler
    threads: int
    shared_bytes: int
    units: int  # strips (of one segment) that a block works on
    units_at_once: int  # on the whole GPU

    @property
    def register_limit(self):
        """Registers that a thread may have: a block's warps are charged in fours."""
        warps = 4 * math.ceil(self.threads / 128) * self.macros.get("BLOCKS", 1)
        return min(_MOST_REGISTERS, _REGISTERS // (32 * warps) // 8 * 8)


def training_block(precision, half_images, gpu):
    """Return the Block of the kernel train, for images as float16 or float32; None if none fits."""
    parts, image_parts = _parts(precision, half_images)
    activations = parts * (6 * 50 + 3 * 48 + 4 * 50) * _PIXEL_BYTES  # rows of h1, h2 and dh2
    strip_bytes = activations + 9 * 52 * 4 + 3 * 56 * 4 + image_parts * 8 * _ROW_BYTES
    weight_bytes = parts * 9 * 32 * 16
    strips = min(_STRIPS[precision], (gpu.block_bytes - weight_bytes) // strip_bytes)
    if strips < 1:
        return None
    beside = 3 if precision == "float32" else 1
    macros = _macros(precision, half_images)
    macros |= {"STRIPS": strips, "UNROLLED_TILES1": beside, "UNROLLED_TILES3": beside}
    shared_bytes = strips * strip_bytes + weight_bytes
    return Block(macros, 64 * strips, shared_bytes, strips, gpu.multiprocessors * strips)


def plane_block(precision, half_images, gpu):
    """Return the Block of the kernel denoise; None if none fits."""
    parts, image_parts = _parts(precision, half_images)
    warp_bytes = parts * 4 * 66 * _PIXEL_BYTES + 2 * 9 * 68 * 4 + image_parts * 4 * _ROW_BYTES
    shared_bytes = _PLANE_WARPS * warp_bytes
    if shared_bytes > gpu.block_bytes:
        return None
    fitting = gpu.multiprocessor_bytes // (shared_bytes + _RESERVED_BYTES)
    blocks = max(1, min(_PLANE_BLOCKS[precision], fitting))
    beside = 4 if precision == "float32" else 1
    macros = _macros(precision, half_images)
    macros |= {"WARPS": _PLANE_WARPS, "BLOCKS": blocks, "UNROLLED_TILES1": beside}
    at_once = gpu.multiprocessors * blocks * _PLANE_WARPS
    return Block(macros, 32 * _PLANE_WARPS, shared_bytes, _PLANE_WARPS, at_once)


@dataclasses.dataclass(frozen=True)
class Division:
    """How images are cut for the warps: strips of columns, and segments of rows of each."""

    strips: int
    segments: int
    rows: int  # of a segment
    units: int  # strips of a segment, of all images


def divide(count, height_px, width_px, strip_px, units_at_once, least_rows):
    """Return the Division of `count` images that gives a GPU one full round of work.

    A segment costs a few rows more than it has (the margins of three convolutions), so that it
    has `least_rows` at least.
    """
    strips = -(-width_px // strip_px)
    most = max(1, height_px // least_rows)
    segments = max(1, min(most, units_at_once // (count * strips)))
    return Division(strips, segments, -(-height_px // segments), count * strips * segments)


def _parts(precision, half_images):
    """Return how many 16-bit numbers a value and an image's pixel are."""
    split = precision == "float32"
    return 1 + split, 1 + (split and not half_images)


def _macros(precision, half_images):
    return {
        "SPLIT": int(precision == "float32"),
        "BFLOAT16": int(precision == "bfloat16"),
        "HALF_IMAGES": int(half_images),
    }
