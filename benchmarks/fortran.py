"""The Fortran programs beside PyTorch: verdicts, training steps, loader, a training's losses.

    make -C fortran
    python3 benchmarks/fortran.py --programs build/fortran/bin --device cpu --output DIR

Everything of one run is on one machine. Training steps are batches of N x 1 x 1024 x 1024 in
float32: PyTorch's are eager, TF32 off, cudnn.benchmark on; medians. Losses and loader read one
dataset, from the page cache. On a GPU the programs compute with cuDNN and, in the same run, with
clearice's own kernels. Writes fortran_cpu.json or fortran_cuda.json.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

import numpy as np
import torch
from measuring import environment, write_dataset
from training_configurations import BATCH

from clearice.config import complete_config
from clearice.dataset.manifest import read_manifest
from clearice.dataset.namelists import dataset_namelists
from clearice.dataset.reader import open_split
from clearice.files import write_json, write_text
from clearice.model.distributed import Processes
from clearice.model.engines.cuda_compiler import CudaError
from clearice.model.engines.exported_kernels import export_kernels
from clearice.model.feed import Feed
from clearice.model.networks import build_network
from clearice.parity.comparison import compare
from clearice.reference.bundle import Bundle
from clearice.reference.cases import bundle_data
from clearice.reference.export import write_bundle

REPEATS = 3  # of the verdict and of the loader
COMPARED_STEPS = 50
SEED, LEARNING_RATE = 0, 1e-3


class Fortran:
    """The built programs on one device; `kernels` is the folder of those for --device kernels."""

    def __init__(self, folder, device, kernels=None):
        self.folder = Path(folder)
        self.device = ["--device", device, *(["--kernels", kernels] if kernels else [])]

    def run(self, name, *arguments):
        """Run a program; return (standard output, standard error)."""
        words = [str(self.folder / name), *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, env=library_environment())
        if done.returncode:
            sys.exit(f"{name} ended with {done.returncode}: {done.stderr}")
        return done.stdout, done.stderr


def library_environment():
    """Return an environment in which the CUDA libraries of this Python's wheels are found."""
    places = [Path(entry) for entry in sys.path if entry]
    folders = [str(lib) for place in places for lib in place.glob("nvidia/*/lib")]
    return {**os.environ, "CLEARICE_CUDA_LIBRARIES": ":".join(folders)}


def verdicts(programs, bundle, folder):
    """Judge the Fortran results a few times over; return what the verdicts say."""
    found = []
    for repeat in range(REPEATS):
        output = folder / f"output_{repeat}"
        programs.run(
            "clearice_parity", "--bundle", bundle.folder, "--output", output, *programs.device
        )
        verdict = compare(bundle, output)
        keys = ("verdict", "worst_percent", "largest_errors", "original_tolerances")
        found.append({key: verdict[key] for key in (*keys, "repeat_bit_equal")})
        said = json.loads((output / "result.json").read_text())
        found[-1]["training_batches_per_s"] = said["training_batches_per_s"]
    return found


def eager_rate(device, size_px, blocks):
    """Return training steps per second of eager PyTorch, float32, from memory."""
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = True, False
    torch.backends.cuda.matmul.allow_tf32 = False
    network = build_network("simple_cnn").to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6)
    x, target = torch.zeros(2, BATCH, 1, size_px, size_px, device=device).unbind()

    def step():
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(network(x), target + 1).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    seconds = []
    for _ in range(blocks + 2):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return 1 / float(np.median(seconds[2:]))


def loader_rates(programs, manifest, threads):
    """Return MB/s of both loaders over one epoch, into host memory, alternating."""
    rates = {"fortran": [], "python": []}
    for _ in range(REPEATS):
        _, said = programs.run(
            "clearice_load", "--dataset", manifest.parent, "--threads", threads,
            "--checksums", "no", "--swap-halves", "no",
        )  # fmt: skip
        rates["fortran"].append(float(said.split(",")[1].split()[0]))
        rates["python"].append(python_loader_rate(manifest, threads))
    return {name: float(np.median(values)) for name, values in rates.items()} | {"all": rates}


def python_loader_rate(manifest, threads):
    """Return MB/s of the Python feed on the CPU, patches turned as in a training."""
    settings = model_settings(reader_threads=threads)
    with Feed(manifest, settings, torch.device("cpu"), Processes()) as feed:
        start, count = time.perf_counter(), 0
        for batch in feed.training_batches(0):
            count += batch.input.numel() + batch.target.numel()
        return 4e-6 * count / (time.perf_counter() - start)


def model_settings(**changes):
    """Return a complete section of config.yaml's model."""
    given = {"device": "cpu", "seed": SEED, "learning_rate": LEARNING_RATE, **changes}
    return complete_config({"model": {"simple_cnn": given}})["model"]["simple_cnn"]


def eager_losses(manifest, device, steps):
    """Return the losses of PyTorch's first steps on the dataset, and its initial weights."""
    torch.manual_seed(SEED)
    torch.backends.cudnn.allow_tf32 = False
    network = build_network("simple_cnn").to(device)
    initial = {name: t.detach().cpu().numpy().copy() for name, t in network.state_dict().items()}
    optimizer, losses = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE), []
    settings = model_settings()
    with Feed(manifest, settings, device, Processes()) as feed:
        for epoch in range(-(-steps // feed.batches_per_epoch)):
            for batch in feed.training_batches(epoch):
                optimizer.zero_grad()
                loss = torch.nn.functional.mse_loss(network(batch.input), batch.target)
                loss.backward()
                optimizer.step()
                losses.append(float(loss.detach()))
    return losses[:steps], initial


def write_weights(folder, weights):
    """Write the weights of a network as raw files."""
    folder.mkdir()
    for name, value in weights.items():
        value.astype("<f4").tofile(folder / f"{name.replace('.', '_')}.bin")


def trainings(programs, manifest, folder, device, steps):
    """Train both on one dataset in one order; return how their losses and rates compare."""
    theirs, initial = eager_losses(manifest, device, steps)
    weights = folder / "weights"
    write_weights(weights, initial)
    batches = -(-read_manifest(manifest)["splits"]["train"]["n_patches"] // BATCH)
    memory = GpuMemory() if device.type == "cuda" else None
    programs.run(
        "clearice_train", "--dataset", manifest.parent, "--weights", weights,
        "--output", folder / "model", "--epochs", -(-steps // batches), "--seed", SEED,
        "--learning-rate", LEARNING_RATE, "--swap-halves", "no", *programs.device,
        "--threads", len(os.sched_getaffinity(0)),
    )  # fmt: skip
    ours = [float(row["loss"]) for row in rows_of(folder / "model" / "training_loss.tsv")][:steps]
    apart = np.abs(np.array(ours) / np.array(theirs) - 1)
    history = rows_of(folder / "model" / "history.tsv")
    return {
        "steps": len(ours),
        "largest_relative_difference_of_losses": float(apart.max()),
        "first_losses": ours[:3],
        "last_loss": ours[-1],
        "history": [{k: float(v) for k, v in row.items() if v} for row in history],
        "peak_gpu_mib_of_the_process": memory.stop() if memory else None,
    }


def rows_of(path):
    """Return the rows of a tab-separated table."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


class GpuMemory:
    """The most memory of the GPU in use while it runs, above what was in use before."""

    def __init__(self):
        self._before, self._most, self._going = self._used(), 0, True
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    @staticmethod
    def _used():
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        return int(subprocess.run(query, capture_output=True, text=True).stdout.split()[0])

    def _watch(self):
        while self._going:
            self._most = max(self._most, self._used())
            time.sleep(0.05)

    def stop(self):
        """End the watch; return MiB."""
        self._going = False
        self._thread.join()
        return self._most - self._before


def speeds_and_losses(programs, bundle, manifest, folder, device, eager, steps):
    """Return verdicts, training steps per second beside PyTorch's `eager`, and a training."""
    folder.mkdir()
    figures = {"verdicts": verdicts(programs, bundle, folder)}
    rate = float(np.median([one["training_batches_per_s"] for one in figures["verdicts"]]))
    figures["training_steps_per_s"] = {"fortran": rate, "eager": eager, "ratio": rate / eager}
    figures["training"] = trainings(programs, manifest, folder, device, steps)
    return figures


def kernel_figures(options, bundle, manifest, folder, *others):
    """Return speeds_and_losses with clearice's own kernels, or why they were not run."""
    if options.device != "cuda":
        return {"not_run": "they need --device cuda"}
    folder.mkdir()
    try:
        export_kernels(folder / "exported")
    except CudaError as error:
        return {"not_run": str(error).splitlines()[0]}
    programs = Fortran(options.programs, "kernels", folder / "exported")
    return speeds_and_losses(programs, bundle, manifest, folder / "results", *others)


def main():
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", required=True, type=Path)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--size-px", type=int, default=1024)
    parser.add_argument("--gib", type=float, default=0.5, help="of the dataset")
    parser.add_argument("--steps", type=int, default=COMPARED_STEPS)
    parser.add_argument("--output", required=True, type=Path)
    options = parser.parse_args()
    programs, device = Fortran(options.programs, options.device), torch.device(options.device)
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = write_dataset(folder / "dataset", options.gib, options.size_px)
        write_text(manifest.with_suffix(".nml"), dataset_namelists(read_manifest(manifest)))
        figures = {"environment": environment(), "size_px": options.size_px, "batch": BATCH}
        eager = eager_rate(device, options.size_px, 20 if options.device == "cuda" else 5)
        bundle = reference(manifest, folder / "bundle")
        given = (bundle, manifest)
        others = (device, eager, options.steps)
        figures |= speeds_and_losses(programs, *given, folder / "results", *others)
        figures["loader_mb_per_s"] = loader_rates(programs, manifest, threads)
        figures["kernels"] = kernel_figures(options, *given, folder / "kernels", *others)
    options.output.mkdir(parents=True, exist_ok=True)
    write_json(options.output / f"fortran_{options.device}.json", figures)


def reference(manifest, folder):
    """Write a reference bundle of the dataset's patches; return it."""
    torch.manual_seed(SEED)
    network = build_network("simple_cnn")
    weights = {k.replace(".", "_"): v.numpy() for k, v in network.state_dict().items()}
    settings = {"batch_size": 2, "steps": 20, "learning_rate": 0.01, "crop_px": 128}
    with open_split(manifest, "test") as reader:
        reader.where = lambda i: ("made", 0, i)  # the dataset of a benchmark has no shards
        cases, training = bundle_data(reader, settings)
    write_bundle(folder, weights, cases, training, {})
    return Bundle(folder)


if __name__ == "__main__":
    main()
