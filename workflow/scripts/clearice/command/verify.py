"""clearice verify: check results, or a dataset alone; exit status 0 good, 1 not."""

import argparse
import os
import time
from pathlib import Path

from clearice.dataset.manifest import read_manifest
from clearice.dataset.segments import SPLITS
from clearice.dataset.verification import (
    dataset_faults,
    source_faults,
    sources_of,
    spans_there,
)
from clearice.errors import InputError
from clearice.inspection import sealed_results
from clearice.seals import fault_of


def main(arguments=None):
    """List every fault, and return 1 if there is one."""
    parser = argparse.ArgumentParser(
        prog="clearice verify",
        description="Check counts, sizes, hashes, pairing and leaks between the splits of a "
        "dataset, concatenated or not; of the results of a run also all other files, and the "
        "micrographs that its shards were cut from. Exit status 1 if there is a fault.",
    )
    parser.add_argument("folder", type=Path, help="results, or the folder of manifest.json")
    parser.add_argument("--no-hashes", action="store_true", help="compare sizes, read no pixels")
    options = parser.parse_args(arguments)
    started, hashes = time.monotonic(), not options.no_hashes
    whole = not (options.folder / "manifest.json").exists() and (options.folder / "shards").is_dir()
    dataset = options.folder / "dataset" if whole else options.folder
    sealed = dict(sealed_results(options.folder))
    sources = sources_of(options.folder / "shards") if whole else {}
    if whole:
        print(_announcement(sealed, sources, hashes), flush=True)
    faults = _seal_faults(sealed, hashes)
    sealed_names = {os.path.realpath(path) for path in sealed}
    faults += _dataset_faults(dataset, hashes, sealed_names)
    faults += source_faults(sources, options.folder.parent, hashes)
    for fault in faults:
        print(fault)
    seconds = f", in {time.monotonic() - started:.0f} s" if whole else ""
    print(f"{len(faults)} faults{seconds}" if faults else summary(dataset, hashes) + seconds)
    return 1 if faults else 0


def _announcement(sealed, sources, hashes):
    """Say what is about to be read."""
    result_bytes = sum(e["bytes"] for content in sealed.values() for e in content["files"].values())
    source_bytes = sum(entry["bytes"] or 0 for entry in sources.values())
    what = "reading" if hashes else "comparing the sizes of"
    return (
        f"{what} {len(sealed):,} results, {result_bytes / 2**30:.2f} GiB, and {len(sources):,} "
        f"sources, {source_bytes / 2**30:.2f} GiB"
    )


def _seal_faults(sealed, hashes):
    faults = []
    for path, content in sealed.items():
        try:
            fault = fault_of(path, content, lambda *_: hashes, renew=False)
        except (OSError, InputError) as error:
            fault = f"{path}: {error}"
        faults += [str(fault)] if fault else []
    return faults


def _dataset_faults(folder, hashes, read):
    """Return the faults of a dataset; binaries whose seals were compared are not read again."""
    try:
        manifest = read_manifest(folder / "manifest.json")
        spans = spans_there(folder, manifest)
        hashes &= not {os.path.realpath(folder / name) for name, *_ in spans} <= read
    except InputError:
        pass  # it is among the faults
    return dataset_faults(folder, hashes=hashes)


def summary(folder, hashes):
    """Say in one line what was found good."""
    manifest = read_manifest(folder / "manifest.json")
    counts = [f"{manifest['splits'][split]['n_patches']:,} {split}" for split in SPLITS]
    micrographs = sum(len(manifest["splits"][split]["segments"]) for split in SPLITS)
    size = sum(span.bytes for span in spans_there(folder, manifest)) / 2**30
    checked = "every hash matches" if hashes else "sizes match, hashes not checked"
    return (
        f"good: {' and '.join(counts)} patches of {micrographs} micrographs, "
        f"{size:.2f} GiB; {checked}"
    )
