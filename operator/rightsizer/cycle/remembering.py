"""What the written recommendations remember of each container besides its numbers: what was told of it, and its releases."""

from __future__ import annotations

from collections.abc import Iterable

from rightsizer.methods.finding import NOTHING_KNOWN, Known
from rightsizer.ports import Recorded
from rightsizer.status.dead_band import entries_by_name
from rightsizer.status.findings import told_findings
from rightsizer.status.release import newest_release, splitting_releases
from rightsizer.workload import ContainerKey


def remembered(recorded: Iterable[Recorded]) -> dict[ContainerKey, Known]:
    """What is known by container, of those of which there is anything."""
    return {
        ContainerKey(one.workload, name): known
        for one in recorded
        for name, entry in entries_by_name(one.status).items()
        if (known := Known(told_findings(entry), newest_release(entry), splitting_releases(entry))) != NOTHING_KNOWN
    }
