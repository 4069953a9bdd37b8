"""Replays the past of every container in the background, a portion at a time, and remembers what came of it.

Evidence is made anew from the whole window every few hours: that costs little, and needs no memory but the figures. After a restart it is
simply made again. What the method `Learned` wants comes out of the same walk: it goes on hour by hour from where it ended, and once a day
it is made anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from rightsizer.cycle.assignment import Ruled
from rightsizer.cycle.recommending import Recommendations
from rightsizer.cycle.wanted import awaited_after
from rightsizer.evidence.proof import Basis, Evidence, Figures, prove
from rightsizer.evidence.walking import Walked, walk, walk_on
from rightsizer.history import History
from rightsizer.methods import known_methods
from rightsizer.methods.pace import pace_of
from rightsizer.methods.plugin import Plugin
from rightsizer.methods.recommendation import Learnt, Method
from rightsizer.profile import LEARNED, ContainerRule, LimitPolicy, Mode
from rightsizer.workload import RESOURCES, ContainerKey, ResourceName, Sizes, WorkloadRef

logger = logging.getLogger(__name__)

RENEWED_SECONDS = 6 * 3_600
"""How old evidence may become. At 2.5 ms for a container, 10,000 of them take 25 s of CPU in this time."""

TRIED_AGAIN_SECONDS = 3_600
"""The same where there was too little history to judge anything by."""

BUDGET_SECONDS = 1.0
"""How long a cycle may replay. A new cluster of 10,000 containers has its evidence after half an hour; until then nothing is lowered."""

CONTAINERS_AT_ONCE = 32
"""How many are replayed together: enough to be quick by arrays, few enough to keep the time."""

WALK_RENEWED_SECONDS = 24 * 3_600
"""How old a walk of `Learned` may become before it is made anew from the window, with its evidence. At 6 to 9 ms for a container it costs
as much in a day as that of `Measured` does. So samples that came very late, and what lies before the window, are forgotten, and after a
restart the numbers are nearly the same."""

WALKED_AT_ONCE = 128
"""The same for a whole walk: most of its second is spent whatever their number."""

WALKED_ON_AT_ONCE = 256
"""For going on by an hour, which takes 0.2 s for so many."""

WALK_SHARE = 0.3
"""Where more of a cycle's time was spent, no whole walk is begun in it: it takes all of it."""

PLUGGED_AT_ONCE = 8
"""The same by a plug-in, of whose speed nothing is known. Where so many took a whole cycle's time, and for a container for which it failed
before, it is asked for one at a time."""

_HOUR_SECONDS = 3_600


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
    walked: Walked | None = None
    failed: bool = False
    trouble: str = ""


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
        self._outdated: set[ContainerKey] = set()

    def refresh(self, ruled: Iterable[Ruled], history: History, *, end: int, left_out: Collection[str] = ()) -> ProvingReport:
        """Replay what is missing or oldest, up to the slot `end`, until the time is up. Namespaces that are left out stay as they are:
        of them not all is known now."""
        began = self._stopwatch()
        wanted = {key: self._bases.setdefault(basis, basis) for key, basis in _wanted(ruled, self._methods)}
        # With another rule it proves nothing any more.
        self._outdated |= {key for key, proved in self._proved.items() if wanted.get(key, proved.basis) is not proved.basis}
        self._outdated &= wanted.keys()
        self._proved = {
            key: proved
            for key, proved in self._proved.items()
            if wanted.get(key) is proved.basis or (key not in wanted and key.workload.namespace in left_out)
        }
        # Those of rules that are gone would be kept for ever.
        used = {id(basis): basis for basis in (*wanted.values(), *(proved.basis for proved in self._proved.values()))}
        self._bases = {basis: basis for basis in used.values()}
        due = self._due(wanted, end, left_out)
        self._walk_on(history, end=_last_hour(end), left_out=left_out, until=began + self._budget_seconds)
        now = self._stopwatch()
        while due:
            portion = _portion(due, wanted, self._at_once)
            basis = wanted[portion[0]]
            if basis.risk is not None and now - began > self._budget_seconds * WALK_SHARE:
                break
            self._replay(portion, basis, history, end=end)
            for key in portion:
                del due[key]
            begun, now = now, self._stopwatch()
            self._judge_speed(basis.plugin, now - begun)
            if now - began >= self._budget_seconds:
                break
        return ProvingReport(self._stopwatch() - began, sum(map(_proves, self._proved.values())))

    def _at_once(self, key: ContainerKey, basis: Basis) -> int:
        """In how large a portion a container may be replayed."""
        if basis.plugin is None:
            return CONTAINERS_AT_ONCE if basis.risk is None else WALKED_AT_ONCE
        failed = key in self._proved and self._failed(key)
        return 1 if failed or basis.plugin in self._slow else PLUGGED_AT_ONCE

    def _judge_speed(self, plugin: Plugin | None, seconds: float) -> None:
        if plugin is not None and seconds >= self._budget_seconds:
            self._slow.add(plugin)
        elif plugin is not None and seconds * PLUGGED_AT_ONCE < self._budget_seconds:
            self._slow.discard(plugin)

    def _replay(self, portion: Sequence[ContainerKey], basis: Basis, history: History, *, end: int) -> None:
        """The whole window of containers of one rule."""
        if basis.risk is not None:
            usage = history.window(portion, end=_last_hour(end), seconds=basis.window_seconds)
            for key, walked in zip(portion, walk(usage, basis), strict=True):
                self._proved[key] = _Proved(basis, end, walked.evidence, walked)
            return
        usage = history.window(portion, end=end, seconds=basis.window_seconds)
        troubles: list[str] = []
        for key, evidence in zip(portion, prove(usage, basis, troubles.append), strict=True):
            # Told where something is missing: others of the portion may have failed.
            whole = evidence is not None and all(evidence.figures(resource).judged_slots for resource in RESOURCES)
            told = "" if whole else "; ".join(dict.fromkeys(troubles))
            self._proved[key] = _Proved(basis, end, evidence, failed=bool(troubles), trouble=told)
        for trouble in dict.fromkeys(troubles):
            logger.warning("some numbers have no evidence: %s", trouble)

    def _walk_on(self, history: History, *, end: int, left_out: Collection[str], until: float) -> None:
        """Goes on with the walks that did not see the hour that ends with the slot `end`."""
        late = {
            key: (proved.walked.end, id(proved.basis))
            for key, proved in self._proved.items()
            if proved.walked is not None
            and 0 < end - proved.walked.end < proved.basis.window_seconds
            and key.workload.namespace not in left_out
        }
        order = sorted(late, key=late.__getitem__)
        while order and self._stopwatch() < until:
            portion = [key for key in order[:WALKED_ON_AT_ONCE] if late[key] == late[order[0]]]
            found = [self._proved[key] for key in portion]
            basis = found[0].basis
            usage = history.window(portion, end=end, seconds=basis.window_seconds)
            for key, proved, walked in zip(portion, found, walk_on(usage, basis, [_known(one) for one in found]), strict=True):
                self._proved[key] = replace(proved, walked=walked)
            del order[: len(portion)]

    def of(self, ref: WorkloadRef, containers: Iterable[str]) -> dict[str, Evidence]:
        """By container name, where there is anything that was judged, though it may be too little to prove anything."""
        found = ((name, self._proved.get(ContainerKey(ref, name))) for name in containers)
        return {name: proved.evidence for name, proved in found if proved is not None and proved.evidence is not None}

    def troubles(self, ref: WorkloadRef, containers: Iterable[str]) -> dict[str, str]:
        """By container name, why a plug-in left its past, or a part of it, without evidence."""
        found = ((name, self._proved.get(ContainerKey(ref, name))) for name in containers)
        return {name: proved.trouble for name, proved in found if proved is not None and proved.trouble}

    def awaits(self, ref: WorkloadRef, containers: Iterable[str]) -> bool:
        """Whether what was proved before the start may still hold: of some containers nothing was replayed since."""
        keys = (ContainerKey(ref, name) for name in containers)
        return any(key not in self._proved and key not in self._outdated for key in keys)

    def learnt(self, key: ContainerKey) -> Mapping[ResourceName, Learnt] | None:
        """What the method `Learned` came to for this container; None before its past was walked through."""
        proved = self._proved.get(key)
        return None if proved is None or proved.walked is None else proved.walked.learnt

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
        proved = self._proved[key]
        if proved.basis.risk is not None:
            # A walk that ended before its window begins cannot go on.
            return min(WALK_RENEWED_SECONDS if _proves(proved) else TRIED_AGAIN_SECONDS, proved.basis.window_seconds)
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
        pace = replace(pace_of(profile, strategy=profile.apply.strategy), steady=workload.ref.steady)
        method = methods.get(profile.method)
        plugin = method if isinstance(method, Plugin) else None
        risk = profile.risk if profile.method == LEARNED else None
        for container in workload.sizable:
            rule = profile.rule_for(container.name)
            if not rule.ignored:
                kept = _kept_limits(rule, container.sizes)
                yield (
                    ContainerKey(workload.ref, container.name),
                    Basis(rule, workload.guaranteed, profile.window_seconds, pace, plugin, risk, kept),
                )


def _kept_limits(rule: ContainerRule, sizes: Sizes) -> Sizes:
    """The limits that the rule leaves as they are. Other ones do not matter to it: where they change, what was proved still holds."""
    return Sizes(
        cpu_limit=sizes.cpu_limit if rule.cpu.limit.policy is LimitPolicy.KEEP else None,
        memory_limit=sizes.memory_limit if rule.memory.limit.policy is LimitPolicy.KEEP else None,
    )


def _last_hour(end: int) -> int:
    """The last slot of the newest full hour of which no samples are awaited any more."""
    return awaited_after(end) // _HOUR_SECONDS * _HOUR_SECONDS


def _known(proved: _Proved) -> Walked:
    if proved.walked is None:
        raise ValueError("a walk that was not begun cannot go on")
    return proved.walked


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
