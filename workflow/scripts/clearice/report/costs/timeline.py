"""What ran when: the jobs of a run as bars on lanes, long pauses cut out.

A benchmark file is written when its job ends, so its age and its seconds give an interval.
"""

import dataclasses
import math

from clearice.report.costs.jobs import FLOW

TIMELINE_COLUMNS = ("step", "from_s", "to_s", "jobs")
_SHORTEST_PAUSE_S = 60  # that is cut out
_PAUSE_OF_BUSY = 1 / 20
_BARS = 400  # a lane has room for: bars that are nearer than one of these are joined
_COPIED_S = 2  # ends that lie within that are the times of a copy


@dataclasses.dataclass(frozen=True)
class Timeline:
    """When steps were at work, in seconds of a clock that stands still in long pauses.

    lanes: step -> [(from_s, to_s, jobs)]. length_s: of all lanes. pauses: [(at_s, seconds)], what
    was cut out and where. busy_s: time in which a job ran. started, ended: seconds since 1970.
    """

    lanes: dict[str, list[tuple[float, float, int]]]
    length_s: float
    pauses: list[tuple[float, float]]
    busy_s: float
    started: float
    ended: float

    def rows(self):
        """Yield one row per bar, for the table beside the figure."""
        for step, bars in self.lanes.items():
            for bar in bars:
                yield dict(zip(TIMELINE_COLUMNS, (step, *bar), strict=True))


def busy_intervals(jobs):
    """Return [(start, end)], in seconds since 1970, in which at least one job ran."""
    found = []
    for start, end in sorted((job.started, job.ended) for job in jobs):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def busy_seconds(jobs):
    """Return the wall time in which at least one job ran; None where the times were lost.

    The union of the intervals leaves out the nights between an interrupted run and the next.
    """
    return None if times_lost(jobs) else sum(end - start for start, end in busy_intervals(jobs))


def times_lost(jobs):
    """Say whether a copy of the results gave all files the time of the copy.

    Jobs of several steps wait for each other: they don't end within two seconds of each other if
    one of them took much longer.
    """
    if len({job.step for job in jobs}) < 2:
        return False
    ends, longest = [job.ended for job in jobs], max(job.seconds for job in jobs)
    return max(ends) - min(ends) < _COPIED_S and longest > 5 * _COPIED_S


def timeline(jobs):
    """Return the Timeline of jobs; None without any, or where their times were lost."""
    if not jobs or times_lost(jobs):
        return None
    busy = busy_intervals(jobs)
    busy_s = sum(end - start for start, end in busy)
    shortest = max(_SHORTEST_PAUSE_S, busy_s * _PAUSE_OF_BUSY)
    shifts, pauses, until, cut = [], [], busy[0][0], busy[0][0]
    for start, end in busy:
        if start - until > shortest:
            pauses.append((until - cut, start - until))
            cut += start - until
        shifts.append((start, cut))
        until = end
    length = until - cut
    lanes = {step: [] for step in FLOW}
    segment, clock = 0, sorted(jobs, key=lambda job: job.started)
    for job in clock:
        while segment + 1 < len(shifts) and shifts[segment + 1][0] <= job.started:
            segment += 1
        shift = shifts[segment][1]
        _add(lanes[job.step], job.started - shift, job.ended - shift, length / _BARS)
    lanes = {step: bars for step, bars in lanes.items() if bars}
    return Timeline(lanes, length, pauses, busy_s, busy[0][0], until)


def _add(bars, start, end, joined):
    """Add a job to the bars of a lane, which begin in order of time."""
    first, last, count = bars[-1] if bars else (0, -math.inf, 0)
    if start - last <= joined:
        bars[-1] = first, max(last, end), count + 1
    else:
        bars.append((start, end, 1))
