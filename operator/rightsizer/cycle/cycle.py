"""One cycle over the whole cluster: read, measure, recommend, check, act, record.

Level-triggered: it looks at what is, not at what happened.

A trouble with one workload or namespace is told and leaves the others alone; what the whole cycle needs and does not get ends it.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace

from rightsizer.change import NOT_READY_SECONDS, Change, Outcome
from rightsizer.cycle import telling
from rightsizer.cycle.assignment import Ruled
from rightsizer.cycle.case import Case, Proof, look, observed, of_this
from rightsizer.cycle.measuring import Measuring, MeasuringReport
from rightsizer.cycle.proving import Proving
from rightsizer.cycle.queue import Queue, in_order, may_begin
from rightsizer.cycle.reading import Reading, Seen, newest_change
from rightsizer.cycle.recognising import Recognising
from rightsizer.cycle.recommending import Recommendations, recommend
from rightsizer.cycle.remembering import remembered
from rightsizer.cycle.report import CycleReport, report_of
from rightsizer.cycle.resizing import Resizing
from rightsizer.cycle.ruling import Ruling
from rightsizer.cycle.settling import Settled, Settling, to_be_changed
from rightsizer.cycle.watching import Watching
from rightsizer.cycle.writing import Writing
from rightsizer.errors import ClusterError, ClusterNotFound
from rightsizer.history import SLOT_SECONDS, last_slot
from rightsizer.methods import known_methods
from rightsizer.methods.recommendation import Method
from rightsizer.ports import Clock, Cluster
from rightsizer.profile import IN_PLACE, Mode, Profile
from rightsizer.status import profile as profile_status
from rightsizer.workload import ContainerKey, Workload, WorkloadRef

logger = logging.getLogger(__name__)

RENEWED_WHILE_READING_SECONDS = 300
"""Every portion of the past moves the numbers of nearly every workload, and writing them all takes as long as reading the portion. So until
all is read, what moved by nothing else is renewed only so often."""

WRITES_AT_ONCE = 4
"""How many recommendations are written at a time; changes to workloads are made one after the other. It hides the latency of the API
server: with 10 ms more for a request, 600 first writes take 6 s instead of 20 s. The server's own work, some 7 ms each, stays."""


class Cycle:
    """Runs one cycle after the other on the same history. Not for several threads at once."""

    def __init__(
        self,
        cluster: Cluster,
        measuring: Measuring,
        clock: Clock,
        *,
        writes_at_once: int = WRITES_AT_ONCE,
        rollouts_per_namespace: int = 1,
        methods: Mapping[str, Method] | None = None,
        own_deployment: WorkloadRef | None = None,
    ) -> None:
        """`rollouts_per_namespace`: how many workloads of a namespace may be in a rollout of ours at a time. `methods`: those that profiles
        may name; all that are installed now, where none are given. `own_deployment`: that of the operator, by whose annotation all changes
        can be stopped."""
        self._methods = known_methods() if methods is None else methods
        self._cluster = cluster
        self._writes_at_once = writes_at_once
        self._measuring = measuring
        self._clock = clock
        self._reading = Reading(cluster, clock, methods=self._methods, own_deployment=own_deployment)
        self._resizing = Resizing(cluster)
        self._settling = Settling(cluster, self._resizing)
        self._rollouts_per_namespace = rollouts_per_namespace
        self._proving = Proving(methods=self._methods)
        self._recognising = Recognising()
        self._renewed_at = -math.inf

    def run(self) -> CycleReport:
        """One cycle. Raises ClusterError where the cluster could not be read at all."""
        now = self._clock.now()
        seen = self._reading.read()
        measured = self._measure(seen, now)
        ruled, history, end = seen.assignment.ruled.values(), self._measuring.history, last_slot(now)
        proved = self._proving.refresh(ruled, history, end=end, left_out=_unproved(seen, measured))
        recommendations = recommend(
            ruled,
            history,
            self._measuring.oom_floors(self._kills_since(seen, now)),
            end=end,
            held=self._proving.held,
            learnt=self._proving.learnt,
            known=remembered(seen.recorded.values()),
            methods=self._methods,
            recognising=self._recognising,
            unread=_unread(measured),
        )
        self._proving.see(recommendations)
        settled = self._settle(seen, measured, recommendations, now)
        self._delete_orphans(seen)
        self._tell_profiles(seen, measured, settled, now)
        return report_of(seen, measured, proved, settled)

    def _measure(self, seen: Seen, now: float) -> MeasuringReport:
        active = [profile for profile in seen.profiles if profile.mode is not Mode.IGNORE]
        # Of what a cluster-wide profile selects, only where it rules something.
        places = {profile.namespace for profile in active if not profile.cluster_wide}
        places |= {ref.namespace for ref, _ in seen.active()}
        wanted: dict[str, list[Workload]] = {name: [] for name in sorted(places) if name not in seen.failed_namespaces}
        for workload in seen.workloads:
            if workload.ref.namespace in wanted:
                wanted[workload.ref.namespace].append(workload)
        report = self._measuring.refresh(
            wanted,
            now=now,
            window_seconds=max((profile.window_seconds for profile in active), default=0),
            kills_seconds=max((profile.kills_seconds for profile in active), default=0),
        )
        self._measuring.forget_all_but(self._kept(seen))
        return report

    def _kills_since(self, seen: Seen, now: float) -> Callable[[ContainerKey], float]:
        """From when on the OOM kills of a container count: as far back as the history reaches, or as its profile says."""
        reach = self._measuring.history.slots * SLOT_SECONDS

        def since(key: ContainerKey) -> float:
            ruled = seen.assignment.ruled.get(key.workload)
            return now - max(reach, 0 if ruled is None else ruled.profile.kills_seconds)

        return since

    def _kept(self, seen: Seen) -> set[ContainerKey]:
        """Containers that are there, and all of namespaces that could not be listed this time."""
        there = {ContainerKey(workload.ref, container.name) for workload in seen.workloads for container in workload.sizable}
        unseen = {key for key in self._measuring.history if key.workload.namespace in seen.failed_namespaces}
        return there | unseen

    def _settle(
        self, seen: Seen, measured: MeasuringReport, recommendations: Mapping[WorkloadRef, Recommendations], now: float
    ) -> list[Settled]:
        patient = measured.unread and now - self._renewed_at < RENEWED_WHILE_READING_SECONDS
        if not patient:
            self._renewed_at = now
        watching = self._watching(seen, now)
        cases = [self._case(ruled, seen, measured, recommendations.get(ref, {}), watching, now) for ref, ruled in seen.active()]
        places = [(case, look(case, observed(case))) for case in cases]
        queue = Queue(((case.ruled, standing) for case, standing in places), per_namespace=self._rollouts_per_namespace, now=now)
        asked = [
            (case, standing, queue.objection(case.ruled, standing) if to_be_changed(standing) else None)
            for case, standing in in_order(places)
        ]
        watching.list_pods(
            case.workload
            for case, standing, objection in asked
            if to_be_changed(standing) and may_begin(objection) and case.ruled.profile.apply.strategy == IN_PLACE
        )
        with Writing(at_once=self._writes_at_once) as writing:
            settled = [
                self._settling.settle(
                    case,
                    standing,
                    objection=objection,
                    creating=seen.creating,
                    watching=watching,
                    writing=writing,
                    patient=patient,
                )
                for case, standing, objection in asked
            ]
            seen.creating.write(self._cluster, left_alone=seen.failed_namespaces)
        return [one.result() for one in settled]

    def _watching(self, seen: Seen, now: float) -> Watching:
        """With the pods of all workloads that have a change under way or watched."""
        watching = Watching(
            self._cluster, self._measuring.history, self._resizing, self._measuring.newest_kill, now=now, end=last_slot(now)
        )
        changed = [
            ruled.workload
            for ref, ruled in seen.active()
            if (change := newest_change(ruled.workload, seen.recorded.get(ref))) is not None
            and (_pods_matter(change, ruled.workload, now) or self._killed_since(change, ref))
        ]
        watching.list_pods(changed)
        return watching

    def _killed_since(self, change: Change, ref: WorkloadRef) -> bool:
        """Whether the usage source tells of a kill that may have come after the change: the pods know better when it was."""
        if change.outcome.ended:
            return False
        kills = (self._measuring.newest_kill(ContainerKey(ref, name)) for name in change.applied)
        return any(at is not None and at >= change.time for at in kills)

    def _case(
        self, ruled: Ruled, seen: Seen, measured: MeasuringReport, recommendations: Recommendations, watching: Watching, now: float
    ) -> Case:
        ref = ruled.workload.ref
        recorded = of_this(ruled.workload, seen.recorded.get(ref))
        case = Case(
            ruled=ruled,
            recommendations=recommendations,
            now=now,
            proof=Proof(
                evidence=self._proving.of(ref, recommendations),
                troubles=self._proving.troubles(ref, recommendations),
                awaited=self._proving.awaits(ref, recommendations),
            ),
            autoscalers=seen.autoscalers.get(ref, ()),
            recorded=recorded,
            trouble=measured.trouble.get(ref.namespace),
            history_read=measured.read.get(ref.namespace, 0.0) >= 1,
            confines=seen.creating.confines(ref),
        )
        change = case.change
        if change is None or not change.still_watched:
            return case
        case = replace(case, known_made=self._settling.has_made(ref, change))
        return replace(case, watch=watching.watch(ruled, change), progress=watching.progress(ruled, change))

    def _delete_orphans(self, seen: Seen) -> None:
        """Recommendations of workloads that no profile rules any more. Those of workloads that are gone, the API server deletes."""
        for ref, recorded in seen.recorded.items():
            ruled = seen.assignment.ruled.get(ref)
            if ref.namespace in seen.failed_namespaces or (ruled is not None and ruled.profile.mode is not Mode.IGNORE):
                continue
            try:
                self._cluster.delete_recommendation(recorded)
            except ClusterError as error:
                logger.warning("recommendation %s/%s could not be deleted: %s", ref.namespace, recorded.name, error)

    def _tell_profiles(self, seen: Seen, measured: MeasuringReport, settled: list[Settled], now: float) -> None:
        of_profile: defaultdict[str, list[Settled]] = defaultdict(list)
        for one in settled:
            of_profile[one.profile.uid].append(one)
        ruling = Ruling(seen.assignment, labels=seen.labels, failed=seen.failed_namespaces, measured=measured)
        for profile in seen.profiles:
            standing = ruling.standing(profile, of_profile[profile.uid], history_trouble=self._measuring.history.trouble)
            self._tell_profile(profile, profile_status.render(profile, standing, now=now))

    def _tell_profile(self, profile: Profile, status: Mapping[str, object]) -> None:
        if status == profile.status:
            return
        try:
            self._cluster.write_profile_status(profile, status)
        except ClusterNotFound:
            return
        except ClusterError as error:
            logger.warning("status of profile %s could not be written: %s", profile.title, error)
            return
        for event in telling.of_profile(profile, status):
            self._cluster.emit(event.target, kind=event.kind, reason=event.reason, message=event.message)


def _pods_matter(change: Change, workload: Workload, now: float) -> bool:
    """Whether its pods are to be looked at: while they are resized, at the end of the watch, and when the workload tells of trouble."""
    if change.in_hand:
        return change.strategy == IN_PLACE or now - change.time >= NOT_READY_SECONDS
    return change.outcome is Outcome.VERIFYING and (bool(workload.rollout_message) or now >= (change.watched_until or now))


def _unproved(seen: Seen, measured: MeasuringReport) -> set[str]:
    """Namespaces of which not everything is known just now: a replay of a part of the past would prove little."""
    return {*seen.failed_namespaces, *measured.trouble, *_unread(measured)}


def _unread(measured: MeasuringReport) -> set[str]:
    return {namespace for namespace, share in measured.read.items() if share < 1}
