"""Patches against planes: bytes, seconds of writing and of reading, and a training on the CPU.

    python benchmarks/planes.py [--directory SCRATCH] [--repeats 3]

One pair of halves as large as a micrograph of EMPIAR-10025 is cut into a shard in each layout and
dtype, in turns; then its patches are read in a random order, from the page cache, by one thread
and by eight; then simple_cnn takes steps on each. It needs 4 GB of disk. Medians; the load of the
machine is in the result.
"""

import argparse
import concurrent.futures
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sharding import REPOSITORY, machine, make_halves

from clearice.config import complete_config
from clearice.dataset.manifest import build_manifest, split_part
from clearice.dataset.reader import open_split
from clearice.files import write_json
from clearice.model.distributed import Processes
from clearice.model.training import Training
from clearice.shards.record import FILES, LAYOUTS, PLANES, read_shard_record
from clearice.shards.sharding import shard_micrograph

SHAPE_PX, SIZE_PX, STRIDE_PX = (7676, 7420), 1024, 512
KINDS = [(layout, dtype) for dtype in ("float32", "float16") for layout in LAYOUTS]
TRAINED_PX, BATCHES = 256, 40


def shard(folder, halves, layout, dtype, size_px=SIZE_PX):
    """Cut the pair; return seconds, those of the CPU, bytes and the path of the record."""
    patches = {"size_px": size_px, "stride_px": size_px // 2, "target": "halves"}
    names = LAYOUTS[layout].items()
    files = {n if n in PLANES else f"{n}_bin": folder / f"m.{end}" for n, end in names}
    record = folder / "m.json"
    settings = complete_config({"patches": patches})["patches"]
    started, cpu_s = time.perf_counter(), time.process_time()
    job = {"micrograph": "m", "patches": settings, "dtype": dtype, "target": str(halves[1])}
    shard_micrograph(str(halves[0]), record, **job, **files)
    seconds = time.perf_counter() - started, time.process_time() - cpu_s
    return *seconds, sum(path.stat().st_size for path in files.values()), record


def dataset(record, folder):
    """Write a manifest that has the shard as training split, and links to it as test split."""
    other = folder / "test"
    other.mkdir(exist_ok=True)
    for path in [record, *(record.with_name(f"m.{end}") for end in FILES.values())]:
        (other / path.name).unlink(missing_ok=True)
        if path.exists():
            os.link(path, other / path.name)
    content, parts = read_shard_record(record), {}
    for split, place in (("train", record), ("test", other / "m.json")):
        parts[split] = split_part([(place, content)], folder)
    write_json(folder / "manifest.json", build_manifest(parts))
    return folder / "manifest.json"


def patches_per_second(manifest, threads, count=300):
    """Read pairs of patches in a random order; return pairs per second."""
    with open_split(manifest, "train") as reader:
        order = np.random.default_rng(0).integers(0, reader.n_patches, count).tolist()
        for i in range(reader.n_patches):  # into the page cache
            reader.read(i)
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            started = time.perf_counter()
            for _ in pool.map(lambda i: reader.read(i)[0].shape, order):
                pass
            return count / (time.perf_counter() - started)


def batches_per_second(manifest):
    """Return (steps per second, share of waiting) of simple_cnn on the CPU, batches of four."""
    model = {"simple_cnn": {"device": "cpu", "epochs": 1, "batch_size": 4}}
    settings = complete_config({"model": model})["model"]["simple_cnn"]
    device = torch.device("cpu")
    training = Training(manifest, "simple_cnn", settings, device, Processes())
    with training.feed as feed:
        batches = feed.training_batches(0)
        for _ in range(4):
            _step(training, next(batches))
        started, waited_s = time.perf_counter(), feed.waited_s
        for _ in range(BATCHES):
            _step(training, next(batches))
        seconds = time.perf_counter() - started
        batches.close()
        return BATCHES / seconds, (feed.waited_s - waited_s) / seconds


def _step(training, batch):
    pixels = batch.patches * TRAINED_PX**2
    return training.optimization.step(batch.input, batch.target, pixels, full=batch.full)


def measure(folder, repeats):
    """Return one row for each layout and dtype."""
    halves = make_halves(folder, SHAPE_PX, 0)
    found = {kind: {} for kind in KINDS}
    for turn in range(repeats):
        for layout, dtype in KINDS:
            row = found[layout, dtype]
            seconds, cpu_s, row["bytes"], record = shard(folder, halves, layout, dtype)
            row.setdefault("shard_s", []).append(seconds)
            row.setdefault("shard_cpu_s", []).append(cpu_s)
            manifest = dataset(record, folder)
            for threads in (1, 8):
                rate = patches_per_second(manifest, threads)
                row.setdefault(f"pairs_per_s_{threads}", []).append(rate)
            *_, record = shard(folder, halves, layout, dtype, TRAINED_PX)
            rate, waiting = batches_per_second(dataset(record, folder))
            row.setdefault("steps_per_s", []).append(rate)
            row.setdefault("waiting", []).append(waiting)
            print(turn, layout, dtype, row, flush=True)
    return [
        {"layout": layout, "dtype": dtype}
        | {
            key: round(statistics.median(value), 3) if isinstance(value, list) else value
            for key, value in row.items()
        }
        for (layout, dtype), row in found.items()
    ]


def main():
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", help="scratch folder (default: a temporary one)")
    parser.add_argument("--repeats", type=int, default=3)
    output = REPOSITORY / "benchmarks" / "results" / "planes.json"
    parser.add_argument("--output", type=Path, default=output)
    arguments = parser.parse_args()
    result = {"machine": machine(), "height_px": SHAPE_PX[0], "width_px": SHAPE_PX[1]}
    result |= {"patch_size_px": SIZE_PX, "stride_px": STRIDE_PX, "trained_px": TRAINED_PX}
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        result["rows"] = measure(Path(name), arguments.repeats)
    write_json(arguments.output, result)
    print(json.dumps(result["rows"], indent=1))


if __name__ == "__main__":
    main()
