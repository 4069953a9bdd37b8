"""Settles one workload: looks at what became of its last change, asks the checks, acts when they agree, and writes down where it stands."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rightsizer.change import Change, Outcome, made, observe, raises, start
from rightsizer.checks.chain import judge
from rightsizer.checks.confines import Confines
from rightsizer.checks.differences import differences
from rightsizer.checks.facts import NO_CONFINES, CheckFacts
from rightsizer.checks.limit_range import within_bounds
from rightsizer.cycle import telling
from rightsizer.cycle.acting import Acted, act, refused
from rightsizer.cycle.assignment import Ruled
from rightsizer.cycle.creating import Creating, at_creation
from rightsizer.cycle.recommending import Recommendations
from rightsizer.cycle.writing import Writing, done, handed_on
from rightsizer.errors import ClusterError, ClusterNotFound
from rightsizer.evidence.proof import Evidence
from rightsizer.ports import Cluster, Recorded
from rightsizer.profile import ON_CREATE, Mode, Profile
from rightsizer.status import recommendation as recommendation_status
from rightsizer.status.change import change_figures, change_from_status
from rightsizer.status.conditions import Trouble
from rightsizer.status.dead_band import entries_by_name, hold, only_numbers_moved
from rightsizer.status.naming import recommendation_name
from rightsizer.status.standing import Standing, State, tell
from rightsizer.workload import Autoscaler, Workload, WorkloadRef

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settled:
    """Where a workload stands after the cycle. `changed_now`: in this cycle; `was_changed`: by its newest change; `failed`: not written."""

    profile: Profile
    mode: Mode
    state: State
    reason: str
    container_names: tuple[str, ...]
    measured: bool
    changed_now: bool
    was_changed: bool
    failed: bool


class Settling:
    """Remembers only which notes on annotations were told, so that each is told once."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._told_notes: dict[WorkloadRef, tuple[str, ...]] = {}

    def settle(
        self,
        ruled: Ruled,
        recommendations: Recommendations,
        *,
        evidence: Mapping[str, Evidence],
        autoscalers: tuple[Autoscaler, ...],
        recorded: Recorded | None,
        trouble: Trouble | None,
        now: float,
        writing: Writing,
        history_read: bool = True,
        replay_troubles: Mapping[str, str] | None = None,
        evidence_awaited: bool = False,
        patient: bool = False,
        creating: Creating | None = None,
    ) -> Future[Settled]:
        """Judges one workload and acts; what became of it is written by `writing`, for new pods once `creating` has written their sizes.

        A trouble with the cluster is logged and counted, and leaves the next workload alone. `patient`: what is written is left alone
        where nothing but its numbers moved.
        """
        recorded = _of_this(ruled.workload, recorded)
        old: Mapping[str, Any] = recorded.status if recorded is not None else {}
        before = change_from_status(old)
        if trouble is not None:
            recommendations = _not_written_yet(recommendations, old)

        creating = Creating() if creating is None else creating

        def look_again(change: Change | None, ruled: Ruled = ruled) -> Standing:
            return look(
                ruled,
                recommendations,
                old,
                evidence=evidence,
                autoscalers=autoscalers,
                change=change,
                trouble=trouble,
                now=now,
                history_read=history_read,
                confines=confines,
                replay_troubles=replay_troubles,
                evidence_awaited=evidence_awaited,
            )

        confines = creating.confines(ruled.workload.ref)
        standing = look_again(before)
        settled = _settled(ruled, standing, changed_now=False, failed=False)
        try:
            if _to_be_changed(standing) and at_creation(ruled):
                return self._create(ruled, standing, recorded, before=before, now=now, look=look_again, writing=writing, creating=creating)
            if _to_be_changed(standing):
                acted = self._change(ruled, standing, recorded, before=before, now=now)
                standing = replace(standing, workload=acted.workload, change=acted.change)
                if acted.change.outcome.ended:
                    # It was refused: what the checks say to that is told at once.
                    standing = look_again(acted.change)
                settled = _settled(ruled, standing, changed_now=acted.change.outcome is Outcome.IN_PROGRESS, failed=False)
        except ClusterError as error:
            return done(_unsettled(settled, ruled.workload.ref, error))
        wanted = _recorded(ruled, standing, recorded, now=now)
        if recorded is not None and wanted.spec == recorded.spec and _no_news(recorded.status, wanted.status, patient=patient):
            self._tell_notes(ruled)
            return done(settled)
        return writing.later(partial(self._write, ruled, standing, wanted, recorded, before=before, settled=settled))

    def _change(self, ruled: Ruled, standing: Standing, recorded: Recorded | None, *, before: Change | None, now: float) -> Acted:
        def record(change: Change) -> None:
            intent = _recorded(ruled, replace(standing, change=change), recorded, now=now)
            self._cluster.write_recommendation(intent, ruled.workload, existing=recorded)

        return act(
            self._cluster,
            ruled.workload,
            standing.verdict.allowed,
            now=now,
            last_lowered=ruled.workload.sized_at if standing.change is None else standing.change.last_lowered,
            again=before is not None and before.outcome in (Outcome.STARTED, Outcome.ABANDONED),
            record=record,
        )

    def _create(
        self,
        ruled: Ruled,
        standing: Standing,
        recorded: Recorded | None,
        *,
        before: Change | None,
        now: float,
        look: Callable[[Change | None, Ruled], Standing],
        writing: Writing,
        creating: Creating,
    ) -> Future[Settled]:
        """Records the intent and has the sizes for new pods written with those of the whole namespace; then the outcome.

        Raises ClusterError only where the intent could not be recorded: then nothing is wanted.
        """
        last_lowered = ruled.workload.sized_at if standing.change is None else standing.change.last_lowered
        allowed = standing.verdict.allowed
        change = start(ruled.workload, allowed, now=now, strategy=ON_CREATE, last_lowered=last_lowered)
        intent = _recorded(ruled, replace(standing, change=change), recorded, now=now)
        self._cluster.write_recommendation(intent, ruled.workload, existing=recorded)
        again = before is not None and before.outcome in (Outcome.STARTED, Outcome.ABANDONED)
        settled: Future[Settled] = Future()

        def written(error: ClusterError | None) -> None:
            after = made(change) if error is None else refused(change, error, last_lowered=last_lowered, again=again)
            now_ruled = replace(ruled, workload=sized) if error is None else ruled
            # One without an answer stays an intent, which the next cycle judges by what stands.
            found = look(after, now_ruled) if after.outcome.ended else replace(standing, change=after)
            wanted = _recorded(now_ruled, found, intent, now=now)
            outcome = _settled(now_ruled, found, changed_now=error is None, failed=False)
            write = partial(self._write, now_ruled, found, wanted, intent, before=before, settled=outcome)
            handed_on(writing.later(write), settled)

        sized = creating.want(ruled.workload.ref, allowed, recommendation=intent.name, since=change.time, then=written)
        return settled

    def _write(
        self,
        ruled: Ruled,
        standing: Standing,
        wanted: Recorded,
        recorded: Recorded | None,
        *,
        before: Change | None,
        settled: Settled,
    ) -> Settled:
        """May run beside the writing of other workloads: nothing that they share is changed here."""
        try:
            self._cluster.write_recommendation(wanted, standing.workload, existing=recorded)
        except ClusterError as error:
            return _unsettled(settled, ruled.workload.ref, error)
        old: Mapping[str, Any] = recorded.status if recorded is not None else {}
        events = [
            *telling.of_change(
                standing.workload, before, standing.change, written="" if standing.change is None else change_figures(standing.change)
            ),
            *telling.of_state(standing.workload, standing.mode, old, wanted.status),
            *telling.of_leaks(standing.workload, old, wanted.status),
        ]
        for event in events:
            self._cluster.emit(event.target, kind=event.kind, reason=event.reason, message=event.message)
        self._tell_notes(ruled)
        return settled

    def _tell_notes(self, ruled: Ruled) -> None:
        ref, notes = ruled.workload.ref, ruled.effective.notes
        if self._told_notes.get(ref, ()) == notes:
            return
        self._told_notes[ref] = notes
        for event in telling.of_notes(ruled.workload, notes):
            self._cluster.emit(event.target, kind=event.kind, reason=event.reason, message=event.message)


def _not_written_yet(recommendations: Recommendations, old: Mapping[str, Any]) -> Recommendations:
    """Without those that are written: they stay as they are while usage cannot be read, for the window moves on and its values do not."""
    entries = entries_by_name(old)
    return {name: found for name, found in recommendations.items() if "recommended" not in entries.get(name, {})}


def _unsettled(settled: Settled, ref: WorkloadRef, error: ClusterError) -> Settled:
    if isinstance(error, ClusterNotFound):
        logger.info("%s/%s went away in mid-cycle", ref.namespace, ref)
        return settled
    logger.warning("%s/%s could not be settled: %s", ref.namespace, ref, error)
    return replace(settled, failed=True)


def _no_news(old: Mapping[str, Any], new: Mapping[str, Any], *, patient: bool) -> bool:
    return old == new or (patient and only_numbers_moved(old, new))


def _of_this(workload: Workload, recorded: Recorded | None) -> Recorded | None:
    """What is recorded, unless it is of a workload of the same name that was deleted since."""
    if recorded is None or (recorded.spec.get("workloadRef") or {}).get("uid") != workload.uid:
        return None
    return recorded


def look(
    ruled: Ruled,
    recommendations: Recommendations,
    old: Mapping[str, Any],
    *,
    evidence: Mapping[str, Evidence],
    autoscalers: tuple[Autoscaler, ...],
    change: Change | None,
    trouble: Trouble | None,
    now: float,
    history_read: bool = True,
    confines: Confines = NO_CONFINES,
    replay_troubles: Mapping[str, str] | None = None,
    evidence_awaited: bool = False,
) -> Standing:
    """Where the workload stands before anything is done. Decided on the numbers that people have read, as `hold` gives them."""
    workload, profile = ruled.workload, ruled.profile
    observed = None if change is None else observe(change, workload)
    failed = observed if observed is not None and observed.outcome is Outcome.FAILED else None
    held = hold(old, recommendations, minimum_change=profile.apply.minimum_change)
    changes = within_bounds(differences(held, workload), confines.limit_ranges)
    facts = CheckFacts(
        now=now,
        workload=workload,
        profile=profile,
        recommendations=held,
        changes=changes,
        autoscalers=autoscalers,
        # Without a record (its profile was deleted, say) the workload itself tells when it was last changed, perhaps lowered.
        last_lowered=workload.sized_at if observed is None else observed.last_lowered,
        last_failed=failed.time if failed is not None else None,
        failure=failed.message if failed is not None else "",
        history_read=history_read,
        evidence=evidence,
        replay_troubles=replay_troubles or {},
        last_raised=observed.time if observed is not None and raises(observed) else None,
        confines=confines,
    )
    return Standing(
        workload=workload,
        mode=ruled.mode,
        minimum_change=profile.apply.minimum_change,
        recommendations=recommendations,
        changes=changes,
        verdict=judge(facts),
        change=observed,
        trouble=trouble,
        evidence=evidence,
        replay_troubles=replay_troubles or {},
        evidence_awaited=evidence_awaited,
    )


def _recorded(ruled: Ruled, standing: Standing, recorded: Recorded | None, *, now: float) -> Recorded:
    workload = ruled.workload
    spec = {
        "workloadRef": {
            "apiVersion": workload.api_version,
            "kind": workload.ref.kind,
            "name": workload.ref.name,
            "uid": workload.uid,
        },
        "profileRef": {"kind": ruled.profile.kind, "name": ruled.profile.name},
    }
    old: Mapping[str, Any] = recorded.status if recorded is not None else {}
    return Recorded(workload.ref, recommendation_name(workload.ref), spec, recommendation_status.render(standing, old=old, now=now))


def _settled(ruled: Ruled, standing: Standing, *, changed_now: bool, failed: bool) -> Settled:
    told = tell(standing)
    return Settled(
        profile=ruled.profile,
        mode=ruled.mode,
        state=told.state,
        reason=told.reason,
        container_names=tuple(container.name for container in ruled.workload.sizable),
        measured=standing.measured,
        changed_now=changed_now,
        was_changed=standing.change is not None and standing.change.outcome in (Outcome.IN_PROGRESS, Outcome.SUCCEEDED),
        failed=failed,
    )


def _to_be_changed(standing: Standing) -> bool:
    # While usage cannot be read, an OOM kill could go unseen: nothing is changed, even on values that are not old yet.
    return standing.mode is Mode.APPLY and bool(standing.verdict.allowed) and standing.trouble is None and not _going_on(standing.change)


def _going_on(change: Change | None) -> bool:
    return change is not None and not change.outcome.ended
