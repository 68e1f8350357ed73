"""What the validation measured, as the report shows it: values per micrograph, curves as means."""

import math
from typing import NamedTuple

import numpy as np

from clearice.files import read_result
from clearice.report.patch_losses import worst_losses
from clearice.validation.summary import without_doubted


class Measure(NamedTuple):
    """A measure of quality: its words, where in a record it is, what is better, and its form."""

    words: str
    judge: str  # the key of a record
    key: str  # in what stands there; and the beginning of the names in a summary
    better: str  # higher or lower
    form: str


MEASURES = tuple(
    Measure(*row)
    for row in (
        ("signal-to-noise ratio against the truth (dB)", "truth", "snr_db", "higher", ".2f"),
        ("structural similarity with the truth", "truth", "ssim", "higher", ".3f"),
        ("particles found, average precision", "picking", "average_precision", "higher", ".3f"),
        ("correlation with the raw other half", "target", "correlation", "higher", ".3f"),
        (
            "error above the noise floor, against the raw other half",
            *("target", "excess", "lower", ".3g"),
        ),
    )
)
EVIDENCE_COLUMNS = ("measure", "better", "raw", "gaussian", "wiener", "denoised")
_KEPT = ("files", "target", "truth", "picking", "null_tests", "doubts")


class ValidationRecords:
    """The records of all held-out micrographs, and their summary.

    `by_name` maps a micrograph to what _KEPT names, without curves, and to `losses`, what
    patch_losses.worst_losses says of its patches. `summary` is what
    sum_up_validation wrote.
    """

    def __init__(self, paths, summary):
        """`paths` are the .json files of the micrographs, `summary` that of the summary."""
        self.summary = read_result(summary)
        self.by_name = {}
        self._sums = {}  # window_px -> {pair: [sums, counts, records]}
        self._frequency = {}
        for path in paths:
            record = without_doubted(read_result(path))
            target = record["target"] or {}
            curves = {**record["frc"], "transfer": target.pop("transfer", None)}
            self._add_curves(record, {name: c for name, c in curves.items() if c})
            kept = {key: record[key] for key in _KEPT}
            self.by_name[record["micrograph"]] = kept | {"losses": worst_losses(record["patches"])}

    def _add_curves(self, record, curves):
        self._frequency[record["window_px"]] = record["frequency_per_px"]
        sums = self._sums.setdefault(record["window_px"], {})
        for pair, values in curves.items():
            curve = np.array([math.nan if v is None else v for v in values], dtype=float)
            total = sums.setdefault(pair, [np.zeros(len(curve)), np.zeros(len(curve)), 0])
            total[0] += np.nan_to_num(curve)
            total[1] += np.isfinite(curve)
            total[2] += 1

    def curves(self):
        """Return {"frequency_per_px", "micrographs", "window_px", pair: mean curve}, or None.

        Besides the pairs of images there may be "transfer". Where micrographs differ in window
        the commonest one counts.
        """
        groups = {window: sums for window, sums in self._sums.items() if sums}
        if not groups:
            return None
        counts = {w: max(total[2] for total in sums.values()) for w, sums in groups.items()}
        window = max(counts, key=counts.get)
        means = {
            pair: [s / c if c else None for s, c in zip(sums, terms, strict=True)]
            for pair, (sums, terms, _) in groups[window].items()
        }
        return {
            "frequency_per_px": self._frequency[window],
            "micrographs": counts[window],
            "window_px": window,
            **means,
        }

    def evidence_rows(self):
        """Return rows {measure, better, raw, gaussian, wiener, denoised, form} of medians or None.

        `better` is higher or lower.
        """
        values, rows = self.summary["values"], []
        for measure in MEASURES:
            found = {
                name: (values.get(f"{measure.key}_{name}") or {}).get("median")
                for name in ("raw", "gaussian", "wiener", "denoised")
            }
            if found["denoised"] is not None:
                about = {"measure": measure.words, "better": measure.better, "form": measure.form}
                rows.append(about | found)
        return rows


def gain_of(record):
    """Return the gain over the best linear filter in dB that a micrograph's record tells, or None.

    Against the truth; where that tells none, against the raw other half.
    """
    gains = [(record.get(judge) or {}).get("gain_over_linear_db") for judge in ("truth", "target")]
    return next((gain for gain in gains if gain is not None), None)
