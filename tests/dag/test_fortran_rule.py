"""The rule that builds the Fortran programs: with a compiler, and without one."""

import os
import subprocess
import sys
from pathlib import Path

import build_fortran
from conftest import REPOSITORY


def test_without_a_compiler_the_programs_say_so_and_exit_with_3(tmp_path, monkeypatch):
    programs = [tmp_path / name for name in ("clearice_parity", "clearice_train")]
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    build_fortran.build_fortran(programs, REPOSITORY)
    for program in programs:
        done = subprocess.run([program, "--bundle", "x"], capture_output=True, text=True)
        assert done.returncode == 3
        assert done.stderr == "no gfortran here to build the Fortran programs with\n"


def test_a_compiler_that_fails_leaves_programs_that_say_so(tmp_path, monkeypatch):
    broken = tmp_path / "bin" / "gfortran"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho no such option >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}{os.pathsep}{os.environ['PATH']}")
    build_fortran.build_fortran([tmp_path / "clearice_load"], REPOSITORY)
    done = subprocess.run([tmp_path / "clearice_load"], capture_output=True, text=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
    assert "could not be built here, see results/fortran/build_fortran.log" in done.stderr
