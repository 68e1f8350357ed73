"""The optimizer that is a kernel: PyTorch's state, steps not taken, engines that change."""

import copy
import io
import os
import subprocess
import sys

import pytest
import torch

from clearice.model import optimization as optimization_module
from clearice.model.engines.autograd import Autograd
from clearice.model.networks import build_network
from clearice.model.optimization import Optimization
from conftest import REPOSITORY
from emulated_engine import EmulatedEngine

CPU = torch.device("cpu")
OPTIMIZERS = pytest.mark.parametrize("name", ["adam", "sgd"])


@pytest.fixture
def emulated(monkeypatch):
    """The engine `cuda` is emulated; pixels beyond 100 are beyond its range."""

    def build(name, network, device, precision, *_):
        if name == "cuda":
            return EmulatedEngine(network, limit=100)
        return Autograd(network, device, precision)

    monkeypatch.setattr(optimization_module, "build_engine", build)


def an_optimization(engine, name="adam", **options):
    torch.manual_seed(0)
    return Optimization(
        build_network("simple_cnn"),
        CPU,
        optimizer=name,
        learning_rate=0.01,
        precision="float32",
        engine=engine,
        **options,
    )


def batches(count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 1, 12, 12, generator=generator) for _ in range(count)]


def take(optimization, images):
    return [float(optimization.step(x, 0.5 * x, x.numel())[0]) for x in images]


def weights(optimization):
    return torch.cat([p.detach().reshape(-1) for p in optimization.network.parameters()])


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@OPTIMIZERS
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_steps_are_those_of_pytorch(emulated, name, schedule):
    found = []
    for engine in ("cuda", "pytorch"):
        options = {"schedule": schedule, "total_steps": 20, "average_weights": True}
        ours = an_optimization(engine, name, **options)
        losses = []
        for number, image in enumerate(batches(8)):
            ours.set_learning_rate(number)
            losses += take(ours, [image])
        with ours.averaged():
            average = weights(ours)
        found.append((torch.tensor(losses), weights(ours), average, ours.learning_rate))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


@OPTIMIZERS
@pytest.mark.parametrize("engines", [("cuda", "cuda"), ("cuda", "pytorch"), ("pytorch", "cuda")])
def test_a_checkpoint_moves_between_engines(emulated, name, engines):
    images = batches(9)
    first = an_optimization(engines[0], name)
    take(first, images[:5])
    state = through_a_file(first.state())
    second = an_optimization(engines[1], name)
    take(second, batches(2, seed=7))  # what it holds goes
    second.restore(copy.deepcopy(state))
    again = through_a_file(second.state())
    assert again["optimizer"]["state"].keys() == state["optimizer"]["state"].keys()
    for number, entry in state["optimizer"]["state"].items():
        for key, value in entry.items():
            if value is not None:
                assert torch.equal(again["optimizer"]["state"][number][key], value), key
    assert torch.equal(weights(second), weights(first))
    whole = an_optimization(engines[1], name)
    take(whole, images)
    take(second, images[5:])
    exact = engines[0] == engines[1]
    tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-4, "atol": 1e-6}
    torch.testing.assert_close(weights(second), weights(whole), **tolerance)


@OPTIMIZERS
def test_nothing_changes_after_an_overflow_until_pytorch_takes_over(emulated, name):
    images = batches(6)
    images[3][0, 0, 5, 5] = 120  # just beyond its range: SGD stays calm
    ours, exact = an_optimization("cuda", name), an_optimization("pytorch", name)
    losses = take(ours, images[:3])
    before, state = weights(ours), ours.state()["optimizer"]["state"]
    late = take(ours, images[3:])
    assert all(map(torch.isfinite, map(torch.tensor, losses)))
    assert torch.isnan(torch.tensor(late)).all(), "all steps after it say so, too"
    assert torch.equal(weights(ours), before)
    for number, entry in ours.state()["optimizer"]["state"].items():
        assert all(torch.equal(v, state[number][k]) for k, v in entry.items() if v is not None)
    assert ours.fall_back()
    assert ours.engine.name == "pytorch"
    repeated = take(ours, images[3:])
    expected = take(exact, images)
    torch.testing.assert_close(losses + repeated, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(weights(ours), weights(exact), rtol=1e-4, atol=1e-6)
    assert not ours.fall_back(), "PyTorch has the range of float32: its losses are true"


def test_pytorch_takes_over_at_the_rate_of_the_schedule(emulated):
    ours = an_optimization("cuda", schedule="cosine", total_steps=1000)
    ours.set_learning_rate(500)
    rate = ours.learning_rate
    assert rate == pytest.approx(0.005)
    assert ours.fall_back()
    assert ours.learning_rate == rate


def test_several_processes_skip_the_same_steps(emulated):
    """All of them see the sum of the gradients, so that one's overflow stops every one."""
    sums = []

    def with_another_that_overflowed(flat):
        sums.append(flat.clone())
        if len(sums) > 2:
            flat[7] = float("nan")

    ours = an_optimization("cuda", all_reduce=with_another_that_overflowed)
    for number, image in enumerate(batches(4)):
        before = weights(ours)
        ours.step(image, 0.5 * image, image.numel())
        assert torch.equal(weights(ours), before) == (number > 1), number


def test_a_process_without_patches_adds_nothing(emulated):
    kept = []
    ours = an_optimization("cuda", all_reduce=lambda flat: kept.append(flat.clone()))
    image = batches(1)[0]
    ours.step(image, 0.5 * image, image.numel())
    ours.step(image[:0], image[:0], image.numel(), full=False)
    assert kept[0][:2625].abs().max() > 0
    assert kept[1].abs().max() == 0


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_the_state_has_the_keys_of_pytorchs(emulated, name):
    found = []
    for engine in ("cuda", "pytorch"):
        ours = an_optimization(engine, name)
        take(ours, batches(2))
        found.append(ours.state()["optimizer"])
    ours, theirs = ({i: entry.keys() for i, entry in one["state"].items()} for one in found)
    assert ours == theirs
    assert len(ours) == (6 if name == "adam" else 0)


@pytest.mark.parametrize("engine", ["cuda", "pytorch"])
def test_moments_have_the_strides_of_their_parameters(emulated, engine):
    """Fused Adam pairs them as they lie; PyTorch's engine lays the parameters out otherwise."""
    first = an_optimization(engine)
    take(first, batches(2))
    state = through_a_file(first.state())
    moments = [entry["exp_avg"] for entry in state["optimizer"]["state"].values()]
    for number, entry in state["optimizer"]["state"].items():
        entry["exp_avg"] = moments[number].contiguous()
    second = an_optimization("pytorch")
    second.restore(state)
    parameters = list(second.network.parameters())
    assert any(not parameter.is_contiguous() for parameter in parameters), "else this is no test"
    for parameter, entry in zip(
        parameters, second.optimizer.state_dict()["state"].values(), strict=True
    ):
        for name in ("exp_avg", "exp_avg_sq"):
            assert entry[name].stride() == parameter.stride()
    take(first, batches(3, seed=5))
    take(second, batches(3, seed=5))
    torch.testing.assert_close(weights(second), weights(first), rtol=1e-4, atol=1e-6)


def test_the_engine_and_its_optimizer_need_no_compiler_of_pytorchs():
    """Its 800 modules take three seconds to import."""
    code = """
import sys, torch
from clearice.model.engines import choice
from clearice.model import optimization, training
from clearice.model.networks import build_network
from conftest import REPOSITORY
from emulated_engine import EmulatedEngine
optimization.build_engine = lambda name, network, *_: EmulatedEngine(network)
ours = optimization.Optimization(
    build_network("simple_cnn"), torch.device("cpu"), optimizer="adam", learning_rate=0.01,
    precision="float32", engine="cuda")
x = torch.randn(1, 1, 16, 16)
ours.step(x, x, x.numel())
ours.restore(ours.state())
assert "torch._inductor" not in sys.modules and "torch._dynamo" not in sys.modules
"""
    folders = [str(REPOSITORY / "workflow" / "scripts"), str(REPOSITORY / "tests")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)
