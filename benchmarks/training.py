"""How fast a training is: the CUDA engine in its precisions, from memory and end to end.

    PYTHONPATH=workflow/scripts python3 benchmarks/training.py --output benchmarks/results

makes two datasets of simulated patches (float32 and float16) in a temporary folder and measures
each configuration in a process of its own, because PyTorch keeps the convolution plans of the
first one. Writes training.json and training.md. One configuration that fails is recorded and costs
no other. It takes a minute on a GPU; --all measures PyTorch in other precisions, the loader
alone and the whole script besides.

Steps are batches of 4 x 1 x 1024 x 1024 (input and target: 33.5 MB), timed with CUDA events in
blocks of steps; the median of the blocks is the figure, the least and the most are its spread.
"from memory" takes four batches that lie on the device in turn: the model alone. "from page cache"
is end to end: read, copied, turned, computed, optimized. Errors are those of the initial weights
on one batch, the same for all configurations.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

import torch
from measuring import (
    environment,
    number,
    percent,
    print_figures,
    rate_text,
    run_process,
    write_dataset,
)
from training_configurations import BATCH, MEASURES

from clearice.files import write_json, write_text

DTYPES = ("float32", "float16")  # of patches in files
COLUMNS = ("from_memory", "from_page_cache", "from_page_cache_float16")
CONFIGURATIONS = {
    "PyTorch, float32": {"kind": "baseline"},
    **{
        f"cuda, {precision}": {"kind": "ours", "precision": precision, "engine": "cuda"}
        for precision in ("float32", "float16", "bfloat16")
    },
}
# In the order of their importance: what the time budget does not reach is recorded as such.
MORE = {
    "train_denoiser.py, float32": {"kind": "script", "precision": "float32"},
    "train_denoiser.py, bfloat16": {"kind": "script", "precision": "bfloat16"},
    "train_denoiser.py, float32, float16 patches": {
        "kind": "script",
        "precision": "float32",
        "dtype": "float16",
    },
    **{
        f"loader, {threads} threads, {dtype} patches": {
            "kind": "loader",
            "threads": threads,
            "dtype": dtype,
        }
        for dtype in ("float32", "float16")
        for threads in (8, 12, 16)
    },
    **{
        f"{engine}, {precision}": {"kind": "ours", "precision": precision, "engine": engine}
        for engine in ("pytorch", "compiled")
        for precision in ("float32", "tf32", "bfloat16", "float16")
    },
    "pytorch, float32, deterministic": {
        "kind": "ours",
        "precision": "float32",
        "engine": "pytorch",
        "deterministic": True,
    },
}


def run_one(name, folder, plan):
    """Measure one configuration in this process and print its figures."""
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    options = (CONFIGURATIONS | MORE)[name]
    manifests = {dtype: folder / dtype / "manifest.json" for dtype in DTYPES}
    print_figures(MEASURES[options["kind"]](manifests, device, plan, options))


def chosen(arguments):
    """Return the names of the configurations to measure."""
    every = [*CONFIGURATIONS, *MORE]
    if arguments.only:
        return [name for name in every if name in arguments.only]
    return every if arguments.all else list(CONFIGURATIONS)


def run_all(folder, plan, arguments):
    """Measure every configuration that the time allows; return name -> figures or error."""
    results, started = {}, time.monotonic()
    for name in chosen(arguments):
        left_s = arguments.seconds - (time.monotonic() - started)
        if left_s < plan["least_s"]:
            results[name] = {"error": "not measured: the time was used up"}
            continue
        call = ["--configuration", name, "--datasets", str(folder)]
        call += ["--tiny"] if arguments.tiny else []
        results[name] = run_process(__file__, call, min(left_s, arguments.seconds_each))
        print(f"{name}: {json.dumps(results[name])}", flush=True)
    return results


def as_table(report):
    """Return the report as Markdown."""
    facts, plan = report["environment"], report["plan"]
    lines = [
        "# Training speed",
        "",
        f"{facts['device']}, {facts['cpus']} CPU cores, PyTorch {facts['torch']}, "
        f"cuDNN {facts['cudnn']}. Batches of {BATCH} x 1 x {plan['size_px']} x {plan['size_px']}, "
        f"datasets of {plan['gib']} GiB in the page cache. Medians of {plan['blocks']} blocks of "
        f"{plan['steps']} steps, spread in brackets. Ratios are to PyTorch in float32, from "
        "memory or from its DataLoader.",
        "",
        "| configuration | from memory (steps/s) | ratio | from float32 patches | ratio "
        "| from float16 patches | ratio | device waits | first step (s) | device MiB | host MiB "
        "| output error | gradient error |",
        "| --- |" + " --- |" * 12,
    ]
    base = report["results"].get("PyTorch, float32", {})
    for name, found in report["results"].items():
        if "error" in found:
            lines.append(f"| {name} | {found['error']} |" + " |" * 11)
            continue
        waits = (percent(found.get(f"device_wait_fraction_{dtype}")) for dtype in DTYPES)
        asked = (CONFIGURATIONS | MORE)[name].get("engine")
        instead = "" if found.get("engine") == asked else f" (not available: {found['engine']})"
        cells = [name + instead]
        for column in COLUMNS:
            of = base.get("from_memory" if column == "from_memory" else "from_page_cache")
            rates, is_loader = found.get(column), name.startswith("loader")
            ratio = rates and of and not is_loader and rates["median"] / of["median"]
            cells += [rate_text(rates), number(ratio or None, ".2f")]
        cells += [
            ", ".join(filter(None, waits)),
            number(found.get("seconds_to_first_step"), ".2f"),
            number(found.get("peak_device_mib"), ".0f"),
            number(found.get("peak_host_mib"), ".0f"),
            number(found.get("output_error_l2"), ".1e"),
            number(found.get("gradient_error_l2"), ".1e"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    errors = "Errors are relative L2 against float64; of gradients the worst tensor's."
    lines += ["", errors + " Device waits: from float32 patches, from float16 ones.", ""]
    return "\n".join(lines)


def main():
    """Measure and write the report; exit status 1 when a configuration failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--tiny", action="store_true", help="seconds on a CPU: does it run at all")
    parser.add_argument("--all", action="store_true", help="the slower configurations as well")
    parser.add_argument("--only", action="append", metavar="CONFIGURATION")
    parser.add_argument("--seconds", type=float, default=450, help="time for everything")
    parser.add_argument("--seconds-each", type=float, default=150)
    parser.add_argument("--configuration", help=argparse.SUPPRESS)
    parser.add_argument("--datasets", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    plan = {"size_px": 1024, "gib": 2, "warm_up": 10, "blocks": 15, "steps": 20}
    plan |= {"workers": 12, "threads": 12, "least_s": 20}
    if arguments.tiny:
        plan |= {"size_px": 64, "gib": 0.001, "warm_up": 1, "blocks": 2, "steps": 2}
        plan |= {"workers": 1, "threads": 2}
    if arguments.configuration:
        run_one(arguments.configuration, arguments.datasets, plan)
        return 0
    with tempfile.TemporaryDirectory(prefix="clearice-benchmark-") as folder:
        started = time.monotonic()
        for dtype in DTYPES:
            write_dataset(Path(folder) / dtype, plan["gib"], plan["size_px"], dtype)
        print(f"datasets written in {time.monotonic() - started:.1f} s", flush=True)
        results = run_all(Path(folder), plan, arguments)
    report = {"environment": environment(), "plan": plan, "results": results}
    write_json(arguments.output / "training.json", report)
    write_text(arguments.output / "training.md", as_table(report))
    print(as_table(report))
    return int(any("error" in found for found in results.values()))


if __name__ == "__main__":
    sys.exit(main())
