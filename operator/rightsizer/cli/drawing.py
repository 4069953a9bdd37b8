"""What the drawings of reports share: colours for light and dark, axes and their marks, as pieces of SVG.

A drawing stands in a page, which holds the style once, or in a file of its own, which holds it itself. What is drawn is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

STYLE = """
.drawing text { fill: #3d4752; font: 11px system-ui, sans-serif; paint-order: stroke; stroke: #fff; stroke-width: 3px; }
.drawing .title { font-weight: 600; font-size: 13px; fill: #16202b; }
.drawing .grid { stroke: #dde3e9; }
.drawing .front { stroke: #9aa7b4; stroke-dasharray: 4 3; fill: none; }
.drawing .leader { stroke: #9aa7b4; }
.drawing .rule { fill: #5b7fa6; }
.drawing .ours { fill: #c2410c; }
.drawing .ideal { fill: none; stroke: #5b7fa6; stroke-width: 1.5; }
.drawing text.ours { font-weight: 600; fill: #c2410c; }
.drawing .used { stroke: #5b7fa6; fill: none; stroke-linecap: round; }
.drawing .request { stroke: #c2410c; stroke-width: 1.5; fill: none; }
.drawing .limit { stroke: #7a8794; stroke-dasharray: 2 3; fill: none; }
@media screen and (prefers-color-scheme: dark) {
  .drawing text { fill: #b4c0cc; stroke: #161b22; }
  .drawing .title { fill: #eef2f6; }
  .drawing .grid { stroke: #333e4a; }
  .drawing .front, .drawing .leader { stroke: #6d7b89; }
  .drawing .rule, .drawing text.rule { fill: #8fb4dd; }
  .drawing .ours, .drawing text.ours { fill: #ff9b63; }
  .drawing .ideal { stroke: #8fb4dd; }
  .drawing .used { stroke: #8fb4dd; }
  .drawing .request { stroke: #ff9b63; }
}
"""
"""Colours without variables, so that programs which only draw SVG understand them too."""

_BACKGROUND = """
.drawing .paper { fill: #fff; }
@media screen and (prefers-color-scheme: dark) { .drawing .paper { fill: #161b22; } }
"""
_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps values from `low` to `high` to pixels from `start` to `end`; by their logarithm where `logarithmic`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The pixel; what lies outside is drawn at the edge."""
        low, high, inside = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, inside = math.log10(low), math.log10(high), math.log10(inside)
        return self.start + (inside - low) / (high - low) * (self.end - self.start)


def ticks(low: float, high: float, *, most: int) -> list[float]:
    """Round numbers that reach from below `low` to above `high`, some `most` of them."""
    width = max(high - low, abs(high) * 1e-6, 1e-9)
    power = 10.0 ** math.floor(math.log10(width / most))
    step = next(power * factor for factor in _STEPS if width / (power * factor) <= most)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * number, 9) for number in range(first, max(last, first + 1) + 1)]


def decades(low: float, high: float) -> list[float]:
    """The powers of ten from below `low` to above `high`, at least two."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [float(f"1e{power}") for power in range(first, max(last, first + 1) + 1)]


def text(words: str, x: float, y: float, *, anchor: str = "start", kind: str = "", turned: bool = False) -> str:
    """Words at a place, escaped."""
    place = f'x="{x:.1f}" y="{y:.1f}"' + (f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else "")
    name = f' class="{kind}"' if kind else ""
    return f'<text {place} text-anchor="{anchor}"{name}>{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> str:
    """A straight line; of the grid, unless it is said what else."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def path(points: Iterable[Sequence[float]], kind: str, *, stepped: bool = False) -> str:
    """A line through the points; one that is not finite interrupts it. `stepped`: it stays at a height until the next point."""
    parts, height = [], math.nan
    for x, y in points:
        if not math.isfinite(y):
            height = math.nan
            continue
        if not math.isfinite(height):
            # Of no length: with round ends, a point between two gaps is a dot.
            parts.append(f"M{x:.1f} {y:.1f}h0")
        elif stepped:
            parts.append(f"H{x:.1f}" + (f"V{y:.1f}" if abs(y - height) > 0.05 else ""))
        else:
            parts.append(f"L{x:.1f} {y:.1f}")
        height = y
    return f'<path d="{"".join(parts)}" class="{kind}"/>' if parts else ""


def drawing(parts: Iterable[str], *, width: int, height: int, told: str, alone: bool = False) -> str:
    """The whole drawing. `told`: what it shows, for who cannot see it. `alone`: as a file of its own, with style and background."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" role="img" viewBox="0 0 {width} {height}"'
    sized = f' width="{width}" height="{height}"' if alone else ""
    style = f'<style>{_BACKGROUND}{STYLE}</style>\n<rect width="{width}" height="{height}" class="paper"/>\n' if alone else ""
    return f"{head}{sized}>\n<title>{escape(told)}</title>\n{style}" + "\n".join(part for part in parts if part) + "\n</svg>\n"
