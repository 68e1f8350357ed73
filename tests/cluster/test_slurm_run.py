"""The whole workflow on a real Slurm, from a fresh clone; what stays on this machine stays."""

import subprocess

from cluster.conftest import BIN, NUMPY, config
from cluster.slurm_configuration import CPU_PARTITION, GPU_PARTITION
from conftest import REPOSITORY, write_config
from faults.archive_server import micrograph_bytes, running_archive

# A toy has no GPU: the training runs on the CPU, but is sent to where GPUs are.
ON_A_GPU = ["--set-resources", "train_denoiser:gpu=1", "--set-threads", "train_denoiser=2"]


def test_the_demo_runs_from_a_fresh_clone(start, tmp_path):
    clone, folder = tmp_path / "clone", tmp_path / "run"
    subprocess.run(["git", "clone", "-q", REPOSITORY, clone], check=True)
    write_config(folder, config(numpy=NUMPY))
    run = start(folder, *ON_A_GPU, repository=clone)
    said = run.wait()
    assert "Traceback" not in said
    assert (folder / "results" / "report" / "index.html").exists()
    verified = subprocess.run([BIN / "clearice", "verify", folder / "results"])
    assert verified.returncode == 0

    jobs = run.jobs_of("")
    assert {job["state"] for job in jobs} == {"COMPLETED"}
    comments = [job["comment"] for job in jobs]
    assert len(set(comments)) == len(comments)  # nothing was done twice
    trainings = run.jobs_of("rule_train_denoiser")
    assert len(trainings) == 2
    for job in trainings:
        assert job["partition"] == GPU_PARTITION
        assert job["alloccpus"] == "2"
        assert "gres/gpu=1" in job["alloctres"]
    assert {job["partition"] for job in jobs if job not in trainings} == {CPU_PARTITION}
    for job in jobs:  # what the rules ask for, and not what the cluster gives by default
        assert job["reqmem"].endswith(("M", "G"))
        assert job["timelimit"] not in ("1-00:00:00", "UNLIMITED")
    # The numbers of a job are those of its rule, on whatever node it parses the workflow.
    assert (
        '"threads": 2'
        in (folder / "results" / "model" / "simple_cnn" / "training.json").read_text()
    )

    again = start(folder, *ON_A_GPU, repository=clone)
    assert "Nothing to be done" in again.wait()


def test_downloads_and_the_plan_stay_on_this_machine(start, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    names = ["a.mrc", "b.mrc"]
    with running_archive() as archive:
        listing = "".join(f'<a href="{name}">{name}</a>' for name in names)
        archive.files["/10025/data/averaged/"] = f"<html>{listing}</html>".encode()
        for k, name in enumerate(names):
            archive.files[f"/10025/data/averaged/{name}"] = micrograph_bytes(tmp_path, seed=k)
        empiar = {"entry": "10025", "directory": "data/averaged", "base_url": archive.url}
        settings = config() | {"micrographs": {"source": "empiar"}, "empiar": empiar}
        write_config(tmp_path, settings)
        run = start(tmp_path, "micrographs", "plan")
        run.wait()
    assert run.jobs() == []
    assert all((tmp_path / "results" / "micrographs" / name).exists() for name in names)
    assert "2 accepted" in (tmp_path / "results" / "plan.log").read_text()
