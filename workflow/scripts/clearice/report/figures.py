"""Figures of the report: curves as SVG, sheets of pictures as PNG.

Curves are drawn once with the ink INK; `for_page` replaces it by currentColor, so that text and
axes follow the page's colours, `for_file` by black on white.
"""

import io
import re

import numpy as np

INK = "#101112"
BLUE, ORANGE, GREEN, GREY = "#2f7ed8", "#d9791c", "#2a9d6a", "#8a8f98"
SIZE_IN = 4.7, 3.1  # of a panel
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.5,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    ),
}


def frc_svg(curves, pixel_size_angstrom, judges=("target", "truth")):
    """Draw Fourier ring correlations, a panel a judge: the raw other half, the truth.

    `curves` holds frequency_per_px and, by pair, mean correlations; a judge without any is left
    out. `pixel_size_angstrom` gives the axis in 1/angstrom; None leaves cycles per pixel.
    """
    frequency = np.asarray(curves["frequency_per_px"])
    frequency = frequency / pixel_size_angstrom if pixel_size_angstrom else frequency
    unit = "1/Å" if pixel_size_angstrom else "cycles per pixel"

    def panel(title, lines):
        def draw(axes):
            for pair, label, color, style in lines:
                if pair in curves:
                    values = numbers(curves[pair])[1:]
                    axes.plot(frequency[1:], values, style, color=color, label=label)
            axes.axhline(0, color=INK, lw=0.6)
            axes.set_ylim(min(-0.1, axes.get_ylim()[0]), 1.02)
            axes.set_xlim(0, frequency[-1])
            axes.set_xlabel(f"spatial frequency ({unit})")
            axes.set_ylabel("correlation")
            axes.set_title(title, fontsize=9, loc="left")
            axes.legend(fontsize=8, loc="best")

        return draw

    panels = {
        "target": panel(
            "against the raw other half",
            [
                ("truth_target", "truth: the most possible", GREEN, "--"),
                ("raw_target", "raw", GREY, "-"),
                ("denoised_target", "denoised", BLUE, "-"),
                ("denoised_denoised_target", "both denoised: self-consistency only", ORANGE, ":"),
            ],
        ),
        "truth": panel(
            "against the truth",
            [("raw_truth", "raw", GREY, "-"), ("denoised_truth", "denoised", BLUE, "-")],
        ),
    }
    return svg_of([panels[side] for side in judges if f"raw_{side}" in curves], "frc")


def no_data(reason, kind):
    """Return a figure that says why there is nothing to draw, as svg text or png bytes."""

    def draw(axes):
        axes.set_axis_off()
        axes.text(0.5, 0.5, reason, ha="center", va="center", wrap=True)

    return svg_of([draw], "empty") if kind == "svg" else _png(_drawn([draw]))


def for_page(svg, label, name):
    """Return the SVG as an element of the page, in its colours, described by `label`.

    `name` makes its ids its own: several figures share one page.
    """
    element = svg[svg.index("<svg") :].replace(INK, "currentColor")
    element = re.sub(r'\bid="', f'id="{name}-', element)
    element = re.sub(r'(href="|url\()#', rf"\g<1>#{name}-", element)
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    label = label.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return element.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def for_file(svg):
    """Return the SVG as a file of its own: black on white."""
    background = '<rect width="100%" height="100%" fill="#ffffff"/>'
    head, tail = svg.replace(INK, "#000000").split("<defs>", 1)
    return f"{head}{background}<defs>{tail}"


def sheet_png(rows):
    """Return a PNG of pictures in rows: [(label, [(title, uint8 image, scale bar or None)])].

    A scale bar is (fraction of the width, text). The largest picture keeps about its pixels.
    """
    figure_class = _figure_class()
    largest = max(max(image.shape) for _, images in rows for _, image, _ in images)
    columns = max(len(images) for _, images in rows)
    heights = [2.4 * max(i.shape[0] / i.shape[1] for _, i, _ in line) + 0.2 for _, line in rows]
    figure = figure_class(figsize=(columns * 2.4, sum(heights)), dpi=max(largest, 120) / 2.4)
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for axes in grid.flat:
        axes.set_axis_off()
    for line, (label, images) in zip(grid, rows, strict=True):
        for axes, (title, image, bar) in zip(line, images, strict=False):
            axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_title(title, fontsize=7, loc="left", pad=2)
            if bar:
                _draw_scale_bar(axes, image.shape, *bar)
        line[0].text(-0.02, 0.5, label, rotation=90, fontsize=6, ha="right", va="center",
                     transform=line[0].transAxes, parse_math=False)  # fmt: skip
    top = 1 - 0.18 / sum(heights)
    figure.subplots_adjust(0.03, 0.005, 0.995, top, wspace=0.02, hspace=0.2 / np.mean(heights))
    return _png(figure)


def _draw_scale_bar(axes, shape, fraction, text):
    height, width = shape
    x, y = 0.04 * width, 0.95 * height
    axes.plot([x, x + fraction * width], [y, y], color="black", lw=4, solid_capstyle="butt")
    axes.plot([x, x + fraction * width], [y, y], color="white", lw=2, solid_capstyle="butt")
    box = {"facecolor": "black", "alpha": 0.5, "pad": 1, "edgecolor": "none"}
    axes.text(x, y - 0.03 * height, text, color="white", fontsize=6, va="bottom", bbox=box)


def _figure_class():
    """Import Matplotlib when it is needed: it takes a second. Figure needs no display."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.use("Agg")
    return Figure


def _drawn(panels, columns=1, size_in=SIZE_IN):
    """Return a figure with each function of `panels` drawn on axes of its own, row by row."""
    rows = -(-len(panels) // columns)
    figure = _figure_class()(
        figsize=(size_in[0] * columns, size_in[1] * rows), layout="constrained"
    )
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for draw in panels:
        draw(next(axes))
    for empty in axes:
        empty.set_axis_off()
    return figure


def svg_of(panels, salt, columns=1, size_in=SIZE_IN):
    """Return the panels (functions of axes) as SVG text, `columns` in a row of `size_in` each.

    `salt` makes ids that another figure does not have.
    """
    from matplotlib import rc_context

    with rc_context({**_STYLE, "svg.hashsalt": salt}):
        buffer = io.StringIO()
        figure = _drawn(panels, columns, size_in)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    fonts = r"(font(?:-family)?: [^;\"]*?)'DejaVu Sans'[^;\"]*"
    return re.sub(fonts, rf"\g<1>{_FONTS}", buffer.getvalue())


def _png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def numbers(values):
    """None becomes NaN, a gap in the line."""
    return np.array([np.nan if value is None else value for value in values], dtype=float)
