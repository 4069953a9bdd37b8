"""The status of a ResourceRecommendation: what is wanted, how it came about, what was done, and where the workload stands.

A pure rendering of a standing. It is given the status that is written, so that it can answer with that very status when there is no news:
the caller writes only what is not equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rightsizer.checks.differences import effective
from rightsizer.methods.recommendation import ContainerRecommendation
from rightsizer.status.change import change_status
from rightsizer.status.conditions import Condition, merge
from rightsizer.status.dead_band import LAST_SAMPLE, entries_by_name, explanations_to_write, hold, stand
from rightsizer.status.evidence import evidence_status
from rightsizer.status.findings import findings_to_write
from rightsizer.status.release import image_status
from rightsizer.status.sizes import quantity, sizes_from_status, sizes_status
from rightsizer.status.standing import METHOD_FAILED, Standing, State, Told, stale, tell
from rightsizer.status.times import rfc3339, unix_seconds
from rightsizer.workload import RESOURCES, Container, ResourceName, Sizes

MEASURED_AT_RENEWED_SECONDS = 86_400
"""`measuredAt` alone is not worth a write: while usage is fresh, it is renewed with other news or once a day."""

_HOUR_SECONDS = 3_600
_NOT_NEWS = ("measuredAt", "observedGeneration")

SizePair = tuple[Sizes, Sizes | None]


def render(standing: Standing, *, old: Mapping[str, Any], now: float) -> dict[str, Any]:
    """`status` of the recommendation; equal to `old`, the status that is written, when there is no news. `now` in unix seconds."""
    containers = _containers(standing, old, now=now)
    told = tell(standing)
    status: dict[str, Any] = {
        "mode": str(standing.mode),
        "observedGeneration": standing.workload.generation,
        "summary": _summary(standing, told, containers),
        "containers": containers,
        "savings": _savings(standing, containers),
        "evidence": evidence_status(standing.workload, standing.evidence, old=old.get("evidence", {}), awaited=standing.evidence_awaited),
        "conditions": merge(old.get("conditions", []), _conditions(standing, told, containers), now=now),
    }
    measured_at = _measured_at(standing, old)
    if measured_at is not None:
        status["measuredAt"] = measured_at
    if standing.change is not None:
        status["lastChange"] = change_status(standing.change)
    if standing.history:
        status["history"] = [change_status(change) for change in standing.history]
    status = _without_empty(status)
    return dict(old) if _no_news(status, old) else status


def _without_empty(value: Mapping[str, Any]) -> dict[str, Any]:
    """Without mappings that hold nothing: where one held something before, Server-Side Apply makes it null, which the schema refuses."""
    kept: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            item = _without_empty(item)
        elif isinstance(item, list):
            item = [_without_empty(entry) if isinstance(entry, Mapping) else entry for entry in item]
        if item != {}:
            kept[name] = item
    return kept


def _no_news(status: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    if _news(status) != _news(old):
        return False
    try:
        age = unix_seconds(status["measuredAt"]) - unix_seconds(old["measuredAt"])
    except (KeyError, ValueError, TypeError):
        return status.get("measuredAt") == old.get("measuredAt")
    return age < MEASURED_AT_RENEWED_SECONDS


def _news(status: Mapping[str, Any]) -> dict[str, Any]:
    news = {name: value for name, value in status.items() if name not in _NOT_NEWS}
    return {**news, "containers": [_without_last_samples(entry) for entry in status.get("containers", [])]}


def _without_last_samples(entry: Mapping[str, Any]) -> dict[str, Any]:
    explanations = {
        resource: {name: item for name, item in explanation.items() if name != LAST_SAMPLE}
        for resource, explanation in entry.get("explanation", {}).items()
    }
    return {**entry, "explanation": explanations}


def _containers(standing: Standing, old: Mapping[str, Any], *, now: float) -> list[dict[str, Any]]:
    entries = entries_by_name(old)
    known = standing.stand
    stands = stand(old, standing.recommendations, minimum_change=standing.minimum_change) if known is None else known
    recommendations = hold(standing.recommendations, stands)
    return [
        _container(
            standing,
            container,
            entries.get(container.name, {}),
            recommendations.get(container.name),
            stand=stands.get(container.name, {}),
            now=now,
        )
        for container in standing.workload.sizable
    ]


def _container(
    standing: Standing,
    container: Container,
    entry: Mapping[str, Any],
    recommendation: ContainerRecommendation | None,
    *,
    stand: Mapping[ResourceName, Sizes],
    now: float,
) -> dict[str, Any]:
    declared = {**image_status(entry, container.image, now=now), "current": sizes_status(container.sizes)}
    status: dict[str, Any] = {"name": container.name, **declared}
    explanations = {} if recommendation is None else explanations_to_write(entry, recommendation, stand)
    if recommendation is not None and explanations:
        status = {**status, "recommended": sizes_status(recommendation.wanted), "explanation": explanations}
        renewed = _without_last_samples(status)["explanation"] != _without_last_samples(entry)["explanation"]
        findings = findings_to_write(entry, recommendation.findings, renewed=renewed)
        return {**status, "findings": findings} if findings else status
    if standing.trouble is not None:
        # What was recommended stays while usage cannot be measured; `measuredAt` tells its age.
        return {**status, **{name: entry[name] for name in ("recommended", "explanation", "findings") if name in entry}}
    return status


def _pairs(standing: Standing, containers: Iterable[Mapping[str, Any]]) -> list[SizePair]:
    """What each container has and what is recommended for it, as it is told."""
    by_name = {entry["name"]: entry for entry in containers}
    return [(container.sizes, _recommended(by_name[container.name])) for container in standing.workload.sizable]


def _recommended(entry: Mapping[str, Any]) -> Sizes | None:
    return sizes_from_status(entry["recommended"]) if "recommended" in entry else None


def _summary(standing: Standing, told: Told, containers: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    pairs = _pairs(standing, containers)
    return {
        "workload": str(standing.workload.ref),
        "cpu": _now_and_wanted(pairs, "cpu"),
        "memory": _now_and_wanted(pairs, "memory"),
        "state": str(told.state),
        "reason": told.reason,
        "message": told.message,
    }


def _now_and_wanted(pairs: Iterable[SizePair], resource: ResourceName) -> str:
    """`500m -> 216m`, `216m` where nothing would change, `500m -> ?` where nothing is known, `unset` where nothing is requested."""
    pairs = list(pairs)
    now = _sum(resource, (current for current, _ in pairs))
    if all(wanted is None for _, wanted in pairs):
        return f"{now} -> ?"
    wanted = _sum(resource, (wanted or current for current, wanted in pairs))
    return now if now == wanted else f"{now} -> {wanted}"


def _sum(resource: ResourceName, sizes: Iterable[Sizes]) -> str:
    requests = [request for each in sizes if (request := effective(each, resource, "request")) is not None]
    return quantity(resource, sum(requests)) if requests else "unset"


def _savings(standing: Standing, containers: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    pairs = [(current, wanted) for current, wanted in _pairs(standing, containers) if wanted is not None]
    return {resource: quantity(resource, _saved(pairs, resource) * standing.workload.replicas) for resource in RESOURCES} if pairs else {}


def _saved(pairs: Iterable[tuple[Sizes, Sizes]], resource: ResourceName) -> int:
    return sum((effective(current, resource, "request") or 0) - (effective(wanted, resource, "request") or 0) for current, wanted in pairs)


def _conditions(standing: Standing, told: Told, containers: Iterable[Mapping[str, Any]]) -> list[Condition]:
    applied = told.state is State.APPLIED
    return [
        _measured_condition(standing),
        _recommended_condition(standing, containers),
        Condition("Applied", "True" if applied else "False", told.reason, told.message),
    ]


def _measured_condition(standing: Standing) -> Condition:
    trouble = stale(standing)
    if trouble is not None:
        return Condition("Measured", "False", trouble.reason, trouble.message)
    if not standing.measured and not standing.method_trouble:
        return Condition("Measured", "False", "NoUsage", "no usage of any container has been seen yet")
    return Condition("Measured", "True", "UsageSeen", "usage is fresh")


def _recommended_condition(standing: Standing, containers: Iterable[Mapping[str, Any]]) -> Condition:
    if standing.method_trouble:
        return Condition("Recommended", "False", METHOD_FAILED, standing.method_trouble)
    if any("recommended" in entry for entry in containers):
        return Condition("Recommended", "True", "Recommended", "requests and limits are recommended")
    return Condition("Recommended", "False", "NoUsage", "without usage there is nothing to recommend")


def _measured_at(standing: Standing, old: Mapping[str, Any]) -> str | None:
    newest = [
        explanation.measurement.newest
        for recommendation in standing.recommendations.values()
        for resource in RESOURCES
        if (explanation := recommendation.explanation(resource)) is not None
    ]
    if not newest:
        return old.get("measuredAt") if standing.trouble is not None else None
    return rfc3339(max(newest) // _HOUR_SECONDS * _HOUR_SECONDS)
