"""Makes one change: records the intent, makes it, and says what became of it. What may be changed was decided before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rightsizer.change import Change, Outcome, start
from rightsizer.checks.facts import FieldChange
from rightsizer.errors import ClusterError, ClusterNotFound, ClusterOwned, ClusterStale, ClusterUnreachable
from rightsizer.ports import Cluster
from rightsizer.profile import ROLLOUT
from rightsizer.strategies.rollout import render
from rightsizer.workload import Workload

logger = logging.getLogger(__name__)

Record = Callable[[Change], None]


@dataclass(frozen=True, slots=True)
class Acted:
    """The change as it stands after the act, and the workload as the API server answered it (as it was, where it refused)."""

    change: Change
    workload: Workload


def act(
    cluster: Cluster,
    workload: Workload,
    allowed: Sequence[FieldChange],
    *,
    now: float,
    last_lowered: float | None,
    again: bool,
    record: Record,
) -> Acted:
    """Record the intent with `record`, then make it. The intent comes first, so that a crash between the two is seen by the next cycle.

    `last_lowered`: when the workload was last lowered before. `again`: the try before this one came to nothing too.

    Raises ClusterError only from `record`: then nothing was made.
    """
    change = start(workload, allowed, now=now, strategy=ROLLOUT, last_lowered=last_lowered)
    record(change)
    # The checks let only fields pass that nobody holds or that may be taken over.
    force = any(one.path in workload.managers for one in allowed)
    try:
        changed = cluster.apply(render(workload, allowed), force=force)
    except ClusterError as error:
        logger.warning("%s/%s could not be changed: %s", workload.ref.namespace, workload.ref, error)
        return Acted(refused(change, error, last_lowered=last_lowered, again=again), workload)
    return Acted(replace(change, outcome=Outcome.IN_PROGRESS, message="made, the pods are being replaced"), changed)


def refused(change: Change, error: ClusterError, *, last_lowered: float | None, again: bool) -> Change:
    """The change after the API server did not do it, or did not say so. For `last_lowered` and `again` see `act`."""
    if isinstance(error, ClusterStale | ClusterUnreachable) and not again:
        # It may have been made and the answer lost: a retry is then refused as stale. It stays an intent, that the next cycle judges by
        # the workload, as after a crash.
        return replace(change, message=f"perhaps made: {error}")
    # A workload that moved on is simply looked at again, but not cycle after cycle; else a pause is due at once.
    moved_on = isinstance(error, ClusterNotFound | ClusterOwned) and not again
    outcome = Outcome.ABANDONED if moved_on else Outcome.FAILED
    # Nothing was lowered, so nothing has to cool down.
    return replace(change, outcome=outcome, message=str(error), last_lowered=last_lowered)
