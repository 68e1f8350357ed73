"""What is looked at in every set, micrograph and pair: one entry per check, and its threshold.

docs/checks.md is this table in words; a test holds the two together. The code that measures a
value compares it with the entry's threshold and says the entry's message.
"""

import dataclasses
import re

WARNING, REJECTED, STOPS = "warning", "rejected", "stops the run"


@dataclasses.dataclass(frozen=True)
class Check:
    """One check.

    `name` is its key in the record of a shard (`checks`), `subject` what is measured, `threshold`
    the value from which on it speaks (None where it is a yes or a no), `outcome` one of WARNING,
    REJECTED and STOPS, `message` a template of str.format with the measured values, `reason`
    why the threshold is where it is.
    """

    name: str
    subject: str
    threshold: float | None
    outcome: str
    message: str
    reason: str


SHARED_NOISE = Check(
    "shared_noise",
    "correlation of the halves above half the Nyquist frequency",
    0.1,
    WARNING,
    "the noise of the halves is not independent: they correlate at {value:.3f} above half the "
    "Nyquist frequency (more than {threshold}); the network will keep what they share",
    "64 tiles of 256 px measure it to about 0.001; independent frames give 0",
)
ONE_IMAGE = Check(
    "one_image",
    "correlation of the halves above half the Nyquist frequency",
    0.99,
    REJECTED,
    "both halves are the same image",
    "two rounded or rescaled copies of one image correlate at 0.99 and more",
)

CHECKS = (SHARED_NOISE, ONE_IMAGE)


def table(checks=CHECKS):
    """Return the rows of docs/checks.md, Markdown, one per check."""
    rows = []
    for check in checks:
        threshold = "" if check.threshold is None else f"{check.threshold:g}"
        message = re.sub(r"{.*?}", "...", check.message)
        cells = (f"`{check.name}`", check.subject, threshold, check.outcome, message)
        rows.append("| " + " | ".join((*cells, check.reason)) + " |")
    return "\n".join(rows)
