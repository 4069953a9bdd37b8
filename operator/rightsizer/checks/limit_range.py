"""Keeps changes within the LimitRanges of the namespace: moved to their bounds where that is a change, held back where it is not.

The API server refuses a pod outside of them, so a change that leads there would leave the workload without new pods.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from rightsizer.checks.confines import Bounds, LimitRange
from rightsizer.checks.differences import coherent, effective, sizes_after
from rightsizer.checks.facts import CheckFacts, FieldChange, Objection, Reason
from rightsizer.profile import ON_CREATE
from rightsizer.quantities import format_cpu, format_memory
from rightsizer.workload import RESOURCES, Container, FieldPath, ResourceName, Role, SizeField, Sizes, Workload

_FIELDS: tuple[SizeField, SizeField] = ("request", "limit")

Found = tuple[FieldPath, str]


def within_bounds(changes: Iterable[FieldChange], limit_ranges: Iterable[LimitRange]) -> tuple[FieldChange, ...]:
    """The changes, each moved to the bounds of a container. One that would then change nothing stays, for the check to tell of it."""
    bounds = [bounds for one in limit_ranges for bounds in one.bounds if not bounds.per_pod]
    return tuple(_moved(change, bounds) for change in changes)


def _moved(change: FieldChange, bounds: Iterable[Bounds]) -> FieldChange:
    value = change.after
    if value is None:
        return change
    for one in bounds:
        value = max(value, one.least.get(change.path.resource, value))
        value = min(value, one.most.get(change.path.resource, value))
    return change if value == change.before else replace(change, after=value)


def limit_range_forbids(facts: CheckFacts) -> Objection | None:
    """A LimitRange would refuse the pods: bounds of a container, of the pod as a whole, or the ratio of limit and request.

    A pod is refused as a whole. Where the template is outside by numbers that do not change, nothing may be changed that makes new pods
    or touches those that run; where pods are only sized at creation, they would be refused all the same.
    """
    remaining, held, message = facts.changes, frozenset[FieldPath](), ""
    while remaining:
        found = tuple(_outside_of(facts.confines.limit_ranges, _after(facts.workload, remaining)))
        if not found:
            break
        changed = [(path, told) for path, told in found if path in {change.path for change in remaining}]
        if not changed:
            everything = facts.profile.apply.strategy != ON_CREATE
            return Objection(Reason.LIMIT_RANGE_FORBIDS, message or found[0][1]) if everything else _held(held, message)
        message = message or changed[0][1]
        held |= {path for path, _ in changed}
        remaining = coherent(facts.workload, (change for change in remaining if change.path not in held))
    return _held(held, message)


def _held(paths: frozenset[FieldPath], message: str) -> Objection | None:
    return Objection(Reason.LIMIT_RANGE_FORBIDS, message, paths) if paths else None


def _outside_of(limit_ranges: Iterable[LimitRange], after: Mapping[str, tuple[Container, Sizes]]) -> Iterator[Found]:
    for one in limit_ranges:
        for bounds in one.bounds:
            for path, message in _of_pod(bounds, after) if bounds.per_pod else _of_containers(bounds, after):
                yield path, f"{message} of LimitRange {one.name}"


def _after(workload: Workload, changes: Iterable[FieldChange]) -> dict[str, tuple[Container, Sizes]]:
    changed = sizes_after(workload, changes)
    return {one.name: (one, changed.get(one.name, one.sizes)) for one in workload.containers}


def _of_containers(bounds: Bounds, after: Mapping[str, tuple[Container, Sizes]]) -> Iterator[Found]:
    for name, (_, sizes) in after.items():
        for resource in RESOURCES:
            for field in _FIELDS:
                path = FieldPath(name, resource, field)
                trouble = _outside(bounds, resource, effective(sizes, resource, field))
                if trouble:
                    yield path, f"{path}: {trouble}"
            trouble = _too_far_apart(bounds, resource, effective(sizes, resource, "request"), sizes.limit(resource))
            if trouble:
                yield from ((FieldPath(name, resource, field), f"{name}.{resource}: {trouble}") for field in _FIELDS)


def _of_pod(bounds: Bounds, after: Mapping[str, tuple[Container, Sizes]]) -> Iterator[Found]:
    """By sums: at least the requests of what runs together, at most the limits of all that is in the pod."""
    for resource in RESOURCES:
        least = sum(effective(sizes, resource, "request") or 0 for one, sizes in after.values() if one.role is not Role.INIT)
        most = sum(sizes.limit(resource) or 0 for _, sizes in after.values())
        for field, value in (("request", least), ("limit", most)):
            trouble = _outside(bounds, resource, value)
            if trouble:
                yield from ((path, f"the pod's {resource} {field}: {trouble}") for path in _paths(after, resource))
        trouble = _too_far_apart(bounds, resource, least, most)
        if trouble:
            yield from ((path, f"the pod's {resource}: {trouble}") for path in _paths(after, resource))


def _paths(after: Iterable[str], resource: ResourceName) -> Iterator[FieldPath]:
    return (FieldPath(name, resource, field) for name in after for field in _FIELDS)


def _outside(bounds: Bounds, resource: ResourceName, value: int | None) -> str:
    if value is None:
        return ""
    least, most = bounds.least.get(resource), bounds.most.get(resource)
    if least is not None and value < least:
        return f"{_quantity(resource, value)} is below the minimum {_quantity(resource, least)}"
    if most is not None and value > most:
        return f"{_quantity(resource, value)} is above the maximum {_quantity(resource, most)}"
    return ""


def _too_far_apart(bounds: Bounds, resource: ResourceName, request: int | None, limit: int | None) -> str:
    most = bounds.ratio.get(resource)
    if most is None or not request or limit is None or limit <= request * most:
        return ""
    return f"the limit is {limit / request:.3g} x the request, above the maxLimitRequestRatio {most:g}"


def _quantity(resource: ResourceName, value: int) -> str:
    return format_cpu(value) if resource == "cpu" else format_memory(value)
