"""What the trainings are: network, settings, device, versions, speed, memory, losses."""

import json
import math
import struct
from statistics import median

from clearice.errors import InputError
from clearice.files import open_regular
from clearice.model.files import MODEL
from clearice.report.documents import Document, Part, facts
from clearice.report.words import duration, memory, optional

FILE = "baseline.md"
_EPOCHS = 60  # rows of a table of losses; of more, some at equal distances
_HEADER_BYTES = 1 << 20  # of a model file; ours are a few thousand


def baseline(results):
    """Return the Document on the trainings of `results` (results.Results)."""
    parts = []
    for name, record in results.trainings.items():
        rows = results.histories[name]
        parts.append(_training(name, record, rows, results.folder / "model" / name / MODEL))
        parts += _losses(name, rows)
    return Document("Training baseline", FILE, parts or [Part("Nothing was trained")])


def _training(name, record, history, model):
    settings = record["settings"]
    parameters, n_bytes = model_size(model)
    speeds = [row["batches_per_s"] for row in history if row["batches_per_s"] is not None]
    waits = [r["device_wait_fraction"] for r in history if r["device_wait_fraction"] is not None]
    devices = f" x {record['devices']}" if record["devices"] > 1 else ""
    last = record["last_epoch"]
    rows = [
        ("parameters", parameters and f"{parameters:,}"),
        ("model file", n_bytes and f"{n_bytes:,} bytes"),
        ("device", f"{record['device']}{devices}"),
        ("threads", record.get("threads")),
        ("versions", _versions(record)),
        ("optimizer", f"{settings['optimizer']}, learning rate {settings['learning_rate']:g}"),
        ("batch", f"{settings['batch_size']} patches of {record['patch_size_px']} px"),
        ("precision", settings["precision"]),
        ("planes", record.get("planes")),
        ("target", record["target_kind"]),
        ("weights", "pretrained, kept" if record["kept_pretrained"] else None),
        ("epochs", last["epoch"]),
        ("speed", f"{median(speeds):.1f} batches/s" if speeds else None),
        ("waiting for data", f"{100 * median(waits):.1f} % of the time" if waits else None),
        ("memory of the process", _peak(history, "peak_host_mib")),
        ("memory of the GPU", _peak(history, "peak_device_mib")),
        ("time", duration(record["seconds"])),
        ("training loss", optional(last["train_loss"])),
        ("test loss", optional(last["test_loss"])),
        ("noise floor, test", _number(history[-1]["noise_floor_test"]) if history else None),
    ]
    return facts(name, rows)


def _versions(record):
    cudnn = f", cuDNN {record['cudnn']}" if record.get("cudnn") else ""
    return f"PyTorch {record['torch']}{cudnn}, Python {record['python']}"


def _peak(history, key):
    peaks = [row[key] for row in history if row[key] is not None]
    return memory(max(peaks)) if peaks else None


def _number(value):
    return None if value is None else f"{value:.4g}"


def _losses(name, history):
    """Yield the Part of the losses; of a long history the first, the last, and some between."""
    if not history:
        return
    step = -(-len(history) // _EPOCHS)
    shown = [row for i, row in enumerate(history) if i % step == 0 or row is history[-1]]
    keys = ("train_loss", "test_loss", "noise_floor_test", "learning_rate")
    rows = tuple((f"{row['epoch']}", *(optional(row[key]) for key in keys)) for row in shown)
    words = ("Mean squared error per pixel, in variances of the input, after the epoch.",)
    if step > 1:
        words += (f"Every {step}th of {len(history):,} epochs and the last; all: history.tsv.",)
    columns = ("epoch", "training loss", "test loss", "noise floor", "learning rate")
    yield Part(f"{name}: losses", words, columns, rows, numbers=(0, 1, 2, 3, 4))


def model_size(path):
    """Return (parameters, bytes) of a model file (safetensors), None where it can't be read."""
    try:
        with open_regular(path) as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, _HEADER_BYTES)))
            tensors = [value for key, value in header.items() if key != "__metadata__"]
            return sum(math.prod(tensor["shape"]) for tensor in tensors), path.stat().st_size
    except (InputError, OSError, ValueError, LookupError, TypeError, AttributeError, struct.error):
        return None, None
