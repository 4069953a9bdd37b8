"""Replays the past of every container in the background, a portion at a time, and remembers what came of it.

Evidence is made anew from the whole window every few hours: that costs little, and needs no memory but the figures. After a restart it is
simply made again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from rightsizer.cycle.assignment import Ruled
from rightsizer.cycle.recommending import Recommendations
from rightsizer.evidence.proof import Basis, Evidence, Figures, prove
from rightsizer.history import History
from rightsizer.methods import known_methods
from rightsizer.methods.pace import pace_of
from rightsizer.methods.plugin import Plugin
from rightsizer.methods.recommendation import Method
from rightsizer.profile import Mode
from rightsizer.workload import RESOURCES, ContainerKey, ResourceName, WorkloadRef

logger = logging.getLogger(__name__)

RENEWED_SECONDS = 6 * 3_600
"""How old evidence may become. At 2.5 ms for a container, 10,000 of them take 25 s of CPU in this time."""

TRIED_AGAIN_SECONDS = 3_600
"""The same where there was too little history to judge anything by."""

BUDGET_SECONDS = 1.0
"""How long a cycle may replay. A new cluster of 10,000 containers has its evidence after half an hour; until then nothing is lowered."""

CONTAINERS_AT_ONCE = 64
"""How many are replayed together: enough to be quick by arrays, few enough to keep the time."""

PLUGGED_AT_ONCE = 8
"""The same by a plug-in, of whose speed nothing is known. Where so many took a whole cycle's time, and for a container for which it failed
before, it is asked for one at a time."""


@dataclass(frozen=True, slots=True)
class ProvingReport:
    """What a cycle spent on replaying, in seconds, and of how many containers there is evidence now."""

    seconds: float
    containers: int


@dataclass(frozen=True, slots=True)
class _Proved:
    basis: Basis
    at: int
    evidence: Evidence | None
    failed: bool = False


class Proving:
    """The evidence of each container. Not for several threads at once."""

    def __init__(
        self,
        *,
        budget_seconds: float = BUDGET_SECONDS,
        stopwatch: Callable[[], float] = time.monotonic,
        methods: Mapping[str, Method] | None = None,
    ) -> None:
        """`methods`: those that profiles may name; all that are installed now, where none are given."""
        self._methods = known_methods() if methods is None else methods
        self._budget_seconds = budget_seconds
        self._stopwatch = stopwatch
        self._proved: dict[ContainerKey, _Proved] = {}
        self._bases: dict[Basis, Basis] = {}
        self._slow: set[Plugin] = set()

    def refresh(self, ruled: Iterable[Ruled], history: History, *, end: int, left_out: Collection[str] = ()) -> ProvingReport:
        """Replay what is missing or oldest, up to the slot `end`, until the time is up. Namespaces that are left out stay as they are:
        of them not all is known now."""
        began = self._stopwatch()
        wanted = {key: self._bases.setdefault(basis, basis) for key, basis in _wanted(ruled, self._methods)}
        # With another rule it proves nothing any more.
        self._proved = {
            key: proved
            for key, proved in self._proved.items()
            if wanted.get(key) is proved.basis or (key not in wanted and key.workload.namespace in left_out)
        }
        due = self._due(wanted, end, left_out)
        now = began
        while due:
            portion = _portion(due, wanted, self._at_once)
            self._replay(portion, wanted[portion[0]], history, end=end)
            for key in portion:
                del due[key]
            begun, now = now, self._stopwatch()
            self._judge_speed(wanted[portion[0]].plugin, now - begun)
            if now - began >= self._budget_seconds:
                break
        return ProvingReport(self._stopwatch() - began, sum(map(_proves, self._proved.values())))

    def _replay(self, portion: Sequence[ContainerKey], basis: Basis, history: History, *, end: int) -> None:
        """The whole window of containers of one rule."""
        usage = history.window(portion, end=end, seconds=basis.window_seconds)
        troubles: list[str] = []
        for key, evidence in zip(portion, prove(usage, basis, troubles.append), strict=True):
            self._proved[key] = _Proved(basis, end, evidence, failed=bool(troubles))
        for trouble in dict.fromkeys(troubles):
            logger.warning("some numbers have no evidence: %s", trouble)

    def _at_once(self, key: ContainerKey, basis: Basis) -> int:
        """In how large a portion a container may be replayed."""
        if basis.plugin is None:
            return CONTAINERS_AT_ONCE
        failed = key in self._proved and self._failed(key)
        return 1 if failed or basis.plugin in self._slow else PLUGGED_AT_ONCE

    def _judge_speed(self, plugin: Plugin | None, seconds: float) -> None:
        if plugin is not None and seconds >= self._budget_seconds:
            self._slow.add(plugin)
        elif plugin is not None and seconds * PLUGGED_AT_ONCE < self._budget_seconds:
            self._slow.discard(plugin)

    def of(self, ref: WorkloadRef, containers: Iterable[str]) -> dict[str, Evidence]:
        """By container name, where there is anything that was judged, though it may be too little to prove anything."""
        found = ((name, self._proved.get(ContainerKey(ref, name))) for name in containers)
        return {name: proved.evidence for name, proved in found if proved is not None and proved.evidence is not None}

    def held(self, key: ContainerKey) -> dict[ResourceName, float]:
        """The levels (millicores, bytes) below which this container is not lowered now; what is left out is not held."""
        proved = self._proved.get(key)
        if proved is None or proved.evidence is None:
            return {}
        return {resource: held for resource in RESOURCES if (held := proved.evidence.figures(resource).held) is not None}

    def see(self, recommendations: Mapping[WorkloadRef, Recommendations]) -> None:
        """Hold also the levels that were measured since a past was replayed."""
        for ref, found in recommendations.items():
            for name, recommendation in found.items():
                key = ContainerKey(ref, name)
                proved = self._proved.get(key)
                if proved is None or proved.evidence is None:
                    continue
                evidence = proved.evidence
                for resource in RESOURCES:
                    explanation = recommendation.explanation(resource)
                    # The value is the held level, unless a higher one was measured just now.
                    if explanation is not None and explanation.measurement.latest is None:
                        evidence = _raised(evidence, resource, explanation.measurement.value)
                if evidence is not proved.evidence:
                    self._proved[key] = replace(proved, evidence=evidence)

    def _due(self, wanted: Mapping[ContainerKey, Basis], end: int, left_out: Collection[str]) -> dict[ContainerKey, None]:
        """Those to be replayed, the oldest first."""
        ages = {key: self._proved[key].at if key in self._proved else -1 for key in wanted if key.workload.namespace not in left_out}
        due = (key for key, at in ages.items() if at < 0 or end - at >= self._lasts(key))
        return dict.fromkeys(sorted(due, key=ages.__getitem__))

    def _lasts(self, key: ContainerKey) -> int:
        # What fails is no cheaper than what does not, and seldom mends itself.
        return RENEWED_SECONDS if _proves(self._proved[key]) or self._failed(key) else TRIED_AGAIN_SECONDS

    def _failed(self, key: ContainerKey) -> bool:
        """Whether a plug-in failed for it, or for others beside it, and nothing is proved."""
        return self._proved[key].failed and not _proves(self._proved[key])


def _proves(proved: _Proved) -> bool:
    return proved.evidence is not None and proved.evidence.proves_anything


def prove_all(ruled: Sequence[Ruled], history: History, *, end: int) -> Proving:
    """The evidence of all of them, however long it takes."""
    proving = Proving(budget_seconds=float("inf"))
    proving.refresh(ruled, history, end=end)
    return proving


def _wanted(ruled: Iterable[Ruled], methods: Mapping[str, Method]) -> Iterator[tuple[ContainerKey, Basis]]:
    for one in ruled:
        if one.mode is Mode.IGNORE:
            continue
        workload, profile = one.workload, one.profile
        pace = pace_of(profile, strategy=profile.apply.strategy)
        method = methods.get(profile.method)
        plugin = method if isinstance(method, Plugin) else None
        for container in workload.sizable:
            rule = profile.rule_for(container.name)
            if not rule.ignored:
                yield ContainerKey(workload.ref, container.name), Basis(rule, workload.guaranteed, profile.window_seconds, pace, plugin)


def _portion(
    due: Mapping[ContainerKey, None], wanted: Mapping[ContainerKey, Basis], at_once: Callable[[ContainerKey, Basis], int]
) -> list[ContainerKey]:
    """The first that is due, with others of the same rule that may be in a portion of that size."""
    first = next(iter(due))
    basis, most = wanted[first], at_once(first, wanted[first])
    alike = (key for key in due if wanted[key] is basis and at_once(key, basis) == most)
    return list(islice(alike, most))


def _raised(evidence: Evidence, resource: ResourceName, level: float) -> Evidence:
    figures: Figures = evidence.figures(resource)
    if figures.held is None or level <= figures.held:
        return evidence
    raised = replace(figures, held=level)
    return replace(evidence, cpu=raised) if resource == "cpu" else replace(evidence, memory=raised)
