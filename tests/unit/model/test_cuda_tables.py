"""Patch tables: what a row means, and that a turn by taps is the turn of the patch."""

import ctypes

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from clearice.errors import InputError
from clearice.model.engines.cuda_tables import patch_table, require_table, turned_tap
from clearice.model.epochs import SWAP, turned
from clearice.model.networks import build_network

CPU = torch.device("cpu")
CODES = range(8)


def turned_weight(weight, code):
    """Return a kernel (O, I, 3, 3) with its taps where the CUDA kernels put them."""
    taps = [turned_tap(tap, code) for tap in range(9)]
    return weight.flatten(2)[:, :, taps].view_as(weight)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network("simple_cnn").double()


@pytest.mark.parametrize("code", CODES)
def test_a_turn_of_the_taps_is_a_turn_of_the_patch(network, code):
    """f(T x; w) = T f(x; T^-1 w), for the whole network, and its error."""
    image, target = torch.randn(2, 1, 1, 12, 12, dtype=torch.float64)
    whole, turned_target = turned(image, target, [code])
    expected = network(whole)
    h = image
    for name in ("conv1", "conv2", "conv3"):
        layer = network.get_submodule(name)
        h = conv2d(h, turned_weight(layer.weight, code), layer.bias, padding=1)
        h = torch.relu(h) if name != "conv3" else h
    found, _ = turned(h, h, [code])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    error = (expected - turned_target).square().sum()
    torch.testing.assert_close((h - target).square().sum(), error)


@pytest.mark.parametrize("code", CODES)
def test_gradients_go_to_the_turned_taps(network, code):
    """The gradient at tap t of the patch as it lies is that of tap turned_tap(t) of the weights."""
    image, target = torch.randn(2, 1, 1, 12, 12, dtype=torch.float64)
    whole, turned_target = turned(image, target, [code])
    network.zero_grad()
    (network(whole) - turned_target).square().sum().backward()
    weights = [network.get_submodule(f"conv{i}").weight for i in (1, 2, 3)]
    leaves = [turned_weight(w, code).detach().requires_grad_() for w in weights]
    biases = [network.get_submodule(f"conv{i}").bias.detach() for i in (1, 2, 3)]
    h = image
    for i, (weight, bias) in enumerate(zip(leaves, biases, strict=True)):
        h = conv2d(h, weight, bias, padding=1)
        h = torch.relu(h) if i < 2 else h
    gradients = torch.autograd.grad((h - target).square().sum(), leaves)
    for weight, gradient in zip(weights, gradients, strict=True):
        back = torch.empty_like(weight).flatten(2)
        for tap in range(9):
            back[:, :, turned_tap(tap, code)] = gradient.flatten(2)[:, :, tap]
        torch.testing.assert_close(back.view_as(weight), weight.grad)


def test_every_turn_moves_every_tap_to_one_place():
    found = {tuple(turned_tap(tap, code) for tap in range(9)) for code in CODES}
    assert len(found) == 8
    assert all(sorted(taps) == list(range(9)) and taps[4] == 4 for taps in found)


def patch_at(address, stride, size_px, dtype):
    """Return what a kernel reads: size_px x size_px pixels from an address on."""
    item_bytes = np.dtype(dtype).itemsize
    count = (size_px - 1) * stride + size_px
    buffer = (ctypes.c_char * (count * item_bytes)).from_address(address)
    return np.lib.stride_tricks.as_strided(
        np.frombuffer(buffer, dtype), (size_px, size_px), (stride * item_bytes, item_bytes)
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_row_holds_addresses_of_first_pixels(dtype):
    inputs = [torch.randn(20, 30).to(dtype) for _ in range(2)]
    targets = [torch.randn(20, 30).to(dtype) for _ in range(2)]
    places, codes = [(3, 5), (11, 21)], [6, 3 | SWAP]
    table = patch_table(inputs, targets, places, codes)
    require_table(table, CPU)
    assert table[:, 2].tolist() == [30, 30]
    assert table[:, 3].tolist() == [6, 3]
    name = str(dtype).removeprefix("torch.")
    for row, image, target, (y, x), swap in zip(
        table.tolist(), inputs, targets, places, (False, True), strict=True
    ):
        sides = [side[y : y + 8, x : x + 8].numpy() for side in (image, target)]
        for address, expected in zip(row[:2], sides[::-1] if swap else sides, strict=True):
            assert np.array_equal(patch_at(address, row[2], 8, name), expected)


def test_what_is_no_table_is_refused():
    for wrong in (
        torch.zeros(3, 3, dtype=torch.int64),
        torch.zeros(3, 4),
        torch.zeros(4, 3, dtype=torch.int64).t(),
    ):
        with pytest.raises(InputError, match="not a patch table"):
            require_table(wrong, CPU)
    plane, other = torch.zeros(8, 8), torch.zeros(8, 16)[:, :8]
    with pytest.raises(InputError, match="differently"):
        patch_table([plane], [other], [(0, 0)], [0])
