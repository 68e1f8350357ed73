"""Denoisers side by side on eight simulated specimens and six real pairs: quality and cost.

    python benchmarks/denoising.py [--specimens NAME ...] [--methods NAME ...] [--cache FOLDER]
        [--device cpu|cuda] [--seed 101] [--size 2048]

The image that is denoised is one half (`even`, benchmarks/specimens.py), or one frame of a real
movie where $CLEARICE_REAL_DATA holds them. Figures, all on the whole image unless said otherwise:

    SNR in dB     -10 log10(1 - r^2), r the correlation with the noise-free signal; also of the
                  middle half of the sides alone. Best Gaussian and Wiener are chosen by the truth.
    picking       average precision of a fixed blob detector against the known centres, 0 to 1
    FRC           of a real frame, denoised, with the raw mean of the other 49
    cost          CPU seconds (user and system, interpreter start included) and peak resident
                  memory of a process of its own, per megapixel; wall seconds too

Topaz and BM3D run in environments of their own that this script makes in the cache, from PyPI.
What was computed is kept there, by a hash of all that it depends on. Exit status 1 if a method
failed. Writes benchmarks/results/denoising.json and .md, and docs/images/denoising.png.
"""

import argparse
import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import denoising_tables
from cached_runs import cached, fingerprint, run

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
SPECIMENS = (
    "proteasome", "ribosome", "apoferritin", "membrane_protein", "filament", "capsid",
    "small_protein", "crystal",
)  # fmt: skip
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
    """A micrograph to denoise: a folder made by cases.py."""

    name: str
    folder: Path
    megapixels: float

    @property
    def known(self):
        """The files that say what the image should be."""
        return [
            self.folder / name
            for name in ("fields.npz", "rest.mrc")
            if (self.folder / name).exists()
        ]


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
}


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
    """Make a specimen's micrograph; return its Case."""
    key = fingerprint(BENCHMARKS / "specimens.py", name, options.seed, options.size)
    folder = options.cache / "cases" / f"{name}-{key}"
    command = [sys.executable, CASES, "make", name, options.seed, options.size, folder]
    cached(folder, lambda folder: run(command, folder / "log.txt"))
    return Case(name, folder, options.size**2 / 1e6)


def real_cases(options):
    """Return the Cases of EMPIAR-10146, or none where the data are absent."""
    cases = []
    for frame in sorted(options.real.glob("empiar-10146/*_frame.mrc")):
        rest = frame.with_name(frame.name.replace("_frame", "_rest"))
        folder = options.cache / "cases" / f"{frame.stem}-{fingerprint(frame, rest)}"
        command = [sys.executable, CASES, "pair", frame, rest, folder]
        cached(folder, lambda folder, command=command: run(command, folder / "log.txt"))
        cases.append(Case(frame.stem, folder, 1240 * 1200 / 1e6))
    return cases


def measure(case, name, options):
    """Return the figures of one method on one case, and the path of its image."""
    method, raw = METHODS[name], case.folder / "even.mrc"
    if method.command is None:
        return {"image": str(raw)} | scored(case, raw, case.folder / "raw-score", options)
    # Where the case and the image lie does not matter, what they hold does.
    command = method.command(case, Path("even.mrc"), options)
    parts = [part for part in command if part not in (case.folder, raw)]
    key = fingerprint(*parts, raw, *(case.known if method.oracle else ()))
    folder = options.cache / "images" / f"{case.name}-{name}-{key}"
    image = folder / "even.mrc"
    cost = cached(folder, lambda _: run(method.command(case, image, options), folder / "log.txt"))
    figures = {"image": str(image)} | scored(case, image, folder / "score", options)
    if not method.oracle:
        figures |= {
            "cpu_seconds_per_megapixel": cost["cpu_seconds"] / case.megapixels,
            "wall_seconds_per_megapixel": cost["wall_seconds"] / case.megapixels,
            "peak_mib": cost["peak_mib"],
        }
    return figures


def scored(case, image, folder, options):
    """Return the scores of an image, cached beside it."""
    command = [sys.executable, CASES, "score", case.folder, image]

    def work(folder):
        run(command, folder / "log.txt")
        return json.loads((folder / "log.txt").read_text().splitlines()[-1])

    return cached(folder.with_name(f"{folder.name}-{fingerprint(*SCORERS, *case.known)}"), work)


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
    options = parser.parse_args()
    options.cache = options.cache.expanduser().resolve()
    options.real = Path(os.environ.get("CLEARICE_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    for name in ENVIRONMENTS:
        if any(method.startswith(name) for method in options.methods):
            environment(name, options)
    cases = [simulated_case(name, options) for name in options.specimens]
    specimens, failures = compare(cases, options)
    real, failed = compare(real_cases(options), options)
    report = {
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {options.device}",
        "seed": options.seed,
        "size_px": options.size,
        "methods": {name: METHODS[name].title for name in options.methods},
        "versions": {name: list(pins) for name, pins in ENVIRONMENTS.items()},
        "specimens": specimens,
        "real": real,
    }
    denoising_tables.write(report, options.output)
    for failure in [*failures, *failed]:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures or failed else 0


if __name__ == "__main__":
    sys.exit(main())
