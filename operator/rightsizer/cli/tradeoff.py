"""Slack against harm: where each rule stands, and which of them no other beats in both. Knows names and numbers, not their making."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from rightsizer.cli.drawing import Axis, decades, drawing, line, text, ticks

WIDTH, HEIGHT = 420, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 36, 46
_LEAST_PERCENT = 0.01
"""Below it, harm is drawn as nothing: a ten-thousandth of the time is four minutes of a month."""

_LEAST_SLACK = -50.0
"""Rules that give far too little are drawn at the edge: on their scale all others would be one spot."""
_NARROWEST = 5.0
"""How many points of slack the plot shows at least."""

_LETTER, _BOLD_LETTER, _LINE = 6.9, 7.9, 12.0
"""Of the widest of the usual fonts."""
_RADIUS, _GAP = 4.5, 3.0
_AWAY = (0.0, 14.0, 28.0, 42.0)
_AWAY_COST = 0.5
"""How far from its mark a name may stand, and what a pixel of that costs, as pixels of overlap."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a rule stands, in per cent. `ours`: the one that is judged; `ideal`: one that nobody can follow, out of competition."""

    name: str
    slack: float
    harm: float
    kind: Literal["ours", "rule", "ideal"] = "rule"


def front(marks: Iterable[Mark]) -> list[Mark]:
    """The marks that no other beats in both, by growing slack."""
    best: list[Mark] = []
    for mark in sorted((mark for mark in marks if mark.kind != "ideal"), key=lambda mark: (mark.slack, mark.harm)):
        if not best or mark.harm < best[-1].harm:
            best.append(mark)
    return best


def tradeoff(title: str, harm: str, marks: Sequence[Mark], *, alone: bool = False) -> str:
    """The plot; the nearer to the lower left, the better. `harm`: what its axis is called."""
    wide = _slacks([max(mark.slack, _LEAST_SLACK) for mark in marks])
    high = decades(_LEAST_PERCENT, max(*(mark.harm for mark in marks), _LEAST_PERCENT))
    across = Axis(wide[0], wide[-1], _LEFT, WIDTH - _RIGHT)
    up = Axis(high[0], high[-1], HEIGHT - _BOTTOM, _TOP, logarithmic=True)
    parts = [text(title, _LEFT, 20, kind="title"), *_grid(across, wide, up, high, harm)]
    parts += [_front(front(marks), across, up), *_labels(marks, across, up)]
    parts += [_spot(mark, across, up) for mark in marks]
    return drawing(parts, width=WIDTH, height=HEIGHT, told=f"{title}: slack against {harm} of {len(marks)} rules", alone=alone)


def _slacks(shown: Sequence[float]) -> list[float]:
    """The marks of the axis."""
    missing = max(_NARROWEST - (max(shown) - min(shown)), 0.0)
    return ticks(min(shown) - missing / 2, max(shown) + missing / 2, most=6)


def _grid(across: Axis, wide: Sequence[float], up: Axis, high: Sequence[float], harm: str) -> list[str]:
    bottom = HEIGHT - _BOTTOM
    parts = []
    for value in wide:
        parts.append(line(across.at(value), _TOP, across.at(value), bottom))
        told = f"≤{value:g}" if value <= _LEAST_SLACK else f"{value:g}"
        parts.append(text(told, across.at(value), bottom + 15, anchor="middle"))
    for value in high:
        parts.append(line(_LEFT, up.at(value), WIDTH - _RIGHT, up.at(value)))
        parts.append(text(f"≤{value:g}" if value == high[0] else f"{value:g}", _LEFT - 6, up.at(value) + 4, anchor="end"))
    middle = (_TOP + bottom) / 2
    parts.append(text("slack, %", (_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 12, anchor="middle"))
    return [*parts, text(f"{harm}, %", 16, middle, anchor="middle", turned=True)]


def _front(marks: Sequence[Mark], across: Axis, up: Axis) -> str:
    if len(marks) < 2:
        return ""
    x, y = across.at(marks[0].slack), up.at(marks[0].harm)
    steps = "".join(f"H{across.at(mark.slack):.1f}V{up.at(mark.harm):.1f}" for mark in marks[1:])
    return f'<path d="M{x:.1f} {y:.1f}{steps}" class="front"/>'


def _along(marks: Sequence[Mark], across: Axis, up: Axis) -> list[Box]:
    """Where the line of the front runs."""
    spots = [(across.at(mark.slack), up.at(mark.harm)) for mark in marks]
    boxes: list[Box] = []
    for (x, y), (right, low) in pairwise(spots):
        boxes += [(x, y - 1, right, y + 1), (right - 1, y, right + 1, low)]
    return boxes


def _spot(mark: Mark, across: Axis, up: Axis) -> str:
    told = text(f"{mark.name}: slack {mark.slack:.2f} %, {mark.harm:.3g} %", 0, 0)
    words = told[told.index(">") + 1 : told.rindex("<")]
    place = f'cx="{across.at(mark.slack):.1f}" cy="{up.at(mark.harm):.1f}" r="{_RADIUS}"'
    return f'<circle {place} class="{mark.kind}"><title>{words}</title></circle>'


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a name can stand: its box, by which side it is held, and how far from the mark."""

    box: Box
    anchor: Literal["start", "middle", "end"]
    away: float

    @property
    def x(self) -> float:
        return {"start": self.box[0], "middle": (self.box[0] + self.box[2]) / 2, "end": self.box[2]}[self.anchor]


def _labels(marks: Sequence[Mark], across: Axis, up: Axis) -> list[str]:
    """The names, each at the best place near its mark, our own first; with a line to the mark where it is not beside it."""
    spots = [(across.at(mark.slack), up.at(mark.harm)) for mark in marks]
    taken: list[Box] = [(x - _RADIUS - 1, y - _RADIUS - 1, x + _RADIUS + 1, y + _RADIUS + 1) for x, y in spots]
    lines = _along(front(marks), across, up)
    parts = []
    for mark, (x, y) in sorted(zip(marks, spots, strict=True), key=lambda one: one[0].kind != "ours"):
        place = min(_places(mark, x, y), key=lambda one: _cost(one, taken, lines))
        taken.append(place.box)
        if place.away:
            middle = (place.box[1] + place.box[3]) / 2
            parts.append(line(x, y, min(max(x, place.box[0]), place.box[2]), middle, "leader"))
        parts.append(text(mark.name, place.x, place.box[3] - 3, anchor=place.anchor, kind="ours" if mark.kind == "ours" else ""))
    return parts


def _places(mark: Mark, x: float, y: float) -> list[_Place]:
    """All places, the nearest first."""
    width = len(mark.name) * (_BOLD_LETTER if mark.kind == "ours" else _LETTER)
    places = []
    for away in _AWAY:
        beside = _RADIUS + _GAP + away
        for across, down in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)):
            left = x - width / 2 if not across else x + beside if across > 0 else x - beside - width
            top = y - _LINE / 2 if not down else y + beside if down > 0 else y - beside - _LINE
            anchor: Literal["start", "middle", "end"] = "middle" if not across else "start" if across > 0 else "end"
            places.append(_Place((left, top, left + width, top + _LINE), anchor, away))
    return places


def _cost(place: _Place, taken: Sequence[Box], lines: Sequence[Box]) -> float:
    """A name over another or over a mark cannot be read; over the line of the front it can, but not well."""
    covered = sum(_overlap(place.box, other) for other in taken) * 4 + sum(_overlap(place.box, other) for other in lines)
    return covered + _outside(place.box) + place.away * _AWAY_COST


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def _outside(box: Box) -> float:
    """So much is left out of a place that reaches over the edge, dearer than any overlap."""
    over = max(_LEFT - box[0], 0) + max(box[2] - WIDTH, 0) + max(_TOP - box[1], 0) + max(box[3] - (HEIGHT - _BOTTOM), 0)
    return over * 100
