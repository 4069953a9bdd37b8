"""Is there room in the ResourceQuotas of the namespace for the pods that are there while and after the sizes change?

A rolling update adds pods before it takes others away, so that it needs room even where everything shrinks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rightsizer.checks.confines import Amount, Quota
from rightsizer.checks.creation import no_room_for_new_pods
from rightsizer.checks.differences import sizes_after
from rightsizer.checks.facts import CheckFacts, Objection, Reason
from rightsizer.checks.pod_sum import pod_sum
from rightsizer.profile import AT_CREATION, ON_CREATE, ROLLOUT
from rightsizer.quantities import format_cpu, format_memory
from rightsizer.workload import FieldPath, Sizes, Workload


@dataclass(frozen=True, slots=True)
class _Need:
    """What a change asks for beyond what is used now: `as_is` for the pods that a rolling update adds, if nothing of it were raised."""

    amount: Amount
    pod: int
    surge: int
    more: int
    as_is: int


def quota_exceeded(facts: CheckFacts) -> Objection | None:
    """A ResourceQuota would refuse a pod: one that a rolling update adds, a larger one, or one that is sized at its creation."""
    found = [one for one in (_no_room_for_new_pods(facts), _no_room(facts)) if one is not None]
    if not found:
        return None
    held = [one.paths for one in found if one.paths is not None]
    return replace(found[0], paths=frozenset().union(*held) if len(held) == len(found) else None)


def _no_room_for_new_pods(facts: CheckFacts) -> Objection | None:
    return no_room_for_new_pods(facts) if facts.profile.apply.strategy in AT_CREATION else None


def _no_room(facts: CheckFacts) -> Objection | None:
    """Of pods that run, or of those that a rolling update adds."""
    if facts.profile.apply.strategy == ON_CREATE or not facts.changes or not facts.workload.replicas:
        return None
    after = sizes_after(facts.workload, facts.changes)
    found: dict[FieldPath, str] = {}
    for quota in facts.confines.quotas:
        for amount in quota.hard:
            need = _need(facts.workload, amount, after, surge=_surge(facts))
            room = quota.room(amount, facts.confines.promised)
            if not need.more or need.more <= room:
                continue
            raised = _raised(facts, amount)
            if need.as_is > room or not raised:
                return Objection(Reason.QUOTA_EXCEEDED, _message(quota, need))
            found |= dict.fromkeys(raised, _message(quota, need))
    return Objection(Reason.QUOTA_EXCEEDED, found[min(found)], frozenset(found)) if found else None


def _surge(facts: CheckFacts) -> int:
    return facts.workload.max_surge if facts.profile.apply.strategy == ROLLOUT else 0


def _need(workload: Workload, amount: Amount, after: Mapping[str, Sizes], *, surge: int) -> _Need:
    """At the start the added pods have the new sizes beside the old ones; at the end, old ones that linger have theirs."""
    old, new = pod_sum(workload.containers, *amount), pod_sum(workload.containers, *amount, after)
    more = max(surge * new, workload.replicas * (new - old) + surge * old)
    return _Need(amount, new, surge, more, surge * min(old, new))


def _raised(facts: CheckFacts, amount: Amount) -> list[FieldPath]:
    return [one.path for one in facts.changes if (one.path.resource, one.path.field) == amount and (one.after or 0) > (one.before or 0)]


def _message(quota: Quota, need: _Need) -> str:
    resource, field = need.amount
    write = format_cpu if resource == "cpu" else format_memory
    surge = f", for {_pods(need.surge)} that its rolling update adds" if need.surge else ""
    return (
        f"ResourceQuota {quota.name} ({resource} {field}s {write(quota.hard[need.amount])}) has no room for {write(need.more)} more: "
        f"each pod has {write(need.pod)} then{surge}"
    )


def _pods(count: int) -> str:
    return "1 pod" if count == 1 else f"{count} pods"
