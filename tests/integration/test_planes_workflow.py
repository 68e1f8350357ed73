"""The workflow on planes: the networks and the bundle of a run on patches, to the last digit."""

import json

import pytest

from clearice.model.history import read_history
from clearice.model.weights import load_model
from conftest import run_snakemake, write_config
from training_data import assert_same_weights

pytestmark = pytest.mark.slow


def made(run, config, *targets):
    """Run the workflow; return weights, losses and the cases of the bundle."""
    write_config(run, config)
    run_snakemake(run, "--cores", "2", *targets)
    model = run / "results" / "model" / "simple_cnn"
    network, _ = load_model(model / "denoiser.safetensors")
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    losses = [(row["train_loss"], row["test_loss"]) for row in read_history(model / "history.tsv")]
    reference = run / "results" / "reference"
    cases = {path.name: path.read_bytes() for path in reference.glob("test_*.bin")}
    return weights, losses, cases


def test_a_run_on_planes_gives_the_numbers_of_one_on_patches(tmp_path, tiny_config):
    tiny_config["patches"] |= {"stride_px": 32}
    found = {}
    for layout in ("patches", "planes"):
        config = tiny_config | {"dataset": {"layout": layout}}
        found[layout] = made(tmp_path / layout, config, "reference")
    for kind in zip(found["planes"], found["patches"], strict=True):
        planes, patches = kind
        if isinstance(planes, dict) and "conv1.weight" in planes:
            assert_same_weights(planes, patches)
        else:
            assert planes == patches
    assert len(found["planes"][2]) >= 3
    assert not list((tmp_path / "planes" / "results" / "shards").glob("*.bin"))

    run = tmp_path / "planes"
    tiny_config["patches"] |= {"offsets": "random"}
    config = tiny_config | {"dataset": {"layout": "planes"}}
    _, losses, cases = made(run, config, "reference")
    assert losses != found["planes"][1]  # trained on other patches
    assert cases["test_input.bin"] == found["planes"][2]["test_input.bin"]  # tested on the same
    record = json.loads((run / "results/model/simple_cnn/training.json").read_text())
    assert record["kind"]["offsets"] == "random"
