"""Reading a reference bundle, with NumPy alone."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np

from clearice.errors import InputError
from clearice.files import regular_bytes, regular_text
from clearice.reference.names import CASES, FORMAT, FORMAT_VERSION, MANIFEST, ORACLE, given_tensors
from clearice.reference.names import reference_results as result_names
from clearice.reference.tolerances import PRECISIONS
from clearice.wording import made_again


class BundleError(InputError):
    """The bundle itself cannot be used: it is not the implementation that is at fault."""


class Bundle:
    """A reference bundle: `manifest` (a dict) and its tensors.

    Raises BundleError for a folder that is not a bundle, another format version, a manifest that
    was edited, a missing tensor or one whose bytes are not those that were written.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        path = self.folder / MANIFEST
        self.manifest = _read_manifest(path)
        try:
            fault = _fault(self.manifest)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            fault = f"is malformed ({type(error).__name__}: {error})"
        if fault:
            raise BundleError(fault, file=path, advice=made_again(path))
        found = bundle_identity(self.manifest)
        if found != self.manifest["bundle_id"]:
            raise BundleError(
                "differs from what was exported",
                file=path,
                expected=f"bundle_id {self.manifest['bundle_id']}",
                found=f"the content of {found}",
                advice=made_again(path),
            )

    def tensor(self, name):
        """Return a tensor by its name, in its dtype and C-order shape; its hash is checked."""
        entry = self.manifest["tensors"][name]
        path = self.folder / entry["file"]
        try:
            data = regular_bytes(path)
        except OSError as error:
            raise BundleError(
                f"cannot be read ({error.strerror})", file=path, advice=made_again(path)
            ) from None
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise BundleError(
                "differs from what was exported",
                file=path,
                expected=f"SHA-256 {entry['sha256'][:16]}...",
                found=f"{len(data)} bytes of another hash",
                advice=made_again(path),
            )
        try:
            dtype = np.dtype(entry["dtype"]).newbyteorder("<")
            return np.frombuffer(data, dtype).reshape(entry["shape"])
        except ValueError:
            size = f"{len(data)} bytes"
            raise BundleError(
                "is not of its shape",
                file=path,
                expected=entry["shape"],
                found=size,
                advice=made_again(path),
            ) from None

    def oracle(self, name):
        """Return the float64 oracle's result of that name."""
        return self.tensor(f"{ORACLE}/{name}")


def bundle_identity(manifest):
    """Return 16 hex digits that change when any number of the bundle does."""
    apart = ("bundle_id", "clearice_version", "provenance")
    facts = {key: value for key, value in manifest.items() if key not in apart}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _read_manifest(path):
    try:
        manifest = json.loads(regular_text(path))
    except FileNotFoundError:
        raise BundleError(
            "no reference bundle here", file=path, advice="make one: snakemake reference"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"cannot be read ({error})", file=path, advice=made_again(path)) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(
            "is not the manifest of a reference bundle", file=path, expected=f"format {FORMAT}"
        )
    if manifest.get("format_version") != FORMAT_VERSION:
        raise BundleError(
            "bundle of another format version",
            file=path,
            expected=FORMAT_VERSION,
            found=manifest.get("format_version"),
            advice="export it again, or compare with the clearice that wrote it",
        )
    keys = ("bundle_id", "tensors", "cases", "training", "repeat")
    missing = [key for key in keys if key not in manifest]
    if missing:
        raise BundleError(f"key {missing[0]} is missing", file=path, advice=made_again(path))
    return manifest


def _fault(manifest):
    """Say what a reader cannot use in a manifest, or None; it may raise what wrong types do."""
    tensors = manifest["tensors"]
    for name in (*given_tensors(), *result_names(), *(f"{ORACLE}/{n}" for n in result_names())):
        if name not in tensors:
            return f"tensor {name} is missing"
        entry = tensors[name]
        dtype = "float64" if name.startswith(f"{ORACLE}/") else "float32"
        if entry["file"] != f"{name}.bin" or entry["dtype"] != dtype or len(entry["sha256"]) != 64:
            return f"tensor {name} has another file, dtype or hash than its name says"
        if not all(isinstance(n, int) and n > 0 for n in entry["shape"]) or not entry["shape"]:
            return f"tensor {name} has an invalid shape"
    losses = [manifest["cases"][case]["loss"] for case in CASES]
    curve = manifest["training"]["losses"]
    numbers = [loss[kind] for loss in losses for kind in ("float32", "float64")]
    numbers += [*curve["float32"], *curve["float64"]]
    if not all(map(math.isfinite, numbers)):
        return "a loss is not finite"
    steps = {len(curve["float32"]), len(curve["float64"]), len(manifest["training"]["batches"])}
    if len(steps) > 1 or manifest["repeat"]["case"] not in CASES:
        return "training steps or the repeated case do not fit together"
    limits = [loss["tolerance"][name] for loss in (*losses, curve) for name in PRECISIONS]
    for name in result_names():
        for precision in PRECISIONS:
            tolerance = tensors[name]["tolerance"][precision]
            limits += [tolerance["absolute"], 1 if tolerance["l2"] is None else tolerance["l2"]]
    return None if all(0 < limit < math.inf for limit in limits) else "a tolerance is not positive"
