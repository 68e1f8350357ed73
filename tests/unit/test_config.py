"""config.yaml against its schema: defaults, and one line for every mistake."""

import pytest
import yaml

from clearice.config import complete_config, yaml_scalar
from clearice.errors import InputError
from clearice.schemas import CONFIG_SCHEMA
from conftest import REPOSITORY


def leaves(schema, path=()):
    """Yield (dotted key, subschema) of every key that the schema describes."""
    for key, subschema in schema.get("properties", {}).items():
        yield ".".join((*path, key)), subschema
        yield from leaves(subschema, (*path, key))


def test_the_repository_config_is_valid_and_keeps_its_values():
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    complete_values = complete_config(config)
    assert complete_values["micrographs_per_job"] == config.pop("micrographs_per_job")
    for section, values in config.items():
        for key, value in values.items():
            found = complete_values[section][key]
            if isinstance(value, dict):
                assert value.items() <= found.items() or section == "parity"
            else:
                assert found == value


def test_an_empty_config_is_the_default_one():
    config = complete_config({})
    assert config["micrographs"]["source"] == "simulation"
    assert config["model"]["simple_cnn"]["batch_size"] == 4
    assert complete_config(config) == config


def test_every_key_is_described_and_has_a_default_or_is_a_section():
    schema = yaml.safe_load(CONFIG_SCHEMA.read_text())
    for key, subschema in leaves(schema):
        assert subschema.get("description"), f"{key} has no description"
        inside_optional = key.startswith(("micrographs.halves.",))
        assert "default" in subschema or subschema.get("type") == "object" or inside_optional, key


@pytest.mark.parametrize("value", [1e-5, 5e-5, 3, 0.001, True, None, "auto", "1e-5", "a: b" * 40])
def test_a_scalar_comes_back_from_its_yaml(value):
    text = yaml_scalar(value)
    assert "\n" not in text
    assert yaml.safe_load(text) == value


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"patchs": {}}, ["unknown key patchs", "did you mean patches?"]),
        (
            {"model": {"simple_cnn": {"engine": "triton"}}},
            ["wrong value for model.simple_cnn.engine", "cuda has taken its place"],
        ),
        ({"patches": {"size": 3}}, ["unknown key patches.size", "did you mean size_px?"]),
        ({"patches": {"size_px": "big"}}, ["patches.size_px", "integer >= 16", "'big'"]),
        ({"patches": {"size_px": 8}}, ["patches.size_px", "integer >= 16", "found 8"]),
        ({"patches": {"size_px": True}}, ["patches.size_px", "found True"]),
        ({"patches": {"target": "half"}}, ["halves | synthetic_noise | lowpass", "mean halves?"]),
        ({"split": {"test_fraction": 2}}, ["split.test_fraction", "> 0 and < 1", "found 2"]),
        ({"patches": None}, ["patches", "a mapping of keys", "nothing"]),
        (
            {"model": {"simple_cnn": {"learning_rate": "1e-3"}}},
            ["learning_rate", "found '1e-3'", "write 0.001, without quotes"],
        ),
        (
            {"model": {"simple_cnn": {"learning_rate": "1e-5"}}},
            ["learning_rate", "write 1.0e-05, without quotes"],
        ),
        ({"simulation": {"count": 4.0}}, ["simulation.count", "integer >= ", "found 4.0"]),
        (
            {"model": {"simple_cnn": {"learning_rate": float("nan")}}},
            ["learning_rate", "number > 0", "found nan"],
        ),
        (
            {"model": {"simple_cnn": {"learning_rate": float("inf")}}},
            ["learning_rate", "number > 0", "found inf"],
        ),
        (
            {"parity": {"implementations": {"a": {"command": "x 'y"}}}},
            ["parity.implementations.a.command", '"x \'y"', "no closing quotation"],
        ),
        ({"micrographs": {"halves": {"input": "_a"}}}, ["micrographs.halves.target is missing"]),
        ({"simulation": {"defocus_um": [1]}}, ["simulation.defocus_um", "2 values"]),
        ({"parity": {"implementations": {"a b": {"command": "x"}}}}, ["implementations", "'a b'"]),
        ([], ["wrong content", "a mapping of keys"]),
    ],
)
def test_a_mistake_is_one_line_with_key_expected_and_found(config, words):
    with pytest.raises(InputError) as caught:
        complete_config(config)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("config.yaml: ")
    for word in words:
        assert word in text


def test_random_offsets_need_planes():
    complete_config({"patches": {"offsets": "random"}, "dataset": {"layout": "both"}})
    with pytest.raises(InputError) as caught:
        complete_config({"patches": {"offsets": "random"}})
    assert str(caught.value) == (
        "config.yaml: patches.offsets: random needs planes to cut from: expected dataset.layout "
        "planes or both, found patches; set dataset.layout: planes, or patches.offsets: grid"
    )
