"""The check of PodDisruptionBudgets. They speak to evictions, which a rolling update is none of; what they say is heeded all the same.

A budget with nothing left says that its pods are at their least number of healthy ones. A rolling update that takes pods away before the
new ones are ready would go below it; one that only adds first keeps to it, and passes.
"""

from __future__ import annotations

from rightsizer.checks.facts import CheckFacts, FieldChange, Objection, Reason
from rightsizer.checks.pressure import relieves
from rightsizer.methods.recommendation import Clamp
from rightsizer.profile import ROLLOUT


def pod_disruption_budget_forbids(facts: CheckFacts) -> Objection | None:
    """A budget has none of its pods to spare. What heals pods that are killed for memory goes on: that may be why it has none."""
    workload = facts.workload
    if facts.profile.apply.strategy != ROLLOUT or not workload.replicas or not workload.max_unavailable:
        return None
    spent = [one.name for one in facts.confines.budgets if one.guards(workload) and one.pods and not one.allowed]
    held = frozenset(change.path for change in facts.changes if not _heals(facts, change))
    if not spent or not held:
        return None
    message = f"PodDisruptionBudget {min(spent)} allows no disruption now, and a rolling update takes pods away before others are ready"
    return Objection(Reason.DISRUPTION_BUDGET_FORBIDS, message, held)


def _heals(facts: CheckFacts, change: FieldChange) -> bool:
    return relieves(facts.recommendations, change) and Clamp.OOM_KILL in facts.clamps(change.path)
