"""The training kernels as files: what is written, for GPUs that are not here."""

import re
import subprocess
import sys

import pytest

from clearice.model.engines import cuda_blocks
from clearice.model.engines.cuda_blocks import Gpu
from clearice.model.engines.cuda_compiler import SOURCES, CudaError
from clearice.model.engines.exported_kernels import write_kernels

KIB = 1024
HOPPER = Gpu(227 * KIB, 228 * KIB, 132)


def test_machine_code_and_what_a_launch_needs(tmp_path):
    pytest.importorskip("cuda.bindings.nvrtc", reason="needs cuda-bindings")
    write_kernels(tmp_path / "kernels", (9, 0), HOPPER, "NVIDIA 'H200'")
    found = {path.name: path.read_bytes() for path in (tmp_path / "kernels").iterdir()}
    assert found.keys() == {"train.cubin", "train_layers.cubin", "kernels.nml"}
    for name in ("train.cubin", "train_layers.cubin"):
        assert found[name][:4] == b"\x7fELF"
        assert b"sum_strips" in found[name]
    assert found["train.cubin"] != found["train_layers.cubin"]
    lines = found["kernels.nml"].decode().splitlines()
    assert lines[0] == "&kernels"
    assert "  gpu = 'NVIDIA ''H200'''" in lines
    facts = dict(re.findall(r"(\w+) = (\d+)$", "\n".join(lines), re.MULTILINE))
    assert (facts["threads"], facts["units"], facts["units_at_once"]) == ("256", "4", "528")
    assert 48 * KIB < int(facts["shared_bytes"]) <= HOPPER.block_bytes


def test_numbers_are_those_of_the_cuda_source():
    """Which no compiler compares: Python has its own copies."""
    text = (SOURCES / "weights.cuh").read_text() + (SOURCES / "reduction.cuh").read_text()
    for name in ("WEIGHTS", "SUMS_STRIDE", "SUM_COLUMNS"):
        assert f" {name} = {getattr(cuda_blocks, name)}" in text, name
    assert cuda_blocks.SUMS == cuda_blocks.WEIGHTS + 1
    assert "SUM_ROWS = 32" in text
    assert cuda_blocks.SUM_THREADS == cuda_blocks.SUM_COLUMNS * 32


def test_a_gpu_that_no_block_fits_into_gets_no_files(tmp_path):
    with pytest.raises(CudaError, match="49152 bytes of shared memory per block: too few"):
        write_kernels(tmp_path / "kernels", (9, 0), Gpu(48 * KIB, 100 * KIB, 1), "small")
    assert not (tmp_path / "kernels").exists()


def test_without_a_gpu_it_says_so_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    words = [sys.executable, "-m", "clearice.model.engines.exported_kernels", tmp_path / "kernels"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "no NVIDIA GPU that this PyTorch can use\n")
    assert not (tmp_path / "kernels").exists()
