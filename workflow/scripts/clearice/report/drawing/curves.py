"""Curves as plain SVG, for the thousands of figures that Matplotlib would take hours for.

Axes and words have the colour of the text around them (currentColor); a line has a class, by which
the page colours it, and dashes of its own, so that no curve is told by colour alone.
"""

import html
import math
from dataclasses import dataclass

from clearice.report.words import on_page

WIDTH, HEIGHT = 560, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 74  # margins: ticks and words
_LETTER = 6.4  # width of a letter of the legend: words are not measured here
_SAMPLE = 26


@dataclass(frozen=True)
class Line:
    """One curve: its name, its class on the page, y values (None or NaN is a gap), its dashes."""

    name: str
    kind: str
    values: list
    dashes: str = ""


@dataclass(frozen=True)
class Axis:
    """One axis: its words, least and greatest value, and whether it is logarithmic."""

    words: str
    least: float
    greatest: float
    is_log: bool = False

    def share(self, value):
        """Return where a value lies, 0 at the least and 1 at the greatest; None off the axis."""
        if value is None or not math.isfinite(value) or (self.is_log and value <= 0):
            return None
        least, greatest, value = (self._scaled(v) for v in (self.least, self.greatest, value))
        return (value - least) / (greatest - least)

    def _scaled(self, value):
        return math.log10(value) if self.is_log else value

    def ticks(self):
        """Return the values to mark: 1, 2 or 5 times powers of ten, four to eight of them."""
        return _log_ticks(self) if self.is_log else _linear_ticks(self.least, self.greatest)


def _linear_ticks(least, greatest):
    step = 10.0 ** math.floor(math.log10(greatest - least))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if (greatest - least) / s <= 8)
    first, last = math.ceil(least / step - 1e-9), math.floor(greatest / step + 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def _log_ticks(axis):
    first, last = math.floor(math.log10(axis.least)), math.ceil(math.log10(axis.greatest))
    decades = last - first
    steps = (1, 2, 5) if decades <= 2 else (1,)
    every = -(-decades // 8)
    ticks = [s * 10.0**k for k in range(first, last + 1, every) for s in steps]
    return [tick for tick in ticks if axis.least <= tick * (1 + 1e-9) and tick <= axis.greatest]


def spanned(lines, *, is_log=False):
    """Return the least and greatest finite value of Lines, a little apart; None without any."""
    found = [v for line in lines for v in line.values if v is not None and math.isfinite(v)]
    found = [v for v in found if v > 0 or not is_log]
    if not found:
        return None
    least, greatest = min(found), max(found)
    if is_log:
        return (least / 1.3, greatest * 1.3)
    margin = 0.04 * (greatest - least) or 0.5 * abs(greatest) or 0.5
    return least - margin, greatest + margin


def line_chart(x_values, lines, x, y, label, marks=()):
    """Return an SVG of `lines` (Line) over `x_values`, on the Axes `x` and `y`.

    `label` says in words what it shows; `marks` are (y value, words) of thin horizontal lines.
    """
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    parts = [
        f'<svg class="curves" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(label)}" xmlns="http://www.w3.org/2000/svg" '
        'font-family="system-ui, sans-serif" font-size="11.5" fill="currentColor">'
    ]

    def across(share):
        return round(_LEFT + wide * share, 1)

    def up(share):
        return round(_TOP + high * (1 - share), 1)

    for tick in x.ticks():
        at = across(x.share(tick))
        parts.append(_rule(at, up(1), at, up(0), ".14"))
        parts.append(_text(at, up(0) + 16, _number(tick), "middle"))
    for tick in y.ticks():
        at = up(y.share(tick))
        parts.append(_rule(across(0), at, across(1), at, ".14"))
        parts.append(_text(across(0) - 7, at + 4, _number(tick), "end"))
    for value, words in marks:
        share = y.share(value)
        if share is not None and 0 <= share <= 1:
            at = up(share)
            parts.append(_rule(across(0), at, across(1), at, ".7", "2 3"))
            parts.append(_text(across(1) - 4, at - 4, words, "end"))
    parts.append(_rule(across(0), up(1), across(0), up(0), ".6"))
    parts.append(_rule(across(0), up(0), across(1), up(0), ".6"))
    for line in lines:
        for points in _runs(x_values, line.values, x, y, across, up):
            parts.append(_polyline(line, points))
    parts.append(_text(across(0.5), up(0) + 34, x.words, "middle"))
    middle = up(0.5)
    parts.append(
        f'<text transform="rotate(-90)" x="{-middle}" y="13" text-anchor="middle">'
        f"{html.escape(y.words)}</text>"
    )
    at = _LEFT
    for line in lines:
        parts.append(_polyline(line, [(at, HEIGHT - 12), (at + _SAMPLE, HEIGHT - 12)]))
        parts.append(_text(at + _SAMPLE + 6, HEIGHT - 8, line.name, "start"))
        at += round(_SAMPLE + 22 + _LETTER * len(line.name))
    return "".join(parts) + "</svg>"


def _runs(x_values, values, x, y, across, up):
    """Yield the points of each part of a line without gaps; ends off the axis are cut flat."""
    points = []
    for at, value in zip(x_values, values, strict=True):
        right, high = x.share(at), y.share(value)
        if right is None or high is None or not 0 <= right <= 1:
            if points:
                yield points
            points = []
        else:
            points.append((across(right), up(min(max(high, 0.0), 1.0))))
    if points:
        yield points


def _polyline(line, points):
    dashes = f' stroke-dasharray="{line.dashes}"' if line.dashes else ""
    places = " ".join(f"{x:g},{y:g}" for x, y in points)
    return (
        f'<polyline class="{html.escape(line.kind)}" points="{places}" fill="none" '
        f'stroke="currentColor" stroke-width="1.8" stroke-linejoin="round"{dashes}/>'
    )


def _rule(x1, y1, x2, y2, opacity, dashes=""):
    dashes = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="currentColor" '
        f'stroke-opacity="{opacity}"{dashes}/>'
    )


def _text(x, y, words, anchor):
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{html.escape(words)}</text>'


def _number(value):
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.0e}".split("e")
        power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"10{power}" if mantissa == "1" else f"{mantissa}·10{power}"
    return on_page(value, "g")
