"""The model step on a GPU: the same batches, the same curve, the speed-ups that change nothing."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from clearice.dataset.reader import open_split
from clearice.denoised.tiles import chosen_tile_px, denoise_bands
from clearice.micrographs.rows import MicrographRows
from clearice.model.device import set_precision
from clearice.model.engines.choice import ENGINES, build_engine
from clearice.model.loader import Loader
from clearice.model.networks import build_network
from clearice.model.optimization import Optimization
from clearice.model.weights import load_model
from memory_images import MemoryReader
from training_data import SCRIPTS, assert_same_weights, train, weights_of, write_dataset

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def arithmetic():
    """Leave the process's arithmetic as the other tests expect it."""
    yield
    set_precision("float32")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    return write_dataset(folder, train=(30, 21), test=(7,), size_px=64)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("busy", [False, True])
def test_batches_arrive_whole_while_the_device_works(tmp_path, dtype, busy):
    """A late kernel must neither see the next batch nor make the loader wait for ever."""
    manifest = write_dataset(tmp_path, train=(30,), dtype=dtype)
    order = np.random.default_rng(0).permutation(30)
    batches = [order[i : i + 4] for i in range(0, 30, 4)]
    ballast = torch.randn(4096, 4096, device=GPU)
    copies = []
    with open_split(manifest, "train") as reader:
        with Loader(4, 16, dtype, GPU, threads=4, buffer_mib=0.02) as loader:
            for batch in loader.batches(reader, batches):
                if busy:
                    for _ in range(20):
                        ballast = ballast @ ballast / 64
                copies.append((batch.input.clone(), batch.target.clone()))
            torch.cuda.synchronize()
            assert loader.waited_s >= 0
        for indices, sides in zip(batches, copies, strict=True):
            for row, i in enumerate(indices):
                for side, expected in zip(sides, reader.read(i), strict=True):
                    assert np.array_equal(side[row, 0].cpu(), expected)


def relative(found, expected):
    return float((found.double().cpu() - expected).norm() / expected.norm())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("precision", "output_error", "gradient_error"),
    [
        ("float32", 2e-6, 2e-5),
        ("tf32", 2e-3, 2e-2),
        ("float16", 4e-3, 8e-2),  # compiled, of whatever was fastest: up to 6e-2
        ("bfloat16", 3e-2, 0.2),
    ],
)
def test_each_precision_keeps_its_promise(precision, output_error, gradient_error, engine):
    """Output and gradients against float64; float32 passes only with TF32 really off."""
    set_precision(precision)
    torch.manual_seed(0)
    network = build_network("simple_cnn")
    exact = build_network("simple_cnn").double()
    exact.load_state_dict(network.state_dict())
    ours = build_engine(engine, network, GPU, precision)
    assert ours.name == ("pytorch" if (engine, precision) == ("cuda", "tf32") else engine)
    image, target = torch.randn(2, 1, 75, 131), torch.randn(2, 1, 75, 131)
    output = exact(image.double())
    loss = (output - target).square().mean()
    loss.backward()
    assert relative(ours.output(image.to(GPU)).detach(), output.detach()) < output_error
    error = ours.error_and_gradients(image.to(GPU), target.to(GPU), target.numel())
    assert float(error) / target.numel() == pytest.approx(float(loss), rel=output_error)
    for name, parameter in network.named_parameters():
        expected = exact.get_parameter(name).grad
        assert relative(parameter.grad / ours.scaler.get_scale(), expected) < gradient_error, name


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("engine", ["pytorch", "cuda"])
def test_a_captured_step_is_the_step(precision, optimizer, engine, capsys):
    """Ten steps through the CUDA graph against ten without; an uneven batch in between.

    The CUDA engine is never captured: of it this is a repeat.
    """
    set_precision(precision, deterministic=True)
    losses, weights = [], []
    for captured in (True, False):
        torch.manual_seed(0)
        ours = Optimization(
            build_network("simple_cnn"),
            GPU,
            optimizer=optimizer,
            learning_rate=0.01,
            precision=precision,
            engine=engine,
        )
        assert ours.engine.name == engine
        assert ours.may_capture == (engine == "pytorch")
        ours.may_capture = ours.may_capture and captured
        generator = torch.Generator(GPU).manual_seed(1)
        reports = []
        for number in range(10):
            count = 2 if number == 6 else 4
            image = torch.randn(count, 1, 64, 64, device=GPU, generator=generator)
            report = ours.step(image, 0.5 * image, image.numel(), full=count == 4)
            reports.append(report.tolist())
        losses.append(reports)
        weights.append({n: p.detach().cpu().numpy() for n, p in ours.network.named_parameters()})
        assert ours.captured == (captured and engine == "pytorch"), capsys.readouterr().err
    assert losses[0] == losses[1]
    assert_same_weights(*weights)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_captured_step_follows_the_schedule_and_the_average(optimizer, capsys):
    """Twelve steps of s2d_unet; sgd cannot follow a schedule in a graph, and takes none."""
    set_precision("float32", deterministic=True)
    weights = []
    for may_capture in (True, False):
        torch.manual_seed(0)
        ours = Optimization(
            build_network("s2d_unet"),
            GPU,
            optimizer=optimizer,
            learning_rate=0.001,
            precision="float32",
            schedule="cosine",
            average_weights=True,
            total_steps=12,
        )
        ours.may_capture = ours.may_capture and may_capture
        generator = torch.Generator(GPU).manual_seed(1)
        for number in range(12):
            image = torch.randn(2, 1, 64, 64, device=GPU, generator=generator)
            ours.set_learning_rate(number)
            ours.step(image, 0.5 * image, image.numel())
        assert ours.captured == (may_capture and optimizer == "adam"), capsys.readouterr().err
        with ours.averaged():
            found = {n: p.detach().cpu().numpy() for n, p in ours.network.named_parameters()}
        weights.append(found)
    for name, captured in weights[0].items():
        np.testing.assert_allclose(captured, weights[1][name], rtol=1e-4, atol=1e-6)


def test_a_micrograph_is_denoised_as_on_the_cpu():
    set_precision("float32", deterministic=True)
    image = np.random.default_rng(0).normal(100, 5, (700, 900)).astype(np.float32)
    results = []
    for device, tile_px in (("cpu", None), (GPU, None), (GPU, 384)):
        network, _ = load_model("general", device)
        rows = MicrographRows(MemoryReader(image))
        tile_px = chosen_tile_px(tile_px, device, network)
        bands = denoise_bands(network, rows, tile_px=tile_px, device=device)
        results.append(np.concatenate(list(bands)))
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=1e-3)  # the noise is 5


def test_the_curve_is_that_of_the_cpu(manifest, tmp_path):
    set_precision("float32")
    settings = {"epochs": 5, "learning_rate": 0.01}
    on_cpu = train(manifest, tmp_path / "cpu", **settings)
    on_gpu = train(manifest, tmp_path / "gpu", GPU, **settings)
    for one, other in zip(on_cpu.rows, on_gpu.rows, strict=True):
        for column in ("train_loss", "test_loss", "batch_loss"):
            assert other[column] == pytest.approx(one[column], rel=1e-3), column
        assert other["peak_device_mib"] > 0
        assert 0 <= other["device_wait_fraction"] <= 1


def test_deterministic_repeats_and_resumes_to_the_last_bit(manifest, tmp_path):
    set_precision("float32", deterministic=True)
    settings = {"learning_rate": 0.01, "deterministic": True}
    whole = train(manifest, tmp_path / "whole", GPU, epochs=4, **settings)
    assert_same_weights(whole, train(manifest, tmp_path / "again", GPU, epochs=4, **settings))
    train(manifest, tmp_path / "parts", GPU, epochs=2, **settings)
    assert_same_weights(whole, train(manifest, tmp_path / "parts", GPU, epochs=4, **settings))


def test_a_checkpoint_moves_between_devices(manifest, tmp_path):
    set_precision("float32")
    train(manifest, tmp_path, GPU, epochs=2)
    moved = train(manifest, tmp_path, epochs=3)
    whole = train(manifest, tmp_path / "whole", epochs=3)
    assert moved.course.interruptions == 1
    assert moved.rows[-1]["test_loss"] == pytest.approx(whole.rows[-1]["test_loss"], rel=1e-3)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two NVIDIA GPUs")
def test_two_gpus_train_as_one(manifest, tmp_path):
    set_precision("float32")
    one = train(manifest, tmp_path / "one", GPU, epochs=4, learning_rate=0.01)
    settings = {"epochs": 4, "learning_rate": 0.01, "devices": 2, "device": "cuda"}
    command = [sys.executable, str(SCRIPTS / "train_denoiser.py"), str(manifest), str(tmp_path)]
    command += [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
    subprocess.run(command, env=os.environ, check=True, timeout=300)
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["devices"] == 2
    for column in ("train_loss", "test_loss"):
        assert record["last_epoch"][column] == pytest.approx(one.rows[-1][column], rel=1e-3)
    network, _ = load_model(tmp_path / "denoiser.safetensors")
    for name, weight in weights_of(one).items():
        found = network.state_dict()[name].numpy()
        assert found == pytest.approx(weight, rel=1e-2, abs=1e-3), name
