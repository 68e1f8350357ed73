"""How fast a training is: every precision end to end, the loader alone, and plain PyTorch.

    python3 benchmarks/training.py --output benchmarks/results

makes a dataset of simulated patches in a temporary folder and measures each configuration in a
process of its own, because PyTorch keeps the convolution plans of the first one. Writes
training.json and training.md. One configuration that fails is recorded and costs no other.

Steps are batches of 4 x 1 x 1024 x 1024 (input and target: 33.5 MB), timed with CUDA events in
blocks of steps; the median of the blocks is the figure, the least and the most are its spread.
"from memory" repeats a batch that lies on the device: the model alone. "from page cache" is end
to end: read, copied, turned, computed, optimized.
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

# In the order of their importance: what the time budget does not reach is recorded as such.
CONFIGURATIONS = {
    "baseline": {"kind": "baseline"},
    "float32": {"kind": "ours", "precision": "float32", "engine": "triton"},
    "bfloat16": {"kind": "ours", "precision": "bfloat16", "engine": "triton"},
    "loader, 8 threads": {"kind": "loader", "threads": 8},
    "loader, 16 threads": {"kind": "loader", "threads": 16},
    "tf32": {"kind": "ours", "precision": "tf32", "engine": "triton"},
    "float16": {"kind": "ours", "precision": "float16", "engine": "triton"},
    "float32, plain": {"kind": "ours", "precision": "float32"},
    "bfloat16, plain": {"kind": "ours", "precision": "bfloat16"},
    "train_denoiser.py, float32": {"kind": "script", "precision": "float32"},
    "train_denoiser.py, bfloat16": {"kind": "script", "precision": "bfloat16"},
    "loader, 12 threads": {"kind": "loader", "threads": 12},
    "tf32, plain": {"kind": "ours", "precision": "tf32"},
    "float16, plain": {"kind": "ours", "precision": "float16"},
    "float32, compiled": {"kind": "ours", "precision": "float32", "engine": "compiled"},
    "bfloat16, compiled": {"kind": "ours", "precision": "bfloat16", "engine": "compiled"},
    "float32, plain, deterministic": {
        "kind": "ours",
        "precision": "float32",
        "deterministic": True,
    },
}


def run_one(name, manifest, plan):
    """Measure one configuration in this process and print its figures."""
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    options = CONFIGURATIONS[name]
    print_figures(MEASURES[options["kind"]](manifest, device, plan, options))


def run_all(manifest, plan, arguments):
    """Measure every configuration that the time allows; return name -> figures or error."""
    results, started = {}, time.monotonic()
    for name in CONFIGURATIONS:
        if arguments.only and name not in arguments.only:
            continue
        left_s = arguments.seconds - (time.monotonic() - started)
        if left_s < plan["least_s"]:
            results[name] = {"error": "not measured: the time was used up"}
            continue
        call = ["--configuration", name, "--dataset", str(manifest)]
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
        f"dataset of {plan['gib']} GiB in the page cache. Medians of {plan['blocks']} blocks of "
        f"{plan['steps']} steps, spread in brackets. Ratios are to the baseline's model alone.",
        "",
        "| configuration | from memory (steps/s) | from page cache (steps/s) | ratio "
        "| device waits | device MiB | host MiB | output error | gradient error |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    base = report["results"].get("baseline", {}).get("from_memory", {}).get("median")
    for name, found in report["results"].items():
        if "error" in found:
            lines.append(f"| {name} | {found['error']} | | | | | | | |")
            continue
        cache = found.get("from_page_cache")
        ratio = f"{cache['median'] / base:.2f}" if base and not name.startswith("loader") else ""
        cells = [
            name,
            rate_text(found.get("from_memory")),
            rate_text(cache),
            ratio,
            percent(found.get("device_wait_fraction")),
            number(found.get("peak_device_mib"), ".0f"),
            number(found.get("peak_host_mib"), ".0f"),
            number(found.get("output_error_l2"), ".1e"),
            number(found.get("gradient_error_l2"), ".1e"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "Errors are relative L2 against float64; of gradients the worst tensor's.", ""]
    return "\n".join(lines)


def main():
    """Measure and write the report; exit status 1 when a configuration failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--tiny", action="store_true", help="seconds on a CPU: does it run at all")
    parser.add_argument("--only", action="append", metavar="CONFIGURATION")
    parser.add_argument("--seconds", type=float, default=450, help="time for everything")
    parser.add_argument("--seconds-each", type=float, default=150)
    parser.add_argument("--configuration", help=argparse.SUPPRESS)
    parser.add_argument("--dataset", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    plan = {"size_px": 1024, "gib": 4, "warm_up": 10, "blocks": 15, "steps": 20}
    plan |= {"workers": 12, "threads": 12, "least_s": 20}
    if arguments.tiny:
        plan |= {"size_px": 64, "gib": 0.001, "warm_up": 1, "blocks": 2, "steps": 2}
        plan |= {"workers": 1, "threads": 2}
    if arguments.configuration:
        run_one(arguments.configuration, arguments.dataset, plan)
        return 0
    with tempfile.TemporaryDirectory(prefix="clearice-benchmark-") as folder:
        started = time.monotonic()
        manifest = write_dataset(Path(folder), plan["gib"], plan["size_px"])
        print(f"dataset written in {time.monotonic() - started:.1f} s", flush=True)
        results = run_all(manifest, plan, arguments)
    report = {"environment": environment(), "plan": plan, "results": results}
    write_json(arguments.output / "training.json", report)
    write_text(arguments.output / "training.md", as_table(report))
    print(as_table(report))
    return int(any("error" in found for found in results.values()))


if __name__ == "__main__":
    sys.exit(main())
