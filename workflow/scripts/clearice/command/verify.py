"""clearice verify: check a dataset; exit status 0 good, 1 not."""

import argparse
from pathlib import Path

from clearice.dataset.manifest import SPLITS, read_manifest, segment_spans
from clearice.dataset.verification import dataset_faults


def main(arguments=None):
    """List every fault of a dataset, and return 1 if there is one."""
    parser = argparse.ArgumentParser(
        prog="clearice verify",
        description="Check counts, sizes, hashes, pairing and leaks between the splits of a "
        "dataset, concatenated or not. Exit status 1 if there is a fault.",
    )
    parser.add_argument("folder", type=Path, help="the folder of manifest.json")
    parser.add_argument("--no-hashes", action="store_true", help="don't read the patches")
    options = parser.parse_args(arguments)
    faults = dataset_faults(options.folder, hashes=not options.no_hashes)
    for fault in faults:
        print(fault)
    print(f"{len(faults)} faults" if faults else summary(options))
    return 1 if faults else 0


def summary(options):
    """Say in one line what was found good."""
    manifest = read_manifest(options.folder / "manifest.json")
    counts = [f"{manifest['splits'][split]['n_patches']:,} {split}" for split in SPLITS]
    micrographs = sum(len(manifest["splits"][split]["segments"]) for split in SPLITS)
    spans = [span for split in SPLITS for span in segment_spans(manifest, split)]
    size = sum(count for _, _, count, *_ in spans) / 2**30
    checked = "sizes match, hashes not checked" if options.no_hashes else "every hash matches"
    return (
        f"good: {' and '.join(counts)} patches of {micrographs} micrographs, "
        f"{size:.2f} GiB; {checked}"
    )
