"""The implementations that come with clearice, on the CPU and on an imitated cuDNN."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clearice.parity.comparison import compare
from conftest import REPOSITORY
from imitated_cuda import build_libraries
from parity_bundle import IMPLEMENTATIONS, load_implementation


@pytest.fixture(scope="module")
def imitation(tmp_path_factory):
    """The folder of the imitated CUDA libraries."""
    return build_libraries(tmp_path_factory.mktemp("libraries"))


@pytest.fixture(scope="module")
def repository_root():
    return IMPLEMENTATIONS.parent.parent


def torch_cnn(bundle, output, **changes):
    """Run torch_cnn.py's program in this process; return the verdict."""
    options = {"device": "cpu", "precision": "float32", "native": False, "benchmark": False}
    options |= {"bundle": bundle.folder, "output": output, "time": None} | changes
    load_implementation("torch_cnn").run(argparse.Namespace(**options))
    return compare(bundle, output)


@pytest.fixture
def onednn_restored():
    import torch

    before = torch.backends.mkldnn.enabled
    yield
    torch.backends.mkldnn.enabled = before


@pytest.mark.parametrize("native", [False, True])
def test_torch_on_the_cpu_passes(bundle, tmp_path, native, onednn_restored):
    verdict = torch_cnn(bundle, tmp_path, native=native)
    assert verdict["verdict"] == "passed", verdict["diagnosis"]
    assert verdict["original_tolerances"]


def test_torch_in_bfloat16_passes_as_that_and_fails_as_float32(bundle, tmp_path):
    verdict = torch_cnn(bundle, tmp_path, precision="bfloat16")
    assert verdict["precision"] == "bfloat16"
    assert verdict["verdict"] == "passed", verdict["diagnosis"]
    assert compare(bundle, tmp_path, precision="float32")["verdict"] == "failed"


def test_torch_says_that_a_cpu_has_no_tf32(bundle, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        torch_cnn(bundle, tmp_path, precision="tf32")
    assert ended.value.code == 3
    assert len(capsys.readouterr().err.splitlines()) == 1


def run_cudnn(bundle, output, *arguments):
    words = [sys.executable, IMPLEMENTATIONS / "cudnn_cnn.py", "--bundle", bundle.folder]
    words += ["--output", output, "--time", "1,5,6", *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [[], ["--deterministic"]])
def test_the_cudnn_program_passes_on_an_imitated_cudnn(bundle, imitation, tmp_path, arguments):
    """Checks every call, argument and buffer on the CPU, but not NVIDIA's arithmetic."""
    process = run_cudnn(bundle, tmp_path, "--libraries", imitation, *arguments)
    assert process.returncode == 0, process.stderr
    verdict = compare(bundle, tmp_path)
    assert verdict["verdict"] == "passed", verdict["diagnosis"]
    # The imitation repeats, and which of its algorithms is the fastest does not.
    assert verdict["repeat_bit_equal"]
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["device"] == "imitation"
    assert record["timing"]["shape"] == [1, 1, 5, 6]
    assert record["training_batches_per_s"] == 1000.0  # the imitated clock: 20 steps in 20 ms


def test_the_cudnn_program_reports_a_failing_call(bundle, imitation, tmp_path, repository_root):
    source = (repository_root / "tests" / "parity" / "imitation_cuda.c").read_text()
    assert "API int cudnnAddTensor(" in source
    broken = tmp_path / "broken.c"
    broken.write_text(source.replace("CHECK(bd->a[0] == 1 &&", "CHECK(bd->a[0] == 7 &&"))
    libraries = shutil.copytree(imitation, tmp_path / "libraries")
    words = [shutil.which("gcc") or "cc", "-O1", "-shared", "-fPIC", "-fvisibility=hidden"]
    subprocess.run([*words, "-o", libraries / "libcudnn.so.9", broken], check=True)
    process = run_cudnn(bundle, tmp_path / "output", "--libraries", libraries)
    assert process.returncode == 1
    assert "cudnnAddTensor returned" in process.stderr.splitlines()[-1]


def test_the_cudnn_program_says_in_one_line_that_it_cannot_run(bundle, tmp_path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here: tests/gpu runs the program on it")
    process = run_cudnn(bundle, tmp_path)
    assert process.returncode == 3
    assert len(process.stderr.splitlines()) == 1
    assert process.stderr.startswith("cudnn_cnn: no NVIDIA")


def test_our_kernels_say_in_a_line_that_there_is_no_gpu(bundle, tmp_path):
    program = [sys.executable, IMPLEMENTATIONS / "cuda_cnn.py", "--bundle", bundle.folder]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.run(
        [*program, "--output", tmp_path], capture_output=True, text=True, env=environment
    )
    assert process.returncode == 3
    assert process.stderr == "cuda_cnn: no NVIDIA GPU that this PyTorch can use\n"
    assert not list(tmp_path.iterdir())


def run_fortran_kernels(programs, bundle, output, **environment):
    words = [sys.executable, IMPLEMENTATIONS / "fortran_kernels.py", programs]
    words += ["--bundle", bundle.folder, "--output", output]
    return subprocess.run(words, capture_output=True, text=True, env=os.environ | environment)


def test_our_kernels_in_fortran_say_in_a_line_that_there_is_no_gpu(bundle, tmp_path):
    process = run_fortran_kernels(tmp_path, bundle, tmp_path / "out", CUDA_VISIBLE_DEVICES="")
    assert process.returncode == 3
    assert process.stderr == "fortran_kernels: no NVIDIA GPU that this PyTorch can use\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ends", ["exit 3", "kill -TERM $$"])
def test_our_kernels_in_fortran_end_as_the_fortran_program_does(
    bundle, tmp_path, monkeypatch, capfd, ends
):
    """With its arguments, its words and its status; the exported kernels are gone afterwards."""
    program = tmp_path / "clearice_parity"
    program.write_text(f'#!/bin/sh\necho "$@"; cat "$4/kernels.nml"; echo why >&2; {ends}\n')
    program.chmod(0o755)
    wrapper = load_implementation("fortran_kernels")
    monkeypatch.setattr(
        wrapper, "export_kernels", lambda folder: Path(folder, "kernels.nml").write_text("kernels")
    )
    status = wrapper.run(tmp_path, ["--bundle", "b"])
    said = capfd.readouterr()
    words = said.out.split()
    assert words[:3] == ["--device", "kernels", "--kernels"]
    assert words[4:] == ["--bundle", "b", "kernels"]
    assert said.err == "why\n"
    assert status == (3 if ends == "exit 3" else 128 + 15)
    assert not Path(words[3]).exists()


WRAPPED = """
import sys
from parity_bundle import load_implementation
wrapper = load_implementation("fortran_kernels")
wrapper.export_kernels = lambda folder: print(folder, flush=True)
if sys.argv[2] == "starting":
    begin = wrapper.subprocess.Popen
    def interrupted(words):
        program = begin(words)
        wrapper.signal.raise_signal(wrapper.signal.SIGTERM)
        return program
    wrapper.subprocess.Popen = interrupted
sys.exit(wrapper.main(sys.argv[1], []))
"""


@pytest.mark.parametrize("when", ["running", "starting"])
def test_our_kernels_in_fortran_leave_nothing_behind_when_they_are_ended(tmp_path, when):
    """As a timeout of the parity check ends a program."""
    program = tmp_path / "clearice_parity"
    program.write_text("#!/bin/sh\necho $$\nexec sleep 600\n")
    program.chmod(0o755)
    paths = [REPOSITORY / "workflow" / "scripts", REPOSITORY / "tests"]
    process = subprocess.Popen(
        [sys.executable, "-c", WRAPPED, tmp_path, when],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
    )
    folder = process.stdout.readline().strip()
    if when == "running":
        number = process.stdout.readline().strip()
        assert Path(folder).is_dir()
        process.terminate()
    assert process.wait(60) == 128 + 15
    assert not Path(folder).exists()
    if when == "running":
        assert not Path("/proc", number).exists()
    process.stdout.read()  # ends, for no program holds the other end any more


def test_our_kernels_in_fortran_say_that_there_is_no_program(tmp_path, monkeypatch, capsys):
    wrapper = load_implementation("fortran_kernels")
    monkeypatch.setattr(wrapper, "export_kernels", lambda folder: None)
    with pytest.raises(SystemExit) as ended:
        wrapper.run(tmp_path, [])
    assert ended.value.code == 3
    line = f"fortran_kernels: {tmp_path}/clearice_parity: No such file or directory\n"
    assert capsys.readouterr().err == line


OURS = ("cuda_cnn.py", "fortran_kernels.py")  # clearice's own engine


@pytest.mark.parametrize("name", ["numpy_cnn", "torch_cnn", "cudnn_cnn"])
def test_an_implementation_uses_nothing_from_clearice(name):
    for path in IMPLEMENTATIONS.glob("*.py"):
        assert path.name in OURS or "clearice" not in path.read_text()
    assert (IMPLEMENTATIONS / f"{name}.py").is_file()
