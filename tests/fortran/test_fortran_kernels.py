"""Our own kernels in the Fortran programs: launched through an imitated driver, on the CPU.

What is launched is the kernels' own source (emulated_gpu.py); what launches it is what a GPU gets.
"""

import csv
import re
import shutil
import subprocess

import numpy as np
import pytest

from clearice.dataset.manifest import read_manifest
from clearice.dataset.namelists import dataset_namelists
from clearice.model.engines.cuda_blocks import (
    STRIP_PX,
    TRAINING_ROWS,
    Gpu,
    divide,
    training_block,
)
from clearice.model.engines.exported_kernels import CUBINS, GEOMETRY, geometry_namelist
from clearice.parity.comparison import compare
from conftest import REPOSITORY
from emulated_gpu import build, compiler
from imitated_cuda import build_libraries
from training_data import write_dataset

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++")
KIB = 1024
TINY = Gpu(110 * KIB, 112 * KIB, 2)  # two strips a block, four on the whole GPU
GPU_NAME = "imitation"


@pytest.fixture(scope="module")
def imitation(tmp_path_factory):
    """The environment in which only driver and runtime are found, and those imitated."""
    folder = build_libraries(tmp_path_factory.mktemp("libraries"))
    for library in folder.iterdir():
        if library.name.split(".")[0] not in ("libcuda", "libcudart"):
            library.unlink()
    return {"CLEARICE_CUDA_LIBRARIES": str(folder)}


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """A folder as Python exports it, with libraries for the CPU in the place of machine code."""
    folder, block = tmp_path_factory.mktemp("kernels"), training_block("float32", False, TINY)
    assert (block.units, block.units_at_once) == (2, 4)
    for file, layers in CUBINS.items():
        library = build(folder, "train.cu", block.macros | {"LAYERS": layers})._name
        numbers = f"{block.threads} {block.shared_bytes} {block.units} {layers}"
        (folder / file).write_text(f"{library}\n{numbers}\n")
    (folder / GEOMETRY).write_text(geometry_namelist(block, GPU_NAME))
    return folder


def parity(programs, bundle, output, kernels, environment):
    words = ["--bundle", bundle, "--output", output, "--device", "kernels", "--kernels", kernels]
    return programs.run("clearice_parity", *words, **environment)


def only_line(done):
    """Return the one line of standard error of a program that failed."""
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    return line


@pytest.mark.parametrize(
    "programs", ["checked", pytest.param("fast", marks=pytest.mark.long)], indirect=True
)
def test_the_kernels_pass(programs, bundle, kernels, imitation, tmp_path):
    done = parity(programs, bundle.folder, tmp_path, kernels, imitation)
    assert (done.returncode, done.stderr) == (0, "")
    verdict = compare(bundle, tmp_path)
    print(verdict["largest_errors"], verdict["worst_percent"])
    assert verdict["verdict"] == "passed", verdict["diagnosis"]
    assert verdict["original_tolerances"]
    assert verdict["repeat_bit_equal"]
    assert '"device": "imitation"' in (tmp_path / "result.json").read_text()


def losses_of(folder):
    with open(folder / "training_loss.tsv", newline="") as file:
        return np.array([float(row["loss"]) for row in csv.DictReader(file, delimiter="\t")])


def test_a_training_has_the_losses_of_the_cpu(fast, kernels, imitation, tmp_path):
    folder = tmp_path / "dataset"
    manifest = read_manifest(write_dataset(folder, train=(7,), test=(2,), size_px=12))
    (folder / "manifest.nml").write_text(dataset_namelists(manifest))
    words = ["clearice_train", "--dataset", folder, "--epochs", 3, "--learning-rate", "0.01"]
    for device in (["cpu"], ["kernels", "--kernels", kernels]):
        output = tmp_path / device[0]
        done = fast.run(*words, "--output", output, "--device", *device, **imitation)
        assert (done.returncode, done.stderr) == (0, "")
    ours, theirs = (losses_of(tmp_path / name) for name in ("kernels", "cpu"))
    assert len(ours) == len(theirs) == 6  # of four patches and of three, by turns
    assert np.abs(ours / theirs - 1).max() < 1e-5
    histories = [(tmp_path / name / "history.tsv").read_text() for name in ("kernels", "cpu")]
    rows = [list(csv.DictReader(text.splitlines(), delimiter="\t")) for text in histories]
    for one, other in zip(*rows, strict=True):
        for split in ("train_loss", "test_loss"):
            assert float(one[split]) == pytest.approx(float(other[split]), rel=1e-5)


def test_a_value_beyond_float16_ends_it_in_one_line(programs, bundle, kernels, imitation, tmp_path):
    folder = shutil.copytree(bundle.folder, tmp_path / "bundle")
    case = next(iter(bundle.manifest["cases"]))
    image = np.fromfile(folder / f"{case}_input.bin", "<f4")
    image[17] = 1e5
    image.tofile(folder / f"{case}_input.bin")
    line = only_line(parity(programs, folder, tmp_path / "out", kernels, imitation))
    assert "a value is beyond the range of float16 (65504)" in line
    assert line.endswith("use --device cpu or --device cuda")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (GEOMETRY, None, None, "kernels.nml: no such file; give the folder of exported kernels"),
        ("train.cubin", None, None, "train.cubin: no such file"),
        ("train_layers.cubin", ".so", ".os", "no machine code that imitation can load"),
        (GEOMETRY, "'imitation'", "'NVIDIA H200'", "another GPU: expected imitation, found NVIDIA"),
        (GEOMETRY, "'float32'", "'float16'", "kernels of another version: expected format_version"),
        (GEOMETRY, "&kernels", "&colonels", "no readable namelist kernels"),
        (GEOMETRY, "units = 2", "units = 0", "an impossible launch; export the kernels again"),
        (GEOMETRY, "sums = 2626", "sums = 2625", "an impossible launch"),
        (GEOMETRY, "shared_bytes = 1", "shared_bytes = 9", "cuFuncSetAttribute of train returned"),
        (GEOMETRY, "units = 2", "units = 1", "cuLaunchKernel returned"),
    ],
)
def test_kernels_that_cannot_be_used_are_one_line(
    fast, bundle, kernels, imitation, tmp_path, file, old, new, words
):
    folder = shutil.copytree(kernels, tmp_path / "kernels")
    if old is None:
        (folder / file).unlink()
    else:
        text = (folder / file).read_text()
        assert text.count(old) == 1
        (folder / file).write_text(text.replace(old, new))
    line = only_line(parity(fast, bundle.folder, tmp_path / "out", folder, imitation))
    assert words in line
    assert not (tmp_path / "out" / "result.json").exists()


def test_the_folder_must_be_named(fast, bundle, imitation, tmp_path):
    words = ["--bundle", bundle.folder, "--output", tmp_path / "out", "--device", "kernels"]
    line = only_line(fast.run("clearice_parity", *words, **imitation))
    assert line == "error: missing --kernels; --help lists the options"


@pytest.mark.parametrize("missing", ["libcuda.so.1", "libcudart.so.13"])
def test_without_driver_or_runtime_it_cannot_run(
    fast, bundle, kernels, imitation, tmp_path, missing
):
    libraries = tmp_path / "libraries"
    shutil.copytree(imitation["CLEARICE_CUDA_LIBRARIES"], libraries)
    (libraries / missing).unlink()
    environment = {"CLEARICE_CUDA_LIBRARIES": str(libraries)}
    done = parity(fast, bundle.folder, tmp_path / "out", kernels, environment)
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
    # Where the system has such a library of its own, the imitated other one does not suit it.
    assert missing.split(".")[0] in done.stderr or "the GPU cannot be used" in done.stderr
    assert not (tmp_path / "out").exists()


def test_images_are_cut_as_in_python(fast, tmp_path):
    """The same strips, segments and rows, for sizes and GPUs of all kinds."""
    objects = [fast.folder.parent / f"{name}.o" for name in modules_before("kernel_engine")]
    program = tmp_path / "divisions"
    words = ["gfortran", "-fopenmp", f"-I{fast.folder.parent}", "-o", program]
    source = REPOSITORY / "tests" / "fortran" / "divisions.f90"
    subprocess.run([*words, source, *objects, "-ldl", "-lpthread"], check=True)
    random = np.random.default_rng(0)
    sizes = np.exp(random.uniform(0, np.log([64, 5000, 5000, 1000]), (2000, 4))).astype(int)
    sizes[:3] = [(4, 1024, 1024, 528), (1, 1, 1, 1), (2, 16, 44, 4)]
    numbers = "\n".join(" ".join(map(str, row)) for row in sizes)
    given = f"{STRIP_PX} {TRAINING_ROWS}\n{numbers}\n"
    done = subprocess.run([program], input=given, capture_output=True, text=True, check=True)
    found = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    for (count, height, width, at_once), ours in zip(sizes.tolist(), found, strict=True):
        parts = divide(count, height, width, STRIP_PX, at_once, TRAINING_ROWS)
        assert ours == (parts.strips, parts.segments, parts.rows, parts.units)


def modules_before(name):
    """Return the names of the modules that the Makefile compiles before `name`."""
    text = (REPOSITORY / "fortran" / "Makefile").read_text()
    names = re.search(r"MODULES := ((?:.*\\\n)*.*)", text)[1].replace("\\", " ").split()
    return names[: names.index(name)]
