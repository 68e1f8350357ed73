"""An entry that grows, from the archive to the dataset, over a network that fails."""

import json
import re

import pytest

from clearice.dataset.verification import dataset_faults
from conftest import run_snakemake, write_config
from faults.downloads import entry_settings
from faults.releases import FOLDER, LATER, first_release, release_contents

pytestmark = [pytest.mark.slow, pytest.mark.long]

ENTRY = {
    "title": "Noise",
    "release_date": "2024-05-17",
    "imagesets": [{"directory": "d", "num_images_or_tilt_series": 3, "pixel_width": 3.0}],
}
RUN = ("--cores", "2", "--resources", "downloads=1", "--scheduler", "greedy", "dataset")


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    return release_contents(tmp_path_factory.mktemp("contents"))


@pytest.fixture
def archive(contents, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with first_release(contents) as archive:
        archive.files["/api/EMPIAR-10025/"] = json.dumps({"EMPIAR-10025": ENTRY}).encode()
        yield archive


def bad_network(archive):
    """Return faults: each path is answered wrongly, in another way, each time but the last."""
    waiting = {
        f"{FOLDER}a.mrc": ["503", "another range"],
        f"{FOLDER}b.mrc": ["hang up", f"redirect to {archive.url}/mirror/b.mrc"],
        "/mirror/b.mrc": ["cut short"],
        FOLDER: ["cut short"],
    }
    archive.files["/mirror/b.mrc"] = archive.files[f"{FOLDER}b.mrc"]

    def misbehave(request):
        faults = waiting.get(request["path"])
        return faults.pop(0) if faults else None

    return misbehave


def test_a_release_costs_what_is_new_in_it(archive, contents, tmp_path):
    write_config(
        tmp_path,
        {
            "micrographs": {"source": "empiar"},
            "empiar": entry_settings(archive.url, api_url=f"{archive.url}/api"),
            "patches": {"size_px": 64, "stride_px": 64, "target": "synthetic_noise"},
        },
    )
    micrographs = tmp_path / "results" / "micrographs"
    shards, dataset = tmp_path / "results" / "shards", tmp_path / "results" / "dataset"

    archive.misbehave = bad_network(archive)
    run = run_snakemake(tmp_path, *RUN)
    assert "note: EMPIAR-10025: Noise; released 2024-05-17; in d 3 images" in run.stdout
    for name in "abc":
        assert (micrographs / f"{name}.mrc").read_bytes() == contents[name]
    assert dataset_faults(dataset) == []
    first = {path.name: path.stat().st_mtime_ns for path in shards.glob("*.bin")}

    # Two more, another b, and a network that fails in the middle of it: what is there stays.
    for name in "de":
        archive.publish(f"{FOLDER}{name}.mrc", contents[name], LATER)
    archive.publish(f"{FOLDER}b.mrc", contents["f"], LATER)
    since = len(archive.requests)
    archive.misbehave = lambda request: (
        "404" if request["path"] == f"{FOLDER}b.mrc" and request["stop"] != 1024 else None
    )
    run = run_snakemake(tmp_path, "--keep-going", *RUN, check=False)
    assert run.returncode == 1
    assert "2 new (d.mrc, e.mrc), 1 changed (b.mrc)" in run.stdout
    assert "EMPIAR-10025 says 3 angstrom per pixel, the headers 1.5: 1.5 is used" in run.stdout
    assert f"fetch_micrograph: {archive.url}{FOLDER}b.mrc: HTTP 404" in run.stdout
    assert (micrographs / "b.mrc").read_bytes() == contents["b"]

    # Snakemake remembers the job that failed as one that was done; the record says otherwise.
    archive.misbehave = lambda request: None
    run = run_snakemake(tmp_path, *RUN)
    assert re.search(r"^fetch_micrograph +1$", run.stdout, re.M)
    assert re.search(r"^shard_micrograph +1$", run.stdout, re.M)
    assert (micrographs / "b.mrc").read_bytes() == contents["f"]
    assert dataset_faults(dataset) == []
    second = {path.name: path.stat().st_mtime_ns for path in shards.glob("*.bin")}
    unchanged = {name: time for name, time in first.items() if name[0] in "ac"}
    assert unchanged.items() <= second.items()
    assert len(second) == 10
    asked = archive.traffic(since)
    assert asked.keys() == {FOLDER, "/api/EMPIAR-10025/", *(f"{FOLDER}{n}.mrc" for n in "bde")}
    assert asked["/api/EMPIAR-10025/"][0] == 1
    assert asked[f"{FOLDER}d.mrc"][0] == 2  # its header, its only range
    record = json.loads((micrographs / "b.download.json").read_text())
    assert record["version"] == "Fri, 24 May 2024 10:30:00 GMT"
    assert (record["bytes"], record["revision"]) == (len(contents["f"]), 2)

    # One is withdrawn, and then the archive is out of reach.
    archive.withdraw(f"{FOLDER}c.mrc")
    run = run_snakemake(tmp_path, *RUN)
    assert "1 gone (c.mrc)" in run.stdout
    assert "rule fetch_micrograph" not in run.stdout
    assert "rule shard_micrograph" not in run.stdout
    assert "c.mrc" not in (dataset / "micrographs.tsv").read_text()
    assert (micrographs / "c.mrc").read_bytes() == contents["c"]
    archive.misbehave = lambda request: "404"
    run = run_snakemake(tmp_path, *RUN)
    assert "not asked for new files (HTTP 404 Not Found); its list of 20" in run.stdout
    assert "Nothing to be done" in run.stdout
