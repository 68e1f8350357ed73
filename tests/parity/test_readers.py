"""The readers in docs/implementers.md compile, run, and read what the bundle says."""

import re
import shutil
import subprocess

import pytest

from parity_bundle import IMPLEMENTATIONS, write_small_bundle

DOCUMENT = IMPLEMENTATIONS.parent.parent / "docs" / "implementers.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readers") / "bundle"
    write_small_bundle(folder)
    return folder


def build(tmp_path, compilers, language, suffix, *flags):
    """Compile the document's only block of that language; return the program."""
    compiler = next(filter(None, map(shutil.which, compilers)), None)
    if compiler is None:
        pytest.skip(f"none of {', '.join(compilers)} is installed here")
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.S)
    assert len(blocks) == 1
    source = tmp_path / f"read_bundle.{suffix}"
    source.write_text(blocks[0])
    program = tmp_path / "read_bundle"
    subprocess.run([compiler, *flags, "-o", program, source], check=True, cwd=tmp_path)
    return program


def read(*words):
    """Return the words of each line that a program prints."""
    process = subprocess.run(words, capture_output=True, text=True, check=True)
    return [line.split() for line in process.stdout.splitlines()]


def test_the_fortran_reader(folder, tmp_path):
    from clearice.reference.bundle import Bundle

    flags = ("-std=f2008", "-Wall", "-Werror", "-fcheck=all")
    program = build(tmp_path, ["gfortran"], "fortran", "f90", *flags)
    lines = read(program, folder)
    manifest = Bundle(folder).manifest
    assert [line[0] for line in lines] == list(manifest["cases"])
    for line in lines:
        entry = manifest["tensors"][f"{line[0]}_input"]
        assert [int(word) for word in line[1:5]] == entry["shape"]
        assert [float(word) for word in line[5:]] == pytest.approx(
            entry["first_values"][:2], rel=1e-7
        )


@pytest.mark.parametrize("name", ["test_input", "conv2_weight", "structured_relu2", "conv1_bias"])
def test_the_c_reader(folder, tmp_path, name):
    from clearice.reference.bundle import Bundle

    flags = ("-std=c99", "-Wall", "-Wextra", "-Werror")
    program = build(tmp_path, ["gcc", "cc", "clang"], "c", "c", *flags)
    ((found, *words),) = read(program, folder, name)
    entry = Bundle(folder).manifest["tensors"][name]
    assert found == name
    assert [int(word) for word in words[:4]] == (entry["shape"] + [1, 1, 1])[:4]
    assert [float(word) for word in words[4:]] == pytest.approx(entry["first_values"][:2], rel=1e-7)
