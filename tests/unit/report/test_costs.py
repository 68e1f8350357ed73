"""What steps cost, by the benchmark files of their jobs, and how times and memory are said."""

import pytest

from benchmark_files import write_benchmark
from clearice.report.costs.jobs import read_jobs, slowest, step_table
from clearice.report.words import duration, memory


def test_steps_are_summed_from_benchmark_files(tmp_path):
    write_benchmark(tmp_path / "shards/a.benchmark.tsv", 2.0, 100.0, io_in=1.5, cpu_time=0.25)
    write_benchmark(tmp_path / "shards/b.benchmark.tsv", 3.0, "-", io_in=0.5, io_out=8)
    write_benchmark(tmp_path / "shards/removed.benchmark.tsv", 50.0, 900.0)
    write_benchmark(tmp_path / "export_reference.benchmark.tsv", 1.0, 300.0)
    write_benchmark(tmp_path / "fortran/build_fortran.benchmark.tsv", 5.0)
    write_benchmark(tmp_path / "parity/numpy/run.benchmark.tsv", 4.0, "NA", cpu_time="NA")
    write_benchmark(tmp_path / "parity/removed/run.benchmark.tsv", 40.0, 900.0)
    write_benchmark(tmp_path / "report/report.benchmark.tsv", 4.0, 10)
    write_benchmark(tmp_path / "report/draw_micrographs.benchmark.tsv", 0.5, 10)
    write_benchmark(tmp_path / "somebody/else.benchmark.tsv", 4.0, 10)
    (tmp_path / "shards/empty.benchmark.tsv").touch()
    jobs = read_jobs(tmp_path, {name: name for name in ("a", "b", "empty", "numpy")})
    table = {row["step"]: row for row in step_table(jobs)}
    assert list(table) == ["shards", "reference", "parity", "report"]
    shards, parity = table["shards"], table["parity"]
    assert (shards["jobs"], shards["seconds"], shards["cpu_s"]) == (2, 5.0, 0.25)
    assert (shards["read_mib"], shards["written_mib"]) == (2.0, 8)
    assert (shards["longest_job"], shards["peak_rss_mib"]) == ("b", 100.0)
    assert (parity["jobs"], parity["longest_job"]) == (2, "build_fortran")
    assert (parity["peak_rss_mib"], parity["cpu_s"], parity["read_mib"]) == (None, None, None)
    assert table["report"]["seconds"] == 0.5
    assert [job.name for job in slowest(jobs, 2)] == ["build_fortran", "run"]


def test_files_of_older_versions_and_odd_ones_are_read_as_far_as_they_go(tmp_path):
    folder = tmp_path / "dataset"
    folder.mkdir()
    texts = {
        "old": "s\th:m:s\tmax_rss\n1.5\t0:00:01\t20\n",
        "cut": "s\th:m:s\tmax_rss\tio_in\n2.5\t0:0",
        "header": "s\th:m:s\tmax_rss\n",
        "strange": "\x00\xff not a table\n1\n",
        "repeated": "s\tmax_rss\n1\t5\n2\t6\n",
        "endless": "s\tmax_rss\ninf\tnan\n",
    }
    for name, text in texts.items():
        (folder / f"{name}.benchmark.tsv").write_bytes(text.encode("latin-1"))
    jobs = read_jobs(tmp_path)
    assert [(job.name, job.seconds, job.peak_rss_mib) for job in jobs] == [
        ("cut", 2.5, None),
        ("old", 1.5, 20),
        ("repeated", 1, 5),
        ("repeated", 2, 6),
    ]
    assert {job.read_mib for job in jobs} == {None}


def test_an_interrupted_run_has_the_costs_of_what_it_finished(tmp_path):
    assert read_jobs(tmp_path) == []
    assert step_table([]) == []
    write_benchmark(tmp_path / "shards/a.benchmark.tsv", 2.0)
    assert [row["step"] for row in step_table(read_jobs(tmp_path))] == ["shards"]


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
    assert (memory(0), memory(0.0001), memory(0.5)) == ("0 MiB", "1 KiB", "512 KiB")
    assert memory(3 * 1024**2) == "3.0 TiB"
