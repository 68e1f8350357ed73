"""Figures of verdicts and of costs: parity as a heat table, the steps of a run as a timeline."""

from clearice.report.figures import BLUE, GREY, INK, svg_of
from clearice.report.words import duration

_RED = "#c0392b"
_LABEL_CHARACTERS, _CELL_CHARACTERS = 24, 15  # that fit
_LABEL_WIDTH = 0.2  # of a pause, on a timeline
_CELL_IN, _ROW_IN = 1.0, 0.42


def parity_svg(overview):
    """Draw what parity_overview.overview returned: a row per implementation, a cell per rung."""
    rungs, rows = overview["rungs"], overview["rows"]
    columns = max(len(rungs), 1)

    def draw(axes):
        for y, row in enumerate(rows):
            if row["reason"] is not None:
                axes.add_patch(_cell(0, y, columns, facecolor="none", hatch="///", edgecolor=GREY))
                text = f"not run: {row['reason']}"
                limit = _CELL_CHARACTERS * columns
                text = text if len(text) <= limit else f"{text[: limit - 1]}…"
                box = {"facecolor": "white", "edgecolor": "none", "pad": 2}
                axes.text(columns / 2, y + 0.5, text, ha="center", va="center", fontsize=8,
                          parse_math=False, bbox=box)  # fmt: skip
                continue
            for x, cell in enumerate(row["cells"]):
                _draw_cell(axes, x, y, cell)
        axes.set_xlim(0, columns)
        axes.set_ylim(len(rows), 0)
        axes.set_xticks([x + 0.5 for x in range(len(rungs))], [name for name, _ in rungs])
        labels = [row["implementation"][:_LABEL_CHARACTERS] for row in rows]
        axes.set_yticks([y + 0.5 for y in range(len(rows))], labels, parse_math=False)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("per cent of the tolerance used; above 100 % is a failure", fontsize=8)

    size = (1.4 + _CELL_IN * columns, 0.8 + _ROW_IN * len(rows))
    return svg_of([draw], "parity", size_in=size)


def _draw_cell(axes, x, y, cell):
    if cell is None:
        axes.text(x + 0.5, y + 0.5, "–", ha="center", va="center")
        return
    is_passed = cell["state"] == "passed"
    alpha = 0.05 + 0.5 * cell["shade"] if is_passed else 1
    axes.add_patch(_cell(x, y, 1, facecolor=BLUE if is_passed else _RED, alpha=alpha))
    color = INK if is_passed else "white"
    text = f"{'✓' if is_passed else '✗'} {cell['share']}"
    weight = "normal" if is_passed else "bold"
    axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=color, weight=weight)


def _cell(x, y, width, **style):
    from matplotlib.patches import Rectangle

    return Rectangle((x + 0.02, y + 0.05), width - 0.04, 0.9, linewidth=0, **style)


def timeline_svg(timeline, steps):
    """Draw a costs.timeline.Timeline, a lane per step; `steps` are the rows of costs.step_table."""
    told = {row["step"]: row for row in steps}
    divisor, unit = _unit(timeline.length_s)
    length = max(timeline.length_s, 1e-3) / divisor

    def draw(axes):
        for y, (step, bars) in enumerate(timeline.lanes.items()):
            spans = [(start / divisor, max((end - start) / divisor, length / 400))
                     for start, end, _ in bars]  # fmt: skip
            axes.broken_barh(spans, (y - 0.32, 0.64), color=BLUE, linewidth=0)
            row = told[step]
            jobs = f"{row['jobs']:,} job{'s' * (row['jobs'] != 1)}"
            end = f"{jobs}, {duration(row['seconds'])}"
            axes.text(1.01, y, end, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
        free = -length  # from where on a label has room
        for at, seconds in timeline.pauses:
            x = at / divisor
            axes.axvline(x, color=INK, lw=1, ls=(0, (2, 2)))
            if free <= x <= length * (1 - _LABEL_WIDTH):
                axes.text(x, -0.62, f" pause {duration(seconds)}", fontsize=8, va="bottom")
                free = x + length * _LABEL_WIDTH
        axes.set_ylim(len(timeline.lanes) - 0.4, -0.6)
        axes.set_xlim(0, length * 1.005)
        axes.set_yticks(range(len(timeline.lanes)), list(timeline.lanes))
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{unit} of work", fontsize=8)

    size = 8.6, 0.9 + 0.3 * len(timeline.lanes)
    return svg_of([draw], "timeline", size_in=size)


def _unit(seconds):
    """Return (how many seconds, name) of the unit in which an axis of that length is told."""
    if seconds < 300:
        return 1, "seconds"
    return (60, "minutes") if seconds < 3 * 3600 else (3600, "hours")
