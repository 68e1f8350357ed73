"""The dataset under Snakemake: the cost of a new, edited or moved micrograph, and what survives."""

import numpy as np
import pytest

from clearice.dataset.verification import dataset_faults
from clearice.micrographs.mrc_writer import write_micrograph
from conftest import planned_jobs, run_snakemake, write_config

pytestmark = pytest.mark.slow

CONFIG = {
    "micrographs": {
        "source": "files",
        "files": "half/*.mrc",
        "halves": {"input": "_EVN", "target": "_ODD"},
    },
    "patches": {"size_px": 32, "stride_px": 32},
}
RUN = ("--cores", "2", "--scheduler", "greedy", "dataset")


def add_micrograph(directory, name):
    generator = np.random.default_rng(ord(name))
    for half in ("EVN", "ODD"):
        pixels = generator.normal(size=(64, 96)).astype(np.float32)
        path = directory / "half" / f"{name}_{half}.mrc"
        write_micrograph(path, [pixels], 64, 96, pixel_size_angstrom=1.0, label="noise")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a dataset of three micrographs; each test continues from the last."""
    directory = tmp_path_factory.mktemp("growth")
    write_config(directory, CONFIG)
    for name in "abd":
        add_micrograph(directory, name)
    run_snakemake(directory, *RUN)
    assert dataset_faults(directory / "results" / "dataset") == []
    return directory


def binaries(run):
    return {path.name: path.read_bytes() for path in (run / "results" / "dataset").glob("*.bin")}


def test_growth_and_an_edited_shard(run):
    dataset = run / "results" / "dataset"
    before, inodes = binaries(run), {p.name: p.stat().st_ino for p in dataset.glob("*.bin")}
    assert len(before) == 4

    add_micrograph(run, "c")
    assert planned_jobs(run, "dataset")["shard_micrograph"] == 1
    run_snakemake(run, *RUN)
    grown = binaries(run)
    assert sorted(len(grown[name]) - len(before[name]) for name in before) == [0, 0, 24576, 24576]
    for name, content in before.items():
        assert grown[name].startswith(content)
        assert (dataset / name).stat().st_ino == inodes[name]
    assert dataset_faults(dataset) == []

    shard = run / "results" / "shards" / "b.input.bin"
    with open(shard, "ab") as file:
        file.write(b"edited")
    process = run_snakemake(run, *RUN, check=False)
    assert process.returncode == 1
    assert "1 result is not what was written: results/shards/b.input.bin" in process.stdout
    run_snakemake(run, *RUN)  # as the error advises
    assert binaries(run) == grown
    assert dataset_faults(dataset) == []
    assert planned_jobs(run, "dataset") == {}


def test_another_split_or_layout_cuts_no_micrograph_again(run):
    config = CONFIG | {"split": {"test_micrographs": "held_out.txt"}}
    (run / "held_out.txt").write_text("b\nd\n")
    write_config(run, config)
    process = run_snakemake(run, *RUN)
    assert "rule shard_micrograph" not in process.stdout
    dataset = run / "results" / "dataset"
    assert len((dataset / "test_input.bin").read_bytes()) == 2 * 24576
    assert dataset_faults(dataset) == []

    write_config(run, config | {"dataset": {"concatenate": False}})
    process = run_snakemake(run, *RUN)
    assert "rule shard_micrograph" not in process.stdout
    assert binaries(run) == {}
    assert dataset_faults(dataset) == []
    assert planned_jobs(run, "dataset") == {}


def test_the_plan_is_printed_every_time(run):
    for _ in range(2):
        process = run_snakemake(run, "--cores", "1", "plan")
        assert "accepted, 0 rejected" in process.stdout
