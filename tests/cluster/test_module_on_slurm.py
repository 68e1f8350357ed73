"""The workflow as a module of another one, sent to a real Slurm by our profile."""

from conftest import REPOSITORY, TINY_CONFIG
from dag.test_module import write_outer


def test_its_jobs_run_on_the_cluster_and_the_second_run_has_nothing_to_do(start, tmp_path):
    outer = tmp_path / "outer"
    write_outer(outer, TINY_CONFIG)
    (outer / "workflow").symlink_to(REPOSITORY / "workflow")  # where Run looks for the profile
    run = start(outer, repository=outer)
    run.wait()
    assert (outer / "count.txt").read_text().strip() == "4"  # a head and three micrographs
    jobs = run.jobs_of("")
    assert len([job for job in jobs if "rule_clearice_shard_micrograph" in job["comment"]]) == 3
    assert {job["state"] for job in jobs} == {"COMPLETED"}
    # What our rules ask for goes with them, whatever they are called.
    assert all(job["reqmem"].endswith(("M", "G")) for job in jobs)
    assert "Nothing to be done" in start(outer, repository=outer).wait()
