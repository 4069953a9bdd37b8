"""What the cycle sees of workloads that were changed: their pods, what these suffered since, and how far the change has come to them.

Pods are listed once in a cycle, and only those of workloads with a change that is under way or watched. What follows from it is decided in
`rightsizer.change`.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from rightsizer.change import IN_FORCE, Change, Outcome, Progress, Sign, SignKind, Watch, by_rollout, restless, signs_of
from rightsizer.cycle.assignment import Ruled
from rightsizer.cycle.questions import throttling_known_at, throttling_known_until
from rightsizer.cycle.resizing import Resizing
from rightsizer.errors import ClusterError
from rightsizer.history import SLOT_SECONDS, History
from rightsizer.pod import Pod
from rightsizer.ports import Cluster
from rightsizer.profile import IN_PLACE, ON_CREATE
from rightsizer.quantities import format_percentage
from rightsizer.strategies.in_place import asks_for
from rightsizer.strategies.turns import Turn
from rightsizer.workload import ARGO_ROLLOUT, ContainerKey, RolloutPhase, Workload, WorkloadRef, workload_of

logger = logging.getLogger(__name__)

HOUR_SECONDS = 3_600
DAY_SECONDS = 86_400

PEAK_DAYS = 7
"""Of so many days, the largest memory is the peak that comes again at its hour of the day."""

SAME_PEAK = 0.99
"""An hour of the day that saw this share of the largest memory counts as a peak hour too."""

NewestKill = Callable[[ContainerKey], float | None]


class Watching:
    """Of one cycle. `end`: the newest slot of the history; `newest_kill`: when the usage source last saw a container killed for memory."""

    def __init__(self, cluster: Cluster, history: History, resizing: Resizing, newest_kill: NewestKill, *, now: float, end: int) -> None:
        self._cluster = cluster
        self._resizing = resizing
        self._history = history
        self._newest_kill = newest_kill
        self._now = now
        self._end = end
        self._pods: dict[WorkloadRef, list[Pod]] = {}
        self._unseen: set[str] = set()

    def list_pods(self, workloads: Iterable[Workload]) -> None:
        """See the pods of these workloads. Those of a namespace that refuses stay unseen."""
        wanted = {workload.ref: workload for workload in workloads if workload.ref not in self._pods}
        if not wanted:
            return
        found: defaultdict[WorkloadRef, list[Pod]] = defaultdict(list)
        try:
            listing = self._cluster.pods_of(list(wanted.values()))
        except ClusterError as error:
            logger.warning("pods of changed workloads could not be listed: %s", error)
            self._unseen |= {ref.namespace for ref in wanted}
            return
        for namespace, refusal in listing.failed.items():
            logger.warning("pods of changed workloads in %s could not be listed: %s", namespace, refusal)
        self._unseen |= set(listing.failed)
        for pod in listing.items:
            owner = workload_of(pod.namespace, pod.owner)
            if owner is not None:
                # The name of a ReplicaSet does not tell whether it is that of a Deployment.
                argo = replace(owner, kind=ARGO_ROLLOUT)
                found[argo if owner not in wanted and argo in wanted else owner].append(pod)
        self._pods |= {ref: found[ref] for ref in wanted if ref.namespace not in self._unseen}

    def pods(self, ref: WorkloadRef) -> Sequence[Pod] | None:
        """Those that live and are not on their way out; None where they were not seen."""
        found = self._pods.get(ref)
        return None if found is None else [pod for pod in found if not pod.deleting]

    def restless(self, ref: WorkloadRef) -> tuple[str, ...]:
        """The containers of a workload that restart before any change."""
        return restless(self.pods(ref) or (), now=self._now)

    def watch(self, ruled: Ruled, change: Change) -> Watch:
        """How the change is watched, and what was seen."""
        verify = ruled.profile.apply.verify
        return Watch(
            now=self._now,
            period_seconds=verify.period_seconds,
            memory_peak_at=self._memory_peak_at(change, ruled.workload.ref) if change.in_hand else None,
            throttling_known_at=throttling_known_at(self._now) if self._history.has_throttling else None,
            signs=tuple(self._signs(ruled, change, max_throttled=verify.max_throttled)),
            steady=ruled.workload.ref.steady,
            blind=change.outcome is not Outcome.SUCCEEDED and self.pods(ruled.workload.ref) is None,
        )

    def progress(self, ruled: Ruled, change: Change) -> Progress:
        """How far the change has come."""
        if change.strategy == ON_CREATE:
            return Progress(RolloutPhase.COMPLETE, IN_FORCE)
        if change.strategy != IN_PLACE:
            return by_rollout(ruled.workload)
        turn = self.turn(ruled.workload.ref, change)
        return Progress(RolloutPhase.IN_PROGRESS, "its pods could not be listed") if turn is None else turn.progress

    def turn(self, ref: WorkloadRef, change: Change) -> Turn | None:
        """Which pod is resized next; None where they were not seen."""
        pods = self.pods(ref)
        if pods is None:
            return None
        return self._resizing.turn(change, pods, memory_peaks=self._memory_peaks(ref, change.applied), now=self._now)

    def _memory_peaks(self, ref: WorkloadRef, names: Iterable[str]) -> dict[str, float]:
        """Bytes by container, of the last day."""
        keys = [ContainerKey(ref, name) for name in names]
        memory = self._history.window(keys, end=self._end, seconds=DAY_SECONDS).memory
        peaks = {key.container: np.fmax.reduce(values) for key, values in zip(keys, memory, strict=True)}
        return {name: float(peak) for name, peak in peaks.items() if not np.isnan(peak)}

    def _signs(self, ruled: Ruled, change: Change, *, max_throttled: float) -> Iterator[Sign]:
        ref = ruled.workload.ref
        reached = [pod for pod in self.pods(ref) or () if _reached(pod, change)]
        signs = signs_of(reached, since=change.time, now=self._now, restless=change.restless)
        # The container of a Job ends, and is not started again, because that is what it is for.
        yield from (sign for sign in signs if ref.steady or sign.kind is not SignKind.RESTART)
        for name in change.applied:
            key = ContainerKey(ref, name)
            killed = self._newest_kill(key)
            # It is told by the end of its slot, which may have begun before the change.
            if killed is not None and killed - SLOT_SECONDS >= change.time:
                yield Sign(SignKind.OOM_KILL, name, f"container {name} was killed for memory", killed)
            if change.outcome is Outcome.VERIFYING or change.cpu_watched_until is not None:
                yield from self._throttled(key, change, max_throttled=max_throttled)

    def _throttled(self, key: ContainerKey, change: Change, *, max_throttled: float) -> Iterator[Sign]:
        # Slots without throttling have no value, nor have those that were not read yet: only whole hours are known.
        end = throttling_known_until(self._now)
        seconds = (end - int(change.time)) // SLOT_SECONDS * SLOT_SECONDS
        if seconds < SLOT_SECONDS or not self._history.has_throttling:
            return
        throttled = self._history.window([key], end=end, seconds=seconds, throttled=True).throttled
        share = 0.0 if throttled is None else float(np.nan_to_num(throttled).mean())
        if share > max_throttled:
            message = f"container {key.container} was throttled in {format_percentage(share)} of its CPU periods since"
            yield Sign(SignKind.THROTTLED, key.container, message)

    def _memory_peak_at(self, change: Change, ref: WorkloadRef) -> float | None:
        """When the hour ends that next sees as much memory as the largest of its last days."""
        keys = [ContainerKey(ref, name) for name in change.applied]
        window = self._history.window(keys, end=self._end, seconds=PEAK_DAYS * DAY_SECONDS)
        peaks = np.fmax.reduce(window.memory, axis=0)
        ends = window.span.start + np.arange(peaks.size) * SLOT_SECONDS
        known = ~np.isnan(peaks)
        if not known.any():
            return None
        high = known & (peaks >= SAME_PEAK * peaks[known].max())
        # The hour of a slot is that in which it begins.
        hours = {int(hour) for hour in (ends[high] - SLOT_SECONDS) // HOUR_SECONDS % 24}
        this = int(self._now // HOUR_SECONDS)
        return float(min(hour for hour in range(this, this + 24) if hour % 24 in hours) + 1) * HOUR_SECONDS


def _reached(pod: Pod, change: Change) -> bool:
    """Whether the change can have harmed it."""
    return pod.created_at >= change.time or (change.strategy == IN_PLACE and asks_for(pod, change.applied))
