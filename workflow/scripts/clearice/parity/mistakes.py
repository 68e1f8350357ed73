"""The usual mistakes, as functions that make them: what a wrong implementation would have got.

Each yields (words, values); the diagnosis takes the one that agrees with what was found.
"""

import numpy as np

from clearice.parity.numpy_network import correlate, input_gradient, round_mantissa, weight_gradient

SHIFTS = {(-1, 0): "up", (1, 0): "down", (0, -1): "left", (0, 1): "right"}
_DIAGONALS = {
    (a, b): f"{up} and to the {side}"
    for (a, _), up in list(SHIFTS.items())[:2]
    for (_, b), side in list(SHIFTS.items())[2:]
}


def kernel_mistakes(weight):
    """Yield (words, weight) for kernels (O, C, 3, 3) that are stored, read or applied wrongly."""
    out_in, shape = weight.transpose(1, 0, 2, 3), weight.shape
    yield "the kernel is flipped: a true convolution, not a cross-correlation", _flip(weight)
    yield "the kernel's rows and columns are exchanged", weight.transpose(0, 1, 3, 2)
    yield "the kernel is flipped up-down", weight[:, :, ::-1]
    yield "the kernel is flipped left-right", weight[:, :, :, ::-1]
    if shape[0] == shape[1]:
        yield "input and output channels of the kernel are exchanged", out_in
        words = "input and output channels of the kernel are exchanged and it is flipped"
        yield words, _flip(out_in)
    yield (
        "the kernel is read in the other memory order (C for Fortran or back)",
        weight.ravel().reshape(shape, order="F"),
    )
    yield (
        "the kernel is read as (ky, kx, in, out)",
        weight.ravel().reshape(3, 3, shape[1], shape[0]).transpose(3, 2, 0, 1),
    )


def convolution_mistakes(x, weight, bias, right):
    """Yield (words, values) for a convolution of x (N, C, H, W); `right` is what it should be."""
    for words, wrong in kernel_mistakes(weight):
        yield words, correlate(x, wrong, bias)
    yield "the bias is missing", right - bias[:, None, None]
    yield "the bias is added twice", right + bias[:, None, None]
    for words, wrong in kernel_mistakes(weight):
        yield f"{words}, and the bias is missing", correlate(x, wrong, 0 * bias)
    for (dy, dx), words in (SHIFTS | _DIAGONALS).items():
        yield (
            f"the image is shifted {words} by one pixel: padding on one side",
            _shift(right, dy, dx),
        )
        moved = correlate(_shift(x, dy, dx), weight, bias)
        yield f"the image is shifted {words} by one pixel: padding on one side", moved
    for mode, words in (("edge", "repeated"), ("reflect", "mirrored"), ("wrap", "wrapped around")):
        yield f"the border is {words}, not padded with zeros", correlate(x, weight, bias, mode)
    yield "it is twice what it should be: a result is added to an old one", 2 * right
    yield "height and width are exchanged when the input is read", _transposed(x, weight, bias)
    yield from _rounded(x, weight, bias)


def clipped_inputs(x, weight, bias):
    """Yield (words, values) for a first convolution whose input is cut to a range."""
    for limit in (1, 3, 5, 6, 10):
        words = f"the input is cut to {-limit} ... {limit}"
        yield words, correlate(np.clip(x, -limit, limit), weight, bias)


def _rounded(x, weight, bias):
    for bits, words in ((10, "TF32"), (7, "bfloat16")):
        rounded = correlate(
            round_mantissa(x, bits).astype(np.float64), round_mantissa(weight, bits), bias
        )
        operands = f"the operands are rounded to {bits} bits of mantissa: {words} arithmetic"
        yield operands, rounded
        if bits == 10:
            operands = operands.replace("TF32", "float16")
        yield f"{operands}, as the results are", round_mantissa(rounded, bits).astype(np.float64)


def activation_mistakes(z):
    """Yield (words, values) for a ReLU of z."""
    yield "the ReLU is missing", z
    yield "it is the absolute value, not a ReLU", np.abs(z)
    for slope in (0.01, 0.1, 0.2):
        yield f"it is a leaky ReLU of slope {slope}", np.where(z > 0, z, slope * z)
    yield "the ReLU has the wrong sign", np.minimum(z, 0)
    yield "large values are cut off at 6: a ReLU6", np.clip(z, 0, 6)


def loss_mistakes(shape, loss, residual):
    """Yield (words, value) for a loss of a case of shape (N, C, H, W)."""
    n, _, height, width = shape
    count = n * height * width
    yield "the sum of squares is not divided at all", loss * count
    yield "the sum of squares is divided by the batch size, not by N*C*H*W", loss * count / n
    yield "it is half of what it should be: the loss has no factor 1/2", loss / 2
    yield "it is divided by N*H only", loss * width
    yield "it is divided by N*W only", loss * height
    yield "it is divided by H*W, not by N*C*H*W", loss * n
    yield "it is the root of the mean square", loss**0.5
    yield "it is the mean absolute error, not the mean square", float(np.abs(residual).mean())


def running_losses(sums, loss, count):
    """Yield (words, value) for a loss that still has those before in it; `sums` keeps them.

    `count` is the number of squares whose mean the loss is.
    """
    sums["losses"] = sums.get("losses", 0.0) + loss
    sums["squares"] = sums.get("squares", 0.0) + loss * count
    yield "the losses of the cases before are still in it: set the sum to zero", sums["losses"]
    yield (
        "the squares of the cases before are still in it: set the sum to zero",
        sums["squares"] / count,
    )


def factor_words(factor, shape):
    """Say what a factor on gradients of a case of shape (N, C, H, W) comes from, or None."""
    n, _, height, width = shape
    known = {
        -1.0: "the sign is wrong",
        0.5: "the factor 2 of the square's derivative is missing",
        2.0: "there is a factor 2 too many",
        float(n): f"they are not divided by the batch size N = {n}",
        1.0 / n: f"they are divided by the batch size N = {n} once more",
        float(height * width): "they are divided by the batch size, not by N*C*H*W",
        float(n * height * width): "they are not divided by N*C*H*W",
        1.0 / (height * width): "they are averaged over the pixels, not summed",
        1.0 / (n * height * width): "they are averaged over samples and pixels, not summed",
        float(width): "they are divided by N*H only",
        float(height): "they are divided by N*W only",
    }
    for value, words in known.items():
        if abs(factor / value - 1) < 1e-3:
            return words
    return None


def gradient_mistakes(name, x, result, delta, right):
    """Yield (words, values) for gradients of one layer's weight or bias.

    `x` and `result` are the layer's input and activated output, `delta` (N, O, H, W) is d loss /
    d (what comes out of the layer before its ReLU).
    """
    if name.endswith("bias"):
        yield "only the first sample is summed", delta[:1].sum((0, 2, 3))
        yield "the sum leaves out the last row of pixels", delta[:, :, :-1].sum((0, 2, 3))
        return
    yield "its rows and columns are exchanged", right.transpose(0, 1, 3, 2)
    yield "it is flipped", _flip(right)
    if right.shape[0] == right.shape[1]:
        yield "its input and output channels are exchanged", right.transpose(1, 0, 2, 3)
        yield "the layer's input and delta are exchanged in it", _flip(right.transpose(1, 0, 2, 3))
    yield "only the first sample is summed", weight_gradient(x[:1], delta[:1])
    if result.shape == x.shape:
        yield "it is taken with the layer's output, not its input", weight_gradient(result, delta)


def delta_mistakes(weight, above, masks, own):
    """Yield (words, delta) for the derivative that a layer passes to the one below.

    `weight` is the upper layer's, `above` the delta there, `masks` {layer: pre-activation}, `own`
    the name of the layer below.
    """
    right = input_gradient(weight, above)
    mask = masks[own] > 0
    yield "the derivative of the ReLU is missing", right
    for other, z in masks.items():
        if other != own and z.shape == right.shape:
            yield f"the derivative of the ReLU is that of {other}", right * (z > 0)
    flipped = np.ascontiguousarray(_flip(weight))
    words = "is not flipped when the derivative is passed down"
    yield f"the kernel of the layer above {words}", input_gradient(flipped, above) * mask
    if weight.shape[0] == weight.shape[1]:
        exchanged = input_gradient(weight.transpose(1, 0, 2, 3), above) * mask
        yield "channels are exchanged when the derivative is passed down", exchanged


def _flip(weight):
    return weight[:, :, ::-1, ::-1]


def _shift(x, dy, dx):
    """Move images down by dy and to the right by dx, zeros behind."""
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return padded[:, :, 1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]


def _transposed(x, weight, bias):
    """Read the memory of x as (N, C, W, H)."""
    n, c, height, width = x.shape
    out = correlate(x.reshape(n, c, width, height), weight, bias)
    return out.reshape(n, len(weight), height, width)
