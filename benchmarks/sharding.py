"""Memory and speed of sharding a full-size micrograph, in every target mode, and one twice as tall.

    python benchmarks/sharding.py [--directory SCRATCH] [--repeats 5] [--micrographs 20]

A run over `--micrographs` different pairs follows, one after the other, each removed when it is
done. It needs 7 GB of disk.

Peak memory is the child's ru_maxrss. Seconds are the child's wall time, interpreter start
included; the ratio is to plain writes (4 MiB at a time, fsync) of as many bytes to the same
folder, done in turns with the shards. Medians. Exit status 1 if a bound is broken.

Two more ways to write as many bytes stand beside it, without a bound: into the page cache alone,
which promises nothing after a power cut, and past the page cache (O_DIRECT, fsync), as shards are
written: what is above that is the price of reading, cutting, normalising and hashing.
"""

import argparse
import json
import mmap
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPTS = REPOSITORY / "workflow" / "scripts"
BOUNDS = {"peak_rss_mib": 128, "growth": 0.05, "ratio": 1.25}
WAYS = ("plain", "page_cache", "direct")
TARGETS = ("halves", "synthetic_noise", "lowpass")
PATCH_PX, STRIDE_PX = 1024, 512
# This process stays small: a child's ru_maxrss starts from that of the process that made it.
MAKE = """
import sys
import numpy as np
from clearice.micrographs.mrc_writer import write_micrograph
path, height, width, seed = sys.argv[1], *map(int, sys.argv[2:])
generator = np.random.default_rng(seed)
slope = np.linspace(0, 1, width, dtype=np.float32)
rows = (generator.standard_normal(width, np.float32) + slope + 10 for _ in range(height))
write_micrograph(path, rows, height, width, pixel_size_angstrom=0.66, label="benchmark")
"""


def run_child(command):
    """Run a command; return its wall time (s) and peak RSS (MiB)."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(SCRIPTS)})
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return seconds, usage.ru_maxrss * unit / 2**20


def settle(patience_s=300):
    """Let both sides of a comparison start alike: an idle machine, nothing to write back.

    Pages that were freed a moment ago are several times cheaper to write into than those that a
    virtual machine has handed back to its host, which takes two seconds: hence the pause.
    """
    os.sync()
    deadline = time.monotonic() + patience_s
    while busy_fraction(3) > 0.1 and time.monotonic() < deadline:
        pass


def busy_fraction(seconds):
    """Return the fraction of all cores' time that was used in the next `seconds`."""

    def idle_and_all():
        ticks = [int(field) for field in Path("/proc/stat").read_text().split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks)

    if not Path("/proc/stat").exists():
        time.sleep(seconds)
        return 0.0
    idle, total = idle_and_all()
    time.sleep(seconds)
    idle_then, total_then = idle_and_all()
    return 1 - (idle_then - idle) / max(1, total_then - total)


def write_bytes(folder, sizes, way):
    """Write files of those sizes, 4 MiB at a time; return the seconds.

    `way` is `plain` (page cache, fsync), `page_cache` (no fsync) or `direct` (O_DIRECT, fsync).
    """
    block = mmap.mmap(-1, 1 << 22)  # page-aligned, as O_DIRECT wants it
    block.write(os.urandom(1 << 22))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    flags |= getattr(os, "O_DIRECT", 0) if way == "direct" else 0
    settle()
    start = time.perf_counter()
    for number, size in enumerate(sizes):
        descriptor = os.open(folder / f"written{number}", flags)
        while size > 0:
            size -= os.write(descriptor, memoryview(block)[:size])
        if way != "page_cache":
            os.fsync(descriptor)
        os.close(descriptor)
    seconds = time.perf_counter() - start
    for number in range(len(sizes)):
        (folder / f"written{number}").unlink()
    return seconds


def shard_once(folder, halves, target):
    """Make one shard; return its seconds, peak RSS (MiB) and the sizes of its two files."""
    prefix = folder / "shard"
    command = [sys.executable, "-m", "clearice", "shard", halves[0], "--output", prefix]
    command += ["--target", target, "--stride-px", str(STRIDE_PX)]
    command += ["--patch-size-px", str(PATCH_PX)]
    if target == "halves":
        command += ["--target-half", halves[1]]
    settle()
    seconds, peak_rss_mib = run_child(command)
    files = [Path(f"{prefix}.{side}.bin") for side in ("input", "target")]
    sizes = [file.stat().st_size for file in files]
    for file in files:
        file.unlink()
    return seconds, peak_rss_mib, sizes


def measure(folder, halves, target, repeats):
    """Return the medians over `repeats` turns of a shard and as many bytes written each way."""
    seconds, peaks = {way: [] for way in ("shard", *WAYS)}, []
    _, _, sizes = shard_once(folder, halves, target)  # the page cache is warm from here on
    for _ in range(repeats):
        for way in WAYS:
            seconds[way].append(write_bytes(folder, sizes, way))
        taken, peak_rss_mib, _ = shard_once(folder, halves, target)
        seconds["shard"].append(taken)
        peaks.append(peak_rss_mib)
    medians = {way: statistics.median(all_of_it) for way, all_of_it in seconds.items()}
    return {
        "target": target,
        "bytes_written": sum(sizes),
        "peak_rss_mib": round(max(peaks), 1),
        "seconds": {way: round(median, 2) for way, median in medians.items()},
        "ratio": round(medians["shard"] / medians["plain"], 2),
        "all_seconds": {way: [round(s, 2) for s in seconds[way]] for way in seconds},
    }


def make_halves(folder, shape, first_seed):
    """Write two halves with independent noise; return their paths."""
    halves = [folder / "a.mrc", folder / "b.mrc"]
    for seed, path in enumerate(halves, start=first_seed):
        run_child([sys.executable, "-c", MAKE, path, *map(str, shape), str(seed)])
    return halves


def measure_run(folder, shape, count):
    """Return the peak RSS (MiB) of each of `count` micrographs, sharded one after the other."""
    peaks = []
    for number in range(count):
        halves = make_halves(folder, shape, 2 * number)
        peaks.append(round(shard_once(folder, halves, "halves")[1], 1))
    return peaks


def machine():
    """Describe the machine."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        cpu = names[0] if names else cpu
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    load = round(os.getloadavg()[0], 1)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_at_start": load,
    }


def markdown(result):
    """Return the page of the figures."""
    about, rows = result["machine"], result["rows"]
    lines = [
        "# Sharding: memory and speed",
        "",
        f"{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['system']}, "
        f"Python {about['python']}. Patches of {result['patch_size_px']} px at "
        f"{result['stride_px']} px, float32, input and target. Medians of "
        f"{len(rows[0]['all_seconds']['shard'])}. The ratio is to plain writes of as many bytes "
        f"with fsync; bounds: {BOUNDS['peak_rss_mib']} MiB, {BOUNDS['ratio']} times.",
        "",
        "| target | height x width (px) | peak RSS (MiB) | shard (s) | plain writes (s) | ratio "
        "| page cache alone (s) | direct (s) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        taken = row["seconds"]
        lines.append(
            f"| {row['target']} | {row['height_px']} x {row['width_px']} | {row['peak_rss_mib']} "
            f"| {taken['shard']} | {taken['plain']} | {row['ratio']} "
            f"| {taken['page_cache']} | {taken['direct']} |"
        )
    peaks = result["run_peak_rss_mib"]
    if peaks:
        lines += ["", f"{len(peaks)} micrographs: {min(peaks)} to {max(peaks)} MiB each."]
    return "\n".join(lines) + "\n"


def broken_bounds(rows, run_peaks):
    """Return a line for each bound that a row, or the run over many micrographs, breaks."""
    broken = []
    if not max(run_peaks, default=0) <= BOUNDS["peak_rss_mib"]:
        broken.append(f"{len(run_peaks)} micrographs: peak RSS {max(run_peaks)} MiB")
    for row in rows:
        what = f"{row['target']}, {row['height_px']} x {row['width_px']}"
        if not row["peak_rss_mib"] <= BOUNDS["peak_rss_mib"]:
            broken.append(f"{what}: peak RSS {row['peak_rss_mib']} MiB")
        if not row["ratio"] <= BOUNDS["ratio"]:
            broken.append(f"{what}: {row['ratio']} times the plain writes")
        if not row.get("growth", 0) <= BOUNDS["growth"]:
            broken.append(f"{what}: {row['growth']:.1%} more memory for twice the height")
    return broken


def main():
    """Measure every target mode at both heights, print a table, store JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", help="scratch folder (default: a temporary one)")
    parser.add_argument("--height-px", type=int, default=7676)
    parser.add_argument("--width-px", type=int, default=7420)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--micrographs", type=int, default=20)
    parser.add_argument(
        "--output", type=Path, default=REPOSITORY / "benchmarks" / "results" / "sharding.json"
    )
    arguments = parser.parse_args()
    result, rows = {"machine": machine(), "bounds": BOUNDS}, []
    print("target           height  peak MiB  seconds  plain  ratio  page cache  direct")
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        folder = Path(name)
        for height_px in (arguments.height_px, 2 * arguments.height_px):
            halves = make_halves(folder, (height_px, arguments.width_px), 0)
            for target in TARGETS:
                row = measure(folder, halves, target, arguments.repeats)
                row |= {"height_px": height_px, "width_px": arguments.width_px}
                rows.append(row)
                seconds = row["seconds"]
                print(
                    f"{target:16} {height_px:6} {row['peak_rss_mib']:9} "
                    f"{seconds['shard']:8} {seconds['plain']:6} {row['ratio']:6} "
                    f"{seconds['page_cache']:11} {seconds['direct']:7}",
                    flush=True,
                )
        shape = arguments.height_px, arguments.width_px
        peaks = measure_run(folder, shape, arguments.micrographs)
        print(f"{len(peaks)} micrographs: peak MiB", *peaks)
    for low, tall in zip(rows, rows[len(TARGETS) :], strict=False):
        tall["growth"] = round(tall["peak_rss_mib"] / low["peak_rss_mib"] - 1, 4)
    result |= {"patch_size_px": PATCH_PX, "stride_px": STRIDE_PX, "rows": rows}
    result["run_peak_rss_mib"] = peaks
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    arguments.output.with_suffix(".md").write_text(markdown(result))
    broken = broken_bounds(rows, peaks)
    for line in broken:
        print(f"bound broken: {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
