"""Denoisers side by side on eight simulated specimens and six real pairs: quality and cost.

    python benchmarks/denoising.py [--specimens NAME ...] [--methods NAME ...] [--cache FOLDER]
        [--device cpu|cuda] [--seed 101] [--size 2048]

The image that is denoised is one half (`even`, benchmarks/specimens.py), or one frame of a real
movie where $CLEARICE_REAL_DATA holds them. Figures, all on the whole image unless said otherwise:

    SNR in dB     -10 log10(1 - r^2), r the correlation with the noise-free signal; also of the
                  middle half of the sides alone. Best Gaussian and Wiener are chosen by the truth.
    picking       average precision of a fixed blob detector against the known centres, 0 to 1
    FRC           of a real frame, denoised, with the raw mean of the other 49
    cost          CPU seconds (user and system) and wall seconds per megapixel, of a process of
                  its own, less what it takes for a micrograph of 256 px; peak resident memory

Topaz and BM3D run in environments of their own that this script makes in the cache, from PyPI.
What was computed is kept there, by a hash of all that it depends on. Exit status 1 if a method
failed. Writes benchmarks/results/denoising.json and .md, and docs/images/denoising.png.
"""

import argparse
import dataclasses
import functools
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import denoising_tables
import ours
from cached_runs import cached, content_hash, run

BENCHMARKS = Path(__file__).resolve().parent
REPOSITORY = BENCHMARKS.parent
RESULTS = BENCHMARKS / "results"
DENOISERS = BENCHMARKS / "denoisers.py"
CASES = BENCHMARKS / "cases.py"
SCORERS = (
    CASES,
    BENCHMARKS / "specimens.py",
    REPOSITORY / "workflow" / "scripts" / "clearice" / "validation" / "picking.py",
)
TRAINING_MICROGRAPHS = 4
START_PX = 256  # a micrograph so small that denoising it takes what starting takes
SPECIMENS = (
    "proteasome", "ribosome", "apoferritin", "membrane_protein", "filament", "capsid",
    "small_protein", "crystal",
)  # fmt: skip
PICTURE = REPOSITORY / "docs" / "images" / "denoising.png"
SHOWN = ("raw", "gaussian", "wiener", "bm3d", "topaz", "general", "halves")  # in the picture
ENVIRONMENTS = {  # torch 2.13.0 is a CPU build where the index has one
    "topaz": ("setuptools<81", "topaz-em==0.3.20", "torch==2.13.0"),
    "bm3d": ("bm3d==4.0.3", "mrcfile==1.5.4"),
}
# The command `topaz` imports torchvision, whose wheel for CUDA does not load beside a CPU torch,
# and `--arch` refuses the older U-Net, though its weights are in the wheel. (`-m` is ignored.)
TOPAZ = """
import argparse
import topaz.commands.denoise as denoise
parser = denoise.add_arguments(argparse.ArgumentParser())
for action in parser._actions:
    action.choices = None
denoise.main(parser.parse_args())
"""


@dataclasses.dataclass(frozen=True)
class Method:
    """`command` (case, output, options) returns the command line that denoises one case."""

    title: str
    command: Callable
    oracle: bool = False  # needs the truth, so that its cost means nothing


@dataclasses.dataclass(frozen=True)
class Case:
    """A micrograph to denoise: a folder made by cases.py; `others` are for training."""

    name: str
    folder: Path
    megapixels: float
    real: bool = False
    others: tuple[Path, ...] = ()

    @property
    def known(self):
        """The files that say what the image should be."""
        return [self.folder / ("rest.mrc" if self.real else "fields.npz")]


def _step(name):
    def command(case, output, options):
        return [sys.executable, DENOISERS, name, case.folder, output]

    return command


def _bm3d(case, output, options):
    python = options.cache / "environments" / "bm3d" / "bin" / "python"
    return [python, DENOISERS, "bm3d", case.folder, output]


def _topaz(network):
    def command(case, output, options):
        python = options.cache / "environments" / "topaz" / "bin" / "python"
        device = "0" if options.device == "cuda" else "-1"
        # Topaz names its output after its input: even.mrc in a folder.
        return [python, "-c", TOPAZ, case.folder / "even.mrc", "--output", output.parent,
                "--arch", network, "--device", device]  # fmt: skip

    return command


METHODS = {
    "raw": Method("raw", None),
    "gaussian": Method("best Gaussian", _step("gaussian"), oracle=True),
    "wiener": Method("Wiener that knows the truth", _step("wiener"), oracle=True),
    "bm3d": Method("BM3D", _bm3d),
    "topaz": Method("Topaz U-Net", _topaz("unet")),
    "topaz_v0.2.1": Method("Topaz U-Net 0.2.1", _topaz("unet-v0.2.1")),
} | {name: Method(title, ours.command(name)) for name, (title, _) in ours.WAYS.items()}


def environment(name, options):
    """Make the virtual environment of a published denoiser in the cache, once."""
    folder = options.cache / "environments" / name
    ready, wanted = folder / "installed.txt", "\n".join(ENVIRONMENTS[name])
    if not ready.exists() or ready.read_text() != wanted:
        print(f"installing {', '.join(ENVIRONMENTS[name])}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *ENVIRONMENTS[name]], check=True)
        ready.write_text(wanted)


def simulated_case(name, options):
    """Make a specimen's micrographs, one to denoise and some to train on; return its Case."""
    trains = any(ours.WAYS.get(method, (None, None))[1] for method in options.methods)
    seeds = range(options.seed, options.seed + 1 + (TRAINING_MICROGRAPHS if trains else 0))
    folder, *others = (_simulated(name, seed, options.size, options) for seed in seeds)
    return Case(name, folder, options.size**2 / 1e6, others=tuple(others))


def _simulated(name, seed, size_px, options):
    key = content_hash(BENCHMARKS / "specimens.py", name, seed, size_px)
    folder = options.cache / "cases" / f"{name}-{key}"
    command = [sys.executable, CASES, "make", name, seed, size_px, folder]
    cached(folder, lambda folder: run(command, folder / "log.txt"))
    return folder


def real_cases(options):
    """Return the Cases of EMPIAR-10146, or none where the data are absent."""
    folders = {}
    for frame in sorted(options.real.glob("empiar-10146/*_frame.mrc")):
        rest = frame.with_name(frame.name.replace("_frame", "_rest"))
        folder = options.cache / "cases" / f"{frame.stem}-{content_hash(frame, rest)}"
        command = [sys.executable, CASES, "pair", frame, rest, folder]
        cached(folder, lambda folder, command=command: run(command, folder / "log.txt"))
        folders[frame.stem] = folder
    return [
        Case(name, folder, 1240 * 1200 / 1e6, True, tuple(set(folders.values()) - {folder}))
        for name, folder in folders.items()
    ]


def measure(case, name, options):
    """Return the figures of one method on one case, and the path of its image."""
    method, raw = METHODS[name], case.folder / "even.mrc"
    if method.command is None:
        return {"image": str(raw)} | scored(case, raw, case.folder / "raw-score", options)
    folder, cost = denoised(case, case.folder, name, options)
    image = folder / "even.mrc"
    figures = {"image": str(image)} | scored(case, image, folder / "score", options)
    if name in ours.WAYS:
        figures |= ours.training_cost(name, case, options)
    if not method.oracle:
        _, start = denoised(case, _simulated("proteasome", 1, START_PX, options), name, options)
        figures |= {
            f"{clock}_per_megapixel": (cost[clock] - start[clock]) / case.megapixels
            for clock in ("cpu_seconds", "wall_seconds")
        }
        figures |= {"start_cpu_seconds": start["cpu_seconds"], "peak_mib": cost["peak_mib"]}
    return figures


def denoised(case, micrograph, name, options):
    """Denoise the folder `micrograph`, as `case` is or with its network; return folder, cost."""
    raw = micrograph / "even.mrc"
    places = {case.folder: micrograph, case.folder / "even.mrc": raw}

    def command(output):
        return [places.get(part, part) for part in METHODS[name].command(case, output, options)]

    # Where micrograph and image lie does not matter, what they hold does.
    parts = [part for part in command(Path("even.mrc")) if part not in (micrograph, raw)]
    if name in ours.WAYS:
        parts.append(ours.code())
    key = content_hash(*parts, raw, *(case.known if METHODS[name].oracle else ()))
    folder = options.cache / "images" / f"{micrograph.name.rpartition('-')[0]}-{name}-{key}"
    return folder, cached(folder, lambda _: run(command(folder / "even.mrc"), folder / "log.txt"))


def scored(case, image, folder, options):
    """Return the scores of an image, cached beside it."""
    command = [sys.executable, CASES, "score", case.folder, image]

    def work(folder):
        run(command, folder / "log.txt")
        return json.loads((folder / "log.txt").read_text().splitlines()[-1])

    return cached(folder.with_name(f"{folder.name}-{content_hash(*SCORERS, *case.known)}"), work)


def compare(cases, options):
    """Return {case: {method: figures}} and the list of failures."""
    results, failures = {}, []
    for case in cases:
        results[case.name] = {}
        for name in options.methods:
            try:
                figures = measure(case, name, options)
            except RuntimeError as error:
                failures.append(f"{case.name}, {name}: {error}")
                figures = {"error": str(error)}
            results[case.name][name] = figures
            shown = figures.get("snr_db", figures.get("frc", figures.get("error")))
            print(f"{case.name:20s} {name:14s} {shown}", flush=True)
    return results, failures


def main():
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--specimens", nargs="*", choices=SPECIMENS, default=SPECIMENS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/clearice-benchmarks"))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--size", type=int, default=2048, help="side of a micrograph in px")
    parser.add_argument("--output", type=Path, default=RESULTS / "denoising.json")
    parser.add_argument("--general", metavar="FILE", type=Path, help="instead of the shipped one")
    add = functools.partial(parser.add_argument, type=json.loads, metavar="JSON")
    add("--training", default={"epochs": 18}, help="model.s2d_unet of config.yaml, from nothing")
    add("--fine-tuning", default={"epochs": 2}, help="the same, from the general network")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    if options.size < 512:
        parser.error("--size must be 512 or more: the picture shows a window of that order")
    options.cache = options.cache.expanduser().resolve()
    options.real = Path(os.environ.get("CLEARICE_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    for name in ENVIRONMENTS:
        if any(method.startswith(name) for method in options.methods):
            environment(name, options)
    cases = [simulated_case(name, options) for name in options.specimens]
    specimens, failures = compare(cases, options)
    pairs = real_cases(options)
    real, failed = compare(pairs, options)
    report = {
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {options.device}",
        "seed": options.seed,
        "size_px": options.size,
        "methods": {name: METHODS[name].title for name in options.methods},
        "versions": {name: list(pins) for name, pins in ENVIRONMENTS.items()},
        "specimens": specimens,
        "real": real,
    }
    complete = options.cache / "report.json"
    folders = {case.name: str(case.folder) for case in [*cases, *pairs]}
    complete.write_text(json.dumps(report | {"folders": folders, "shown": SHOWN}))
    subprocess.run([sys.executable, BENCHMARKS / "denoising_picture.py", complete, options.picture])
    denoising_tables.write(report, options.output)
    for failure in [*failures, *failed]:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures or failed else 0


if __name__ == "__main__":
    sys.exit(main())
