"""A Slurm for these tests, and the workflow sent to it by the profile, as a user does it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from cluster.loopback_slurm import LoopbackSlurm, run_text, why_not
from cluster.slurm_configuration import CPU_PARTITION, GPU_PARTITION
from conftest import REPOSITORY, TINY_CONFIG, write_config

PROFILE = "workflow/profiles/slurm"
BIN = Path(sys.executable).parent
LIMIT_S = 1800  # a job costs half a minute where two cores are three nodes
NUMPY = "{python} {repository}/workflow/implementations/numpy_cnn.py"
# The toy answers at once, and its file system is a local disk.
HASTE = [
    "--slurm-init-seconds-before-status-checks=2",
    "--seconds-between-status-checks=2",
    "--latency-wait=10",
]


def pytest_collection_modifyitems(items):
    """A whole run takes longer than other tests may."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(LIMIT_S))


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A Slurm of three nodes that is stopped afterwards, whatever happened."""
    if reason := why_not():
        pytest.exit(reason, returncode=1)
    cluster = LoopbackSlurm(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
        if table := os.environ.get("CLEARICE_JOB_TABLE"):  # for docs/cluster.md
            fields = "jobid,comment,partition,alloccpus,reqmem,timelimit,elapsed,state,maxrss"
            jobs = run_text("sacct", "-a", "-P", "-S", "now-1hour", "-o", fields)
            Path(table).write_text(jobs, encoding="utf-8")
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def partitions(tmp_path_factory):
    """The file that says which partitions there are, as a user writes it."""
    most = {"max_runtime": "1-00:00:00", "max_mem_mb": 6000, "max_threads": 2}
    path = tmp_path_factory.mktemp("partitions") / "partitions.yaml"
    both = {CPU_PARTITION: most, GPU_PARTITION: most | {"max_gpu": 1}}
    path.write_text(yaml.safe_dump({"partitions": both}))
    return path


class Run:
    """`snakemake --workflow-profile workflow/profiles/slurm --directory FOLDER ARGUMENTS`."""

    def __init__(self, repository, folder, partitions, *arguments):
        self.folder, self.path = folder, folder / f"said.{time.monotonic_ns()}"
        self.since = time.strftime("%Y-%m-%dT%H:%M:%S")
        command = [BIN / "snakemake", "--workflow-profile", PROFILE, *HASTE]
        command += [f"--slurm-partition-config={partitions}", "--directory", folder, *arguments]
        # A clone's jobs take its own library, and not that of the checkout that is installed.
        library = {"PYTHONPATH": str(repository / "workflow" / "scripts")}
        with open(self.path, "wb") as said:
            self.process = subprocess.Popen(
                command,
                cwd=repository,
                env=os.environ | library,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    @property
    def said(self):
        """What stands on the terminal."""
        return self.path.read_text()

    @property
    def run_id(self):
        """The name of its jobs."""
        (name,) = re.findall(r"^[0-9:]{8}  SLURM run ID: (\S+)$", self.said, re.MULTILINE)
        return name

    def wait(self, status=0):
        """Wait until it ends with that exit status; return what it said."""
        assert self.process.wait(LIMIT_S) == status, self.said[-6000:]
        return self.said

    def signal(self, number):
        """Send a signal to Snakemake and to all that it started on this machine."""
        os.killpg(self.process.pid, number)

    def jobs(self):
        """Return its jobs as Slurm's accounting knows them, dicts of text, in their order."""
        fields = "jobidraw,comment,partition,alloccpus,reqmem,timelimit,elapsed,state,nodelist"
        fields += ",alloctres"
        lines = run_text(
            *("sacct", "-X", "-n", "-P", "-S", self.since, f"--name={self.run_id}", "-o", fields)
        ).splitlines()
        return [dict(zip(fields.split(","), line.split("|"), strict=True)) for line in lines]

    def jobs_of(self, comment):
        """Return those jobs whose comment (rule_NAME_wildcards_VALUES) contains that text.

        The accounting has it when a job has ended.
        """
        wait_for(lambda: all(j["state"] != "RUNNING" for j in self.jobs()))
        return [job for job in self.jobs() if comment in job["comment"]]


@pytest.fixture
def start(slurm, partitions):
    """A function that starts a Run; what still works at the end is killed, with its jobs."""
    runs = []

    def started(folder, *arguments, repository=REPOSITORY):
        runs.append(Run(repository, folder, partitions, *arguments))
        return runs[-1]

    yield started
    for run in runs:
        with contextlib.suppress(ProcessLookupError):
            run.signal(signal.SIGKILL)
        run.process.wait()
        if "SLURM run ID: " in run.said:
            subprocess.run(["scancel", f"--name={run.run_id}"], check=True)
            wait_for(lambda run=run: not queue(run.run_id))


@pytest.fixture(scope="session")
def bundle(slurm, tmp_path_factory):
    """A run folder that has everything up to the reference bundle, made on this machine."""
    folder = tmp_path_factory.mktemp("bundle")
    write_config(folder, config())
    command = [BIN / "snakemake", "--workflow-profile", "workflow/profiles/default"]
    command += ["--cores", "2", "--directory", folder, "reference"]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    return folder


@pytest.fixture
def run_folder(bundle, tmp_path):
    """A function (implementations) that returns a copy of the bundle's run with those in it."""

    def made(**implementations):
        folder = tmp_path / "run"
        shutil.copytree(bundle, folder, symlinks=True)
        write_config(folder, config(**implementations))
        return folder

    return made


def config(**implementations):
    """Return a configuration that is done in seconds, with implementations name -> command."""
    commands = {name: {"command": command} for name, command in implementations.items()}
    return TINY_CONFIG | {"parity": {"implementations": commands}}


def queue(run_id):
    """Return the ids of the jobs of that name that have not ended."""
    return run_text("squeue", "-h", "-o", "%i", f"--name={run_id}").split()


def wait_for(happened, limit_s=LIMIT_S):
    """Wait until something is true; return it."""
    until_s = time.monotonic() + limit_s
    while not (result := happened()):
        assert time.monotonic() < until_s
        time.sleep(0.2)
    return result
