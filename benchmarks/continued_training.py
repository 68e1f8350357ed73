"""A network that is trained further when micrographs come in, beside one that is trained anew.

    python benchmarks/continued_training.py [--output JSON] [--quick]

The demo's simulation: 8 micrographs to train on, then 12, then 20. Each way is judged on four
others: signal-to-noise ratio against the truth (dB, after a linear fit), Fourier ring correlation
with the raw other half in three bands, and the test loss. Steps are what a training costs,
whatever the machine; seconds are those of this one. Adam's moments are carried over or not, the
learning rate of a continued stage is varied. One seed a row, three seeds in all: medians.
"""

import argparse
import concurrent.futures
import math
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch

from clearice.config import complete_config
from clearice.dataset.manifest import NORMALISATION, content_xxh3, data_xxh3
from clearice.files import write_json, xxh3_of_file
from clearice.micrographs.simulation.exposure import simulate
from clearice.model.device import choose_device
from clearice.model.distributed import Processes
from clearice.model.files import HISTORY, MODEL
from clearice.model.history import write_history
from clearice.model.stages import Stage
from clearice.model.training import Training
from clearice.model.weights import save_model

SIZES, HELD_OUT, SEEDS, PATCH_PX = (8, 12, 20), 4, 3, 256
BANDS = ((0.01, 0.03), (0.03, 0.06), (0.06, 0.1))  # cycles per pixel
EPOCHS = {"s2d_unet": 3, "simple_cnn": 6}
# (epochs of a continued stage, its learning rate over that of the first, moments carried over)
WAYS = (
    *[(epochs, rate, False) for epochs in (1, 2) for rate in (1.0, 0.5, 0.25)],
    (1, 0.5, True),
)


def exposure(number):
    """Return even half, odd half and truth of a simulated micrograph, on the scale of shards."""
    settings = complete_config({})["simulation"]
    simulated = simulate(settings, f"sim_{number:04d}")
    images = simulated.even, simulated.odd, simulated.truth
    mean, std = images[0].mean(), images[0].std()
    return [((image - mean) / std).astype(np.float32) for image in images]


def write_dataset(folder, train, test, stride_px=128):
    """Write the patches of exposures and their manifest; return its path."""
    folder.mkdir(parents=True)
    splits = {}
    for split, exposures in (("train", train), ("test", test)):
        segments, first = [], 0
        for number, images in enumerate(exposures):
            name = f"{split}_{number}"
            segment = {"micrograph": name, "first_patch": first, "shard": f"{name}.json"}
            for side, image in zip(("input", "target"), images, strict=False):
                patches = np.lib.stride_tricks.sliding_window_view(image, (PATCH_PX, PATCH_PX))
                patches = patches[::stride_px, ::stride_px].reshape(-1, PATCH_PX, PATCH_PX)
                file = folder / f"{name}.{side}"
                file.write_bytes(patches.tobytes())
                segment |= {f"{side}_file": file.name, f"{side}_offset_bytes": 0}
                segment |= {f"{side}_xxh3": xxh3_of_file(file), "n_patches": len(patches)}
            segments.append(segment)
            first += len(patches)
        shape = [first, PATCH_PX, PATCH_PX]
        splits[split] = {"n_patches": first, "shape": shape, "segments": segments}
    manifest = {
        "format_version": 2,
        "layout": "patches",
        "dtype": "float32",
        "patch_size_px": PATCH_PX,
        "normalisation": NORMALISATION,
        "data_xxh3": data_xxh3(splits, "float32", PATCH_PX),
        "target_kind": "halves",
        "noise_floor": {"train": 0.9, "test": 0.9},
        "half_correlation": {"train": 0.0, "test": 0.0},
        "splits": splits,
    }
    path = folder / "manifest.json"
    write_json(path, manifest | {"content_xxh3": content_xxh3(manifest)})
    return path


def trained(manifest, folder, settings, architecture, stage, moments=None):
    """Train one stage into `folder`; return (Training, Stage that continues from it)."""
    device = choose_device("auto")
    run = Training(manifest, architecture, settings, device, Processes(), stage)
    if moments is not None:
        run.optimization.optimizer.load_state_dict(moments)
    folder.mkdir(parents=True)
    run.run(folder / "checkpoint.pt")
    with run.optimization.averaged():
        save_model(folder / MODEL, run.optimization.network, {"architecture": architecture})
    write_history(folder / HISTORY, run.rows)
    last = run.rows[-1]
    before = {"last_epoch": last, "seconds": last["seconds"], "identity": {}}
    before |= {"model_xxh3": xxh3_of_file(folder / MODEL), "trained_on": {}}
    return run, Stage(stage.number + 1, None, before, folder)


def judged(run, exposures):
    """Return what the network of a Training is worth on exposures that it did not see."""
    snr, correlations = [], []
    network = run.optimization.network.eval()
    with run.optimization.averaged(), torch.no_grad():
        for even, odd, truth in exposures:
            image = torch.from_numpy(even)[None, None].to(run.device)  # (1, 1, H, W)
            found = network(image)[0, 0].float().cpu().numpy()
            snr.append(-10 * math.log10(1 - np.corrcoef(found.ravel(), truth.ravel())[0, 1] ** 2))
            correlations.append([ring_correlation(found, odd, *band) for band in BANDS])
    last, stage = run.rows[-1], run.stage
    return {
        "snr_db": statistics.mean(snr),
        "frc": [float(value) for value in np.mean(correlations, axis=0)],
        "test_loss": last["test_loss"],
        "steps": last["step"] - stage.first_step,
        "seconds": last["seconds"] - (stage.before["seconds"] if stage.before else 0),
    }


def ring_correlation(one, other, low, high):
    """Return the correlation of two images over the spatial frequencies of a ring."""
    a, b = (np.fft.rfft2(image - image.mean()) for image in (one, other))
    y, x = np.fft.fftfreq(one.shape[0])[:, None], np.fft.rfftfreq(one.shape[1])
    ring = (np.hypot(y, x) >= low) & (np.hypot(y, x) < high)
    a, b = a[ring], b[ring]
    return (a * b.conj()).real.sum() / math.sqrt((abs(a) ** 2).sum() * (abs(b) ** 2).sum())


def compared(architecture, manifests, exposures, folder, seed, ways):
    """Yield (size of the dataset, way, what it is worth) of one architecture and seed."""
    config = {"epochs": EPOCHS[architecture], "swap_halves": True, "seed": seed}
    settings = complete_config({"model": {architecture: config}})["model"][architecture]
    settings["engine"] = "pytorch"
    for size, manifest in manifests.items():
        run, after = trained(manifest, folder / f"{size}_anew", settings, architecture, Stage())
        yield size, "anew", judged(run, exposures)
        if size == min(manifests):
            first, first_after = run, after
    for epochs, rate, carried in ways:
        run, stage = first, first_after
        name = f"{epochs} epochs at {rate}" + ", moments carried over" * carried
        for size, manifest in list(manifests.items())[1:]:
            moments = run.optimization.optimizer.state_dict() if carried else None
            place = folder / f"{size}_{epochs}_{rate}_{carried}"
            continued = settings | {"continue_epochs": epochs}
            continued["learning_rate"] = rate * settings["learning_rate"]
            run, stage = trained(manifest, place, continued, architecture, stage, moments)
            yield size, name, judged(run, exposures)


def main():
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--output", type=Path)
    parser.add_argument(
        "--quick", action="store_true", help="small sets and one seed: does it run?"
    )
    options = parser.parse_args()
    sizes, seeds, ways = ((1, 2), 1, WAYS[-1:]) if options.quick else (SIZES, SEEDS, WAYS)
    stride_px = 768 if options.quick else 128
    with concurrent.futures.ProcessPoolExecutor() as pool:
        made = list(pool.map(exposure, range(1, sizes[-1] + HELD_OUT + 1)))
    held_out, rows = made[:HELD_OUT], {}
    with tempfile.TemporaryDirectory(prefix="clearice-") as name:
        folder = Path(name)
        sets = {
            size: write_dataset(
                folder / f"d{size}", made[HELD_OUT:][:size], held_out[:2], stride_px
            )
            for size in sizes
        }
        for architecture in EPOCHS:
            for seed in range(seeds):
                place = folder / f"{architecture}_{seed}"
                for size, way, worth in compared(architecture, sets, held_out, place, seed, ways):
                    rows.setdefault((architecture, size, way), []).append(worth)
    table = []
    for (architecture, size, way), found in rows.items():
        row = {"architecture": architecture, "micrographs": size, "way": way}
        for key in ("snr_db", "test_loss", "steps", "seconds"):
            row[key] = statistics.median(worth[key] for worth in found)
        row["snr_db_all"] = [round(worth["snr_db"], 3) for worth in found]
        row["frc"] = np.median([worth["frc"] for worth in found], axis=0).round(4).tolist()
        table.append(row)
        frc = " ".join(f"{value:.3f}" for value in row["frc"])
        print(
            f"{architecture:10} {size:3} {way:40} {row['snr_db']:6.2f} dB  {frc}  "
            f"test {row['test_loss']:.5f}  {row['steps']:5.0f} steps {row['seconds']:7.1f} s",
            flush=True,
        )
    if options.output:
        gpu = torch.cuda.is_available()
        about = {
            "device": torch.cuda.get_device_name() if gpu else "CPU",
            "torch": torch.__version__,
        }
        write_json(options.output, {**about, "seeds": seeds, "rows": table})


if __name__ == "__main__":
    main()
