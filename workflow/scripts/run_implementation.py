"""Run one implementation on the reference bundle and record how it ended.

A command that crashes or cannot run here (exit status 3) is a fact for the verdict, not an error
of the workflow: the job succeeds and result.json says what happened.
"""

import contextlib
import functools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from clearice.bridge import run_job
from clearice.files import write_json
from clearice.parity.result_json import one_line, read_outcome
from clearice.reference.names import RESULT

CANNOT_RUN = 3
FORTRAN = "results/fortran"
STOP_S = 10  # for a command that is stopped to end by itself


def run_implementation(manifest, output, command, repository, **_only_for_the_workflow):
    """Run `command --bundle DIR --output OUTPUT`; write OUTPUT/result.json.

    `manifest`: the bundle's manifest.json. In the words of `command`, {python} stands for this
    interpreter, {repository} for the folder of the Snakefile and {fortran} for that of the built
    Fortran programs.
    """
    folder = Path(output)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    words = command_words(command, repository)
    words += ["--bundle", str(Path(manifest).parent), "--output", str(folder)]
    print(shlex.join(words), flush=True)
    start = time.perf_counter()
    status, last_line = _run(words)
    result = _own_result(folder)
    result |= {
        "status": {0: "finished", CANNOT_RUN: "not run"}.get(status, "failed"),
        "exit_status": status,
        "message": one_line(last_line) if status else result.get("message", ""),
        "seconds": round(time.perf_counter() - start, 3),
        "command": command,
    }
    write_json(folder / RESULT, result)
    print(f"{result['status']}, exit status {status}: {result['message']}")


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


def _run(words):
    """Return the exit status of a command and the last line of its standard error.

    What it prints goes to the log as it comes. A command that does not exist has status 127. If
    this job is stopped, so are the command and whatever it started.
    """
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={
                **os.environ,
                "PYTHONUNBUFFERED": "1",
                "CLEARICE_CUDA_LIBRARIES": os.pathsep.join(wheel_libraries()),
            },
            start_new_session=True,
        )
    except OSError as error:
        return 127, f"cannot start {words[0]}: {error.strerror}"
    try:  # at once: SIGTERM may come before the readers are there
        said = {process.stdout: [""], process.stderr: [""]}
        readers = [
            threading.Thread(target=_follow, args=item, daemon=True) for item in said.items()
        ]
        for reader in readers:
            reader.start()
        status = process.wait()
    finally:
        _stop_group(process)
    for reader in readers:
        reader.join()
    return status, said[process.stderr][-1]


def _follow(stream, last):
    """Print the lines of a stream as they come, and keep the last that is not empty."""
    with stream:
        for line in stream:
            print(line, end="", flush=True)
            last[0] = line.strip() or last[0]


def _stop_group(process):
    """Stop what is left of a command and its children: SIGTERM, and what ignores it SIGKILL."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        os.killpg(process.pid, signal.SIGKILL)


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
