#!/usr/bin/env python3
"""Calibrate the tolerances and time a training step: every honest arithmetic, one table.

    parity.py [--output DIR] [--size 1024] [--only WORD ...]
    parity.py --document

Exports a bundle of a briefly trained simple_cnn on made patches, runs NumPy, PyTorch (CPU: oneDNN
and native; CUDA: float32, TF32, bfloat16, float16) and cuDNN on it, each in a process of its own,
judges all, times the training step of cuDNN against PyTorch's, and writes parity.json, parity.md,
verdicts.txt and parity.log. What cannot run here is listed as not run; a part that fails leaves
its text in parity.log and does not stop the others.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPTS = REPOSITORY / "workflow" / "scripts"
IMPLEMENTATIONS = REPOSITORY / "workflow" / "implementations"
sys.path.insert(0, str(SCRIPTS))

TIMEOUT_S = 280
TIMED_BATCH = 4

CPU, GPU, FAST = ["--device", "cpu"], ["--device", "cuda"], ["--device", "cuda", "--benchmark"]
# name: (program, its arguments, timed)
RUNS = {
    "cudnn": ("cudnn_cnn.py", [], True),
    "torch CUDA float32": ("torch_cnn.py", FAST, True),
    # Again, the other way round: one process each, so that neither has the warmer GPU.
    "torch CUDA float32, again": ("torch_cnn.py", FAST, True),
    "cudnn, again": ("cudnn_cnn.py", [], True),
    "cudnn deterministic": ("cudnn_cnn.py", ["--deterministic"], True),
    "torch CUDA float32 deterministic": ("torch_cnn.py", GPU, True),
    "torch CUDA tf32": ("torch_cnn.py", [*FAST, "--precision", "tf32"], True),
    "torch CUDA bfloat16": ("torch_cnn.py", [*FAST, "--precision", "bfloat16"], True),
    "torch CUDA float16": ("torch_cnn.py", [*FAST, "--precision", "float16"], True),
    "torch CPU oneDNN": ("torch_cnn.py", CPU, False),
    "torch CPU native": ("torch_cnn.py", [*CPU, "--native"], False),
    "torch CPU bfloat16": ("torch_cnn.py", [*CPU, "--precision", "bfloat16"], False),
    "numpy float32": ("numpy_cnn.py", [], False),
    "numpy float64": ("numpy_cnn.py", ["--dtype", "float64"], False),
}
PAIRS = (("cudnn", "torch CUDA float32"), ("cudnn, again", "torch CUDA float32, again"))


class MadePatches:
    """Patches like a dataset's: blobs on waves with a ramp, the same in both halves, plus noise."""

    n_patches = 8

    def __init__(self, size_px):
        self.patch_size_px = size_px

    def read(self, i):
        """Return input and target (S, S) float32 with mean 0 and standard deviation 1."""
        import numpy as np

        size = self.patch_size_px
        y, x = np.mgrid[0:size, 0:size].astype(np.float32)
        random = np.random.default_rng(i)
        signal = 0.3 * np.sin(x / (7 + i) + y / 23) + 0.4 * (y - x) / size
        for _ in range(60):
            cy, cx, radius = [*random.uniform(0, size, 2).tolist(), random.uniform(4, 12)]
            ys = slice(max(0, int(cy) - 40), int(cy) + 40)
            xs = slice(max(0, int(cx) - 40), int(cx) + 40)
            distance = (y[ys, xs] - cy) ** 2 + 1.5 * (x[ys, xs] - cx) ** 2
            signal[ys, xs] -= np.exp(-distance / (2 * radius**2))
        halves = signal + random.standard_normal((2, size, size), np.float32)
        halves = (halves - halves[0].mean()) / halves[0].std()
        return halves[0].astype(np.float32), halves[1].astype(np.float32)

    def where(self, i):
        """Return (micrograph, y, x) of a patch."""
        return "made", 0, i


def export(folder, size_px):
    """Write the bundle of a network after 150 Adam steps on crops of the made patches."""
    import torch

    from clearice.model.networks import build_network
    from clearice.reference.cases import bundle_data
    from clearice.reference.export import write_bundle

    torch.manual_seed(0)
    patches, network = MadePatches(size_px), build_network("simple_cnn")
    pairs = [patches.read(i) for i in range(4)]
    x, target = (torch.stack([torch.from_numpy(p[k]) for p in pairs])[:, None] for k in (0, 1))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for step in range(150):
        at = step * 37 % (size_px - 63)
        crop = (slice(None), slice(None), slice(at, at + 64), slice(at, at + 64))
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(network(x[crop]), target[crop]).backward()
        optimizer.step()
    weights = {k.replace(".", "_"): v.detach().numpy() for k, v in network.state_dict().items()}
    settings = {"batch_size": 2, "steps": 20, "learning_rate": 0.01, "crop_px": min(256, size_px)}
    cases, training = bundle_data(patches, settings)
    write_bundle(folder, weights, cases, training, {"data": "made by benchmarks/parity.py"})


def run_process(words, log):
    """Run a command, all to the log; return its exit status, seconds and last line of errors."""
    start = time.perf_counter()
    try:
        process = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        status, output, errors = process.returncode, process.stdout, process.stderr
    except subprocess.TimeoutExpired as late:
        status, output, errors = 124, _text(late.stdout), _text(late.stderr) + "\ntook too long"
    seconds = time.perf_counter() - start
    log.write(
        f"$ {' '.join(map(str, words))}\n{output}{errors}\nstatus {status}, {seconds:.1f} s\n"
    )
    log.flush()
    lines = errors.strip().splitlines()
    return status, seconds, lines[-1] if lines else ""


def _text(captured):
    return captured.decode(errors="replace") if isinstance(captured, bytes) else captured or ""


def judge(bundle, folder, name, status, message):
    """Return the verdict on one run as declared, and as float32 where it declares another class."""
    from clearice.parity.comparison import compare
    from clearice.reference.bundle import Bundle

    result_file = folder / "result.json"
    record = json.loads(result_file.read_text()) if result_file.is_file() else {}
    record |= {"status": {0: "finished", 3: "not run"}.get(status, "failed")}
    record |= {"exit_status": status, "message": message}
    folder.mkdir(exist_ok=True)
    result_file.write_text(json.dumps(record))
    verdict = compare(Bundle(bundle), folder, name)
    strict = None
    if verdict["precision"] in ("tf32", "bfloat16", "float16"):
        strict = compare(Bundle(bundle), folder, name, "float32")["verdict"]
    return verdict, strict


def summary(name, verdict, strict, seconds):
    """Return the facts of one run for parity.json."""
    shares = {}
    for row in verdict.get("rows", ()):
        if row["percent"] is not None:
            shares[row["rung"]] = max(shares.get(row["rung"], 0.0), row["percent"])
    keys = ("precision", "verdict", "lowest_failing_rung", "worst_percent", "largest_errors")
    return {
        "name": name,
        **{key: verdict[key] for key in keys},
        "as_float32": strict,
        "original_tolerances": verdict["original_tolerances"],
        "repeat_bit_equal": verdict.get("repeat_bit_equal"),
        "percent_of_rung": {rung: round(share, 3) for rung, share in shares.items()},
        "diagnosis": verdict["diagnosis"],
        "result": verdict["result"],
        "seconds": round(seconds, 1),
    }


def speed(runs):
    """Return cuDNN's training steps/s over PyTorch's, both orders; {} without a GPU."""
    rates = {
        run["name"]: run["result"].get("timing", {}).get("training_batches_per_s") for run in runs
    }
    ratios = {
        f"{ours} / {theirs}": round(rates[ours] / rates[theirs], 3)
        for ours, theirs in PAIRS
        if rates.get(ours) and rates.get(theirs)
    }
    return {"training_batches_per_s": {k: v for k, v in rates.items() if v}, "ratios": ratios}


RUNGS = ("layer", "output", "loss", "gradients", "loss curve", "weights", "repeatability")


def table(report):
    """Return parity.md: per cent of the tolerance used, per rung, and steps a second."""
    facts = report["machine"]
    lines = [
        f"{facts['gpu'] or 'no GPU'}, {facts['cpu']}, torch {facts['torch']}; "
        f"test case 2 x 1 x {report['size_px']} x {report['size_px']}. Per cent of the tolerance "
        "of its precision class that the worst element or norm of a rung uses.",
        "",
        "| implementation | class | " + " | ".join(RUNGS) + " | verdict | as float32 | steps/s |",
        "|---" * (len(RUNGS) + 5) + "|",
    ]
    for run in report["runs"]:
        if run["verdict"] == "not run":
            continue
        shares = [f"{run['percent_of_rung'].get(rung, float('nan')):.3g}" for rung in RUNGS]
        rate = run["result"].get("timing", {}).get("training_batches_per_s")
        cells = [run["name"], run["precision"], *shares, run["verdict"]]
        cells += [run["as_float32"] or "", f"{rate:.1f}" if rate else ""]
        lines.append("| " + " | ".join(cells).replace("nan", "-") + " |")
    for pair, ratio in report["speed"]["ratios"].items():
        lines += ["", f"Training steps/s, {pair}: {ratio:.2f}"]
    return "\n".join([*lines, ""])


def document(report):
    """Put the table of a report into docs/parity.md."""
    path = REPOSITORY / "docs" / "parity.md"
    text = path.read_text(encoding="utf-8")
    begin, end = (f"<!-- calibration: {word} -->" for word in ("begin", "end"))
    before, after = text[: text.index(begin)], text[text.index(end) :]
    path.write_text(f"{before}{begin}\n{table(report)}{after}", encoding="utf-8")


def machine():
    """Return what the numbers were taken on."""
    import torch

    gpu = torch.cuda.is_available()
    cpu = [li for li in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in li]
    return {
        "gpu": torch.cuda.get_device_name() if gpu else None,
        "cpu": cpu[0].split(":")[1].strip() if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if gpu else None,
    }


def benchmark(output, size_px, only):
    """Run every part and write the results; return 0 if every verdict is as it should be."""
    from clearice.parity.verdict import verdict_text

    output.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "size_px": size_px, "runs": [], "speed": {}}
    texts = []
    with tempfile.TemporaryDirectory() as scratch, open(output / "parity.log", "w") as log:
        bundle = Path(scratch) / "bundle"
        words = [sys.executable, __file__, "--export", bundle, "--size", size_px]
        status, seconds, message = run_process(list(map(str, words)), log)
        report["export"] = {"seconds": round(seconds, 1), "status": status, "message": message}
        for name, (program, arguments, timed) in RUNS.items() if status == 0 else ():
            if only and not any(word in name for word in only):
                continue
            folder = Path(scratch) / name.replace(" ", "_").replace(",", "")
            words = [sys.executable, IMPLEMENTATIONS / program, *arguments]
            words += ["--bundle", bundle, "--output", folder]
            words += ["--time", f"{TIMED_BATCH},{size_px},{size_px}"] if timed else []
            ended, seconds, message = run_process(list(map(str, words)), log)
            try:
                verdict, strict = judge(bundle, folder, name, ended, message)
                texts.append(verdict_text(verdict))
                report["runs"].append(summary(name, verdict, strict, seconds))
            except Exception as error:
                report.setdefault("errors", {})[name] = repr(error)
                log.write(f"{name}: {error!r}\n")
            report["speed"] = speed(report["runs"])
            (output / "parity.json").write_text(json.dumps(report, indent=1) + "\n")
            (output / "parity.md").write_text(table(report))
            (output / "verdicts.txt").write_text("\n\n".join(texts))
    (output / "parity.json").write_text(json.dumps(report, indent=1) + "\n")
    if report["runs"]:
        print(table(report))
    wrong = [run["name"] for run in report["runs"] if run["verdict"] == "failed"]
    wrong += [run["name"] for run in report["runs"] if run["as_float32"] == "passed"]
    wrong += list(report.get("errors", {}))
    print(f"not as they should be: {', '.join(wrong) or 'none'}; export status {status}")
    return 1 if wrong or status else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks" / "results")
    parser.add_argument("--size", type=int, default=1024, help="side of the patches (pixels)")
    parser.add_argument("--only", nargs="*", help="only the runs whose name has one of these words")
    parser.add_argument(
        "--document", action="store_true", help="only put OUTPUT/parity.json into docs/parity.md"
    )
    parser.add_argument("--export", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export:
        export(options.export, options.size)
    elif options.document:
        document(json.loads((options.output / "parity.json").read_text()))
    else:
        sys.exit(benchmark(options.output, options.size, options.only))
