"""Makes one change of a template, whose intent is recorded, and says what became of it. What may be changed was decided before."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rightsizer.change import Change, Outcome, made, not_lowered
from rightsizer.checks.facts import FieldChange
from rightsizer.errors import ClusterError, ClusterNotFound, ClusterOwned, ClusterStale, ClusterUnreachable
from rightsizer.ports import Cluster
from rightsizer.strategies.rollout import render
from rightsizer.workload import Workload

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Acted:
    """The change as it stands after the act, and the workload as the API server answered it (as it was, where it refused)."""

    change: Change
    workload: Workload


def act(cluster: Cluster, workload: Workload, change: Change, fields: Sequence[FieldChange], *, again: bool) -> Acted:
    """Make a change of the template whose intent is recorded. `again`: the try before this one came to nothing too."""
    # The checks let only fields pass that nobody holds or that may be taken over.
    force = any(one.path in workload.managers for one in fields)
    try:
        changed = cluster.apply(render(workload, fields), force=force)
    except ClusterError as error:
        logger.warning("%s/%s could not be changed: %s", workload.ref.namespace, workload.ref, error)
        return Acted(refused(change, error, again=again), workload)
    return Acted(made(change), changed)


def refused(change: Change, error: ClusterError, *, again: bool) -> Change:
    """The change after the API server did not do it, or did not say so. For `again` see `act`."""
    if isinstance(error, ClusterStale | ClusterUnreachable) and not again:
        # It may have been made and the answer lost: a retry is then refused as stale. It stays an intent, that the next cycle judges by
        # the workload, as after a crash.
        return replace(change, message=f"perhaps made: {error}")
    # A workload that moved on is simply looked at again, but not cycle after cycle; else a pause is due at once.
    moved_on = isinstance(error, ClusterNotFound | ClusterOwned) and not again
    outcome = Outcome.ABANDONED if moved_on else Outcome.FAILED
    return replace(not_lowered(change), outcome=outcome, message=str(error))
