"""Parity on an NVIDIA GPU: PyTorch in each of its precisions, and cuDNN without PyTorch."""

import json
import subprocess
import sys

import pytest
import torch

from clearice.parity.comparison import compare
from parity_bundle import IMPLEMENTATIONS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]


def run(bundle, output, program, *arguments):
    """Run an implementation in a process of its own; return the verdict on it."""
    words = [sys.executable, IMPLEMENTATIONS / program, "--bundle", bundle.folder]
    words += ["--output", output, *arguments]
    process = subprocess.run(words, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return compare(bundle, output)


@pytest.mark.parametrize("arguments", [[], ["--benchmark"]])
def test_torch_on_the_gpu_passes_as_float32(bundle, tmp_path, arguments):
    verdict = run(bundle, tmp_path, "torch_cnn.py", "--device", "cuda", *arguments)
    assert verdict["verdict"] == "passed", verdict["diagnosis"]
    assert verdict["original_tolerances"]


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
def test_a_lower_precision_passes_as_declared_and_fails_as_float32(bundle, tmp_path, precision):
    arguments = ["--device", "cuda", "--precision", precision]
    verdict = run(bundle, tmp_path, "torch_cnn.py", *arguments)
    assert verdict["precision"] == precision
    assert verdict["verdict"] == "passed", verdict["diagnosis"]
    assert compare(bundle, tmp_path, precision="float32")["verdict"] == "failed"


def test_our_kernels_pass_as_float32(bundle, tmp_path):
    """Layers, outputs, losses, gradients, the SGD curve and its weights; repeats are bit-equal."""
    verdict = run(bundle, tmp_path, "cuda_cnn.py", "--time", "2,64,64")
    print(verdict["rungs"], verdict["worst_percent"])
    assert verdict["verdict"] == "passed", verdict["diagnosis"]
    assert verdict["original_tolerances"]
    assert verdict["repeat_bit_equal"]
    assert json.loads((tmp_path / "result.json").read_text())["implementation"] == "cuda"


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_our_kernels_pass_in_16_bits_as_that_and_fail_as_float32(bundle, tmp_path, precision):
    arguments = ["--precision", precision, "--time", "2,64,64"]
    verdict = run(bundle, tmp_path, "cuda_cnn.py", *arguments)
    assert verdict["precision"] == precision
    assert verdict["verdict"] == "passed", verdict["diagnosis"]
    assert compare(bundle, tmp_path, precision="float32")["verdict"] == "failed"


@pytest.mark.parametrize("arguments", [[], ["--deterministic"]])
def test_cudnn_without_torch_passes_as_float32(bundle, tmp_path, arguments):
    verdict = run(bundle, tmp_path, "cudnn_cnn.py", "--time", "2,64,64", *arguments)
    assert verdict["verdict"] == "passed", verdict["diagnosis"]
    assert verdict["original_tolerances"]
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["training_batches_per_s"] > 0
    assert record["device"] == torch.cuda.get_device_name()
    if arguments:
        assert verdict["repeat_bit_equal"]
