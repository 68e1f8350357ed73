"""Running an implementation: whatever it does is recorded, and nothing stops the workflow."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import require_parity
import run_implementation
from clearice.errors import InputError
from conftest import REPOSITORY


def run(tmp_path, command, repository="/nowhere", timeout_minutes=5):
    """Run a command as the rule does; return result.json."""
    output = tmp_path / "output"
    manifest = tmp_path / "bundle" / "manifest.json"
    run_implementation.run_implementation(
        manifest, output, command, repository, timeout_minutes, "mine"
    )
    return json.loads((output / "result.json").read_text())


def script(tmp_path, text):
    """Write a Python program that knows its output folder; return the command that runs it."""
    path = tmp_path / "a program.py"
    head = "import json, pathlib, sys\nfolder = pathlib.Path(sys.argv[4])  # after --output\n"
    path.write_text(head + text)
    return f"{{python}} '{path}'"


def test_a_command_that_ends_well_is_finished(tmp_path):
    command = script(tmp_path, "(folder / 'result.json').write_text('{\"device\": \"abacus\"}')")
    result = run(tmp_path, command)
    assert result["status"] == "finished"
    assert result["exit_status"] == 0
    assert result["device"] == "abacus"
    assert result["seconds"] > 0


def test_a_crash_is_recorded_with_its_last_line(tmp_path):
    result = run(tmp_path, script(tmp_path, "print('so far'); raise RuntimeError('beta is 1')"))
    assert result["status"] == "failed"
    assert result["exit_status"] == 1
    assert result["message"] == "RuntimeError: beta is 1"


def test_exit_status_3_is_not_run(tmp_path):
    result = run(tmp_path, script(tmp_path, "print('no GPU', file=sys.stderr); sys.exit(3)"))
    assert result["status"] == "not run"
    assert result["message"] == "no GPU"


def test_a_signal_is_a_failure(tmp_path):
    result = run(tmp_path, script(tmp_path, "import os; os.kill(os.getpid(), 11)"))
    assert result["status"] == "failed"
    assert result["exit_status"] == -11


def test_a_command_that_does_not_exist_is_a_failure(tmp_path):
    result = run(tmp_path, "/no/such/program --fast")
    assert result["status"] == "failed"
    assert result["exit_status"] == 127
    assert "/no/such/program" in result["message"]


def test_a_result_that_is_not_json_is_replaced(tmp_path):
    result = run(tmp_path, script(tmp_path, "(folder / 'result.json').write_text('{oops')"))
    assert result["status"] == "finished"
    assert "not JSON" in result["message"]


@pytest.mark.parametrize(
    "text", ["'[' * 100000", "json.dumps({'message': 7, 'x': '\\ud800'})", "'{\"x\": 1e999}'"]
)
def test_a_hostile_result_stops_nothing(tmp_path, text):
    result = run(tmp_path, script(tmp_path, f"(folder / 'result.json').write_text({text})"))
    assert result["status"] == "finished"
    assert isinstance(result["message"], str)


def test_a_folder_in_place_of_the_result_is_replaced(tmp_path):
    result = run(tmp_path, script(tmp_path, "(folder / 'result.json').mkdir()"))
    assert result["message"] == "result.json cannot be read: Is a directory"


def test_colours_of_an_error_do_not_stay(tmp_path):
    result = run(tmp_path, script(tmp_path, "sys.exit('\x1b[31mno GPU\x1b[0m')"))
    assert result["message"] == "?[31mno GPU?[0m"


def test_old_results_are_gone_before_the_command_starts(tmp_path):
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "test_output.bin").write_bytes(b"stale")
    run(tmp_path, script(tmp_path, ""))
    assert not (tmp_path / "output" / "test_output.bin").exists()


def test_placeholders_may_stand_for_paths_with_spaces():
    words = run_implementation.command_words("{python} {repository}/x.py --fast 'a b'", "/my repo")
    assert words == [sys.executable, "/my repo/x.py", "--fast", "a b"]


def write_verdicts(tmp_path, **verdicts):
    paths = []
    for name, verdict in verdicts.items():
        path = tmp_path / f"{name}.json"
        content = {"implementation": name, "verdict": verdict, "worst_percent": 5.0}
        path.write_text(json.dumps(content))
        paths.append(str(path))
    return paths


def test_a_required_verdict_that_failed_is_an_error_that_names_it(tmp_path):
    verdicts = write_verdicts(tmp_path, numpy="passed", fortran="failed", cudnn="not run")
    with pytest.raises(InputError, match="parity failed for fortran"):
        require_parity.require_parity(verdicts, tmp_path / "summary.json", required=True)
    require_parity.require_parity(verdicts, tmp_path / "summary.json", required=False)
    summary = json.loads((tmp_path / "summary.json").read_text())
    rows = {row["implementation"]: row["verdict"] for row in summary["implementations"]}
    assert rows == {"numpy": "passed", "fortran": "failed", "cudnn": "not run"}


STOPPED = """
import signal, sys
from run_implementation import run_implementation
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
run_implementation(*sys.argv[1:], "", 5, "mine")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the process in /proc")
def test_a_job_that_is_stopped_stops_what_the_command_started(tmp_path):
    pids = tmp_path / "pids"
    command = f"sh -c 'sleep 1000 & echo $! > {pids}.part; mv {pids}.part {pids}; wait' "
    words = [sys.executable, "-c", STOPPED, tmp_path / "manifest.json", tmp_path / "out", command]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow" / "scripts")}
    with subprocess.Popen(words, env=environment) as job:
        while not pids.exists():
            assert job.poll() is None
            time.sleep(0.01)
        job.terminate()
    assert job.returncode == 143
    assert ended(int(pids.read_text()))


def ended(pid):
    """Whether a process ends soon; a dead one may wait for whoever adopted it to notice."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().split(")")[-1].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False


def test_what_cannot_run_here_fails_nothing_and_stays_visible(tmp_path):
    verdicts = write_verdicts(tmp_path, numpy="passed", cudnn="not run")
    require_parity.require_parity(verdicts, tmp_path / "summary.json", required=True)
    assert "not run" in (tmp_path / "summary.json").read_text()
