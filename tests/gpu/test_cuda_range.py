"""The ends of the CUDA engine's range: what float16 cannot hold, and what vanishes in it."""

import copy

import pytest
import torch

from clearice.model.device import set_precision
from clearice.model.engines.cuda_cnn import CudaCNN
from clearice.model.optimization import Optimization
from exact_network import (
    GPU,
    a_batch,
    a_network,
    all_gradients_error,
    exact_pass,
    gradient_errors,
    relative,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
LIMITED = pytest.mark.parametrize("precision", ["float32", "float16"])


def an_optimization(network, precision, engine="cuda", optimizer="adam", rate=0.01):
    return Optimization(
        network, GPU, optimizer=optimizer, learning_rate=rate, precision=precision, engine=engine
    )


@pytest.fixture(autouse=True)
def arithmetic():
    """Leave the process's arithmetic as the other tests expect it."""
    yield
    set_precision("float32")


@torch.no_grad()
def with_activations_up_to(limit, network, image):
    """Scale conv1 and conv2 so that the largest activation of each is `limit`, in float64."""
    network.double()
    h = image.double()
    for layer in (network.conv1, network.conv2):
        scale = limit / torch.relu(layer(h)).max()
        layer.weight *= scale
        layer.bias *= scale
        h = torch.relu(layer(h))
    network.float()


def test_activations_near_65504_are_exact():
    """Differences from the target are a hundredth of the output: they lose two digits of it."""
    network = a_network(1)
    image = 1e4 * a_batch((2, 75, 131), seed=1)[0]
    with_activations_up_to(65400, network, image)
    assert image.abs().max() < 65504
    exact = network.double()(image.double()).detach()
    network.float()
    target = (exact + 100 * torch.randn_like(exact)).float()
    expected = exact_pass(network, image, target)
    engine = CudaCNN(network, "float32")
    error = relative(engine.output(image), exact)
    loss = float(engine.error_and_gradients(image, target, image.numel())) / image.numel()
    gradients = all_gradients_error(network, expected[2])
    print(f"output {error:.2e}, loss {loss} of {expected[1]}, gradients {gradients}")
    assert error < 2e-6
    assert loss == pytest.approx(expected[1], rel=1e-4)
    assert max(gradients) < 2e-3


@pytest.mark.parametrize("magnitude", [1e-3, 1e-5, 1e-8])
def test_small_values_lose_no_more_than_half_of_float16s_least_number(magnitude):
    """An operand is off by 3e-8 at most; what is below that is 0."""
    network = a_network(2)
    with torch.no_grad():
        for layer in (network.conv1, network.conv2, network.conv3):
            layer.bias.zero_()
    image, target = (magnitude * side for side in a_batch((2, 75, 131), seed=2))
    exact, loss, gradients = exact_pass(network, image, target)
    engine = CudaCNN(network, "float32")
    difference = float((engine.output(image).double() - exact).abs().max())
    found = float(engine.error_and_gradients(image, target, image.numel())) / image.numel()
    worst = gradient_errors(network, gradients)
    print(
        f"output {difference:.2e} of {float(exact.abs().max()):.2e}, "
        f"loss {found} of {loss}, gradients {worst}"
    )
    assert difference < 3e-7
    assert found == pytest.approx(loss, rel=1e-3, abs=1e-13)
    assert worst[1] < 1e-7 * max(1.0, magnitude / 1e-3)


def hidden_overflow():
    """Return (network, image): conv1 overflows, conv2's negative weights would hide it."""
    network = a_network(3)
    image, _ = a_batch((2, 75, 131), seed=3)
    with torch.no_grad():
        network.conv1.bias.fill_(1e5)
        network.conv2.weight.copy_(-network.conv2.weight.abs())
    return network, image


@LIMITED
def test_an_overflow_is_never_hidden(precision):
    network, image = hidden_overflow()
    engine = CudaCNN(network, precision)
    assert engine.squared_error(image, image).isnan()
    assert engine.error_and_gradients(image, image, image.numel()).isnan()
    assert engine.output(image).isnan().any()
    plane = torch.zeros(75, 131, device=GPU)
    engine.denoise_plane(image[0, 0], plane)
    assert plane.isnan().all()


@LIMITED
@pytest.mark.parametrize("value", [7e4, -7e4, float("inf"), float("nan")])
def test_an_image_beyond_the_range_is_never_hidden(precision, value):
    """Conv1's weights are such that relu would make a 0 of it."""
    network = a_network(3)
    image, target = a_batch((2, 75, 131), seed=3)
    with torch.no_grad():
        network.conv1.weight.copy_(network.conv1.weight.abs() * (-1 if value > 0 else 1))
    image[1, 0, 40, 70] = value
    engine = CudaCNN(network, precision)
    assert engine.error_and_gradients(image, target, image.numel()).isnan()
    if torch.tensor(value).half().isinf():
        plane, output = image[1, 0].half(), torch.zeros(75, 131, device=GPU)
        engine.denoise_plane(plane, output)
        assert output[37:44, 67:74].isnan().all()


def test_bfloat16_has_the_range():
    network, image = hidden_overflow()
    assert CudaCNN(network, "bfloat16").squared_error(image, image).isfinite()


@LIMITED
def test_only_what_an_overflow_touches_is_nan_in_a_plane(precision):
    network = a_network(4)
    image = a_batch((1, 200, 300), seed=4)[0][0, 0]
    expected = exact_pass(network, image[None, None], image[None, None])[0][0, 0]
    image[100, 150] = 1e6
    output = torch.zeros_like(image)
    CudaCNN(network, precision, images=None).denoise_plane(image, output)
    touched = torch.zeros_like(image, dtype=torch.bool)
    touched[97:104, 147:154] = True
    assert output[touched].isnan().all()
    difference = float((output - expected)[~touched].abs().max())
    print(f"{precision}: elsewhere {difference:.2e}")
    assert difference < (1e-5 if precision == "float32" else 2e-2)


@LIMITED
@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 0.01), ("sgd", 1e-6)])
def test_a_step_beyond_the_range_changes_nothing_and_pytorch_goes_on(precision, optimizer, rate):
    """From there the course is PyTorch's own. (SGD at 0.01 would not survive such a pixel.)"""
    set_precision(precision)
    ours = an_optimization(a_network(5), precision, optimizer=optimizer, rate=rate)
    pairs = [a_batch((2, 64, 64), seed=10 + i) for i in range(6)]
    pairs[3][0][0, 0, 5, 5] = 1e5

    def take(optimization, numbers):
        losses = (optimization.step(*pairs[i], pairs[i][0].numel())[0] for i in numbers)
        return torch.tensor([float(loss) for loss in losses])

    def flat():
        return torch.cat([p.detach().reshape(-1) for p in ours.network.parameters()])

    assert take(ours, range(3)).isfinite().all()
    before = flat().clone()
    late = take(ours, (3, 4, 5))
    assert late.isnan().all(), late
    assert torch.equal(flat(), before)
    theirs = an_optimization(a_network(6), precision, "pytorch", optimizer, rate)
    theirs.restore(copy.deepcopy(ours.state()))
    assert ours.fall_back()
    assert ours.engine.name == "pytorch"
    assert torch.equal(flat(), before)
    repeated, expected = take(ours, (3, 4, 5)), take(theirs, (3, 4, 5))
    print(f"{precision} {optimizer}: {repeated.tolist()}, PyTorch's {expected.tolist()}")
    torch.testing.assert_close(repeated, expected, rtol=1e-3, atol=0, equal_nan=True)
    if precision == "float32":
        assert repeated.isfinite().all(), repeated
        assert repeated[0] > 100, "the pixel is in the loss"
