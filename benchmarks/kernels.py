"""Which tile, warps and stages make each kernel of the training step fastest on this GPU.

    python3 benchmarks/kernels.py --output benchmarks/results

times every kernel by itself on a batch of 4 x 1 x 1024 x 1024 and writes kernels.json and
kernels.md: the five fastest choices of each, beside the choice of triton_cnn.py,
and the rate at which it moves the activations that it must.
"""

import argparse
import itertools
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

import numpy as np
import torch
from measuring import environment

from clearice.files import write_json, write_text
from clearice.model.networks import build_network

SHAPE = (4, 1, 1024, 1024)
# What each kernel must move, in activations of 16 channels; images are a sixteenth of one.
ACTIVATIONS = {"first": 1, "second": 2, "third": 1, "back3": 2, "back2": 2, "weights2": 2}
LOOPS = ("back3", "back2", "weights2")


def choices(kernel):
    """Return the (pixels, warps, stages) worth a try."""
    stages = (1, 2, 3) if kernel in LOOPS else (1,)
    blocks = (32, 64, 128) if kernel in LOOPS else (64, 128, 256)
    return list(itertools.product(blocks, (2, 4, 8), stages))


def median_ms(launch):
    """Return the median time of a launch (ms) over ten, after three."""
    for _ in range(3):
        launch()
    times = []
    for _ in range(10):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        launch()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return float(np.median(times))


def setting(precision):
    """Return (a TritonCNN, a batch) on the GPU."""
    from clearice.model.engines.triton_cnn import TritonCNN

    torch.manual_seed(0)
    pair = [torch.randn(SHAPE, device="cuda") for _ in range(2)]
    return TritonCNN(build_network("simple_cnn").cuda(), precision), pair


def compile_one(precision, kernel, choice):
    """Fill Triton's cache on disk with one variant; its faults come again when it is timed."""
    from clearice.model.engines.triton_cnn import BLOCKS, TritonCNN

    try:
        network = build_network("simple_cnn").cuda()
        engine = TritonCNN(network, precision, BLOCKS | {kernel: choice})
        pair = [torch.randn(1, 1, 64, 1024, device="cuda") for _ in range(2)]
        engine.launches(*pair)[kernel]()
        torch.cuda.synchronize()
    except Exception as error:
        return str(error)[:200]
    return None


def time_all(precision):
    """Return kernel -> list of (ms, choice), the fastest first; failures are left out."""
    from clearice.model.engines.triton_cnn import BLOCKS, TritonCNN

    engine, pair = setting(precision)
    found = {}
    for kernel in ACTIVATIONS:
        times = []
        for choice in choices(kernel):
            tried = TritonCNN(engine.network, precision, BLOCKS | {kernel: choice})
            try:
                times.append((median_ms(tried.launches(*pair)[kernel]), choice))
            except Exception as error:
                print(precision, kernel, choice, str(error)[:120], flush=True)
        found[kernel] = sorted(times)
    return found


def as_table(precision, found):
    """Return the five fastest choices of each kernel, and ours, as Markdown."""
    from clearice.model.engines.triton_cnn import BLOCKS, FORMATS

    item_bytes = FORMATS[precision][0].itemsize
    lines = [f"## {precision}", ""]
    lines += ["| kernel | choice | ms | GB/s | |", "| --- | --- | --- | --- | --- |"]
    for kernel, times in found.items():
        moved = ACTIVATIONS[kernel] * 16 * item_bytes * np.prod(SHAPE)
        for rank, (ms, choice) in enumerate(times):
            mark = "ours" if choice == BLOCKS[kernel] else ""
            if rank < 5 or mark:
                rate = moved / ms / 1e6
                lines.append(f"| {kernel} | {choice} | {ms:.3f} | {rate:.0f} | {mark} |")
    best = sum(times[0][0] for times in found.values() if times)
    ours = sum(ms for k, times in found.items() for ms, choice in times if choice == BLOCKS[k])
    return [*lines, "", f"All six at their fastest: {best:.3f} ms; ours: {ours:.3f} ms.", ""]


def main():
    """Compile every variant in parallel, time them one by one, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--precision", action="append")
    arguments = parser.parse_args()
    precisions = arguments.precision or ["float32", "bfloat16", "tf32", "float16"]
    variants = [(p, k, c) for p in precisions for k in ACTIVATIONS for c in choices(k)]
    workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(compile_one, *zip(*variants, strict=True), chunksize=4))
    results, lines = {}, [f"# Kernels of the training step: {environment()['device']}", ""]
    for precision in precisions:
        results[precision] = time_all(precision)
        lines += as_table(precision, results[precision])
    write_json(arguments.output / "kernels.json", {"environment": environment(), "ms": results})
    write_text(arguments.output / "kernels.md", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
