"""How much of a GPU the CUDA kernels' blocks take, on GPUs that are not here."""

import pytest

from clearice.model.engines.cuda_blocks import (
    PRECISIONS,
    STRIP_PX,
    Gpu,
    divide,
    plane_block,
    training_block,
)

KIB = 1024
HOPPER = Gpu(227 * KIB, 228 * KIB, 132)
A100 = Gpu(163 * KIB, 164 * KIB, 108)
GAMING = Gpu(99 * KIB, 100 * KIB, 128)
GPUS = [HOPPER, A100, GAMING]


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("half_images", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_block_fits_into_every_gpu(precision, half_images, gpu):
    for block in (
        training_block(precision, half_images, gpu),
        plane_block(precision, half_images, gpu),
    ):
        assert 0 < block.shared_bytes <= gpu.block_bytes
        blocks = block.macros.get("BLOCKS", 1)
        assert blocks == 1 or blocks * (block.shared_bytes + KIB) <= gpu.multiprocessor_bytes
        assert block.threads <= 1024
        assert block.threads % 32 == 0
        assert block.units_at_once == blocks * block.units * gpu.multiprocessors
        assert 32 <= block.register_limit <= 255
        warps = -(-block.threads // 128) * 4 * blocks
        assert warps * 32 * block.register_limit <= 65536


@pytest.mark.parametrize(
    ("precision", "half_images", "strips"),
    [
        ("float32", False, (4, 3, 1)),
        ("float32", True, (4, 3, 2)),
        ("float16", False, (6, 6, 3)),
        ("bfloat16", True, (6, 6, 3)),
    ],
)
def test_strips_follow_the_shared_memory(precision, half_images, strips):
    found = [training_block(precision, half_images, gpu).macros["STRIPS"] for gpu in GPUS]
    assert tuple(found) == strips


def test_the_figures_that_were_measured():
    """On an H100: 151 KB and 168 registers for float16, 189 KB and 255 for float32."""
    half = training_block("float16", True, HOPPER)
    assert (half.shared_bytes, half.register_limit) == (151200, 168)
    assert training_block("float32", True, HOPPER).shared_bytes == 189376
    assert training_block("float32", False, HOPPER).register_limit == 255


def test_a_gpu_with_too_little_memory_has_no_block():
    assert training_block("float32", False, Gpu(48 * KIB, 64 * KIB, 20)) is None
    assert plane_block("float32", False, Gpu(48 * KIB, 64 * KIB, 20)) is None


@pytest.mark.parametrize(
    "size", [(4, 1024, 1024), (4, 333, 333), (3, 75, 131), (1, 1, 1), (2, 16, 44)]
)
def test_every_pixel_is_in_one_strip_of_one_segment(size):
    count, height, width = size
    parts = divide(*size, STRIP_PX, 528, 16)
    assert parts.strips * STRIP_PX >= width > (parts.strips - 1) * STRIP_PX
    assert parts.segments * parts.rows >= height
    assert parts.units == count * parts.strips * parts.segments
    assert parts.segments == 1 or parts.rows >= 16


def test_a_batch_is_one_round_of_an_h100():
    block = training_block("float32", True, HOPPER)
    parts = divide(4, 1024, 1024, STRIP_PX, block.units_at_once, 16)
    assert (parts.strips, parts.segments, parts.units) == (24, 5, 480)
    assert parts.units <= block.units_at_once
