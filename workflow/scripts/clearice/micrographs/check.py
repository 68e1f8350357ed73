"""One check: what is looked at, where the line is, and what happens (checks.py has all)."""

import dataclasses

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
