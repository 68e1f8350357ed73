"""How a training went, drawn: losses with what they are compared with, speed and memory.

A panel per network and quantity. A panel is a function of axes, for figures.svg_of.
"""

from itertools import pairwise

from clearice.report.figures import BLUE, GREEN, GREY, INK, ORANGE, numbers

LOSS_IN, SPEED_IN = (4.1, 2.8), (2.9, 1.9)
LOSS_COLUMNS = (
    *("architecture", "stage", "epoch", "train_loss", "test_loss", "noise_floor_train"),
    *("noise_floor_test", "raw_input", "constant", "best_linear_filter"),
)
SPEED_COLUMNS = (
    *("architecture", "stage", "epoch", "batches_per_s", "device_wait_fraction", "seconds"),
    *("peak_host_mib", "peak_device_mib"),
)
_FEW = 20  # points that get a marker each
_LOG_FROM = 5.0  # largest over smallest value
_ROOM = 0.9  # of the span of the curves: what lies farther off is named at the edge
_LEAST_GAP = 0.085  # of the height, between labels


def loss_panel(name, rows, baselines):
    """Return a panel of both losses against the epoch, with noise floor and baselines.

    `rows` are those of a history (thinned), `baselines` what learning.baselines returned. A line
    that lies far from the curves is named at the edge, with an arrow.
    """

    def draw(axes):
        epochs = [row["epoch"] for row in rows]
        for key, color, style, marker in (
            ("train_loss", BLUE, "--", "o"),
            ("test_loss", ORANGE, "-", "s"),
        ):
            values = numbers([row[key] for row in rows])
            marker = marker if len(rows) <= _FEW else None
            axes.plot(epochs, values, style, marker=marker, color=color)
        lines = _lines(rows[-1], baselines)
        low, high = _limits(rows, [value for _, value, _, _ in lines])
        axes.set_ylim(low, high)
        if low > 0 and high / low > _LOG_FROM:
            axes.set_yscale("log")
        for _, value, color, style in lines:
            if low <= value <= high:
                axes.axhline(value, color=color, lw=1.1, ls=style)
        _label_right(axes, rows[-1], lines)
        _show_epochs(axes, rows)
        axes.set_title(name, fontsize=9, loc="left", fontweight="bold", parse_math=False)
        axes.set_ylabel("loss (variances of the input)", fontsize=8)

    return draw


def speed_panels(name, rows):
    """Return panels of batches per second, share of time waited and peak memory per epoch."""

    def panel(title, lines, scale=1.0):
        def draw(axes):
            for key, label, color, style in lines:
                values = numbers([row[key] for row in rows]) * scale
                marker = "o" if len(rows) <= _FEW else None
                axes.plot([row["epoch"] for row in rows], values, style, color=color, label=label,
                          marker=marker)  # fmt: skip
            axes.set_ylim(0, max(1.15 * axes.get_ylim()[1], 1e-9))
            _show_epochs(axes, rows)
            axes.set_title(f"{name}: {title}", fontsize=8, loc="left", parse_math=False)
            if len(lines) > 1:
                axes.legend(fontsize=7, loc="lower right")

        return draw

    memory = [("peak_host_mib", "of the computer", BLUE, "-")]
    if any(row["peak_device_mib"] is not None for row in rows):
        memory.append(("peak_device_mib", "of the GPU", ORANGE, "--"))
    return [
        panel("batches per second", [("batches_per_s", None, BLUE, "-")]),
        panel("time waiting for data (%)", [("device_wait_fraction", None, BLUE, "-")], 100),
        panel("peak memory (MiB)", memory),
    ]


def loss_rows(name, rows, baselines):
    """Return what loss_panel draws as rows of LOSS_COLUMNS."""
    about = {"architecture": name, "raw_input": baselines["raw"]}
    about |= {"constant": baselines["constant"], "best_linear_filter": baselines["linear"]}
    return [{**row, **about} for row in rows]


def speed_rows(name, rows):
    """Return what speed_panels draw as rows of SPEED_COLUMNS."""
    return [{**row, "architecture": name} for row in rows]


def _lines(last, baselines):
    """Return (label, value, colour, style) of the horizontal lines that are known."""
    found = [
        ("noise floor", last["noise_floor_test"], INK, (0, (1, 1.5))),
        ("best linear filter", baselines["linear"], GREEN, (0, (5, 2))),
        ("a constant", baselines["constant"], GREY, (0, (5, 2, 1, 2))),
        ("the input itself", baselines["raw"], GREY, (0, (2, 2))),
    ]
    return [line for line in found if line[1] is not None]


def _limits(rows, lines):
    """Return the range of the axis: the curves, and lines that don't flatten them."""
    curves = [row[key] for row in rows for key in ("train_loss", "test_loss")]
    curves = [value for value in curves if value is not None]
    if not curves:
        curves = lines or [0.0, 1.0]
    low, high = min(curves), max(curves)
    span = max(high - low, 0.02 * abs(high), 1e-12)
    near = [value for value in lines if low - _ROOM * span <= value <= high + _ROOM * span]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.08 * max(high - low, span)
    return (low - margin if low - margin > 0 or low <= 0 else 0.9 * low), high + margin


def _label_right(axes, last, lines):
    """Name curves and lines beside their right end, in order, none over another."""
    named = [
        (f"{label} {last[key]:.4g}", last[key], color, style)
        for label, key, color, style in (
            ("test", "test_loss", ORANGE, "-"),
            ("training", "train_loss", BLUE, "--"),
        )
        if last[key] is not None
    ]
    named += [(f"{label} {value:.4g}", value, *look) for label, value, *look in lines]
    to_axes = axes.transData + axes.transAxes.inverted()
    placed = []
    for text, value, *look in named:
        height = to_axes.transform((axes.get_xlim()[0], value))[1] if value > 0 else 0.0
        arrow = " ↑" if height > 1 else " ↓" if height < 0 else ""
        placed.append([min(max(height, 0.0), 1.0), height, text + arrow, look])
    placed.sort(key=lambda label: (label[0], label[1]))
    for below, label in pairwise(placed):
        label[0] = max(label[0], below[0] + _LEAST_GAP)
    top = 1.02
    for label in reversed(placed):
        label[0] = min(label[0], top)
        top = label[0] - _LEAST_GAP
    for height, _, text, (color, style) in placed:
        axes.plot([1.015, 1.055], [height, height], ls=style, color=color, lw=1.3,
                  transform=axes.transAxes, clip_on=False)  # fmt: skip
        axes.text(1.07, height, text, transform=axes.transAxes, fontsize=7.5, va="center")


def _show_epochs(axes, rows):
    """Give the axis of epochs whole numbers, room around a single one, and marks of stages."""
    first, last = rows[0]["epoch"], rows[-1]["epoch"]
    axes.set_xlim(first - 0.5, last + 0.5) if last - first < _FEW else axes.set_xlim(first, last)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch", fontsize=8)
    for before, row in pairwise(rows):
        if row["stage"] != before["stage"]:
            middle = (before["epoch"] + row["epoch"]) / 2
            axes.axvline(middle, color=INK, lw=0.7, ls=(0, (3, 2)))
            axes.text(middle, 0.99, f" stage {row['stage']}", fontsize=6.5, va="top",
                      transform=axes.get_xaxis_transform())  # fmt: skip
