"""Which events of Snakemake a person sees, and as which words."""

import contextlib
import os
import re
import time
import typing

from snakemake_interface_logger_plugins.common import LogEvent

from clearice.errors import one_line
from clearice.failures import reason_in_log, reason_of
from snakemake_logger_plugin_clearice.block import block, in_one_line
from snakemake_logger_plugin_clearice.dry_run import DryRun
from snakemake_logger_plugin_clearice.tally import Tally, exit_status_in
from snakemake_logger_plugin_clearice.words import counted, duration, in_lines

_PLAIN_LINE_EVERY_S = 60.0  # where nothing can be drawn anew
_DRAWN_EVERY_S = 0.2
# What Snakemake says of itself, or what is said here in other words.
_NOT_SHOWN = (
    *("None", "Assuming unrestricted shared filesystem", "Building DAG of jobs", "Using shell:"),
    *("Provided ", "Conda environments: ignored", "Singularity containers: ignored"),
    *("Group jobs: inactive", "Select jobs to execute", "Execute ", "Shutting down, this might"),
    *("Exiting because a job execution failed", "Elapsed time", "DAG of jobs will be updated"),
    *("Updating checkpoint dependencies", "Removing output files of failed", "Reasons:"),
    *("This was a dry-run", "The run involves checkpoint jobs", "Waiting at most"),
    *("Some jobs were triggered by provenance", "Rules with provenance triggered jobs"),
    "Trying to restart job",  # by a number; told where it starts again
    "WorkflowError:\nAt least one job did not complete successfully",
)
_SUBMITTED = re.compile(r"(Group )?[Jj]ob \S+ has been submitted")


class Failure(typing.NamedTuple):
    """A job that failed, why, and the log that says more."""

    jobid: int
    title: str
    reason: str
    log: str | None

    def __str__(self):
        """Return it as one line."""
        return f"{self.title}: {self.reason}" + (f"; log: {self.log}" if self.log else "")


class RunDisplay:
    """Shows one run, or one dry run, on a Screen. Not safe for threads: the caller locks.

    Every `now` is in seconds of one monotonic clock.
    """

    def __init__(self, screen, *, dry):
        self._screen, self._dry = screen, DryRun(screen) if dry else None
        self._tally, self._failures, self._untold, self._statuses = Tally(), [], [], {}
        self._began = self._last_line = None
        self._drawn, self._log, self._interrupted = 0.0, None, False
        self._workflow_error = None  # of Snakemake itself, not of a job
        self._handlers = {
            LogEvent.WORKFLOW_STARTED: self._workflow_started,
            LogEvent.RUN_INFO: self._planned,
            LogEvent.JOB_INFO: self._job_started,
            LogEvent.JOB_FINISHED: self._job_finished,
            LogEvent.PROGRESS: self._progress,
            LogEvent.JOB_ERROR: self._job_failed,
            LogEvent.GROUP_ERROR: self._group_failed,
            LogEvent.ERROR: self._error,
            None: self._message,
        }

    @property
    def is_running(self):
        """Whether time passes in which something may be drawn."""
        return self._began is not None and not self._dry

    def show(self, record, now):
        """Show one event of Snakemake."""
        handler = self._handlers.get(getattr(record, "event", None))
        if handler:
            handler(record, now)

    def tick(self, now):
        """Draw the block anew, or say once a minute how far the run is."""
        self._tell(now)
        self._tally.look(now)
        if self._screen.live:
            self._screen.draw(block(self._tally, self._screen, self._began, now))
            self._drawn = now
        elif now - self._last_line >= _PLAIN_LINE_EVERY_S and self._tally.active():
            self._line(in_one_line(self._tally, now), now)

    def end(self, now):
        """Take the block away, and say in the last line how the run ended."""
        self._screen.draw([])
        style = self._screen.style
        self._tell_ended(now, at_the_end=True)
        if self._dry:
            self._dry.end()
        elif self._interrupted:
            self._screen.print(style("interrupted; the same command goes on from here", "yellow"))
        elif self._failures:
            if len(self._failures) > 1:
                self._tell(now)
            first, *others = self._failures
            first = first._replace(log=first.log or self._log)
            more = f"; {counted(len(others), 'more job')} failed: {self._log}" if others else ""
            self._screen.print(style(f"error: {first}{more}", "red"))
        elif self._workflow_error and self._tally.total:
            where = f"; log: {self._log}" if self._log else ""
            self._screen.print(style(f"error: {self._workflow_error}{where}", "red"))
        elif self._tally.done and self._tally.done == self._tally.total:
            said = f"{counted(self._tally.done, 'job')} in {duration(now - self._began)}"
            self._screen.print(self._mark(said))

    def _workflow_started(self, _record, now):
        self._began = self._last_line = now

    def _planned(self, record, now):
        if self._dry:
            self._dry.plan(record.stats)
            return
        self._tally.plan(record.stats)
        rules = [f"{count:,} {rule}" for rule, count in record.stats.items() if rule != "total"]
        said = [f"{counted(self._tally.total, 'job')}: {rules[0]}", *rules[1:]]
        width = self._screen.size[0] if self._screen.live else None
        self._line(in_lines(said, width), now)

    def _job_started(self, record, now):
        if self._dry:
            self._dry.add(record.rule_name, record.reason)
            return
        self._tell(now)
        self._forget_failures(record.jobid, now)
        name = " ".join(str(value) for value in record.wildcards.values())
        log = record.log[0] if record.log else None
        kind = {"local": record.local, "works": bool(record.output)}
        self._tally.start(record.jobid, record.rule_name, name, log, now, **kind)

    def _job_finished(self, record, now):
        self._tally.finish(record.job_id, now)

    def _tell_ended(self, now, *, at_the_end=False):
        for rule in self._tally.ended(at_the_end=at_the_end):
            spent = duration(rule.last_end - rule.first_start)
            self._line(self._mark(f"{rule.name}: {counted(rule.done, 'job')} in {spent}"), now)

    def _progress(self, record, now):
        self._tally.advance(record.done, record.total)
        self._tell_ended(now)
        if self._screen.live and now - self._drawn > _DRAWN_EVERY_S:
            self.tick(now)

    def _job_failed(self, record, now):
        if getattr(record, "indent", False):  # of a group, which said so
            return
        self._add_failure(record.jobid, record.rule_name, record.log, now, record.rule_msg)

    def _group_failed(self, record, now):
        before = len(self._failures)
        members = record.job_error_info
        for member in members:
            self._tally.fail(member["jobid"])
            if reason_in_log(_first(member["log"])):
                self._add_failure(member["jobid"], member["rule_name"], member["log"], now)
        if len(self._failures) == before and members:
            rules = " and ".join(sorted({member["rule_name"] for member in members}))
            title = f"a group of {counted(len(members), 'job')} ({rules})"
            log = _first(record.aux_logs)
            self._fail(Failure(members[0]["jobid"], title, reason_of(None), log), now)

    def _add_failure(self, jobid, rule, logs, now, executor_says=None):
        job, log = self._tally.fail(jobid), _first(logs)
        status = self._status_of(rule)
        reason = reason_in_log(log) or one_line(executor_says or "") or reason_of(None, status)
        if len(logs) > 1 and not reason_in_log(log):
            log = logs[-1]  # that of the cluster: the job's own says nothing
        title = job.title if job else rule
        failure = Failure(jobid, title, reason, log)
        # A job on this machine has said on this terminal what is wrong, unless nobody could.
        says_itself = job and job.local and reason_in_log(log)
        self._fail(failure, now, quietly=says_itself)

    def _status_of(self, rule):
        """Return the exit status of a rule's script, None if it is not known.

        A workflow that uses ours as a module may put a prefix before the names of our rules.
        """
        named = [script for script in self._statuses if rule.endswith(script)]
        return self._statuses.pop(max(named, key=len)) if named else None

    def _fail(self, failure, now, *, quietly=False):
        self._failures.append(failure)
        if not quietly:
            self._untold.append(failure)

    def _tell(self, now):
        """Say which jobs failed; later, for the last line may be all that is to be said."""
        for failure in self._untold:
            self._line(self._screen.style(f"failed: {failure}", "red"), now)
        self._untold.clear()

    def _error(self, record, now):
        message = record.getMessage()
        script, status = exit_status_in(message)
        if script and status is not None:
            self._statuses[script] = status
        elif not message.startswith(_NOT_SHOWN):
            self._workflow_error = self._workflow_error or one_line(message)
            self._line(self._screen.style(message.strip(), "red"), now)

    def _message(self, record, now):
        message = record.getMessage().strip()
        if message.startswith("Terminating processes on user request"):
            self._interrupted = True
            self._line("stopping: the jobs write what they continue from", now)
        elif found := re.match(r"Complete log\(s\): (.*)", message):
            self._log = _short(found[1])
        elif message.startswith("Nothing to be done"):
            self._screen.print(message)
        elif message and not (message.startswith(_NOT_SHOWN) or _SUBMITTED.match(message)):
            style = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}.get(record.levelname)
            self._line(self._screen.style(message, style) if style else message, now)

    def _forget_failures(self, jobid, now):
        """A job that starts again, alone or in its group, has not failed."""
        for failure in [failure for failure in self._failures if failure.jobid == jobid]:
            self._failures.remove(failure)
            self._line(f"tried again: {failure.title}", now)

    def _line(self, text, now):
        """Print a line; in a log with the time of the day."""
        self._last_line = now
        if not self._screen.live and not self._dry and self._began is not None:
            text = f"{time.strftime('%H:%M:%S')}  {text}"
        self._screen.print(text)

    def _mark(self, text):
        mark = "✓ " if self._screen.unicode else "done: "
        return self._screen.style(mark, "green") + text


def _first(logs):
    return logs[0] if logs else None


def _short(path):
    with contextlib.suppress(ValueError, OSError):
        path = os.path.relpath(path)
    return path
