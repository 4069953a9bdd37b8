"""What new pods get, namespace by namespace, through one cycle: what stands, what is wanted, and one write for both.

An entry lives as long as its recommendation and the profile that applies it. It is not known here when a change may be made.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from rightsizer.checks.confines import Amount, Confines, LimitRange, Quota
from rightsizer.checks.creation import MOST_ENTRIES, beyond_template
from rightsizer.checks.facts import FieldChange
from rightsizer.cycle.assignment import Ruled
from rightsizer.errors import ClusterError
from rightsizer.ports import Cluster, Recorded
from rightsizer.profile import AT_CREATION, Mode
from rightsizer.strategies.on_create import Entry, PodSizes, changed, fitting, sized
from rightsizer.workload import Workload, WorkloadRef

logger = logging.getLogger(__name__)

Confining = TypeVar("Confining", LimitRange, Quota)

Then = Callable[[ClusterError | None], None]
"""Told once what became of the write: the error, or None."""


def at_creation(ruled: Ruled) -> bool:
    """Whether the workload's pods are sized at their creation."""
    return ruled.mode is Mode.APPLY and ruled.profile.apply.strategy in AT_CREATION


class Creating:
    """Of one cycle; not for several threads at once."""

    def __init__(
        self,
        found: Iterable[PodSizes] = (),
        *,
        limit_ranges: Iterable[LimitRange] = (),
        quotas: Iterable[Quota] = (),
        policy_trouble: str = "",
    ) -> None:
        """`found`: as it stands in the cluster."""
        self._found: Mapping[str, Mapping[str, Entry]] = {one.namespace: one.entries for one in found}
        self._limit_ranges = _by_namespace(limit_ranges)
        self._quotas = _by_namespace(quotas)
        self._policy_trouble = policy_trouble
        self._templates: dict[WorkloadRef, Workload] = {}
        self._wanted: defaultdict[str, dict[str, Entry]] = defaultdict(dict)
        self._beyond: dict[WorkloadRef, Counter[Amount]] = {}
        self._promised: defaultdict[str, Counter[Amount]] = defaultdict(Counter)
        self._then: defaultdict[str, list[Then]] = defaultdict(list)

    def seen(self, ruled: Ruled, recorded: Recorded | None) -> Ruled:
        """With the workload as its new pods are, where they are sized at creation; its entry stays. Once for each workload."""
        if not at_creation(ruled):
            return ruled
        workload = ruled.workload
        self._templates[workload.ref] = workload
        entry = self._entry(workload, recorded)
        if entry is not None:
            self._enter(workload.ref, entry)
        # Without the policies, pods are as the template says, whatever is written.
        return replace(ruled, workload=sized(workload, None if self._policy_trouble else entry))

    def confines(self, ref: WorkloadRef) -> Confines:
        """What stands around a workload, with what others are to get in this cycle."""
        entries = self._wanted.get(ref.namespace, {})
        return Confines(
            limit_ranges=self._limit_ranges.get(ref.namespace, ()),
            quotas=self._quotas.get(ref.namespace, ()),
            template=self._templates.get(ref),
            promised=self._promised[ref.namespace] - self._beyond.get(ref, Counter()),
            policy_trouble=self._policy_trouble,
            full=len(entries) >= MOST_ENTRIES and str(ref) not in entries,
        )

    def want(self, ref: WorkloadRef, changes: Iterable[FieldChange], *, recommendation: str, since: float, then: Then) -> Workload:
        """Have these changes written; the workload as its new pods will be. `then` is called by `write`."""
        entry = changed(self._wanted[ref.namespace].get(str(ref)), changes, recommendation=recommendation, since=since)
        self._enter(ref, entry)
        self._then[ref.namespace].append(then)
        return sized(self._templates[ref], entry)

    def write(self, cluster: Cluster, *, left_alone: Iterable[str]) -> None:
        """Write what differs, namespace by namespace. `left_alone`: namespaces of which not everything is known now."""
        for namespace in sorted({*self._found, *self._wanted} - set(left_alone)):
            wanted = self._wanted.get(namespace, {})
            error = self._write(cluster, PodSizes(namespace, wanted)) if wanted != self._found.get(namespace, {}) else None
            for then in self._then.pop(namespace, ()):
                then(error)

    def _write(self, cluster: Cluster, wanted: PodSizes) -> ClusterError | None:
        try:
            cluster.write_pod_sizes(wanted)
        except ClusterError as error:
            logger.warning("the sizes for new pods of %s could not be written: %s", wanted.namespace, error)
            return error
        return None

    def _entry(self, workload: Workload, recorded: Recorded | None) -> Entry | None:
        """What stands for it, unless it was meant for another workload of that name: then its recommendation went with that one."""
        if recorded is None or (recorded.spec.get("workloadRef") or {}).get("uid") != workload.uid:
            return None
        entry = self._found.get(workload.ref.namespace, {}).get(str(workload.ref))
        return None if entry is None else fitting(entry, workload)

    def _enter(self, ref: WorkloadRef, entry: Entry) -> None:
        self._wanted[ref.namespace][str(ref)] = entry
        after = sized(self._templates[ref], entry)
        beyond = Counter(beyond_template(self._templates[ref], {one.name: one.sizes for one in after.containers}))
        self._promised[ref.namespace] += beyond - self._beyond.get(ref, Counter())
        self._promised[ref.namespace] -= self._beyond.get(ref, Counter()) - beyond
        self._beyond[ref] = beyond


def _by_namespace(found: Iterable[Confining]) -> dict[str, tuple[Confining, ...]]:
    result: defaultdict[str, tuple[Confining, ...]] = defaultdict(tuple)
    for one in found:
        result[one.namespace] += (one,)
    return dict(result)
