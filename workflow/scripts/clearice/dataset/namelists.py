"""The dataset's manifest as Fortran namelists, for programs that read no JSON."""

from clearice.dataset.segments import SIDES, SPLITS
from clearice.namelist import namelist


def dataset_namelists(manifest):
    """Return the facts of a manifest (a dict) that a training in Fortran needs.

    `halves` says that either side is as good a target as the other: they may change places.
    With layout `planes` the segments name no files: such programs read patches.
    """
    floors = manifest["noise_floor"]
    head = {key: manifest[key] for key in ("format_version", "layout", "dtype", "patch_size_px")}
    head |= {"target_kind": manifest["target_kind"], "data_xxh3": manifest["data_xxh3"]}
    head["halves"] = floors["train"] is not None
    for split in SPLITS:
        content = manifest["splits"][split]
        floor = floors[split]
        head |= {f"noise_floor_{split}": -1.0 if floor is None else float(floor)}
        head |= {f"{split}_segments": len(content["segments"])}
        head |= {f"{split}_patches": content["n_patches"]}
    groups = [namelist("dataset", head)]
    for split in SPLITS:
        for segment in manifest["splits"][split]["segments"]:
            facts = {"split": split, "micrograph": segment["micrograph"]}
            for key in ("file", "offset_bytes") if manifest["layout"] == "patches" else ():
                facts |= {f"{side}_{key}": segment[f"{side}_{key}"] for side in SIDES}
            facts |= {key: segment[key] for key in ("first_patch", "n_patches")}
            groups.append(namelist("segment", facts))
    return "\n".join(groups)
