"""How rules did, as a table for people, and as JSON or CSV for programs. What a figure means is told in `rightsizer.evidence.scores`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from rightsizer.evidence.backtest import Verdict
from rightsizer.evidence.scores import Scores
from rightsizer.methods.statistics import Numbers
from rightsizer.workload import RESOURCES, ResourceName

FIGURES = tuple(item.name for item in fields(Scores))
_MEANINGLESS: Mapping[ResourceName, frozenset[str]] = {"cpu": frozenset({"oom_events", "oom_free"}), "memory": frozenset({"queued"})}
"""CPU above its limit waits, memory above its limit kills."""


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the table: percentages are of 1, the others as they are; `worst` is the largest, or the least."""

    title: str
    figure: str
    percent: bool = True
    worst_is_least: bool = False


_TABLE: Mapping[ResourceName, tuple[_Column, ...]] = {
    "cpu": (
        _Column("SLACK %", "slack"),
        _Column("ABOVE REQUEST %", "above"),
        _Column("UNMET %", "unmet"),
        _Column("ABOVE LIMIT %", "above_limit"),
        _Column("CHANGES/DAY", "changes", percent=False),
    ),
    "memory": (
        _Column("SLACK %", "slack"),
        _Column("ABOVE REQUEST %", "above"),
        _Column("OOM EVENTS", "oom_events", percent=False),
        _Column("OOM-FREE DAYS %", "oom_free", worst_is_least=True),
        _Column("CHANGES/DAY", "changes", percent=False),
    ),
}


def as_table(verdicts: Sequence[Verdict]) -> str:
    """Mean, median and worst series of the figures that matter most, for each rule."""
    return "\n\n".join(_table_of(verdicts, resource) for resource in RESOURCES)


def judged(verdicts: Sequence[Verdict], resource: ResourceName) -> int:
    """Of how many series the first rule could be judged."""
    return int(np.isfinite(verdicts[0].scores(resource).above).sum())


def _table_of(verdicts: Sequence[Verdict], resource: ResourceName) -> str:
    name, number = "CPU" if resource == "cpu" else "memory", judged(verdicts, resource)
    if not number:
        return f"{name}: nothing was judged"
    cells = rows(verdicts, resource)
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([f"{name}, {number} series: mean / median / worst", *lines])


def rows(verdicts: Sequence[Verdict], resource: ResourceName) -> list[list[str]]:
    """The cells of the table: the titles, and a row for each rule."""
    columns = _TABLE[resource]
    return [
        ["RULE", *(column.title for column in columns)],
        *([verdict.plan, *(_cell(verdict.scores(resource), column) for column in columns)] for verdict in verdicts),
    ]


def _cell(scores: Scores, column: _Column) -> str:
    values = getattr(scores, column.figure) * (100 if column.percent else 1)
    figures = _summary(values, least=column.worst_is_least)
    return " / ".join("-" if figure is None else f"{figure:.2f}" for figure in figures.values())


def _summary(values: Numbers, *, least: bool = False) -> dict[str, float | None]:
    known = values[np.isfinite(values)]
    if not len(known):
        return {"mean": None, "median": None, "worst": None}
    return {"mean": float(known.mean()), "median": float(np.median(known)), "worst": float(known.min() if least else known.max())}


def as_json(verdicts: Sequence[Verdict]) -> str:
    """Every figure of every rule: mean, median and worst, and of each series; shares as 0 to 1, null where there is none."""
    return json.dumps([_object(verdict) for verdict in verdicts], indent=2)


def _object(verdict: Verdict) -> dict[str, Any]:
    least = {column.figure for columns in _TABLE.values() for column in columns if column.worst_is_least} | {"quiet"}
    summary: dict[str, Any] = {
        resource: {figure: _summary(_values(verdict, resource, figure), least=figure in least) for figure in FIGURES}
        for resource in RESOURCES
    }
    return {"rule": verdict.plan, **summary, "series": list(_rows(verdict))}


def _rows(verdict: Verdict) -> Iterable[dict[str, Any]]:
    for row in np.argsort(verdict.names).tolist():
        yield {
            "name": verdict.names[row],
            **{resource: {figure: _number(_values(verdict, resource, figure)[row]) for figure in FIGURES} for resource in RESOURCES},
            **(
                {"choice": choices} if (choices := {name: texts[row] for name, texts in verdict.explanations.items() if texts[row]}) else {}
            ),
        }


def _values(verdict: Verdict, resource: ResourceName, figure: str) -> Numbers:
    values: Numbers = getattr(verdict.scores(resource), figure)
    return np.full_like(values, np.nan) if figure in _MEANINGLESS[resource] else values


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def as_csv(verdicts: Sequence[Verdict]) -> str:
    """One line for each rule, resource and series; shares as 0 to 1, nothing where there is none."""
    lines = [",".join(["rule", "resource", "series", *FIGURES])]
    for verdict in verdicts:
        for one in _rows(verdict):
            for resource in RESOURCES:
                values = ("" if value is None else f"{value:.6g}" for value in one[resource].values())
                lines.append(",".join([verdict.plan, resource, _quoted(one["name"]), *values]))
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(letter in text for letter in ',"\n') else text
