"""Makes one change: records the intent, makes it, and says what became of it. What may be changed was decided before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rightsizer.change import Change, Outcome, start
from rightsizer.checks.facts import FieldChange
from rightsizer.errors import ClusterError, ClusterNotFound, ClusterOwned, ClusterStale
from rightsizer.ports import Cluster
from rightsizer.strategies.rollout import render
from rightsizer.workload import Workload

logger = logging.getLogger(__name__)

STRATEGY = "Rollout"

Record = Callable[[Change], None]


@dataclass(frozen=True, slots=True)
class Acted:
    """The change as it stands after the act, and the workload as the API server answered it (as it was, where it refused)."""

    change: Change
    workload: Workload


def act(
    cluster: Cluster, workload: Workload, allowed: Sequence[FieldChange], *, now: float, last_lowered: float | None, record: Record
) -> Acted:
    """Record the intent with `record`, then make it. The intent comes first, so that a crash between the two is seen by the next cycle.

    Raises ClusterError only from `record`: then nothing was made.
    """
    change = start(workload, allowed, now=now, strategy=STRATEGY, last_lowered=last_lowered)
    record(change)
    # The checks let only fields pass that nobody holds or that may be taken over.
    force = any(one.path in workload.managers for one in allowed)
    try:
        changed = cluster.apply(render(workload, allowed), force=force)
    except ClusterError as error:
        logger.warning("%s/%s could not be changed: %s", workload.ref.namespace, workload.ref, error)
        return Acted(_refused(change, error, last_lowered), workload)
    return Acted(replace(change, outcome=Outcome.IN_PROGRESS, message="made, the pods are being replaced"), changed)


def _refused(change: Change, error: ClusterError, last_lowered: float | None) -> Change:
    # Nothing was lowered, so nothing has to cool down. A workload that moved on is simply looked at again; else a pause is due.
    # (A retry that finds its own lost answer is refused as stale too: the next cycle reads the workload and sees what is there.)
    moved_on = isinstance(error, ClusterStale | ClusterNotFound | ClusterOwned)
    outcome = Outcome.ABANDONED if moved_on else Outcome.FAILED
    return replace(change, outcome=outcome, message=str(error), last_lowered=last_lowered)
