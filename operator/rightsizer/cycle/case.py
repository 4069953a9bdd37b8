"""One workload in one cycle: all that is known of it before anything is done, and where it stands by that. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rightsizer.change import (
    Change,
    Outcome,
    Progress,
    Watch,
    back_off_seconds,
    cut_short,
    dropped,
    made,
    observe,
    raised_paths,
    raises,
)
from rightsizer.checks.chain import judge
from rightsizer.checks.confines import Confines
from rightsizer.checks.differences import differences
from rightsizer.checks.facts import NO_CONFINES, CheckFacts, Failure, Undone
from rightsizer.checks.limit_range import within_bounds
from rightsizer.cycle.assignment import Ruled
from rightsizer.cycle.recommending import Recommendations
from rightsizer.evidence.proof import Evidence
from rightsizer.ports import Recorded
from rightsizer.profile import AT_CREATION, Mode
from rightsizer.status import recommendation as recommendation_status
from rightsizer.status.change import KEPT, change_from_status, history_from_status
from rightsizer.status.conditions import Trouble
from rightsizer.status.dead_band import entries_by_name, hold, stand
from rightsizer.status.naming import recommendation_name
from rightsizer.status.standing import Standing
from rightsizer.workload import Autoscaler, FieldPath, Workload

WAIT_AFTER_REFUSAL_SECONDS = 3_600
"""A change that the API server refused is not tried again for so long."""


NO_WATCH = Watch()


@dataclass(frozen=True, slots=True)
class Proof:
    """What the replay of the containers' own past showed, by container. `troubles`: why a plug-in left one out; `awaited`: what is written
    of it may still hold, as nothing was replayed since the operator's start."""

    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    troubles: Mapping[str, str] = field(default_factory=dict)
    awaited: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """`recorded`: what is written of this very workload; `trouble`: why usage could not be measured this time; `history_read`: whether the
    whole window of its namespace was read. `watch`, `progress`: what was seen of the change that is recorded; `known_made`: that it was
    made, whatever is written."""

    ruled: Ruled
    recommendations: Recommendations
    now: float
    proof: Proof = field(default_factory=Proof)
    autoscalers: tuple[Autoscaler, ...] = ()
    recorded: Recorded | None = None
    trouble: Trouble | None = None
    history_read: bool = True
    confines: Confines = NO_CONFINES
    watch: Watch = NO_WATCH
    progress: Progress | None = None
    known_made: bool = False

    @property
    def workload(self) -> Workload:
        return self.ruled.workload

    @property
    def old(self) -> Mapping[str, Any]:
        """The status as it is written."""
        return self.recorded.status if self.recorded is not None else {}

    @property
    def change(self) -> Change | None:
        """The newest change, as it is written."""
        return change_from_status(self.old)

    @property
    def told(self) -> Recommendations:
        """The recommendations, without those that are written while usage cannot be read: the window moves on and its values do not."""
        if self.trouble is None:
            return self.recommendations
        entries = entries_by_name(self.old)
        return {name: found for name, found in self.recommendations.items() if "recommended" not in entries.get(name, {})}


def of_this(workload: Workload, recorded: Recorded | None) -> Recorded | None:
    """What is recorded, unless it is of a workload of the same name that was deleted since."""
    if recorded is None or (recorded.spec.get("workloadRef") or {}).get("uid") != workload.uid:
        return None
    return recorded


def look(case: Case, change: Change | None) -> Standing:
    """Where the workload stands with this change. Decided on the numbers that people have read, as `hold` gives them."""
    workload, profile = case.workload, case.ruled.profile
    history = history_with(case, change, before=case.change)
    changes_so_far = (*(() if change is None else (change,)), *history)
    told = case.told
    standing = stand(case.old, told, minimum_change=profile.apply.minimum_change)
    held = hold(told, standing)
    changes = within_bounds(differences(held, workload), case.confines.limit_ranges)
    facts = CheckFacts(
        now=case.now,
        workload=workload,
        profile=profile,
        recommendations=held,
        changes=changes,
        autoscalers=case.autoscalers,
        # Without a record (its profile was deleted, say) the workload itself tells when it was last changed, perhaps lowered.
        last_lowered=workload.sized_at if change is None else change.last_lowered,
        failure=_failure(changes_so_far, strategy=profile.apply.strategy),
        undone=_undone(changes_so_far),
        history_read=case.history_read,
        evidence=case.proof.evidence,
        replay_troubles=case.proof.troubles,
        last_raised=change.time if change is not None and raises(change) else None,
        verifying=change is not None and change.outcome is Outcome.VERIFYING,
        confines=case.confines,
    )
    return Standing(
        workload=workload,
        mode=case.ruled.mode,
        minimum_change=profile.apply.minimum_change,
        recommendations=told,
        stand=standing,
        changes=changes,
        verdict=judge(facts),
        change=change,
        trouble=case.trouble,
        evidence=case.proof.evidence,
        replay_troubles=case.proof.troubles,
        evidence_awaited=case.proof.awaited,
        history=history,
    )


def observed(case: Case) -> Change | None:
    """What became of the newest change. Nothing where it does not concern what is in force any more: another strategy, another mode."""
    change = case.change
    if change is None:
        return None
    rule = case.ruled.profile.apply
    ours = case.ruled.mode is Mode.APPLY and change.strategy == rule.strategy
    if not ours and change.strategy in AT_CREATION:
        # Its entry went with that, so the template counts again.
        return dropped(change, case.workload)
    in_force_unknown = change.strategy in AT_CREATION and bool(case.confines.policy_trouble)
    if in_force_unknown or (not ours and change.outcome.ended):
        return change
    if case.known_made and change.outcome is Outcome.STARTED:
        # So that former values that are back already are seen as put back, and not as never left.
        change = made(change)
    return observe(change, case.workload, case.progress or Progress(case.workload.rollout, case.workload.rollout_message), case.watch)


def recorded_as(case: Case, standing: Standing) -> Recorded:
    """The recommendation as it is to be written."""
    workload = case.workload
    spec = {
        "workloadRef": {
            "apiVersion": workload.api_version,
            "kind": workload.ref.kind,
            "name": workload.ref.name,
            "uid": workload.uid,
        },
        "profileRef": {"kind": case.ruled.profile.kind, "name": case.ruled.profile.name},
    }
    status = recommendation_status.render(standing, old=case.old, now=case.now)
    return Recorded(workload.ref, recommendation_name(workload.ref), spec, status)


def history_with(case: Case, change: Change | None, *, before: Change | None) -> tuple[Change, ...]:
    """The changes before this one, newest first. `before`: what became of the one that is recorded, which is among them where this one is
    a new one, unless it was never made."""
    history = history_from_status(case.old)
    new = before is not None and change is not None and before.time != change.time
    if before is not None and new and before.outcome is not Outcome.ABANDONED:
        history = (cut_short(before), *history)
    return history[: KEPT - 1]


def _failure(changes: Sequence[Change], *, strategy: str) -> Failure | None:
    """Why and how long the same is not tried again; another strategy may be tried at once. `changes`: newest first.

    What was refused is of no matter after the next change; what was taken back is, until its time is over.
    """
    counted = [change for index, change in enumerate(changes) if change.strategy == strategy and _failed(change, newest=index == 0)]
    found = [_failure_of(change) for change in counted]
    return max(found, key=lambda one: one.at + one.wait_seconds, default=None)


def _failed(change: Change, *, newest: bool) -> bool:
    return bool(change.reverts) or (newest and change.outcome is Outcome.FAILED)


def _failure_of(change: Change) -> Failure:
    wait = back_off_seconds(change.failures) if change.reverts else WAIT_AFTER_REFUSAL_SECONDS
    # What is taken back now was raised, if its reversal lowers it.
    raised = frozenset(one.path for one in change.fields()) - raised_paths(change) if change.reverts else raised_paths(change)
    return Failure(at=change.time, message=change.reverts or change.message, wait_seconds=wait, raised=raised)


def _undone(changes: Sequence[Change]) -> Undone | None:
    """What others put back, as long as no later change of ours moved it again. `changes`: newest first."""
    moved: set[FieldPath] = set()
    newest: Change | None = None
    values: dict[FieldPath, int | None] = {}
    for change in changes:
        fields = [one for one in change.fields() if one.path not in moved]
        moved |= {one.path for one in fields}
        if change.outcome is Outcome.UNDONE:
            newest = newest or change
            values |= {one.path: one.before for one in fields}
    return None if newest is None else Undone(by=newest.undone_by, at=newest.time, values=values)
