"""Steps of the CUDA engine against float64, and what a training makes of them."""

import io
import subprocess
import sys

import pytest
import torch

from clearice.model.device import set_precision
from clearice.model.engines.choice import fastest_engine
from clearice.model.engines.cuda_cnn import CudaCNN
from clearice.model.networks import build_network
from clearice.model.optimization import Optimization
from exact_network import GPU, a_batch, a_network
from plane_tables import table_of
from training_data import assert_same_weights, train, write_dataset

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
OPTIMIZERS = pytest.mark.parametrize("optimizer", ["adam", "sgd"])
STEPS = 20
# Greatest differences of a loss curve (relative) and of weights (absolute) after STEPS steps.
BOUNDS = {"float32": (2e-5, 5e-5), "float16": (2e-2, 5e-2), "bfloat16": (5e-2, 1e-1)}


def an_optimization(network, optimizer, precision="float32", engine="cuda", device=GPU):
    return Optimization(
        network,
        device,
        optimizer=optimizer,
        learning_rate=0.01,
        precision=precision,
        engine=engine,
    )


def flat(network):
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()])


def exact_curve(network, optimizer, pairs):
    """Return (losses, weights) of the same steps in float64."""
    exact = build_network("simple_cnn").to(GPU).double()
    exact.load_state_dict(network.state_dict())
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer]
    stepper, losses = kind(exact.parameters(), lr=0.01), []
    for image, target in pairs:
        stepper.zero_grad()
        loss = (exact(image.double()) - target.double()).square().mean()
        loss.backward()
        stepper.step()
        losses.append(float(loss))
    return torch.tensor(losses), flat(exact)


@OPTIMIZERS
@pytest.mark.parametrize("precision", BOUNDS)
def test_twenty_steps_are_those_of_float64(optimizer, precision):
    """From a batch in memory, and from a table of the same patches as planes."""
    pairs = [a_batch((4, 256, 256), seed=i % 5, dtype=torch.float16) for i in range(STEPS)]
    expected, weights = exact_curve(a_network(1), optimizer, pairs)
    for by_address in (False, True):
        ours = an_optimization(a_network(1), optimizer, precision)
        losses = []
        for image, target in pairs:
            if by_address:
                planes = [list(side[:, 0].half()) for side in (image, target)]
                table = table_of(*planes, [(0, 0)] * 4, [0] * 4, 256)
                loss = ours.engine.step_of_table(
                    table, 256, image.numel(), ours.optimizer, torch.float16
                )
                losses.append(float(loss))
            else:
                losses.append(float(ours.step(image, target, image.numel())[0]))
        curve = float(((torch.tensor(losses) - expected).abs() / expected).max())
        difference = float((flat(ours.network) - weights).abs().max())
        print(f"{precision} {optimizer}: curve {curve:.2e}, weights {difference:.2e}")
        assert curve <= BOUNDS[precision][0]
        assert difference <= BOUNDS[precision][1]
        assert losses[-1] < losses[0]


@OPTIMIZERS
def test_a_fused_step_is_gradients_and_then_a_step(optimizer):
    """Its weights to the last bit; the second is what several processes do."""
    image, target = a_batch((3, 100, 92), seed=1)
    weights, reports = [], []
    for all_reduce in (None, lambda flat: None):
        ours = Optimization(
            a_network(2),
            GPU,
            optimizer=optimizer,
            learning_rate=0.01,
            precision="float32",
            engine="cuda",
            all_reduce=all_reduce,
        )
        reports.append([ours.step(image, target, image.numel()).tolist() for _ in range(4)])
        weights.append(flat(ours.network))
    assert [wishes for _, *wishes in reports[1]] == [[0, 0]] * 4
    losses = [[loss for loss, *_ in some] for some in reports]
    assert losses[0] == pytest.approx(losses[1], rel=2e-7)
    assert torch.equal(*weights)


@OPTIMIZERS
@pytest.mark.parametrize("between", ["nothing", "a file", "pytorch"])
def test_a_training_resumes_to_the_last_bit(optimizer, between):
    """Also where another engine held the state in between, and took no step."""
    pairs = [a_batch((2, 96, 80), seed=i) for i in range(8)]

    def take(optimization, some):
        return [float(optimization.step(x, t, x.numel())[0]) for x, t in some]

    whole = an_optimization(a_network(3), optimizer)
    curve = take(whole, pairs)
    first = an_optimization(a_network(3), optimizer)
    start = take(first, pairs[:4])
    state = first.state()
    if between != "nothing":
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        state = torch.load(file, map_location="cpu", weights_only=True)
    if between == "pytorch":
        cpu = torch.device("cpu")
        other = an_optimization(build_network("simple_cnn"), optimizer, "float32", "pytorch", cpu)
        other.restore(state)
        state = other.state()
    second = an_optimization(a_network(4), optimizer)
    take(second, pairs[:2])
    second.restore(state)
    assert start + take(second, pairs[4:]) == curve
    assert torch.equal(flat(second.network), flat(whole.network))


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_auto_takes_the_cuda_engine_and_a_training_says_so(precision, tmp_path):
    set_precision(precision)
    manifest = write_dataset(tmp_path / "dataset", train=(30, 21), test=(7,), size_px=64)
    found = train(manifest, tmp_path / "one", GPU, epochs=2, precision=precision)
    assert found.engine == "cuda"
    again = train(manifest, tmp_path / "two", GPU, epochs=2, precision=precision)
    assert_same_weights(found, again)
    set_precision("float32")
    exact = train(manifest, tmp_path / "pytorch", GPU, epochs=2, engine="pytorch")
    tolerance = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 3e-2}[precision]
    for row, expected in zip(found.rows, exact.rows, strict=True):
        print(precision, row["test_loss"], expected["test_loss"])
        assert row["test_loss"] == pytest.approx(expected["test_loss"], rel=tolerance)


def test_tf32_is_pytorchs(capsys):
    network = a_network(0)
    assert fastest_engine(network, GPU, "tf32", 1, deterministic=False) == "pytorch"
    assert fastest_engine(network, GPU, "float32", 1, deterministic=True) == "cuda"
    assert capsys.readouterr().err == ""


def test_nothing_imports_torchs_compiler():
    """Its 800 modules take three seconds: a training with our kernels needs none of them."""
    code = """
import sys, torch
from clearice.model.engines.choice import build_engine
from clearice.model.networks import build_network
from clearice.model.optimization import Optimization
gpu = torch.device("cuda", 0)
ours = Optimization(build_network("simple_cnn"), gpu, optimizer="adam", learning_rate=0.01,
                    precision="float32", engine="cuda")
x = torch.randn(1, 1, 64, 64, device=gpu)
print(float(ours.step(x, x, x.numel())[0]))
assert ours.engine.name == "cuda"
assert "torch._inductor" not in sys.modules, "torch._inductor was imported"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_kernels_are_those_of_the_gpu_that_is_there():
    engine = CudaCNN(a_network(0), "float32")
    block = engine._training.block
    properties = torch.cuda.get_device_properties(0)
    print(properties.name, block)
    assert block.shared_bytes <= 227 * 1024
    assert block.units_at_once == properties.multi_processor_count * block.units
