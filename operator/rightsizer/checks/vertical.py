"""The check of another one that sizes the same containers: two that write the same numbers would never come to rest."""

from __future__ import annotations

from rightsizer.checks.facts import CheckFacts, Objection, Reason


def vpa_active(facts: CheckFacts) -> Objection | None:
    """A VerticalPodAutoscaler sets them. One that only recommends is told apart before, and not here."""
    for autoscaler in facts.confines.vertical_autoscalers:
        if not autoscaler.is_about(facts.workload):
            continue
        paths = frozenset(change.path for change in facts.changes if autoscaler.takes(change.path))
        if paths:
            resources = " and ".join(sorted({path.resource for path in paths}))
            message = (
                f"VerticalPodAutoscaler {autoscaler.name} sets {resources} too: set its updateMode to Off, or leave the workload to it"
            )
            return Objection(Reason.VPA_ACTIVE, message, paths)
    return None
