"""The status of a profile: was it understood, can its workloads be measured, and how many are where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rightsizer.profile import Mode, Profile
from rightsizer.status.conditions import Condition, Trouble, merge
from rightsizer.status.standing import MODE_IGNORE


@dataclass(frozen=True, slots=True)
class ProfileStanding:
    """How many workloads a profile rules, and what became of them.

    `waiting`: for more history, or held back by a check. `changed`: by this operator. `overruled`: workloads that fit too, but are
    ruled by a profile that comes before it. `unknown_containers`: names of exceptions that no workload has. `trouble`: why usage could
    not be measured this time. `unmeasured`: of a cluster-wide profile, in which of its namespaces it could not, in a sentence; then the
    others are. `notes`: what else is to be told of measuring, a sentence each. `namespaces`: how many a cluster-wide profile selects;
    None where that is not looked at.
    """

    matched: int = 0
    measured: int = 0
    waiting: int = 0
    changed: int = 0
    overruled: int = 0
    unknown_containers: tuple[str, ...] = ()
    trouble: Trouble | None = None
    unmeasured: str = ""
    notes: tuple[str, ...] = ()
    namespaces: int | None = None


def render(profile: Profile, standing: ProfileStanding, *, now: float) -> dict[str, Any]:
    """`status` of the profile, whose written status is `profile.status`; equal to that when there is no news. `now` in unix seconds."""
    old: Mapping[str, Any] = profile.status
    return {
        "observedGeneration": profile.generation,
        **({} if standing.namespaces is None else {"namespaces": standing.namespaces}),
        "workloads": {
            "matched": standing.matched,
            "measured": standing.measured,
            "waiting": standing.waiting,
            "changed": standing.changed,
        },
        "conditions": merge(old.get("conditions", []), _conditions(profile, standing), now=now),
    }


def _conditions(profile: Profile, standing: ProfileStanding) -> Iterable[Condition]:
    return (_ready(profile, standing), _measuring(profile, standing))


def _ready(profile: Profile, standing: ProfileStanding) -> Condition:
    if profile.problems:
        problems = "; ".join(str(problem) for problem in profile.problems)
        instead = "" if all(problem.kept for problem in profile.problems) else " (the default stands in its place)"
        return Condition("Ready", "False", "InvalidField", problems + instead)
    if standing.overruled:
        others = "a profile of their namespace, or an older cluster-wide one," if profile.cluster_wide else "an older profile"
        return Condition("Ready", "True", "PartlyOverruled", f"{others} rules {_workloads(standing.overruled)} of those that fit")
    if not standing.matched and standing.trouble is None and profile.mode is not Mode.IGNORE:
        return Condition("Ready", "True", "NothingMatched", _nothing_matched(standing))
    if standing.unknown_containers:
        names = ", ".join(standing.unknown_containers)
        return Condition("Ready", "True", "UnknownContainers", f"spec.containers names what no workload has: {names}")
    return Condition("Ready", "True", "Understood", "every field is in force")


def _measuring(profile: Profile, standing: ProfileStanding) -> Condition:
    if profile.mode is Mode.IGNORE:
        return Condition("Measuring", "False", MODE_IGNORE, "the mode is Ignore: nothing is measured")
    if standing.trouble is not None:
        return Condition("Measuring", "False", standing.trouble.reason, standing.trouble.message)
    if standing.namespaces is not None and not standing.matched:
        return Condition("Measuring", "Unknown", "NothingToMeasure", "it rules no workload, so no usage is asked for")
    if standing.unmeasured:
        return Condition("Measuring", "True", "PartlyMeasuring", "; ".join((standing.unmeasured, *standing.notes)))
    return Condition("Measuring", "True", "Measuring", "; ".join(("the usage source answers", *standing.notes)))


def _nothing_matched(standing: ProfileStanding) -> str:
    if standing.namespaces is None:
        return "no workload of the namespace fits its kinds and selector"
    if not standing.namespaces:
        return "there is no namespace that spec.namespaceSelector selects"
    return f"no workload of the namespaces that it selects ({standing.namespaces}) fits its kinds and selector"


def _workloads(count: int) -> str:
    return "1 workload" if count == 1 else f"{count} workloads"
