"""Our own kernels on an NVIDIA GPU, launched by the Fortran programs of `make -C fortran`."""

import csv
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from clearice.dataset.manifest import read_manifest
from clearice.dataset.namelists import dataset_namelists
from clearice.model.engines.exported_kernels import GEOMETRY, export_kernels
from clearice.parity.comparison import compare
from conftest import REPOSITORY
from parity_bundle import IMPLEMENTATIONS
from run_implementation import wheel_libraries
from training_data import write_dataset

PROGRAMS = REPOSITORY / "build" / "fortran" / "bin"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
    pytest.mark.skipif(not PROGRAMS.is_dir(), reason="needs the programs of make -C fortran"),
]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernels")
    export_kernels(folder)
    return folder


def run(*words):
    libraries = {"CLEARICE_CUDA_LIBRARIES": os.pathsep.join(wheel_libraries())}
    words = list(map(str, words))
    return subprocess.run(words, capture_output=True, text=True, env=os.environ | libraries)


def parity(bundle, output, kernels):
    words = ["--bundle", bundle, "--output", output, "--device", "kernels", "--kernels", kernels]
    return run(PROGRAMS / "clearice_parity", *words)


def test_the_implementation_passes_and_repeats(bundle, tmp_path):
    program = [sys.executable, IMPLEMENTATIONS / "fortran_kernels.py", PROGRAMS]
    done = run(*program, "--bundle", bundle.folder, "--output", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    verdict = compare(bundle, tmp_path)
    print(verdict["largest_errors"], verdict["worst_percent"])
    assert verdict["verdict"] == "passed", verdict["diagnosis"]
    assert verdict["original_tolerances"]
    assert verdict["repeat_bit_equal"]
    assert torch.cuda.get_device_name() in (tmp_path / "result.json").read_text()


def test_a_training_has_the_losses_of_the_cpu(kernels, tmp_path):
    folder = tmp_path / "dataset"
    manifest = read_manifest(write_dataset(folder, train=(11,), test=(3,), size_px=100))
    (folder / "manifest.nml").write_text(dataset_namelists(manifest))
    losses = []
    for device in (["cpu"], ["kernels", "--kernels", kernels]):
        output = tmp_path / device[0]
        words = ["--dataset", folder, "--epochs", 5, "--learning-rate", "0.01"]
        done = run(PROGRAMS / "clearice_train", *words, "--output", output, "--device", *device)
        assert (done.returncode, done.stderr) == (0, "")
        with open(output / "training_loss.tsv", newline="") as file:
            losses.append([float(row["loss"]) for row in csv.DictReader(file, delimiter="\t")])
    apart = np.abs(np.divide(*losses) - 1)
    print(apart.max())
    assert len(apart) == 15
    assert apart.max() < 1e-5


def test_a_value_beyond_float16_ends_it_in_one_line(bundle, kernels, tmp_path):
    folder = shutil.copytree(bundle.folder, tmp_path / "bundle")
    case = next(iter(bundle.manifest["cases"]))
    image = np.fromfile(folder / f"{case}_input.bin", "<f4")
    image[17] = 1e5
    image.tofile(folder / f"{case}_input.bin")
    done = parity(folder, tmp_path / "out", kernels)
    assert_one_line(done, "a value is beyond the range of float16 (65504)")


def test_kernels_for_another_gpu_are_one_line(bundle, kernels, tmp_path):
    folder = shutil.copytree(kernels, tmp_path / "kernels")
    text = (folder / GEOMETRY).read_text()
    (folder / GEOMETRY).write_text(text.replace(torch.cuda.get_device_name(), "another"))
    assert_one_line(parity(bundle.folder, tmp_path / "out", folder), "kernels for another GPU")


def test_what_is_no_machine_code_is_one_line(bundle, kernels, tmp_path):
    folder = shutil.copytree(kernels, tmp_path / "kernels")
    (folder / "train.cubin").write_bytes(b"something else")
    assert_one_line(parity(bundle.folder, tmp_path / "out", folder), "no machine code that")


def assert_one_line(done, words):
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert words in done.stderr
