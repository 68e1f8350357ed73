"""Reading a reference bundle, with NumPy alone."""

import hashlib
import json
from pathlib import Path

import numpy as np

from clearice.errors import InputError
from clearice.layout import FORMAT, FORMAT_VERSION, MANIFEST, ORACLE, given_tensors
from clearice.layout import reference_results as result_names


class BundleError(InputError):
    """The bundle itself cannot be used: it is not the implementation that is at fault."""


class Bundle:
    """A reference bundle: `manifest` (a dict) and its tensors.

    Raises BundleError for a folder that is no bundle, another format version, a missing tensor or
    one whose bytes are not those that were written.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.manifest = _read_manifest(self.folder / MANIFEST)
        known = self.manifest["tensors"]
        for name in (*given_tensors(), *result_names(), *(f"{ORACLE}/{n}" for n in result_names())):
            if name not in known:
                raise BundleError(
                    f"tensor {name} is missing", file=self.folder / MANIFEST, advice=_AGAIN
                )

    def tensor(self, name):
        """Return a tensor by its name, in its dtype and C-order shape; its hash is checked."""
        entry = self.manifest["tensors"][name]
        path = self.folder / entry["file"]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BundleError(
                f"cannot be read ({error.strerror})", file=path, advice=_AGAIN
            ) from None
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise BundleError(
                "is not what was exported",
                file=path,
                expected=f"SHA-256 {entry['sha256'][:16]}...",
                found=f"{len(data)} bytes of another hash",
                advice=_AGAIN,
            )
        values = np.frombuffer(data, np.dtype(entry["dtype"]).newbyteorder("<"))
        return values.reshape(entry["shape"])

    def oracle(self, name):
        """Return the float64 oracle's result of that name."""
        return self.tensor(f"{ORACLE}/{name}")


_AGAIN = "export the bundle again (snakemake reference)"


def _read_manifest(path):
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(
            "no reference bundle here", file=path, advice="make one with: snakemake reference"
        ) from None
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot be read ({error})", file=path, advice=_AGAIN) from None
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
        raise BundleError(f"key {missing[0]} is missing", file=path, advice=_AGAIN)
    return manifest
