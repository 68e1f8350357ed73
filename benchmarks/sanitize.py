"""Do the CUDA kernels race, or touch memory that is not theirs? compute-sanitizer says.

    PYTHONPATH=workflow/scripts python3 benchmarks/sanitize.py --output benchmarks/results

runs a tiny problem (steps by batch and by table, an evaluation, a plane, in every precision) under
compute-sanitizer's racecheck and memcheck, and writes sanitize.json. Exit status 0: no hazard and
no error; 1: some; 3: no GPU or no compute-sanitizer (it comes with the CUDA toolkit, not with
PyTorch).

Not under synccheck: a strip's pair of warps meets at a named barrier of 64 threads, which needs no
other warp, and a pair whose rows are done ends. synccheck takes the others of its block, at their
barriers, for divergent, and ends the program. That every pair comes to each barrier is seen in
tests/unit/model/test_cuda_kernels.py, where a missing one would wait forever.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

import numpy as np
import torch
from measuring import environment

from clearice.files import write_json

CANNOT_RUN = 3
# memcheck also reports calls of the driver that fail; cuda.bindings probes for functions in it.
TOOLS = {
    "racecheck": [],
    "memcheck": ["--report-api-errors", "no"],
}
SUMMARY = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: (\d+)")


def find_sanitizer():
    """Return the path of compute-sanitizer, None where there is none."""
    places = sorted(Path("/usr/local").glob("cuda*/bin/compute-sanitizer"))
    return shutil.which("compute-sanitizer") or (str(places[-1]) if places else None)


def run_problem():
    """Launch every kernel in every precision on a few patches; print their errors."""
    from clearice.model.engines.cuda_blocks import PRECISIONS
    from clearice.model.engines.cuda_cnn import CudaCNN
    from clearice.model.networks import build_network
    from clearice.model.planes.patch_tables import Epoch, patch_table

    gpu = torch.device("cuda", 0)
    for precision in PRECISIONS:
        torch.manual_seed(0)
        engine = CudaCNN(build_network("simple_cnn").to(gpu), precision)
        optimizer = engine.fused_optimizer("adam", 0.01)
        image, target = torch.randn(2, 2, 1, 70, 101, device=gpu)
        errors = [engine.step(image, target, image.numel(), optimizer)]
        errors.append(engine.squared_error(image, target))
        planes = [list(side[:, 0].half()) for side in (image, target)]
        addresses = np.array([[a.data_ptr(), b.data_ptr()] for a, b in zip(*planes, strict=True)])
        places = np.array([(3, 5), (1, 11)])
        epoch = Epoch(np.arange(2), places, 61, 61, codes=np.array([5, 2]))
        rows = patch_table(epoch, epoch.order, addresses, np.array([101, 101]), itemsize=2)
        table = torch.from_numpy(rows).to(gpu)
        errors.append(engine.step_of_table(table, 61, 2 * 61**2, optimizer, torch.float16))
        plane = torch.empty(70, 101, device=gpu)
        engine.denoise_plane(planes[0][0], plane)
        finite = bool(torch.isfinite(plane).all())
        print(precision, [float(error) for error in errors], finite, flush=True)
        if not finite or not all(torch.isfinite(error) for error in errors):
            sys.exit("a result is not finite")


def check(sanitizer, tool, options):
    """Run the problem under one tool; return {"found": how many, ...}."""
    words = [sanitizer, "--tool", tool, *options, sys.executable, __file__, "--problem"]
    try:
        process = subprocess.run(words, capture_output=True, text=True, timeout=500)
    except subprocess.TimeoutExpired:
        return {"found": None, "output": "stopped after 500 s"}
    summaries = SUMMARY.findall(process.stdout + process.stderr)
    found = int(summaries[-1]) if summaries else None
    output = (process.stdout + process.stderr)[-3000:]
    return {"found": found, "exit_status": process.returncode, "output": output}


def main():
    """Run every tool and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--problem", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.problem:
        run_problem()
        return 0
    sanitizer = find_sanitizer()
    if sanitizer is None or not torch.cuda.is_available():
        missing = "NVIDIA GPU" if sanitizer else "compute-sanitizer"
        print(f"sanitize: there is no {missing} here", file=sys.stderr)
        return CANNOT_RUN
    results = {}
    for tool, options in TOOLS.items():
        results[tool] = found = check(sanitizer, tool, options)
        print(f"{tool}: {found['found']} found\n{found['output']}", flush=True)
    write_json(
        arguments.output / "sanitize.json", {"environment": environment(), "results": results}
    )
    clean = all(f["found"] == 0 and f["exit_status"] == 0 for f in results.values())
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
