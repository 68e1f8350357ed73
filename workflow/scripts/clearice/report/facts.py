"""What the steps left behind, read as plain values for the report.

Micrographs may be thousands: their metrics are read one by one, and only sums are kept.
"""

import math

import numpy as np

from clearice.files import read_json
from clearice.tsv import number, read_table

_NUMBERS = ("patches", "height_px", "width_px", "pixel_size_angstrom")


def read_micrographs(path):
    """Return the rows of micrographs.tsv as dicts: rejected ones first, numbers as numbers."""
    rows = read_table(path)
    for row in rows:
        for key in _NUMBERS:
            row[key] = number(row[key])
        row["rejected"] = row["status"] != "ok"
    return sorted(rows, key=lambda row: not row["rejected"])  # stable: by name within each


def read_history(path):
    """Return the rows of history.tsv as dicts of numbers, None where a field is empty.

    A noise floor that a loss went below is taken out: it is wrong, because the halves differ in
    more than independent noise.
    """
    rows = [{key: number(value) for key, value in row.items()} for row in read_table(path)]
    for split in ("train", "test"):
        floor, losses = f"noise_floor_{split}", [row[f"{split}_loss"] for row in rows]
        least = min((loss for loss in losses if loss is not None), default=None)
        for row in rows:
            if None not in (least, row[floor]) and least < row[floor]:
                row[floor] = None
    return rows


class DenoisedRecords:
    """The metrics of all denoised micrographs: one small dict each, mean curves of a split.

    `by_name` maps a micrograph to {"files", "seconds", "pairs": {pair: {mse, psnr_db,
    correlation}}}; curves are averaged over held-out micrographs, or over all where none of
    those has any, and only over records with the same windows.
    """

    def __init__(self, paths, splits):
        """`paths` are the .json files; `splits` maps a micrograph to train or test."""
        self.by_name = {}
        self._sums = {}  # (split, window_px) -> {pair: [sums, counts]}
        self._frequency = {}
        for path in paths:
            record = read_json(path)
            name = record["micrograph"]
            self._add_curves(record, splits.get(name, ""))
            self.by_name[name] = {
                **{key: record[key] for key in ("files", "seconds", "device")},
                "pairs": {
                    pair: {key: value for key, value in values.items() if key != "frc"}
                    for pair, values in record["pairs"].items()
                },
            }
        self._splits = splits

    def _add_curves(self, record, split):
        self._frequency[record["window_px"]] = record["frequency_per_px"]
        sums = self._sums.setdefault((split, record["window_px"]), {})
        for pair, values in record["pairs"].items():
            curve = np.array([math.nan if v is None else v for v in values["frc"]], dtype=float)
            total = sums.setdefault(pair, [np.zeros(len(curve)), np.zeros(len(curve)), 0])
            total[0] += np.nan_to_num(curve)
            total[1] += np.isfinite(curve)
            total[2] += 1

    def split_of(self, name):
        """Return train, test, or nothing for an unknown micrograph."""
        return self._splits.get(name, "")

    def judged(self, pair):
        """Return the values of a pair over the micrographs it is judged by: held-out if any."""
        found = {n: r["pairs"][pair] for n, r in self.by_name.items() if pair in r["pairs"]}
        tested = {name: v for name, v in found.items() if self._splits.get(name) == "test"}
        return tested or found

    def curves(self):
        """Return {"frequency_per_px", "micrographs", "split", pair: mean curve}, or None.

        Where micrographs differ in window (some are very small) the commonest one counts.
        """
        for split in ("test", "train", ""):
            groups = {
                window: sums for (s, window), sums in self._sums.items() if s == split and sums
            }
            if groups:
                window = max(groups, key=lambda w: max(total[2] for total in groups[w].values()))
                curves = {
                    pair: [s / c if c else None for s, c in zip(sums, counts, strict=True)]
                    for pair, (sums, counts, _) in groups[window].items()
                }
                count = max(total[2] for total in groups[window].values())
                frequency = self._frequency[window]
                return {
                    "frequency_per_px": frequency,
                    "micrographs": count,
                    "split": split,
                    "window_px": window,
                    **curves,
                }
        return None


def example_names(rows, available, count):
    """Return up to `count` names to show, held-out micrographs first: no network saw those."""
    used = [row for row in rows if not row["rejected"] and row["micrograph"] in available]
    used.sort(key=lambda row: row["split"] != "test")
    return [row["micrograph"] for row in used[:count]]


def versions():
    """Return the versions of what made the report, by package."""
    import importlib.metadata
    import platform

    from clearice import __version__

    found = {"clearice": __version__, "python": platform.python_version()}
    for package in ("numpy", "torch", "matplotlib", "snakemake"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
