"""Reads what stands around the workloads that are to be changed, and hands each what concerns it.

Only changes need it: where nothing is applied, nothing of it is read. What could not be read holds changes back, and nothing else.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from rightsizer.checks.confines import Confines, DisruptionBudget, LimitRange, Quota, VerticalAutoscaler
from rightsizer.checks.facts import NO_CONFINES
from rightsizer.checks.holding import told_freeze, told_stop
from rightsizer.checks.node_room import NodeRooms
from rightsizer.errors import ClusterError
from rightsizer.ports import Cluster, Listing
from rightsizer.profile import ROLLOUT
from rightsizer.workload import Workload, WorkloadRef

logger = logging.getLogger(__name__)

NODES_SEEN_FOR_SECONDS = 300
"""Nodes and DaemonSets are read so often: they come and go, but their sizes seldom change."""


class _OfNamespace(Protocol):
    @property
    def namespace(self) -> str: ...


Found = TypeVar("Found", bound=_OfNamespace)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around workloads, by namespace. `applying`: the workloads that it counts for, with their strategies.

    `stopped`, `frozen`, `unknown`: see `Confines`.
    """

    applying: Mapping[WorkloadRef, str] = field(default_factory=dict)
    limit_ranges: Mapping[str, tuple[LimitRange, ...]] = field(default_factory=dict)
    quotas: Mapping[str, tuple[Quota, ...]] = field(default_factory=dict)
    budgets: Mapping[str, tuple[DisruptionBudget, ...]] = field(default_factory=dict)
    vertical_autoscalers: Mapping[str, tuple[VerticalAutoscaler, ...]] = field(default_factory=dict)
    nodes: NodeRooms = field(default_factory=NodeRooms)
    stopped: str = ""
    frozen: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)

    def around(self, workload: Workload) -> Confines:
        if workload.ref not in self.applying:
            return NO_CONFINES
        namespace = workload.ref.namespace
        return Confines(
            limit_ranges=self.limit_ranges.get(namespace, ()),
            quotas=self.quotas.get(namespace, ()),
            stopped=self.stopped,
            frozen=self.frozen.get(namespace, ""),
            unknown=self.unknown.get(namespace, ""),
            budgets=self.budgets.get(namespace, ()),
            vertical_autoscalers=self.vertical_autoscalers.get(namespace, ()),
            rooms=self.nodes.of(workload),
        )


NO_SURROUNDINGS = Surroundings()


class Looking:
    """Looks around, once in a cycle; what nodes there are, it remembers for a while."""

    def __init__(self, cluster: Cluster, *, own_deployment: WorkloadRef | None = None, thorough: bool = False) -> None:
        """`own_deployment`: that of the operator, whose annotation stops all changes; None where it has none. `thorough`: what could not
        be read keeps nothing from being asked for; where changes are held back by it anyway, the rest need not be known."""
        self._cluster = cluster
        self._thorough = thorough
        self._own_deployment = own_deployment
        self._nodes = NodeRooms()
        self._nodes_seen_at = -math.inf

    def around(self, applying: Mapping[WorkloadRef, str], annotations: Mapping[str, Mapping[str, str]], *, now: float) -> Surroundings:
        """What stands around these workloads (with their strategies). `annotations`: of the namespaces. `now` in unix seconds.

        Raises ClusterError where the server does not answer at all.
        """
        if not applying:
            return NO_SURROUNDINGS
        places = {ref.namespace for ref in applying}
        stopped, known = self._stopped()
        if not known:
            return Surroundings(applying, stopped=stopped)
        reading = _Reading(places, thorough=self._thorough)
        return Surroundings(
            applying=applying,
            limit_ranges=reading.listed("LimitRanges", self._cluster.limit_ranges),
            quotas=reading.listed("ResourceQuotas", self._cluster.quotas),
            budgets=reading.listed(
                "PodDisruptionBudgets",
                self._cluster.disruption_budgets,
                only={ref.namespace for ref, strategy in applying.items() if strategy == ROLLOUT},
            ),
            vertical_autoscalers=reading.listed("VerticalPodAutoscalers", self._cluster.vertical_autoscalers),
            nodes=self._seen_nodes(reading, now=now),
            stopped=stopped,
            frozen={name: told for name in places if (told := told_freeze(name, annotations.get(name, {})))},
            unknown=reading.told(),
        )

    def _stopped(self) -> tuple[str, bool]:
        """Why all changes are stopped, if they are, and whether that is known: where it is not, they are."""
        if self._own_deployment is None:
            return "", True
        name = f"{self._own_deployment.namespace}/{self._own_deployment.name}"
        try:
            return told_stop(name, self._cluster.annotations_of(self._own_deployment)), True
        except ClusterError as error:
            logger.warning("nothing is changed, the annotations of Deployment %s could not be read: %s", name, error)
            return f"whether changes are stopped, by an annotation of Deployment {name}, could not be read: {error}", False

    def _seen_nodes(self, reading: _Reading, *, now: float) -> NodeRooms:
        if not reading.places or now - self._nodes_seen_at < NODES_SEEN_FOR_SECONDS:
            return self._nodes
        try:
            self._nodes = NodeRooms(self._cluster.nodes(), self._cluster.daemon_sets())
            self._nodes_seen_at = now
        except ClusterError as error:
            reading.failed("Nodes and DaemonSets", dict.fromkeys(reading.places, error))
        return self._nodes


class _Reading:
    """What is read of which namespaces. Where it is not `thorough`, nothing more is asked for of one that could not be read."""

    def __init__(self, places: Collection[str], *, thorough: bool) -> None:
        self._unknown: dict[str, str] = {}
        self._thorough = thorough
        self._places = sorted(places)

    @property
    def places(self) -> list[str]:
        return [name for name in self._places if self._thorough or name not in self._unknown]

    def listed(
        self, what: str, ask: Callable[[Sequence[str]], Listing[Found]], *, only: Collection[str] | None = None
    ) -> dict[str, tuple[Found, ...]]:
        places = [name for name in self.places if only is None or name in only]
        if not places:
            return {}
        listing = ask(places)
        self.failed(what, listing.failed)
        return _by_namespace(listing.items)

    def failed(self, what: str, errors: Mapping[str, ClusterError]) -> None:
        for namespace, error in errors.items():
            logger.log(
                logging.DEBUG if self._thorough else logging.WARNING, "namespace %s: %s could not be read: %s", namespace, what, error
            )
            before = f"{self._unknown[namespace]}; " if namespace in self._unknown else ""
            self._unknown[namespace] = f"{before}{what} could not be read: {error}"

    def told(self) -> Mapping[str, str]:
        return self._unknown


def _by_namespace(found: Iterable[Found]) -> dict[str, tuple[Found, ...]]:
    result: defaultdict[str, tuple[Found, ...]] = defaultdict(tuple)
    for one in found:
        result[one.namespace] += (one,)
    return dict(result)
