"""Checkpoints: all that a training needs to go on as if it had not been interrupted."""

import os
import pickle
from pathlib import Path

import torch

from clearice.errors import InputError
from clearice.files import atomic_path, remove_leftovers

FORMAT_VERSION = 1


def save_checkpoint(path, state):
    """Write `state` (tensors and plain values, with its `identity`) to `path`, atomically."""
    with atomic_path(path) as temporary:
        torch.save({"format_version": FORMAT_VERSION, **state}, temporary)


def load_checkpoint(path, identity):
    """Return the state in `path`, for a training of that `identity` (a flat dict).

    Raises InputError for a file that is not a checkpoint, and for one of another training,
    naming every difference.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError("no such checkpoint", file=path) from None
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"not a readable checkpoint ({first[:100]})", file=path, advice="remove it"
        ) from None
    if not isinstance(state, dict) or state.get("format_version") != FORMAT_VERSION:
        raise InputError("not a checkpoint of this version of clearice", file=path)
    differences = describe_differences(state["identity"], identity)
    if differences:
        raise InputError(
            f"is a checkpoint of another training: {differences}",
            file=path,
            advice="restore those settings, or train without this checkpoint",
        )
    return state


def describe_differences(theirs, ours):
    """Return in words how two identities differ; an empty text when they don't."""
    return "; ".join(
        f"{key} {theirs.get(key)} there, {ours.get(key)} here"
        for key in sorted(theirs.keys() | ours.keys())
        if theirs.get(key) != ours.get(key)
    )


def find_checkpoint(path, identity):
    """Return (state, remark) for a training that may continue from its own folder's checkpoint.

    A checkpoint of another configuration or dataset must not stop a training that was asked for
    with this one: it is set aside as {name}.other, and the remark says why. State and remark
    are None where there is nothing to continue and nothing to say.
    """
    path = Path(path)
    remove_leftovers(path)
    if not path.exists():
        return None, None
    try:
        return load_checkpoint(path, identity), None
    except InputError as error:
        aside = path.with_name(path.name + ".other")
        os.replace(path, aside)
        return None, f"{error.what}: set aside as {aside}; the training starts anew"
