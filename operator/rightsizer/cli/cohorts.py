"""What a backtest replays: the usage of containers, together with those that follow the same rule at the same speeds.

Files of series know of no workloads: all of them follow one profile. Those of a cluster, or of manifests, follow each its own. How they do
is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rightsizer.cli.assessing import Declared, Usage, rule, window_seconds
from rightsizer.cli.exits import note
from rightsizer.cli.explaining import find_workload, parse_reference
from rightsizer.cli.options import open_origin
from rightsizer.cli.profile_file import read_documents, read_profile
from rightsizer.cli.progress import Report
from rightsizer.cli.recommending import check_ruled, listed
from rightsizer.cli.series_files import read_series
from rightsizer.cycle import Ruled
from rightsizer.errors import InvalidInput
from rightsizer.evidence.backtest import Series
from rightsizer.evidence.rules import Plan, Rule, learned, measured
from rightsizer.history import SLOT_SECONDS, History, last_slot
from rightsizer.methods import known_methods
from rightsizer.methods.pace import IN_PLACE, Pace, pace_of
from rightsizer.methods.plugin import Asked, installed
from rightsizer.profile import LEARNED, ContainerRule, Mode, Profile, RiskBudget
from rightsizer.profile.profile import DEFAULT_METHOD
from rightsizer.quantities import format_duration, format_percentage
from rightsizer.workload import ContainerKey, Sizes

CONTAINERS_AT_ONCE = 256
"""How many histories are decoded at a time, as `rightsizer.cycle.recommending` does it."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Series of one rule. `own`: the rule of their profile, followed at `pace`; other rules look back as far as `window_seconds`.

    `told`: that rule in words.
    """

    series: Sequence[Series]
    own: Rule
    pace: Pace
    window_seconds: int
    told: str


@dataclass(frozen=True, slots=True)
class Replayable:
    """All that is replayed. `sizes`: what is in force today by the name of the series; None where that is not known.

    `declared` and `usage`: where they come from; None for files of series.
    """

    cohorts: Sequence[Cohort]
    sizes: Mapping[str, Sizes] | None = None
    declared: Declared | None = None
    usage: Usage | None = None
    ruled: Sequence[Ruled] = field(default=())

    @property
    def series(self) -> list[Series]:
        return [one for cohort in self.cohorts for one in cohort.series]

    @property
    def told(self) -> str:
        """What is replayed, in a sentence."""
        rules = list(dict.fromkeys(cohort.told for cohort in self.cohorts))
        what = rules[0] if len(rules) == 1 else f"each container by the rule of its own profile, {len(rules)} in all"
        return f"{what}; each decision saw only what was there by then, and is judged by what came next."


@dataclass(frozen=True, slots=True)
class _Terms:
    """What containers have to have in common to be replayed together. `bounded`: whether the bounds of CPU and memory count."""

    rule: ContainerRule
    method: str
    pace: Pace
    window_seconds: int
    risk: RiskBudget
    guaranteed: bool = False
    bounded: tuple[bool, bool] = (True, True)

    def cohort(self, series: Sequence[Series]) -> Cohort:
        """Raises InvalidInput for a method that is not installed."""
        return Cohort(series, self._plan(), self.pace, self.window_seconds, self._told())

    def _plan(self) -> Rule:
        window = self.window_seconds
        if self.method == LEARNED:
            return learned(self.rule, self.risk, window_seconds=window, bounded=self.bounded, guaranteed=self.guaranteed)
        plan = measured(self.rule, window_seconds=window, bounded=self.bounded, guaranteed=self.guaranteed)
        if self.method == DEFAULT_METHOD:
            return plan
        plugin = installed().get(self.method)
        if plugin is None:
            known = ", ".join(sorted({*known_methods(), LEARNED}))
            raise InvalidInput(f"--method {self.method}: no such method is installed; known are {known}")
        cpu = replace(plan.cpu, estimator=Asked(plugin, "cpu", plan.cpu.window))
        return Plan(self.method, cpu, replace(plan.memory, estimator=Asked(plugin, "memory", plan.memory.window)))

    def _told(self) -> str:
        speeds, what = IN_PLACE if self.pace.fast else "Rollout", self.method
        if self.method == DEFAULT_METHOD:
            cpu, memory = (f"{one.told_statistic} + {format_percentage(one.buffer)}" for one in (self.rule.cpu, self.rule.memory))
            what = f"CPU {cpu}, memory {memory}"
        return f"{what} over {format_duration(self.window_seconds)}, at the speeds of {speeds}"


def _terms(profile: Profile, rule: ContainerRule, options: Mapping[str, Any]) -> _Terms:
    """Those of a profile, except for what the options put in their place."""
    pace = pace_of(profile, strategy=options["strategy"] or profile.apply.strategy)
    return _Terms(rule, options["method"] or profile.method, pace, profile.window_seconds, profile.risk)


def of_files(options: Mapping[str, Any], report: Report) -> Replayable:
    """Every series of the files, by one profile. Raises InvalidInput."""
    profile, bounded = _profile(options["profile"])
    # Made before a long file is read, for what may be wrong with it.
    cohort = replace(_terms(profile, profile.default_rule, options), bounded=bounded).cohort(())
    return Replayable([replace(cohort, series=read_series(options["history"], report))])


def _profile(path: Path | None) -> tuple[Profile, tuple[bool, bool]]:
    """The profile, and whether it names bounds for CPU and for memory: those of the schema are not meant for a judgement of the rule."""
    if path is None:
        return Profile("default", "default"), (False, False)
    profile = read_profile(path, replayed=True)
    spec = read_documents(path)[0].get("spec") or {}
    return profile, (_bounded(spec, "cpu"), _bounded(spec, "memory"))


def _bounded(spec: Mapping[str, Any], resource: str) -> bool:
    return any((spec.get(resource) or {}).get(bound) is not None for bound in ("min", "max"))


def of_workloads(options: Mapping[str, Any], report: Report) -> Replayable:
    """The containers of the workloads that the options ask for, each by the rule of its own profile.

    Raises NothingMatched where there is none, and what reading raises.
    """
    origin = open_origin(options, report)
    declared = origin.declared()
    ruled = _asked_for(options["workloads"], declared)
    check_ruled(ruled, declared)
    places = {one.workload.ref.namespace for one in ruled}
    # The others of the namespaces too: by their names pods are told apart where nothing else tells it.
    there = [workload for workload in declared.workloads if workload.ref.namespace in places]
    usage = origin.usage(there, window_seconds=window_seconds(ruled))
    groups, sizes = _by_terms(ruled, options)
    end = last_slot(usage.now)
    cohorts = [
        terms.cohort(found)
        for terms, keys in groups.items()
        if (found := _series(usage.history, keys, end=end, seconds=terms.window_seconds))
    ]
    _note_unmeasured(sizes, cohorts)
    return Replayable(cohorts, sizes, declared, usage, ruled)


def _asked_for(references: Sequence[str], declared: Declared) -> list[Ruled]:
    """The workloads of these names, or all, as far as a profile rules them."""
    ruled = rule(declared)
    if not references:
        return list(ruled.values())
    wanted = {find_workload(*parse_reference(text), declared).ref for text in references}
    return [one for ref, one in ruled.items() if ref in wanted]


def _by_terms(ruled: Iterable[Ruled], options: Mapping[str, Any]) -> tuple[Mapping[_Terms, Sequence[ContainerKey]], Mapping[str, Sizes]]:
    """The containers that are not ignored by what they have in common, and the sizes of each."""
    groups: dict[_Terms, list[ContainerKey]] = {}
    sizes: dict[str, Sizes] = {}
    for one in ruled:
        if one.mode is Mode.IGNORE:
            continue
        for container in one.workload.sizable:
            found = one.profile.rule_for(container.name)
            if not found.ignored:
                key = ContainerKey(one.workload.ref, container.name)
                terms = _terms(one.profile, found, options)
                pace = replace(terms.pace, steady=one.workload.ref.steady)
                terms = replace(terms, guaranteed=one.workload.guaranteed, pace=pace)
                groups.setdefault(terms, []).append(key)
                sizes[name_of(key)] = container.sizes
    return groups, sizes


def name_of(key: ContainerKey) -> str:
    """`shop/Deployment/web/app`."""
    return f"{key.workload.namespace}/{key.workload}/{key.container}"


def _series(history: History, keys: Sequence[ContainerKey], *, end: int, seconds: int) -> list[Series]:
    """The histories that hold anything, each from its first value to its last."""
    found = []
    for start in range(0, len(keys), CONTAINERS_AT_ONCE):
        window = history.window(keys[start : start + CONTAINERS_AT_ONCE], end=end, seconds=seconds, throttled=history.has_throttling)
        for row, key in enumerate(window.keys):
            columns = np.flatnonzero(np.isfinite(window.cpu[row]) | np.isfinite(window.memory[row]))
            if len(columns):
                seen = slice(int(columns[0]), int(columns[-1]) + 1)
                throttled = None if window.throttled is None else window.throttled[row, seen].copy()
                first = window.span.start // SLOT_SECONDS + seen.start
                found.append(Series(name_of(key), first, window.cpu[row, seen].copy(), window.memory[row, seen].copy(), throttled))
    return found


def _note_unmeasured(sizes: Mapping[str, Sizes], cohorts: Sequence[Cohort]) -> None:
    missing = sizes.keys() - {one.name for cohort in cohorts for one in cohort.series}
    if missing and cohorts:
        note(f"left out, because nothing was measured of them: {listed(sorted(missing))}")
