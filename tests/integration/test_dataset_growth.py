"""The dataset under Snakemake: the cost of a new, edited or moved micrograph, and what survives."""

import numpy as np
import pytest

from clearice.dataset.segments import SIDES
from clearice.dataset.verification import dataset_faults
from clearice.files import read_json
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.shards.record import LAYOUTS
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


def planes(run):
    """Return name -> (inode, time of change, bytes) of the planes of a run."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
        for path in (run / "results" / "shards").glob("*.plane")
    }


def test_planes_grow_by_the_new_micrograph_alone(tmp_path):
    write_config(tmp_path, CONFIG | {"dataset": {"layout": "planes"}})
    for name in "ab":
        add_micrograph(tmp_path, name)
    run_snakemake(tmp_path, *RUN)
    dataset, before = tmp_path / "results" / "dataset", planes(tmp_path)
    assert {name[0] for name in before} == {"a", "b"}
    assert {len(content) for *_, content in before.values()} == {64 * 96 * 4}
    assert list((tmp_path / "results").rglob("*.bin")) == []
    assert dataset_faults(dataset) == []

    add_micrograph(tmp_path, "c")
    bad = np.ones((64, 96), np.float32)
    for half in ("EVN", "ODD"):
        path = tmp_path / "half" / f"d_{half}.mrc"
        write_micrograph(path, [bad], 64, 96, pixel_size_angstrom=1.0, label="constant")
    loose = CONFIG["micrographs"] | {"max_rejected_fraction": 0.5}
    write_config(tmp_path, CONFIG | {"dataset": {"layout": "planes"}, "micrographs": loose})
    assert planned_jobs(tmp_path, "dataset")["shard_micrograph"] == 2
    run_snakemake(tmp_path, *RUN)
    grown = planes(tmp_path)
    assert grown.keys() - before.keys() == {f"{n}.{s}.plane" for n in "cd" for s in SIDES}
    assert {name: grown[name] for name in before} == before
    assert grown["d.input.plane"][2] == b""
    assert dataset_faults(dataset) == []

    with open(tmp_path / "results" / "shards" / "b.input.plane", "ab") as file:
        file.write(b"edited")
    process = run_snakemake(tmp_path, *RUN, check=False)
    assert process.returncode == 1
    assert "1 result is not what was written: results/shards/b.input.plane" in process.stdout
    run_snakemake(tmp_path, *RUN)  # as the error advises
    assert {name: found[2] for name, found in planes(tmp_path).items()} == {
        name: found[2] for name, found in grown.items()
    }
    assert planned_jobs(tmp_path, "dataset") == {}


def test_another_layout_cuts_anew_and_leaves_nothing_of_the_one_before(tmp_path):
    for name in "ab":
        add_micrograph(tmp_path, name)
    hashes = {}
    for layout in ("planes", "both", "patches"):
        write_config(tmp_path, CONFIG | {"dataset": {"layout": layout}})
        run_snakemake(tmp_path, *RUN)
        ends = {path.name[2:] for path in (tmp_path / "results" / "shards").glob("[ab].*")}
        files = {"json", "log", "benchmark.tsv", *LAYOUTS[layout].values()}
        assert ends == files
        dataset = tmp_path / "results" / "dataset"
        assert len(list(dataset.glob("*.bin"))) == (0 if layout == "planes" else 4)
        assert dataset_faults(dataset) == []
        assert planned_jobs(tmp_path, "dataset") == {}
        hashes[layout] = read_json(dataset / "manifest.json")["data_xxh3"]
    assert hashes["both"] == hashes["patches"] != hashes["planes"]


def test_random_offsets_cut_no_micrograph_again_and_name_other_data(tmp_path):
    for name in "ab":
        add_micrograph(tmp_path, name)
    settings = CONFIG | {"dataset": {"layout": "planes"}}
    write_config(tmp_path, settings)
    run_snakemake(tmp_path, *RUN)
    manifest = tmp_path / "results" / "dataset" / "manifest.json"
    grid = read_json(manifest)
    write_config(tmp_path, settings | {"patches": CONFIG["patches"] | {"offsets": "random"}})
    assert set(planned_jobs(tmp_path, "dataset")) == {"write_manifest", "dataset"}
    run_snakemake(tmp_path, *RUN)
    assert read_json(manifest)["offsets"] == "random"
    assert read_json(manifest)["data_xxh3"] != grid["data_xxh3"]
    assert dataset_faults(manifest.parent) == []
