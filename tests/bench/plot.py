"""A plot with logarithmic axes as SVG, one panel beside the other. Knows numbers and names, nothing of what they mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 320
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 50
COLOURS = ("#0b6e4f", "#c8553d", "#3d5a80", "#8d6a9f")

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: lines by name, each of points (x, y). What is not above 0 has no place on it and is left out."""

    title: str
    x_title: str
    y_title: str
    lines: Mapping[str, Points]


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps values between two powers of ten to pixels."""

    low: int
    high: int
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self.low, self.high + 1)]


def axis(values: Sequence[float], *, start: float, end: float) -> Axis:
    """Whole powers of ten around the values, at least one decade."""
    logs = [math.log10(value) for value in values if value > 0] or [0.0]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    return Axis(low, max(high, low + 1), start, end)


def svg(panels: Sequence[Panel]) -> str:
    drawn = "\n".join(f'<g transform="translate({index * WIDTH},0)">{_panel(panel)}</g>' for index, panel in enumerate(panels))
    width = WIDTH * len(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="11">\n<rect width="{width}" height="{HEIGHT}" fill="white"/>\n{drawn}\n</svg>\n'
    )


def _panel(panel: Panel) -> str:
    points = [point for line in panel.lines.values() for point in line if min(point) > 0]
    across = axis([x for x, _ in points], start=LEFT, end=WIDTH - RIGHT)
    up = axis([y for _, y in points], start=HEIGHT - BOTTOM, end=TOP)
    parts = [*_grid(across, up), *_titles(panel)]
    for index, (name, line) in enumerate(panel.lines.items()):
        parts += _line(name, [point for point in line if min(point) > 0], across, up, index)
    return "\n".join(parts)


def _grid(across: Axis, up: Axis) -> list[str]:
    parts = []
    for tick in across.ticks():
        x = f"{across.at(tick):.1f}"
        parts.append(f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{_written(tick)}</text>')
    for tick in up.ticks():
        y = up.at(tick)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_written(tick)}</text>')
    return parts


def _titles(panel: Panel) -> list[str]:
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return [
        f'<text x="{LEFT}" y="20" font-size="13" font-weight="bold">{escape(panel.title)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 14}" text-anchor="middle">{escape(panel.x_title)}</text>',
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">{escape(panel.y_title)}</text>',
    ]


def _line(name: str, points: Points, across: Axis, up: Axis, index: int) -> list[str]:
    if not points:
        return []
    colour = COLOURS[index % len(COLOURS)]
    places = [(across.at(x), up.at(y)) for x, y in sorted(points)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places),
        # In a corner that growing lines leave free: at the lines, the names of near ones would cover each other.
        f'<text x="{LEFT + 8}" y="{TOP + 14 + 14 * index}" fill="{colour}">{escape(name)}</text>',
    ]


def _written(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
