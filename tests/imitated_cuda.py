"""CUDA, cuBLAS and cuDNN for tests: libraries that compute on the CPU and check every argument."""

import shutil
import subprocess

import pytest

from conftest import REPOSITORY

LIBRARIES = (
    "libcuda.so.1",
    "libcudart.so.13",
    "libcublasLt.so.13",
    "libcublas.so.13",
    "libnvrtc.so.13",
    "libcudnn.so.9",
)


def build_libraries(folder):
    """Build the imitated libraries, each under its own name, into `folder`; return it."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here to build the imitated cuDNN with")
    source = REPOSITORY / "tests" / "parity" / "imitation_cuda.c"
    for name in LIBRARIES:
        words = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden"]
        subprocess.run([*words, "-o", folder / name, source, "-ldl", "-lm"], check=True)
    return folder
