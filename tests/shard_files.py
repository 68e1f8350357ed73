"""Shards for tests, written straight from the format in docs/formats.md."""

from pathlib import Path

import numpy as np
import xxhash

from clearice.files import write_json
from clearice.shards.record import FILES, LAYOUTS


def make_shard(
    folder,
    name,
    *,
    n=3,
    size_px=16,
    dtype="float32",
    seed=None,
    rejected=None,
    layout="patches",
    **extra,
):
    """Write a shard of random patches in a `layout`; return the path of its json.

    The planes are the patches beside one another.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    n = 0 if rejected else n
    digest = xxhash.xxh3_64_intdigest(name.encode())
    generator = np.random.default_rng(digest if seed is None else seed)
    files = {}
    for side in ("input", "target"):
        patches = generator.normal(size=(n, size_px, size_px)).astype(dtype)
        stored = {side: patches, f"{side}_plane": patches.swapaxes(0, 1)}
        for file in LAYOUTS[layout].keys() & stored.keys():
            content = stored[file].tobytes()
            path = folder / f"{name}.{FILES[file]}"
            path.write_bytes(content)
            facts = {"path": path.name, "bytes": len(content)}
            files[file] = facts | {"xxh3": xxhash.xxh3_64_hexdigest(content)}
    record = {
        "format_version": 2,
        "micrograph": name,
        "status": "rejected" if rejected else "ok",
        "reason": rejected,
        "warnings": [],
        "checks": {},
        "input": {"path": f"{name}_EVN.mrc", "bytes": 1024, "mtime_ns": 1},
        "target": {"path": f"{name}_ODD.mrc", "bytes": 1024, "mtime_ns": 1},
        "height_px": size_px,
        "width_px": size_px * max(n, 1),
        "pixel_size_angstrom": 1.5,
        "patch_size_px": size_px,
        "stride_px": size_px,
        "cover_border": False,
        "target_kind": "halves",
        "dtype": dtype,
        "n_patches": n,
        "y": [0] * n,
        "x": [size_px * i for i in range(n)],
        "mean": 0.0,
        "std": 1.0,
        "minimum": -5.0,
        "maximum": 5.0,
        "files": files,
        "hot_pixels": 0,
        "half_correlation": 0.0,
        "noise_floor": 0.5,
    } | extra
    path = folder / f"{name}.json"
    write_json(path, record)
    return path
