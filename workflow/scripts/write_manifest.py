"""Write the manifest of a dataset whose splits are in place."""

from clearice.bridge import run_job
from clearice.dataset.manifest import build_manifest, read_manifest
from clearice.dataset.namelists import dataset_namelists
from clearice.errors import InputError
from clearice.files import read_result, write_json, write_text
from clearice.wording import made_again


def write_manifest(train, test, manifest, namelists, offsets="grid", **_only_for_the_workflow):
    """Join the two splits' segments (paths of train.json and test.json) into `manifest`.

    `namelists` is its twin for programs that read no JSON; `offsets` is patches.offsets.
    Raises InputError when a micrograph is in both splits or they don't fit together.
    """
    parts = {"train": read_result(train), "test": read_result(test)}
    names = [{segment["micrograph"] for segment in part["segments"]} for part in parts.values()]
    if shared := sorted(set.intersection(*names)):
        raise InputError(
            "in both splits: " + ", ".join(shared),
            file=manifest,
            advice=made_again(train, test),
        )
    write_json(manifest, build_manifest(parts, offsets))
    write_text(namelists, dataset_namelists(read_manifest(manifest)))
    for split, part in parts.items():
        print(f"{split}: {part['n_patches']} patches of {len(part['segments'])} micrographs")


if "snakemake" in globals():
    run_job(write_manifest, snakemake)
