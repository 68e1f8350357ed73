"""What a training leaves behind beside its model: history.tsv."""

import datetime

from clearice.files import write_text
from clearice.tsv import number, read_table, table_text

_TEXTS = ("dataset_xxh3", "ended")
COLUMNS = (
    "stage",
    "epoch",
    "step",
    "train_loss",
    "test_loss",
    "batch_loss",
    "learning_rate",
    "batches_per_s",
    "device_wait_fraction",
    "seconds",
    "peak_host_mib",
    "peak_device_mib",
    "noise_floor_train",
    "noise_floor_test",
    "dataset_xxh3",
    "train_micrographs",
    "train_patches",
    "ended",
)
# train_loss and test_loss are of the weights at the end of the epoch, over all pixels of a split;
# batch_loss is the mean over the epoch's batches, each before its step.


def write_history(path, rows):
    """Write `rows` (dicts with the keys COLUMNS) as tab-separated text; None is an empty field."""
    write_text(path, table_text(COLUMNS, rows))


def read_history(path):
    """Return the rows of history.tsv as dicts, as write_history takes them."""
    return [
        {key: (value or None) if key in _TEXTS else number(value) for key, value in row.items()}
        for row in read_table(path)
    ]


def utc_now():
    """Return the time of day as text, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class EpochTotals:
    """Sums over the steps of an epoch: losses weighted by patches, seconds, seconds waited."""

    def __init__(self, loss=0.0, patches=0, seconds=0.0, waited_s=0.0):
        self.loss, self.patches, self.seconds, self.waited_s = loss, patches, seconds, waited_s

    def add_loss(self, loss, patches):
        """Add the mean loss of a batch of that number of patches."""
        self.loss += loss * patches
        self.patches += patches

    def rates(self, batch_size):
        """Return the columns that follow from the sums; None where no step was taken."""
        if not self.patches:
            return dict.fromkeys(("batch_loss", "batches_per_s", "device_wait_fraction"))
        return {
            "batch_loss": self.loss / self.patches,
            "batches_per_s": self.patches / batch_size / self.seconds,
            "device_wait_fraction": min(1.0, self.waited_s / self.seconds),
        }
