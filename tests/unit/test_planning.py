"""The plan: right patches and bytes from headers alone, and a stop where the disk is too small."""

import os
import struct
from collections import namedtuple

import numpy as np
import pytest
import yaml

from clearice import planning
from clearice.config import complete_config
from clearice.errors import InputError
from clearice.micrographs.finding.sources import MicrographFiles, find_micrographs
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.planning import (
    bytes_missing,
    bytes_to_write,
    check_disk,
    check_start,
    plan_micrographs,
)
from clearice.printed_plan import plan
from clearice.shards.record import read_shard_record
from clearice.shards.sharding import shard_micrograph

GIB = 2**30
HALVES = {"input": "_EVN", "target": "_ODD"}


def write_sparse(path, height_px, width_px):
    """Write a float32 micrograph of zeros that takes no room on the disk."""
    blank = path.with_name("blank")
    write_micrograph(blank, [np.zeros((1, 1))], 1, 1, pixel_size_angstrom=None, label="sparse")
    header = bytearray(blank.read_bytes()[:1024])
    blank.unlink()
    for offset, value in ((0, width_px), (4, height_px), (28, width_px), (32, height_px)):
        header[offset : offset + 4] = struct.pack("<i", value)
    path.write_bytes(header)
    os.truncate(path, 1024 + 4 * height_px * width_px)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run folder as working directory; returns the configuration for some settings."""
    monkeypatch.chdir(tmp_path)

    def configure(**sections):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(sections))
        return complete_config(sections)

    return configure


def set_free(monkeypatch, *free):
    """Let the disk have these bytes free, one number per question or always the last."""
    left = list(free)
    disk = namedtuple("Disk", "f_bavail f_frsize")
    monkeypatch.setattr(os, "statvfs", lambda _: disk(left.pop(0) if len(left) > 1 else left[0], 1))


def big_run(folder, run, **sections):
    """The seed case: 196 micrographs of 7420 x 7676, 19 of them named for testing."""
    names = [f"mic_{i:03d}" for i in range(196)]
    for name in names:
        write_sparse(folder / f"{name}.mrc", 7420, 7676)
    (folder / "test.txt").write_text("\n".join(names[5:195:10]))
    return run(
        micrographs={"source": "files", "files": "mic_*.mrc"},
        patches={"size_px": 1024, "stride_px": 512, "target": "synthetic_noise"},
        split={"test_micrographs": "test.txt"},
        **sections,
    )


def test_the_seed_case(tmp_path, run, monkeypatch, capsys):
    set_free(monkeypatch, 600 * GIB)
    plan(big_run(tmp_path, run))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    facts = [line.split() for line in lines]
    assert ["train", "29,913", "of", "177", "micrographs"] in facts
    assert ["test", "3,211", "of", "19", "micrographs"] in facts
    shards = f"{196 * 169 * 2 * 1024**2 * 4 / GIB:,.1f}"
    assert shards == "258.8"
    for kind, size in (("shards", shards), ("dataset", shards), ("denoised", "41.6")):
        assert [kind, size, "GiB", size, "GiB", "600.0", "GiB", f"results/{kind}"] in facts
    assert not (tmp_path / "results").exists()


def test_a_disk_too_small_is_said_before_anything_is_written(tmp_path, run, monkeypatch, capsys):
    set_free(monkeypatch, 500 * GIB)
    config = big_run(tmp_path, run, denoised={"enabled": False})
    with pytest.raises(InputError, match="this run would stop"):
        plan(config)
    text = " ".join(capsys.readouterr().out.split())
    assert "can't hold what is to be written (shards 258.8 GiB, dataset 258.8 GiB)" in text
    assert "expected 517.6 GiB free, found 500.0 GiB" in text
    capsys.readouterr()
    plan(config | {"dataset": config["dataset"] | {"concatenate": False}})
    capsys.readouterr()
    for layout, dtype, written in (
        ("planes", "float16", "41.6 GiB"),  # 44.65 GB
        ("planes", "float32", "83.2 GiB"),
        ("both", "float16", "171.0 GiB"),
    ):
        section = config["dataset"] | {"layout": layout, "dtype": dtype}
        plan(config | {"dataset": section})
        text = " ".join(capsys.readouterr().out.split())
        assert f"layout {layout}; as patches" in text
        assert f"shards {written} {written}" in text
        if layout == "planes":
            assert "results/dataset" not in text
            patches = {"float16": "129.4 GiB", "float32": "258.8 GiB"}[dtype]
            assert f"layout planes; as patches {patches}, as planes {written}" in text
    plan(config | {"dataset": config["dataset"] | {"dtype": "float16"}})


def test_rejected_micrographs_are_listed_with_reasons(tmp_path, run, monkeypatch, capsys):
    for name in ("a_EVN", "a_ODD", "b_EVN", "b_ODD", "c_EVN", "d_EVN", "d_ODD", "e_EVN", "e_ODD"):
        write_sparse(tmp_path / f"{name}.mrc", 128, 192)
    write_sparse(tmp_path / "c_ODD.mrc", 128, 128)
    (tmp_path / "d_ODD.mrc").write_text("<html>not found</html>")
    os.truncate(tmp_path / "b_EVN.mrc", 2000)
    write_sparse(tmp_path / "e_EVN.mrc", 60, 192)
    write_sparse(tmp_path / "e_ODD.mrc", 60, 192)
    micrographs = {"source": "files", "files": "*.mrc", "halves": HALVES}
    config = run(micrographs=micrographs, patches={"size_px": 64, "stride_px": 64})
    with pytest.raises(InputError, match="see `stops` in the plan; reasons: 2"):
        plan(config)
    text = " ".join(capsys.readouterr().out.split())
    assert "1 accepted, 3 rejected, 1 waiting, by their headers" in text
    for words in (
        "waiting b: still being written",
        "rejected c: c_ODD.mrc: the halves differ in shape",
        "rejected d: d_ODD.mrc: ",
        "rejected e: smaller than a patch of 64 x 64 px",
        "3 of 5 micrographs would be rejected: expected at most 10%",
        "need two micrographs that are not rejected: found a",
    ):
        assert words in text


def test_nothing_need_be_there_for_a_simulation(run, capsys):
    settings = {"count": 4, "height_px": 192, "width_px": 256}
    config = run(simulation=settings, patches={"size_px": 64, "stride_px": 64})
    micrographs = find_micrographs(config)
    planned = plan_micrographs(config, micrographs)
    assert [m.n_patches for m in planned] == [12] * 4
    pixels = 192 * 256
    total = {kind: sum(counts) for kind, counts in bytes_to_write(config, planned).items()}
    assert total == {
        "micrographs": 4 * 3 * pixels * 4,
        "shards": 4 * 2 * pixels * 4,
        "dataset": 4 * 2 * pixels * 4,
        "denoised": 4 * pixels * 4,
    }
    plan(config)
    assert "4 accepted, 0 rejected" in capsys.readouterr().out


def test_what_is_still_to_be_downloaded_is_like_what_is_there(tmp_path, run):
    config = run(
        micrographs={"source": "empiar"},
        patches={"size_px": 64, "stride_px": 64, "target": "lowpass"},
    )
    folder = tmp_path / "results" / "micrographs"
    micrographs = {n: MicrographFiles(n, str(folder / f"{n}.mrc")) for n in "abc"}
    assert [m.n_patches for m in plan_micrographs(config, micrographs)] == [None] * 3
    assert set(
        map(sum, bytes_to_write(config, plan_micrographs(config, micrographs)).values())
    ) == {0}
    folder.mkdir(parents=True)
    write_sparse(folder / "b.mrc", 128, 192)
    planned = plan_micrographs(config, micrographs)
    assert [m.n_patches for m in planned] == [6] * 3
    assert bytes_missing(config, planned, micrographs)["micrographs"] == 2 * 4 * 128 * 192 - 1024


def test_a_pair_whose_other_half_is_still_to_come_is_not_rejected(tmp_path, run):
    config = run(micrographs={"source": "empiar", "halves": {"input": "_a", "target": "_b"}})
    write_sparse(tmp_path / "m_a.mrc", 128, 192)
    halves = [str(tmp_path / f"m_{half}.mrc") for half in "ab"]
    (planned,) = plan_micrographs(config, {"m": MicrographFiles("m", *halves)})
    assert (planned.n_patches, planned.reason) == (None, None)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("cover_border", [True, False])
def test_the_plan_is_what_the_shards_come_to(tmp_path, run, dtype, cover_border):
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        pixels = generator.normal(size=(150, 170)).astype(np.float32)
        path = tmp_path / f"{name}.mrc"
        write_micrograph(path, [pixels], 150, 170, pixel_size_angstrom=1.0, label="noise")
    config = run(
        micrographs={"source": "files", "files": "*.mrc"},
        patches={"size_px": 32, "stride_px": 24, "target": "lowpass", "cover_border": cover_border},
        dataset={"dtype": dtype},
        denoised={"enabled": False},
    )
    micrographs = find_micrographs(config)
    planned = plan_micrographs(config, micrographs)
    shards = tmp_path / "results" / "shards"
    shards.mkdir(parents=True)
    for m, count in zip(planned, bytes_to_write(config, planned)["shards"], strict=True):
        bins = {f"{side}_bin": shards / f"{m.name}.{side}.bin" for side in ("input", "target")}
        facts = {"micrograph": m.name, "patches": config["patches"], "dtype": dtype}
        record = shards / f"{m.name}.json"
        shard_micrograph(micrographs[m.name].input, record=record, **bins, **facts)
        assert read_shard_record(record)["n_patches"] == m.n_patches
        assert sum(path.stat().st_size for path in bins.values()) == count
    missing = bytes_missing(config, planned, micrographs)
    assert missing["shards"] == 0
    assert missing["dataset"] == sum(bytes_to_write(config, planned)["dataset"])
    assert missing["denoised"] == 0


JOBS = {
    "a first run": (
        [
            *[("shard_micrograph", "sim_0001"), ("shard_micrograph", "sim_0002")],
            *[("list_micrographs", None), ("concatenate_shards", None), ("report", None)],
        ],
        {"shards": 2, "dataset": 4, "denoised": 4},
    ),
    "shards alone": ([("shard_micrograph", "sim_0001"), ("shards", None)], {"shards": 1}),
    "simulation": ([("simulate_micrograph", "sim_0003")], {"micrographs": 1}),
    "known jobs": ([("denoise_micrograph", "sim_0002"), ("report", None)], {"denoised": 1}),
    "training": ([("train_denoiser", None), ("report", None)], {}),
}


@pytest.mark.parametrize("case", JOBS)
def test_only_what_this_run_writes_must_fit(run, monkeypatch, case):
    jobs, written = JOBS[case]
    config = run(
        simulation={"count": 4, "height_px": 192, "width_px": 256},
        patches={"size_px": 64, "stride_px": 64},
    )
    micrographs = find_micrographs(config)
    total = bytes_to_write(config, plan_micrographs(config, micrographs))
    needed = sum(count * total[kind][0] for kind, count in written.items())
    set_free(monkeypatch, needed)
    check_disk(config, micrographs, jobs)
    set_free(monkeypatch, needed - 1)
    if written:
        with pytest.raises(InputError, match="the disk can't hold") as caught:
            check_disk(config, micrographs, jobs)
        assert "\n" not in str(caught.value)
        assert all(kind in str(caught.value) for kind in written)
    else:
        monkeypatch.setattr(planning, "plan_micrographs", None)  # costs nothing, reads nothing
        check_disk(config, micrographs, jobs)


def test_what_is_replaced_makes_room(tmp_path, run, monkeypatch):
    config = run(
        simulation={"count": 2, "height_px": 192, "width_px": 256},
        patches={"size_px": 64, "stride_px": 64},
    )
    micrographs = find_micrographs(config)
    whole = 192 * 256 * 4
    store = tmp_path / "results" / "dataset" / ".store"
    store.mkdir(parents=True)
    (tmp_path / "results" / "shards").mkdir()
    (store / "train_input.bin").write_bytes(bytes(whole))
    (tmp_path / "results" / "shards" / "sim_0001.input.bin").write_bytes(bytes(whole))
    jobs = [("shard_micrograph", "sim_0001"), ("concatenate_shards", None)]
    set_free(monkeypatch, whole + 3 * whole)
    check_disk(config, micrographs, jobs)
    set_free(monkeypatch, whole + 3 * whole - 1)
    with pytest.raises(InputError, match="the disk can't hold"):
        check_disk(config, micrographs, jobs)


def test_folders_on_other_disks_are_judged_by_those(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    missing = {"shards": 100, "dataset": 60, "denoised": 0, "micrographs": 0}
    stat = namedtuple("Stat", "st_dev")
    real = os.stat
    (tmp_path / "results" / "shards").mkdir(parents=True)
    monkeypatch.setattr(
        os, "stat", lambda p, **k: stat(7) if str(p) == "results/shards" else real(p, **k)
    )
    set_free(monkeypatch, 100, 60)
    assert planning.disk_shortages(missing) == []
    set_free(monkeypatch, 99, 59)
    assert len(planning.disk_shortages(missing)) == 2


def test_the_start_says_what_there_is_and_reads_nothing_where_nothing_is_cut(
    tmp_path, run, monkeypatch, capsys
):
    for name in "ab":
        write_sparse(tmp_path / f"{name}.mrc", 128, 192)
    write_sparse(tmp_path / "b_thumb.mrc", 128, 192)
    files = {"source": "files", "files": "*.mrc"}
    config = run(micrographs=files, patches={"size_px": 64, "stride_px": 64})
    micrographs = find_micrographs(config)
    check_start(config, micrographs, [("shard_micrograph", "a")])
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("micrographs: 128 x 192 px")
    assert said[1].startswith("warning: 1 micrograph: named as another plus _thumb, which")
    write_sparse(tmp_path / "a_thumb.mrc", 128, 192)
    micrographs = find_micrographs(config)
    with pytest.raises(InputError, match=r"2 of 4 .* set micrographs\.files"):
        check_start(config, micrographs, [("list_micrographs", None)])
    monkeypatch.setattr(planning, "plan_micrographs", None)  # costs nothing, reads nothing
    check_start(config, micrographs, [("train_denoiser", None)])
