"""How fast simple_cnn trains from whole micrographs on the GPU: EMPIAR-10025 at its size.

    python3 benchmarks/training_from_planes.py --output benchmarks/results

196 pairs of 7676 x 7420 float16 planes (44.65 GB): a few distinct ones under many names, so that
what is read comes from the page cache. Measured in one run, beside eager PyTorch in float32 on
batches that lie on the device:

    resident   all planes on the device: seconds to load them, and those of an epoch of 29,913
               patches of 1024 px (random turns, swapped halves), each with its loss read back
    streamed   the same where the memory may hold two groups of micrographs only
    devices    with two GPUs: train_denoiser.py on one and on both, the script's own figures of its
               first epoch, which waits for the planes, and of both

Writes training_from_planes.json; with --kinds those alone are measured, and what the file holds of
others stays. --tiny runs it on a CPU in seconds, to see that it runs at all.
"""

import argparse
import concurrent.futures
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

import numpy as np
import torch
from measuring import SCRIPTS, Stopwatch, environment, print_figures, run_process, summary
from training_configurations import (
    batches_in_memory,
    memory,
    model_settings,
    our_optimization,
)

from clearice.dataset.manifest import build_manifest, split_part
from clearice.files import write_json
from clearice.model.device import set_precision
from clearice.model.distributed import Processes
from clearice.model.feed import Feed
from clearice.model.history import read_history
from clearice.model.late_losses import LateLosses
from clearice.model.networks import build_network
from clearice.model.planes.residency import StreamedPlanes
from clearice.shards.binary import write_side
from clearice.shards.patches import patch_origins
from clearice.shards.record import new_record

PLAN = {"shape": (7676, 7420), "size_px": 1024, "train": 177, "test": 19, "distinct": 14}
TINY = {"shape": (160, 200), "size_px": 32, "train": 20, "test": 2, "distinct": 2}
PRECISIONS = {"resident": ("float32", "float16", "bfloat16"), "streamed": ("float32", "float16")}
KINDS = ("resident", "streamed", "devices")
BATCH, EPOCHS = 4, 2


def write_pair(folder, number, plan):
    """Write a pair of planes of noisy waves, and return their record."""
    (height_px, width_px), size_px = plan["shape"], plan["size_px"]
    ys, xs = patch_origins(height_px, width_px, size_px, size_px // 2).T.tolist()
    settings = {"size_px": size_px, "stride_px": size_px // 2, "cover_border": False}
    facts = {"n_patches": len(ys), "y": ys, "x": xs, "noise_floor": 0.5, "half_correlation": 0.0}
    facts |= {"height_px": height_px, "width_px": width_px}
    record = new_record(f"m{number}", settings, "halves", "float16", files={}, **facts)
    rng = np.random.default_rng(number)
    wave = np.sin(np.arange(width_px, dtype=np.float32) * rng.uniform(0.01, 0.05))
    for side in ("input", "target"):
        rows = (
            0.7 * (wave + rng.standard_normal((min(512, height_px - y), width_px), np.float32))
            for y in range(0, height_px, 512)
        )
        files = {f"{side}_plane": folder / f"m{number}.{side}.plane"}
        record["files"] |= write_side(files, rows, record)
    return record


def write_dataset(folder, plan):
    """Write the distinct pairs, give them names enough, and return the manifest's path."""
    count = plan["train"] + plan["test"]
    with concurrent.futures.ProcessPoolExecutor(min(plan["distinct"], 16)) as pool:
        numbers = range(plan["distinct"])
        records = list(
            pool.map(write_pair, *zip(*((folder, n, plan) for n in numbers), strict=True))
        )
    named = []
    for number in range(count):
        record = records[number % len(records)] | {"micrograph": f"m{number}", "files": {}}
        for name, entry in records[number % len(records)]["files"].items():
            path = f"m{number}.{name.replace('_', '.')}"
            if number >= len(records):
                os.link(folder / entry["path"], folder / path)
            record["files"][name] = entry | {"path": path}
        write_json(folder / f"m{number}.json", record)
        named.append((folder / f"m{number}.json", record))
    parts = {"train": named[: plan["train"]], "test": named[plan["train"] :]}
    parts = {split: split_part(of, folder) for split, of in parts.items()}
    write_json(folder / "manifest.json", build_manifest(parts, "grid"))
    return folder / "manifest.json"


def eager(device, plan, steps):
    """Return steps per second of plain PyTorch, float32, Adam, on batches in memory."""
    set_precision("float32")
    network = build_network("simple_cnn").to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    pairs = itertools.cycle(batches_in_memory(device, plan["size_px"]))
    watch = Stopwatch(device)
    for _ in range(11):
        for image, target in itertools.islice(pairs, steps):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(network(image), target).backward()
            optimizer.step()
        watch.mark()
    return summary(watch.rates(steps))


def epoch_of(feed, device, precision, engine):
    """Return the figures of one epoch, after a few steps that compile and warm up."""
    set_precision(precision)
    optimization = our_optimization(device, precision, engine, feed.images)
    late, losses = LateLosses(device), []

    def take(batches):
        for batch in batches:
            report = optimization.step_on(batch, batch.patches * feed.size_px**2)
            losses.extend(loss for _, loss, *_ in late.push(report, None))
        losses.extend(loss for _, loss, *_ in late.drain())

    grouped = feed.streams
    warm_up = feed.training_batches(1, grouped=grouped)
    take(itertools.islice(warm_up, 50))
    warm_up.close()
    losses.clear()
    started, waited_s = time.perf_counter(), feed.waited_s
    take(feed.training_batches(0, grouped=grouped))
    seconds, waited_s = time.perf_counter() - started, feed.waited_s - waited_s
    return {
        "engine": optimization.engine.name,
        "patches": feed.readers["train"].n_patches,
        "epoch_s": round(seconds, 3),
        "batches_per_s": round(len(losses) / seconds, 1),
        "host_waits_fraction": round(waited_s / seconds, 4),
        "first_loss": losses[0],
        "last_losses": float(np.mean(losses[-50:])),
    }


def measure(folder, plan, kind):
    """Print the figures of one kind, `resident` or `streamed`, in this process."""
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", 0) if on_gpu else torch.device("cpu")
    manifest, engine = folder / "manifest.json", "cuda" if on_gpu else "pytorch"
    found = {}
    if kind == "resident":
        found["eager"] = eager(device, plan, 20 if on_gpu else 1)
    settings = model_settings(reader_threads=12, batch_size=BATCH)
    limit = None if on_gpu else 1 << 40
    if kind == "streamed":
        with Feed(manifest, settings, device, Processes(), memory_limit_bytes=0) as feed:
            limit = StreamedPlanes.bytes_of(feed.readers)
    started = time.perf_counter()
    with Feed(manifest, settings, device, Processes(), memory_limit_bytes=limit) as feed:
        next(feed.training_batches(0, grouped=feed.streams))
        found["load_s"] = round(time.perf_counter() - started, 2)
        for precision in PRECISIONS[kind] if on_gpu else ("float32",):
            found[precision] = epoch_of(feed, device, precision, engine)
        found |= memory(device)
    print_figures(found)


def on_devices(folder, count, batch_size):
    """Return what train_denoiser.py says of its epochs on `count` GPUs."""
    with tempfile.TemporaryDirectory() as output:
        sets = [f"batch_size={batch_size}", f"devices={count}", "device=cuda", f"epochs={EPOCHS}"]
        words = [SCRIPTS / "train_denoiser.py", folder / "manifest.json", output]
        words += ["--architecture", "simple_cnn", *(f"--set={text}" for text in sets)]
        started = time.perf_counter()
        subprocess.run([sys.executable, *map(str, words)], check=True, timeout=200)
        script_s = round(time.perf_counter() - started, 1)
        rows = read_history(Path(output) / "history.tsv")
    first, last = rows[0], rows[-1]
    return {
        "devices": count,
        "batch_size": batch_size,
        "epochs": EPOCHS,
        "first_epoch_batches_per_s": first["batches_per_s"],
        "first_epoch_waits_fraction": first["device_wait_fraction"],
        "batches_per_s": round(last["step"] / last["seconds"], 1),
        "train_loss": last["train_loss"],
        "test_loss": last["test_loss"],
        "script_s": script_s,
    }


def main():
    """Write the dataset, measure each kind in a process of its own, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--tiny", action="store_true", help="seconds on a CPU")
    parser.add_argument("--directory", help="scratch folder (default: a temporary one)")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    plan = TINY if arguments.tiny else PLAN
    if arguments.kind:
        measure(arguments.folder, plan, arguments.kind)
        return
    path = arguments.output / "training_from_planes.json"
    partly = path.exists() and set(arguments.kinds) < set(KINDS)
    result = json.loads(path.read_text()) if partly else {}
    result |= {"environment": environment(), "plan": plan}
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        started, folder = time.perf_counter(), Path(name)
        write_dataset(folder, plan)
        print(f"planes written in {time.perf_counter() - started:.1f} s", flush=True)
        for kind in sorted({"resident", "streamed"} & set(arguments.kinds)):
            words = ["--kind", kind, "--folder", str(folder), *["--tiny"] * arguments.tiny]
            result[kind] = run_process(__file__, words, 200)
            print(kind, json.dumps(result[kind]), flush=True)
            write_json(path, result)
        if torch.cuda.device_count() > 1 and "devices" in arguments.kinds:
            result["devices"] = []
            for count, size in ((1, 16), (2, 16)):
                result["devices"].append(on_devices(folder, count, size))
                print(json.dumps(result["devices"][-1]), flush=True)
            write_json(path, result)


if __name__ == "__main__":
    main()
