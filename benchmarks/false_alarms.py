"""How often is a good micrograph rejected or warned of? No rejection, and 1 warning in 100 at most.

    python benchmarks/false_alarms.py [--simulated 200] [--seed 0] [--real FOLDER] [--output JSON]

Each micrograph goes through shard_micrograph, as in a run: the real pairs (X_frame.mrc and
X_rest.mrc) and files of a folder, clearice's simulations over the whole range of dose, defocus and
pixel size, and those with what a session holds besides: no particles, carbon, a crystal, gold
beads, gradients, borders of an alignment below the threshold, and counts, bytes, binned, cropped
and smoothed pixels. Exit status 1 if a bound is broken.
"""

import argparse
import collections
import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "workflow" / "scripts"))

from clearice.config import complete_config  # noqa: E402
from clearice.errors import InputError  # noqa: E402
from clearice.micrographs.mrc import open_micrograph  # noqa: E402
from clearice.micrographs.simulation.exposure import simulate  # noqa: E402
from clearice.shards.sharding import shard_micrograph  # noqa: E402

BOUNDS = {"rejected": 0, "warned_fraction": 0.01}
MODES = {"i1": 0, "<i2": 1, "<f4": 2, "<u2": 6, "<f2": 12}


def write(path, image, dtype="<f4", pixel_size_angstrom=1.0):
    """Write an image (H, W) as MRC, with its pixels as they are in `dtype`."""
    height, width = image.shape
    words = np.zeros(256, "<i4")
    words[:10] = width, height, 1, MODES[dtype], 0, 0, 0, width, height, 1
    cell = np.array([width, height, 1], "<f4") * np.float32(pixel_size_angstrom)
    words[10:13], words[13:16] = cell.view("<i4"), np.full(3, 90, "<f4").view("<i4")
    words[16:19] = 1, 2, 3
    words[20] = np.array([-1], "<f4").view("<i4")[0]
    words[52:54] = np.frombuffer(b"MAP \x44\x44\0\0", "<i4")
    path.write_bytes(words.tobytes() + image.astype(dtype).tobytes())


def settings(rng, **changes):
    """Return a `simulation` section drawn over the whole range."""
    pixel_size = float(np.exp(rng.uniform(np.log(0.6), np.log(6))))
    size = int(rng.choice([512, 768, 1024]))
    defocus = float(rng.uniform(0.3, 5))
    ice = np.sort(rng.uniform(10, 150, 2))
    drawn = {
        "height_px": size,
        "width_px": size + int(rng.integers(0, 200)),
        "pixel_size_angstrom": pixel_size,
        "defocus_um": [defocus, defocus],
        "dose_e_per_a2": float(np.exp(rng.uniform(np.log(1), np.log(100)))),
        "particles": int(rng.integers(0, 1 + 40 * min(1, (size * pixel_size / 1500) ** 2))),
        "ice_thickness_nm": ice.tolist(),
        "voltage_kv": int(rng.choice([120, 200, 300])),
        "seed": int(rng.integers(1 << 30)),
    } | changes
    return complete_config({"simulation": drawn})["simulation"]


def halves_of(expected, rng):
    """Return two halves of counts, (H, W), of an expectation in electrons per pixel."""
    return [rng.poisson(np.maximum(expected, 0)).astype(np.float32) for _ in range(2)]


def plain(rng):
    """A simulation."""
    made = simulate(settings(rng), "m")
    return [made.even, made.odd], "<f4"


def empty(rng):
    """Ice without particles."""
    made = simulate(settings(rng, particles=0), "m")
    return [made.even, made.odd], "<f4"


def sparse(rng):
    """0.05 to 1 electron per pixel, as floats, bytes or words."""
    made = simulate(settings(rng), "m")
    expected = made.truth / made.truth.mean() * np.exp(rng.uniform(np.log(0.05), 0))
    return halves_of(expected, rng), str(rng.choice(["<f4", "i1", "<i2", "<u2"]))


def counts(rng):
    """1 to 100 electrons per pixel in words, with or without the gain of an integrating camera."""
    made = simulate(settings(rng), "m")
    expected = made.truth / made.truth.mean() * np.exp(rng.uniform(0, np.log(100)))
    gain = float(rng.choice([1, 8]))
    return [gain * half for half in halves_of(expected, rng)], str(rng.choice(["<i2", "<u2"]))


def _places(shape):
    return np.mgrid[: shape[0], : shape[1]].astype(np.float32)


def _edge(distance, width_px):
    return 1 / (1 + np.exp(-np.clip(distance / width_px, -50, 50)))


def obstacle(rng):
    """A carbon edge, a dark crystal, or gold beads, sharp to about a pixel."""
    made = simulate(settings(rng), "m")
    truth = made.truth / made.truth.mean() * np.exp(rng.uniform(0, np.log(200)))
    y, x = _places(truth.shape)
    kind = rng.integers(3)
    if kind == 0:
        angle, place = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8, 2) * truth.shape
        side = (y - place[0]) * np.cos(angle) + (x - place[1]) * np.sin(angle)
        bend = 40 * np.sin((x + y) / rng.uniform(80, 300))
        truth *= 1 - rng.uniform(0.05, 0.4) * _edge(side + bend, rng.uniform(0.7, 4))
    elif kind == 1:
        centre, turn = rng.uniform(0.2, 0.8, 2) * truth.shape, rng.uniform(0, 2 * np.pi)
        angle = np.arctan2(y - centre[0], x - centre[1])
        hexagon = np.cos((angle - turn + np.pi / 6) % (np.pi / 3) - np.pi / 6)
        distance = rng.uniform(40, 250) - np.hypot(y - centre[0], x - centre[1]) * hexagon
        truth *= 1 - rng.uniform(0.3, 0.98) * _edge(distance, rng.uniform(0.7, 3))
    else:
        for _ in range(int(rng.integers(3, 40))):
            centre, radius = rng.uniform(0, 1, 2) * truth.shape, rng.uniform(2, 30)
            distance = radius - np.hypot(y - centre[0], x - centre[1])
            truth *= 1 - 0.9 * _edge(distance, 0.7)
    return halves_of(truth, rng), "<f4"


def gradient(rng):
    """A level that changes by up to its half, and a normalised one."""
    made = simulate(settings(rng), "m")
    truth = made.truth / made.truth.mean() * np.exp(rng.uniform(0, np.log(50)))
    y, x = _places(truth.shape)
    angle = rng.uniform(0, 2 * np.pi)
    slope = (y * np.cos(angle) + x * np.sin(angle)) / max(truth.shape)
    halves = halves_of(truth * (1 + rng.uniform(0, 0.5) * slope), rng)
    if rng.integers(2):
        halves = [(half - half.mean()) / half.std() for half in halves]
    return halves, "<f4"


def filtered(rng):
    """Binned, Fourier-cropped or smoothed: noise that correlates from pixel to pixel."""
    made = simulate(settings(rng), "m")
    halves, kind = [made.even, made.odd], rng.integers(3)
    if kind == 0:
        even = [half[: len(half) // 2 * 2, : half.shape[1] // 2 * 2] for half in halves]
        return [h[::2, ::2] + h[1::2, ::2] + h[::2, 1::2] + h[1::2, 1::2] for h in even], "<f4"
    found = []
    cut = rng.uniform(0.2, 0.45) if kind == 1 else rng.uniform(0.05, 0.3)
    for half in halves:
        height, width = half.shape
        k = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
        transfer = k < cut if kind == 1 else np.exp(-((k / cut) ** 2) / 2)
        found.append(np.fft.irfft2(np.fft.rfft2(half) * transfer, s=half.shape))
    return found, str(rng.choice(["<f4", "<f2"]))


def cold_spots(rng):
    """A handful of hot pixels, as every camera has, and a border of less than half a per cent."""
    made = simulate(settings(rng), "m")
    halves = [made.even.copy(), made.odd.copy()]
    y, x = (rng.integers(8, n - 8, 2) for n in made.even.shape)
    for half in halves:
        half[y, x] = half.mean() + rng.uniform(30, 3000) * half.std()
        half[-2:] = 0
    return halves, "<f4"


KINDS = (plain, plain, empty, sparse, counts, obstacle, gradient, filtered, cold_spots)


def sharded(folder, paths, target):
    """Return the record of one micrograph, [path] or [input half, target half]."""
    size = 256
    with contextlib.suppress(InputError), open_micrograph(paths[0]) as reader:
        size = min(256, reader.height_px, reader.width_px)
    patches = complete_config({"patches": {"size_px": size, "stride_px": size}})["patches"]
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        shard_micrograph(
            input=str(paths[0]),
            target=str(paths[1]) if len(paths) == 2 else None,
            input_bin=str(folder / "m.input.bin"),
            target_bin=str(folder / "m.target.bin"),
            record=str(folder / "m.json"),
            micrograph="m",
            patches=patches | {"target": target},
        )
    return json.loads((folder / "m.json").read_text())


def real_sets(folder):
    """Yield (name, paths) of the real pairs, and of every half and other file by itself."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".mrc", ".gz", ".bz2"):
            yield path.name, [path]
        if path.name.endswith("_frame.mrc"):
            other = path.with_name(path.name.replace("_frame", "_rest"))
            yield f"{path.name} and {other.name}", [path, other]


def judged(folder, kind, name, paths, target):
    """Return a row: what was said of one micrograph."""
    record = sharded(folder, paths, target)
    row = {"kind": kind, "name": name, "target": target, "status": record["status"]}
    reason = record["reason"]
    for path in paths:
        reason = reason and reason.replace(f"{path.parent}/", "")
    return row | {"reason": reason, "warnings": record["warnings"]}


def simulated_rows(folder, count, seed):
    """Yield the rows of `count` simulated micrographs: pairs, and every third one half alone."""
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        kind = KINDS[number % len(KINDS)]
        halves, dtype = kind(rng)
        paths = [folder / "even.mrc", folder / "odd.mrc"]
        for path, half in zip(paths, halves, strict=True):
            write(path, half, dtype)
        name = f"{number} {dtype} {halves[0].shape[0]} x {halves[0].shape[1]}"
        if number % 3 == 2:
            yield judged(folder, kind.__name__, name, paths[:1], "lowpass")
        else:
            yield judged(folder, kind.__name__, name, paths, "halves")


def main():
    """Print every alarm, store JSON; return 1 if a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulated", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", type=Path, help="folder of real micrographs")
    parser.add_argument(
        "--output", type=Path, default=REPOSITORY / "benchmarks" / "results" / "false_alarms.json"
    )
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for row in simulated_rows(folder, options.simulated, options.seed):
            rows.append(row)
            say(row)
        for name, paths in real_sets(options.real) if options.real else ():
            target = "halves" if len(paths) == 2 else "lowpass"
            rows.append(judged(folder, "real", name, paths, target))
            say(rows[-1])
    simulated = [row for row in rows if row["kind"] != "real"]
    rejected = [row for row in simulated if row["status"] != "ok"]
    warned = [row for row in simulated if row["warnings"]]
    tally = collections.Counter(row["kind"] for row in rows)
    summary = {"micrographs": dict(tally), "rejected": len(rejected), "warned": len(warned)}
    alarms = [row for row in rows if row["status"] != "ok" or row["warnings"]]
    result = {"bounds": BOUNDS, "seed": options.seed, "summary": summary, "alarms": alarms}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(summary))
    fraction = len(warned) / max(1, len(simulated))
    return int(len(rejected) > BOUNDS["rejected"] or fraction > BOUNDS["warned_fraction"])


def say(row):
    """Print what was said of a micrograph, if anything was."""
    for text in [row["reason"], *row["warnings"]]:
        if text:
            print(f"{row['kind']} {row['name']} ({row['target']}): {row['status']}: {text}")


if __name__ == "__main__":
    sys.exit(main())
