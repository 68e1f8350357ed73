"""The Triton kernels of triton_cnn.py: tiles of BLOCK pixels in a row of an image, 16 channels.

x and d are (N, H, W) float32, h1, h2 and g2 (N, H, W, 16); weights are 16 x 16 matrices, for
3 x 3 taps one after the other, in the dtype of h1. Sums lie program by program.
"""

import triton
import triton.language as tl


@triton.jit
def _place(tile, height, width, BLOCK: tl.constexpr):
    """Return (row of the batch's rows, its y, columns) of a tile: BLOCK pixels of one row.

    Tiles go down the image first, so that a program finds its neighbours' rows in the cache.
    """
    blocks = tl.cdiv(width, BLOCK)
    y = tile % height
    column = (tile // height) % blocks
    row = (tile // height // blocks) * height + y
    return row, y, column * BLOCK + tl.arange(0, BLOCK)


@triton.jit
def _channels(base, row, y, columns, height, width, dy: tl.constexpr, dx: tl.constexpr):
    """Return the (BLOCK, 16) channels of the pixels at (y + dy, columns + dx), zero outside."""
    inside = (columns + dx >= 0) & (columns + dx < width) & (y + dy >= 0) & (y + dy < height)
    pixels = (row + dy).to(tl.int64) * width + columns + dx
    places = base + pixels[:, None] * 16 + tl.arange(0, 16)[None, :]
    return tl.load(places, mask=inside[:, None], other=0.0)


@triton.jit
def _neighbours(base, row, y, columns, height, width, sign: tl.constexpr):
    """Return (BLOCK, 16): column t < 9 is the image at sign * (t // 3 - 1, t % 3 - 1) from each."""
    t = tl.arange(0, 16)
    dy, dx = sign * (t // 3 - 1), sign * (t % 3 - 1)
    rows, across = y + dy, columns[:, None] + dx[None, :]
    inside = (across >= 0) & (across < width) & ((t < 9) & (rows >= 0) & (rows < height))[None, :]
    places = base + (row + dy).to(tl.int64)[None, :] * width + across
    return tl.load(places, mask=inside, other=0.0)


@triton.jit
def _store_channels(base, row, columns, width, values):
    """Store (BLOCK, 16) channels of the pixels of a row."""
    pixels = row.to(tl.int64) * width + columns
    places = base + pixels[:, None] * 16 + tl.arange(0, 16)[None, :]
    tl.store(places, values.to(base.dtype.element_ty), mask=(columns < width)[:, None])


@triton.jit
def _square(base):
    """Return a 16 x 16 matrix that lies at `base`."""
    return tl.load(base + tl.arange(0, 16)[:, None] * 16 + tl.arange(0, 16)[None, :])


@triton.jit
def first(x, w1, b1, h1, height, width, BLOCK: tl.constexpr, DOT: tl.constexpr):
    row, y, columns = _place(tl.program_id(0), height, width, BLOCK)
    image = _neighbours(x, row, y, columns, height, width, 1).to(w1.dtype.element_ty)
    out = tl.dot(image, _square(w1), input_precision=DOT) + tl.load(b1 + tl.arange(0, 16))[None, :]
    _store_channels(h1, row, columns, width, tl.maximum(out, 0.0))


@triton.jit
def second(h1, w2, b2, h2, height, width, BLOCK: tl.constexpr, DOT: tl.constexpr):
    row, y, columns = _place(tl.program_id(0), height, width, BLOCK)
    out = tl.zeros((BLOCK, 16), tl.float32)
    for t in tl.static_range(9):
        a = _channels(h1, row, y, columns, height, width, t // 3 - 1, t % 3 - 1)
        out = tl.dot(a, _square(w2 + t * 256), out, input_precision=DOT)
    out += tl.load(b2 + tl.arange(0, 16))[None, :]
    _store_channels(h2, row, columns, width, tl.maximum(out, 0.0))


@triton.jit
def third(h2, w3, b3, target, d, sums, height, width, BLOCK: tl.constexpr):
    row, y, columns = _place(tl.program_id(0), height, width, BLOCK)
    out = tl.zeros((BLOCK,), tl.float32) + tl.load(b3)
    for t in tl.static_range(9):
        a = _channels(h2, row, y, columns, height, width, t // 3 - 1, t % 3 - 1)
        w = tl.load(w3 + t * 16 + tl.arange(0, 16)).to(tl.float32)
        out += tl.sum(a.to(tl.float32) * w[None, :], axis=1)
    places, inside = row.to(tl.int64) * width + columns, columns < width
    difference = out - tl.load(target + places, mask=inside, other=0.0)
    tl.store(d + places, difference, mask=inside)
    difference = tl.where(inside, difference, 0.0)
    tl.store(sums + tl.program_id(0), tl.sum(difference * difference, axis=0))


@triton.jit
def back3(d, h2, w3, g2, sums, tiles, height, width, BLOCK: tl.constexpr, DOT: tl.constexpr):
    grad_w3, grad_b3 = tl.zeros((16, 16), tl.float32), tl.zeros((16,), tl.float32)
    w = _square(w3)
    share = tl.cdiv(tiles, tl.num_programs(0))
    first = tl.program_id(0) * share
    for tile in range(first, tl.minimum(first + share, tiles)):
        row, y, columns = _place(tile, height, width, BLOCK)
        near = _neighbours(d, row, y, columns, height, width, -1)  # (BLOCK, 16 taps)
        near = tl.where((columns < width)[:, None], near, 0.0)
        grad_b3 += tl.sum(near, axis=0)  # that of the middle tap is meant
        near = near.to(w3.dtype.element_ty)
        h = _channels(h2, row, y, columns, height, width, 0, 0)
        g = tl.where(h > 0, tl.dot(near, w, input_precision=DOT), 0.0)
        _store_channels(g2, row, columns, width, g)
        grad_w3 = tl.dot(tl.trans(near), h, grad_w3, input_precision=DOT)  # (taps, channels)
    base = sums + tl.program_id(0) * 272
    t = tl.arange(0, 16)
    tl.store(base + t[:, None] * 16 + t[None, :], grad_w3)
    tl.store(base + 256 + t, grad_b3)


@triton.jit
def back2(x, h1, g2, w2, sums, tiles, height, width, BLOCK: tl.constexpr, DOT: tl.constexpr):
    grad_w1, zeros = tl.zeros((16, 16), tl.float32), tl.zeros((16,), tl.float32)
    grad_b1, grad_b2 = zeros, zeros
    share = tl.cdiv(tiles, tl.num_programs(0))
    first = tl.program_id(0) * share
    for tile in range(first, tl.minimum(first + share, tiles)):
        row, y, columns = _place(tile, height, width, BLOCK)
        out = tl.zeros((BLOCK, 16), tl.float32)
        for t in tl.static_range(9):  # h1 reached conv2's output at minus the tap
            g = _channels(g2, row, y, columns, height, width, 1 - t // 3, 1 - t % 3)
            out = tl.dot(g, _square(w2 + t * 256), out, input_precision=DOT)
            if t == 4:
                grad_b2 += tl.sum(g.to(tl.float32), axis=0)
        h = _channels(h1, row, y, columns, height, width, 0, 0)
        out = tl.where(h > 0, out, 0.0)  # the gradient at conv1's output
        grad_b1 += tl.sum(out, axis=0)
        near = _neighbours(x, row, y, columns, height, width, 1).to(w2.dtype.element_ty)
        out = out.to(w2.dtype.element_ty)
        grad_w1 = tl.dot(tl.trans(near), out, grad_w1, input_precision=DOT)  # (taps, channels)
    base, t = sums + tl.program_id(0) * 288, tl.arange(0, 16)
    tl.store(base + t[:, None] * 16 + t[None, :], grad_w1)
    tl.store(base + 256 + t, grad_b1)
    tl.store(base + 272 + t, grad_b2)


@triton.jit
def _three(base, row, y, columns, height, width, dy: tl.constexpr):
    """Return (BLOCK, 64): the channels of three pixels beside each other in row y + dy, and zeros.

    They are 48 values in a row of memory, from the pixel to the left on.
    """
    k = tl.arange(0, 64)
    across = columns[:, None] - 1 + k[None, :] // 16
    inside = (across >= 0) & (across < width) & (k < 48)[None, :]
    inside = inside & (columns < width)[:, None] & (y + dy >= 0) & (y + dy < height)
    pixels = (row + dy).to(tl.int64) * width + columns - 1
    return tl.load(base + pixels[:, None] * 16 + k[None, :], mask=inside, other=0.0)


@triton.jit
def weights2(h1, g2, sums, tiles, height, width, BLOCK: tl.constexpr, DOT: tl.constexpr):
    zeros = tl.zeros((64, 16), tl.float32)  # (3 pixels x out, in)
    above, beside, below = zeros, zeros, zeros
    share = tl.cdiv(tiles, tl.num_programs(0))
    first = tl.program_id(0) * share
    for tile in range(first, tl.minimum(first + share, tiles)):
        row, y, columns = _place(tile, height, width, BLOCK)
        h = _channels(h1, row, y, columns, height, width, 0, 0)
        g = tl.trans(_three(g2, row, y, columns, height, width, -1))  # (64, BLOCK)
        above = tl.dot(g, h, above, input_precision=DOT)
        g = tl.trans(_three(g2, row, y, columns, height, width, 0))
        beside = tl.dot(g, h, beside, input_precision=DOT)
        g = tl.trans(_three(g2, row, y, columns, height, width, 1))
        below = tl.dot(g, h, below, input_precision=DOT)
    base = sums + tl.program_id(0) * 3072
    places = base + tl.arange(0, 64)[:, None] * 16 + tl.arange(0, 16)[None, :]
    tl.store(places, above)
    tl.store(places + 1024, beside)
    tl.store(places + 2048, below)
