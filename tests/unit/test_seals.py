"""Seals: what they notice, at which cost, and what is done about it."""

import json
import os
import shutil
import subprocess

import pytest

from clearice.errors import InputError
from clearice.inspection import (
    is_made_otherwise,
    require_good_results,
    require_times_of_today,
    sealed_results,
)
from clearice.seals import (
    Allowance,
    break_seal,
    fault_of,
    made_with,
    read_seal,
    require_unchanged,
    seal,
    seal_path,
    set_aside,
)

MADE = made_with({"stride_px": 64, "code": "0123"}, ["b", "a"])


@pytest.fixture
def results(tmp_path):
    """Two sealed results, a file and a folder, touched as Snakemake does after their jobs."""
    folder = tmp_path / "results"
    (folder / "step/output/deep").mkdir(parents=True)
    (folder / "step/table.tsv").write_text("a\tb\n")
    (folder / "step/output/deep/x.bin").write_bytes(bytes(range(100)))
    stamp = folder / "step/job.benchmark.tsv"
    for name in ("table.tsv", "output"):
        seal(folder / "step" / name, "make", MADE, stamp)
    os.utime(folder / "step/table.tsv")
    stamp.touch()
    return folder


def always(n_bytes, on_time):
    return True


def only_off_time(n_bytes, on_time):
    assert on_time
    return False


def test_a_result_that_snakemake_touched_is_on_time_and_not_read(results):
    found = dict(sealed_results(results))
    assert sorted(path.name for path in found) == ["output", "table.tsv"]
    for path, sealed in found.items():
        assert fault_of(path, sealed, only_off_time) is None
        assert fault_of(path, sealed, always) is None


def flip(path):
    status, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("name", ["table.tsv", "output/deep/x.bin"])
def test_each_damage_is_noticed(results, name):
    file = results / "step" / name
    path = results / "step" / name.split("/")[0]
    flip(file)
    assert "xxh3" in fault_of(path, read_seal(path), always).expected
    file.write_bytes(file.read_bytes()[:-1])
    assert "bytes" in fault_of(path, read_seal(path), only_off_time).expected
    file.unlink()
    assert fault_of(path, read_seal(path), only_off_time).found == "No such file or directory"


def test_jobs_set_aside_what_is_damaged_and_say_so_in_one_line(results):
    path = results / "step/table.tsv"
    flip(path)
    with pytest.raises(InputError, match="is not what was written") as caught:
        require_unchanged([str(path)])
    assert str(caught.value).endswith(f"or: snakemake {path}")
    assert not path.exists()
    assert (results / "step/table.tsv.damaged").is_file()
    with pytest.raises(InputError, match="No such file"):  # a second job that reads it
        require_unchanged([str(path)])


def test_an_older_or_newer_time_is_read_once_and_recorded(results):
    path = results / "step/table.tsv"
    for mtime_ns in (10**18, path.stat().st_mtime_ns + 5 * 10**9):
        os.utime(path, ns=(mtime_ns, mtime_ns))
        with pytest.raises(AssertionError):
            fault_of(path, read_seal(path), only_off_time)
        require_unchanged([path])
        fault_of(path, read_seal(path), only_off_time)


def test_parts_name_what_is_damaged(results):
    path = results / "step/two.bin"
    path.write_bytes(b"one" + b"two!")
    seal(path, "make", MADE, None, [(3, "0" * 16, "m1"), (4, "0" * 16, "m2")])
    assert fault_of(path, read_seal(path), always).expected == f"xxh3 {'0' * 16} of m1"


def test_an_allowance_ends():
    allowance = Allowance(10)
    assert [allowance.take(n) for n in (6, 5, 4, 1)] == [True, False, True, False]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"format_version": 2}', "\x00" * 100, "[" * 100_000, '{"files": 3}'],
)
def test_a_seal_that_cannot_be_read_judges_nothing(results, content):
    path = results / "step/table.tsv"
    seal_path(path).write_text(content)
    flip(path)
    assert read_seal(path) is None
    require_unchanged([path])
    require_good_results(results)


def test_a_broken_seal_judges_nothing_while_the_result_is_written(results):
    path = results / "step/table.tsv"
    break_seal(path)
    path.write_text("half of it")
    require_good_results(results)
    assert path.exists()


def test_the_start_of_a_run_names_ten_and_counts_the_rest(results):
    paths = [results / f"step/a {number:02}.json" for number in range(13)]
    for path in paths:
        path.write_text("{}")
        seal(path, "make", MADE, None)
        path.write_text("")
    with pytest.raises(InputError) as caught:
        require_good_results(results)
    line = str(caught.value)
    assert line.startswith("13 results are not what was written: ")
    assert "and 3 more" in line
    assert f"snakemake '{paths[0]}' '{paths[1]}' '{paths[2]}' ..." in line
    assert not any(path.exists() for path in paths)
    require_good_results(results)


def test_a_dry_run_warns_and_touches_nothing(results, capsys):
    path = results / "step/table.tsv"
    path.write_text("")
    require_good_results(results, touch=False)
    assert capsys.readouterr().err.startswith("warning: 1 result is not what was written")
    assert path.exists()


def test_large_files_of_another_time_are_left_to_the_jobs_that_read_them(results, monkeypatch):
    path = results / "step/table.tsv"
    flip(path)
    os.utime(path, ns=(10**18, 10**18))
    monkeypatch.setattr("clearice.inspection.Allowance", lambda: Allowance(0))
    require_good_results(results)
    with pytest.raises(InputError, match="not what was written"):
        require_unchanged([path])


def test_what_is_set_aside_replaces_what_was_before(results):
    for content in ("first", "second"):
        (results / "step/table.tsv").write_text(content)
        set_aside(results / "step/table.tsv")
    assert (results / "step/table.tsv.damaged").read_text() == "second"
    set_aside(results / "step/output")
    assert (results / "step/output.damaged/deep/x.bin").is_file()
    shutil.copytree(results / "step/output.damaged", results / "step/output")
    set_aside(results / "step/output")
    assert not (results / "step/output").exists()


def test_micrographs_of_the_future_stop_the_run_with_a_command_that_helps(tmp_path):
    paths = [tmp_path / "a b.mrc", tmp_path / "today.mrc", tmp_path / "missing.mrc"]
    for path in paths[:2]:
        path.touch()
    require_times_of_today(paths)
    os.utime(paths[0], (2**32, 2**32))
    with pytest.raises(InputError, match=r"dated in the future \(1\): ") as caught:
        require_times_of_today(paths)
    subprocess.run(str(caught.value).split("of today: ")[1], shell=True, check=True)
    require_times_of_today(paths)


def test_other_settings_code_or_inputs_are_told_apart(results):
    outputs = [results / "step/table.tsv"]
    params = {"code": "0123", "stride_px": 64}
    assert not is_made_otherwise(outputs, params.items(), ["a", "b"])
    assert is_made_otherwise(outputs, {**params, "stride_px": 32}.items(), ["a", "b"])
    assert is_made_otherwise(outputs, {**params, "code": "4567"}.items(), ["a", "b"])
    assert is_made_otherwise(outputs, params.items(), ["a"])
    seal_path(outputs[0]).unlink()
    assert not is_made_otherwise(outputs, {}.items(), [])


def test_a_seal_is_plain_json(results):
    content = json.loads(seal_path(results / "step/output").read_text())
    assert content["made_with"]["params"] == {"stride_px": 64, "code": "0123"}
    assert list(content["files"]) == ["deep/x.bin"]
    assert content["stamp"] == "job.benchmark.tsv"
