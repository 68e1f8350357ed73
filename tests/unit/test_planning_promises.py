"""A header that lies costs its own micrograph, never the plan, the disk check or the memory."""

import gzip
import resource

import numpy as np
import pytest

from clearice.config import complete_config
from clearice.micrographs.finding.sources import find_micrographs
from clearice.planning import bytes_to_write, check_disk, plan_micrographs
from mrc_files import header_bytes, noise_image, write_mrc

GRID = {"size_px": 16, "stride_px": 1, "target": "synthetic_noise"}


def config(**patches):
    micrographs = {"source": "files", "files": "*", "max_rejected_fraction": 0.9}
    micrographs["settle_minutes"] = 0
    return complete_config({"micrographs": micrographs, "patches": GRID | patches})


LIES = {  # the bytes of a file whose header promises far more than there is, and what is said
    "damaged gzip": (
        gzip.compress(header_bytes(1 << 17, 1 << 17, 2) + bytes(1 << 22))[:2000],
        "says more than a compressed file",
    ),
    "plain": (header_bytes(1 << 17, 1 << 17, 2) + bytes(1 << 16), "truncated"),
    "large gzip": (  # 85 times its own bytes: not impossible
        gzip.compress(header_bytes(1 << 13, 1 << 13, 2) + np.random.default_rng(0).bytes(3 << 20)),
        "truncated",
    ),
}


@pytest.mark.parametrize("case", LIES)
def test_one_lying_header_is_one_rejected_micrograph(tmp_path, monkeypatch, case):
    content, reason = LIES[case]
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        write_mrc(tmp_path / f"{name}.mrc", noise_image(20, 30))
    (tmp_path / "lie.mrc.gz").write_bytes(content)
    settings = config()
    micrographs = find_micrographs(settings)
    planned = {m.name: m for m in plan_micrographs(settings, micrographs)}
    assert reason in planned["lie"].reason
    assert [planned[name].n_patches for name in "abc"] == [5 * 15] * 3
    sizes = bytes_to_write(settings, planned.values())
    assert sum(sizes["shards"]) == 3 * 2 * 75 * 16 * 16 * 4
    check_disk(settings, micrographs, [("shard_micrograph", name) for name in micrographs])


def test_patches_are_planned_without_being_made(tmp_path, monkeypatch):
    """A row of a 131,072 px wide blank, as long as high: 17 thousand million patches."""
    monkeypatch.chdir(tmp_path)
    side = 1 << 17
    with open(tmp_path / "a.mrc", "wb") as file:
        file.write(header_bytes(side, side, 0))
        file.truncate(1024 + side * side)  # without room on the disk
    settings = config()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (planned,) = plan_micrographs(settings, find_micrographs(settings))
    assert planned.n_patches == (side - 15) ** 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 18  # KiB
