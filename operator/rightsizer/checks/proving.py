"""The checks of what the replay of a container's own past showed.

Both hold back only what takes room away: whatever the replay shows of a higher size, a lower one would have done worse.
"""

from __future__ import annotations

from collections.abc import Iterable

from rightsizer.checks.facts import CheckFacts, Direction, FieldChange, Objection, Reason
from rightsizer.evidence.proof import Evidence, Figures
from rightsizer.quantities import format_days, format_percentage, format_share_up
from rightsizer.workload import FieldPath


def no_evidence(facts: CheckFacts) -> Objection | None:
    """Its past was not replayed yet, as shortly after the operator's start, or could not be, or there was too little in it to judge."""
    paths = frozenset(change.path for change in _lowered(facts) if _figures(facts, change) is None)
    if not paths:
        return None
    troubled = {path.container for path in paths} & facts.replay_troubles.keys()
    failed = [f"{name} is not lowered, as the replay of its past failed: {facts.replay_troubles[name]}" for name in sorted(troubled)]
    rest = [path for path in paths if path.container not in troubled]
    judged = sorted({_judged(facts.evidence[path.container], path) for path in rest if path.container in facts.evidence})
    containers = ", ".join(sorted({path.container for path in rest if path.container not in facts.evidence}))
    unknown = [f"nothing is lowered before this rule was replayed over the past of {containers} and judged"] if containers else []
    return Objection(Reason.NO_EVIDENCE, "; ".join([*failed, *unknown, *judged]), paths)


def _judged(evidence: Evidence, path: FieldPath) -> str:
    days = evidence.figures(path.resource).days
    much, needed = format_days(days) if days else "nothing", format_days(evidence.least_days)
    return f"the replay could judge {much} of the {path.resource} of {path.container}, which is not lowered before {needed} were judged"


def evidence_too_weak(facts: CheckFacts) -> Objection | None:
    """The replay had more OOM kills, or more time above the request, than the profile accepts."""
    weak = {change.path: words for change in _lowered(facts) if (words := _weakness(facts, change))}
    if not weak:
        return None
    return Objection(Reason.EVIDENCE_TOO_WEAK, "; ".join(sorted(set(weak.values()))), frozenset(weak))


def _lowered(facts: CheckFacts) -> Iterable[FieldChange]:
    return (change for change in facts.changes if change.direction is Direction.LOWER)


def _figures(facts: CheckFacts, change: FieldChange) -> Figures | None:
    evidence = facts.evidence.get(change.path.container)
    return evidence.figures(change.path.resource) if evidence is not None and evidence.proves(change.path.resource) else None


def _weakness(facts: CheckFacts, change: FieldChange) -> str:
    """Which figure is above which limit; empty where none is."""
    figures, rule = _figures(facts, change), facts.profile.evidence
    if figures is None:
        return ""
    of = f"of {change.path.container} in the {format_days(figures.days)} that were judged"
    if figures.oom_events > rule.max_oom_kills:
        kills = "1 OOM kill" if figures.oom_events == 1 else f"{figures.oom_events} OOM kills"
        return f"this rule would have had {kills} {of}; spec.evidence.maxOOMKills is {rule.max_oom_kills}"
    if figures.above > rule.max_time_above_request:
        share, most = format_share_up(figures.above), format_percentage(rule.max_time_above_request)
        where = f"{change.path.resource} above the request for {share} of the time {of}"
        return f"this rule would have had {where}; spec.evidence.maxTimeAboveRequest is {most}"
    return ""
