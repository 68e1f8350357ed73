"""The targets of the system that clearice goes back to, and what a training reached beside them.

Source: docs/fortran.md, "The targets of the original": simple_cnn on EMPIAR-10025, Adam at 1e-3,
batches of 4 x 1024 x 1024 px, an RTX 4060; its Python did 12.7 batches/s, an epoch in 10 minutes.
"""

from itertools import pairwise
from statistics import median

ARCHITECTURE = "simple_cnn"
DEVICE = "NVIDIA RTX 4060"
BATCH_SIZE, PATCH_SIZE_PX = 4, 1024
BATCH_PX = BATCH_SIZE * PATCH_SIZE_PX**2
ORIGINAL = {
    "batches_per_s": [12, 15],
    "loss_after_an_epoch": [0.06, 0.08],
    "gpu_memory_gb": 3,
    "minutes_per_epoch": [8, 12],
    "patches_per_epoch": 4 * 12.7 * 60 * 10,  # at the 12.7 batches/s and 10 minutes of its Python
}
FIRST_LOSS = 0.44  # it fell from there to 0.07 within the first epoch
_TARGETS = {
    "halves": "another noisy half",
    "pixel_halves": "another noisy half",
    "synthetic_noise": "the micrograph, with noise added to the input",
    "lowpass": "the micrograph after a Gaussian",
}


def beside_original(training, rows):
    """Return rows {target, wanted, here, in_its_batches, remark}: texts, "" where nothing is known.

    `training` is the record of ARCHITECTURE, `rows` those of its history. `in_its_batches` scales
    to the original's batches and epochs by the number of pixels, as the time of a small network
    goes.
    """
    settings, size = training["settings"], training["patch_size_px"]
    own = f"a batch here is {settings['batch_size']} x {size} x {size} px"
    device = f"here {training['device']}, there {DEVICE}"
    rate = _median(row["batches_per_s"] for row in rows)
    scaled = rate and rate * settings["batch_size"] * size**2 / BATCH_PX
    epoch_min = scaled and ORIGINAL["patches_per_epoch"] / BATCH_SIZE / scaled / 60
    gpu_mib = max((row["peak_device_mib"] or 0 for row in rows), default=0)
    there, here = round(ORIGINAL["patches_per_epoch"]), training["n_patches"]["train"]
    least, longest = ORIGINAL["batches_per_s"][0], ORIGINAL["minutes_per_epoch"][1]
    return [
        {
            "target": "batches per second",
            "wanted": _range("batches_per_s"),
            "here": _number(rate),
            "in_its_batches": _number(scaled),
            "remark": _verdict(scaled and scaled >= least) + f"{own}; {device}",
        },
        {
            "target": "loss after an epoch",
            "wanted": f"{_range('loss_after_an_epoch')}, from {FIRST_LOSS}",
            "here": _number(rows[0]["train_loss"]),
            "in_its_batches": "",
            "remark": "not comparable: a loss has the scale of its target, and what the original's "
            f"was is not known in enough detail; here it is {_TARGETS[training['target_kind']]}",
        },
        {
            "target": "GPU memory",
            "wanted": f"under {ORIGINAL['gpu_memory_gb']} GB",
            "here": f"{gpu_mib * 2**20 / 1e9:.2f} GB" if gpu_mib else "",
            "in_its_batches": "",
            "remark": own if gpu_mib else "no GPU was used",
        },
        {
            "target": "minutes per epoch",
            "wanted": _range("minutes_per_epoch"),
            "here": _number(_minutes_per_epoch(rows)),
            "in_its_batches": _number(epoch_min),
            "remark": _verdict(epoch_min and epoch_min <= longest)
            + f"an epoch there is {there:,} patches, here {here:,}; {device}",
        },
    ]


def _verdict(met):
    """Return "met: " or "not met: "; nothing where there is no value to compare."""
    return "" if met is None else "met: " if met else "not met: "


def _minutes_per_epoch(rows):
    """Return the median minutes of an epoch, its test included."""
    ends = [0.0] + [row["seconds"] or 0.0 for row in rows]
    return _median(after - before for before, after in pairwise(ends)) / 60


def _median(values):
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _range(name):
    least, most = ORIGINAL[name]
    return f"{least:g} to {most:g}"


def _number(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
