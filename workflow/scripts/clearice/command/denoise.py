"""clearice denoise: micrographs in, denoised micrographs out, without a workflow."""

import argparse
import os
import sys

from clearice.command.hot_pixel_option import add_hot_pixel_option
from clearice.denoised.tasks import find_tasks


def main(arguments=None):
    """Denoise files; return the exit status: 0, 1 if a file failed, 128 + signal if interrupted."""
    options = _options(arguments)
    tasks = find_tasks(options.inputs, options.output, options.average_halves)
    if tasks.left_out:
        _say(f"{tasks.left_out} files are no half: left out")
    for fault in tasks.faults:
        _say(f"error: {fault}")
    return _denoise(tasks, options) if tasks.tasks else 1


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="clearice denoise",
        description="Denoise cryo-EM micrographs. Each IN becomes DIR/STEM.mrc, with a "
        "STEM.json that says what was done; what is done and unchanged is skipped.",
        epilog="exit status: 0 all done, 1 a file failed, 129, 130 or 143 interrupted (the same "
        "command continues)",
    )
    add = parser.add_argument
    add(
        "inputs",
        nargs="+",
        metavar="IN",
        help="MRC file (.gz and .bz2 too), folder, quoted glob, or RELION .star file, which comes "
        "out again with the denoised micrographs",
    )
    add("--output", metavar="DIR", required=True, help="folder for the results; it is made")
    add(
        "--model",
        default="general",
        metavar="FILE",
        help="denoiser.safetensors, or general: the pretrained network (default: general)",
    )
    add(
        "--average-halves",
        nargs=2,
        metavar=("EVEN", "ODD"),
        help="denoise both halves and average them; the endings of their stems (_EVN _ODD) or "
        "their folders (even/ odd/)",
    )
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add(
        "--dtype",
        choices=("float32", "float16"),
        default="float32",
        help="MRC mode 2 or 12 (default: float32)",
    )
    add_hot_pixel_option(parser)
    add("--tile-px", type=int, help="side of a tile, for less memory; the result is the same")
    add("--overwrite", action="store_true", help="denoise again what is done")
    options = parser.parse_args(arguments)
    if options.tile_px is not None and options.tile_px < 64:
        parser.error("--tile-px must be 64 or more")
    if options.average_halves and options.average_halves[0] == options.average_halves[1]:
        parser.error("--average-halves: two different endings")
    return options


def _denoise(tasks, options):
    # Only now: PyTorch takes a second to import, and a mistake in the files is told before.
    from clearice.denoised.batch import Batch
    from clearice.denoised.micrograph import load_denoiser
    from clearice.denoised.progress import FileProgress
    from clearice.model.interruption import Interruption
    from clearice.numbers import finite
    from clearice.validation.noise_warning import measured_response, noise_warning

    network, model, device = load_denoiser(options.model, options.device)
    settings = {
        "dtype": options.dtype,
        "tile_px": options.tile_px,
        "hot_pixel_threshold": options.hot_pixel_threshold,
        "average_halves": options.average_halves is not None,
    }

    def judge(path, facts):
        response = measured_response(network, path, facts["mean"], facts["std"], device)
        doubt = noise_warning(path, response)
        return {"noise_response": finite(response)}, [doubt] if doubt else []

    with Interruption() as interruption:
        stopped = lambda: interruption.signal is not None  # noqa: E731
        batch = Batch(network, model, settings, device, stopped, judge)
        waiting = [task for task in tasks.tasks if options.overwrite or not batch.is_done(task)]
        done = {task.name for task in tasks.tasks} - {task.name for task in waiting}
        if done:
            _say(f"{len(done)} already done")
        _make_folder(options.output)
        sizes_px, faults = batch.sizes_px(waiting), {}
        batch.require_room(options.output, sizes_px)
        pixels = sum(len(t.files) * size for t, size in zip(waiting, sizes_px, strict=True))
        with FileProgress(len(waiting), pixels) as progress:
            for task, fault in batch.run(waiting, progress, max(sizes_px, default=0)):
                if fault is None:
                    done.add(task.name)
                else:
                    faults[task.name] = fault
                    progress.line(f"error: {fault}")
            rate = progress.megapixels_per_s
    new = len(done) - (len(tasks.tasks) - len(waiting))
    # A signal that came after the last file stops nothing.
    if interruption.signal and new + len(faults) < len(waiting):
        _say(f"interrupted: {new} of {len(waiting)} denoised; the same command continues")
        return 128 + interruption.signal
    for table in tasks.tables:
        _write_table(table, done)
    if new:
        print(f"{new} denoised into {options.output}, {rate:.3g} megapixels per second on {device}")
    return _sum_up([*map(str, tasks.faults), *faults.values()])


def _make_folder(folder):
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError:  # whose words name no way out
        raise NotADirectoryError(20, "not a folder", folder) from None


def _write_table(table, done):
    if not any(name in done for name, _ in table.micrographs):
        return
    left_out = table.write(done)
    rows = f", without {left_out} rows that failed" if left_out else ""
    print(f"{table.output}: the table of the denoised micrographs{rows}")


def _sum_up(faults):
    """List what failed once more, since lines may have scrolled away; return the exit status."""
    if faults:
        _say(f"{len(faults)} failed:")
        for fault in faults:
            _say(f"  {fault}")
    return 1 if faults else 0


def _say(text):
    print(text, file=sys.stderr, flush=True)
