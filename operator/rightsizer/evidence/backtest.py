"""A rule over many recorded series at once: replayed and judged block by block, so that memory does not grow with their number.

Each series is looked at from its own first slot on: hours and days are counted from there, and its first decision is made as soon as
there is enough history. Where series come from and where figures go is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rightsizer.errors import MethodFailed
from rightsizer.evidence.replay import Cause, Course
from rightsizer.evidence.rules import Replayed, Rule
from rightsizer.evidence.scores import Scores, joined, score, start_of_judging
from rightsizer.history import SLOT_SECONDS, Values
from rightsizer.methods.pace import Pace
from rightsizer.workload import RESOURCES, ResourceName

CELLS_AT_ONCE = 2_000_000
"""Values of one block: 8 MB of usage and some 100 MB while it is replayed."""


@dataclass(frozen=True, slots=True)
class Series:
    """The usage of one container: values of shape (slots,) in millicores and bytes, NaN for gaps; `first_slot` counted from 1970.

    `throttled`: the share of the CFS periods in which it was throttled, 0 to 1; None where that is not known.
    """

    name: str
    first_slot: int
    cpu: Values
    memory: Values
    throttled: Values | None = None

    @property
    def slots(self) -> int:
        return len(self.cpu)

    def usage(self, resource: ResourceName) -> Values:
        return self.cpu if resource == "cpu" else self.memory


@dataclass(frozen=True, slots=True)
class Decision:
    """The sizes that are in force from `unix_ts` on: millicores and bytes, NaN where nothing is known or no limit is set."""

    unix_ts: int
    cpu_request: float
    cpu_limit: float
    memory_request: float
    memory_limit: float
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a rule did: figures per series in the order of `names`; those of a resource without any value are NaN.

    `explanations`: how the rule came to its sizes, in the same order; none, or an empty one, for a rule that is the same for all.
    """

    plan: str
    names: tuple[str, ...]
    cpu: Scores
    memory: Scores
    explanations: Mapping[ResourceName, tuple[str, ...]] = field(default_factory=dict)

    def scores(self, resource: ResourceName) -> Scores:
        return self.cpu if resource == "cpu" else self.memory


Judging = Callable[[NDArray[np.int64]], NDArray[np.int64]]
Take = Callable[[Series, Sequence[Decision]], None]


def backtest(
    series: Sequence[Series],
    plan: Rule,
    pace: Pace,
    *,
    starts: Judging = start_of_judging,
    take: Take | None = None,
    report: Callable[[int], None] = lambda done: None,
) -> Verdict:
    """Replays and judges all series, which are there at least once. `take` gets the decisions of each; `report` how many are done."""
    order = sorted(series, key=lambda one: one.slots)
    names: list[str] = []
    scores: dict[ResourceName, list[Scores]] = {resource: [] for resource in RESOURCES}
    told: dict[ResourceName, tuple[str, ...]] = dict.fromkeys(RESOURCES, ())
    for block in _blocks(order):
        courses = {}
        for resource in RESOURCES:
            values, lengths = _matrix([one.usage(resource) for one in block])
            # Slot 1 ends an hour's first five minutes: hours are counted from the series' own begin.
            replayed = _replayed(plan, resource, values, pace, names=[one.name for one in block])
            courses[resource] = replayed.course
            told[resource] += replayed.explanations
            throttled = _throttled(block) if resource == "cpu" else None
            scores[resource].append(score(values, courses[resource], starts=starts(lengths), lengths=lengths, throttled=throttled))
        if take is not None:
            for row, one in enumerate(block):
                take(one, decisions(one, courses["cpu"], courses["memory"], row=row))
        names += [one.name for one in block]
        report(len(names))
    explanations = {resource: texts for resource, texts in told.items() if texts}
    return Verdict(plan.name, tuple(names), joined(scores["cpu"]), joined(scores["memory"]), explanations)


def _replayed(plan: Rule, resource: ResourceName, values: Values, pace: Pace, *, names: Sequence[str]) -> Replayed:
    """Raises MethodFailed with the name of the first series for which the method fails."""
    try:
        return plan.replayed(resource, values, pace, first_slot=1, names=names)
    except MethodFailed as error:
        for row, name in enumerate(names):
            try:
                plan.replayed(resource, values[row : row + 1], pace, first_slot=1, names=[name])
            except MethodFailed as own:
                raise MethodFailed(f"{name}: {own}") from own
        raise MethodFailed(f"{len(names)} series at once, from {names[0]}: {error}") from error


def merged(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdicts on several sets of series as one; at least one is given. Rules of different names are named side by side."""
    explanations = {
        resource: tuple(told for one in verdicts for told in one.explanations.get(resource, ("",) * len(one.names)))
        for resource in RESOURCES
        if any(resource in one.explanations for one in verdicts)
    }
    return Verdict(
        " / ".join(sorted({one.plan for one in verdicts})),
        tuple(name for one in verdicts for name in one.names),
        joined([one.cpu for one in verdicts]),
        joined([one.memory for one in verdicts]),
        explanations,
    )


def decisions(one: Series, cpu: Course, memory: Course, *, row: int) -> list[Decision]:
    """The decisions for one row of both courses, in the order of time.

    A decision has seen the slot at whose end it was made, a sample of that very second among it: it is in force one second later.
    """
    moved = np.flatnonzero((cpu.causes[row, : one.slots] > 0) | (memory.causes[row, : one.slots] > 0))
    return [
        Decision(
            (one.first_slot + column) * SLOT_SECONDS + 1,
            float(cpu.requests[row, column]),
            float(cpu.limits[row, column]),
            float(memory.requests[row, column]),
            float(memory.limits[row, column]),
            _reason(cpu=int(cpu.causes[row, column]), memory=int(memory.causes[row, column])),
        )
        for column in moved.tolist()
    ]


_WORDS = {
    Cause.FIRST: "First",
    Cause.RAISED: "Raised",
    Cause.LOWERED: "Lowered",
    Cause.ABOVE_REQUEST: "AboveRequest",
    Cause.NEAR_LIMIT: "NearLimit",
    Cause.OOM_KILL: "OOMKill",
}


def _reason(**causes: int) -> str:
    """`cpu:Raised`, or `cpu:First memory:First`."""
    return " ".join(f"{resource}:{_WORDS[Cause(cause)]}" for resource, cause in causes.items() if cause)


def _blocks(series: Sequence[Series]) -> Iterator[list[Series]]:
    """Series of like length (shortest first) in blocks of a bounded number of values."""
    block: list[Series] = []
    for one in series:
        if block and (len(block) + 1) * one.slots > CELLS_AT_ONCE:
            yield block
            block = []
        block.append(one)
    if block:
        yield block


def _matrix(rows: Sequence[Values]) -> tuple[Values, NDArray[np.int64]]:
    """Rows side by side, NaN behind the end of each, and their lengths."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    values = np.full((len(rows), int(lengths.max())), np.nan, dtype=np.float32)
    for number, row in enumerate(rows):
        values[number, : len(row)] = row
    return values, lengths


def _throttled(block: Sequence[Series]) -> Values | None:
    known = [one.throttled for one in block if one.throttled is not None]
    # Of one block all or none are known: they come from one place.
    return _matrix(known)[0] if len(known) == len(block) else None
