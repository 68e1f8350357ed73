"""The engines and networks that config.yaml may name, and which engine is chosen."""

import pytest
import torch
import yaml

from clearice.model.engines.choice import ENGINES, build_engine, fastest_engine
from clearice.model.engines.contract import Engine
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
