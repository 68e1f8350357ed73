"""The inputs and targets of the reference bundle.

`test` are patches of the test split. The other cases are made, and small: `impulse` shows the
kernels themselves and the padding, and is large: what clips values (a ReLU6, an input that is
cut to a range) cannot hide; `structured` is asymmetric in every axis so that a flip, a
transpose or a swap cannot hide, `noise` is what such faults do hide in (white noise is nearly
blind to flipped kernels), and so tells them from wrong arithmetic.
"""

import numpy as np

from clearice.errors import InputError

# Far above what normalised images have, so that a network's activations exceed 6 where weights do
# 0.1; far enough below 65504 for float16 codes that scale their loss by some thousands.
IMPULSE = 64


def bundle_data(reader, settings):
    """Return ({case: input, target, source}, training) for reference.write_bundle.

    `reader` reads the patches of the test split, `settings` is config["reference"].
    """
    x, target, sources = test_case(reader, settings["batch_size"])
    made = {
        "impulse": (*impulse_case(), "made: one impulse a sample"),
        "structured": (*structured_case(), "made: no symmetry in any axis"),
        "noise": (*noise_case(), "made: white Gaussian noise"),
    }
    cases = {"test": {"input": x, "target": target, "source": sources}}
    for name, (image, wanted, source) in made.items():
        cases[name] = {"input": image, "target": wanted, "source": source}
    batches, crops = training_batches(settings["steps"], settings["batch_size"])
    x, target = training_crops(reader, settings["crop_px"], crops)
    training = {"input": x, "target": target, "batches": batches}
    return cases, {**training, "learning_rate": float(settings["learning_rate"])}


def test_case(reader, batch_size):
    """Return (N, 1, S, S) input and target, and where each patch is from.

    The patches lie evenly over the split, so that several micrographs are among them.
    """
    patches = [_patch(reader, index) for index in _spread(reader.n_patches, batch_size)]
    sources = [[name, int(y), int(x)] for _, _, (name, y, x) in patches]
    return _stack([p[0] for p in patches]), _stack([p[1] for p in patches]), sources


def training_crops(reader, crop_px, count):
    """Return (count, 1, C, C) input and target: central crops of patches of the test split.

    C is crop_px, or the patch size where that is smaller.
    """
    side = min(crop_px, reader.patch_size_px)
    first = (reader.patch_size_px - side) // 2
    crop = slice(first, first + side)
    patches = [_patch(reader, index) for index in _spread(reader.n_patches, count)]
    return _stack([p[0][crop, crop] for p in patches]), _stack([p[1][crop, crop] for p in patches])


def training_batches(steps, batch_size):
    """Return [(first crop, crops)] of each step, and the number of crops.

    The batches cycle over crops whose number is no multiple of the batch size, so that each
    round ends in a smaller batch: a code that averages over the full size shows itself there.
    """
    full = max(2, batch_size)  # a batch of one patch has no smaller one
    crops = 2 * full + full // 2
    cycle = [(first, min(full, crops - first)) for first in range(0, crops, full)]
    return [cycle[step % len(cycle)] for step in range(steps)], crops


def impulse_case():
    """Return (2, 1, 21, 26) input and target: a positive impulse inside, a negative in a corner.

    The target is no constant: sums of equal terms have rounding errors that all point one way,
    which no honest code could be told from a wrong one by.
    """
    y, x = np.mgrid[0:21, 0:26].astype(np.float64)
    image = np.zeros((2, 1, 21, 26), np.float32)
    image[0, 0, 8, 5] = IMPULSE
    image[1, 0, 0, 25] = -IMPULSE
    return image, _stack([np.sin(0.8 * x + 1.9 * y), np.cos(2.3 * x - 0.6 * y)])


def structured_case():
    """Return (3, 1, 27, 37) input and target without any symmetry.

    Ramps of different slope in y and x, waves that run at an angle, a blob off the centre and a
    bright corner; another mixture in each sample.
    """
    y, x = np.mgrid[0:27, 0:37].astype(np.float64)
    images, targets = [], []
    for sample in range(3):
        wave = np.sin(0.9 * x + (0.35 + 0.2 * sample) * y + sample)
        fine = np.cos(2.1 * y - (1.3 - 0.4 * sample) * x)
        blob = np.exp(-((y - 7 - 5 * sample) ** 2 / 18 + (x - 27 + 7 * sample) ** 2 / 50))
        corner = (y < 4 + 3 * sample) & (x < 9 - 2 * sample)
        ramp = y / 27 - 2 * x / 37 + 0.3 * sample
        images.append(wave + 0.7 * fine + 2 * blob + corner + ramp)
        targets.append(0.8 * wave + 1.5 * blob - 0.5 * ramp + 0.2 * np.sin(0.5 * y * (sample + 1)))
    return _stack(images), _stack(targets)


def noise_case():
    """Return (2, 1, 32, 48) input and target of white Gaussian noise (PCG64, seed 0)."""
    noise = np.random.default_rng(0).standard_normal((2, 2, 1, 32, 48))
    return noise[0].astype(np.float32), noise[1].astype(np.float32)


def _spread(available, count):
    return [index * available // count for index in range(count)]


def _patch(reader, index):
    source, target = reader.read(index)
    for role, patch in (("input", source), ("target", target)):
        if not np.isfinite(patch).all():
            raise InputError(
                f"{role} patch {index} of the test split has pixels that are not finite",
                advice="run `clearice verify` on the dataset",
            )
    return source, target, reader.where(index)


def _stack(images):
    return np.ascontiguousarray(np.stack(images)[:, None], dtype=np.float32)
