"""Every fault of a dataset on disk: counts, sizes, hashes, pairing, leaks between the splits.

Reads blocks of 8 MiB and needs no NumPy, so that it runs wherever the dataset went.
"""

from pathlib import Path

from clearice.dataset.copying import hash_next
from clearice.dataset.manifest import load_manifest, manifest_faults, schema_faults
from clearice.dataset.segments import (
    SIDES,
    SPLITS,
    hashes_of_segment,
    places_xxh3,
    segment_spans,
)
from clearice.errors import InputError
from clearice.files import open_regular, read_json, xxh3_of_file
from clearice.tsv import read_table


def dataset_faults(folder, hashes=True):
    """Return every fault of the dataset in `folder`, a line each; none means that it is good.

    `hashes` False leaves out reading the patches.
    """
    folder = Path(folder)
    try:
        manifest = load_manifest(folder / "manifest.json")
    except InputError as error:
        return [str(error)]
    if faults := schema_faults(manifest):
        return [f"manifest.json: {fault}" for fault in faults]
    faults = [f"manifest.json: {fault}" for fault in manifest_faults(manifest)]
    faults += leak_faults(manifest)
    faults += table_faults(folder, manifest)
    faults += shard_faults(folder, manifest)
    return faults + binary_faults(folder, manifest, hashes)


def leak_faults(manifest):
    """Return micrographs, and equal patches under two names, that occur more than once."""
    faults, names, hashes = [], {}, {}
    for split in SPLITS:
        for segment in manifest["splits"][split]["segments"]:
            name = segment["micrograph"]
            if name in names:
                where = f"in both splits: {names[name]} and {split}"
                faults.append(
                    f"{name}: " + (f"twice in {split}" if names[name] == split else where)
                )
            names.setdefault(name, split)
            for file, digest in hashes_of_segment(segment).items():
                here = f"{name} ({file.replace('_', ' ')})"
                other_split, other = hashes.setdefault(digest, (split, here))
                if other != here:
                    faults.append(f"{here}, {split}: the same patches as {other}, {other_split}")
    return faults


def table_faults(folder, manifest):
    """Return where micrographs.tsv and the manifest differ; nothing without that table."""
    table = folder / "micrographs.tsv"
    if not table.is_file():
        return []
    rows = [row for row in read_table(table) if row.get("status") == "ok"]
    listed = {row["micrograph"]: (row["split"], row["patches"]) for row in rows}
    stored = {
        segment["micrograph"]: (split, str(segment["n_patches"]))
        for split in SPLITS
        for segment in manifest["splits"][split]["segments"]
    }
    return [
        f"{name}: micrographs.tsv says {_in_words(listed.get(name))}, "
        f"manifest.json {_in_words(stored.get(name))}"
        for name in sorted(listed.keys() | stored.keys())
        if listed.get(name) != stored.get(name)
    ]


def _in_words(entry):
    return "nothing" if entry is None else f"{entry[0]}, {entry[1]} patches"


def shard_faults(folder, manifest):
    """Return where a segment isn't what the record of its shard says.

    Records that are all absent (a dataset that was copied alone) are no fault.
    """
    segments = [s for split in SPLITS for s in manifest["splits"][split]["segments"]]
    if not any((folder / segment["shard"]).is_file() for segment in segments):
        return []
    faults, sources, images = [], {}, {}
    for segment in segments:
        try:
            record = read_json(folder / segment["shard"])
            found = _record_facts(record)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError) as error:
            faults.append(f"{segment['shard']}: unreadable shard record ({error!r})")
            continue
        expected = {key: segment[key] for key in ("micrograph", "n_patches")}
        expected |= {f"{name}_xxh3": xxh3 for name, xxh3 in hashes_of_segment(segment).items()}
        expected |= {key: manifest[key] for key in ("dtype", "patch_size_px")}
        expected |= {"status": "ok", "coordinates": segment["n_patches"]}
        if planes := segment.get("planes"):
            expected |= {key: planes[key] for key in ("height_px", "width_px", "places_xxh3")}
        faults += [
            f"{segment['shard']}: {key}: manifest.json says {expected[key]}, found {found.get(key)}"
            for key in expected
            if found.get(key) != expected[key]
        ]
        for side in SIDES:
            source, here = record.get(side) or {}, f"{segment['micrograph']} ({side})"
            path, pixels = source.get("path"), source.get("pixels_xxh3")
            other = sources.setdefault(path, here)
            same = images.setdefault(pixels, here)
            if path is not None and other != here:
                faults.append(f"{here}: cut from {path} as is {other}")
            elif pixels is not None and same != here:
                faults.append(f"{here}: the same image as {same}: pixels_xxh3 {pixels}")
    return faults


def sources_of(shards):
    """Return path -> entry (`bytes`, `xxh3`) of the files that the shards in a folder are cut from.

    Records that cannot be read are left out: shard_faults names those of the dataset.
    """
    sources = {}
    for path in sorted(Path(shards).glob("*.json")):
        try:
            record = read_json(path)
            for side in SIDES:
                if record[side] is not None:
                    sources[record[side]["path"]] = {k: record[side][k] for k in ("bytes", "xxh3")}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return sources


def source_faults(sources, folder, hashes=True):
    """Return which of the sources_of shards are not what they were; `folder` is the run's."""
    faults = []
    for name, entry in sources.items():
        path = Path(folder, name)
        try:
            size = path.stat().st_size
            found = {"bytes": size}
            if hashes and size == entry["bytes"]:
                found["xxh3"] = xxh3_of_file(path)
        except (OSError, InputError):
            found = {"bytes": None}
        if entry["bytes"] is None and found["bytes"] is None:
            continue  # it could not be read then either: the shard is rejected
        faults += [
            f"{name}: a shard was cut from another file: expected {entry[key]} {key}, found {value}"
            for key, value in found.items()
            if value != entry[key]
        ]
    return faults


def _record_facts(record):
    keys = ("micrograph", "n_patches", "dtype", "patch_size_px", "status")
    facts = {key: record[key] for key in (*keys, "height_px", "width_px")}
    facts |= {f"{name}_xxh3": file["xxh3"] for name, file in record["files"].items()}
    coordinates = {len(record["y"]), len(record["x"])}
    facts["places_xxh3"] = places_xxh3(record["y"], record["x"]) if len(coordinates) == 1 else None
    return facts | {"coordinates": coordinates.pop() if len(coordinates) == 1 else coordinates}


def binary_faults(folder, manifest, hashes=True):
    """Return where segments don't tile their files, and (with `hashes`) hold other bytes.

    Planes that are all absent beside patches (a dataset that was copied alone) are no fault.
    """
    faults, files = [], {}
    for span in spans_there(folder, manifest):
        files.setdefault(span.file, []).append(span[1:5])
    for name, spans in files.items():
        path, end = folder / name, 0
        for offset, count, _, micrograph in sorted(spans):
            if offset != end:
                relation = "overlaps what is before it" if offset < end else "leaves a gap"
                faults.append(f"{name}: {micrograph} at byte {offset} {relation}, expected {end}")
            end = offset + count
        if not path.is_file():
            faults.append(f"{name}: no such file")
            continue
        if path.stat().st_size != end:
            faults.append(f"{name}: expected {end} bytes, found {path.stat().st_size}")
        if hashes:
            faults += _hash_faults(path, name, spans)
    return faults


def spans_there(folder, manifest):
    """Return the Spans of both splits, without planes that were left behind beside patches."""
    spans = [span for split in SPLITS for span in segment_spans(manifest, split)]
    planes = {span.file for span in spans if span.stores == "planes"}
    if manifest["layout"] == "patches" and not any((folder / name).is_file() for name in planes):
        return [span for span in spans if span.stores == "patches"]
    return spans


def _hash_faults(path, name, spans):
    faults = []
    with open_regular(path) as file:
        for offset, count, expected, micrograph in spans:
            file.seek(offset)
            found = hash_next(file, count)
            if found != expected:
                faults.append(f"{name}: {micrograph}: expected xxh3 {expected}, found {found}")
    return faults
