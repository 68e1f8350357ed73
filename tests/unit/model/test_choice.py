"""The engines and networks that config.yaml may name, and which engine is chosen."""

import sys

import pytest
import torch
import yaml

from clearice.model.engines import choice, cuda_cnn
from clearice.model.engines.choice import ENGINES, build_engine, fastest_engine
from clearice.model.engines.contract import Engine
from clearice.model.engines.cuda_compiler import CudaError, obstacle
from clearice.model.networks import NETWORKS, build_network
from clearice.schemas import CONFIG_SCHEMA

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sections():
    return yaml.safe_load(CONFIG_SCHEMA.read_text())["properties"]


def test_the_schema_names_every_network_wherever_one_is_chosen(sections):
    assert sections["model"]["properties"].keys() == NETWORKS.keys()
    chosen = sections["denoised"]["properties"]["architecture"]
    assert sorted(chosen["enum"]) == sorted(NETWORKS)


@pytest.mark.parametrize("architecture", sorted(NETWORKS))
def test_the_schema_names_every_engine(sections, architecture):
    engines = sections["model"]["properties"][architecture]["properties"]["engine"]["enum"]
    assert sorted(engines) == sorted(["auto", *ENGINES])


@pytest.mark.parametrize("architecture", sorted(NETWORKS))
def test_on_a_cpu_pytorch_is_fastest_however_long_the_training(architecture):
    network = build_network(architecture)
    for trained_px in (1, 10**15):
        assert fastest_engine(network, CPU, "float32", trained_px, deterministic=False) == "pytorch"


def test_without_a_gpu_a_line_says_so_and_pytorch_computes(capsys):
    engine = build_engine("cuda", build_network("simple_cnn"), CPU, "float32")
    assert engine.name == "pytorch"
    assert capsys.readouterr().err == "engine cuda: it needs an NVIDIA GPU; PyTorch is used\n"


@pytest.mark.parametrize(
    ("architecture", "precision", "expected"),
    [
        ("s2d_unet", "float32", "it computes simple_cnn alone"),
        ("simple_cnn", "tf32", "it does not compute in tf32"),
        ("simple_cnn", "float32", None),
    ],
)
def test_what_the_cuda_engine_computes(monkeypatch, architecture, precision, expected):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(cuda_cnn, "obstacle", lambda capability: None)
    network = build_network(architecture)
    assert cuda_cnn.obstacle_to_cuda(network, torch.device("cuda", 0), precision) == expected


@pytest.mark.parametrize(
    ("reason", "trained_px", "expected"),
    [(None, 1, "cuda"), ("too old", 1, "pytorch"), ("too old", 10**15, "compiled")],
)
def test_auto_says_why_it_is_not_the_cuda_engine(monkeypatch, capsys, reason, trained_px, expected):
    monkeypatch.setattr(choice, "obstacle_to_cuda", lambda *_: reason)
    network, gpu = build_network("simple_cnn"), torch.device("cuda", 0)
    found = fastest_engine(network, gpu, "float32", trained_px, deterministic=False)
    assert found == expected
    said = f"not the faster engine cuda: {reason}\n" if reason else ""
    assert capsys.readouterr().err == said
    assert fastest_engine(network, gpu, "tf32", 1, deterministic=False) == "pytorch"
    unet = build_network("s2d_unet")
    assert fastest_engine(unet, gpu, "float32", 1, deterministic=False) == "pytorch"
    assert capsys.readouterr().err == ""


def test_without_its_package_a_line_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    assert "cuda-bindings is missing" in obstacle((9, 0))
    assert "7.5, 8.0 is needed" in obstacle((7, 5))


def test_kernels_that_do_not_build_are_a_line_too(monkeypatch, capsys):
    def refuse(*_):
        raise CudaError("the driver is too old\nmore")

    monkeypatch.setattr(choice, "obstacle_to_cuda", lambda *_: None)
    monkeypatch.setattr(choice, "CudaCNN", refuse)
    engine = build_engine("cuda", build_network("simple_cnn"), CPU, "float32")
    assert engine.name == "pytorch"
    assert capsys.readouterr().err == "engine cuda: the driver is too old; PyTorch is used\n"


def test_an_engine_keeps_the_contract_on_a_cpu():
    torch.manual_seed(0)
    engine = build_engine("pytorch", build_network("simple_cnn"), CPU, "float32")
    assert isinstance(engine, Engine)
    image, target = torch.randn(2, 3, 1, 12, 20)
    output = engine.output(image)
    assert output.shape == image.shape
    error = engine.squared_error(image, target)
    assert error.shape == ()
    torch.testing.assert_close(error, ((output - target) ** 2).sum())
    parameters = list(engine.network.parameters())
    expected = torch.autograd.grad(error / target.numel(), parameters)
    assert engine.error_and_gradients(image, target, target.numel()) == error
    torch.testing.assert_close([p.grad for p in parameters], list(expected))
    assert not engine.scaler.is_enabled()
