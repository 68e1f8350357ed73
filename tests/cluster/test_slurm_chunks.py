"""Many micrographs a job, on a real Slurm."""

import os

from conftest import TINY_CONFIG, write_config
from mrc_files import noise_image, write_mrc

KEPT = "kept from an earlier job, whose group failed\n"


def test_of_a_job_of_many_only_the_one_that_failed_is_done_again(start, tmp_path):
    for seed, name in enumerate("abcd"):
        write_mrc(tmp_path / f"{name}.mrc", noise_image(192, 256, seed))
    bad = tmp_path / "b.mrc"
    bad.write_bytes(bad.read_bytes()[:20_000])
    os.utime(bad, ns=(10**18, 10**18))  # long ago: nobody writes to it any more
    files = {"source": "files", "files": "*.mrc", "on_error": "stop", "max_rejected_fraction": 0.9}
    write_config(tmp_path, TINY_CONFIG | {"micrographs": files})
    run = start(tmp_path, "shards", "--retries=0")
    said = run.wait(status=1)
    assert "b.mrc: truncated: expected " in said
    (job,) = run.jobs_of("shard_micrograph")  # 25 a job in the profile
    assert job["state"] == "FAILED"
    assert job["alloccpus"] == "2"  # of one micrograph, not of four

    write_mrc(bad, noise_image(192, 256, 1))
    run = start(tmp_path, "shards")
    run.wait()
    assert len(run.jobs_of("shard_micrograph")) == 1
    logs = {name: tmp_path / "results" / "shards" / f"{name}.log" for name in "abcd"}
    assert {name for name in logs if logs[name].read_text().endswith(KEPT)} == set("acd")
