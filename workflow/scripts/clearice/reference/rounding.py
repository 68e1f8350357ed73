"""Emulation of convolutions in a lower precision, in float32 arithmetic.

TF32 rounds the two operands of every product to 10 bits of mantissa and sums in float32;
bfloat16 (7 bits) and float16 (10 bits) store their results that short, too. float16's narrow
range of exponents is not emulated: it is what loss scaling is for.
"""

import torch
import torch.nn.functional as F

MANTISSA_BITS = {"tf32": 10, "bfloat16": 7, "float16": 10}
_ROUNDS_RESULTS = {"bfloat16", "float16"}


def round_mantissa(x, bits):
    """Return float32 `x` with `bits` explicit bits of mantissa, rounded to nearest even."""
    drop = 23 - bits
    pattern = x.contiguous().view(torch.int32)
    pattern = pattern + (1 << (drop - 1)) - 1 + ((pattern >> drop) & 1)
    return (pattern & -(1 << drop)).view(torch.float32)


class _RoundedConvolution(torch.autograd.Function):
    """Zero-padded 3 x 3 cross-correlation whose operands (and results) are rounded."""

    @staticmethod
    def forward(context, x, weight, bias, precision):
        bits = MANTISSA_BITS[precision]
        context.bits = bits
        context.result_bits = bits if precision in _ROUNDS_RESULTS else 23
        x, weight = round_mantissa(x, bits), round_mantissa(weight, bits)
        context.save_for_backward(x, weight)
        return _round(F.conv2d(x, weight, bias, padding=1), context.result_bits)

    @staticmethod
    def backward(context, delta):
        x, weight = context.saved_tensors
        short = round_mantissa(delta, context.bits)
        parts = (
            F.conv_transpose2d(short, weight, padding=1),
            torch.nn.grad.conv2d_weight(x, weight.shape, short, padding=1),
            delta.sum((0, 2, 3)),
        )
        return *(_round(part, context.result_bits) for part in parts), None


def _round(x, bits):
    return x if bits == 23 else round_mantissa(x, bits)


def rounded_convolution(precision):
    """Return a convolution(x, weight, bias) in that precision, for oracle.network."""
    return lambda x, weight, bias: _RoundedConvolution.apply(x, weight, bias, precision)
