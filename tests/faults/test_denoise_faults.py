"""clearice denoise interrupted, on disks that are too small, and on large micrographs."""

import signal
import subprocess
import sys

import pytest

from clearice.denoised.batch import Batch
from clearice.errors import InputError
from denoise_files import denoise, results, write_image
from small_disk import small_disk

INTERRUPTED = """
import time
from clearice.command.main import main
from clearice.denoised import batch
write_denoised, calls = batch.write_denoised, []
def waiting(*arguments, watch, count, **options):
    calls.append(arguments)
    def wait(pixels):
        if len(calls) == 2:
            print("under way", flush=True)
            while True:  # until it is told to stop
                watch()
                time.sleep(0.001)
    return write_denoised(*arguments, watch=watch, count=wait, **options)
batch.write_denoised = waiting
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_no_half_file_and_can_be_continued(here, number):
    for seed, name in enumerate("abc"):
        write_image(here / f"{name}.mrc", seed)
    (here / "m.star").write_text("data_\n\nloop_\n_rlnMicrographName\na.mrc\nb.mrc\nc.mrc\n")
    words = ["denoise", "m.star", "--output", "out", "--model", "m.safetensors", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "under way\n"
    assert any(path.name.endswith(".part") for path in (here / "out").iterdir())
    process.send_signal(number)
    process.send_signal(number)  # a terminal and a batch system may send it twice
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said == "interrupted: 1 of 3 denoised; the same command continues\n"
    assert results(here / "out") == ["a.json", "a.mrc"]
    words = [sys.executable, "-m", "clearice", *words]
    process = subprocess.run(words, capture_output=True, text=True)
    assert process.returncode == 0
    assert process.stderr == "1 already done\n"
    assert process.stdout.startswith("out/m.star: ")


def test_a_signal_after_the_last_file_stops_nothing(here, monkeypatch, capsys):
    write_image(here / "a.mrc", 1)
    (here / "m.star").write_text("data_\n\nloop_\n_rlnMicrographName\na.mrc\n")
    run = Batch.run

    def late(self, *arguments):
        yield from run(self, *arguments)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Batch, "run", late)
    assert denoise("m.star") == 0
    assert results(here / "out") == ["a.json", "a.mrc", "m.star"]
    assert capsys.readouterr().err == ""


def test_a_disk_that_is_too_small_is_told_before_it_is_full(here):
    write_image(here / "a.mrc", shape=(1024, 1200))
    with (
        small_disk(here / "disk", 4) as disk,
        pytest.raises(InputError, match=r"the disk can't hold the denoised micrographs"),
    ):
        denoise("a.mrc", output=str(disk))


def test_a_disk_that_fills_up_ends_the_run_with_one_line(here, monkeypatch):
    for seed, name in enumerate("abc"):
        write_image(here / f"{name}.mrc", seed, shape=(600, 1000))
    monkeypatch.setattr("clearice.denoised.batch.free_bytes", lambda folder: 1 << 40)
    with small_disk(here / "disk", 4) as disk:
        with pytest.raises(InputError, match=r"can't hold the .* run the same command again"):
            denoise("*.mrc", output=str(disk))
        assert results(disk) == ["a.json", "a.mrc"]


# A child's ru_maxrss starts at its parent's memory, so this small process runs in between.
MEASURE = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit outside Linux")
def test_memory_does_not_grow_with_the_height(here):
    peaks = []
    for height_px in (512, 4096):
        for seed, half in enumerate(("EVN", "ODD")):
            write_image(here / str(height_px) / f"x_{half}.mrc", seed, (height_px, 2048))
        words = [str(height_px), "--output", f"out{height_px}", "--model", "m.safetensors"]
        words += ["--device", "cpu", "--average-halves", "_EVN", "_ODD"]
        process = subprocess.run(
            [sys.executable, "-c", MEASURE, sys.executable, "-m", "clearice", "denoise", *words],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(float(process.stdout.splitlines()[-1]))
    assert peaks[1] < peaks[0] + 12  # MiB; one float32 copy of the larger image has 32
