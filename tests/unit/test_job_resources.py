"""What jobs ask for: enough for the peaks that were measured, more with size and attempt."""

import gzip

import pytest

from clearice.config import complete_config
from clearice.job_resources import LONGEST_MIN, UNKNOWN_PX, largest_size, resources_of
from mrc_files import header_bytes, noise_image, write_mrc

EMPIAR_10025 = (7676, 7420)
# (rule, side of the micrographs, patches, peak of the script in MiB, its CPU seconds); the patches
# are of 1024 px at 512, batches of 4. Benchmark files of runs, and benchmarks/results.
MEASURED = [
    ("simulate_micrograph", (2048, 2048), 154, 2),
    ("shard_micrograph", (2048, 2048), 74, 1),
    ("shard_micrograph", EMPIAR_10025, 107, 7),
    ("list_micrographs", (2048, 2048), 112, 2),
    ("concatenate_shards", (2048, 2048), 38, 1),
    ("write_manifest", (2048, 2048), 30, 1),
    ("train_denoiser simple_cnn", (2048, 2048), 2064, 30),
    ("train_denoiser s2d_unet", (2048, 2048), 1208, 49),
    ("export_reference", (2048, 2048), 1910, 46),
    ("run_implementation", (2048, 2048), 1013, 7),
    ("compare_implementation", (2048, 2048), 56, 1),
    ("denoise_micrograph", (2048, 2048), 314, 6),
    ("denoise_micrograph", EMPIAR_10025, 369, 44),
    ("validate_micrograph", (2048, 2048), 382, 33),
    ("sum_up_validation", (2048, 2048), 27, 1),
    ("build_fortran", (2048, 2048), 75, 4),
]
ON_CPU = {"simple_cnn": {"epochs": 1, "device": "cpu"}, "s2d_unet": {"epochs": 1, "device": "cpu"}}


def settings(**sections):
    patches = {"size_px": 1024, "stride_px": 512}
    return complete_config({"patches": patches, "model": ON_CPU} | sections)


def asked(job, sizes, config=None, **more):
    rule, _, architecture = job.partition(" ")
    more = {"n_micrographs": 3, "architecture": architecture or None} | more
    return resources_of(rule, config or settings(), sizes, **more)


@pytest.mark.parametrize(("job", "size", "peak_mib", "cpu_s"), MEASURED)
def test_a_job_asks_for_what_it_was_seen_to_take(job, size, peak_mib, cpu_s):
    given = asked(job, [size])
    snakemake_mib = 2 * 176  # two processes around the script
    assert peak_mib + snakemake_mib < given.mem_mb < 2.5 * (peak_mib + snakemake_mib)
    assert given.runtime * 60 > 10 * cpu_s


def test_small_jobs_ask_for_what_they_were_seen_to_take_on_slurm():
    """192 x 256 px in patches of 64 px: mostly Python, Snakemake and PyTorch; sums of all steps."""
    small = settings(patches={"size_px": 64, "stride_px": 64})
    seen = {  # MiB
        "simulate_micrograph": 384,
        "shard_micrograph": 384,
        "list_micrographs": 452,
        "concatenate_shards": 475,
        "write_manifest": 368,
        "train_denoiser s2d_unet": 768,
        "train_denoiser simple_cnn": 736,
        "denoise_micrograph": 601,
        "validate_micrograph": 605,
        "export_reference": 743,
        "run_implementation": 367,
        "compare_implementation": 381,
        "report": 512,
    }
    for job, peak_mib in seen.items():
        assert asked(job, [(192, 256)], small).mem_mb > 1.05 * peak_mib, job


@pytest.mark.parametrize("job", [job for job, *_ in MEASURED])
def test_each_attempt_asks_for_more(job):
    first, second, third = (asked(job, [EMPIAR_10025], attempt=n) for n in (1, 2, 3))
    assert second.mem_mb == pytest.approx(2 * first.mem_mb, abs=2)
    assert third.mem_mb == pytest.approx(3 * first.mem_mb, abs=3)
    assert min(LONGEST_MIN, 2 * first.runtime) == pytest.approx(second.runtime, abs=2)
    assert first.disk_mb == second.disk_mb


def test_a_chunk_takes_the_time_of_all_and_the_memory_of_the_largest():
    small, large = (1000, 1000), EMPIAR_10025
    for rule in ("shard_micrograph", "denoise_micrograph", "validate_micrograph"):
        one, chunk = asked(rule, [large]), asked(rule, [small] * 50 + [large] * 50)
        assert chunk.mem_mb == one.mem_mb
        assert chunk.disk_mb >= 50 * (one.disk_mb - 2)
        assert chunk.runtime > one.runtime


def test_the_disk_of_a_shard_is_that_of_its_patches():
    patches_mb = 2 * 169 * 1024 * 1024 * 4 / 1e6
    assert asked("shard_micrograph", [EMPIAR_10025]).disk_mb == pytest.approx(patches_mb, rel=0.4)
    half = settings(dataset={"dtype": "float16"})
    assert asked("shard_micrograph", [EMPIAR_10025], half).disk_mb == pytest.approx(
        asked("shard_micrograph", [EMPIAR_10025]).disk_mb / 2, abs=1
    )
    listed = settings(dataset={"concatenate": False})
    assert asked("concatenate_shards", [EMPIAR_10025], listed).disk_mb == 1


def test_planes_ask_for_less_disk_memory_and_no_copy():
    patches = asked("shard_micrograph", [EMPIAR_10025])
    planes, both = (
        asked("shard_micrograph", [EMPIAR_10025], settings(dataset={"layout": layout}))
        for layout in ("planes", "both")
    )
    plane_mb = 2 * 7676 * 7420 * 4 / 1e6
    assert planes.disk_mb == pytest.approx(plane_mb, abs=2)
    assert both.disk_mb == pytest.approx(patches.disk_mb + plane_mb, abs=2)
    assert planes.mem_mb < both.mem_mb == patches.mem_mb
    config = settings(dataset={"layout": "planes"})
    assert asked("concatenate_shards", [EMPIAR_10025], config).disk_mb == 1


def test_a_training_asks_for_its_network_batch_threads_and_device():
    def training(threads=1, n_micrographs=196, **model):
        model = {"epochs": 10, "device": "cpu"} | model
        config = settings(model={"simple_cnn": model})
        return asked(
            "train_denoiser simple_cnn", [], config, threads=threads, n_micrographs=n_micrographs
        )

    one = training(n_micrographs=3)
    assert training(n_micrographs=3, batch_size=8).mem_mb > one.mem_mb + 1900
    assert training(n_micrographs=3, threads=4).runtime < one.runtime
    assert training().runtime == LONGEST_MIN  # it goes on from its checkpoint
    gpu = training(device="cuda")
    assert gpu.mem_mb > 1765 + 300  # the most that was seen beside an H100
    assert gpu.runtime > 29_913 / 4 * 10 / 84 / 60  # minutes of EMPIAR-10025 with plain PyTorch
    assert training(device="cuda", devices=2, batch_size=4).runtime <= gpu.runtime


def test_the_size_comes_from_the_configuration_or_the_first_headers(tmp_path):
    assert largest_size(settings(), []) == (1024, 1024)
    files = settings(micrographs={"source": "files", "files": "*"})
    write_mrc(tmp_path / "a.mrc", noise_image(20, 30))
    with gzip.open(tmp_path / "b.mrc.gz", "wb") as file:
        file.write(header_bytes(50, 40, 2) + bytes(8000))
    (tmp_path / "c.mrc").write_bytes(b"no micrograph")
    paths = [tmp_path / name for name in ("absent.mrc", "c.mrc", "a.mrc", "b.mrc.gz")]
    assert largest_size(files, paths[:3]) == (20, 30)
    assert set(largest_size(files, paths)) == {40, 50}
    assert largest_size(files, paths[:2]) == UNKNOWN_PX


def test_the_largest_camera_is_enough_for_the_unknown():
    for job in ("shard_micrograph", "denoise_micrograph", "validate_micrograph"):
        assert asked(job, []).mem_mb >= asked(job, [EMPIAR_10025]).mem_mb
