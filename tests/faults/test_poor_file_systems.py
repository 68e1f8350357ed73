"""A run where hard links, copy_file_range, locks, fine times and upper and lower case are missing.

What it makes has the same bytes as on a good file system, and a second run has nothing to do.
"""

import json
import os
import subprocess
import sys

import pytest

from clearice.config import complete_config
from clearice.dataset.store import publish
from clearice.errors import InputError
from clearice.micrographs.finding.distinct import require_told_apart
from clearice.shards.sharding import shard_micrograph
from conftest import TINY_CONFIG, planned_jobs, run_snakemake, write_config
from poor_disks import exfat, refusing
from simulate_micrograph import simulate_micrograph

NAMES = [f"sim_{number:04d}" for number in range(1, 4)]


def of_size(count):
    return TINY_CONFIG | {"simulation": TINY_CONFIG["simulation"] | {"count": count}}


def shards_on_a_good_disk(folder):
    """Return name of file -> bytes of the shards that the run must make."""
    config = complete_config(TINY_CONFIG)
    settings = {k: v for k, v in config["simulation"].items() if k != "count"}
    folder.mkdir()
    for name in NAMES:
        halves = [folder / f"{name}_{half}.mrc" for half in ("EVN", "ODD")]
        others = folder / "truth.mrc", folder / "centres.tsv"
        simulate_micrograph(*halves, *others, name=name, settings=settings)
        shard = {f"{s}_bin": folder / f"{name}.{s}.bin" for s in ("input", "target")}
        record = folder / f"{name}.json"
        job = record, name, config["patches"]
        shard_micrograph(str(halves[0]), *job, target=str(halves[1]), **shard)
    return {path.name: path.read_bytes() for path in folder.glob("*.bin")}


def concatenated(shards, segments, side):
    return b"".join(shards[f"{segment['micrograph']}.{side}.bin"] for segment in segments)


@pytest.mark.slow
@pytest.mark.long
def test_a_run_and_its_growth_end_in_the_same_bytes(tmp_path, monkeypatch):
    with exfat(tmp_path / "disk") as disk:
        run = disk / "run"
        (tmp_path / "library").mkdir()
        environment, refused = refusing(disk, tmp_path / "library")
        with monkeypatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            write_config(run, of_size(2))
            first = run_snakemake(run, "--cores", "2", "dataset").stdout
            assert "no locks" in (run / "results/dataset/concatenate_shards.train.log").read_text()
            write_config(run, of_size(3))
            run_snakemake(run, "--cores", "2", "dataset")
            assert planned_jobs(run, "dataset") == {}
        assert set(refused.read_text()) >= set("clfs"), first
        made = {path.name: path.read_bytes() for path in run.glob("results/shards/*.bin")}
        expected = shards_on_a_good_disk(tmp_path / "good")
        assert made == expected
        for split in ("train", "test"):
            segments = json.loads((run / f"results/dataset/{split}.json").read_text())["segments"]
            for side in ("input", "target"):
                found = (run / f"results/dataset/{split}_{side}.bin").read_bytes()
                assert found == concatenated(expected, segments, side)


def test_names_that_differ_in_case_alone_are_refused_where_it_is_ignored(tmp_path):
    with (
        exfat(tmp_path / "disk", mib=16) as disk,
        pytest.raises(InputError, match="Mic_1 and mic_1"),
    ):
        require_told_apart(["mic_1", "Mic_1"], disk)


def test_direct_writes_that_are_refused_are_made_without(tmp_path):
    (tmp_path / "library").mkdir()
    environment, refused = refusing(tmp_path / "disk", tmp_path / "library")
    (tmp_path / "disk").mkdir()
    code = (
        "import sys, numpy as np; from clearice.shards.binary import DIRECT_BYTES, RawFile\n"
        "with RawFile(sys.argv[1], DIRECT_BYTES // 4096, 4096) as file:\n"
        "    file.write(np.ones((1, 4096), np.uint8))\n"
    )
    path = tmp_path / "disk" / "a.bin"
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, path], check=True, env=os.environ | environment)
    assert path.read_bytes() == b"\1" * 4096
    assert "d" in refused.read_text()


def test_a_link_that_was_made_though_the_answer_was_lost_is_none_too_many(tmp_path, monkeypatch):
    """NFS sends a request again whose answer does not come: the second is told that it exists."""
    link = os.link

    def link_twice(source, target):
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    (tmp_path / "train_input.bin").write_bytes(b"patches")
    publish(tmp_path, "train", "input", tmp_path / "declared.bin")
    assert (tmp_path / "declared.bin").samefile(tmp_path / "train_input.bin")
