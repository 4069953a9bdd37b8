"""From the usage history to recommendations for many workloads at once. Pure, apart from reading the history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from rightsizer.cycle.assignment import Ruled
from rightsizer.history import History
from rightsizer.methods import known_methods
from rightsizer.methods.finding import FindingType
from rightsizer.methods.recommendation import ContainerFacts, ContainerRecommendation, Learnt, Method
from rightsizer.profile import Mode
from rightsizer.workload import ContainerKey, ResourceName, WorkloadRef

Recommendations = Mapping[str, ContainerRecommendation]
Held = Callable[[ContainerKey], Mapping[ResourceName, float]]
LearntOf = Callable[[ContainerKey], Mapping[ResourceName, Learnt] | None]
Told = Mapping[ContainerKey, frozenset[FindingType]]

CONTAINERS_AT_ONCE = 256
"""How many histories are decoded at a time: 14 days of one take some 66 kB on their way, so this stays below 20 MB."""


def recommend(
    ruled: Iterable[Ruled],
    history: History,
    oom_floors: Mapping[ContainerKey, int],
    *,
    end: int,
    held: Held = lambda key: {},
    learnt: LearntOf = lambda key: None,
    told: Told | None = None,
    methods: Mapping[str, Method] | None = None,
) -> dict[WorkloadRef, Recommendations]:
    """Recommendations by container name for each workload that is not ignored, from the window that ends with the slot `end`.

    `oom_floors`: bytes that an OOM kill taught. `held`: the levels below which a container is not lowered now. `told`: the findings that
    people have been told of. `learnt`: what the method `Learned` came to for a container. Containers that the profile ignores get none.
    `methods`: those that the profiles may name; all that are installed, where none are given.
    """
    methods = known_methods() if methods is None else methods
    groups: defaultdict[tuple[str, int], list[ContainerFacts]] = defaultdict(list)
    found: dict[WorkloadRef, dict[str, ContainerRecommendation]] = {}
    for one in ruled:
        if one.mode is not Mode.IGNORE:
            found[one.workload.ref] = {}
            groups[one.profile.method, one.profile.window_seconds].extend(_facts(one, oom_floors, held, learnt, told or {}))
    for (method, window_seconds), facts in groups.items():
        for chunk in _chunks(facts):
            recommendations = _of_chunk(chunk, history, methods[method], end=end, seconds=window_seconds)
            for fact, recommendation in zip(chunk, recommendations, strict=True):
                found[fact.key.workload][recommendation.name] = recommendation
    return dict(found)


def _of_chunk(
    chunk: Sequence[ContainerFacts], history: History, method: Method, *, end: int, seconds: int
) -> Sequence[ContainerRecommendation]:
    # A function of its own, so that the values of one chunk are gone before those of the next are decoded.
    keys = [fact.key for fact in chunk]
    window = history.window(keys, end=end, seconds=seconds, throttled=history.has_throttling, mean=True)
    return method.recommend(window, chunk)


def _facts(ruled: Ruled, oom_floors: Mapping[ContainerKey, int], held: Held, learnt: LearntOf, told: Told) -> Iterator[ContainerFacts]:
    workload = ruled.workload
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
                told=told.get(key, frozenset()),
                learnt=learnt(key),
            )


def _chunks(facts: Sequence[ContainerFacts]) -> Iterator[Sequence[ContainerFacts]]:
    for start in range(0, len(facts), CONTAINERS_AT_ONCE):
        yield facts[start : start + CONTAINERS_AT_ONCE]
