"""The dataset's manifest: which bytes of which file are which patch (docs/formats.md, Dataset).

Light on purpose (no NumPy): the workflow's planning and `clearice verify` read manifests too.
"""

import functools
import json
import os
from pathlib import Path

import jsonschema
import xxhash

from clearice.errors import InputError
from clearice.files import read_json
from clearice.schemas import DATASET_SCHEMA
from clearice.wording import made_again

FORMAT_VERSION = 2
SPLITS = ("train", "test")
SIDES = ("input", "target")
ITEM_BYTES = {"float32": 4, "float16": 2}
NORMALISATION = (
    "per micrograph: (pixel - location) / scale of the input half, applied to both halves; medians "
    "of the means and standard deviations of pieces of rows of 64 px"
)


def patch_bytes(dtype, patch_size_px):
    """Return the bytes of one stored patch of (patch_size_px, patch_size_px) values."""
    return patch_size_px * patch_size_px * ITEM_BYTES[dtype]


def split_part(records, folder, concatenated_as=None):
    """Return one split's part of the manifest, its segments in the order of `records`.

    `records` is a list of (path of the shard's json, its content); `folder` is where the
    manifest lies, to which every path in it is relative. With `concatenated_as` (a split) the
    segments lie one after the other in {split}_input.bin and {split}_target.bin; without it
    they point at the shards themselves. Raises InputError for shards that don't fit together.
    """
    _check_same_kind(records)
    first_patch, segments = 0, []
    for path, record in records:
        step = patch_bytes(record["dtype"], record["patch_size_px"])
        segment = {"micrograph": record["micrograph"]}
        for side in SIDES:
            file = record["files"][side]
            shard_bin = os.path.relpath(Path(path).parent / file["path"], folder)
            segment |= {
                f"{side}_file": f"{concatenated_as}_{side}.bin" if concatenated_as else shard_bin,
                f"{side}_offset_bytes": first_patch * step if concatenated_as else 0,
                f"{side}_xxh3": file["xxh3"],
            }
        segment |= {"first_patch": first_patch, "n_patches": record["n_patches"]}
        segments.append(segment | {"shard": os.path.relpath(path, folder)})
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


def _mean(records, key):
    """Average over patches; None when a shard has no halves to tell it from."""
    if any(record[key] is None for record in records):
        return None
    total = sum(record[key] * record["n_patches"] for record in records)
    return total / sum(record["n_patches"] for record in records)


def build_manifest(parts):
    """Return the manifest of `parts`, a dict split -> what split_part returned.

    Raises InputError when the splits were made with different patches.
    """
    train, test = (parts[split] for split in SPLITS)
    for key in ("dtype", "patch_size_px", "target_kind"):
        if train[key] != test[key]:
            raise InputError(
                f"{key} of the splits differs: train {train[key]}, test {test[key]}",
                advice="delete the shards and run again: rm -r results/shards",
            )
    size = train["patch_size_px"]
    manifest = {
        "format_version": FORMAT_VERSION,
        "layout": "patches",
        "dtype": train["dtype"],
        "patch_size_px": size,
        "normalisation": NORMALISATION,
        "data_xxh3": data_xxh3(parts, train["dtype"], size),
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
    return {**manifest, "content_xxh3": content_xxh3(manifest)}


def content_xxh3(manifest):
    """Return 16 hex digits over all of a manifest but this entry: an edited number shows."""
    facts = {key: value for key, value in manifest.items() if key != "content_xxh3"}
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return xxhash.xxh3_64(text.encode("utf-8", "surrogatepass")).hexdigest()


def data_xxh3(splits, dtype, patch_size_px):
    """Return 16 hex digits that name the training data, wherever its files lie.

    XXH3-64 over one line of text for the kind and one for each segment, so that a dataset and
    its `concatenate: false` twin have the same.
    """
    lines = [f"{dtype}\t{patch_size_px}\n"]
    for split in SPLITS:
        for segment in splits[split]["segments"]:
            facts = [split, segment["micrograph"], segment["n_patches"]]
            facts += [segment["input_xxh3"], segment["target_xxh3"]]
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
    faults, ends = [], {}
    size = manifest["patch_size_px"]
    step = patch_bytes(manifest["dtype"], size)
    for split in SPLITS:
        content = manifest["splits"][split]
        first_patch = 0
        for segment in content["segments"]:
            if segment["first_patch"] != first_patch:
                faults.append(
                    f"{split} {segment['micrograph']}: first_patch: expected {first_patch}, "
                    f"found {segment['first_patch']}"
                )
            first_patch = segment["first_patch"] + segment["n_patches"]
            for side in SIDES:
                file, offset = segment[f"{side}_file"], segment[f"{side}_offset_bytes"]
                if offset != ends.get(file, 0):
                    faults.append(
                        f"{split} {segment['micrograph']}: {side}_offset_bytes: expected "
                        f"{ends.get(file, 0)}, where the segment before it ends, found {offset}"
                    )
                ends[file] = offset + segment["n_patches"] * step
        counted = sum(segment["n_patches"] for segment in content["segments"])
        if content["n_patches"] != counted:
            faults.append(
                f"{split}: n_patches: expected {counted} (sum of its segments), "
                f"found {content['n_patches']}"
            )
        if content["shape"] != [content["n_patches"], size, size]:
            faults.append(f"{split}: shape {content['shape']} is not (n_patches, size, size)")
    if manifest["data_xxh3"] != data_xxh3(manifest["splits"], manifest["dtype"], size):
        faults.append("data_xxh3 is not that of the segments")
    if not faults and manifest["content_xxh3"] != content_xxh3(manifest):
        faults.append("content_xxh3 is not that of the content: it was edited or damaged")
    return faults


def segment_spans(manifest, split):
    """Yield (file, first byte, bytes, xxh3, micrograph) of every segment, inputs and targets."""
    step = patch_bytes(manifest["dtype"], manifest["patch_size_px"])
    for segment in manifest["splits"][split]["segments"]:
        for side in SIDES:
            yield (
                segment[f"{side}_file"],
                segment[f"{side}_offset_bytes"],
                segment["n_patches"] * step,
                segment[f"{side}_xxh3"],
                segment["micrograph"],
            )
