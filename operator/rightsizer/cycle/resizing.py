"""Resizes pods in place, one at a time for each workload, until all have the sizes that are in force or were given up.

What is asked for, and for how long already, is remembered only while the process lives: asking twice for the same changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rightsizer.change import Change
from rightsizer.errors import ClusterError, ClusterNotFound, ClusterStale, ResizeReason, ResizeRefused
from rightsizer.pod import Pod
from rightsizer.ports import Cluster
from rightsizer.strategies.in_place import asks_for, render
from rightsizer.strategies.turns import MOST_LEFT, Turn, next_turn
from rightsizer.workload import RolloutPhase

logger = logging.getLogger(__name__)

_PASSING = (ResizeReason.POD_NOT_RUNNING, ResizeReason.POD_NOT_READY)


class Resizing:
    """Over many cycles."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._asked_at: dict[str, float] = {}

    def turn(self, change: Change, pods: Sequence[Pod], *, memory_peaks: Mapping[str, float], now: float) -> Turn:
        """Whose turn it is; nothing is asked of anybody."""

        def asked_at(pod: Pod) -> float:
            return self._asked_at.setdefault(pod.uid, now)

        turn = next_turn(pods, change.applied, left=change.left, asked_at=asked_at, memory_peaks=memory_peaks, now=now)
        if turn.progress.phase is not RolloutPhase.IN_PROGRESS:
            # All of them have it, or were given up.
            for pod in pods:
                self._asked_at.pop(pod.uid, None)
        return turn

    def go_on(self, change: Change, turn: Turn, *, now: float) -> Change:
        """Resize the pod whose turn it is; give those up that it is hopeless for. Answers the change with what is left alone."""
        left = dict(change.left)
        for pod, why in turn.left.items():
            self._leave(change, pod, why, left)
        if turn.pod is not None:
            self._resize(change, turn.pod, left, now=now)
        return replace(change, left=left) if left != dict(change.left) else change

    def _resize(self, change: Change, pod: Pod, left: dict[str, str], *, now: float) -> None:
        patch = render(pod, change.applied)
        if patch is None:
            return
        self._asked_at[pod.uid] = now
        try:
            self._cluster.resize(patch)
        except ResizeRefused as error:
            if error.reason not in _PASSING:
                self._leave(change, pod, f"{error.reason}: {error.detail}", left)
        except (ClusterNotFound, ClusterStale) as error:
            logger.info("pod %s/%s moved on before it was resized: %s", pod.namespace, pod.name, error)
        except ClusterError as error:
            logger.warning("pod %s/%s could not be resized: %s", pod.namespace, pod.name, error)

    def _leave(self, change: Change, pod: Pod, why: str, left: dict[str, str]) -> None:
        """What the pod asks for in vain is taken back, as the scheduler counts it."""
        if len(left) < MOST_LEFT:
            left[pod.name] = why
        patch = render(pod, change.previous)
        if patch is None or not asks_for(pod, change.applied):
            # It was never asked for them, and may have other sizes for its own reasons.
            return
        try:
            self._cluster.resize(patch)
        except ClusterError as error:
            logger.info("pod %s/%s still asks for what it does not get: %s", pod.namespace, pod.name, error)
