"""What goes wrong on a cluster: too little memory, scancel, a node that dies, a lost Snakemake."""

import os
import signal
import subprocess

import pytest

from clearice.files import read_json
from clearice.seals import read_seal
from cluster.conftest import BIN, NUMPY, REPOSITORY, TINY_CONFIG, queue, wait_for
from cluster.loopback_slurm import ACCOUNT, run_text
from conftest import write_config
from mrc_files import noise_image, write_mrc

# An implementation that is not done the first time, whatever it meets.
ONCE = """
import os, sys, time
mark = __file__.replace(".py", ".mark")  # not among the words: files there are inputs
if not os.path.exists(mark):
    with open(mark, "w") as file:
        file.write(os.environ["SLURMD_NODENAME"])
    {first}
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
SLEEPS, EATS = "time.sleep(600)", "filled = b'x' * (3 << 30); time.sleep(600)"
WAITS = "while not os.path.exists(mark + '.go'): time.sleep(0.2)"


@pytest.fixture
def stuck(run_folder, tmp_path):
    """A function (what it does the first time) that returns a run folder and the program's mark."""

    def made(first):
        program, mark = tmp_path / "once.py", tmp_path / "once.mark"
        program.write_text(ONCE.format(first=first))
        command = NUMPY.replace("{python} ", f"{{python}} {program} ")
        return run_folder(once=command), mark

    return made


def test_a_job_that_takes_too_much_memory_is_tried_again_with_more(stuck, start):
    folder, _ = stuck(EATS)
    run = start(folder, "parity")
    run.wait()
    first, second = run.jobs_of("run_implementation")
    assert first["state"] != "COMPLETED"
    assert second["state"] == "COMPLETED"
    assert mib(second["reqmem"]) == 2 * mib(first["reqmem"])
    assert minutes(second["timelimit"]) == 2 * minutes(first["timelimit"])
    (log,) = folder.glob(f".snakemake/slurm_logs/*/*/{first['jobidraw']}.log")
    assert "exceeded memory limit" in log.read_text()
    assert "tried again: run_implementation" in run.said
    assert_good(folder)


def test_a_job_that_the_administrator_cancelled_is_tried_again(stuck, start):
    folder, mark = stuck(SLEEPS)
    run = start(folder, "parity")
    wait_for(mark.exists)
    (job,) = queue(run.run_id)
    subprocess.run(["scancel", job], check=True)
    run.wait()
    first, second = run.jobs_of("run_implementation")
    assert first["state"].startswith("CANCELLED")
    assert second["state"] == "COMPLETED"
    assert "tried again: run_implementation" in run.said
    assert_good(folder)


def test_a_node_that_goes_down_costs_its_jobs_one_attempt(stuck, start, slurm):
    folder, mark = stuck(SLEEPS)
    run = start(folder, "parity")
    node = wait_for(lambda: mark.exists() and mark.read_text())
    try:
        slurm.power_off(node)
        down = ["scontrol", "update", f"nodename={node}", "state=down", "reason=test"]
        subprocess.run(down, check=True)
        run.wait()
    finally:
        slurm.power_on(node)
        subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"], check=True)
    first, second = run.jobs_of("run_implementation")
    assert first["state"] == "NODE_FAIL"
    assert first["nodelist"] == node
    assert second["state"] == "COMPLETED"
    assert second["nodelist"] != node
    assert "tried again: run_implementation" in run.said
    assert_good(folder)


def test_jobs_of_a_killed_run_stop_the_next_one_until_they_are_cancelled(stuck, start):
    folder, mark = stuck(SLEEPS)
    killed = start(folder, "parity")
    wait_for(mark.exists)
    other = run_text(
        "sbatch", "--parsable", "-A", ACCOUNT, "-o", "/dev/null", "--wrap=sleep 600"
    ).strip()
    try:
        killed.signal(signal.SIGKILL)
        killed.process.wait()
        (living,) = queue(killed.run_id)

        refused = start(folder, "parity")
        said = refused.wait(status=1)
        (line,) = [x for x in said.splitlines() if x.startswith("error: ")]
        assert "jobs of another run are still in Slurm's queue" in line
        assert f"process {killed.process.pid} on " in line
        assert line.endswith(f"clearice cancel --directory {folder}")
        assert "SLURM run ID" not in said  # it sent nothing
        assert queue(killed.run_id) == [living]

        cancelled = clearice("cancel", "--directory", folder)
        assert cancelled.returncode == 0, cancelled.stdout
        assert "1 jobs of process" in cancelled.stdout
        assert queue(killed.run_id) == []
        assert run_text("squeue", "-h", "-o", "%i", "-j", other).split() == [other]
    finally:
        subprocess.run(["scancel", other], check=True)
    run = start(folder, "parity")
    assert "Traceback" not in run.wait()
    assert [job["state"] for job in killed.jobs_of("")] == ["CANCELLED by 0"]
    rules = [job["comment"] for job in run.jobs_of("")]
    assert sorted(rules) == [
        "rule_compare_implementation_wildcards_once",
        "rule_run_implementation_wildcards_once",
    ]
    assert_good(folder)
    assert "no jobs of a run" in clearice("cancel", "--directory", folder).stdout


def test_what_jobs_of_a_killed_run_finished_is_not_done_again(stuck, start):
    folder, mark = stuck(WAITS)
    killed = start(folder, "parity")
    wait_for(mark.exists)
    killed.signal(signal.SIGKILL)
    killed.process.wait()
    mark.with_name(f"{mark.name}.go").touch()
    wait_for(lambda: not queue(killed.run_id))
    run = start(folder, "parity")
    run.wait()
    assert [job["state"] for job in killed.jobs()] == ["COMPLETED"]
    assert [job["comment"] for job in run.jobs_of("")] == [
        "rule_compare_implementation_wildcards_once"
    ]
    assert_good(folder)


def test_a_training_on_slurm_is_cancelled_with_a_checkpoint_and_goes_on(start, bundle, tmp_path):
    """kill -9 of Snakemake and `clearice cancel`; then Ctrl-C, which ends the jobs by itself."""
    folder = tmp_path / "run"
    subprocess.run(["cp", "-a", bundle, folder], check=True)
    forever = {"epochs": 100_000, "device": "cpu", "checkpoint_minutes": 60, "threads": 1}
    write_config(folder, TINY_CONFIG | {"model": {"simple_cnn": forever}})
    model = folder / "results" / "model" / "simple_cnn"
    target = "results/model/simple_cnn/denoiser.safetensors"
    checkpoint, log = model / "checkpoint.pt", model / "train_denoiser.log"
    checkpoint.unlink(missing_ok=True)
    log.unlink()
    run = start(folder, target)
    wait_for(lambda: log.exists() and "epoch 3 of 100000: " in log.read_text())
    run.signal(signal.SIGKILL)
    run.process.wait()
    assert clearice("cancel", "--directory", folder).returncode == 0
    assert checkpoint.exists(), log.read_text()
    assert "continues from here" in log.read_text()

    log.unlink()
    run = start(folder, target)
    wait_for(lambda: log.exists() and "of 100000: " in log.read_text())
    assert queue(run.run_id)
    checkpoint.unlink()
    os.kill(run.process.pid, signal.SIGINT)
    run.process.wait(60)
    wait_for(lambda: not queue(run.run_id))
    assert checkpoint.exists(), log.read_text()


def test_the_line_of_a_failed_job_stands_in_its_logs(start, tmp_path):
    for k, name in enumerate("abc"):
        write_mrc(tmp_path / f"{name}.mrc", noise_image(192, 256, seed=k))
    bad = tmp_path / "d.mrc"
    bad.write_bytes((tmp_path / "a.mrc").read_bytes()[:20_000])
    files = {"source": "files", "files": "*.mrc", "on_error": "stop", "max_rejected_fraction": 0.9}
    files["settle_minutes"] = 0  # it is not still being written
    write_config(tmp_path, TINY_CONFIG | {"micrographs": files})
    run = start(tmp_path, "--retries=0", "shards")
    assert "run failed" in run.wait(status=1)
    for folder in (".snakemake/slurm_logs", "results/shards"):
        logs = "".join(path.read_text() for path in (tmp_path / folder).rglob("*.log"))
        assert "d.mrc: truncated: expected " in logs
    assert "FAILED" in [job["state"] for job in run.jobs_of("shard_micrograph")]


def clearice(*arguments):
    return subprocess.run(
        [BIN / "clearice", *arguments], capture_output=True, text=True, cwd=REPOSITORY
    )


def assert_good(folder):
    """The verdict is that of a program which ran to its end, once, and its seal is whole."""
    result = folder / "results" / "parity" / "once"
    assert read_json(result / "verdict.json")["verdict"] == "passed"
    assert read_seal(result / "verdict.json")
    verified = clearice("verify", folder / "results")
    assert verified.returncode == 0, verified.stdout


def mib(text):
    """Return Slurm's memory (684M, 1.37G) in MiB."""
    return float(text[:-1]) * {"M": 1, "G": 1024}[text[-1]]


def minutes(text):
    """Return Slurm's time ([days-]hours:minutes:seconds) in minutes."""
    days, _, rest = text.rpartition("-")
    hours, minute, _ = map(int, rest.split(":"))
    return (int(days or 0) * 24 + hours) * 60 + minute
