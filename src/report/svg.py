"""Charts as figures of inline SVG, drawn from plain numbers.

A chart scales to its container by its viewBox and carries its title and a description. Text, grid and heat take their
colours from the page's classes (quiet, grid, guide, heat), so that they follow light and dark; lengths are pixels of the
viewBox.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

Point = tuple[float, float]
CHARACTER = 6.7  # width of a letter at 11 px, on the safe side


@dataclass(frozen=True)
class Line:
    """A polyline.

    dots: radius at each point. errors: half the height of the bar at each point, which ends with the axis; None draws none.
    label: is written beside its right end. kind: class of the page that draws it in grey, guide or faint.
    """

    points: Sequence[Point]
    colour: str
    dash: str = ""
    width: float = 1.7
    dots: Sequence[float] = ()
    label: str = ""
    errors: Sequence[float | None] = ()
    kind: str = ""


@dataclass(frozen=True)
class Guide:
    """A straight grey line to read the others against, with its name at its end."""

    start: tuple[float, float]
    end: tuple[float, float]
    label: str


@dataclass(frozen=True)
class Axis:
    """An axis: its text, with the unit, and its range; None fits what is drawn.

    Values on a `log` axis are above 0. A `whole` axis counts something and has no ticks between whole numbers.
    `marks` stand in place of round numbers: each a value with its text, of which "/" parts two lines.
    """

    label: str
    range: tuple[float, float] | None = None
    percent: bool = False
    log: bool = False
    whole: bool = False
    marks: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True)
class Row:
    """A row of an interval plot: a value with its interval; optionally a paler one above it, and single values below."""

    label: str
    colour: str
    value: float
    interval: Sequence[float]
    text: str
    pale: float | None = None
    pale_interval: Sequence[float] = ()
    singles: Sequence[float] = ()


@dataclass(frozen=True)
class Scale:
    """A map from low..high to the pixels start..end."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    percent: bool = False
    whole: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log10(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self, apart: float) -> list[tuple[float, str]]:
        """Return round values within the scale with their text, about `apart` pixels or more from each other."""
        if self.log:
            span = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if len(span) < 5 else (1,)
            values = [step * 10.0**power for power in span for step in steps]
            texts = [(f"{v:.0%}" if v >= 0.01 else f"{v:.1%}") if self.percent else f"{v:g}" for v in values]
            pairs = zip(values, texts, strict=True)
            return [(v, written) for v, written in pairs if self.low * 0.999 <= v <= self.high * 1.001]
        rough = (self.high - self.low) / min(max(abs(self.end - self.start) / apart, 2), 6)
        power = 10.0 ** math.floor(math.log10(rough))
        rounds = [power * n for n in (1, 2, 2.5, 5, 10) if not self.whole or (power * n).is_integer()]
        step = next((step for step in rounds if step >= rough * 0.9), 1.0)
        shown = step * 100 if self.percent else step
        decimals = next(n for n in range(16) if math.isclose(round(shown, n), shown, rel_tol=1e-6))
        count = math.floor(self.high / step + 1e-9) - math.ceil(self.low / step - 1e-9) + 1
        values = [(math.ceil(self.low / step - 1e-9) + n) * step for n in range(count)]
        return [(v, f"{v:.{decimals}{'%' if self.percent else 'f'}}".replace("-", "−")) for v in values]


def bounds(values: Iterable[float], margin: float = 0.05) -> tuple[float, float]:
    """Return the least and the greatest of `values`, moved apart by `margin` of their distance; never equal."""
    known = list(values)
    low, high = min(known), max(known)
    pad = (high - low) * margin if high > low else abs(low) * 0.1 or 0.5
    return low - pad, high + pad


def text(x: float, y: float, content: str, anchor: str = "start", kind: str = "", turn: float = 0) -> str:
    style = f' class="{kind}"' if kind else ""
    turned = f' transform="rotate({turn:g} {x:.1f} {y:.1f})"' if turn else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}{turned}>{escape(content)}</text>'


def stroke(x1: float, y1: float, x2: float, y2: float, attributes: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {attributes}/>'


def circle(x: float, y: float, radius: float, attributes: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" {attributes}/>'


def swatch(colour: str, dash: str) -> str:
    """Draw a sample of a line, for legends."""
    line = stroke(1, 5, 27, 5, f'stroke="{colour}" stroke-width="2.2" stroke-dasharray="{dash}"')
    return f'<svg class="swatch" viewBox="0 0 28 10" aria-hidden="true">{line}</svg>'


def drawing(title: str, description: str, width: float, height: float, parts: Iterable[str]) -> str:
    """Write a figure with its caption; the description is for those who do not see the picture."""
    name = escape(title)
    return (
        f'<figure><figcaption>{name}</figcaption><svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{name}">'
        f"<title>{name}</title><desc>{escape(description)}</desc>{''.join(parts)}</svg></figure>"
    )


def _axes(x: Scale, y: Scale, x_axis: Axis, y_label: str) -> list[str]:
    parts = [text(2, 11, y_label, kind="quiet"), text(x.end, y.start + 32, x_axis.label, "end", "quiet")]
    for value, written in y.ticks(30):
        parts.append(stroke(x.start, y(value), x.end, y(value), 'class="grid"'))
        parts.append(text(x.start - 5, y(value) + 4, written, "end", "quiet"))
    for value, written in x_axis.marks or x.ticks(42):
        parts.append(stroke(x(value), y.start, x(value), y.start + 4, 'class="grid"'))
        for line, part in enumerate(written.split("/")):
            parts.append(text(x(value), y.start + 16 + 13 * line, part, "middle", "quiet"))
    return parts


def _columns(x: Scale, bottom: float, label: str) -> list[str]:
    """Draw vertical grid lines down to `bottom` with their numbers below, for plots with a row a model."""
    parts = [text(x.end, bottom + 32, label, "end", "quiet")]
    ticks = x.ticks(42)
    widest = max(len(written) for _, written in ticks) * CHARACTER + 8
    apart = min((x(right) - x(left) for (left, _), (right, _) in pairwise(ticks)), default=widest)
    for value, written in ticks[:: math.ceil(widest / apart)]:
        parts.append(stroke(x(value), 16, x(value), bottom, 'class="grid"'))
        parts.append(text(x(value), bottom + 16, written, "middle", "quiet"))
    return parts


def _path(line: Line, x: Scale, y: Scale) -> str:
    steps = "L".join(f"{x(at):.1f} {y(value):.1f}" for at, value in line.points)
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    kind = f' class="{line.kind}"' if line.kind else ""
    drawn = f'<path d="M{steps}" fill="none" stroke="{line.colour}" stroke-width="{line.width:g}"{dash}{kind}/>'
    for (at, value), error in zip(line.points, line.errors, strict=False):
        if error:
            low, high = max(value - error, y.low), min(value + error, y.high)
            drawn += stroke(x(at), y(low), x(at), y(high), f'stroke="{line.colour}" stroke-width="1.2"')
    for (at, value), radius in zip(line.points, line.dots, strict=False):
        if radius:
            drawn += circle(x(at), y(value), radius, f'fill="{line.colour}"')
    return drawn


def line_chart(
    title: str,
    description: str,
    lines: Sequence[Line],
    x_axis: Axis,
    y_axis: Axis,
    guides: Sequence[Guide] = (),
    size: tuple[float, float] = (320, 220),
) -> str:
    """Draw lines over two axes; a range that is not given fits the points and the guides."""
    points = [point for line in lines for point in line.points]
    bars = [
        (at, value + sign * (error or 0))
        for line in lines
        for (at, value), error in zip(line.points, line.errors, strict=False)
        for sign in (-1, 1)
    ]
    ends = [end for guide in guides for end in (guide.start, guide.end)]
    x_range = x_axis.range or bounds([at for at, _ in points], 0)
    y_range = y_axis.range or bounds([value for _, value in [*points, *ends, *bars]])
    margin = max((len(line.label) * CHARACTER + 8 for line in lines if line.label), default=18)
    x = Scale(*x_range, 42, size[0] - margin, x_axis.log, x_axis.percent, x_axis.whole)
    y = Scale(*y_range, size[1] - 40, 22, y_axis.log, y_axis.percent, y_axis.whole)
    parts = _axes(x, y, x_axis, y_axis.label)
    for guide in guides:
        parts.append(stroke(x(guide.start[0]), y(guide.start[1]), x(guide.end[0]), y(guide.end[1]), 'class="guide"'))
    parts += [_path(line, x, y) for line in lines]
    for guide in guides:
        forward = guide.end[0] >= guide.start[0]
        parts.append(text(x(guide.end[0]), y(guide.end[1]) - 4, guide.label, "end" if forward else "start", "halo"))
    floor = math.inf
    labelled = [(y(line.points[-1][1]), line.label) for line in lines if line.label]
    for at, label in sorted(labelled, reverse=True):
        floor = min(at + 4, floor - 13)
        parts.append(text(x.end + 5, floor, label))
    return drawing(title, description, *size, parts)


def interval_plot(title: str, description: str, rows: Sequence[Row], axis: Axis, guide: tuple[float, str]) -> str:
    """Draw a row a model: dot and interval, the paler ones above, single values as ticks below, `text` at the right."""
    known = [v for row in rows for v in (row.value, row.pale, *row.interval, *row.pale_interval, *row.singles)]
    left = max(len(row.label) for row in rows) * CHARACTER + 8
    right = max(len(row.text) for row in rows) * CHARACTER + 12
    step, bottom = 30, 22 + 30 * len(rows)
    x = Scale(*bounds([guide[0], *(v for v in known if v is not None)]), left, 360 - right, percent=axis.percent)
    parts = _columns(x, bottom, axis.label)
    parts.append(stroke(x(guide[0]), 16, x(guide[0]), bottom, 'class="guide"'))
    parts.append(text(x(guide[0]), 10, guide[1], "middle", "quiet"))

    def dot_and_line(row: Row, y: float, value: float, ends: Sequence[float], width: float, dot: str) -> None:
        parts.append(stroke(x(ends[0]), y, x(ends[1]), y, f'stroke="{row.colour}" stroke-width="{width}"'))
        parts.append(circle(x(value), y, 2.2 + width * 0.8, dot))

    for number, row in enumerate(rows):
        y = 22 + step * number + 16
        parts += [text(left - 8, y + 4, row.label, "end"), text(360, y + 4, row.text, "end")]
        if row.pale is not None:
            dot_and_line(row, y - 9, row.pale, row.pale_interval, 0.9, f'class="hollow" stroke="{row.colour}"')
        dot_and_line(row, y, row.value, row.interval, 2.6, f'fill="{row.colour}"')
        parts += [stroke(x(v), y + 5, x(v), y + 9, f'stroke="{row.colour}" stroke-width="1.2"') for v in row.singles]
    return drawing(title, description, 360, bottom + 38, parts)


def heat_map(
    title: str,
    description: str,
    columns: Sequence[str],
    rows: Sequence[str],
    values: Sequence[Sequence[float | None]],
    *,
    notes: Sequence[str],
    notes_label: str,
) -> str:
    """Print values of rows x columns, shaded from the least to the greatest; `notes`, a text a row, stand before them."""
    known = [value for row in values for value in row if value is not None]
    low, high = bounds(known)
    left = min(max(map(len, rows)), 12) * 8 + 4
    cell, tall, top = (354 - left) / (len(columns) + 1), 20, 84
    parts = []
    for number, name in enumerate([notes_label, *columns]):
        parts.append(text(left + cell * (number + 0.62), top - 6, name, "end", "small", turn=48))
    for i, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = top + tall * i
        parts.append(text(left - 6, y + 14, name if len(name) <= 12 else name[:11] + "…", "end"))
        parts.append(text(left + cell / 2, y + 14, notes[i], "middle", "small quiet"))
        for j, value in enumerate(row, 1):
            x, shade = left + cell * j, 0.0 if value is None else 0.06 + 0.94 * (value - low) / (high - low)
            box = f'x="{x:.1f}" y="{y}" width="{cell - 1.5:.1f}" height="{tall - 1.5}" rx="2"'
            parts.append(f'<rect {box} class="heat" fill-opacity="{shade:.2f}"/>')
            shown = "–" if value is None else f"{value:.2f}"
            parts.append(text(x + cell / 2 - 0.7, y + 13.5, shown, "middle", "small"))
    return drawing(title, description, 360, top + tall * len(rows) + 4, parts)


def confusion_matrix(title: str, description: str, *, tp: float, fp: float, fn: float, tn: float) -> str:
    """Print counts and their share of the true class; a row is what was true, a column what was called."""
    parts = [text(47, 10, "no trade", "middle", "small quiet"), text(109, 10, "trade", "middle", "small quiet")]
    for i, (name, pair) in enumerate((("no profit", (tn, fp)), ("profit", (fn, tp)))):
        y = 15 + 50 * i
        parts.append(text(11, y + 24, name, "middle", "small quiet", turn=-90))
        for j, count in enumerate(pair):
            share, x = count / max(sum(pair), 1), 17 + 62 * j
            box, shade = f'x="{x}" y="{y}" width="60" height="48" rx="3"', 0.06 + 0.94 * share
            parts.append(f'<rect {box} class="heat" fill-opacity="{shade:.2f}"/>')
            parts += [text(x + 30, y + 22, f"{count:,.0f}", "middle"), text(x + 30, y + 37, f"{share:.0%}", "middle", "small")]
    return drawing(title, description, 142, 116, parts)
