#!/usr/bin/env python3
"""simple_cnn in clearice's own CUDA kernels, launched by the Fortran programs.

    fortran_kernels.py PROGRAMS --bundle DIR --output DIR

PROGRAMS is the folder of the built Fortran programs. The kernels are compiled for the GPU that is
here, into a temporary folder; the rest is clearice_parity's work. Exit status 3: no GPU, no NVRTC
or no program that can run here.
"""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from torch_cnn import cannot_run

sys.path.append(str(Path(__file__).resolve().parents[1] / "scripts"))

try:
    from clearice.model.engines.cuda_compiler import CudaError
    from clearice.model.engines.exported_kernels import export_kernels
    from clearice.stopping import stopping_signals
except ImportError as error:
    cannot_run(f"fortran_kernels: {error}")


_stopped, _programs = [], []  # signals that came; what runs


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
        _programs.append(program)
        if _stopped:  # before it was noted
            program.kill()
        status = program.wait()
        return status if status >= 0 else 128 - status  # of a signal: as a shell says it


def stop(number, _frame):
    """End the program: a timeout ends this one by a signal, and folder and program are to go.

    Raises nothing, or a program that has just been started might be lost.
    """
    _stopped.append(number)
    for program in _programs:
        program.kill()


def main(programs, arguments):
    """Run, and hear signals; return the exit status."""
    for number in stopping_signals():
        signal.signal(number, stop)
    status = run(programs, arguments)
    return 128 + _stopped[0] if _stopped else status


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: fortran_kernels.py PROGRAMS --bundle DIR --output DIR")
    sys.exit(main(sys.argv[1], sys.argv[2:]))
