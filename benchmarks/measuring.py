"""What the benchmarks share: a dataset, a stopwatch, processes of their own, tables."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from clearice.files import write_json

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow" / "scripts"
_FIGURES = "FIGURES "


def write_dataset(folder, gib, size_px, dtype="float32"):
    """Write a dataset of `gib` GiB of noisy waves (float32 or float16); return its manifest."""
    # Only here: it needs jsonschema, which is not where every GPU is.
    from clearice.dataset.manifest import FORMAT_VERSION, NORMALISATION, content_xxh3, data_xxh3

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    stored = np.dtype(dtype).newbyteorder("<")
    pair_bytes = 2 * stored.itemsize * size_px**2
    n_train = max(12, int(gib * 2**30) // pair_bytes)
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32) / size_px
    waves = [np.sin(20 * rng.random(dtype=np.float32) * x + y) for _ in range(4)]
    noise = rng.standard_normal((8, size_px, size_px), dtype=np.float32)
    splits = {}
    for split, count in (("train", n_train), ("test", 8)):
        for side, seed in (("input", 1), ("target", 2)):
            draw = np.random.default_rng(seed)
            with open(folder / f"{split}_{side}.bin", "wb") as file:
                for i in range(count):
                    shift = tuple(draw.integers(0, size_px, 2))
                    rolled = np.roll(noise[draw.integers(8)], shift, (0, 1))
                    file.write((waves[i % 4] + rolled).astype(stored).tobytes())
        segment = {"micrograph": split, "first_patch": 0, "n_patches": count, "shard": "x.json"}
        for side in ("input", "target"):
            segment |= {f"{side}_file": f"{split}_{side}.bin", f"{side}_offset_bytes": 0}
            segment |= {f"{side}_xxh3": "0" * 16}
        shape = [count, size_px, size_px]
        splits[split] = {"n_patches": count, "shape": shape, "segments": [segment]}
    manifest = {
        "format_version": FORMAT_VERSION,
        "layout": "patches",
        "dtype": dtype,
        "patch_size_px": size_px,
        "normalisation": NORMALISATION,
        "data_xxh3": data_xxh3(splits, dtype, size_px),
        "splits": splits,
        "target_kind": "halves",
        "noise_floor": {"train": 1.0, "test": 1.0},
        "half_correlation": {"train": 0.0, "test": 0.0},
    }
    write_json(folder / "manifest.json", manifest | {"content_xxh3": content_xxh3(manifest)})
    return folder / "manifest.json"


class Stopwatch:
    """Times blocks of steps on the device's own clock."""

    def __init__(self, device):
        self._on_gpu, self._marks = device.type == "cuda", []

    def mark(self):
        """Note the moment at which the work launched so far will have ended."""
        if self._on_gpu:
            self._marks.append(torch.cuda.Event(enable_timing=True))
            self._marks[-1].record()
        else:
            self._marks.append(time.perf_counter())

    def rates(self, steps):
        """Return steps a second of each block between two marks."""
        pairs = list(zip(self._marks, self._marks[1:], strict=False))
        if self._on_gpu:
            torch.cuda.synchronize()
            return [1e3 * steps / start.elapsed_time(end) for start, end in pairs]
        return [steps / (end - start) for start, end in pairs]


def summary(rates):
    """Return the median, the least and the most of `rates`."""
    return {
        "median": float(np.median(rates)),
        "least": float(min(rates)),
        "most": float(max(rates)),
        "blocks": len(rates),
    }


def run_process(script, arguments, timeout_s):
    """Run `script` with `arguments` in a process of its own; return the figures that it printed.

    It prints them with `print_figures`. A process that fails or takes too long gives a dict
    with the key "error" instead.
    """
    try:
        process = subprocess.run(
            [sys.executable, script, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        tail = (error.stdout or b"").decode(errors="replace")[-2000:]
        return {"error": f"stopped after {timeout_s:.0f} s", "output": tail}
    for line in reversed(process.stdout.splitlines()):
        if line.startswith(_FIGURES):
            return json.loads(line.removeprefix(_FIGURES))
    return {"error": f"exit status {process.returncode}", "output": process.stdout[-3000:]}


def print_figures(figures):
    """Print a dict of figures for run_process."""
    print(_FIGURES + json.dumps(figures), flush=True)


def environment():
    """Say on what this was measured."""
    on_gpu = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name(0) if on_gpu else f"CPU, {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
    }


def rate_text(rates):
    """Return a median with its spread."""
    if not rates:
        return ""
    return f"{rates['median']:.4g} ({rates['least']:.4g}-{rates['most']:.4g})"


def percent(fraction):
    """Return a fraction in per cent, or nothing."""
    return "" if fraction is None else f"{100 * fraction:.1f} %"


def number(value, form):
    """Return a formatted number, or nothing."""
    return "" if value is None else format(value, form)
