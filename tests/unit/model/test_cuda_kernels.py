"""The CUDA kernels' own source, run on the CPU lane by lane (emulated_gpu.py), against float64.

What a GPU adds to this (its rounding of sums, its timing, its memory) is for tests/gpu.
"""

import numpy as np
import pytest
import torch

from clearice.model.epochs import SWAP
from clearice.model.networks import build_network
from clearice.reference.bundle import Bundle
from emulated_gpu import WEIGHTS, EmulatedKernels, compiler
from parity_bundle import write_small_bundle
from plane_tables import turned

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++")
# (precision, images are float16) -> bounds of the output's, error's and gradients' relative errors;
# the last of these is wide for 16 bits: of so few pixels, ReLUs that switch are seen.
BOUNDS = {
    ("float32", False): (2e-6, 1e-6, 5e-6),
    ("float32", True): (2e-6, 1e-6, 5e-6),
    ("float16", False): (4e-3, 2e-3, 5e-2),
    ("float16", True): (4e-3, 2e-3, 5e-2),
    ("bfloat16", False): (3e-2, 2e-2, 0.3),
}
VARIANTS = pytest.mark.parametrize("variant", BOUNDS, ids=lambda v: f"{v[0]}-{16 if v[1] else 32}")


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """A function from a variant to its EmulatedKernels; each is compiled once."""
    built = {}

    def get(variant):
        if variant not in built:
            folder = tmp_path_factory.mktemp("emulated")
            built[variant] = EmulatedKernels(folder, *variant)
        return built[variant]

    return get


def a_network(seed=0):
    torch.manual_seed(seed)
    return build_network("simple_cnn")


def in_every_order(kernels, compute):
    """Return what `compute` does, arrays, the same to the last bit in whatever order threads run.

    A GPU leaves the order of blocks and warps open: two that write one place may both be last.
    """
    first = compute()
    try:
        for kernels.order in (1, 2, 3):
            for found, expected in zip(compute(), first, strict=True):
                assert np.array_equal(found, expected, equal_nan=True), kernels.order
    finally:
        kernels.order = 0
    return first


def weights_of(network):
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()]).float().numpy()


def images(shape, seed=0):
    """Return two images (N, 1, H, W) whose values float16 holds, as float32 tensors."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, *shape, generator=generator).half().float()[:, :, None]


def exact_pass(network, image, target):
    """Return (output, sum of squared differences, its gradients times 1), in float64."""
    exact = build_network("simple_cnn").double()
    exact.load_state_dict(network.state_dict())
    output = exact(image.double())
    error = (output - target.double()).square().sum()
    error.backward()
    gradients = torch.cat([p.grad.reshape(-1) for p in exact.parameters()])
    return output.detach().numpy(), error.item(), gradients.numpy()


def relative(found, expected):
    return np.linalg.norm(np.ravel(found - expected)) / np.linalg.norm(np.ravel(expected))


def judge(variant, sums, output, exact):
    expected_output, error, gradients = exact
    found = {
        "output": 0.0 if output is None else relative(output, expected_output[:, 0]),
        "error": abs(sums[WEIGHTS] - error) / error,
        "gradients": relative(sums[:WEIGHTS], gradients),
    }
    print(variant, found)
    for (name, value), bound in zip(found.items(), BOUNDS[variant], strict=True):
        assert value <= bound, (name, found)


@VARIANTS
@pytest.mark.parametrize(("size", "segments"), [((2, 9, 47), 1), ((1, 17, 20), 2)])
def test_a_batch(kernels, variant, size, segments):
    network, (image, target) = a_network(), images(size)
    ours, weights = kernels(variant), weights_of(network)
    batch = tuple(side.numpy().astype(ours.dtype) for side in (image, target))

    def compute():
        output = np.full(size, np.nan, np.float32)
        return ours.sums(weights, size, batch=batch, output=output, segments=segments), output

    sums, output = in_every_order(ours, compute)
    judge(variant, sums, output, exact_pass(network, image, target))


def test_layers_can_be_looked_at(kernels):
    network, size = a_network(4), (2, 7, 51)
    image, target = images(size, seed=5)
    batch = tuple(side.numpy() for side in (image, target))
    variant, weights = ("float32", False), weights_of(network)
    ours = kernels(variant)

    def compute():
        layers = np.full((2, 2, 16, 7, 51), np.nan, np.float32)
        sums = ours.sums(weights, size, batch=batch, layers=layers, segments=2)
        return sums, layers

    sums, layers = in_every_order(ours, compute)
    judge(variant, sums, None, exact_pass(network, image, target))
    network.double()
    with torch.no_grad():
        first = network.conv1(image.double())
        second = network.conv2(torch.relu(first))
    for found, exact in zip((layers[:, 0], layers[:, 1]), (first, second), strict=True):
        assert relative(found, exact.numpy()) < 2e-6


def test_losses_are_well_within_the_tolerances_of_the_parity_check(kernels, tmp_path):
    """Of an impulse, whose few large outputs show what long sums on tensor cores lose."""
    write_small_bundle(tmp_path / "bundle")
    bundle = Bundle(tmp_path / "bundle")
    names = [f"conv{n}_{part}" for n in (1, 2, 3) for part in ("weight", "bias")]
    weights = np.concatenate([bundle.tensor(name).ravel() for name in names], dtype=np.float32)
    for case, facts in bundle.manifest["cases"].items():
        sides = [bundle.tensor(f"{case}_{side}") for side in ("input", "target")]
        batch = tuple(np.ascontiguousarray(side, np.float32) for side in sides)
        count, _, height, width = facts["shape"]
        sums = kernels(("float32", False)).sums(weights, (count, height, width), batch=batch)
        difference = abs(sums[WEIGHTS] / batch[0].size - facts["loss"]["float32"])
        print(case, difference)
        assert difference < 0.5 * facts["loss"]["tolerance"]["float32"], case


@pytest.mark.parametrize("variant", [("float32", True), ("float32", False)])
def test_patches_by_address_in_every_turn(kernels, variant):
    """Eight patches of two planes, at odd places, in all turns, some with their sides swapped."""
    network, ours, size = a_network(1), kernels(variant), 9
    planes = [side[:, 0].numpy().astype(ours.dtype) for side in images((2, 17, 23), seed=1)]
    codes = [code + SWAP * (code in (2, 5)) for code in range(8)]
    rows, pairs = [], []
    for i, code in enumerate(codes):
        y, x, number = i, (5 * i) % 14, i % 2
        cut = [side[number, y : y + size, x : x + size].astype(np.float32) for side in planes]
        pairs.append([torch.from_numpy(side.copy())[None] for side in cut])
        places = [side[number, y:, x:].ctypes.data for side in planes]
        rows.append([*(places[::-1] if code & SWAP else places), 23, code % SWAP])
    sides = [torch.stack(side) for side in zip(*pairs, strict=True)]
    image, target = turned(*sides, codes)
    table = np.array(rows, np.int64)
    sums = ours.sums(weights_of(network), (8, size, size), table=table)
    judge(variant, sums, None, exact_pass(network, image, target))


@pytest.mark.parametrize("variant", [("float32", False), ("float16", False), ("float16", True)])
def test_nothing_infinite_is_hidden(kernels, variant):
    """Conv1 overflows and conv2's negative weights would make 0 of it; so would a single pixel."""
    size, ours = (1, 6, 12), kernels(variant)
    image, target = images(size)
    network = a_network()
    pair = [side.numpy().astype(ours.dtype) for side in (image, target)]
    assert np.isfinite(ours.sums(weights_of(network), size, batch=pair)).all()
    with torch.no_grad():
        network.conv1.bias.fill_(1e5)
        network.conv2.weight.copy_(-network.conv2.weight.abs())
    assert np.isnan(ours.sums(weights_of(network), size, batch=pair)[WEIGHTS])
    network = a_network()
    with torch.no_grad():
        network.conv1.weight.copy_(-network.conv1.weight.abs())
    with np.errstate(over="ignore"):
        pair[0][0, 0, 3, 3] = 7e4
    assert np.isnan(ours.sums(weights_of(network), size, batch=pair)[WEIGHTS])


@VARIANTS
def test_a_plane(kernels, variant):
    network, (image, _) = a_network(2), images((1, 13, 67), seed=3)
    ours, weights = kernels(variant), weights_of(network)
    plane = image[0, 0].numpy().astype(ours.dtype)
    (found,) = in_every_order(ours, lambda: [ours.denoise(plane[:, 2:], weights, 2.0, -3.0)])
    exact = exact_pass(network, image[..., 2:], image[..., 2:])[0][0, 0]
    assert relative((found + 3) / 2, exact) <= BOUNDS[variant][0]


def test_adam_and_sgd_are_pytorchs_and_stop_at_what_is_not_finite(kernels):
    ours, random = kernels(("float32", False)), np.random.default_rng(0)
    for kind, optimizer in ((1, torch.optim.Adam), (2, torch.optim.SGD)):
        weights = random.standard_normal(WEIGHTS).astype(np.float32)
        means, squares = np.zeros((2, WEIGHTS), np.float32)
        steps, stopped = np.zeros(1, np.float32), np.zeros(1, np.int32)
        leaf = torch.tensor(weights.astype(np.float64), requires_grad=True)
        exact = optimizer([leaf], lr=0.01)
        state = (weights, means, squares, steps, stopped)
        for _ in range(5):
            sums = random.standard_normal(WEIGHTS + 1).astype(np.float32)
            assert ours.take_step(sums, *state, kind, 0.01) == sums[WEIGHTS] / 2
            leaf.grad = torch.tensor(sums[:WEIGHTS].astype(np.float64))
            exact.step()
        np.testing.assert_allclose(weights, leaf.detach().numpy(), rtol=2e-6, atol=2e-6)
        assert steps[0] == (5 if kind == 1 else 0)
        before = [part.copy() for part in state[:4]]
        bad = sums.copy()
        bad[1234] = np.inf
        assert np.isnan(ours.take_step(bad, weights, means, squares, steps, stopped, 0, 0.01))
        assert not stopped[0], "an evaluation stops nothing"
        for some in (bad, sums):  # the second is good, but comes too late
            assert np.isnan(ours.take_step(some, *state, kind, 0.01))
            assert stopped[0] == 1
            for now, then in zip(state[:4], before, strict=True):
                assert np.array_equal(now, then)
