"""Slack against harm: where each rule stands, and which of them no other beats in both. Knows names and numbers, not their making."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rightsizer.cli.drawing import Axis, decades, drawing, line, text, ticks

WIDTH, HEIGHT = 420, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 36, 46
_LEAST_PERCENT = 0.01
"""Below it, harm is drawn as nothing: a ten-thousandth of the time is four minutes of a month."""

_LETTER, _LINE = 6.7, 12.0
_RADIUS = 4.5

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
    wide = ticks(min(mark.slack for mark in marks), max(mark.slack for mark in marks), most=6)
    high = decades(_LEAST_PERCENT, max(*(mark.harm for mark in marks), _LEAST_PERCENT))
    across = Axis(wide[0], wide[-1], _LEFT, WIDTH - _RIGHT)
    up = Axis(high[0], high[-1], HEIGHT - _BOTTOM, _TOP, logarithmic=True)
    parts = [text(title, _LEFT, 20, kind="title"), *_grid(across, wide, up, high, harm)]
    parts += [_front(front(marks), across, up), *_labels(marks, across, up)]
    parts += [_spot(mark, across, up) for mark in marks]
    return drawing(parts, width=WIDTH, height=HEIGHT, told=f"{title}: slack against {harm} of {len(marks)} rules", alone=alone)


def _grid(across: Axis, wide: Sequence[float], up: Axis, high: Sequence[float], harm: str) -> list[str]:
    bottom = HEIGHT - _BOTTOM
    parts = []
    for value in wide:
        parts.append(line(across.at(value), _TOP, across.at(value), bottom))
        parts.append(text(f"{value:g}", across.at(value), bottom + 15, anchor="middle"))
    for value in high:
        parts.append(line(_LEFT, up.at(value), WIDTH - _RIGHT, up.at(value)))
        parts.append(text("0" if value == high[0] else f"{value:g}", _LEFT - 6, up.at(value) + 4, anchor="end"))
    middle = (_TOP + bottom) / 2
    parts.append(text("slack, %", (_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 12, anchor="middle"))
    return [*parts, text(f"{harm}, %", 16, middle, anchor="middle", turned=True)]


def _front(marks: Sequence[Mark], across: Axis, up: Axis) -> str:
    if len(marks) < 2:
        return ""
    x, y = across.at(marks[0].slack), up.at(marks[0].harm)
    steps = "".join(f"H{across.at(mark.slack):.1f}V{up.at(mark.harm):.1f}" for mark in marks[1:])
    return f'<path d="M{x:.1f} {y:.1f}{steps}" class="front"/>'


def _spot(mark: Mark, across: Axis, up: Axis) -> str:
    told = text(f"{mark.name}: slack {mark.slack:.2f} %, {mark.harm:.3g} %", 0, 0)
    words = told[told.index(">") + 1 : told.rindex("<")]
    place = f'cx="{across.at(mark.slack):.1f}" cy="{up.at(mark.harm):.1f}" r="{_RADIUS}"'
    return f'<circle {place} class="{mark.kind}"><title>{words}</title></circle>'


def _labels(marks: Sequence[Mark], across: Axis, up: Axis) -> list[str]:
    """The names, each at the first place beside its mark that is free, our own first."""
    spots = [(across.at(mark.slack), up.at(mark.harm)) for mark in marks]
    taken: list[Box] = [(x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS) for x, y in spots]
    parts = []
    for mark, (x, y) in sorted(zip(marks, spots, strict=True), key=lambda one: one[0].kind != "ours"):
        box = min(_places(mark.name, x, y), key=lambda place: sum(_overlap(place, other) for other in taken) + _outside(place))
        taken.append(box)
        parts.append(text(mark.name, box[0], box[3] - 3, kind="ours" if mark.kind == "ours" else ""))
    return parts


def _places(name: str, x: float, y: float) -> list[Box]:
    width, gap = len(name) * _LETTER, _RADIUS + 3
    corners = [
        (x + gap, y - _LINE / 2),
        (x - gap - width, y - _LINE / 2),
        (x - width / 2, y - gap - _LINE),
        (x - width / 2, y + gap),
        (x + gap, y - gap - _LINE),
        (x - gap - width, y - gap - _LINE),
        (x + gap, y + gap),
        (x - gap - width, y + gap),
    ]
    return [(left, top, left + width, top + _LINE) for left, top in corners]


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def _outside(box: Box) -> float:
    """So much is left out of a place that reaches over the edge, dearer than any overlap."""
    over = max(_LEFT - box[0], 0) + max(box[2] - WIDTH, 0) + max(_TOP - box[1], 0) + max(box[3] - (HEIGHT - _BOTTOM), 0)
    return over * 100
