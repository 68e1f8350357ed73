"""The CUDA kernels on a CPU: compiled by g++, with emulated_gpu.h in the place of PTX.

What runs is the source that NVRTC compiles, but for the functions that hold PTX.
"""

import ctypes
import functools
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

from clearice.model.engines.cuda_blocks import (
    PLANE_STRIP_PX,
    STRIP_PX,
    Gpu,
    divide,
    plane_block,
    training_block,
)
from clearice.model.engines.cuda_compiler import SOURCES

WEIGHTS, SUMS, SUMS_STRIDE = 2625, 2626, 2656
SMALL = Gpu(99 * 1024, 100 * 1024, 1)  # few strips per block: fewer coroutines
_HEADER = Path(__file__).with_name("emulated_gpu.h")
_WORDS = """#define __device__
#define __forceinline__ inline
#define __global__
#define __launch_bounds__(...)
#define __shared__ static
"""
_LAUNCHES = {
    "train.cu": """
extern "C" void run_train(int blocks, int threads, int bytes, const Patch *patches,
    const Pixel *inputs, const Pixel *targets, float *partial, const float *weights,
    float *outputs, int count, int height, int width, int strips, int segments, int rows,
    float *layers) {
  launch(blocks, threads, bytes, [=] { train(patches, inputs, targets, partial, weights, outputs,
      count, height, width, strips, segments, rows
#if LAYERS
      , layers
#endif
  ); });
}
extern "C" void run_sum_strips(int blocks, int threads, const float *partial, int strips,
    float *sums, float scale) {
  launch(blocks, threads, 0, [=] { sum_strips(partial, strips, sums, scale); });
}
extern "C" void run_take_step(const float *sums, float *weights, float *means, float *squares,
    float *steps, int *stopped, float *error, float error_scale, int optimizer, float rate,
    double beta1, double beta2, float epsilon) {
  launch(1, STEP_THREADS, 0, [=] { take_step(sums, weights, means, squares, steps, stopped, error,
      error_scale, optimizer, rate, beta1, beta2, epsilon); });
}
""",
    "denoise.cu": """
extern "C" void run_denoise(int blocks, int threads, int bytes, const Pixel *plane, float *output,
    const float *weights, i64 plane_stride, i64 output_stride, int height, int width, int strips,
    int segments, int rows, float scale, float offset) {
  launch(blocks, threads, bytes, [=] { denoise(plane, output, weights, plane_stride,
      output_stride, height, width, strips, segments, rows, scale, offset); });
}
""",
}


def compiler():
    """Return the path of a C++ compiler, None where there is none."""
    return shutil.which("g++")


def without_ptx(text):
    """Return CUDA source without the functions that hold PTX, which emulated_gpu.h has."""
    kept, place = [], 0
    for found in re.finditer(r"^DEVICE [^;{}]*\{", text, re.MULTILINE):
        end = text.index("}\n", found.start())
        while text[found.start() : end + 1].count("{") > text[found.start() : end + 1].count("}"):
            end = text.index("}", end + 1)
        if "asm" in text[found.start() : end]:
            kept.append(text[place : found.start()])
            place = end + 1
    return "".join(kept) + text[place:]


def build(folder, name, macros):
    """Compile a source file for the CPU; return it as a ctypes library."""
    for path in SOURCES.glob("*.cu*"):
        text = without_ptx(path.read_text())
        text = re.sub(r"extern __shared__ .*;", "char *shared = emulated_shared;", text)
        (folder / path.name).write_text(text)
    macros = {"LAYERS": 0, **macros}
    source = folder / f"emulated_{macros['LAYERS']}_{name.replace('.cu', '.cpp')}"
    included = f'#include "{_HEADER}"\n#include "{name}"\n'
    source.write_text(_WORDS + included + _LAUNCHES[name])
    library = source.with_suffix(".so")
    options = ["-std=c++17", "-O2", "-shared", "-fPIC", "-w", "-ffp-contract=off"]
    options += [f"-D{macro}={value}" for macro, value in macros.items()]
    subprocess.run([compiler(), *options, str(source), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def address(array):
    """Return a pointer to an array's values, None for None."""
    return None if array is None else array.ctypes.data_as(ctypes.c_void_p)


class EmulatedKernels:
    """The kernels of one precision and type of images; arrays are NumPy's.

    `order` is that of blocks and threads (see emulated_gpu.h), which no result may depend on.
    """

    order = 0

    def __init__(self, folder, precision, half_images):
        self.dtype = np.dtype(np.float16 if half_images else np.float32)
        self._folder = folder
        self._block = training_block(precision, half_images, SMALL)
        self._plane_block = plane_block(precision, half_images, SMALL)

    @functools.cached_property
    def _train(self):
        return build(self._folder, "train.cu", self._block.macros)

    @functools.cached_property
    def _train_with_layers(self):
        return build(self._folder, "train.cu", self._block.macros | {"LAYERS": 1})

    @functools.cached_property
    def _denoise(self):
        return build(self._folder, "denoise.cu", self._plane_block.macros)

    def sums(
        self, weights, size, *, table=None, batch=(None, None), output=None, segments=1, layers=None
    ):
        """Return (2626,): the gradients of the sum of squared differences, and that sum.

        `size` is (N, H, W); patches come from a `table` (N, 4) int64, or from a `batch`. `layers`
        (N, 2, 16, H, W), if given, gets what conv1 and conv2 put out.
        """
        block = self._block
        parts = divide(*size, STRIP_PX, size[0] * -(-size[2] // STRIP_PX) * segments, 1)
        partial = np.full((parts.units, SUMS_STRIDE), np.nan, np.float32)
        pointers = (address(table), *map(address, batch), address(partial), address(weights))
        division = (parts.strips, parts.segments, parts.rows)
        blocks = -(-parts.units // block.units)
        launch = (blocks, block.threads, block.shared_bytes)
        train = self._train if layers is None else self._train_with_layers
        train.set_order(self.order)
        train.run_train(*launch, *pointers, address(output), *size, *division, address(layers))
        sums = np.full(SUMS, np.nan, np.float32)
        self._train.set_order(self.order)
        scale = ctypes.c_float(2.0)
        self._train.run_sum_strips(
            -(-SUMS // 32), 1024, address(partial), parts.units, address(sums), scale
        )
        return sums

    def take_step(self, sums, weights, means, squares, steps, stopped, kind, rate):
        """Take a step in place; return half the error."""
        error = np.full(1, 7, np.float32)
        arrays = map(address, (sums, weights, means, squares, steps, stopped, error))
        numbers = (ctypes.c_float(rate), ctypes.c_double(0.9), ctypes.c_double(0.999))
        half = ctypes.c_float(0.5)
        self._train.run_take_step(*arrays, half, kind, *numbers, ctypes.c_float(1e-8))
        return float(error[0])

    def denoise(self, plane, weights, scale, offset):
        """Return network(plane) * scale + offset."""
        block, (height, width) = self._plane_block, plane.shape
        parts = divide(1, height, width, PLANE_STRIP_PX, 2 * -(-width // PLANE_STRIP_PX), 8)
        output = np.full((height, width), np.nan, np.float32)
        strides = (ctypes.c_longlong(plane.strides[0] // plane.itemsize), ctypes.c_longlong(width))
        launch = (-(-parts.units // block.units), block.threads, block.shared_bytes)
        pointers = map(address, (plane, output, weights))
        division = (parts.strips, parts.segments, parts.rows)
        numbers = (ctypes.c_float(scale), ctypes.c_float(offset))
        self._denoise.set_order(self.order)
        self._denoise.run_denoise(*launch, *pointers, *strides, height, width, *division, *numbers)
        return output
