"""The cluster that the operator is killed in: 2,000 workloads, a tenth of which is to be changed, and some that must not be.

Of each namespace's workloads the first ten are due; three more are under the same profile, and each has a reason to be left alone. All
others are only recommended for, and run no pods. Strategies go round with the namespaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.scenario import container, profile, steady
from tests.testbed.node import node_manifest
from tests.usage import WorkloadUsage
from tests.usage.manifest import horizontal_pod_autoscaler, workload_manifest

Manifest = dict[str, Any]

DUE_OF_EACH = 10
STRATEGIES = ("Rollout", "Rollout", "Rollout", "InPlace", "OnCreate")
ROLLOUTS_AT_ONCE = 2
FORBIDDEN = ("paused", "scaled", "owned")


@dataclass(frozen=True, slots=True)
class ChaosCluster:
    """`usages`: the workloads that run; `others`: those that do not. `due`: references (`place/Deployment/name`) by strategy.
    `forbidden`: those that must stay as they are."""

    usages: tuple[WorkloadUsage, ...]
    others: tuple[Manifest, ...]
    extra: tuple[Manifest, ...]
    strategies: dict[str, str]
    due: dict[str, list[str]]
    forbidden: tuple[str, ...]
    namespaces: tuple[str, ...]

    def profiles(self, mode: str, places: Iterable[str]) -> list[Manifest]:
        """Those of some namespaces, with the due and the forbidden ones ruled in this mode."""
        return [one for place in places for one in _profiles(place, self.strategies[place], mode)]


def chaos_cluster(workloads: int, *, of_each: int = 100) -> ChaosCluster:
    """So many workloads, in namespaces of `of_each`."""
    places = tuple(f"chaos-{number:02d}" for number in range(max(workloads // of_each, 1)))
    of_each = min(of_each, workloads)
    due: dict[str, list[str]] = {}
    for place, strategy in _with_strategies(places):
        due.setdefault(strategy, []).extend(f"{place}/Deployment/due-{number}" for number in range(DUE_OF_EACH))
    return ChaosCluster(
        usages=tuple(steady(place, name, container()) for place in places for name in _ruled()),
        others=tuple(_idle(place, number) for place in places for number in range(of_each - len(_ruled()))),
        extra=(node_manifest("large", cpu="2000", memory="8Ti", pods=5000), *(_autoscaler(place) for place in places)),
        strategies=dict(_with_strategies(places)),
        due=due,
        # What holds the template does not hold sizes at creation.
        forbidden=tuple(
            f"{place}/Deployment/{name}"
            for place, strategy in _with_strategies(places)
            for name in FORBIDDEN
            if name != "owned" or strategy == "Rollout"
        ),
        namespaces=places,
    )


def _with_strategies(places: Sequence[str]) -> list[tuple[str, str]]:
    return [(place, STRATEGIES[number % len(STRATEGIES)]) for number, place in enumerate(places)]


def _ruled() -> list[str]:
    return [f"due-{number}" for number in range(DUE_OF_EACH)] + list(FORBIDDEN)


def _idle(place: str, number: int) -> Manifest:
    manifest = workload_manifest(steady(place, f"other-{number}", container()))
    manifest["spec"]["replicas"] = 0
    return manifest


def _autoscaler(place: str) -> Manifest:
    found = horizontal_pod_autoscaler(place, "scaled", min_replicas=1, max_replicas=1, cpu_percent=70)
    memory = {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}
    found["spec"]["metrics"].append({"type": "Resource", "resource": memory})
    return found


def _profiles(place: str, strategy: str, mode: str) -> list[Manifest]:
    ruled, others = ({"matchExpressions": [{"key": "app", "operator": word, "values": _ruled()}]} for word in ("In", "NotIn"))
    rule = {"strategy": strategy, "verify": {"period": "1m"}, "maxConcurrent": ROLLOUTS_AT_ONCE}
    return [
        profile(place, mode, name="ruled", workloads={"selector": ruled}, apply=rule),
        profile(place, "Recommend", name="others", workloads={"selector": others}),
    ]
