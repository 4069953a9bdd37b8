"""The check of what a patch of the template cannot do to an Argo Rollout, which is no kind of Kubernetes' own.

How the API server merges is known for its own kinds; of others it is what their definition says.
"""

from __future__ import annotations

from rightsizer.checks.facts import CheckFacts, Objection, Reason
from rightsizer.profile import ROLLOUT
from rightsizer.workload import ARGO_ROLLOUT


def not_mergeable(facts: CheckFacts) -> Objection | None:
    """Its containers would be replaced and not merged, or a limit would have to go, for which there is no safe patch.

    Server-Side Apply of a list that is one value would leave our fields of each container, and nothing else of it.
    """
    workload = facts.workload
    if workload.ref.kind != ARGO_ROLLOUT or facts.profile.apply.strategy != ROLLOUT:
        return None
    if not workload.merged_by_name:
        message = (
            "the cluster's definition of Rollouts has containers as one value that cannot be merged: install a newer one of "
            "Argo Rollouts and apply this Rollout again, or use the strategy OnCreate"
        )
        return Objection(Reason.NOT_MERGEABLE, message)
    removed = frozenset(change.path for change in facts.changes if change.after is None)
    if not removed:
        return None
    return Objection(Reason.NOT_MERGEABLE, f"{min(removed)}: a limit of a Rollout can only be taken away where it is declared", removed)
