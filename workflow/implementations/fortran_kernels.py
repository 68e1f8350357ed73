#!/usr/bin/env python3
"""simple_cnn in clearice's own CUDA kernels, launched by the Fortran programs.

    fortran_kernels.py PROGRAMS --bundle DIR --output DIR

PROGRAMS is the folder of the built Fortran programs. The kernels are compiled for the GPU that is
here, into a temporary folder; the rest is clearice_parity's work. Exit status 3: no GPU, no NVRTC
or no program that can run here.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from torch_cnn import cannot_run

sys.path.append(str(Path(__file__).resolve().parents[1] / "scripts"))

try:
    from clearice.model.engines.cuda_compiler import CudaError
    from clearice.model.engines.exported_kernels import export_kernels
    from clearice.stopping import ends_orderly
except ImportError as error:
    cannot_run(f"fortran_kernels: {error}")


def run(programs, arguments):
    """Export the kernels and run clearice_parity with them; return its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            export_kernels(folder)
        except CudaError as error:
            cannot_run(f"fortran_kernels: {str(error).splitlines()[0]}")
        words = [Path(programs) / "clearice_parity", "--device", "kernels", "--kernels", folder]
        try:
            program = subprocess.Popen([*words, *arguments])
        except OSError as error:
            cannot_run(f"fortran_kernels: {words[0]}: {error.strerror}")
        with program:
            try:
                status = program.wait()
            finally:
                program.kill()
        return status if status >= 0 else 128 - status  # of a signal: as a shell says it


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: fortran_kernels.py PROGRAMS --bundle DIR --output DIR")
    with ends_orderly():  # a timeout ends it by a signal: the folder and the program go, too
        sys.exit(run(sys.argv[1], sys.argv[2:]))
