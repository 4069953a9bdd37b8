"""Recorded usage under a title, and what every plan came to on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rightsizer.evidence.backtest import Verdict
from rightsizer.evidence.rules import Rule
from rightsizer.methods.pace import STRATEGIES
from rightsizer.workload import ResourceName
from tests.accuracy.samples import Compared, Finer, compare
from tests.accuracy.study import FIGURES, Sources, is_told, judged, summaries

ALL = "all"
TITLES: Mapping[ResourceName, str] = {"cpu": "CPU", "memory": "Memory"}

Verdicts = Mapping[str, Verdict]


@dataclass(frozen=True, slots=True)
class Found:
    """One method or rule at the speeds of one strategy: its verdicts by source."""

    plan: str
    strategy: str
    verdicts: Verdicts

    def mean(self, resource: ResourceName, figure: str) -> dict[str, float]:
        """By source, and of all."""
        return {source: summary.mean for source, summary in summaries(self.verdicts, resource, FIGURES[resource][figure])}


@dataclass(frozen=True, slots=True)
class Set:
    """Recorded usage under a title, and what was found on it.

    `short`: the series that are told apart, and `found_short` what was found on them; `compared`: the finer sources, by the name of each
    plan.
    """

    title: str
    sources: Sources
    found: Sequence[Found]
    short: Sources = field(default_factory=dict)
    found_short: Sequence[Found] = ()
    compared: Sequence[tuple[Finer, Mapping[str, Compared]]] = ()

    def of(self, strategy: str, resource: ResourceName = "memory") -> list[Found]:
        """What was found at the speeds of a strategy, of the plans that say something about the resource."""
        return [one for one in self.found if one.strategy == strategy and is_told(one.plan, resource)]


def study(title: str, sources: Sources, plans: Sequence[Rule], *, short: Sources | None = None, finer: Sequence[Finer] = ()) -> Set:
    """Judges every plan at the speeds of every strategy."""
    return Set(
        title,
        sources,
        _found(sources, plans),
        short or {},
        _found(short or {}, plans),
        [(one, {plan.name: compare(one, plan, strategy=STRATEGIES[0]) for plan in plans if is_told(plan.name, "cpu")}) for one in finer],
    )


def _found(sources: Sources, plans: Sequence[Rule]) -> list[Found]:
    return [Found(plan.name, strategy, judged(sources, plan, strategy=strategy)) for strategy in STRATEGIES for plan in plans]
