"""Build the Fortran programs, or leave programs that say why they could not be built."""

import functools
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from clearice.bridge import run_job
from clearice.files import atomic_path

LOG = "results/fortran/build_fortran.log"
# Runs on every x86 processor since 2013, and so on all nodes of a cluster; make alone builds for
# the processor that it runs on.
PORTABLE = {"x86_64": "-O3 -march=x86-64-v3"}


def build_fortran(programs, repository, **_only_for_the_workflow):
    """Build `programs` (paths, named as the sources are); never fails for want of a compiler."""
    with tempfile.TemporaryDirectory() as folder:
        reason = _build(Path(repository) / "fortran", Path(folder))
        for program in programs:
            built = Path(folder) / "bin" / Path(program).name
            with atomic_path(program) as temporary:
                if reason:
                    temporary.write_text(f"#!/bin/sh\necho {shlex.quote(reason)} >&2\nexit 3\n")
                else:
                    shutil.copyfile(built, temporary)
                temporary.chmod(0o755)
    print(reason or "built")


def _build(sources, folder):
    """Build into `folder`; return why that was not possible, or None."""
    for tool in ("gfortran", "make"):
        if shutil.which(tool) is None:
            return f"no {tool} here to build the Fortran programs with"
    # What a make above this one, or the user's shell, has in its variables is not meant for us.
    environment = {k: v for k, v in os.environ.items() if k not in ("FC", "MAKEFLAGS", "TUNE")}
    tune = PORTABLE.get(platform.machine(), "-O3")
    words = ["make", "-C", str(sources), f"BUILD={folder}", f"TUNE={tune}"]
    done = subprocess.run(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    print(done.stdout)
    if done.returncode:
        return f"the Fortran programs could not be built here, see {LOG}"
    return None


if "snakemake" in globals():
    # Not a param: another checkout is no reason to build again.
    repository = Path(__file__).resolve().parents[2]
    run_job(functools.partial(build_fortran, repository=repository), snakemake)
