"""Why a job failed, in one line, from what its log and its process left."""

import re
import signal

from clearice.errors import one_line
from clearice.files import regular_bytes

_LAST_BYTES = 1 << 16  # of a log
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)(: .*)?$")
_TRACEBACK = "Traceback (most recent call last):"


def reason_in_log(log):
    """Return what the log file of a failed job says of the reason; None if it says nothing.

    What a person can fix stands there as `error: ...`; a traceback is our mistake.
    """
    lines = _last_lines(log)
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if said:
        return one_line(said[-1])
    if _TRACEBACK in lines:
        raised = [line for line in lines if _EXCEPTION.match(line)]
        return one_line(f"{raised[-1] if raised else 'an exception'} (the log has the traceback)")
    return None


def _last_lines(log):
    if log is None:
        return []
    try:
        text = regular_bytes(log)[-_LAST_BYTES:]
    except (OSError, ValueError):
        return []
    return text.decode(errors="replace").splitlines()


def reason_of(log, status=None):
    """Return why a job failed: what its `log` (None: it has none) says, or what its end tells.

    `status` is the exit status of its process, -N for signal N, None where nobody knows it.
    """
    return reason_in_log(log) or _reason_of_status(status)


def _reason_of_status(status):
    if status is None:
        return "it ended without saying why"
    number = -status if status < 0 else status - 128 if status > 128 else None
    names = {one.value: one.name for one in signal.Signals}
    if number == signal.SIGKILL:
        return "it was killed (SIGKILL), as the system does when memory is short"
    if number in names:
        return f"it was ended by {names[number]}"
    return f"it ended with exit status {status} and did not say why"
