"""Section costs: time, memory, traffic, disk; machine, settings, and how to make it again."""

import dataclasses
from datetime import datetime
from pathlib import Path

from clearice.report import charts, figures
from clearice.report.costs import disk, jobs, machine, reproduction, settings, timeline
from clearice.report.facts import versions
from clearice.report.section import Section
from clearice.report.words import duration, memory
from clearice.tsv import table_text

REPOSITORY = Path(__file__).resolve().parents[5]
_LABEL = "Which steps were at work when, a lane per step."
_NOTHING = "It is not known what ran when."


def section(results, config):
    """Return the Section of what the run took, and of what it was made with."""
    line = timeline.timeline(results.jobs)
    drawn = line and charts.timeline_svg(line, results.steps)
    used = disk.disk_use(results.folder)
    runs = reproduction.run_rows(results.folder / "runs")
    command, is_recorded = reproduction.command(runs)
    facts = {
        "words": _words(results.jobs, results.steps, line),
        "steps": results.steps,
        "jobs": len(results.jobs),
        "slowest": jobs.slowest(results.jobs),
        "timeline": drawn and figures.for_page(drawn, _LABEL, "timeline"),
        "timeline_words": line and _timeline_words(line),
        "disk": used,
        "disk_total": disk.total(used),
        "machine": _machine_rows(machine.hardware()),
        "ran_on": machine.accelerators(results.trainings, results.verdicts),
        "versions": versions(),
        "differences": settings.differences(config),
        "config_text": settings.config_text(config),
        "command": command,
        "is_recorded": is_recorded,
        "checkout": reproduction.checkout(REPOSITORY)["words"],
        "runs": [{**r, "micrographs": _taken_in(r)} for r in runs[: reproduction.SHOWN_RUNS]],
        "all_runs": len(runs),
    }
    tables = {
        "steps": (jobs.STEP_COLUMNS, results.steps),
        "jobs": (jobs.JOB_COLUMNS, map(_job_row, results.jobs)),
        "timeline": (timeline.TIMELINE_COLUMNS, line.rows() if line else ()),
        "disk": (disk.DISK_COLUMNS, used),
        "settings": (settings.SETTING_COLUMNS, facts["differences"]),
        "runs": (reproduction.RUN_COLUMNS, runs),
    }
    files = {f"{name}.tsv": table_text(*table) for name, table in tables.items()}
    files["timeline.svg"] = figures.for_file(drawn or figures.no_data(_NOTHING, "svg"))
    return Section(facts, files)


def _words(jobs_, steps, line):
    """Say in a sentence what it took."""
    if not jobs_:
        return ""
    cpu = [row["cpu_s"] for row in steps if row["cpu_s"] is not None]
    peaks = [row["peak_rss_mib"] for row in steps if row["peak_rss_mib"] is not None]
    said = [f"{len(jobs_):,} job{'s' * (len(jobs_) != 1)}"]
    said += [f"{duration(line.busy_s)} in which at least one ran"] if line else []
    said += [f"{duration(sum(cpu))} of CPU time"] if cpu else []
    said += [f"at most {memory(max(peaks))} of memory in one job"] if peaks else []
    return f"{', '.join(said)}."


def _timeline_words(line):
    began, ended = (
        datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M %Z")
        for at in (line.started, line.ended)
    )
    said = f"From {began} to {ended}; a bar where at least one job of the step ran."
    if line.pauses:
        total = duration(sum(seconds for _, seconds in line.pauses))
        count = len(line.pauses)
        said += (
            f" {count} pause{'s' * (count != 1)} in which nothing ran (dashed) cut out: {total}."
        )
    return said


def _job_row(job):
    times = {
        key: datetime.fromtimestamp(getattr(job, key)).astimezone().isoformat("T", "milliseconds")
        for key in ("started", "ended")
    }
    return {**dataclasses.asdict(job), **times}


def _machine_rows(hardware):
    cores = f"{hardware['cores']} cores"
    if hardware["usable_cores"] not in (None, hardware["cores"]):
        cores += f", {hardware['usable_cores']} of them for this job"
    limit = hardware["memory_limit_mib"]
    room = memory(hardware["memory_mib"]) + (f", limited to {memory(limit)}" if limit else "")
    return [
        ("processor", f"{hardware['processor']}, {cores}"),
        ("memory", room),
        ("system", hardware["system"]),
    ]


def _taken_in(run):
    """Say which micrographs a run took in."""
    if run["used"] is None:
        return "–"
    counts = [(run[key], key) for key in ("new", "changed", "left", "waiting", "rejected")]
    said = ", ".join(f"{count:,} {key}" for count, key in counts if count) or "none new"
    return f"{said}; {run['used']:,} used"
