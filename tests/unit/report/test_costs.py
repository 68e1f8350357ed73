"""What steps cost, by the benchmark files of their jobs, and how times and memory are said."""

import os

import pytest

from clearice.report.costs import Job, busy_seconds, read_jobs, step_table
from clearice.report.words import duration, memory


def write_benchmark(path, seconds, max_rss, ended):
    """Write a benchmark file as Snakemake does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\tmean_load\n{seconds}\t0:00:01\t{max_rss}\t0.5\n")
    os.utime(path, (ended, ended))


def test_steps_are_summed_from_benchmark_files(tmp_path):
    write_benchmark(tmp_path / "shards/a.benchmark.tsv", 2.0, 100.0, 1000)
    write_benchmark(tmp_path / "shards/b.benchmark.tsv", 3.0, "-", 1001)
    write_benchmark(tmp_path / "shards/removed.benchmark.tsv", 50.0, 900.0, 1000)
    write_benchmark(tmp_path / "export_reference.benchmark.tsv", 1.0, 300.0, 2000)
    write_benchmark(tmp_path / "parity/numpy/run.benchmark.tsv", 4.0, "NA", 2003)
    write_benchmark(tmp_path / "parity/removed/run.benchmark.tsv", 40.0, 900.0, 2003)
    write_benchmark(tmp_path / "report/report.benchmark.tsv", 4.0, 10, 2003)
    (tmp_path / "shards/empty.benchmark.tsv").touch()
    jobs = read_jobs(tmp_path, {name: name for name in ("a", "b", "empty", "numpy")})
    table = {row["step"]: row for row in step_table(jobs)}
    assert list(table) == ["shards", "reference", "parity"]
    assert table["shards"]["jobs"] == 2
    assert table["shards"]["seconds"] == 5.0
    assert (table["shards"]["longest_job"], table["shards"]["peak_rss_mib"]) == ("b", 100.0)
    assert table["parity"]["peak_rss_mib"] is None
    assert busy_seconds(jobs) == pytest.approx(3 + 4)  # 998 to 1001 and 1999 to 2003


def test_busy_time_counts_an_instant_once():
    jobs = [
        Job("shards", "", 10, None, 10),
        Job("shards", "", 4, None, 8),
        Job("model", "", 5, None, 12),
    ]
    assert busy_seconds(jobs) == 12
    assert busy_seconds([]) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (59.7, "1 min 0 s"),
        (12.4, "12 s"),
        (200, "3 min 20 s"),
        (7530, "2 h 5 min"),
    ],
)
def test_times_are_said_in_two_units_at_most(seconds, text):
    assert duration(seconds) == text


def test_memory_is_said_in_binary_units():
    assert (memory(286.4), memory(1434), memory(None)) == ("286 MiB", "1.4 GiB", "unknown")
