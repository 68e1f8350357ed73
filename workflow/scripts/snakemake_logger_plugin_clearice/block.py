"""The block of bars at the foot of a terminal, and the same in one line for a log."""

from snakemake_logger_plugin_clearice.words import bar, counted, duration, shortened

_SHOWN_JOBS = 4  # of a rule, those that say how far they are
_WIDEST_BAR = 40  # characters


def block(tally, screen, began, now):
    """Return the lines of the block: the whole run, then each rule that has jobs now."""
    width, style = screen.size[0], screen.style
    if not tally.total:
        return [style(shortened(f"planning, {duration(now - began)}", width), "dim")]
    active = tally.active()
    name_width = min(24, max([len(rule.name) for rule in active] + [len("all jobs")]))
    done = tally.done + sum(rule.fraction * rule.total - rule.done for rule in active)
    head = (f"{tally.done:,} of {tally.total:,}", f"{duration(now - began)} so far")
    lines = [_row("all jobs", head, done / tally.total, name_width, screen, "bold")]
    for rule in active:
        left, known = rule.left_s(now), tally.is_known(rule)
        told = known and left is not None
        last = f"{duration(left)} left" if told else duration(now - rule.first_start)
        counts = (f"{rule.done:,} of {rule.total:,}" if known else f"{rule.done:,} done", last)
        lines.append(_row(rule.name, counts, known * rule.fraction, name_width, screen, "cyan"))
        for job in [job for job in rule.running.values() if job.progress][:_SHOWN_JOBS]:
            lines.append(style(shortened(f"  {_said(job, now)}", width), "dim"))
    return lines


def _row(name, counts, fraction, name_width, screen, colour):
    """Return name, count, bar and time as one line of the screen's width."""
    width, style = screen.size[0], screen.style
    count, last = counts
    left = f"{shortened(name, name_width):{name_width}} {count:>12} "
    room = min(_WIDEST_BAR, width - len(left) - 18)
    if room < 4:  # a narrow terminal has no room for a bar
        return shortened(f"{name} {count}, {last}", width)
    full, empty = bar(fraction, room, unicode=screen.unicode)
    return f"{style(left, colour)}{style(full, 'green')}{style(empty, 'dim')} {last}"


def _said(job, now):
    """Return what a running job says: its name, its words, the time left."""
    said = [job.progress.words] if job.progress.words else [f"{100 * job.progress.fraction:.0f} %"]
    if (left := job.left_s(now)) is not None:
        said.append(f"{duration(left)} left")
    return f"{job.name or job.rule}: {', '.join(said)}"


def in_one_line(tally, now):
    """Return how far the run is as one line for a log."""
    said = [f"{tally.done:,} of {counted(tally.total, 'job')}"]
    for rule in tally.active():
        speaking = [job for job in rule.running.values() if job.progress]
        if speaking:
            said += [f"{rule.name} {_said(job, now)}" for job in speaking[:_SHOWN_JOBS]]
        else:
            left, known = rule.left_s(now), tally.is_known(rule)
            rest = f", {duration(left)} left" if known and left is not None else ""
            total = f"of {rule.total:,}" if known else "done"
            said.append(f"{rule.name} {rule.done:,} {total}{rest}")
    return "; ".join(said)
