"""Which jobs Snakemake plans for which configuration (dry runs, nothing is executed)."""

import pytest

from conftest import planned_jobs, run_snakemake, write_config


def test_a_fresh_run_plans_one_job_a_micrograph_and_one_of_the_rest(tmp_path, tiny_config):
    write_config(tmp_path, tiny_config)
    jobs = planned_jobs(tmp_path)
    assert jobs["simulate_micrograph"] == 3
    assert jobs["shard_micrograph"] == 3
    assert jobs["train_denoiser"] == 2  # the reference, and what denoises
    assert jobs["export_reference"] == 1
    assert jobs["run_implementation"] == jobs["compare_implementation"] == 2
    assert jobs["build_fortran"] == 1
    assert jobs["report"] == 1


@pytest.mark.parametrize(
    ("target", "last", "absent"),
    [
        ("dataset", "write_manifest", "train_denoiser"),
        ("model", "train_denoiser", "export_reference"),
        ("parity", "compare_implementation", "report"),
        ("report", "report", "require_parity"),
    ],
)
def test_a_named_target_stops_there(tmp_path, tiny_config, target, last, absent):
    write_config(tmp_path, tiny_config)
    jobs = planned_jobs(tmp_path, target)
    assert last in jobs
    assert absent not in jobs


def test_one_job_an_implementation(tmp_path, tiny_config):
    command = {"command": "true"}
    tiny_config["parity"] = {"implementations": {"a": command, "b": command, "c": command}}
    write_config(tmp_path, tiny_config)
    jobs = planned_jobs(tmp_path, "parity")
    assert jobs["run_implementation"] == jobs["compare_implementation"] == 3


def test_the_users_own_files_need_no_job_to_make_them(tmp_path, tiny_config):
    for name in ("a_EVN.mrc", "a_ODD.mrc", "b_EVN.mrc", "b_ODD.mrc"):
        (tmp_path / name).touch()
    tiny_config["micrographs"] = {
        "source": "files",
        "files": "*.mrc",
        "halves": {"input": "_EVN", "target": "_ODD"},
    }
    write_config(tmp_path, tiny_config)
    jobs = planned_jobs(tmp_path)
    assert jobs["shard_micrograph"] == 2
    assert "simulate_micrograph" not in jobs


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patchs": {"size_px": 64}}, "unknown key patchs"),
        ({"patches": {"size_px": "64"}}, "found '64'"),
        ({"split": {"test_fraction": 1.5}}, "found 1.5"),
        ({"micrographs": {"source": "files"}}, "micrographs.files"),
        ({"micrographs": {"source": "files", "files": "none/*.mrc"}}, "none/*.mrc"),
        ({"split": {"test_micrographs": "none.txt"}}, "none.txt: unreadable"),
        ({"split": {"test_micrographs": "config.yaml"}}, "unknown micrographs: "),
    ],
)
def test_a_mistake_stops_before_any_job_with_one_line(tmp_path, change, words):
    write_config(tmp_path, change)
    assert words in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"patches: {size_px: 64", "config.yaml: not YAML"),
        (b"report: {title: \xe5}", "config.yaml: not UTF-8 text, in line 1"),
        (b"- patches", "config.yaml: wrong content: expected a mapping of keys"),
        (None, "config.yaml: cannot be read (No such file or directory)"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_one_line_too(tmp_path, content, words):
    if content is not None:
        (tmp_path / "config.yaml").write_bytes(content)
    assert words in refusal(tmp_path)


def refusal(directory):
    """Return the one line of a run that must stop before any job."""
    process = run_snakemake(directory, "--cores", "1", check=False)
    assert process.returncode == 1
    (line,) = [line for line in process.stdout.splitlines() if line.strip()]
    assert line.startswith("error: ")
    assert not (directory / "results").exists()
    return line


def test_an_empty_configuration_is_the_default_one(tmp_path):
    (tmp_path / "config.yaml").write_text("# everything as it is\n")
    assert planned_jobs(tmp_path, "shards")["simulate_micrograph"] == 8
