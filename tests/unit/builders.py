"""Values for the tests of the pure centre, with everything filled in that a case does not care about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rightsizer.checks.differences import differences
from rightsizer.checks.facts import CheckFacts
from rightsizer.evidence.proof import Evidence, Figures
from rightsizer.history import SLOT_SECONDS, Span, UsageWindow
from rightsizer.methods.finding import NOTHING_KNOWN
from rightsizer.methods.patterns.recognising import recognise
from rightsizer.methods.recommendation import Clamp, ContainerFacts, ContainerRecommendation, Explanation, Measurement
from rightsizer.profile import DEFAULT_RULE, ContainerRule, LimitPolicy, Profile
from rightsizer.workload import Container, ContainerKey, ResourceName, Role, Sizes, Workload, WorkloadRef

MI = 2**20
GI = 2**30
DAY = 86_400
NOW = 1_763_640_000.0
"""2025-11-20 12:00 UTC, a whole slot."""

REF = WorkloadRef("shop", "Deployment", "web")
WIDE = Sizes(cpu_request=500, cpu_limit=1000, memory_request=GI, memory_limit=2 * GI)
WORKED = Sizes(cpu_request=216, cpu_limit=432, memory_request=384 * MI, memory_limit=576 * MI)


PLAIN_RULE = ContainerRule(
    cpu=replace(DEFAULT_RULE.cpu, statistic="p95", half_life_seconds=None),
    memory=replace(DEFAULT_RULE.memory, statistic="max", half_life_seconds=None),
)
"""Figures that are easy to redo in the head: the 95th percentile and the largest value."""


def workload(*containers: Container, **fields: Any) -> Workload:
    """Deployment/web in namespace shop with one container `app` of sizes WIDE, unless told otherwise."""
    defaults: dict[str, Any] = {
        "ref": REF,
        "uid": "u-1",
        "api_version": "apps/v1",
        "resource_version": "77",
        "generation": 3,
        "containers": containers or (Container("app", WIDE),),
        "replicas": 2,
    }
    return Workload(**{**defaults, **fields})


def sidecar(name: str, sizes: Sizes) -> Container:
    return Container(name, sizes, Role.SIDECAR)


def measurement(*, value: float, peak: float | None = None, **fields: Any) -> Measurement:
    """Two weeks without a gap, up to now."""
    defaults: dict[str, Any] = {
        "statistic": "p95",
        "window_seconds": 14 * DAY,
        "value": value,
        "peak": value if peak is None else peak,
        "samples": 4032,
        "coverage": 1.0,
        "history_seconds": 14 * DAY,
        "newest": int(NOW),
        "pods": 2,
    }
    return Measurement(**{**defaults, **fields})


def explanation(resource: ResourceName, sizes: Sizes, **fields: Any) -> Explanation:
    """As if `sizes` came out for the resource."""
    request = sizes.request(resource) or 0
    defaults: dict[str, Any] = {
        "resource": resource,
        "measurement": measurement(value=request / 1.2),
        "buffer": 0.2,
        "target": float(request),
        "request": request,
        "request_clamp": Clamp.NONE,
        "limit": sizes.limit(resource),
        "limit_policy": LimitPolicy.RATIO,
        "limit_ratio": 2.0,
        "limit_clamp": Clamp.NONE,
        "text": f"to {request}",
    }
    return Explanation(**{**defaults, **fields})


def recommendation(wanted: Sizes = WORKED, *, name: str = "app", current: Sizes = WIDE, **measured: Any) -> ContainerRecommendation:
    """Both resources explained; `measured` sets fields of both measurements."""
    cpu, memory = explanation("cpu", wanted), explanation("memory", wanted)
    return ContainerRecommendation(
        name,
        current,
        wanted,
        replace(cpu, measurement=replace(cpu.measurement, **measured)),
        replace(memory, measurement=replace(memory.measurement, **measured)),
    )


def figures(*, slots: int = 7 * 288, above: float = 0.0, kills: int = 0, request: float = 100.0, held: float | None = None) -> Figures:
    return Figures(slots, above, kills, request, held)


def evidence(*, days: float = 7.0, changes: float = 0.1, cpu: Figures | None = None, memory: Figures | None = None) -> Evidence:
    """Of a week in which nothing went wrong, unless told otherwise."""
    return Evidence(days, changes, cpu or figures(), memory or figures())


def check_facts(
    deployment: Workload | None = None, recommendations: Sequence[ContainerRecommendation] | None = None, **fields: Any
) -> CheckFacts:
    """The facts for these recommendations (`app` to WORKED, unless told otherwise)."""
    deployment = deployment or workload()
    found: Mapping[str, ContainerRecommendation] = {each.name: each for each in recommendations or (recommendation(),)}
    defaults: dict[str, Any] = {
        "now": NOW,
        "workload": deployment,
        "profile": Profile("shop", "web"),
        "recommendations": found,
        "changes": differences(found, deployment),
        "evidence": dict.fromkeys(found, evidence()),
    }
    return CheckFacts(**{**defaults, **fields})


def usage_window(
    cpu: Sequence[Sequence[float]], memory: Sequence[Sequence[float]], *, pods: int = 1, throttled: Sequence[Sequence[float]] | None = None
) -> UsageWindow:
    """One row per container `c0`, `c1`, ... of Deployment/web; millicores and bytes, the last slot now."""
    rows, slots = len(cpu), len(cpu[0]) if cpu else 0
    return UsageWindow(
        keys=tuple(ContainerKey(REF, f"c{row}") for row in range(rows)),
        span=Span(int(NOW) - (slots - 1) * SLOT_SECONDS, int(NOW)),
        cpu=np.array(cpu, dtype=np.float32),
        memory=np.array(memory, dtype=np.float32),
        pods=np.full((rows, slots), pods, dtype=np.uint16),
        throttled=None if throttled is None else np.array(throttled, dtype=np.float32),
    )


def with_recognised(usage: UsageWindow, *facts: ContainerFacts) -> list[ContainerFacts]:
    """The facts with what can be recognised in this usage."""
    found = recognise(usage, slice(None), [NOTHING_KNOWN] * len(facts))
    return [replace(fact, recognised=recognised) for fact, recognised in zip(facts, found, strict=True)]


def container_facts(
    name: str = "c0", *, sizes: Sizes = WIDE, rule: ContainerRule = DEFAULT_RULE, guaranteed: bool = False, oom_floor: int | None = None
) -> ContainerFacts:
    return ContainerFacts(ContainerKey(REF, name), Container(name, sizes), rule, guaranteed, oom_floor)
