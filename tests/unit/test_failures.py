"""Why a job failed, in one line."""

import pytest

from clearice.failures import reason_in_log, reason_of

TRACEBACK = """some line
Traceback (most recent call last):
  File "x.py", line 1, in <module>
    f(KeyError: 1)
ValueError: two\tmany
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("read a.mrc\nerror: a.mrc: truncated; copy it again\n", "a.mrc: truncated; copy it again"),
        ("error: first\nerror: last\n", "last"),
        (TRACEBACK, "ValueError: two many (the log has the traceback)"),
        (
            TRACEBACK.replace("ValueError: two\tmany\n", ""),
            "an exception (the log has the traceback)",
        ),
        ("epoch 1 of 3\n", None),
        ("", None),
    ],
)
def test_the_reason_in_a_log(tmp_path, text, reason):
    log = tmp_path / "job.log"
    log.write_text(text)
    assert reason_in_log(log) == reason
    assert reason_in_log(None) is reason_in_log(tmp_path / "none.log") is None


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (-9, "it was killed (SIGKILL), as the system does when memory is short"),
        (137, "it was killed (SIGKILL), as the system does when memory is short"),
        (-11, "it was ended by SIGSEGV"),
        (143, "it was ended by SIGTERM"),
        (3, "it ended with exit status 3 and did not say why"),
        (None, "it ended without saying why"),
    ],
)
def test_the_reason_of_a_job_that_said_nothing(status, reason):
    assert reason_of(None, status) == reason


def test_only_the_end_of_a_long_log_is_read(tmp_path):
    log = tmp_path / "job.log"
    log.write_bytes(b"error: long ago\n" + b"x" * 70_000 + b"\nerror: \xff now\n")
    assert reason_in_log(log) == "� now"
