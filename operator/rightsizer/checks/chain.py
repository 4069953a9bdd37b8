"""The checks that a change has to pass, and the chain that asks them.

Each check is a pure function of the facts that answers with an objection or with nothing. An objection names the numbers that may not be
changed now; what is left goes to the next check. Messages hold numbers that stay the same from cycle to cycle where they can, because
they stand in a status that is only written when it changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from rightsizer.checks.creation import (
    admission_policy_missing,
    memory_in_use,
    needs_rollout,
    pod_sizes_full,
    qos_class_would_change,
)
from rightsizer.checks.differences import coherent
from rightsizer.checks.disruption import pod_disruption_budget_forbids
from rightsizer.checks.facts import CheckFacts, Direction, FieldChange, Objection, Reason, Verdict
from rightsizer.checks.holding import frozen, stopped, surroundings_unknown
from rightsizer.checks.limit_range import limit_range_forbids
from rightsizer.checks.measuring import not_enough_history, stale_metrics
from rightsizer.checks.merging import not_mergeable
from rightsizer.checks.moment import moment
from rightsizer.checks.node_room import node_too_small
from rightsizer.checks.pressure import relieves
from rightsizer.checks.proving import evidence_too_weak, no_evidence
from rightsizer.checks.quota import quota_exceeded
from rightsizer.checks.timing import outside_window
from rightsizer.checks.vertical import vpa_active
from rightsizer.methods.pace import RAISE_CHANGES, Pace, pace_of
from rightsizer.methods.recommendation import Clamp
from rightsizer.methods.risk import conduct_of, worth_it
from rightsizer.profile import ALWAYS, AT_CREATION, LEARNED, NEVER, LimitPolicy
from rightsizer.quantities import format_cpu, format_duration, format_memory, format_percentage
from rightsizer.workload import PAUSED_ANNOTATION, Autoscaler, FieldPath, RolloutPhase, ScalingMetric

PEOPLES_TOOLS = ("kubectl", "helm", "before-first-apply")
"""Field managers that only act when a person does begin with one of these. Any other may be a controller that takes back."""

Check = Callable[[CheckFacts], Objection | None]


def judge(facts: CheckFacts) -> Verdict:
    """Ask every check in turn. What no check objects to, and what makes a valid workload, is allowed.

    Every objection is kept, also those after nothing is left; the first is the reason that is told.
    """
    remaining = replace(facts, changes=coherent(facts.workload, facts.changes))
    objections: list[Objection] = []
    for check in CHAIN:
        objection = check(remaining)
        if objection is not None:
            objections.append(objection)
            remaining = replace(remaining, changes=_without(facts, remaining.changes, objection.paths))
    return Verdict(remaining.changes, tuple(objections))


def _without(facts: CheckFacts, changes: Iterable[FieldChange], paths: frozenset[FieldPath] | None) -> tuple[FieldChange, ...]:
    if paths is None:
        return ()
    return coherent(facts.workload, (change for change in changes if change.path not in paths))


def paused(facts: CheckFacts) -> Objection | None:
    """Somebody asked to leave it alone: by annotation, or by pausing the Deployment's rollouts."""
    workload = facts.workload
    asked = workload.annotations.get(PAUSED_ANNOTATION, "false")
    if asked.strip().lower() != "false":
        # Whoever sets the annotation wants nothing to happen, however they spell it.
        return Objection(Reason.PAUSED, f'annotation {PAUSED_ANNOTATION} is "{asked}"')
    if workload.paused:
        return Objection(Reason.PAUSED, f"the {workload.ref.kind}'s rollouts are paused (spec.paused)")
    return None


def rollout_in_progress(facts: CheckFacts) -> Objection | None:
    """Its pods are being replaced, or could not be: another change on top would hide which one did harm."""
    workload = facts.workload
    if workload.rollout is RolloutPhase.COMPLETE:
        return None
    state = "failed" if workload.rollout is RolloutPhase.FAILED else "is in progress"
    words = f": {workload.rollout_message}" if workload.rollout_message else ""
    return Objection(Reason.ROLLOUT_IN_PROGRESS, f"a rollout {state}{words}")


def verifying(facts: CheckFacts) -> Objection | None:
    """The newest change is being watched: another on top would hide which one did harm. What restarts nothing may still be raised, and
    memory that is too little always."""
    if not facts.verifying:
        return None
    held = frozenset(change.path for change in facts.changes if not _raises_all_the_same(facts, change))
    return Objection(Reason.VERIFYING, "the newest change is being watched", held) if held else None


def backing_off(facts: CheckFacts) -> Objection | None:
    """The newest change failed a while ago: the same again would most likely fail again. Memory that is too little is still raised, unless
    raising it is what failed."""
    failure = facts.failure
    if failure is None or facts.now - failure.at >= failure.wait_seconds:
        return None
    relieving = {change.path for change in facts.changes if relieves(facts.recommendations, change)}
    held = frozenset(change.path for change in facts.changes) - (relieving - failure.raised)
    if not held:
        return None
    words = f" ({failure.message})" if failure.message else ""
    again = moment(failure.at + failure.wait_seconds)
    return Objection(Reason.BACKING_OFF, f"the change of {moment(failure.at)} failed{words}; the next try is not before {again}", held)


def reverted_by_other(facts: CheckFacts) -> Objection | None:
    """Somebody put the values of before back: they are left so for as long as they stand."""
    undone = facts.undone
    if undone is None:
        return None
    held = frozenset(change.path for change in facts.changes if undone.values.get(change.path, -1) == change.before)
    if not held:
        return None
    message = f"{undone.by or 'somebody'} put the values from before the change of {moment(undone.at)} back; they are left as they are"
    return Objection(Reason.REVERTED_BY_OTHER, message, held)


def owned_by_gitops(facts: CheckFacts) -> Objection | None:
    """Fields that a controller holds would be taken back by it; those of a person's tool (kubectl, Helm) may be taken over."""
    rule = facts.profile.apply.take_ownership
    if rule == ALWAYS:
        return None
    held = {change.path: manager for change in facts.changes if (manager := facts.workload.managers.get(change.path, ""))}
    controlled = {path: manager for path, manager in held.items() if _takes_back(manager)}
    if controlled:
        path, manager = min(controlled.items())
        message = f"{path} belongs to field manager {manager}, which would set it back: change it where {manager} reads it, or use InPlace"
        return Objection(Reason.OWNED_BY_GITOPS, message, frozenset(controlled))
    if held and rule == NEVER:
        path, manager = min(held.items())
        message = f"{path} belongs to field manager {manager}, and apply.takeOwnership is {NEVER}"
        return Objection(Reason.OWNED_BY_OTHER, message, frozenset(held))
    return None


def hpa_on_same_resource(facts: CheckFacts) -> Objection | None:
    """A HorizontalPodAutoscaler that aims at a share of the request would scale when the request moves. AverageValue does not."""
    for autoscaler in facts.autoscalers:
        objection = _of_autoscaler(facts, autoscaler) if autoscaler.scales(facts.workload) else None
        if objection is not None:
            return objection
    return None


def cooling_down(facts: CheckFacts) -> Objection | None:
    """It was lowered, or raised, a short while ago; raising is never held back."""
    least = facts.profile.apply.lower_at_most_every_seconds
    lower = frozenset(change.path for change in facts.changes if change.direction is Direction.LOWER)
    settle = _pace(facts).settle_seconds
    if facts.last_raised is not None and lower and facts.now - facts.last_raised < settle:
        again = moment(facts.last_raised + settle)
        message = f"raised at {moment(facts.last_raised)}: lowered again from {again} on at the earliest"
        return Objection(Reason.COOLING_DOWN, message, lower)
    if facts.last_lowered is None or not lower or facts.now - facts.last_lowered >= least:
        return None
    message = (
        f"lowered at {moment(facts.last_lowered)}, at most once in {format_duration(least)}: again from "
        f"{moment(facts.last_lowered + least)} on"
    )
    return Objection(Reason.COOLING_DOWN, message, lower)


def change_too_small(facts: CheckFacts) -> Objection | None:
    """No number would move far enough to be worth a rollout. One that does takes the small ones along.

    How far is far enough is the replay's matter too: see `rightsizer.methods.pace`.
    """
    if not facts.changes or any(_worth_it(facts, change) for change in facts.changes):
        return None
    largest = max(facts.changes, key=_relative)
    least = _least(facts, largest)
    if _relative(largest) >= least:
        message = f"{largest.path} alone is between the ratios of the profile's limit, and the request hardly moves"
        return Objection(Reason.CHANGE_TOO_SMALL, message)
    message = (
        f"the largest change, {largest.path} from {_quantity(largest.path, largest.before)} to "
        f"{_quantity(largest.path, largest.after)}, is below {format_percentage(least)}{_why_so_much(facts, largest)}"
    )
    return Objection(Reason.CHANGE_TOO_SMALL, message)


CHAIN: Sequence[Check] = (
    stopped,
    frozen,
    paused,
    surroundings_unknown,
    admission_policy_missing,
    pod_sizes_full,
    rollout_in_progress,
    verifying,
    backing_off,
    reverted_by_other,
    stale_metrics,
    not_enough_history,
    no_evidence,
    evidence_too_weak,
    hpa_on_same_resource,
    vpa_active,
    limit_range_forbids,
    quota_exceeded,
    node_too_small,
    pod_disruption_budget_forbids,
    owned_by_gitops,
    not_mergeable,
    needs_rollout,
    qos_class_would_change,
    memory_in_use,
    cooling_down,
    change_too_small,
    outside_window,
)
"""In the order in which they are asked: what concerns the workload as a whole first, whether it is worth it late, and at the end whether
it is time for it: what would not be changed at any time is not told to wait."""


def _pace(facts: CheckFacts) -> Pace:
    return pace_of(facts.profile, strategy=facts.profile.apply.strategy)


def _least(facts: CheckFacts, change: FieldChange) -> float:
    pace, raises = _pace(facts), change.direction is Direction.RAISE
    if facts.profile.method == LEARNED:
        conduct = conduct_of(change.path.resource, facts.profile.risk.time_above_request, fast=pace.fast)
        conduct = worth_it(conduct, pace.minimum_change)
        return conduct.raise_change if raises else conduct.lower_change
    return pace.raise_change if raises else pace.minimum_change


def _why_so_much(facts: CheckFacts, change: FieldChange) -> str:
    raises = change.direction is Direction.RAISE
    if facts.profile.method == LEARNED:
        return f", which {LEARNED} asks {'raising' if raises else 'lowering'} to be worth"
    return f", {RAISE_CHANGES:g} x minimumChange for raising" if raises else ""


def _worth_it(facts: CheckFacts, change: FieldChange) -> bool:
    clamps = facts.clamps(change.path) if change.direction is Direction.RAISE else ()
    if Clamp.NEAR_LIMIT in clamps or Clamp.ABOVE_REQUEST in clamps:
        return True
    if Clamp.OOM_KILL in clamps:
        return _relative(change) >= _pace(facts).minimum_change
    return _relative(change) >= _least(facts, change) and not _within_ratios(facts, change)


def _within_ratios(facts: CheckFacts, change: FieldChange) -> bool:
    """Whether it is a limit that may stand where it does: with the peak, a limit moves between two ratios; that alone is no reason."""
    path, container = change.path, facts.workload.container(change.path.container)
    limit = facts.profile.rule_for(path.container).resource(path.resource).limit
    if path.field != "limit" or container is None or limit.policy is not LimitPolicy.RATIO or limit.max_ratio is None:
        return False
    request = container.sizes.request(path.resource)
    return bool(request and change.before) and limit.ratio <= (change.before or 0) / (request or 1) <= limit.max_ratio


def _raises_all_the_same(facts: CheckFacts, change: FieldChange) -> bool:
    if change.direction is not Direction.RAISE:
        return False
    return facts.profile.apply.strategy in AT_CREATION or relieves(facts.recommendations, change)


def _takes_back(manager: str) -> bool:
    return any(one and not one.lower().startswith(PEOPLES_TOOLS) for one in manager.split(", "))


def _of_autoscaler(facts: CheckFacts, autoscaler: Autoscaler) -> Objection | None:
    metrics = [metric for metric in autoscaler.metrics if metric.target_type == "Utilization"]
    paths = frozenset(change.path for change in facts.changes if any(_scales_on(metric, change.path) for metric in metrics))
    if not paths:
        return None
    resources = " and ".join(sorted({path.resource for path in paths}))
    message = f"HorizontalPodAutoscaler {autoscaler.name} scales on the utilization of {resources}, a share of the request"
    return Objection(Reason.HPA_ON_SAME_RESOURCE, message, paths)


def _scales_on(metric: ScalingMetric, path: FieldPath) -> bool:
    return metric.resource == path.resource and metric.container in (None, path.container)


def _relative(change: FieldChange) -> float:
    """How far a number would move, as a share of what it is; a number that is set first, or removed, moves infinitely far."""
    if not change.before or change.after is None:
        return math.inf
    return abs(change.after - change.before) / change.before


def _quantity(path: FieldPath, value: int | None) -> str:
    if value is None:
        return "unset"
    return format_cpu(value) if path.resource == "cpu" else format_memory(value)
