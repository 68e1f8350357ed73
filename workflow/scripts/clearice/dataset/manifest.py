"""The dataset's manifest: which bytes of which file are which patch (docs/formats.md, Dataset).

Light on purpose (no NumPy): the workflow's planning and `clearice verify` read manifests too.
"""

import functools
import json

import jsonschema
import xxhash

from clearice.dataset.segments import (
    SIDES,
    SPLITS,
    facts_of_segment,
    new_segment,
    patch_bytes,
    plane_bytes,
)
from clearice.errors import InputError
from clearice.files import read_json
from clearice.schemas import DATASET_SCHEMA
from clearice.wording import made_again

FORMAT_VERSION = 2
_STORED = ("input_file", "planes")  # keys of a segment that stores patches, and planes
NORMALISATION = (
    "per micrograph: (pixel - location) / scale of the input half, applied to both halves; medians "
    "of the means and standard deviations of pieces of rows of 64 px"
)


def split_part(records, folder, concatenated_as=None):
    """Return one split's part of the manifest, its segments in the order of `records`.

    `records` is a list of (path of the shard's json, its content); `folder` is where the
    manifest lies, to which every path in it is relative. With `concatenated_as` (a split) the
    segments lie one after the other in {split}_input.bin and {split}_target.bin; without it
    they point at the shards themselves, as planes always do. Raises InputError for shards that
    don't fit together.
    """
    _check_same_kind(records)
    first_patch, segments = 0, []
    for path, record in records:
        segments.append(new_segment(path, record, folder, first_patch, concatenated_as))
        first_patch += record["n_patches"]
    return {
        "dtype": records[0][1]["dtype"],
        "patch_size_px": records[0][1]["patch_size_px"],
        "target_kind": records[0][1]["target_kind"],
        "noise_floor": _mean([record for _, record in records], "noise_floor"),
        "half_correlation": _mean([record for _, record in records], "half_correlation"),
        "n_patches": first_patch,
        "segments": segments,
    }


def _check_same_kind(records):
    if not records:
        raise InputError("a split has no micrographs", advice="see results/dataset/micrographs.tsv")
    first_path, first = records[0]
    for path, record in records:
        for key in ("dtype", "patch_size_px", "stride_px", "cover_border", "target_kind"):
            if record[key] != first[key]:
                raise InputError(
                    f"{key} differs from that of {first_path}",
                    file=path,
                    expected=first[key],
                    found=record[key],
                    advice=made_again(path),
                )
        if record["files"].keys() != first["files"].keys():
            raise InputError(
                f"holds other files than {first_path} (dataset.layout)",
                file=path,
                expected=", ".join(first["files"]),
                found=", ".join(record["files"]),
                advice=made_again(path),
            )


def _mean(records, key):
    """Average over patches; None when a shard has no halves to tell it from."""
    if any(record[key] is None for record in records):
        return None
    total = sum(record[key] * record["n_patches"] for record in records)
    return total / sum(record["n_patches"] for record in records)


def build_manifest(parts, offsets="grid"):
    """Return the manifest of `parts`, a dict split -> what split_part returned.

    `offsets` is patches.offsets. Raises InputError when the splits were made with different
    patches, or when random offsets meet patches that are stored as they are.
    """
    train, test = (parts[split] for split in SPLITS)
    stored = [{key for key in _STORED if key in part["segments"][0]} for part in (train, test)]
    if stored[0] != stored[1] or ("planes" not in stored[0] and offsets == "random"):
        raise InputError(
            "the shards do not hold what dataset.layout and patches.offsets ask for",
            advice="delete them and run again: rm -r results/shards",
        )
    for key in ("dtype", "patch_size_px", "target_kind"):
        if train[key] != test[key]:
            raise InputError(
                f"{key} of the splits differs: train {train[key]}, test {test[key]}",
                advice="delete the shards and run again: rm -r results/shards",
            )
    size = train["patch_size_px"]
    manifest = {
        "format_version": FORMAT_VERSION,
        "layout": "patches" if "input_file" in stored[0] else "planes",
        "dtype": train["dtype"],
        "patch_size_px": size,
        "normalisation": NORMALISATION,
        "data_xxh3": data_xxh3(parts, train["dtype"], size, offsets),
        "target_kind": train["target_kind"],
        "noise_floor": {split: parts[split]["noise_floor"] for split in SPLITS},
        "half_correlation": {split: parts[split]["half_correlation"] for split in SPLITS},
        "splits": {
            split: {
                "n_patches": parts[split]["n_patches"],
                "shape": [parts[split]["n_patches"], size, size],
                "segments": parts[split]["segments"],
            }
            for split in SPLITS
        },
    }
    if offsets != "grid":
        manifest["offsets"] = offsets
    return {**manifest, "content_xxh3": content_xxh3(manifest)}


def content_xxh3(manifest):
    """Return 16 hex digits over all of a manifest but this entry: an edited number shows."""
    facts = {key: value for key, value in manifest.items() if key != "content_xxh3"}
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return xxhash.xxh3_64(text.encode("utf-8", "surrogatepass")).hexdigest()


def data_xxh3(splits, dtype, patch_size_px, offsets="grid"):
    """Return 16 hex digits that name the training data, wherever its files lie.

    XXH3-64 over one line of text for the kind and one for each segment, so that a dataset and
    its `concatenate: false` twin, and the one with planes beside the patches, have the same.
    """
    kind = [dtype, patch_size_px] + [offsets] * (offsets != "grid")
    lines = ["\t".join(map(str, kind)) + "\n"]
    for split in SPLITS:
        for segment in splits[split]["segments"]:
            facts = split, segment["micrograph"], *facts_of_segment(segment)
            lines.append("\t".join(map(str, facts)) + "\n")
    return xxhash.xxh3_64("".join(lines).encode()).hexdigest()


def read_manifest(path):
    """Return the manifest in `path` as a dict, checked against its schema and against itself.

    Raises InputError when it is missing, not JSON, of another version, or inconsistent. The
    files that it names are not touched.
    """
    manifest = load_manifest(path)
    faults = schema_faults(manifest) or manifest_faults(manifest)
    if faults:
        raise InputError(faults[0], file=path, advice=made_again(path))
    return manifest


def load_manifest(path):
    """Return the JSON in `path`, or raise InputError if it is no manifest of this version."""
    try:
        manifest = read_json(path)
    except FileNotFoundError:
        raise InputError("no manifest", file=path, advice="make it: snakemake dataset") from None
    except (OSError, ValueError, RecursionError) as error:
        what = f"unreadable manifest ({error})"
        raise InputError(what, file=path, advice=made_again(path)) from None
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(
            "unknown format_version",
            file=path,
            expected=FORMAT_VERSION,
            found=version,
            advice="use the clearice that wrote it, or " + made_again(path),
        )
    return manifest


def schema_faults(manifest):
    """Return where a manifest doesn't fit schema_files/dataset.schema.json, as lines."""
    errors = sorted(_validator().iter_errors(manifest), key=jsonschema.exceptions.relevance)
    return [
        f"{'.'.join(map(str, error.absolute_path)) or 'top level'}: {error.message[:200]}"
        for error in reversed(errors)
    ]


@functools.cache
def _validator():
    schema = json.loads(DATASET_SCHEMA.read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)


def manifest_faults(manifest):
    """Return every contradiction inside a manifest that fits the schema, as lines of text."""
    faults, ends, size = [], {}, manifest["patch_size_px"]
    for split in SPLITS:
        content = manifest["splits"][split]
        first_patch = 0
        for segment in content["segments"]:
            where = f"{split} {segment['micrograph']}"
            if segment["first_patch"] != first_patch:
                faults.append(
                    f"{where}: first_patch: expected {first_patch}, found {segment['first_patch']}"
                )
            first_patch = segment["first_patch"] + segment["n_patches"]
            faults += _storage_faults(manifest, segment, where)
            faults += _offset_faults(manifest, segment, where, ends)
        counted = sum(segment["n_patches"] for segment in content["segments"])
        if content["n_patches"] != counted:
            faults.append(
                f"{split}: n_patches: expected {counted} (sum of its segments), "
                f"found {content['n_patches']}"
            )
        if content["shape"] != [content["n_patches"], size, size]:
            faults.append(f"{split}: shape {content['shape']} is not (n_patches, size, size)")
    if manifest["data_xxh3"] != data_xxh3(
        manifest["splits"], manifest["dtype"], size, manifest.get("offsets", "grid")
    ):
        faults.append("data_xxh3 is not that of the segments")
    if not faults and manifest["content_xxh3"] != content_xxh3(manifest):
        faults.append("content_xxh3 is not that of the content: it was edited or damaged")
    return faults


def _storage_faults(manifest, segment, where):
    """Return what a segment must say for its layout and does not, or says and must not."""
    planes, faults = segment.get("planes"), []
    if (manifest["layout"] == "patches") != ("input_file" in segment):
        faults.append(f"{where}: names patches, or names none, unlike layout {manifest['layout']}")
    if planes is None and (manifest["layout"] == "planes" or manifest.get("offsets") == "random"):
        faults.append(f"{where}: names no planes")
    if planes and min(planes["height_px"], planes["width_px"]) < manifest["patch_size_px"]:
        faults.append(f"{where}: planes smaller than a patch")
    return faults


def _offset_faults(manifest, segment, where, ends):
    """Return where a segment does not begin in its files as those before it `ends` (by file)."""
    step, faults = patch_bytes(manifest["dtype"], manifest["patch_size_px"]), []
    for side in SIDES if "input_file" in segment else ():
        file, offset = segment[f"{side}_file"], segment[f"{side}_offset_bytes"]
        if offset != ends.get(file, 0):
            faults.append(
                f"{where}: {side}_offset_bytes: expected {ends.get(file, 0)}, where the segment "
                f"before it ends, found {offset}"
            )
        ends[file] = offset + segment["n_patches"] * step
    for side in SIDES if "planes" in segment else ():
        file = segment["planes"][f"{side}_file"]
        if file in ends:
            faults.append(f"{where}: planes.{side}_file: {file} is another segment's, too")
        ends[file] = plane_bytes(manifest["dtype"], segment["planes"])
    return faults
