"""Settles one workload: looks at what became of its last change, takes it back or acts where the checks agree, and writes down where it
stands."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rightsizer.change import Change, Outcome, Progress, made, observe, start, start_reversal, to_be_repeated, to_be_reverted
from rightsizer.checks.differences import coherent
from rightsizer.checks.facts import FieldChange, Objection, Reason, Verdict
from rightsizer.cycle import telling
from rightsizer.cycle.acting import act, refused
from rightsizer.cycle.assignment import fallen_back
from rightsizer.cycle.case import WAIT_AFTER_REFUSAL_SECONDS, Case, history_with, look, recorded_as
from rightsizer.cycle.creating import Creating, at_creation
from rightsizer.cycle.queue import left_by
from rightsizer.cycle.resizing import Resizing
from rightsizer.cycle.watching import Watching
from rightsizer.cycle.writing import Writing, done, handed_on
from rightsizer.errors import ClusterError, ClusterNotFound
from rightsizer.ports import Cluster, Recorded
from rightsizer.profile import AT_CREATION, IN_PLACE, Mode, Profile
from rightsizer.status.change import change_figures
from rightsizer.status.dead_band import only_numbers_moved
from rightsizer.status.standing import Standing, State, tell
from rightsizer.workload import RolloutPhase, WorkloadRef

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settled:
    """Where a workload stands after the cycle. `changed_now`: in this cycle; `was_changed`: by its newest change; `failed`: not written;
    `reverting`: its newest change takes another one back."""

    profile: Profile
    mode: Mode
    state: State
    reason: str
    container_names: tuple[str, ...]
    measured: bool
    changed_now: bool
    was_changed: bool
    failed: bool
    reverting: bool = False


@dataclass(frozen=True, slots=True)
class Intent:
    """A change that is to be made now: its numbers, from what stands."""

    change: Change
    fields: tuple[FieldChange, ...]


class Settling:
    """Remembers only which notes on annotations and which changes were told, so that each is told once."""

    def __init__(self, cluster: Cluster, resizing: Resizing) -> None:
        self._cluster = cluster
        self._resizing = resizing
        self._told_notes: dict[WorkloadRef, tuple[str, ...]] = {}
        self._announced: dict[WorkloadRef, float] = {}

    def settle(
        self,
        case: Case,
        standing: Standing,
        *,
        objection: Objection | None,
        creating: Creating,
        watching: Watching,
        writing: Writing,
        patient: bool = False,
    ) -> Future[Settled]:
        """Acts on where one workload stands; what became of it is written by `writing`, for new pods once `creating` has written their
        sizes.

        `objection`: of the queue. A trouble with the cluster is logged and counted, and leaves the next workload alone. `patient`: what is
        written is left alone where nothing but its numbers moved.
        """
        if to_be_changed(standing) and at_creation(case.ruled):
            # What others were given in this cycle takes room in the quota.
            case = replace(case, confines=creating.confines(case.workload.ref))
            standing = look(case, standing.change)
        if objection is not None:
            allowed = coherent(case.workload, left_by(objection, standing.verdict.allowed))
            standing = replace(standing, verdict=Verdict(allowed, (objection, *standing.verdict.objections)))
        settled = _settled(case, standing, changed_now=False, failed=False)
        try:
            intent = self._intent(case, standing, watching)
            if intent is not None:
                return self._make(case, standing, intent, creating=creating, watching=watching, writing=writing)
        except ClusterError as error:
            return done(_unsettled(settled, case.workload.ref, error))
        standing = self._gone_on(case, standing, watching)
        return self._told(case, standing, settled, writing, patient=patient)

    def _intent(self, case: Case, standing: Standing, watching: Watching) -> Intent | None:
        """What is to be changed now, if anything: first what did harm is taken back."""
        back = to_be_taken_back(case, standing)
        if back and standing.change is not None:
            return Intent(start_reversal(standing.change, case.workload, back, now=case.now, cause=_cause(standing.change)), back)
        if not to_be_changed(standing):
            return None
        change, allowed = standing.change, standing.verdict.allowed
        return Intent(
            start(
                case.workload,
                allowed,
                now=case.now,
                strategy=case.ruled.profile.apply.strategy,
                last_lowered=case.workload.sized_at if change is None else change.last_lowered,
                failures=0 if change is None else change.failures,
                restless=watching.restless(case.workload.ref),
            ),
            allowed,
        )

    def _make(
        self, case: Case, standing: Standing, intent: Intent, *, creating: Creating, watching: Watching, writing: Writing
    ) -> Future[Settled]:
        """Records the intent, makes the change, and writes what became of it. Raises ClusterError where the intent was not recorded."""
        standing = replace(standing, change=intent.change, history=history_with(case, intent.change, before=standing.change))
        recorded = recorded_as(case, standing)
        self._cluster.write_recommendation(recorded, case.workload, existing=case.recorded)
        recording = replace(case, recorded=recorded)
        if intent.change.strategy in AT_CREATION and at_creation(case.ruled):
            return self._create(recording, standing, intent, before=case, creating=creating, watching=watching, writing=writing)
        acted = act(self._cluster, case.workload, intent.change, intent.fields, again=_again(case))
        if acted.change.outcome is Outcome.IN_PROGRESS:
            # The record is right already: the next cycle writes how far it came, in the same stroke.
            self._announce(case, acted.change, recorded)
            return done(_settled(case, replace(standing, change=acted.change), changed_now=True, failed=False))
        after = replace(recording, ruled=replace(case.ruled, workload=acted.workload))
        return self._made(after, standing, acted.change, before=case, writing=writing)

    def _create(
        self, case: Case, standing: Standing, intent: Intent, *, before: Case, creating: Creating, watching: Watching, writing: Writing
    ) -> Future[Settled]:
        """Has the sizes for new pods written with those of the whole namespace; then begins with the pods that run."""
        settled: Future[Settled] = Future()
        name = case.recorded.name if case.recorded is not None else ""

        def written(error: ClusterError | None) -> None:
            if error is not None:
                change = refused(intent.change, error, again=_again(before))
                handed_on(self._made(case, standing, change, before=before, writing=writing), settled)
                return
            after = replace(case, ruled=replace(case.ruled, workload=sized))
            change = self._reached(after, made(intent.change), watching)
            handed_on(self._made(after, standing, change, before=before, writing=writing), settled)

        sized = creating.want(case.workload.ref, intent.fields, recommendation=name, since=intent.change.time, then=written)
        return settled

    def _reached(self, case: Case, change: Change, watching: Watching) -> Change:
        """The change after its first step to the pods: none where they are only sized at creation, one pod where they are resized."""
        if change.strategy == IN_PLACE:
            turn = watching.turn(case.workload.ref, change)
            return change if turn is None else self._resizing.go_on(change, turn, now=case.now)
        return observe(change, case.workload, Progress(RolloutPhase.COMPLETE), watching.watch(case.ruled, change))

    def _made(self, case: Case, standing: Standing, change: Change, *, before: Case, writing: Writing) -> Future[Settled]:
        """Writes what became of a change that was to be made, with what the checks say to that. One without an answer stays an intent,
        which the next cycle judges by what stands."""
        unanswered = change.outcome is Outcome.STARTED
        found = replace(standing, change=change) if unanswered else look(case, change)
        settled = _settled(case, found, changed_now=change.outcome in MADE, failed=False)
        wanted = recorded_as(case, found)
        return writing.later(partial(self._write, case, found, wanted, before=before.change, old=before.old, settled=settled))

    def _gone_on(self, case: Case, standing: Standing, watching: Watching) -> Standing:
        """With the next pod resized, where a change in place is under way."""
        change = standing.change
        if change is None or change.outcome is not Outcome.IN_PROGRESS or change.strategy != IN_PLACE or case.ruled.mode is not Mode.APPLY:
            return standing
        if any(objection.reason in HOLDS_ALL for objection in standing.verdict.objections):
            return standing
        turn = watching.turn(case.workload.ref, change)
        return standing if turn is None else replace(standing, change=self._resizing.go_on(change, turn, now=case.now))

    def _told(self, case: Case, standing: Standing, settled: Settled, writing: Writing, *, patient: bool) -> Future[Settled]:
        wanted = recorded_as(case, standing)
        recorded = case.recorded
        if recorded is not None and wanted.spec == recorded.spec and _no_news(recorded.status, wanted.status, patient=patient):
            self._tell_notes(case)
            return done(settled)
        return writing.later(partial(self._write, case, standing, wanted, before=case.change, old=case.old, settled=settled))

    def _write(
        self, case: Case, standing: Standing, wanted: Recorded, *, before: Change | None, old: Mapping[str, Any], settled: Settled
    ) -> Settled:
        """May run beside the writing of other workloads: nothing that they share is changed here."""
        try:
            self._cluster.write_recommendation(wanted, standing.workload, existing=case.recorded)
        except ClusterError as error:
            return _unsettled(settled, case.workload.ref, error)
        events = [
            *self._unannounced(case, standing, before),
            *telling.of_state(standing.workload, standing.mode, old, wanted.status),
            *telling.of_leaks(standing.workload, old, wanted.status),
        ]
        for event in events:
            self._cluster.emit(event.target, kind=event.kind, reason=event.reason, message=event.message)
        self._tell_notes(case)
        return settled

    def has_made(self, ref: WorkloadRef, change: Change) -> bool:
        """Whether this process changed a template by it, and was told so."""
        return self._announced.get(ref) == change.time

    def _announce(self, case: Case, change: Change, recorded: Recorded) -> None:
        """That it was made, and what else the record with its intent says first."""
        self._announced[case.workload.ref] = change.time
        _log(case, change)
        events = [
            *telling.of_change(case.workload, case.change, change, written=change_figures(change)),
            *telling.of_leaks(case.workload, case.old, recorded.status),
        ]
        for event in events:
            self._cluster.emit(event.target, kind=event.kind, reason=event.reason, message=event.message)

    def _unannounced(self, case: Case, standing: Standing, before: Change | None) -> Iterator[telling.Telling]:
        """What became of the change, but for what was announced when it was made."""
        change = standing.change
        if change is None or (change.outcome in MADE and self._announced.get(standing.workload.ref) == change.time):
            return
        told = list(telling.of_change(standing.workload, before, change, written=change_figures(change)))
        if told:
            _log(case, change)
        yield from told

    def _tell_notes(self, case: Case) -> None:
        ref, notes = case.workload.ref, case.ruled.effective.notes
        if self._told_notes.get(ref, ()) == notes:
            return
        self._told_notes[ref] = notes
        for event in telling.of_notes(case.workload, notes):
            self._cluster.emit(event.target, kind=event.kind, reason=event.reason, message=event.message)


MADE = (Outcome.IN_PROGRESS, Outcome.VERIFYING, Outcome.SUCCEEDED)

ASKED_FOR = "somebody asked for it"


def to_be_changed(standing: Standing) -> bool:
    """Whether the checks let something be changed now. What is still being made comes first."""
    # While usage cannot be read, an OOM kill could go unseen: nothing is changed, even on values that are not old yet.
    in_hand = standing.change is not None and standing.change.in_hand
    return standing.mode is Mode.APPLY and bool(standing.verdict.allowed) and standing.trouble is None and not in_hand


def to_be_taken_back(case: Case, standing: Standing) -> tuple[FieldChange, ...]:
    """What is to be put back: where the change did harm and the mode is still Apply, or where a person asked for it."""
    change = standing.change
    if change is None or any(objection.reason in HOLDS_ALL for objection in standing.verdict.objections):
        return ()
    if change.outcome is Outcome.FAILED and fallen_back(case.ruled, change) is not case.ruled:
        # The fallback goes on from here; what stands for new pods goes with the strategy.
        return ()
    asked = _asked(case, standing, change)
    if not asked and case.ruled.mode is not Mode.APPLY:
        return ()
    if not change.reverts:
        return to_be_reverted(change, case.workload, asked=asked)
    if change.outcome is Outcome.FAILED and case.now - change.time < WAIT_AFTER_REFUSAL_SECONDS:
        return ()
    return to_be_repeated(change, case.workload)


def _asked(case: Case, standing: Standing, change: Change) -> bool:
    """Whether a person wants the change taken back, or the one that it takes back."""
    wanted = None if case.recorded is None else case.recorded.revert_asked
    reverted = next((one for one in (change, *standing.history) if not one.reverts), None)
    return wanted is not None and reverted is not None and wanted == reverted.time


def _cause(change: Change) -> str:
    if change.reverts:
        return change.reverts
    return change.message if change.outcome is Outcome.FAILED else ASKED_FOR


HOLDS_ALL = (Reason.STOPPED, Reason.FROZEN, Reason.PAUSED, Reason.ADMISSION_POLICY_MISSING)
"""Objections that also hold back a reversal, and the next pod of a change in place: a person wants nothing to happen, or it would come to
nothing."""


def _log(case: Case, change: Change) -> None:
    """One line for each turn of a change, to be searched for by its words."""
    ref = case.workload.ref
    logger.info(
        "change namespace=%s workload=%s profile=%s strategy=%s outcome=%s reverts=%r time=%d figures=%r message=%r",
        ref.namespace,
        ref,
        case.ruled.profile.name,
        change.strategy,
        change.outcome,
        change.reverts,
        change.time,
        change_figures(change),
        change.message,
    )


def _again(case: Case) -> bool:
    """Whether the try before came to nothing too."""
    return case.change is not None and case.change.outcome in (Outcome.STARTED, Outcome.ABANDONED)


def _unsettled(settled: Settled, ref: WorkloadRef, error: ClusterError) -> Settled:
    if isinstance(error, ClusterNotFound):
        logger.info("%s/%s went away in mid-cycle", ref.namespace, ref)
        return settled
    logger.warning("%s/%s could not be settled: %s", ref.namespace, ref, error)
    return replace(settled, failed=True)


def _no_news(old: Mapping[str, Any], new: Mapping[str, Any], *, patient: bool) -> bool:
    return old == new or (patient and only_numbers_moved(old, new))


def _settled(case: Case, standing: Standing, *, changed_now: bool, failed: bool) -> Settled:
    told = tell(standing)
    return Settled(
        profile=case.ruled.profile,
        mode=case.ruled.mode,
        state=told.state,
        reason=told.reason,
        container_names=tuple(container.name for container in case.workload.sizable),
        measured=standing.measured,
        changed_now=changed_now,
        was_changed=standing.change is not None and standing.change.outcome in (Outcome.IN_PROGRESS, Outcome.VERIFYING, Outcome.SUCCEEDED),
        failed=failed,
        reverting=standing.change is not None and bool(standing.change.reverts),
    )
