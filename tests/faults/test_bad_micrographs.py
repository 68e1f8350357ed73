"""A bad micrograph gives a rejected shard or stops the job, and never becomes a patch."""

import gzip
import os
import re
import shutil

import numpy as np
import pytest

from clearice.errors import InputError
from clearice.shards import sharding
from clearice.shards.record import read_shard_record
from clearice.shards.sharding import shard_micrograph
from conftest import planned_jobs, run_snakemake, write_config
from mrc_files import header_bytes, noise_image, write_mrc

GOOD = noise_image(70, 90)


def with_pixel(value):
    image = GOOD.copy()
    image[41, 7:9] = value
    return image


def far_apart():
    image = GOOD * np.float32(1e33) - np.float32(3.3e38)
    image[41, 7] = 3.4e38
    return image


def raw(content):
    return lambda path: path.write_bytes(content)


def image(pixels, **words):
    return lambda path: write_mrc(path, pixels, **words)


def cut_short(path):
    write_mrc(path, GOOD)
    path.write_bytes(path.read_bytes()[:-4])


def grown(path):
    write_mrc(path, GOOD)
    path.write_bytes(path.read_bytes() + b"\0")


def cut_gzip(path):
    write_mrc(path, GOOD)
    content = gzip.compress(path.read_bytes())
    path.write_bytes(content[: len(content) // 2])


def gzip_of_a_short_file(path):
    cut_short(path)
    path.write_bytes(gzip.compress(path.read_bytes()))


BAD = {
    "missing": (lambda path: None, "no such file"),
    "empty": (raw(b""), "empty file"),
    "HTML page": (raw(b"<html><body>503</body></html>"), "an HTML or XML page"),
    "header garbage": (raw(b"\x7f" * 5000), "makes no sense in either byte order"),
    "header that promises 64 GiB": (raw(header_bytes(1 << 17, 1 << 17, 2)), "truncated"),
    "truncated": (cut_short, "truncated: expected 26224 bytes"),
    "longer than its header says": (grown, "longer than its header says"),
    "truncated gzip": (cut_gzip, "damaged or truncated"),
    "gzip of a truncated file": (gzip_of_a_short_file, "truncated: expected 26224 bytes"),
    "stack": (raw(header_bytes(70, 90, 2, nz=3) + bytes(75600)), "a stack or a volume"),
    "complex": (raw(header_bytes(70, 90, 4) + bytes(50400)), "a complex image"),
    "NaN": (
        image(with_pixel(np.nan)),
        "2 pixels are NaN or infinite, the first at row 41, column 7",
    ),
    "infinite": (image(with_pixel(np.inf)), "2 pixels are NaN or infinite"),
    "infinite both ways": (image(with_pixel([np.inf, -np.inf])), "2 pixels are NaN or infinite"),
    "float16 overflow": (image(np.where(GOOD > 12, np.inf, GOOD), mode=12), "NaN or infinite"),
    "constant": (image(np.full((70, 90), 3.0)), "a constant image: .* found 3 everywhere"),
    "beyond float32 once normalised": (
        image(far_apart()),
        "pixels that float32 cannot hold once they are normalised",
    ),
    "deviation below float32": (
        image(np.where(GOOD > 13.3, 1e-45, 0)),
        "pixels that float32 cannot hold once they are normalised",
    ),
    "smaller than a patch": (image(noise_image(15, 90)), "smaller than a patch"),
    "not a file": (lambda path: path.mkdir(), "not a regular file: .*a folder"),
}
BAD_PAIRS = {
    "another shape": (noise_image(70, 91, 2), {}, "the halves differ in shape"),
    "another pixel size": (noise_image(70, 90, 2), {"cell_x": 100.0}, "differ in pixel size"),
    "the same pixels": (GOOD, {}, "the halves are the same pixels"),
    "the same image brighter": (GOOD * 2 + 1, {}, "both halves are the same image"),
}


def job(folder, input, target=None, **options):
    """Run the job for micrograph m in `folder`, target half or lowpass; return its record."""
    patches = {
        "size_px": 16,
        "stride_px": 8,
        "cover_border": False,
        "target": "halves" if target else "lowpass",
        "lowpass_sigma_px": 2.0,
        "hot_pixel_threshold": None,
    }
    shard_micrograph(
        input=str(input),
        target=target and str(target),
        input_bin=str(folder / "m.input.bin"),
        target_bin=str(folder / "m.target.bin"),
        record=str(folder / "m.json"),
        micrograph="m",
        patches=patches,
        **options,
    )
    return read_shard_record(folder / "m.json")


def require_rejected(record, folder, message):
    assert record["status"] == "rejected"
    assert re.search(message, record["reason"])
    assert record["n_patches"] == 0
    assert record["y"] == record["x"] == []
    for side in ("input", "target"):
        assert (folder / record["files"][side]["path"]).stat().st_size == 0
        assert record["files"][side]["bytes"] == 0
    assert "\n" not in record["reason"]


@pytest.mark.parametrize("role", ["alone", "input", "target"])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_micrograph_is_rejected_or_stops(tmp_path, case, role):
    make, message = BAD[case]
    bad, good = tmp_path / "bad.mrc", write_mrc(tmp_path / "good.mrc", noise_image(70, 90, 2))
    make(bad)
    paths = {"alone": (bad,), "input": (bad, good), "target": (good, bad)}[role]
    if role != "alone" and case == "smaller than a patch":
        message = "the halves differ in shape"
    with pytest.raises(InputError, match=message) as error:
        job(tmp_path, *paths, on_error="stop")
    assert not (tmp_path / "m.json").exists()
    record = job(tmp_path, *paths, on_error="skip")
    require_rejected(record, tmp_path, message)
    assert record["reason"] == str(error.value)
    assert "bad.mrc" in record["reason"]


@pytest.mark.parametrize("case", BAD_PAIRS)
def test_a_wrong_pair_is_rejected_or_stops(tmp_path, case):
    second, words, message = BAD_PAIRS[case]
    paths = write_mrc(tmp_path / "a.mrc", GOOD), write_mrc(tmp_path / "b.mrc", second, **words)
    with pytest.raises(InputError, match=message) as error:
        job(tmp_path, *paths, on_error="stop")
    record = job(tmp_path, *paths, on_error="skip")
    require_rejected(record, tmp_path, message)
    assert record["reason"] == str(error.value)


def test_float16_patches_must_hold_every_pixel(tmp_path):
    spiked = noise_image(70, 90, 2)
    spiked[5, 5] = 1e6
    paths = write_mrc(tmp_path / "a.mrc", GOOD), write_mrc(tmp_path / "b.mrc", spiked)
    assert job(tmp_path, *paths, dtype="float32")["status"] == "ok"
    record = job(tmp_path, *paths, dtype="float16")
    require_rejected(record, tmp_path, "does not fit float16")
    assert "does not fit float16" in record["reason"]


def test_a_good_micrograph_after_a_bad_one_makes_a_good_shard(tmp_path):
    bad = tmp_path / "x.mrc"
    bad.write_bytes(b"")
    assert job(tmp_path, bad)["status"] == "rejected"
    assert job(tmp_path, write_mrc(bad, GOOD))["n_patches"] == 70
    assert job(tmp_path, tmp_path / "gone.mrc")["files"]["input"]["bytes"] == 0


def test_no_huge_allocation_for_a_huge_header(tmp_path, monkeypatch):
    """The image and a row of patches are not allocated until the file is known to be complete."""
    path = tmp_path / "huge.mrc"
    content = header_bytes(1 << 14, 1 << 13, 2) + np.random.default_rng(0).bytes(600_000)
    path.write_bytes(gzip.compress(content))  # not so short that the promise is impossible
    largest = []
    empty = np.empty

    def watched(shape, *arguments, **keywords):
        array = empty(shape, *arguments, **keywords)
        largest.append(array.nbytes)
        return array

    monkeypatch.setattr(np, "empty", watched)
    assert job(tmp_path, path)["status"] == "rejected"
    assert 0 < max(largest) < 1 << 24


def test_a_micrograph_that_changes_during_the_job_stops_it(tmp_path, monkeypatch):
    path = write_mrc(tmp_path / "a.mrc", GOOD)
    survey = sharding.survey_sides

    def interfering(*arguments):
        result = survey(*arguments)
        write_mrc(path, GOOD + 1)
        os.utime(path, ns=(1, 1))
        return result

    monkeypatch.setattr(sharding, "survey_sides", interfering)
    with pytest.raises(InputError, match=r"a.mrc: changed while it was read"):
        job(tmp_path, path)
    assert not (tmp_path / "m.json").exists()


def test_a_workflow_skips_a_bad_micrograph_or_stops_at_it(tmp_path, tiny_config):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("good", "fine"):
        for seed, half in enumerate(("EVN", "ODD")):
            write_mrc(folder / f"{name}_{half}.mrc", noise_image(70, 90, seed + 10 * ord(name[0])))
    shutil.copy(folder / "good_EVN.mrc", folder / "bad_EVN.mrc")
    (folder / "bad_ODD.mrc").write_bytes(b"<html>404</html>")
    for half in ("EVN", "ODD"):
        (folder / f"gone_{half}.mrc").symlink_to("nowhere.mrc")
    tiny_config["micrographs"] = {
        "source": "files",
        "files": "data/*.mrc",
        "halves": {"input": "_EVN", "target": "_ODD"},
    }
    write_config(tmp_path, tiny_config)
    records = [f"results/shards/{name}.json" for name in ("bad", "fine", "gone", "good")]
    assert planned_jobs(tmp_path, *records) == {"shard_micrograph": 4}
    run_snakemake(tmp_path, "--cores", "2", *records)
    states = {path: read_shard_record(tmp_path / path)["status"] for path in records}
    assert list(states.values()) == ["rejected", "ok", "rejected", "ok"]
    assert "no such file" in read_shard_record(tmp_path / records[2])["reason"]
    assert "an HTML or XML page" in (tmp_path / "results/shards/bad.log").read_text()
    assert planned_jobs(tmp_path, *records) == {}
    write_mrc(folder / "fine_ODD.mrc", noise_image(70, 90, 9))  # an older one takes its place
    os.utime(folder / "fine_ODD.mrc", (1e9, 1e9))
    assert planned_jobs(tmp_path, *records) == {"shard_micrograph": 1}
    run_snakemake(tmp_path, "--cores", "2", *records)
    for seed, half in enumerate(("EVN", "ODD")):  # the missing files arrive
        (folder / f"gone_{half}.mrc").unlink()
        write_mrc(folder / f"gone_{half}.mrc", noise_image(70, 90, seed + 50))
    assert planned_jobs(tmp_path, *records) == {"shard_micrograph": 1}
    for half in ("EVN", "ODD"):
        (folder / f"gone_{half}.mrc").unlink()
    del records[2]
    tiny_config["micrographs"]["on_error"] = "stop"
    write_config(tmp_path, tiny_config)
    assert planned_jobs(tmp_path, *records) == {}  # changes no shard but stops the dataset
    process = run_snakemake(tmp_path, "--cores", "2", "dataset", check=False)
    assert process.returncode != 0
    assert "list_micrographs: 1 of 3 micrographs are rejected" in process.stdout
    (tmp_path / records[0]).unlink()
    process = run_snakemake(tmp_path, "--cores", "2", records[0], check=False)
    assert process.returncode != 0
    assert "shard_micrograph: data/bad_ODD.mrc: an HTML or XML page" in process.stdout
