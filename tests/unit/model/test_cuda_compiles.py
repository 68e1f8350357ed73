"""Every variant of the CUDA kernels compiles, for GPUs that are not here, and spills little.

NVRTC needs no GPU. Spills cost more than anything else in these kernels: a change that makes the
compiler run out of registers is a slower training, which nothing else here would notice.
"""

import subprocess
import sys

import pytest

from clearice.model.engines.cuda_blocks import PRECISIONS, Gpu, plane_block, training_block
from clearice.model.engines.cuda_compiler import (
    CudaError,
    compile_cubin,
    obstacle,
    resources_of,
)

pytest.importorskip("cuda.bindings.nvrtc", reason="needs cuda-bindings")
KIB = 1024
GPUS = {  # compute capability -> a GPU that has it
    (8, 0): Gpu(163 * KIB, 164 * KIB, 108),
    (8, 9): Gpu(99 * KIB, 100 * KIB, 128),
    (9, 0): Gpu(227 * KIB, 228 * KIB, 132),
}
MOST_SPILLED_BYTES = 64  # per thread: those of the measured kernels are 36 at most
CAPABILITIES = pytest.mark.parametrize("capability", GPUS, ids=lambda c: "sm_{}{}".format(*c))
VARIANTS = pytest.mark.parametrize(
    ("precision", "half_images"), [(p, half) for p in PRECISIONS for half in (False, True)]
)


def compiled(name, block, capability, **macros):
    """Return kernel -> (registers, spilled bytes)."""
    cubin, log = compile_cubin(name, block.macros | macros, capability, cached=False)
    assert cubin[:4] == b"\x7fELF"
    assert "warning" not in log, log
    found = resources_of(log)
    print(name, capability, block.macros, found)
    return found


@CAPABILITIES
@VARIANTS
def test_the_training_kernels_fit_their_registers(precision, half_images, capability):
    block = training_block(precision, half_images, GPUS[capability])
    found = compiled("train.cu", block, capability)
    assert found.keys() == {"train", "sum_strips", "take_step"}
    registers, spilled = found["train"]
    assert registers <= block.register_limit
    assert spilled <= MOST_SPILLED_BYTES
    for name in ("sum_strips", "take_step"):
        assert found[name][0] <= 64  # 1,024 threads each
        assert found[name][1] <= 16


@CAPABILITIES
@VARIANTS
def test_the_plane_kernel_fits_its_registers(precision, half_images, capability):
    block = plane_block(precision, half_images, GPUS[capability])
    registers, spilled = compiled("denoise.cu", block, capability)["denoise"]
    assert registers <= block.register_limit
    assert spilled <= MOST_SPILLED_BYTES


@pytest.mark.parametrize("precision", PRECISIONS)
def test_layers_can_be_kept(precision):
    gpu = GPUS[9, 0]
    assert "train" in compiled("train.cu", training_block(precision, False, gpu), (9, 0), LAYERS=1)


def test_a_mistake_is_shown_as_the_compiler_says_it():
    block = training_block("float32", False, GPUS[9, 0])
    with pytest.raises(CudaError, match=r"train\.cu does not compile with(.|\n)*SPLIT"):
        compile_cubin("train.cu", block.macros | {"SPLIT": "wrong"}, (9, 0))


def test_which_gpus_there_are_kernels_for():
    assert obstacle((9, 0)) is None
    assert obstacle((8, 0)) is None
    assert "7.5, 8.0 is needed" in obstacle((7, 5))
    assert "too old for compute capability 99.0" in obstacle((99, 0))


EMPTY_LOG = """
import ctypes
from cuda.bindings import nvrtc
from clearice.model.engines import cuda_compiler
from clearice.model.engines.cuda_blocks import Gpu, plane_block

nvrtc.nvrtcGetProgramLogSize = lambda program: (0, 1)

def write_empty_log(program, buffer):
    place = id(buffer) + bytes.__basicsize__ - 1
    assert ctypes.string_at(place, len(buffer)) == buffer
    ctypes.memset(place, 0, 1)
    return (0,)

nvrtc.nvrtcGetProgramLog = write_empty_log
macros = plane_block("float16", True, Gpu(163 << 10, 164 << 10, 108)).macros
cubin, log = cuda_compiler.compile_cubin("denoise.cu", macros, (8, 0))
assert log == ""
print(list(b" " * 3), [n for n in range(256) if bytes([n])[0] != n])
"""


def test_an_empty_log_is_written_over_nobodys_bytes():
    """As NVRTC writes it for what it has in its cache: one byte, a 0."""
    process = subprocess.run([sys.executable, "-c", EMPTY_LOG], capture_output=True, text=True)
    assert process.stdout == "[32, 32, 32] []\n", process.stderr
