"""Checkpoints: all that a training needs to go on as if it had not been interrupted."""

import io
import os
import pickle
import shlex
import zipfile
import zlib
from pathlib import Path

import torch

from clearice.errors import InputError
from clearice.files import atomic_path, open_regular, remove_leftover
from clearice.model.stages import describe_differences

FORMAT_VERSION = 2
_KEYS = (
    "identity",
    "epoch",
    "batch",
    "step",
    "grouped",
    "rows",
    "seconds",
    "interruptions",
    "totals",
    "network",
    "optimizer",
    "scaler",
    "average",
    "rng",
    "device_rng",
)
# What zipfile and torch.load raise for files that are no checkpoint, and for damaged ones.
_UNREADABLE = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    zlib.error,
    zipfile.BadZipFile,
    pickle.UnpicklingError,
)


def save_checkpoint(path, state):
    """Write `state` (tensors and plain values under _KEYS) to `path`, atomically."""
    content = io.BytesIO()  # a full disk is then an OSError that says so, not one of PyTorch's
    torch.save({"format_version": FORMAT_VERSION, **state}, content)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def load_checkpoint(path, identity, epochs):
    """Return the state in `path`, for a training of that `identity` (a flat dict) and length.

    Raises InputError for a file that is not a checkpoint or is damaged, for one of another
    training, naming every difference, and for one that has come further than `epochs`.
    """
    try:
        _check_sums(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError("no such checkpoint", file=path) from None
    except _UNREADABLE as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"not a readable checkpoint ({first[:100]})",
            file=path,
            advice=_remove(path),
        ) from None
    if not isinstance(state, dict) or state.get("format_version") != FORMAT_VERSION:
        raise InputError("not a checkpoint of this version of clearice", file=path)
    state.setdefault("grouped", False)  # not in those of before there were planes
    missing = [key for key in _KEYS if key not in state]
    if missing:
        raise InputError(
            "is a checkpoint without " + ", ".join(missing),
            file=path,
            advice=_remove(path),
        )
    differences = describe_differences(state["identity"], identity)
    if differences:
        raise InputError(
            f"is a checkpoint of another training: {differences}",
            file=path,
            advice="restore those settings, or train without this checkpoint",
        )
    if (state["epoch"], state["batch"]) > (epochs, 0):
        raise InputError(
            f"holds {state['epoch']} epochs and {state['batch']} batches, more than the {epochs} "
            "epochs of this training",
            file=path,
            advice="raise epochs, or train without this checkpoint",
        )
    return state


def _identity_in(path):
    """Return the identity of the training whose checkpoint `path` is, None if it can't be read."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)["identity"]
    except (*_UNREADABLE, TypeError):
        return None


def _remove(path):
    return f"remove it: rm {shlex.quote(str(path))}"


def _check_sums(path):
    """Compare what is in the zip archive `path` with its CRC32: torch.load does not."""
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} does not have its checksum: the file is damaged")


def find_checkpoint(path, identity, epochs, past=None):
    """Return (state, remark) for a training that may continue from its own folder's checkpoint.

    A checkpoint of another configuration or dataset, a damaged one, and one that has come
    further must not stop a training that was asked for with this one: it is set aside as
    {name}.other, and the remark says why. State and remark are None where there is nothing to
    continue and nothing to say. `past` is the identity of the stage before this one, if there
    is one: its last checkpoint is past use.
    """
    path = Path(path)
    remove_leftover(path)
    if not path.exists():
        return None, None
    try:
        return load_checkpoint(path, identity, epochs), None
    except InputError as error:
        if past is not None and _identity_in(path) == past:
            return None, None
        aside = path.with_name(path.name + ".other")
        os.replace(path, aside)
        return None, f"{error.what}: set aside as {aside}; starting from scratch"
