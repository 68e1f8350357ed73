"""Programs that do not end, escape, talk without end, or leave links: each has its verdict."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import run_implementation
from clearice.errors import InputError
from clearice.parity import programs

SECRET = "correct horse battery staple"


@pytest.fixture
def run(tmp_path):
    """A function that runs a program text as the rule does; it returns result.json."""

    def started(text, timeout_minutes=2):
        (tmp_path / "program.py").write_text(
            "import os, pathlib, signal, sys, time\nfolder = pathlib.Path(sys.argv[4])\n"
            f"secret = {str(tmp_path / 'secret')!r}\nother = {str(tmp_path / 'other')!r}\n{text}"
        )
        bundle = tmp_path / "bundle"
        bundle.mkdir(exist_ok=True)
        command = f"{{python}} {tmp_path}/program.py"
        output = tmp_path / "parity" / "mine" / "output"
        run_implementation.run_implementation(
            bundle / "manifest.json", output, command, "", timeout_minutes, "mine"
        )
        return json.loads((output / "result.json").read_text())

    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "result.json").write_text(json.dumps({"message": SECRET}))
    yield started
    assert (tmp_path / "secret").read_text() == SECRET
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["result.json"]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(programs, "STOP_S", 0.5)


def gone(pid):
    """Whether a process is no more, or dead and not yet buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
    except FileNotFoundError:
        return True


def test_a_program_that_never_ends_has_failed_after_its_time(run):
    result = run("print('on my way', file=sys.stderr)\ntime.sleep(600)", timeout_minutes=0.02)
    assert result["status"] == "failed"
    assert result["exit_status"] == -15
    expected = "stopped after 0.02 minutes (parity.implementations.mine.timeout_minutes)"
    assert result["message"] == expected


def test_one_that_ignores_the_signal_is_killed(run, impatient):
    text = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"
    assert run(text, timeout_minutes=0.02)["exit_status"] == -9


ESCAPE = {
    "a session of its own": "os.setsid()",
    "a daemon": "os.setsid()\n    if os.fork(): os._exit(0)\n    os.chdir('/')",
    "deaf": "os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "another program without our environment": "os.setsid()",
}


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux alone")
@pytest.mark.parametrize("how", ESCAPE)
def test_an_escaped_child_ends_and_holds_nothing(run, tmp_path, impatient, how):
    last = (
        "os.execve('/bin/sleep', ['sleep', '600'], {})" if "another" in how else "time.sleep(600)"
    )
    text = f"""
if os.fork() == 0:
    pid_file = {str(tmp_path / "pid")!r}
    {ESCAPE[how]}
    pathlib.Path(pid_file + ".part").write_text(str(os.getpid()))
    os.rename(pid_file + ".part", pid_file)
    {last}
while not pathlib.Path({str(tmp_path / "pid")!r}).exists():
    time.sleep(0.01)
"""
    result = run(text)
    assert result["status"] == "finished"
    assert result["seconds"] < 60  # not the 600 s of the child
    assert gone(int((tmp_path / "pid").read_text()))


def test_others_children_are_left_alone(run):
    other = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")
    try:
        assert run("")["status"] == "finished"
        assert not gone(other)
    finally:
        os.kill(other, 9)
        os.waitpid(other, 0)


@pytest.mark.parametrize("line", ["'x' * 1000 + '\\n'", "'x' * 1000", "'\\n'"])
def test_a_log_has_an_end(run, capfd, monkeypatch, line):
    monkeypatch.setattr(programs, "LOG_BYTES", 1 << 20)
    text = (
        f"for stream in (sys.stdout, sys.stderr):\n    for _ in range(5000): stream.write({line})"
    )
    result = run(text + "\nsys.exit('\\nthe reason')")
    assert result["message"] == "the reason"
    said = capfd.readouterr().out
    assert len(said) < (1 << 20) + 2000
    if len(line) > 6:
        assert "... cut: it printed more than 1 MiB" in said


def test_a_program_that_prints_without_end_is_stopped_in_time(run, monkeypatch, capfd):
    monkeypatch.setattr(programs, "LOG_BYTES", 1 << 16)
    result = run("while True: print('x' * 60)", timeout_minutes=0.02)
    assert "stopped after" in result["message"]
    assert len(capfd.readouterr().out) < 1 << 17


def test_a_last_line_of_any_length_is_cut(run):
    assert len(run("sys.exit('x' * 10_000_000)")["message"]) == programs.LINE_CHARACTERS


LINKS = {
    "result.json (a link)": "os.symlink(secret, folder / 'result.json')",
    "loss.tsv (a link)": "os.symlink(secret, folder / 'loss.tsv')",
    "x.bin (a link)": "os.symlink('/dev/zero', folder / 'x.bin')",
    "loss.tsv (a FIFO)": "os.mkfifo(folder / 'loss.tsv')",
    "result.json (a FIFO)": "os.mkfifo(folder / 'result.json')",
    "a/b/link (a link)": "os.makedirs(folder / 'a/b'); os.symlink('/', folder / 'a/b/link')",
    "a/b (a link)": "os.mkdir(folder / 'a'); os.symlink(other, folder / 'a/b')",
    ".snakemake_timestamp (a link)": "os.symlink(secret, folder / '.snakemake_timestamp')",
    "x.bin (1099511627776 bytes)": "os.truncate(os.open(folder / 'x.bin', 65), 1 << 40)",
}


@pytest.mark.parametrize("what", LINKS)
def test_what_is_no_file_of_its_own_is_removed_and_named(run, tmp_path, what):
    result = run(LINKS[what])
    assert result["status"] == "failed"
    assert result["message"] == f"removed from its output: {what}"
    left = [path for path in (tmp_path / "parity").rglob("*") if path.is_symlink()]
    assert left == []


def test_a_device_is_removed(run):
    if os.geteuid():
        pytest.skip("needs root to make a device")
    result = run("os.mknod(folder / 'loss.tsv', 0o20666, os.makedev(1, 5))")
    assert result["message"] == "removed from its output: loss.tsv (a device)"


def test_many_links_are_one_line(run):
    result = run("for n in range(1000): os.symlink('/', folder / f'{n:04}')")
    assert result["message"].endswith("0009 (a link) and 990 more")


def test_a_folder_that_became_a_link_touches_nothing(run, tmp_path):
    result = run("folder.rmdir(); os.symlink(other, folder)")
    assert result["message"] == "removed from its output: output (no folder any more)"
    assert not (tmp_path / "parity" / "mine" / "output").is_symlink()


def test_a_folder_above_that_became_a_link_is_an_error(run):
    text = "os.rename(folder.parent, str(folder.parent) + '2')\nos.mkdir(other + '2')\n"
    text += "os.symlink(other + '2', folder.parent)"
    with pytest.raises(InputError, match="was replaced by the program that writes into it"):
        run(text)


def test_a_hard_link_shows_nothing_of_the_other(run):
    result = run("os.link(other + '/result.json', folder / 'result.json')")
    assert SECRET not in json.dumps(result)
    assert "is a hard link of another file" in result["message"]


def test_a_record_of_any_size_is_read_up_to_a_limit(run):
    text = '\'{"message": "\' + "x" * 900_000 + \'"}\''
    assert len(run(f"(folder / 'result.json').write_text({text})")["message"]) == 1000
    result = run("os.truncate(os.open(folder / 'result.json', 65), 1 << 35)")
    assert "more than 1048576" in result["message"] or "removed" in result["message"]


def test_files_and_folders_that_nobody_asked_for_stay(run, tmp_path):
    result = run("(folder / 'log').mkdir(); (folder / 'log/a.txt').write_text('notes')")
    assert result["status"] == "finished"
    output = tmp_path / "parity" / "mine" / "output"
    assert (output / "log" / "a.txt").read_text() == "notes"


STOPPED = """
import os, signal, subprocess, sys, time
from clearice.bridge import run_command
from clearice.parity.programs import run_program
class Late(subprocess.Popen):  # the signal comes when the child is there and Popen has not returned
    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        print(self.pid, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
subprocess.Popen = Late
run_command(lambda: run_program(["sleep", "600"], 600))
"""


def test_a_job_that_is_stopped_while_it_starts_a_program_leaves_none():
    process = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True)
    assert process.returncode == 143, process.stderr
    assert gone(int(process.stdout))
