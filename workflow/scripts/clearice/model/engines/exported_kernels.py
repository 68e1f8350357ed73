"""The training kernels as files, for programs that launch them through CUDA's driver.

    python -m clearice.model.engines.exported_kernels DIR

compiles them for the first GPU, in float32 grade for images in float32. DIR gets train.cubin,
train_layers.cubin (which keeps what conv1 and conv2 put out) and, last, kernels.nml: a Fortran
namelist of what a launch needs. The kernels are described in cuda/train.cu and cuda/reduction.cuh.
Exit status 3: no GPU or no NVRTC that can be used.
"""

import sys
from pathlib import Path

import torch

from clearice.files import atomic_path, write_text
from clearice.model.engines.cuda_blocks import (
    STRIP_PX,
    SUM_COLUMNS,
    SUM_THREADS,
    SUMS,
    SUMS_STRIDE,
    TRAINING_ROWS,
    training_block,
)
from clearice.model.engines.cuda_compiler import CudaError, compile_cubin, gpu_of, obstacle
from clearice.namelist import namelist

PRECISION = "float32"
CUBINS = {"train.cubin": 0, "train_layers.cubin": 1}  # name -> the macro LAYERS
GEOMETRY = "kernels.nml"
_FORMAT_VERSION = 1
_CANNOT_RUN = 3


def export_kernels(folder):
    """Compile the kernels for this process's first GPU and write them into `folder`.

    Raises CudaError where there is no such GPU, or no NVRTC.
    """
    if torch.version.cuda is None or not torch.cuda.is_available():
        raise CudaError("no NVIDIA GPU that this PyTorch can use")
    device = torch.device("cuda", 0)
    capability = torch.cuda.get_device_capability(device)
    if reason := obstacle(capability):
        raise CudaError(reason)
    write_kernels(folder, capability, gpu_of(device), torch.cuda.get_device_name(device))


def write_kernels(folder, capability, gpu, name):
    """Write the kernels for a Gpu of that compute capability and name, which need not be here."""
    folder, block = Path(folder), training_block(PRECISION, False, gpu)
    if block is None:
        raise CudaError(f"{gpu.block_bytes} bytes of shared memory per block: too few")
    for file, layers in CUBINS.items():
        cubin, _ = compile_cubin("train.cu", block.macros | {"LAYERS": layers}, capability)
        with atomic_path(folder / file) as temporary:
            temporary.write_bytes(cubin)
    write_text(folder / GEOMETRY, geometry_namelist(block, name))


def geometry_namelist(block, gpu_name):
    """Return what a launcher needs to know of a Block of the kernel train, and of sum_strips."""
    facts = {
        "format_version": _FORMAT_VERSION,
        "precision": PRECISION,
        "gpu": gpu_name,
        "threads": block.threads,
        "shared_bytes": block.shared_bytes,
        "units": block.units,
        "units_at_once": block.units_at_once,
        "strip_px": STRIP_PX,
        "least_rows": TRAINING_ROWS,
        "sums": SUMS,
        "sums_stride": SUMS_STRIDE,
        "sum_threads": SUM_THREADS,
        "sum_columns": SUM_COLUMNS,
    }
    return namelist("kernels", facts)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m clearice.model.engines.exported_kernels DIR")
    try:
        export_kernels(sys.argv[1])
    except CudaError as error:
        print(str(error).splitlines()[0], file=sys.stderr)
        sys.exit(_CANNOT_RUN)
