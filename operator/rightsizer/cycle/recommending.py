"""From the usage history to recommendations for many workloads at once. Pure, apart from reading the history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from rightsizer.cycle.assignment import Ruled
from rightsizer.cycle.recognising import Recognising
from rightsizer.history import SLOT_SECONDS, History, Span
from rightsizer.methods import known_methods
from rightsizer.methods.finding import NOTHING_KNOWN, Known
from rightsizer.methods.pace import pace_of
from rightsizer.methods.recommendation import ContainerFacts, ContainerRecommendation, Learnt, Method
from rightsizer.methods.release import since_releases
from rightsizer.profile import LEARNED, Mode
from rightsizer.workload import ContainerKey, ResourceName, WorkloadRef

Recommendations = Mapping[str, ContainerRecommendation]
Held = Callable[[ContainerKey], Mapping[ResourceName, float]]
Remembered = Mapping[ContainerKey, Known]
LearntOf = Callable[[ContainerKey], Mapping[ResourceName, Learnt] | None]

CONTAINERS_AT_ONCE = 128
"""How many histories are decoded at a time: 14 days of one take some 66 kB on their way, and 200 kB where they are looked at for what fools
recommendations, so this stays below 30 MB."""


def recommend(
    ruled: Iterable[Ruled],
    history: History,
    oom_floors: Mapping[ContainerKey, int],
    *,
    end: int,
    held: Held = lambda key: {},
    known: Remembered | None = None,
    learnt: LearntOf = lambda key: None,
    methods: Mapping[str, Method] | None = None,
    recognising: Recognising | None = None,
    unread: Collection[str] = (),
) -> dict[WorkloadRef, Recommendations]:
    """Recommendations by container name for each workload that is not ignored, from the window that ends with the slot `end`.

    `oom_floors`: bytes that an OOM kill taught. `held`: the levels below which a container is not lowered now. `known`: what the written
    recommendations remember. `learnt`: what the method `Learned` came to for a container. Containers that the profile ignores get none.
    `methods`: those that the profiles may name; all that are installed, where none are given. `recognising`: what was recognised before,
    which is made use of; without it all is recognised now.
    `unread`: namespaces whose window is not read yet, of which nothing that was recognised lasts.
    """
    methods = known_methods() if methods is None else methods
    groups: defaultdict[tuple[str, int], list[ContainerFacts]] = defaultdict(list)
    found: dict[WorkloadRef, dict[str, ContainerRecommendation]] = {}
    for one in ruled:
        if one.mode is not Mode.IGNORE:
            found[one.workload.ref] = {}
            groups[one.profile.method, one.profile.window_seconds].extend(_facts(one, oom_floors, held, learnt))
    recognising = recognising or Recognising()
    for (method, window_seconds), facts in groups.items():
        for chunk in _chunks(facts):
            recommendations = _of_chunk(chunk, history, methods[method], recognising, known or {}, end=end, seconds=window_seconds)
            for fact, recommendation in zip(chunk, recommendations, strict=True):
                found[fact.key.workload][recommendation.name] = recommendation
    # What was recognised in a part of the past is not asked for again when the rest is there: it would stand for up to an hour.
    recognising.forget_all_but({fact.key for facts in groups.values() for fact in facts if fact.key.workload.namespace not in unread})
    return dict(found)


def _of_chunk(
    chunk: Sequence[ContainerFacts],
    history: History,
    method: Method,
    recognising: Recognising,
    known: Remembered,
    *,
    end: int,
    seconds: int,
) -> Sequence[ContainerRecommendation]:
    # A function of its own, so that the values of one chunk are gone before those of the next are decoded.
    keys = [fact.key for fact in chunk]
    # What the pods did in the mean is looked at only to recognise a hot one.
    due = bool(recognising.due(keys, Span(end - seconds + SLOT_SECONDS, end)))
    window = history.window(keys, end=end, seconds=seconds, throttled=history.has_throttling, mean=due)
    recognised = recognising.of(window, [known.get(key, NOTHING_KNOWN) for key in keys])
    if method.name == LEARNED:
        # Its walk goes over the whole past: what it came to must not be told as if it were of a part.
        recognised = [replace(one, splits={}) if one.splits else one for one in recognised]
    facts = [replace(fact, recognised=one) if one.findings else fact for fact, one in zip(chunk, recognised, strict=True)]
    return method.recommend(since_releases(window, [one.splits for one in recognised]), facts)


def _facts(ruled: Ruled, oom_floors: Mapping[ContainerKey, int], held: Held, learnt: LearntOf) -> Iterator[ContainerFacts]:
    workload = ruled.workload
    # What is only recommended is not worth following every jump.
    fast = ruled.mode is Mode.APPLY and pace_of(ruled.profile, strategy=ruled.profile.apply.strategy).fast
    for container in workload.sizable:
        rule = ruled.profile.rule_for(container.name)
        if not rule.ignored:
            key = ContainerKey(workload.ref, container.name)
            yield ContainerFacts(
                key,
                container,
                rule,
                guaranteed=workload.guaranteed,
                oom_floor=oom_floors.get(key),
                held=held(key),
                learnt=learnt(key),
                fast=fast,
            )


def _chunks(facts: Sequence[ContainerFacts]) -> Iterator[Sequence[ContainerFacts]]:
    for start in range(0, len(facts), CONTAINERS_AT_ONCE):
        yield facts[start : start + CONTAINERS_AT_ONCE]
