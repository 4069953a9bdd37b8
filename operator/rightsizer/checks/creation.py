"""What only pods that are sized at their creation have to pass: they must be created, whatever happens.

Where the sizes come from the template, a controller shows what is refused; here nobody would look. Each check is a pure function of the
facts, and says nothing about workloads of other strategies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from rightsizer.checks.confines import Amount, Quota
from rightsizer.checks.differences import effective, sizes_after
from rightsizer.checks.facts import CheckFacts, Direction, FieldChange, Objection, Reason
from rightsizer.profile import AT_CREATION, IN_PLACE
from rightsizer.quantities import format_cpu, format_memory
from rightsizer.workload import RESOURCES, Container, FieldPath, SizeField, Sizes, Workload

_FIELDS: tuple[SizeField, SizeField] = ("request", "limit")

MOST_ENTRIES = 3_000
"""As many workloads does the definition of PodSizes allow: objects of the API have a size that they cannot be above."""

ROOM_ABOVE_PEAK = 1.2
"""A memory limit that is in force is not lowered below so many times the peak."""

SURGE = 0.25
"""The share of pods that a Deployment has in excess while it replaces them, by default; rounded up."""


def admission_policy_missing(facts: CheckFacts) -> Objection | None:
    """Nobody reads the sizes: the server has no such policies, or they are not installed."""
    if not _at_creation(facts) or not facts.confines.policy_trouble:
        return None
    return Objection(Reason.ADMISSION_POLICY_MISSING, facts.confines.policy_trouble)


def pod_sizes_full(facts: CheckFacts) -> Objection | None:
    """One too many would have all entries of the namespace refused."""
    if not _at_creation(facts) or not facts.confines.full:
        return None
    return Objection(Reason.POD_SIZES_FULL, f"the PodSizes of the namespace has {MOST_ENTRIES:,} entries, the most that it holds")


def needs_rollout(facts: CheckFacts) -> Objection | None:
    """A limit cannot be taken away at creation: where it is missing, the namespace's default would stand in its place."""
    removed = frozenset(change.path for change in facts.changes if change.after is None)
    if not _at_creation(facts) or not removed:
        return None
    return Objection(Reason.NEEDS_ROLLOUT, f"{min(removed)}: taking a limit away needs the strategy Rollout", removed)


def qos_class_would_change(facts: CheckFacts) -> Objection | None:
    """The admission policy leaves such pods as they are, so nothing is written for them."""
    if not _at_creation(facts) or not facts.changes:
        return None
    workload = facts.workload
    if all(container.sizes == Sizes() for container in workload.containers):
        return Objection(Reason.QOS_CLASS_WOULD_CHANGE, "its pods are BestEffort (no container has a request or limit): they stay so")
    changed = sizes_after(workload, facts.changes)
    after = [Container(one.name, changed.get(one.name, one.sizes), one.role) for one in workload.containers]
    if _guaranteed(after) == _guaranteed(workload.containers):
        return None
    return Objection(Reason.QOS_CLASS_WOULD_CHANGE, "its pods would become Guaranteed, or no longer be so")


def quota_exceeded(facts: CheckFacts) -> Objection | None:
    """New pods would ask for more than their template does, and a ResourceQuota may not have that for all of them.

    Pods that ask for less than their template are never refused because of it.
    """
    template = facts.confines.template
    if not _at_creation(facts) or template is None:
        return None
    asked = beyond_template(template, sizes_after(facts.workload, facts.changes))
    found = {
        path: quota
        for quota in facts.confines.quotas
        for amount, more in asked.items()
        if more > _room(facts, quota, amount)
        for path in _raised(template, facts.changes, amount)
    }
    if not found:
        return None
    path, quota = min(found.items(), key=lambda item: item[0])
    amount: Amount = (path.resource, path.field)
    message = (
        f"ResourceQuota {quota.name} ({path.resource} {path.field}s {_quantity(amount, quota.hard[amount])}) has no room for "
        f"{pods_of(template)} pods that ask for {_quantity(amount, asked[amount] // pods_of(template))} more each than the template does"
    )
    return Objection(Reason.QUOTA_EXCEEDED, message, frozenset(found))


def memory_in_use(facts: CheckFacts) -> Objection | None:
    """The memory limit of a running container is not lowered to where its peak was: the kernel kills what is above, or keeps the limit."""
    if facts.profile.apply.strategy != IN_PLACE:
        return None
    held = {
        change.path: least
        for change in facts.changes
        if change.path.resource == "memory" and change.path.field == "limit" and change.direction is Direction.LOWER
        if (least := _least_limit(facts, change)) > (change.after or 0)
    }
    if not held:
        return None
    path, least = min(held.items())
    message = f"{path} stays at {format_memory(least)} or more while the container runs, {ROOM_ABOVE_PEAK} x its peak"
    return Objection(Reason.MEMORY_IN_USE, message, frozenset(held))


def _least_limit(facts: CheckFacts, change: FieldChange) -> int:
    explained = facts.recommendations[change.path.container].memory
    return 0 if explained is None else math.ceil(explained.measurement.peak * ROOM_ABOVE_PEAK)


def beyond_template(template: Workload, sizes: Mapping[str, Sizes]) -> dict[Amount, int]:
    """What all pods of a workload would ask for beyond the template, where its containers have these sizes; only what is more than 0."""
    found: dict[Amount, int] = {}
    for resource in RESOURCES:
        for field in _FIELDS:
            more = sum(
                (effective(sizes[one.name], resource, field) or 0) - (effective(one.sizes, resource, field) or 0)
                for one in template.containers
                if one.name in sizes
            )
            if more > 0:
                found[resource, field] = more * pods_of(template)
    return found


def pods_of(workload: Workload) -> int:
    """How many pods it may have at a time, with those that a rolling update adds."""
    return workload.replicas + max(math.ceil(workload.replicas * SURGE), 1)


def _at_creation(facts: CheckFacts) -> bool:
    return facts.profile.apply.strategy in AT_CREATION


def _guaranteed(containers: Iterable[Container]) -> bool:
    return all(
        one.sizes.limit(resource) and effective(one.sizes, resource, "request") == one.sizes.limit(resource)
        for one in containers
        for resource in RESOURCES
    )


def _room(facts: CheckFacts, quota: Quota, amount: Amount) -> float:
    if amount not in quota.hard:
        return math.inf
    if amount not in quota.used:
        # Nobody has counted yet.
        return -math.inf
    return quota.hard[amount] - quota.used[amount] - facts.confines.promised.get(amount, 0)


def _raised(template: Workload, changes: Iterable[FieldChange], amount: Amount) -> Iterable[FieldPath]:
    """Those of the changes of an amount that lead above the template."""
    for change in changes:
        container = template.container(change.path.container)
        if container is None or (change.path.resource, change.path.field) != amount:
            continue
        if (change.after or 0) > (effective(container.sizes, *amount) or 0):
            yield change.path


def _quantity(amount: Amount, value: int) -> str:
    return format_cpu(value) if amount[0] == "cpu" else format_memory(value)
