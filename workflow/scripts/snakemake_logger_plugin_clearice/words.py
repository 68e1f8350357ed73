"""Numbers and lists as a person reads them on a terminal."""


def duration(seconds):
    """Return seconds as words of at most two units.

    >>> duration(7.4), duration(80), duration(3725)
    ('7 s', '1 min 20 s', '1 h 2 min')
    """
    minutes, left = divmod(round(seconds), 60)
    if not minutes:
        return f"{left} s"
    if minutes < 60:
        return f"{minutes} min {left} s" if minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def counted(count, noun):
    """Return a number with its noun.

    >>> counted(1, "job"), counted(1200, "job")
    ('1 job', '1,200 jobs')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shortened(text, width, mark="..."):
    """Return `text` in at most `width` characters, saying where it was cut.

    >>> shortened("a long line", 8)
    'a lon...'
    """
    return text if len(text) <= width else text[: max(0, width - len(mark))] + mark


def in_lines(items, width=None, indent="  "):
    r"""Return items with commas in lines of at most `width` characters, no item torn apart.

    >>> in_lines(["8 jobs: 4 a", "3 b", "1 c"], 17)
    '8 jobs: 4 a, 3 b,\n  1 c'
    """
    lines = [items[0]]
    for item in items[1:]:
        if width is not None and len(f"{lines[-1]}, {item},") > width:
            lines[-1] += ","
            lines.append(f"{indent}{item}")
        else:
            lines[-1] += f", {item}"
    return "\n".join(lines)


def bar(fraction, width, *, unicode=True):
    """Return a bar of `width` characters as (done, left).

    >>> bar(0.5, 6, unicode=False)
    ('###', '---')
    """
    done = min(width, int(fraction * width))
    full, empty = "━─" if unicode else "#-"
    return full * done, empty * (width - done)
