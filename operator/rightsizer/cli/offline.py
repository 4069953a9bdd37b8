"""Workloads and usage from files: no cluster, no server."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from rightsizer.cli.assessing import Declared, Usage
from rightsizer.cli.exits import NothingMatched
from rightsizer.cli.history_csv import read_history
from rightsizer.cli.manifest_files import read_manifests
from rightsizer.cli.profile_file import everywhere, read_profile
from rightsizer.cli.progress import Report
from rightsizer.history import History, last_slot
from rightsizer.workload import ContainerKey, Workload, WorkloadRef

_COUNTED_SECONDS = 3_600
_MOST_NAMED = 5


class Files:
    """Implements `Origin`. Without `namespaces`, those of all manifests count."""

    def __init__(
        self,
        *,
        manifests: Path,
        history: Path,
        profile: Path | None,
        namespaces: Sequence[str],
        now: float | None,
        report: Report,
    ) -> None:
        self._place = manifests
        self._history = history
        self._profile = profile
        self._namespaces = tuple(namespaces)
        self._now = now
        self._report = report
        self._known: frozenset[WorkloadRef] = frozenset()
        self._uncounted: frozenset[WorkloadRef] = frozenset()

    def declared(self) -> Declared:
        default = self._namespaces[0] if len(self._namespaces) == 1 else "default"
        found = read_manifests(self._place, namespace=default)
        workloads = tuple(
            workload for ref, workload in found.workloads.items() if not self._namespaces or ref.namespace in self._namespaces
        )
        if not workloads:
            where = f" of namespace {', '.join(self._namespaces)}" if self._namespaces else ""
            raise NothingMatched(f"{self._place}: no Deployment, StatefulSet or DaemonSet{where} in it")
        self._known, self._uncounted = frozenset(found.workloads), frozenset(found.uncounted)
        given = None if self._profile is None else read_profile(self._profile)
        places = {workload.ref.namespace for workload in workloads}
        return Declared(
            workloads=workloads,
            profiles=tuple(found.profiles) if given is None else everywhere(given, places),
            defaults=given is None,
            annotations=found.annotations,
            autoscalers=tuple(found.autoscalers),
        )

    def usage(self, workloads: Sequence[Workload], *, window_seconds: int) -> Usage:
        refs = {workload.ref for workload in workloads}
        found = read_history(self._history, workloads=refs, window_seconds=window_seconds, now=self._now, report=self._report)
        uncounted = [workload for workload in workloads if workload.ref in self._uncounted]
        return Usage(
            history=found.history,
            now=found.now,
            origin=f"file {self._history} (which tells of no OOM kills)",
            replicas={workload.ref: _pods_seen(found.history, workload, found.now) for workload in uncounted},
            notes=_notes(found.unknown - self._known),
        )


def _pods_seen(history: History, workload: Workload, now: float) -> int:
    """How many pods ran at once in the last hour: a DaemonSet's manifest does not tell it."""
    keys = [ContainerKey(workload.ref, container.name) for container in workload.sizable]
    if not keys:
        return 0
    window = history.window(keys, end=last_slot(now), seconds=_COUNTED_SECONDS)
    return int(window.pods.max())


def _notes(unknown: Collection[WorkloadRef]) -> tuple[str, ...]:
    return (f"usage without a manifest: {_listed(unknown)}",) if unknown else ()


def _listed(refs: Iterable[WorkloadRef]) -> str:
    names = [f"{ref.namespace}/{ref}" for ref in sorted(refs)]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
