"""Workloads and usage from files: no cluster, no server."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rightsizer.checks.moment import moment
from rightsizer.cli.assessing import Declared, Usage, without_workloads
from rightsizer.cli.exits import NothingMatched
from rightsizer.cli.history_csv import FileUsage, read_history
from rightsizer.cli.manifest_files import read_manifests
from rightsizer.cli.profile_file import everywhere, only_profile, read_profile
from rightsizer.cli.progress import Report
from rightsizer.history import History, last_slot
from rightsizer.profile import KINDS
from rightsizer.quantities import format_duration
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
            raise NothingMatched(f"{self._place}: no workload{where} in it ({', '.join(KINDS)})")
        self._known, self._uncounted = frozenset(found.workloads), frozenset(found.uncounted)
        given = None if self._profile is None else read_profile(self._profile)
        places = {workload.ref.namespace for workload in workloads}
        return Declared(
            workloads=workloads,
            profiles=tuple(found.profiles) if given is None else everywhere(given, places),
            defaults=given is None,
            annotations=found.annotations,
            labels=found.labels,
            autoscalers=tuple(found.autoscalers),
            notes=(
                *without_workloads([name for name in self._namespaces if name not in places]),
                *(() if given is None else (only_profile(given, self._profile),)),
            ),
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
            notes=(
                *_elsewhere(refs - found.known, found.unknown - self._known),
                *_outside(workloads, found, window_seconds, given=self._now is not None),
            ),
        )


def _pods_seen(history: History, workload: Workload, now: float) -> int:
    """How many pods ran at once in the last hour: a DaemonSet's manifest does not tell it."""
    pods = _pods(history, workload, now, seconds=_COUNTED_SECONDS)
    return int(pods.max()) if pods.size else 0


def _pods(history: History, workload: Workload, now: float, *, seconds: int) -> NDArray[Any]:
    """How many pods of each container were seen in each slot."""
    keys = [ContainerKey(workload.ref, container.name) for container in workload.sizable]
    return history.window(keys, end=last_slot(now), seconds=seconds).pods if keys else np.empty((0, 0))


def _elsewhere(unused: Collection[WorkloadRef], unknown: Collection[WorkloadRef]) -> Iterator[str]:
    """Usage that belongs to no manifest, and where that may be for want of a namespace."""
    if unknown:
        yield f"usage without a manifest: {_listed(unknown)}"
    for ref in sorted(unused):
        others = sorted(other.namespace for other in unknown if (other.kind, other.name) == (ref.kind, ref.name))
        if others:
            yield (
                f"{ref} is taken to be in namespace {ref.namespace}, and its usage is of {', '.join(others)}: write metadata.namespace "
                f"into its manifest; one that has none is of namespace {others[0]} with -n {others[0]}"
            )


def _outside(workloads: Sequence[Workload], found: FileUsage, window_seconds: int, *, given: bool) -> Iterator[str]:
    """Usage that is there and does not count."""
    present = [one for one in workloads if one.ref in found.known]
    slots = {one.ref: _pods(found.history, one, found.now, seconds=window_seconds).any(axis=0).sum() for one in present}
    # A single value beside older ones: a sample with a wrong time has taken the window with it.
    outside = [ref for ref, seen in slots.items() if seen <= (1 if found.reaches_further else 0)]
    if outside:
        ended = "--now" if given else "the newest sample of the file; --now TIME takes another end"
        window = f"the window of {format_duration(window_seconds)} up to {moment(found.now)} ({ended})"
        yield f"no usage, or a single value, within {window}; the rest is outside of it: {_listed(outside)}"


def _listed(refs: Iterable[WorkloadRef]) -> str:
    names = [f"{ref.namespace}/{ref}" for ref in sorted(refs)]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
