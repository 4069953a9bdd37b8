"""Keeps a written recommendation as it stands while the newest one hardly differs, so that an equal status is not written again.

Measured values move a little with every slot. A number that was written stays, with its explanation, until the new one differs by more than
the dead band: a tenth of the profile's minimum change, at least 1 %. Then, or when a day of samples came or went, or anything else in
how it came about changed, all numbers of the container and their explanations are renewed together: what stands there can always be redone
by hand, and is of one moment. Only the time of the last sample goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rightsizer.history import SLOT_SECONDS
from rightsizer.methods.explanation import amount, whole_percent
from rightsizer.methods.finding import FindingType
from rightsizer.methods.recommendation import Clamp, ContainerRecommendation, Explanation
from rightsizer.profile import LEARNED, LimitPolicy
from rightsizer.quantities import format_duration, format_percentage
from rightsizer.status.findings import told_findings
from rightsizer.status.release import release_status
from rightsizer.status.sizes import sizes_from_status
from rightsizer.status.times import rfc3339
from rightsizer.workload import RESOURCES, ResourceName, Sizes

LEAST_DEAD_BAND = 0.01

LAST_SAMPLE = "lastSample"
"""It moves with every slot, so it is no news by itself, and it is not held either: it is renewed with whatever else is written."""

_SAMPLES_OF_A_DAY = 86_400 // SLOT_SECONDS
_THROTTLED_BAND_PERCENT = 5
_SAME_WHILE_STANDING = ("statistic", "window", "buffer", "clamp", "release")
_BOUNDS = (Clamp.MINIMUM, Clamp.MAXIMUM, Clamp.LIMIT, Clamp.LEAK, Clamp.KEPT)
_URGENT = (Clamp.OOM_KILL, Clamp.NEAR_LIMIT, Clamp.ABOVE_REQUEST)
_LIMITS_LEFT = (Clamp.LEAK, Clamp.THROTTLED)


Stand = Mapping[str, Mapping[ResourceName, Sizes]]
"""By container name, the written sizes that still stand, by the resources for which they do."""


def stand(status: Mapping[str, Any], recommendations: Mapping[str, ContainerRecommendation], *, minimum_change: float) -> Stand:
    """What still stands of what is written. `minimum_change` is a share."""
    entries = entries_by_name(status)
    return {
        name: _standing_sizes(entries.get(name, {}), recommendation, minimum_change=minimum_change)
        for name, recommendation in recommendations.items()
    }


def hold(recommendations: Mapping[str, ContainerRecommendation], standing: Stand) -> dict[str, ContainerRecommendation]:
    """The recommendations, with the written numbers where those still stand; explanations are left as they are.

    Whoever acts on recommendations acts on these: they are what a person has read. Holding twice changes nothing.
    """
    return {name: _held(recommendation, standing[name]) for name, recommendation in recommendations.items()}


def explanations_to_write(
    entry: Mapping[str, Any], recommendation: ContainerRecommendation, stand: Mapping[ResourceName, Sizes]
) -> dict[ResourceName, dict[str, Any]]:
    """The explanations that belong to the numbers as `hold` gives them: those that stand in `entry`, or the new ones."""
    return {
        explanation.resource: _standing(entry, explanation) if explanation.resource in stand else explanation_status(explanation)
        for explanation in _explanations(recommendation)
    }


def _standing(entry: Mapping[str, Any], explanation: Explanation) -> dict[str, Any]:
    return {**entry["explanation"][explanation.resource], LAST_SAMPLE: rfc3339(explanation.measurement.newest)}


def _explanations(recommendation: ContainerRecommendation) -> list[Explanation]:
    return [found for resource in RESOURCES if (found := recommendation.explanation(resource)) is not None]


def only_numbers_moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a status differs from the written one in nothing but what a longer history moves: numbers, and what is told of them."""
    try:
        return _without_numbers(old) == _without_numbers(new)
    except (TypeError, AttributeError):
        # Somebody edited it.
        return False


def _without_numbers(status: Mapping[str, Any]) -> dict[str, Any]:
    summary = status.get("summary", {})
    return {
        "standing": [status.get(name) for name in ("mode", "observedGeneration", "lastChange")],
        "summary": [summary.get(name) for name in ("state", "reason")],
        "conditions": [[condition.get(name) for name in ("type", "status", "reason")] for condition in status.get("conditions", [])],
        "containers": {name: _entry_without_numbers(entry) for name, entry in entries_by_name(status).items()},
    }


def _entry_without_numbers(entry: Mapping[str, Any]) -> dict[str, Any]:
    explanations = {
        resource: [explanation.get(name) for name in _SAME_WHILE_STANDING] for resource, explanation in entry.get("explanation", {}).items()
    }
    findings = sorted(told_findings(entry) - {FindingType.SHORT_HISTORY})
    declared = [entry.get(name) for name in ("current", "image")]
    return {"declared": declared, "recommended": "recommended" in entry, "explanations": explanations, "findings": findings}


def entries_by_name(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """`status.containers` by container name."""
    return {entry["name"]: entry for entry in status.get("containers", []) if "name" in entry}


def explanation_status(explanation: Explanation) -> dict[str, Any]:
    """`status.containers[].explanation.cpu` or `.memory`; coverage as in the text, the throttled share rounded up."""
    measurement = explanation.measurement
    choice = {"choice": explanation.choice} if explanation.choice else {}
    throttled = {"throttled": f"{whole_percent(measurement.throttled)}%"} if measurement.throttled else {}
    return {
        **_how_it_came_about(explanation),
        "measured": amount(explanation.resource, measurement.value),
        "samples": measurement.samples,
        "coverage": format_percentage(measurement.coverage),
        "pods": measurement.pods,
        LAST_SAMPLE: rfc3339(measurement.newest),
        **throttled,
        "text": explanation.text,
        **choice,
    }


def _how_it_came_about(explanation: Explanation) -> dict[str, Any]:
    release = explanation.measurement.release
    return {
        "statistic": explanation.measurement.statistic,
        "window": format_duration(explanation.measurement.window_seconds),
        "buffer": format_percentage(explanation.buffer),
        "clamp": str(explanation.request_clamp),
        **({} if release is None else {"release": release_status(release)}),
    }


def _standing_sizes(
    entry: Mapping[str, Any], recommendation: ContainerRecommendation, *, minimum_change: float
) -> dict[ResourceName, Sizes]:
    """The sizes written in `entry` (of `status.containers`), by the resources for which they still stand: all that are explained or none.

    Only what was learned before a restart stands by itself: what is provisional does not take its place because another number moves.
    """
    dead_band = max(LEAST_DEAD_BAND, minimum_change / 10)
    explanations = _explanations(recommendation)
    found = {one.resource: sizes for one in explanations if (sizes := _sizes_of(entry, one, dead_band)) is not None}
    if len(found) == len(explanations):
        return found
    return {one.resource: found[one.resource] for one in explanations if one.provisional and one.resource in found}


def _sizes_of(entry: Mapping[str, Any], explanation: Explanation, dead_band: float) -> Sizes | None:
    if explanation.provisional and (learned := _learned_before(entry, explanation)) is not None:
        return learned
    try:
        old, sizes = entry["explanation"][explanation.resource], sizes_from_status(entry["recommended"])
        new = _how_it_came_about(explanation)
        same = all(old.get(name) == new.get(name) for name in _SAME_WHILE_STANDING)
        samples_moved = abs(old["samples"] - explanation.measurement.samples)
        same = same and _throttled_alike(old.get("throttled"), explanation.measurement.throttled)
    except (KeyError, ValueError, TypeError, AttributeError):
        # Nothing is written yet, or somebody edited it: it does not stand.
        return None
    if not same or samples_moved >= _SAMPLES_OF_A_DAY:
        return None
    return sizes if _near(sizes, explanation, dead_band) else None


def _learned_before(entry: Mapping[str, Any], explanation: Explanation) -> Sizes | None:
    """What was learned before the operator was started again stands until it is learned anew, unless more is needed at once."""
    try:
        statistic, sizes = entry["explanation"][explanation.resource]["statistic"], sizes_from_status(entry["recommended"])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    request = sizes.request(explanation.resource)
    urgent = explanation.request_clamp in _URGENT and explanation.request > (request or 0)
    return sizes if str(statistic).startswith(f"{LEARNED} ") and request is not None and not urgent else None


def _throttled_alike(old: str | None, share: float) -> bool:
    """Both not at all, or both to nearly the same share."""
    if old is None or not share:
        return old is None and not share
    return abs(int(old.removesuffix("%")) - whole_percent(share)) < _THROTTLED_BAND_PERCENT


def _held(recommendation: ContainerRecommendation, stand: Mapping[ResourceName, Sizes]) -> ContainerRecommendation:
    values = {f"{resource}_{field}": sizes.get(resource, field) for resource, sizes in stand.items() for field in ("request", "limit")}
    return replace(recommendation, wanted=replace(recommendation.wanted, **values)) if values else recommendation


def _near(sizes: Sizes, explanation: Explanation, dead_band: float) -> bool:
    request, limit = sizes.request(explanation.resource), sizes.limit(explanation.resource)
    # A bound is not measured: where one decides, a number that is off by a little is wrong.
    request_band = 0.0 if explanation.request_clamp in _BOUNDS else dead_band
    limit_left = explanation.limit_policy is LimitPolicy.KEEP or explanation.limit_clamp in _LIMITS_LEFT
    limit_band = 0.0 if limit_left else dead_band
    same_shape = (request == limit) == (explanation.request == explanation.limit) and (request is None or limit is None or request <= limit)
    return same_shape and _within(request, explanation.request, request_band) and _within(limit, explanation.limit, limit_band)


def _within(old: int | None, new: int | None, dead_band: float) -> bool:
    if old is None or new is None:
        return old is new
    return abs(new - old) <= dead_band * old
