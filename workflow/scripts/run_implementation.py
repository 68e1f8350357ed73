"""Run one implementation on the reference bundle and record how it ended.

A command that crashes or cannot run here (exit status 3) is a fact for the verdict, not an error
of the workflow: the job succeeds and result.json says what happened.
"""

import functools
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

from clearice.bridge import run_job
from clearice.files import write_json
from clearice.parity.folder import OutputFolder
from clearice.parity.programs import run_program
from clearice.parity.result_json import one_line, read_outcome
from clearice.reference.names import RESULT

CANNOT_RUN = 3
FORTRAN = "results/fortran"


def run_implementation(
    manifest, output, command, repository, timeout_minutes, name, **_only_for_the_workflow
):
    """Run `command --bundle DIR --output OUTPUT`; write OUTPUT/result.json.

    `manifest`: the bundle's manifest.json. In the words of `command`, {python} stands for this
    interpreter, {repository} for the folder of the Snakefile and {fortran} for that of the built
    Fortran programs. `name`: that of the implementation, which is stopped after `timeout_minutes`.
    """
    folder, bundle = OutputFolder(output), Path(manifest).parent
    words = command_words(command, repository)
    words += ["--bundle", str(bundle), "--output", str(folder.path)]
    print(shlex.join(words), flush=True)
    environment = {"CLEARICE_CUDA_LIBRARIES": os.pathsep.join(wheel_libraries())}
    start = time.perf_counter()
    status, last_line, timed_out = run_program(words, 60 * timeout_minutes, environment)
    seconds = time.perf_counter() - start
    # float64 results of a float32 bundle are twice as large.
    removed = folder.clean(2 * sum(p.stat().st_size for p in bundle.glob("*") if p.is_file()))
    result = _own_result(folder.path)
    message = one_line(last_line) if status else result.get("message", "")
    outcome = {0: "finished", CANNOT_RUN: "not run"}.get(status, "failed")
    if timed_out:
        key = f"parity.implementations.{name}.timeout_minutes"
        outcome, message = "failed", f"stopped after {timeout_minutes:g} minutes ({key})"
    elif removed:
        outcome, message = "failed" if outcome == "finished" else outcome, removed
    result |= {
        "status": outcome,
        "exit_status": status,
        "message": message,
        "seconds": round(seconds, 3),
        "command": command,
    }
    write_json(folder.path / RESULT, result)
    print(f"{outcome}, exit status {status}: {message}")


def command_words(command, repository):
    """Return the words of a command with its placeholders filled in; a path may have spaces."""
    fill = {"{python}": sys.executable, "{repository}": str(repository), "{fortran}": FORTRAN}
    words = shlex.split(command)
    for placeholder, value in fill.items():
        words = [word.replace(placeholder, value) for word in words]
    return words


def wheel_libraries():
    """Return the folders of CUDA libraries that came with this Python's wheels."""
    places = [Path(entry) for entry in sys.path if entry]
    return [str(lib) for place in places for lib in sorted(place.glob("nvidia/*/lib"))]


def _own_result(folder):
    """Return what the implementation says of itself, or why that cannot be read."""
    path = folder / RESULT
    record, fault = read_outcome(path)
    if fault and path.exists():
        record = {"message": fault}
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    return record


if "snakemake" in globals():
    # Not a param: another checkout is no reason to run again.
    repository = Path(__file__).resolve().parents[2]
    run_job(functools.partial(run_implementation, repository=repository), snakemake)
