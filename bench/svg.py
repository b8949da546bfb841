"""Line charts as SVG: axes with units, a legend, nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 74, 190, 46, 60
# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
FONT = "font-family='Helvetica, Arial, sans-serif'"
TICKS_WANTED = 6

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        label: what it shows, with the unit.
        log: logarithmic; the values are greater than 0.
        ticks: where they are; empty means round values.
        low, high: its ends; None means those of the values.
    """

    label: str
    log: bool = False
    ticks: Sequence[float] = ()
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """A line, or lone marks if not `joined`; `style` numbers the colour, `dashed` is a second distinction."""

    label: str
    points: Sequence[Point]
    style: int
    dashed: bool = False
    joined: bool = True
    marked: bool = True


@dataclass
class Chart:
    """A chart under construction; `render` draws it."""

    title: str
    x: Axis
    y: Axis
    lines: list[Line] = field(default_factory=list)

    def add(self, line: Line) -> None:
        """Adds a line; one without points is left out."""
        if line.points:
            self.lines.append(line)

    def render(self) -> str:
        """The SVG document.

        Raises:
            ValueError: the chart has no lines.
        """
        if not self.lines:
            raise ValueError(f"chart {self.title!r} has no lines")
        across = _Scale(self.x, [x for line in self.lines for x, _ in line.points], LEFT, WIDTH - RIGHT)
        up = _Scale(self.y, [y for line in self.lines for _, y in line.points], HEIGHT - BOTTOM, TOP)
        parts = [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' {FONT} font-size='12'>",
            f"<title>{escape(self.title)}</title>",
            f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#fff'/>",
            f"<text x='{LEFT}' y='24' font-size='15' font-weight='bold'>{escape(self.title)}</text>",
            *_draw_axes(self.x, across, self.y, up),
        ]
        for number, line in enumerate(self.lines):
            parts += _draw_line(line, across, up)
            parts += _draw_legend(line, number)
        return "\n".join([*parts, "</svg>", ""])


class _Scale:
    """From values to pixels."""

    def __init__(self, axis: Axis, values: Sequence[float], first: float, last: float) -> None:
        self._log = axis.log
        low = min(values) if axis.low is None else axis.low
        high = max(values) if axis.high is None else axis.high
        if high <= low:
            high = low * 2 if low > 0 else low + 1
        if not axis.ticks:
            self.ticks = _log_ticks(low, high) if axis.log else _even_ticks(low, high)
            # The axis ends at ticks, or a little beyond the values.
            low = low if axis.low is not None else min(low, self.ticks[0])
            high = high if axis.high is not None else max(high, self.ticks[-1])
        else:
            self.ticks = list(axis.ticks)
            low, high = min(low, self.ticks[0]), max(high, self.ticks[-1])
        self._low, self._high = self._position(low), self._position(high)
        self._first, self._last = first, last

    def _position(self, value: float) -> float:
        return math.log10(value) if self._log else value

    def __call__(self, value: float) -> float:
        share = (self._position(value) - self._low) / (self._high - self._low)
        return round(self._first + min(1.0, max(0.0, share)) * (self._last - self._first), 1)


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, or powers alone where these would be many; from below `low` to above `high`."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1.0, 2.0, 5.0) if len(decades) <= 4 else (1.0,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    below = [tick for tick in ticks if tick <= low][-1:]
    above = [tick for tick in ticks if tick >= high][:1]
    return below + [tick for tick in ticks if low < tick < high] + above


def _even_ticks(low: float, high: float) -> list[float]:
    """Round values from at most `low` to at least `high`."""
    rough = (high - low) / TICKS_WANTED
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _draw_axes(x: Axis, across: _Scale, y: Axis, up: _Scale) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for tick in across.ticks:
        at = across(tick)
        parts.append(f"<line x1='{at}' y1='{TOP}' x2='{at}' y2='{bottom}' stroke='#e6e6e6'/>")
        parts.append(f"<text x='{at}' y='{bottom + 18}' text-anchor='middle'>{_number(tick)}</text>")
    for tick in up.ticks:
        at = up(tick)
        parts.append(f"<line x1='{LEFT}' y1='{at}' x2='{right}' y2='{at}' stroke='#e6e6e6'/>")
        parts.append(f"<text x='{LEFT - 8}' y='{at + 4}' text-anchor='end'>{_number(tick)}</text>")
    parts.append(f"<path d='M{LEFT} {TOP}V{bottom}H{right}' fill='none' stroke='#444'/>")
    middle = (LEFT + right) / 2
    parts.append(f"<text x='{middle}' y='{HEIGHT - 16}' text-anchor='middle'>{escape(x.label)}</text>")
    middle = (TOP + bottom) / 2
    turned = f"transform='rotate(-90 18 {middle})'"
    parts.append(f"<text x='18' y='{middle}' text-anchor='middle' {turned}>{escape(y.label)}</text>")
    return parts


def _draw_line(line: Line, across: _Scale, up: _Scale) -> list[str]:
    colour = COLOURS[line.style % len(COLOURS)]
    places = [(across(x), up(y)) for x, y in line.points]
    parts = []
    if line.joined:
        path = " ".join(f"{x},{y}" for x, y in places)
        dash = " stroke-dasharray='6 4'" if line.dashed else ""
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'{dash}/>")
    if line.marked or not line.joined:
        fill = colour if line.joined else "#fff"
        parts += [
            f"<circle cx='{x}' cy='{y}' r='3.5' fill='{fill}' stroke='{colour}' stroke-width='1.5'/>"
            for x, y in places
        ]
    return parts


def _draw_legend(line: Line, number: int) -> list[str]:
    colour = COLOURS[line.style % len(COLOURS)]
    left, at = WIDTH - RIGHT + 14, TOP + 10 + 20 * number
    dash = " stroke-dasharray='6 4'" if line.dashed else ""
    if line.joined:
        mark = f"<line x1='{left}' y1='{at}' x2='{left + 24}' y2='{at}' stroke='{colour}' stroke-width='2'{dash}/>"
    else:
        mark = (
            f"<circle cx='{left + 12}' cy='{at}' r='3.5' fill='#fff' stroke='{colour}' stroke-width='1.5'/>"
        )
    return [mark, f"<text x='{left + 30}' y='{at + 4}'>{escape(line.label)}</text>"]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"
