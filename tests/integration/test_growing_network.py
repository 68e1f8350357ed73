"""New micrographs with continue_training: what is trained, what is denoised, and what stays."""

import csv
import json
import os

import numpy as np
import pytest

from clearice.micrographs.mrc_writer import write_micrograph
from conftest import planned_jobs, run_snakemake, write_config

pytestmark = [pytest.mark.slow, pytest.mark.long]

# "a" is held out by the hash of its name, the others are trained on, whichever come.
CONFIG = {
    "micrographs_per_job": 10,  # PyTorch starts once for all of them
    "micrographs": {
        "source": "files",
        "files": "half/*.mrc",
        "halves": {"input": "_EVN", "target": "_ODD"},
    },
    "patches": {"size_px": 32, "stride_px": 32},
    "model": {"simple_cnn": {"epochs": 2, "device": "cpu", "continue_training": True}},
    "reference": {"steps": 3, "crop_px": 32},
    "parity": {"implementations": {}},
    "denoised": {"architecture": "simple_cnn", "device": "cpu"},
    "validation": {"enabled": False},
}
RUN = ("--cores", "2", "--scheduler", "greedy")


def add_micrograph(run, name):
    generator = np.random.default_rng(ord(name))
    signal = generator.normal(size=(4, 6)).repeat(16, 0).repeat(16, 1)
    for half in ("EVN", "ODD"):
        pixels = (signal + generator.normal(size=signal.shape)).astype(np.float32)
        path = run / "half" / f"{name}_{half}.mrc"
        write_micrograph(path, [pixels], *pixels.shape, pixel_size_angstrom=1.0, label="test")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder of four micrographs; each test goes on where the last one ended."""
    directory = tmp_path_factory.mktemp("growing")
    write_config(directory, CONFIG)
    for name in "abde":
        add_micrograph(directory, name)
    run_snakemake(directory, *RUN, "denoised")
    return directory


def made_by(run):
    """Return micrograph -> stage of the network that denoised it."""
    records = [json.loads(p.read_text()) for p in (run / "results/denoised").glob("?.json")]
    return {record["micrograph"]: record["model"]["stage"] for record in records}


def times(run):
    return {p.name: os.stat(p).st_mtime_ns for p in (run / "results/denoised").glob("?.mrc")}


def stages(run):
    with open(run / "results/model/simple_cnn/history.tsv", newline="") as file:
        return [row["stage"] for row in csv.DictReader(file, delimiter="\t")]


def with_model(**keys):
    """Return the configuration with other settings of the network."""
    return CONFIG | {"model": {"simple_cnn": CONFIG["model"]["simple_cnn"] | keys}}


def test_a_new_micrograph_trains_the_network_further_and_old_results_stay(run):
    before = times(run)
    assert stages(run) == ["1", "1"]
    add_micrograph(run, "f")
    process = run_snakemake(run, *RUN, "report")
    assert "stage 2: the network of results/model/simple_cnn/stages/1 is" in process.stdout
    assert stages(run) == ["1", "1", "2", "2"]
    assert made_by(run) == {"a": 1, "b": 1, "d": 1, "e": 1, "f": 2}
    after = times(run)
    assert {name: after[name] for name in before} == before
    page = (run / "results/report/index.html").read_text()
    assert "4 of 5 micrographs were denoised by an earlier state of the network" in page
    assert "simple_cnn was trained in 2 stages" in page
    assert planned_jobs(run, "report") == {}


@pytest.mark.parametrize(
    ("config", "planned"),
    [
        (CONFIG | {"denoised": CONFIG["denoised"] | {"redo": True}}, {"denoise_micrograph": 4}),
        (with_model(continue_epochs=7), {}),
        (with_model(continue_training=False), {"denoise_micrograph": 5}),
        (
            with_model(learning_rate=0.5),
            {"train_denoiser": 1, "denoise_micrograph": 5},
        ),
    ],
)
def test_what_other_settings_make_again(run, config, planned):
    write_config(run, config)
    try:
        jobs = planned_jobs(run, "denoised")
    finally:
        write_config(run, CONFIG)
    assert {rule: count for rule, count in jobs.items() if rule in planned} == planned
    assert jobs.keys() <= {*planned, "denoised", "total"}


def test_a_micrograph_that_is_gone_trains_anew_and_denoises_all_again(run):
    for path in (run / "half").glob("b_*.mrc"):
        path.unlink()
    before = times(run)
    process = run_snakemake(run, *RUN, "denoised")
    assert "starts anew: trained on before, and not in the dataset any more: b" in process.stdout
    assert stages(run) == ["1", "1"]
    after = times(run)
    assert all(after[f"{name}.mrc"] > before[f"{name}.mrc"] for name in "adef")
    assert (run / "results/model/simple_cnn/stages.other/2/denoiser.safetensors").exists()
    assert planned_jobs(run, "denoised") == {}
