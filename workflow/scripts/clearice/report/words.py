"""Numbers in words, for the page and for the terminal."""


def duration(seconds):
    """Format a duration as text: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None:
        return "unknown"
    if seconds < 10:
        return f"{seconds:.1f} s"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def memory(mib):
    """Format an amount of memory or disk as text: 12 KiB, 286 MiB, 1.4 GiB, 2.0 TiB."""
    if mib is None:
        return "unknown"
    if 0 < mib < 1:
        return f"{max(mib * 1024, 1):.0f} KiB"
    if mib < 1024:
        return f"{mib:.0f} MiB"
    return f"{mib / 1024:.1f} GiB" if mib < 1024**2 else f"{mib / 1024**2:.1f} TiB"


def on_page(value, form=".4g"):
    """Format a number with a true minus sign, none before zero; an en dash where there is none."""
    if value is None:
        return "–"
    text = format(value, form)
    if not text.strip("+-0.,e"):
        text = format(0 * abs(value), form)
    return text.replace("-", "−")


def optional(value, form=".4g"):
    """Format a number for a file of plain text; a dash where there is none."""
    return "-" if value is None else format(value, form)
