"""What runs, what is done and how long it will still take, from the events of Snakemake.

Times are seconds of one monotonic clock that the caller reads.
"""

import dataclasses
import re

from clearice.job_progress import JobProgress, read_progress

_FILES_READ = 32  # progress files of running jobs, a second


@dataclasses.dataclass
class Job:
    """A job that runs, or waits in the queue of a cluster."""

    rule: str
    name: str  # the values of its wildcards
    log: str | None
    local: bool
    started: float
    stale: JobProgress | None = None  # what a progress file said before this job could
    progress: JobProgress | None = None
    heard: float = 0.0  # when that was read first

    @property
    def title(self):
        """Rule and wildcards, as people name a job."""
        return f"{self.rule} {self.name}".strip()

    def left_s(self, now):
        """Return the seconds left that it speaks of, None if it does not."""
        if self.progress is None or self.progress.left_s is None:
            return None
        return max(0.0, self.progress.left_s - (now - self.heard))


@dataclasses.dataclass
class Rule:
    """The jobs of one rule."""

    name: str
    total: int = 0
    started: int = 0
    done: int = 0
    first_start: float | None = None
    last_end: float | None = None
    worked: bool = False  # it makes files: not only the name of a target
    planned: bool = False  # Snakemake said how many jobs; those after a checkpoint come unannounced
    told: bool = False
    running: dict = dataclasses.field(default_factory=dict)  # id -> Job

    @property
    def fraction(self):
        """Of its jobs that are done, those counted that are on their way."""
        on_the_way = sum(job.progress.fraction for job in self.running.values() if job.progress)
        return min(1.0, (self.done + on_the_way) / self.total) if self.total else 0.0

    def left_s(self, now):
        """Return seconds that its jobs still take at today's pace, None while nobody knows."""
        waiting = self.total - self.done - len(self.running)
        left = [job.left_s(now) for job in self.running.values()]
        if waiting <= 0 and left and None not in left:
            return max(left)
        if self.last_end is None:
            return None
        spent = self.last_end - self.first_start
        left_s = spent * (self.total - self.done) / self.done - (now - self.last_end)
        return left_s if left_s > 0 else None  # slower than its pace: we do not know


class Tally:
    """Counts the jobs of a run."""

    def __init__(self):
        self.rules, self.jobs = {}, {}
        self.total = self.done = 0

    def plan(self, counts):
        """Take in rule -> number of jobs, as Snakemake announces them."""
        self.total = counts.get("total", sum(counts.values()))
        for name, count in counts.items():
            if name != "total":
                rule = self._rule(name)
                rule.total, rule.planned = count, True

    def start(self, jobid, rule, name, log, now, *, local=True, works=True):
        """A job starts, or is sent to a cluster; `works`: it makes files."""
        job = Job(rule, name, log, local, now, read_progress(log) if log else None)
        found = self._rule(rule)
        found.first_start = now if found.first_start is None else found.first_start
        if jobid not in self.jobs:  # not one that is tried again
            found.started += 1
            if found.started > found.total:
                found.total, found.told = found.started, False
        found.worked = found.worked or works
        found.running[jobid] = self.jobs[jobid] = job

    def finish(self, jobid, now):
        """A job has ended well."""
        if jobid not in self.jobs:
            return
        rule = self.rules[self.jobs[jobid].rule]
        if rule.running.pop(jobid, None) is not None:
            rule.done, rule.last_end = rule.done + 1, now

    def is_known(self, rule):
        """Say whether the number of jobs of a rule is known, not only that of those that began."""
        return rule.planned or self.total <= sum(one.total for one in self.rules.values())

    def ended(self, *, at_the_end=False):
        """Return the rules whose jobs are all done, each once; where nobody knows, at the end."""
        found = [
            rule
            for rule in self.rules.values()
            if rule.done == rule.total > 0 and not rule.told and (at_the_end or self.is_known(rule))
        ]
        for rule in found:
            rule.told = True
        return [rule for rule in found if rule.worked]

    def fail(self, jobid):
        """A job has failed; return it, None if it is not known."""
        job = self.jobs.get(jobid)
        if job:
            self.rules[job.rule].running.pop(jobid, None)
        return job

    def advance(self, done, total):
        """Take in how many jobs Snakemake counts; after a checkpoint there may be more."""
        self.done, self.total = done, total

    def active(self):
        """Return the rules that have running jobs, in the order in which they started."""
        found = [rule for rule in self.rules.values() if rule.running]
        return sorted(found, key=lambda rule: rule.first_start)

    def look(self, now):
        """Read what running jobs say of themselves."""
        running = [job for rule in self.active() for job in rule.running.values() if job.log]
        for job in running[:_FILES_READ]:
            said = read_progress(job.log)
            if said and said not in (job.stale, job.progress):
                job.progress, job.heard = said, now

    def _rule(self, name):
        return self.rules.setdefault(name, Rule(name))


def exit_status_in(message):
    """Return (script, status) that Snakemake's words on a failed job name; None for what is not.

    The status is -N where signal N ended the process.
    """
    script = re.search(r"(?:tmp[^./\s']*\.|Command ')([A-Za-z_]+)\.py", message)
    status = None
    if found := re.search(r"died with <Signals\.\w+: (\d+)>", message):
        status = -int(found[1])
    elif found := re.search(r"non-zero exit (?:status|code) (\d+)", message):
        status = int(found[1])
    return script and script[1], status
