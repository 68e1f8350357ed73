"""Datasets and settings for the tests of the model step, without the steps before it."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import torch

import clearice
from clearice.config import complete_config
from clearice.dataset.manifest import (
    NORMALISATION,
    build_manifest,
    content_xxh3,
    data_xxh3,
    split_part,
)
from clearice.files import write_json
from clearice.model.distributed import Processes
from clearice.model.history import write_history
from clearice.model.training import Training
from clearice.shards.binary import write_side
from clearice.shards.patches import patch_origins
from clearice.shards.record import LAYOUTS, new_record

SCRIPTS = Path(clearice.__file__).parents[1]
NOISE_FLOOR = 0.25  # variance of the noise of either half: half of that of their difference


def write_dataset(folder, *, train=(4, 5), test=(3,), size_px=16, dtype="float32", seed=0):
    """Write a dataset of noisy halves of smooth images; return the path of its manifest.

    `train` and `test` are the numbers of patches of their micrographs. The
    inputs of a split are one file, the targets one per micrograph: they are at unlike offsets.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    splits = {}
    for split, counts in (("train", train), ("test", test)):
        segments, first = [], 0
        for number, count in enumerate(counts):
            segments.append(_write_segment(folder, f"{split}_{number}", count, size_px, dtype, rng))
            segments[-1]["first_patch"] = first
            first += count
        shape = [first, size_px, size_px]
        splits[split] = {"n_patches": first, "shape": shape, "segments": segments}
    manifest = {
        "format_version": 2,
        "layout": "patches",
        "dtype": dtype,
        "patch_size_px": size_px,
        "splits": splits,
        "normalisation": NORMALISATION,
        "target_kind": "halves",
        "noise_floor": {"train": NOISE_FLOOR, "test": NOISE_FLOOR},
        "half_correlation": {"train": 0.0, "test": 0.0},
    }
    return write_manifest(folder / "manifest.json", manifest)


def write_micrographs(
    folder,
    layout,
    *,
    train=3,
    test=2,
    shape=(40, 56),
    size_px=16,
    stride_px=8,
    dtype="float32",
    offsets="grid",
    left_out=(),
):
    """Write a dataset of whole micrographs in a `layout`; return the path of its manifest.

    Each of them has noisy halves and overlapping patches; `left_out` are places that no patch is
    cut at. The pixels do not depend on the layout.
    """
    parts, (height_px, width_px) = {}, shape
    places = patch_origins(height_px, width_px, size_px, stride_px).tolist()
    ys, xs = zip(*(p for p in map(tuple, places) if p not in left_out), strict=True)
    settings = {"size_px": size_px, "stride_px": stride_px, "cover_border": False}
    for split, count in (("train", train), ("test", test)):
        records = []
        for number in range(count):
            rng = np.random.default_rng([number, split == "test"])
            y, x = np.mgrid[:height_px, :width_px] / size_px
            wave = np.sin(6 * (x + rng.random())) * np.cos(5 * (y + rng.random()))
            halves = [wave + rng.normal(0, NOISE_FLOOR**0.5, shape) for _ in range(2)]
            facts = {"n_patches": len(ys), "y": ys, "x": xs, "noise_floor": NOISE_FLOOR}
            facts |= {"height_px": height_px, "width_px": width_px, "half_correlation": 0.0}
            name = f"{split}_{number}"
            record = new_record(name, settings, "halves", dtype, files={}, **facts)
            for side, rows in zip(("input", "target"), halves, strict=True):
                ends = LAYOUTS[layout].items()
                files = {n: folder / f"{name}.{end}" for n, end in ends if n.startswith(side)}
                record["files"] |= write_side(files, [rows.astype(np.float32)], record)
            write_json(folder / f"{name}.json", record)
            records.append((folder / f"{name}.json", record))
        parts[split] = split_part(records, folder)
    write_json(folder / "manifest.json", build_manifest(parts, offsets))
    return folder / "manifest.json"


def write_manifest(path, manifest):
    """Write a manifest whose hashes are those of its content; return its path."""
    kind = manifest["dtype"], manifest["patch_size_px"]
    manifest = manifest | {"data_xxh3": data_xxh3(manifest["splits"], *kind)}
    path.write_text(json.dumps(manifest | {"content_xxh3": content_xxh3(manifest)}))
    return path


def _write_segment(folder, name, count, size_px, dtype, rng):
    y, x = np.mgrid[:size_px, :size_px] / size_px
    segment = {"micrograph": name, "n_patches": count, "shard": f"{name}.json"}
    waves = [np.sin(6 * (x + rng.random())) * np.cos(5 * (y + rng.random())) for _ in range(count)]
    for side, file in (("input", f"{name.split('_')[0]}.input"), ("target", f"{name}.target")):
        noise = rng.normal(0, NOISE_FLOOR**0.5, (count, size_px, size_px))
        with open(folder / file, "ab") as binary:
            segment |= {f"{side}_file": file, f"{side}_offset_bytes": binary.tell()}
            binary.write((waves + noise).astype(dtype).tobytes())
        segment |= {f"{side}_xxh3": f"{rng.integers(2**63):016x}"}
    places = {"y": [size_px * i for i in range(count)], "x": [7] * count}
    (folder / f"{name}.json").write_text(json.dumps(places))
    return segment


def model_settings(**changes):
    """Return a complete section of config.yaml's model, for a CPU, with `changes`."""
    given = {"device": "cpu", "reader_threads": 2, "epochs": 2, **changes}
    config = complete_config({"model": {"simple_cnn": given}})
    return config["model"]["simple_cnn"]


def build_training(manifest, device="cpu", **changes):
    """Return a Training in this process."""
    settings = model_settings(**changes)
    return Training(manifest, "simple_cnn", settings, torch.device(device), Processes())


def train(manifest, folder, device="cpu", **changes):
    """Train in this process, continuing from `folder`'s checkpoint; return the Training."""
    training = build_training(manifest, device, **changes)
    folder.mkdir(parents=True, exist_ok=True)
    training.resume(folder / "checkpoint.pt")
    training.run(folder / "checkpoint.pt")
    write_history(folder / "history.tsv", training.rows)
    return training


def script():
    """Return the module workflow/scripts/train_denoiser.py."""
    path = SCRIPTS / "train_denoiser.py"
    spec = importlib.util.spec_from_file_location("train_denoiser", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_script(manifest, folder, **settings):
    """Run train_denoiser.py by hand, in this process; return the record that it wrote."""
    words = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
    script().main([str(manifest), str(folder), "--set=device=cpu", *words])
    return json.loads((folder / "training.json").read_text())


def weights_of(training):
    """Return the weights as NumPy arrays by name."""
    state = training.optimization.network.state_dict()
    return {name: tensor.cpu().numpy().copy() for name, tensor in state.items()}


def assert_same_weights(one, other):
    """Demand that two trainings (or dicts of weights) agree to the last bit."""
    one, other = (w if isinstance(w, dict) else weights_of(w) for w in (one, other))
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].tobytes() == other[name].tobytes(), name
