"""How many large micrographs a second one process denoises, and what the time goes into.

    python benchmarks/denoising_throughput.py [--directory FOLDER] [--micrographs 40]
        [--height 7676] [--width 7420] [--device auto] [--stored float32|int16] [--seconds 10]

Noise, in a few distinct files with many names, on a file system in memory (/dev/shm), so that disks
count for nothing. Networks with random weights, which cost what trained ones do. For each:

    at once     clearice.denoised.batch.Batch, as in `clearice denoise`: micrographs a second after
                a first few, and with them; seconds of its threads per micrograph, by what they did
    in turn     denoise_micrograph() one after the other in one process, as in a job of the workflow
                with micrographs_per_job: seconds each, from the second on
    alone       a process for one micrograph: seconds to import, until its result, in all

Peaks are those of the process on the host (VmHWM, page-locked and shared memory included; each of
the processes that survey has 60 MiB of its own) and of the device (reserved by PyTorch); `engine`
is what computed the network. At most --seconds are spent on each. Writes
benchmarks/results/denoising_throughput.json.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

STARTED_S = time.perf_counter()
RESULTS = Path(__file__).resolve().parent / "results" / "denoising_throughput.json"
NETWORKS, DTYPES = ("simple_cnn", "s2d_unet"), ("float16", "float32")
DISTINCT = 4
WARM_UP = 8  # as many as are under way at once


def main():
    """Measure, print a table and write the JSON."""
    options = parse()
    if options.child:
        from measuring import print_figures

        child = {"batch": at_once, "alone": alone}[options.child]
        print_figures(child(options))
        return
    from measuring import environment, run_process

    from clearice.files import write_json

    results = {"environment": environment(), "rows": []}
    results |= {key: getattr(options, key) for key in ("height", "width", "stored")}
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        write_inputs(Path(folder), options)
        for network in NETWORKS:
            shared = ["--network", network, "--directory", folder, "--device", options.device]
            shared += ["--micrographs", options.micrographs, "--seconds", options.seconds]
            shared += ["--height", options.height, "--width", options.width]
            for kind in ("batch", "alone"):
                words = [*map(str, shared), "--child", kind]
                started = time.perf_counter()
                figures = run_process(__file__, words, 300)
                if "error" in figures:
                    sys.exit(f"{network}, {kind}: {figures['error']}\n{figures['output']}")
                total = round(time.perf_counter() - started, 2)
                rows = figures["rows"]
                if kind == "alone":
                    rows[0]["process_s"] = total
                results["rows"] += [{"network": network, "kind": kind, **row} for row in rows]
                print(*(json.dumps(row) for row in rows), sep="\n", flush=True)
    print(table(results["rows"]))
    write_json(options.output, results)


def parse():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    parser.add_argument("--directory", default=memory, help="default: /dev/shm")
    parser.add_argument("--micrographs", type=int, default=40)
    parser.add_argument("--height", type=int, default=7676)
    parser.add_argument("--width", type=int, default=7420)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--stored", choices=("float32", "int16"), default="float32")
    parser.add_argument("--seconds", type=float, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--network", help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def write_inputs(folder, options):
    """Write the micrographs, as links to a few files, and the networks into a folder."""
    import mrcfile
    import numpy as np
    import torch

    from clearice.model.networks import build_network
    from clearice.model.weights import save_model

    shape = options.height, options.width
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(shape, dtype=np.float32) * 30 + 1000
    for number in range(options.micrographs):
        path, original = (folder / f"m{n:04}.mrc" for n in (number, number % DISTINCT))
        if number < DISTINCT:
            image = np.roll(noise, 1000 * number, 1).astype(options.stored)
            with mrcfile.new(path) as file:
                file.set_data(image)
                file.voxel_size = 0.66
        else:
            os.link(original, path)
    torch.manual_seed(0)
    for name in NETWORKS:
        network = build_network(name)
        save_model(folder / f"{name}.safetensors", network, {"architecture": name})


def at_once(options):
    """Return the rows of a process that denoises many: at once for each dtype, and in turn."""
    from denoising_parts import Timing, Turn, instrument

    from clearice.denoised.batch import Batch
    from clearice.denoised.micrograph import load_denoiser
    from clearice.denoised.tasks import find_tasks
    from clearice.denoised.tiles import tiles_for
    from clearice.model.memory import peak_device_mib, peak_host_mib
    from clearice.validation.noise_warning import measured_response

    folder = Path(options.directory)
    model = folder / f"{options.network}.safetensors"
    network, identity, device = load_denoiser(str(model), options.device)
    timing, rows = Timing(), []
    instrument(timing, device)
    tasks = find_tasks([str(folder / "m*.mrc")], folder / "out").tasks
    (folder / "out").mkdir()
    pixels = options.height * options.width
    engine = tiles_for(network, options.height, options.width, 64, device).engine

    def judge(path, facts):
        response = measured_response(network, path, facts["mean"], facts["std"], device)
        return {"noise_response": response}, []

    judge = timing.measured("judge", judge)
    for dtype in DTYPES:
        began = time.perf_counter()
        started, done, last = None, 0, None
        late = lambda: started and time.perf_counter() - started > options.seconds  # noqa: B023, E731
        batch = Batch(network, identity, settings_of(dtype), device, late, judge)
        batch._turn = Turn(timing)
        for number, (task, fault) in enumerate(batch.run(tasks, Uncounted(), pixels), 1):
            assert fault is None, fault
            task.output.unlink()  # a file system in memory holds few
            done, last = number - WARM_UP, time.perf_counter()
            if not done:
                started, timing.seconds = last, dict.fromkeys(timing.seconds, 0.0)
        rows.append(
            {
                "dtype": dtype,
                "engine": engine,
                "micrographs": done,
                "micrographs_per_s": round(done / (last - started), 2),
                "with_the_first_per_s": round((done + WARM_UP) / (last - began), 2),
                "thread_s": {k: round(s / done, 4) for k, s in timing.seconds.items()},
                "peak_host_mib": round(peak_host_mib()),
                "peak_device_mib": peak_device_mib(device) and round(peak_device_mib(device)),
            }
        )
    shutil.rmtree(folder / "out")
    rows[0]["in_turn_s"] = in_turn(folder, model, options)
    return {"rows": rows}


class Uncounted:
    """The progress of a batch, for nobody to see."""

    def add_pixels(self, pixels):
        """Count pixels."""

    def add_file(self):
        """Count a file."""

    def line(self, text):
        """Say something."""
        print(text, file=sys.stderr)


def settings_of(dtype):
    """Return the settings of a denoising."""
    return {
        "dtype": dtype,
        "tile_px": None,
        "hot_pixel_threshold": "auto",
        "average_halves": False,
    }


def in_turn(folder, model, options):
    """Return the seconds of each of a few jobs in this process, as workers.py runs them."""
    from denoise_micrograph import denoise_micrograph

    seconds = []
    settings = settings_of(DTYPES[0]) | {"device": options.device}
    outputs = folder / "o.mrc", folder / "o.json"
    for number in range(DISTINCT):
        started = time.perf_counter()
        denoise_micrograph(str(folder / f"m{number:04}.mrc"), str(model), *outputs, settings)
        seconds.append(round(time.perf_counter() - started, 3))
    return seconds[1:]


def alone(options):
    """Return the row of a process that denoises one micrograph."""
    from denoise_micrograph import denoise_micrograph

    imported_s = time.perf_counter() - STARTED_S
    folder = Path(options.directory)
    settings = settings_of(DTYPES[0]) | {"device": options.device}
    model, outputs = (
        folder / f"{options.network}.safetensors",
        (folder / "o.mrc", folder / "o.json"),
    )
    denoise_micrograph(str(folder / "m0000.mrc"), str(model), *outputs, settings)
    result_s = time.perf_counter() - STARTED_S
    standard = {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
    packages = [
        n
        for n in sorted(standard)
        if "site-packages" in str(getattr(sys.modules.get(n), "__file__", ""))
    ]
    return {
        "rows": [
            {"import_s": round(imported_s, 2), "result_s": round(result_s, 2), "packages": packages}
        ]
    }


def table(rows):
    """Return the figures of many at once as a Markdown table."""
    from denoising_parts import PARTS

    lines = [
        "| network | dtype | engine | micrographs/s | "
        + " | ".join((*PARTS, "rest"))
        + " | host, device MiB |",
        "|" + "---|" * (len(PARTS) + 6),
    ]
    for row in rows:
        if row["kind"] == "batch":
            parts = [f"{row['thread_s'][part]:.3f}" for part in (*PARTS, "rest")]
            peaks = f"{row['peak_host_mib']}, {row['peak_device_mib']}"
            names = (row["network"], row["dtype"], row["engine"])
            cells = (*names, row["micrographs_per_s"], *parts, peaks)
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
