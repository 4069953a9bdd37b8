"""The checks that a change has to pass, and the chain that asks them.

Each check is a pure function of the facts that answers with an objection or with nothing. An objection names the numbers that may not be
changed now; what is left goes to the next check. Messages hold numbers that stay the same from cycle to cycle where they can, because
they stand in a status that is only written when it changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from rightsizer.checks.differences import coherent
from rightsizer.checks.facts import CheckFacts, Direction, FieldChange, Objection, Reason, Verdict
from rightsizer.checks.measuring import not_enough_history, stale_metrics
from rightsizer.checks.moment import moment
from rightsizer.checks.proving import evidence_too_weak, no_evidence
from rightsizer.methods.pace import RAISE_CHANGES, Pace, pace_of
from rightsizer.methods.recommendation import Clamp
from rightsizer.methods.risk import conduct_of, worth_it
from rightsizer.profile import LEARNED, LimitPolicy
from rightsizer.quantities import format_cpu, format_duration, format_memory, format_percentage
from rightsizer.workload import PAUSED_ANNOTATION, Autoscaler, FieldPath, RolloutPhase, ScalingMetric

WAIT_AFTER_FAILURE_SECONDS = 3_600

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


def backing_off(facts: CheckFacts) -> Objection | None:
    """The newest change failed a short while ago: the same again would most likely fail again."""
    if facts.last_failed is None or facts.now - facts.last_failed >= WAIT_AFTER_FAILURE_SECONDS:
        return None
    again = moment(facts.last_failed + WAIT_AFTER_FAILURE_SECONDS)
    words = f" ({facts.failure})" if facts.failure else ""
    return Objection(Reason.BACKING_OFF, f"the change of {moment(facts.last_failed)} failed{words}; the next try is not before {again}")


def owned_by_gitops(facts: CheckFacts) -> Objection | None:
    """Fields that a controller holds would be taken back by it; those of a person's tool (kubectl, Helm) may be taken over."""
    owners = {change.path: manager for change in facts.changes if _takes_back(manager := facts.workload.managers.get(change.path, ""))}
    if not owners:
        return None
    path, manager = min(owners.items())
    message = f"{path} belongs to field manager {manager}, which would set it back: change it where {manager} reads it"
    return Objection(Reason.OWNED_BY_GITOPS, message, frozenset(owners))


def hpa_on_same_resource(facts: CheckFacts) -> Objection | None:
    """A HorizontalPodAutoscaler that aims at a share of the request would scale when the request moves. AverageValue does not."""
    for autoscaler in facts.autoscalers:
        objection = _of_autoscaler(facts, autoscaler) if autoscaler.target == facts.workload.ref else None
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
    paused,
    rollout_in_progress,
    backing_off,
    stale_metrics,
    not_enough_history,
    no_evidence,
    evidence_too_weak,
    hpa_on_same_resource,
    owned_by_gitops,
    cooling_down,
    change_too_small,
)
"""In the order in which they are asked: what concerns the workload as a whole first, whether it is worth it last."""


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
    clamps = _clamps(facts, change.path) if change.direction is Direction.RAISE else ()
    if Clamp.NEAR_LIMIT in clamps:
        return True
    if Clamp.OOM_KILL in clamps:
        return _relative(change) >= _pace(facts).minimum_change
    return _relative(change) >= _least(facts, change) and not _within_ratios(facts, change)


def _clamps(facts: CheckFacts, path: FieldPath) -> tuple[Clamp, ...]:
    found = facts.recommendations.get(path.container)
    explained = None if found is None else found.explanation(path.resource)
    return () if explained is None else (explained.request_clamp, explained.limit_clamp)


def _within_ratios(facts: CheckFacts, change: FieldChange) -> bool:
    """Whether it is a limit that may stand where it does: with the peak, a limit moves between two ratios; that alone is no reason."""
    path, container = change.path, facts.workload.container(change.path.container)
    limit = facts.profile.rule_for(path.container).resource(path.resource).limit
    if path.field != "limit" or container is None or limit.policy is not LimitPolicy.RATIO or limit.max_ratio is None:
        return False
    request = container.sizes.request(path.resource)
    return bool(request and change.before) and limit.ratio <= (change.before or 0) / (request or 1) <= limit.max_ratio


def _takes_back(manager: str) -> bool:
    return bool(manager) and not manager.lower().startswith(PEOPLES_TOOLS)


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
