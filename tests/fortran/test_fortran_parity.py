"""The Fortran network against the bundle, on the CPU and on an imitated cuDNN; and its faults."""

import re
import shutil
import signal
import subprocess
import time

import pytest

from clearice.parity.comparison import compare
from conftest import REPOSITORY
from imitated_cuda import LIBRARIES, build_libraries
from small_disk import small_disk


@pytest.fixture(scope="module")
def imitation(tmp_path_factory):
    """The folder of the imitated CUDA libraries."""
    return build_libraries(tmp_path_factory.mktemp("libraries"))


def parity(programs, bundle, output, *arguments, **options):
    words = ["--bundle", bundle.folder, "--output", output, *arguments]
    return programs.run("clearice_parity", *words, **options)


def test_the_cpu_engine_passes(programs, bundle, tmp_path):
    done = parity(programs, bundle, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    verdict = compare(bundle, tmp_path)
    assert verdict["verdict"] == "passed", verdict["diagnosis"]
    assert verdict["original_tolerances"]
    assert verdict["repeat_bit_equal"]


def test_the_result_does_not_depend_on_the_number_of_threads(fast, bundle, tmp_path):
    for threads in ("1", "3"):
        done = parity(fast, bundle, tmp_path / threads, OMP_NUM_THREADS=threads)
        assert done.returncode == 0, done.stderr
    for file in (tmp_path / "1").glob("*.bin"):
        assert file.read_bytes() == (tmp_path / "3" / file.name).read_bytes(), file.name


def test_the_cudnn_engine_passes_on_an_imitation(programs, bundle, imitation, tmp_path):
    options = {"CLEARICE_CUDA_LIBRARIES": f"/nowhere:{imitation}"}
    done = parity(programs, bundle, tmp_path, "--device", "cuda", **options)
    assert (done.returncode, done.stderr) == (0, "")
    verdict = compare(bundle, tmp_path)
    assert verdict["verdict"] == "passed", verdict["diagnosis"]
    assert verdict["original_tolerances"]
    assert '"device": "imitation"' in (tmp_path / "result.json").read_text()


@pytest.mark.parametrize("missing", [LIBRARIES[0], LIBRARIES[1], LIBRARIES[3], LIBRARIES[5]])
def test_without_a_library_it_cannot_run_and_says_which(fast, bundle, imitation, tmp_path, missing):
    libraries = shutil.copytree(imitation, tmp_path / "libraries")
    (libraries / missing).unlink()
    options = {"CLEARICE_CUDA_LIBRARIES": str(libraries)}
    done = parity(fast, bundle, tmp_path / "out", "--device", "cuda", **options)
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
    # Where the system has such a library of its own, the imitated driver does not suit it.
    assert missing.split(".")[0] in done.stderr or "the GPU cannot be used" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind here")
def test_valgrind_finds_no_error(checked, bundle, tmp_path):
    words = ["valgrind", "--quiet", "--error-exitcode=99", "--leak-check=no"]
    program = checked.folder / "clearice_parity"
    words += [program, "--bundle", bundle.folder, "--output", tmp_path]
    done = subprocess.run(words, capture_output=True, text=True, env={"OMP_NUM_THREADS": "1"})
    assert (done.returncode, done.stderr) == (0, "")


def copy_of(bundle, tmp_path):
    """Return a copy of the bundle that a test may damage."""
    return shutil.copytree(bundle.folder, tmp_path / "bundle")


def only_line(done):
    """Return the one line of standard error of a program that failed."""
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    return line


def damaged(programs, folder, output):
    return only_line(programs.run("clearice_parity", "--bundle", folder, "--output", output))


def test_a_tensor_that_is_cut_short_is_one_line(programs, bundle, tmp_path):
    folder = copy_of(bundle, tmp_path)
    file = folder / "structured_target.bin"
    file.write_bytes(file.read_bytes()[:-4])
    line = damaged(programs, folder, tmp_path / "out")
    size = file.stat().st_size
    assert line.startswith(f"error: {file}: not the size of its tensor: expected {size + 4} bytes")
    assert f"found {size}" in line


def test_a_tensor_that_is_missing_is_one_line(programs, bundle, tmp_path):
    folder = copy_of(bundle, tmp_path)
    (folder / "conv2_weight.bin").unlink()
    assert damaged(programs, folder, tmp_path / "out").endswith("conv2_weight.bin: no such file")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("format_version = 1", "format_version = 2", "a bundle of another version: expected"),
        ("cases = 4", "cases = 5", "fewer cases than it says"),
        ("cases = 4", "cases = 400000", "an impossible number of cases"),
        ("  h = 27", "  h = -27", "an impossible case structured"),
        ("crops = 5", "crops = 4", "a training step with crops that do not exist"),
        ("steps = 7", "steps = seven", "no readable namelist training"),
        ("&bundle", "&bndl", "no readable namelist bundle"),
    ],
)
def test_a_namelist_that_makes_no_sense_is_one_line(programs, bundle, tmp_path, old, new, words):
    folder = copy_of(bundle, tmp_path)
    text = (folder / "manifest.nml").read_text()
    assert text.count(old) == 1
    (folder / "manifest.nml").write_text(text.replace(old, new))
    assert words in damaged(programs, folder, tmp_path / "out")


def test_a_full_disk_is_one_line_and_leaves_no_part(programs, bundle, tmp_path):
    with small_disk(tmp_path / "disk", 0.2) as disk:
        line = only_line(parity(programs, bundle, disk / "out"))
        assert "No space left on device" in line
        assert "make room" in line
        assert not list((disk / "out").glob("*.part"))


def test_an_interruption_leaves_no_part(fast, bundle, tmp_path):
    words = [fast.folder / "clearice_parity", "--bundle", bundle.folder, "--output", tmp_path]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("*.bin")):
        time.sleep(0.001)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == "interrupted\n"
    assert process.returncode == 128 + signal.SIGINT
    assert not list(tmp_path.glob("*.part"))
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "missing --output"),
        (("--bundel", "x"), "unknown option --bundel"),
        (("--output",), "no value after --output"),
        (("--output", "o", "--bundle", "nowhere"), "nowhere/manifest.nml: no such file"),
    ],
)
def test_a_wrong_command_is_one_line(fast, arguments, words):
    assert words in only_line(fast.run("clearice_parity", *arguments))


def test_help_says_how_to_call_it(fast):
    for name in ("clearice_parity", "clearice_train", "clearice_load"):
        done = fast.run(name, "--help")
        assert done.returncode == 0
        assert done.stdout.startswith(name)
        assert max(map(len, done.stdout.splitlines())) <= 80


def test_no_variable_of_a_procedure_is_saved_by_being_initialised():
    """`integer :: i = 0` in a procedure keeps its value from call to call: no one expects that."""
    declaration = re.compile(
        r"^\s*(integer|real|logical|character|complex|type)\b.*::.*[^=/<>]=[^=]"
    )
    for file in sorted((REPOSITORY / "fortran").rglob("*.f90")):
        inside = False  # between contains and the end of a module or program
        for number, line in enumerate(file.read_text().splitlines(), 1):
            code = line.split("!")[0]
            inside |= code.strip() == "contains" and not code.startswith("    contains")
            initialised = declaration.match(code) and "parameter" not in code
            assert not (inside and initialised), f"{file.name}:{number}: {line}"
            assert not re.search(r"\bsave\b", code), f"{file.name}:{number}: {line}"


def test_every_file_is_read_in_one_sitting_and_says_what_it_is_for():
    for file in sorted((REPOSITORY / "fortran").rglob("*.f90")):
        lines = file.read_text().splitlines()
        assert len(lines) <= 300, file.name
        assert max(map(len, lines)) <= 100, file.name
        assert lines[0].startswith("!> "), file.name
        assert sum("implicit none (type, external)" in line for line in lines) == 1, file.name
