"""Rules over sources of recorded usage: who is judged by what. Printing is elsewhere.

The traces of the project are always there; a folder with more of the same form may be named by RIGHTSIZER_TRACES and stands in their place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rightsizer.cli.series_files import read_series
from rightsizer.evidence.backtest import Series, Verdict, backtest
from rightsizer.evidence.rules import LearnedPlan, Plan, Rule, learned, measured, rule_of
from rightsizer.evidence.scores import Scores, start_of_judging
from rightsizer.history import Values
from rightsizer.methods.levels import DAY_SLOTS
from rightsizer.methods.pace import pace_of
from rightsizer.methods.sizing import top_ratio
from rightsizer.methods.statistics import Numbers
from rightsizer.profile import DAY_SECONDS, LimitRule, Profile, ResourceRule, RiskBudget, half_life_of, parse_statistic
from rightsizer.quantities import duration_seconds
from rightsizer.workload import ResourceName

TRACES = Path(__file__).parents[1] / "traces"
FOLDER_VARIABLE = "RIGHTSIZER_TRACES"
LEAST_DAYS = 3
"""Shorter series leave less than two days to be judged after the first one: they are told apart."""

PROFILE = Profile("study", "study", raise_after_seconds=DAY_SECONDS, lower_after_seconds=DAY_SECONDS)

Figure = Callable[[Scores], Numbers]

FIGURES: Mapping[ResourceName, Mapping[str, Figure]] = {
    "cpu": {
        "slack %": lambda scores: scores.slack * 100,
        "above %": lambda scores: scores.above * 100,
        "unmet %": lambda scores: scores.unmet * 100,
        "changes/day": lambda scores: scores.changes,
    },
    "memory": {
        "slack %": lambda scores: scores.slack * 100,
        "above %": lambda scores: scores.above * 100,
        "OOM days %": lambda scores: (1 - scores.oom_free) * 100,
        "changes/day": lambda scores: scores.changes,
    },
}
"""What is told of each rule; of all, less is better."""

Sources = Mapping[str, Sequence[Series]]


@dataclass(frozen=True, slots=True)
class Summary:
    """One rule over the series of one source: mean, median and worst of a figure, in the figure's own unit."""

    mean: float
    median: float
    worst: float


def read_sources(folder: Path) -> Sources:
    """The series of each file of a folder, by the name of the file."""
    files = [path for path in sorted(folder.glob("*.csv.gz")) if ".extra." not in path.name]
    return {path.name.removesuffix(".csv.gz"): read_series([path], lambda *told: None) for path in files}


def divided(sources: Sources) -> tuple[Sources, Sources]:
    """The series of at least `LEAST_DAYS`, and the shorter ones; a source without any is left out."""
    least = LEAST_DAYS * DAY_SLOTS
    return _those(sources, lambda one: one.slots >= least), _those(sources, lambda one: one.slots < least)


def _those(sources: Sources, wanted: Callable[[Series], bool]) -> Sources:
    found = {source: [one for one in series if wanted(one)] for source, series in sources.items()}
    return {source: series for source, series in found.items() if series}


def judged(sources: Sources, plan: Rule, *, strategy: str) -> dict[str, Verdict]:
    """The plan over each source, at the speeds of the strategy."""
    pace = pace_of(PROFILE, strategy=strategy)
    return {source: backtest(series, plan, pace) for source, series in sources.items()}


def methods() -> list[Rule]:
    """The methods of the product, with a profile's defaults: what is compared with `RULES`. A further method is a further plan here."""
    return [with_statistics("", ""), with_budget(None)]


def with_statistics(cpu: str, memory: str) -> Plan:
    """`Measured` with other statistics than its own, each written `p95` or `load-p95/12h`; an empty one is its own."""
    rule = PROFILE.default_rule
    rule = replace(rule, cpu=_with(rule.cpu, cpu, "cpu"), memory=_with(rule.memory, memory, "memory"))
    plan = measured(rule, window_seconds=PROFILE.window_seconds, bounded=(False, False))
    return replace(plan, name=f"{rule.cpu.told_statistic} | {rule.memory.told_statistic}" if cpu or memory else plan.name)


def with_budget(budget: float | None) -> LearnedPlan:
    """`Learned` with this share of the time above the request; None is its own."""
    plan = learned(PROFILE.default_rule, RiskBudget(budget), window_seconds=PROFILE.window_seconds, bounded=(False, False))
    return plan if budget is None else replace(plan, name=f"Learned {budget * 100:g} %")


_LIMITED = ", limit "


def is_told(plan: str, resource: ResourceName) -> bool:
    """Whether a plan says anything of its own about a resource: another memory limit says nothing about CPU."""
    return resource == "memory" or _LIMITED not in plan


def with_our_limits(name: str) -> Plan:
    """A rule to compare with, whose memory limit is as high as those of the methods may be."""
    plan = rule_of(name, window_seconds=PROFILE.window_seconds)
    most = top_ratio(PROFILE.default_rule.memory.limit)
    return replace(plan, name=f"{name}{_LIMITED}{most:g} x", memory=replace(plan.memory, limit=LimitRule(ratio=most)))


def _with(rule: ResourceRule, written: str, resource: ResourceName) -> ResourceRule:
    if not written:
        return rule
    name, _, half_life = written.partition("/")
    by_itself = half_life_of(parse_statistic(name), resource)
    return replace(rule, statistic=name, half_life_seconds=duration_seconds(half_life) if half_life else by_itself)


def summaries(verdicts: Mapping[str, Verdict], resource: ResourceName, figure: Figure) -> Iterator[tuple[str, Summary]]:
    """The figure of each source that has the resource, and of all series together, larger being worse."""
    values = {source: figure(verdict.scores(resource)) for source, verdict in verdicts.items()}
    known = {source: found[np.isfinite(found)] for source, found in values.items()}
    for source, found in {**known, "all": np.concatenate(list(known.values()))}.items():
        if len(found):
            yield source, Summary(float(found.mean()), float(np.median(found)), float(found.max()))


def pooled_oom_free(sources: Sources, verdicts: Mapping[str, Verdict]) -> float:
    """The share of the days of all series together without a value above the memory limit: a long series counts for more."""
    days = {one.name: _judged_days(one.memory) for series in sources.values() for one in series}
    counts = np.concatenate([[days[name] for name in verdict.names] for verdict in verdicts.values()])
    shares = np.concatenate([verdict.memory.oom_free for verdict in verdicts.values()])
    known = np.isfinite(shares)
    return float(np.average(shares[known], weights=counts[known])) if known.any() else math.nan


def _judged_days(values: Values) -> int:
    """How many days have a value that is judged."""
    start = int(start_of_judging(np.array([len(values)]))[0])
    known = np.isfinite(values[start:])
    return sum(bool(known[begin : begin + DAY_SLOTS].any()) for begin in range(0, len(known), DAY_SLOTS))


def misses(verdicts: Mapping[str, Verdict], resource: ResourceName, budget: float) -> float:
    """How far the measured time above the request is from the promised one, in the mean over all series."""
    above = np.concatenate([verdict.scores(resource).above for verdict in verdicts.values()])
    return float(np.nanmean(np.abs(above - budget)))


def share_within(verdicts: Mapping[str, Verdict], resource: ResourceName, most: float) -> float:
    """The share of the series that are above their request for at most this share of the time."""
    above = np.concatenate([verdict.scores(resource).above for verdict in verdicts.values()])
    known = above[np.isfinite(above)]
    return float((known <= most).mean()) if len(known) else math.nan
