"""What holds everything back, whatever it is: somebody said stop, or what stands around the workload is not known."""

from __future__ import annotations

from collections.abc import Mapping

from rightsizer.checks.facts import CheckFacts, Objection, Reason
from rightsizer.profile import Mode
from rightsizer.workload import FREEZE_ANNOTATION, MODE_ANNOTATION


def stopped(facts: CheckFacts) -> Objection | None:
    """Somebody stopped all changes of the operator."""
    return Objection(Reason.STOPPED, facts.confines.stopped) if facts.confines.stopped else None


def frozen(facts: CheckFacts) -> Objection | None:
    """Somebody froze the namespace."""
    return Objection(Reason.FROZEN, facts.confines.frozen) if facts.confines.frozen else None


def surroundings_unknown(facts: CheckFacts) -> Objection | None:
    """Nothing is changed on a guess."""
    return Objection(Reason.SURROUNDINGS_UNKNOWN, facts.confines.unknown) if facts.confines.unknown else None


def told_stop(deployment: str, annotations: Mapping[str, str]) -> str:
    """Why all changes are stopped, by the annotations of the operator's own Deployment; empty where they are not.

    Any mode but Apply stops, also one that cannot be read: whoever writes it wants less to happen.
    """
    asked = annotations.get(MODE_ANNOTATION)
    if asked is None or asked == Mode.APPLY:
        return ""
    return f'annotation {MODE_ANNOTATION} of Deployment {deployment} is "{asked}": nothing is changed in the whole cluster'


def told_freeze(namespace: str, annotations: Mapping[str, str]) -> str:
    """Why nothing is changed in a namespace, by its annotations; empty where that is not so. Any value but `false` freezes."""
    asked = annotations.get(FREEZE_ANNOTATION, "false")
    if asked.strip().lower() == "false":
        return ""
    return f'annotation {FREEZE_ANNOTATION} of namespace {namespace} is "{asked}"'
