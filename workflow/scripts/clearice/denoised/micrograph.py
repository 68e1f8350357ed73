"""One micrograph, or both halves of one, through a network into an MRC file.

Memory holds one band of tiles, whatever the micrograph's height.
"""

import contextlib
import functools
import os
from pathlib import Path

import torch

from clearice import __version__
from clearice.denoised.averaging import mean_bands, require_equal_noise
from clearice.denoised.host import empty_rows
from clearice.denoised.stored import StoredRows
from clearice.denoised.tiles import ALWAYS, chosen_tile_px, denoise_bands, holds_planes
from clearice.errors import InputError
from clearice.files import xxh3_of_file
from clearice.micrographs.mrc import open_micrograph
from clearice.micrographs.mrc_writer import write_micrograph
from clearice.micrographs.pixels.float16 import require_float16
from clearice.micrographs.rows import MicrographRows, hot_pixel_limit
from clearice.micrographs.whole_set.collection import pixel_size_warnings
from clearice.model.device import choose_device, set_precision
from clearice.model.files import model_file
from clearice.model.half_resolution import at_full_resolution
from clearice.model.memory import return_freed_memory
from clearice.model.weights import load_model


class WatchedRows(MicrographRows):
    """MicrographRows that call `watch` before every block: it may raise to end the reading."""

    def __init__(self, micrograph, limit, watch, memory):
        super().__init__(micrograph, limit, memory)
        self._watch = watch

    def _stored(self):
        for rows in super()._stored():
            self._watch()
            yield rows


def load_denoiser(path, device_name):
    """Make this process ready to denoise; return (network, identity, device).

    `path` may be `general`, `device_name` is auto | cpu | cuda | cuda:N. The identity is what
    names the model in records: its path, its architecture and the hash of its file. Raises
    InputError for a file that is no model, and for a GPU that is not there. A process that asks for
    the same unchanged file again gets the network that it has.
    """
    status = os.stat(file) if os.path.exists(file := model_file(path)) else None
    return _loaded(path, device_name, status and (status.st_size, status.st_mtime_ns))


@functools.lru_cache(maxsize=1)
def _loaded(path, device_name, _state):
    device = choose_device(device_name)
    set_precision("float32", deterministic=device.type != "cpu")  # on a CPU it always is
    network, metadata = load_model(path, device)
    network = at_full_resolution(network, metadata)
    if device.type == "cpu":
        network.to(memory_format=torch.channels_last)  # a tenth faster, a tenth less memory
        return_freed_memory()
    identity = {
        "path": str(path),
        "architecture": metadata["architecture"],
        "xxh3": xxh3_of_file(model_file(path)),
        **{key: int(metadata[key]) for key in ("stage", "epochs") if key in metadata},
    }
    return network, identity, device


def write_denoised(
    network,
    model,
    files,
    denoised,
    settings,
    device,
    pixel_size_angstrom=None,
    *,
    watch=lambda: None,
    count=lambda px: None,
    turn=ALWAYS,
    surveyor=None,
):
    """Denoise `files`, [micrograph] or [input half, other half], into one MRC file.

    `model` is the identity that load_denoiser returns; `settings` hold dtype, tile_px,
    hot_pixel_threshold and average_halves: true (of a pair, the mean of both denoised halves),
    auto (the same where they are equally noisy, else the input half alone) or false (the input
    half alone). `pixel_size_angstrom` is what a table states, and is used in place of the header's.
    `watch` is called before every block read and every band, and may raise; `count` gets the pixels
    of each finished band; `turn` is a context in which the device works; `surveyor`, a
    surveyor.Surveyor, reads and surveys the files, None for this process.
    Returns the facts of the result as a dict. Raises InputError for files that cannot be used.
    """
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(open_micrograph(path, hashed=False)) for path in files]
        threshold = settings["hot_pixel_threshold"]
        if surveyor is None:
            halves = [_watched_rows(reader, threshold, watch, device) for reader in readers]
        else:
            halves = [
                surveyor.rows_of(reader, threshold, number, watch)
                for number, reader in enumerate(readers)
            ]
        averaging, pair_doubts = _averaging(halves, readers, settings["average_halves"])
        used = halves if averaging["averaged_halves"] else halves[:1]
        if settings["dtype"] == "float16":
            _require_float16(used)
        tile_px = chosen_tile_px(settings["tile_px"], device, network)
        stored = StoredRows(denoised, settings["dtype"])
        on_device = {"tile_px": tile_px, "device": device, "turn": turn}
        if len(used) == 1:
            on_device["finish"] = stored.take
        bands = [_watched(denoise_bands(network, rows, **on_device), watch, count) for rows in used]
        folder = Path(denoised).parent
        first = readers[0]
        pixel_size = pixel_size_angstrom or first.pixel_size_angstrom
        _, doubts = pixel_size_warnings(first.pixel_size_angstrom, pixel_size_angstrom)
        warnings = [f"{Path(first.path).name}: {text}" for text in doubts]
        warnings += [f"{Path(r.path).name}: {text}" for r in readers for text in r.warnings]
        both = ", mean of both halves" if averaging["averaged_halves"] else ""
        write_micrograph(
            denoised,
            map(stored.take, mean_bands(*bands, folder)) if len(used) == 2 else bands[0],
            first.height_px,
            first.width_px,
            dtype=settings["dtype"],
            pixel_size_angstrom=pixel_size,
            origin=first.origin,
            label=f"clearice {__version__}: denoised, {model['architecture']} {model['xxh3']}"
            + both,
            statistics=stored.statistics,
        )
        return {
            "height_px": first.height_px,
            "width_px": first.width_px,
            "pixel_size_angstrom": pixel_size,
            "stated_pixel_size_angstrom": pixel_size_angstrom,
            "mean": halves[0].survey.input.location,
            "std": halves[0].survey.input.scale,
            "hot_pixels": sum(rows.hot_pixels for rows in used),
            **averaging,
            "warnings": warnings + _pixel_warnings(used) + pair_doubts,
        }


def _watched_rows(reader, threshold, watch, device):
    """Return the WatchedRows of an open micrograph, kept where all of it goes to the device."""
    memory = None
    if holds_planes(device, reader):
        memory = functools.partial(empty_rows, device=device)
    return WatchedRows(reader, hot_pixel_limit(reader, threshold), watch, memory)


def _require_float16(halves):
    for rows in halves:
        found = rows.survey.input
        affine = found.location, found.scale
        advice = "write float32 (--dtype, denoised.dtype)"
        require_float16(rows.path, *affine, found.minimum, found.maximum, advice)


def _pixel_warnings(used):
    """Return what is to be said of the pixels of the MicrographRows that were used."""
    return [f"{Path(rows.path).name}: {text}" for rows in used for text in rows.survey.warnings]


def _watched(bands, watch, count):
    for rows in bands:
        watch()
        count(rows.size)
        yield rows
        del rows  # a band is not held while the next is made


def _averaging(halves, readers, choice):
    """Return whether both halves are denoised and averaged, their noise, and why if they are not.

    Facts for the record, and warnings about the pair; `choice` is average_halves of the settings.
    """
    facts = {"averaged_halves": False, "half_noise_std": None, "not_averaged_because": None}
    if len(halves) < 2:
        return facts | {"not_averaged_because": "there is one file"}, []
    if choice is False:
        return facts | {"not_averaged_because": "average_halves is false"}, []
    try:
        noise, warnings = require_equal_noise(halves, readers)
    except InputError as error:
        if choice is True:
            raise
        return facts | {"not_averaged_because": str(error)}, []
    return facts | {"averaged_halves": True, "half_noise_std": noise}, warnings
