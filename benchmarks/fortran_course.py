"""A training of the original's kind, in Fortran and in Python: loss curves, rates, memory.

    make -C fortran
    python3 benchmarks/fortran_course.py --programs build/fortran/bin --device cpu --output DIR

The original trained simple_cnn on EMPIAR-10025 (0.66 angstrom per pixel, 53 electrons per square
angstrom) without halves, Adam at 1e-3, batches of 4 x 1024 x 1024; it reported a loss of 0.44 that
fell to 0.07 within the first epoch. Here micrographs of that pixel size and dose are simulated,
cut with `patches.target: lowpass` and trained on with one order by both. Writes
fortran_course_cpu.json or fortran_course_cuda.json.
"""

import argparse
import multiprocessing
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

import torch
from measuring import SCRIPTS, environment

from clearice.config import complete_config
from clearice.dataset.manifest import build_manifest, read_manifest, split_part
from clearice.dataset.namelists import dataset_namelists
from clearice.files import write_json, write_text
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.micrographs.simulation.exposure import simulate
from clearice.report.original import ORIGINAL
from clearice.shards.record import read_shard_record
from clearice.shards.sharding import shard_micrograph
from fortran import Fortran, GpuMemory, eager_losses, rows_of, write_weights

CONFIG = {
    "simulation": {
        "pixel_size_angstrom": 0.66,
        "dose_e_per_a2": 53,
        "defocus_um": [1.2, 2.5],
        "count": 2,
    },
    "patches": {"size_px": 1024, "stride_px": 512, "target": "lowpass"},
}


def make_shard(job):
    """Simulate one micrograph and cut it; return the path of its record."""
    folder, number, side_px = job
    config = complete_config(CONFIG)
    settings = config["simulation"] | {"height_px": side_px, "width_px": side_px}
    settings["particles"] = round(200 * (side_px / 4096) ** 2)
    name = f"sim_{number}"
    simulated = simulate(settings, name)
    image, path = simulated.even + simulated.odd, folder / f"{name}.mrc"
    write_micrograph(path, [image], *image.shape, pixel_size_angstrom=0.66, label="simulation")
    record = folder / f"{name}.json"
    outputs = [folder / f"{name}.{side}.bin" for side in ("input", "target")]
    shard_micrograph(path, *outputs, record, name, config["patches"], on_error="stop")
    path.unlink()
    return record


def make_dataset(folder, micrographs, side_px):
    """Write a dataset of that many micrographs, the last one for testing; return its manifest."""
    folder.mkdir()
    jobs = [(folder, number, side_px) for number in range(micrographs)]
    with multiprocessing.get_context("spawn").Pool(min(8, multiprocessing.cpu_count())) as pool:
        records = [(path, read_shard_record(path)) for path in pool.map(make_shard, jobs)]
    parts = {"train": split_part(records[:-1], folder), "test": split_part(records[-1:], folder)}
    manifest = folder / "manifest.json"
    write_json(manifest, build_manifest(parts))
    write_text(folder / "manifest.nml", dataset_namelists(read_manifest(manifest)))
    return manifest


def measure(programs, manifest, folder, device, epochs):
    """Train both; return what each reports."""
    batches = -(-read_manifest(manifest)["splits"]["train"]["n_patches"] // 4)
    theirs, initial = eager_losses(manifest, device, epochs * batches)
    write_weights(folder / "weights", initial)
    figures = {"batches_per_epoch": batches, "losses": {"pytorch": theirs}}
    memory = GpuMemory() if device.type == "cuda" else None
    start = time.perf_counter()
    programs.run(
        "clearice_train", "--dataset", manifest.parent, "--weights", folder / "weights",
        "--output", folder / "fortran", "--epochs", epochs, *programs.device,
    )  # fmt: skip
    figures["fortran"] = ends(folder / "fortran", time.perf_counter() - start, memory)
    losses = rows_of(folder / "fortran" / "training_loss.tsv")
    figures["losses"]["fortran"] = [float(row["loss"]) for row in losses]
    settings = [f"--set=epochs={epochs}", f"--set=device={device.type}"]
    memory = GpuMemory() if device.type == "cuda" else None
    start = time.perf_counter()
    words = [sys.executable, SCRIPTS / "train_denoiser.py", manifest, folder / "python", *settings]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    figures["python"] = ends(folder / "python", time.perf_counter() - start, memory)
    return figures


def ends(folder, seconds, memory):
    """Return what a training in `folder` says of its last epoch, and what it took."""
    rows = rows_of(folder / "history.tsv")
    last = {key: float(value) for key, value in rows[-1].items() if value}
    minutes = ORIGINAL["patches_per_epoch"] / 4 / last["batches_per_s"] / 60
    return {
        "batches_per_s": last["batches_per_s"],
        "loss_after_an_epoch": float(rows[0]["train_loss"]),
        "minutes_per_epoch_of_the_original": minutes,
        "gpu_mib": memory.stop() if memory else None,
        "seconds_of_the_process": seconds,
        "last_epoch": last,
    }


def main():
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", required=True, type=Path)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--micrographs", type=int, default=9)
    parser.add_argument("--side-px", type=int, default=4096)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--output", required=True, type=Path)
    options = parser.parse_args()
    programs, device = Fortran(options.programs, options.device), torch.device(options.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = make_dataset(folder / "dataset", options.micrographs, options.side_px)
        figures = {"environment": environment(), "original": ORIGINAL, "config": CONFIG}
        figures |= measure(programs, manifest, folder, device, options.epochs)
    options.output.mkdir(parents=True, exist_ok=True)
    write_json(options.output / f"fortran_course_{options.device}.json", figures)


if __name__ == "__main__":
    main()
