"""The model file, the device and the arithmetic."""

import os

import pytest
import safetensors.torch
import torch

from clearice.errors import InputError
from clearice.model.device import choose_device, set_precision
from clearice.model.networks import build_network
from clearice.model.weights import load_model, save_model


@pytest.fixture
def network():
    torch.manual_seed(1)
    return build_network("simple_cnn")


def test_a_model_survives_its_file(network, tmp_path):
    path = tmp_path / "denoiser.safetensors"
    image = torch.randn(1, 1, 9, 11)
    expected = network(image)
    save_model(path, network.to(memory_format=torch.channels_last), {"architecture": "simple_cnn"})
    loaded, metadata = load_model(path)
    assert torch.equal(loaded(image), expected)
    assert not loaded.training
    assert metadata == {"architecture": "simple_cnn", "format_version": "1"}
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask  # others may read it as usual


def test_equal_models_make_equal_files(network, tmp_path):
    metadata = {"architecture": "simple_cnn", "config": '{"a": "\\u00fc \u00fc\\n"}'}
    metadata |= {f"key_{number}": str(number) for number in range(20)}
    contents = set()
    for number in range(4):
        path = tmp_path / f"{number}.safetensors"
        save_model(path, network, dict(reversed(metadata.items())) if number % 2 else metadata)
        contents.add(path.read_bytes())
        assert load_model(path)[1] == {"format_version": "1", **metadata}
    [content] = contents
    assert int.from_bytes(content[:8], "little") % 8 == 0  # so that tensors can be mapped


def test_the_file_is_what_other_languages_read(network, tmp_path):
    path = tmp_path / "denoiser.safetensors"
    save_model(path, network, {"architecture": "simple_cnn"})
    tensors = safetensors.torch.load_file(path)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert shapes == {
        "conv1.weight": (16, 1, 3, 3),
        "conv1.bias": (16,),
        "conv2.weight": (16, 16, 3, 3),
        "conv2.bias": (16,),
        "conv3.weight": (1, 16, 3, 3),
        "conv3.bias": (1,),
    }
    assert sum(tensor.numel() for tensor in tensors.values()) == 2625


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("absent", "no such model"),
        ("truncated", "not a readable safetensors file"),
        ("no metadata", "not a model of clearice.*found no metadata"),
        ("architecture", "unknown architecture.*found resnet"),
        ("shape", r"conv1.bias does not fit.*expected \(16,\), found \(15,\)"),
        ("missing", "conv3.bias does not fit.*found none"),
        ("nan", "conv2.bias has values that are not finite"),
    ],
)
def test_a_file_that_is_no_model_is_refused(network, tmp_path, fault, message):
    path = tmp_path / "denoiser.safetensors"
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    metadata = {"architecture": "simple_cnn", "format_version": "1"}
    if fault == "shape":
        tensors["conv1.bias"] = torch.zeros(15)
    elif fault == "missing":
        del tensors["conv3.bias"]
    elif fault == "nan":
        tensors["conv2.bias"][3] = float("nan")
    elif fault == "architecture":
        metadata["architecture"] = "resnet"
    elif fault == "no metadata":
        metadata = None
    if fault != "absent":
        safetensors.torch.save_file(tensors, path, metadata)
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=message):
        load_model(path)


def test_a_gpu_that_is_not_there_is_refused():
    assert choose_device("cpu") == torch.device("cpu")
    count = torch.cuda.device_count()
    assert choose_device("auto").type == ("cuda" if count else "cpu")
    with pytest.raises(InputError, match=f"no such GPU: .*found cuda:{count}"):
        choose_device(f"cuda:{count}")


def test_float32_means_that_every_switch_of_tf32_is_off():
    try:
        on = set_precision("tf32")
        assert on["cudnn.allow_tf32"]
        assert on["cudnn.conv.fp32_precision"] == "tf32"
        off = set_precision("float32", deterministic=True)
        assert not off["cudnn.allow_tf32"]
        assert not off["cuda.matmul.allow_tf32"]
        assert off["cudnn.conv.fp32_precision"] != "tf32"
        assert torch.are_deterministic_algorithms_enabled()
        with pytest.raises(InputError, match="found float8"):
            set_precision("float8")
    finally:
        set_precision("float32")
