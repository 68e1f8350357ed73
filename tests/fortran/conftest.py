"""The Fortran programs, built as the README says and once more with every run-time check."""

import os
import shutil
import subprocess

import pytest

from conftest import REPOSITORY


class Programs:
    """The folder of the built programs, and how tests call them."""

    def __init__(self, folder):
        self.folder = folder

    def run(self, name, *arguments, timeout=120, **environment):
        """Run a program; return the finished process, its output as text."""
        words = [self.folder / name, *map(str, arguments)]
        env = {**os.environ, "OMP_NUM_THREADS": "2", **environment}
        return subprocess.run(words, capture_output=True, text=True, timeout=timeout, env=env)


def build(folder, *targets):
    """Build into `folder`; skip where there is no compiler."""
    if shutil.which("gfortran") is None or shutil.which("make") is None:
        pytest.skip("no gfortran and make here to build the Fortran programs with")
    words = ["make", "--silent", "-C", REPOSITORY / "fortran", f"BUILD={folder}", *targets]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return Programs(folder / "bin")


@pytest.fixture(scope="session")
def fast(tmp_path_factory):
    """The programs as a user builds them."""
    return build(tmp_path_factory.mktemp("fortran"))


@pytest.fixture(scope="session")
def checked(tmp_path_factory):
    """The programs with -fcheck=all, stopped by invalid operations, overflow, division by zero."""
    folder = tmp_path_factory.mktemp("fortran_checked")
    build(folder, "check")
    return Programs(folder / "checked" / "bin")


@pytest.fixture(params=["fast", "checked"])
def programs(request):
    """Either build."""
    return request.getfixturevalue(request.param)
