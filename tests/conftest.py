"""What the tests share: the repository, a tiny configuration, and Snakemake as a user runs it."""

import copy
import os
import subprocess
import sys
from pathlib import Path

# Two test processes on two cores, each with NumPy's threads, would wait for one another. NumPy
# reads this when it is imported, which is after this file.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
import yaml

collect_ignore = ["cluster"]  # needs a Slurm: make test-slurm

REPOSITORY = Path(__file__).resolve().parent.parent
REAL_DATA = Path(os.environ.get("CLEARICE_REAL_DATA", REPOSITORY.parent / "shared" / "data"))

TINY_CONFIG = {
    "simulation": {"count": 3, "height_px": 192, "width_px": 256, "particles": 4},
    "patches": {"size_px": 64, "stride_px": 64},
    "model": {
        "simple_cnn": {"epochs": 1, "device": "cpu"},
        "s2d_unet": {"epochs": 1, "device": "cpu"},
    },
    "reference": {"steps": 3, "crop_px": 32},
    "denoised": {"device": "cpu"},
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A small reference bundle, with real weights and real numbers, that nobody writes to."""
    from clearice.reference.bundle import Bundle  # here: PyTorch makes it
    from parity_bundle import write_small_bundle

    folder = tmp_path_factory.mktemp("reference") / "bundle"
    write_small_bundle(folder)
    return Bundle(folder)


@pytest.fixture
def one_thread():
    """PyTorch on one thread: last bits depend on the number, and many wait on a busy machine."""
    import torch  # here: tests without it start faster

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def repository():
    """The root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data():
    """The folder of real micrographs; the test is skipped where there is none."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real micrographs: set CLEARICE_REAL_DATA (looked in {REAL_DATA})")
    return REAL_DATA


@pytest.fixture
def tiny_config():
    """A configuration whose whole run takes seconds per step; a fresh copy to change."""
    return copy.deepcopy(TINY_CONFIG)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a model, m.safetensors."""
    from denoise_files import write_model  # brings PyTorch

    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "m.safetensors")
    return tmp_path


def write_config(directory, config):
    """Write config.yaml into a run folder."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def run_snakemake(directory, *arguments, check=True, timeout=540):
    """Run `snakemake --directory DIRECTORY ARGUMENTS` from the repository; return the process.

    stdout and stderr are text, joined in `.stdout`.
    """
    process = subprocess.run(
        [sys.executable, "-m", "snakemake", "--directory", str(directory), *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    if check and process.returncode != 0:
        logs = sorted(Path(directory).rglob("results/**/*.log"), key=os.path.getmtime)
        tail = logs[-1].read_text()[-3000:] if logs else ""
        pytest.fail(f"snakemake {arguments} failed:\n{process.stdout[-5000:]}\n{tail}")
    return process


def planned_jobs(directory, *arguments):
    """Return rule -> number of jobs that a dry run would start."""
    output = run_snakemake(directory, "--cores", "2", "--dry-run", *arguments).stdout
    if "Job stats:" not in output:
        return {}
    table = output.split("Job stats:")[1].split("\n\n")[0].splitlines()[3:]
    return {rule: int(count) for rule, count in (line.split() for line in table) if rule != "total"}
