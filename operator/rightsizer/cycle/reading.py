"""What the cluster holds at the beginning of a cycle: profiles, workloads, what is recorded of them, and which profile rules which.

Nothing is written here, and nothing is decided but who rules what.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from rightsizer.change import Change
from rightsizer.cycle.assignment import Assignment, ByNamespace, Ruled, assign, fallen_back, places_of
from rightsizer.cycle.case import of_this
from rightsizer.cycle.creating import Creating, at_creation
from rightsizer.cycle.surroundings import Looking, Surroundings
from rightsizer.errors import ClusterError, ClusterForbidden
from rightsizer.methods.recommendation import Method
from rightsizer.ports import Clock, Cluster, Recorded
from rightsizer.profile import Mode, Profile, kinds_to_list, with_known_method
from rightsizer.status.change import change_from_status
from rightsizer.status.conditions import Trouble
from rightsizer.status.naming import recommendation_name
from rightsizer.workload import Autoscaler, Workload, WorkloadRef

logger = logging.getLogger(__name__)

POLICIES_SEEN_FOR_SECONDS = 300
"""Where pods are sized at their creation, the policies that do it are looked for so often; as long as one is missing, in each cycle."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read of the cluster. Of namespaces that could not be read whole there is nothing but why. `labels`: of all namespaces."""

    profiles: tuple[Profile, ...]
    labels: ByNamespace
    workloads: tuple[Workload, ...]
    failed_namespaces: Mapping[str, Trouble]
    autoscalers: Mapping[WorkloadRef, tuple[Autoscaler, ...]]
    recorded: Mapping[WorkloadRef, Recorded]
    assignment: Assignment
    creating: Creating

    def active(self) -> Iterator[tuple[WorkloadRef, Ruled]]:
        """The workloads whose profile is not ignored."""
        return ((ref, ruled) for ref, ruled in self.assignment.ruled.items() if ruled.profile.mode is not Mode.IGNORE)


class Reading:
    """Reads the cluster, cycle after cycle; remembers when what changes seldom was last looked at."""

    def __init__(self, cluster: Cluster, clock: Clock, *, methods: Mapping[str, Method], own_deployment: WorkloadRef | None) -> None:
        self._cluster = cluster
        self._clock = clock
        self._methods = methods
        self._looking = Looking(cluster, own_deployment=own_deployment)
        self._policies_seen_at = -math.inf

    def read(self) -> Seen:
        """Raises ClusterError where it could not be read at all."""
        profiles = tuple(with_known_method(profile, self._methods) for profile in self._cluster.profiles())
        active = [profile for profile in profiles if profile.mode is not Mode.IGNORE]
        namespaces = self._cluster.namespaces() if active else ()
        labels = {namespace.name: namespace.labels for namespace in namespaces}
        places = places_of(active, labels)
        workloads = self._cluster.workloads(kinds_to_list(active), places)
        autoscalers = self._cluster.autoscalers([place for place in places if place not in workloads.failed])
        failed = _not_listed("WorkloadsNotListed", workloads.failed)
        # Without knowing who scales what, nothing may be changed.
        failed |= _not_listed("AutoscalersNotListed", autoscalers.failed)
        for namespace, trouble in failed.items():
            logger.warning("namespace %s is left alone, %s: %s", namespace, trouble.reason, trouble.message)
        present = tuple(workload for workload in workloads.items if workload.ref.namespace not in failed)
        # Of a copy that somebody made under another name, nothing is believed.
        recorded = {found.workload: found for found in self._cluster.recommendations() if found.name == recommendation_name(found.workload)}
        annotations = {namespace.name: namespace.annotations for namespace in namespaces}
        assignment = assign(present, profiles, annotations, labels=labels)
        ruled = {ref: fallen_back(one, newest_change(one.workload, recorded.get(ref))) for ref, one in assignment.ruled.items()}
        applying = {ref: one.profile.apply.strategy for ref, one in ruled.items() if one.mode is Mode.APPLY}
        creating = self._creating(assignment, self._looking.around(applying, annotations, now=self._clock.now()))
        ruled = {ref: creating.seen(one, recorded.get(ref)) for ref, one in ruled.items()}
        return Seen(
            profiles=profiles,
            labels=labels,
            workloads=present,
            failed_namespaces=failed,
            autoscalers=_by_target(autoscalers.items),
            recorded=recorded,
            assignment=replace(assignment, ruled=ruled),
            creating=creating,
        )

    def _creating(self, assignment: Assignment, surroundings: Surroundings) -> Creating:
        try:
            found = self._cluster.pod_sizes()
        except ClusterForbidden as error:
            # Of no matter to those that are not sized at creation.
            return Creating(surroundings=surroundings, policy_trouble=f"PodSizes may not be read: {error}")
        trouble = self._policy_trouble() if any(at_creation(one) for one in assignment.ruled.values()) else ""
        return Creating(found, surroundings=surroundings, policy_trouble=trouble)

    def _policy_trouble(self) -> str:
        """Why new pods are not sized, if so. Policies that were there a short while ago are not looked for again."""
        now = self._clock.now()
        if now - self._policies_seen_at < POLICIES_SEEN_FOR_SECONDS:
            return ""
        trouble = self._cluster.policy_trouble()
        self._policies_seen_at = -math.inf if trouble else now
        return trouble


def newest_change(workload: Workload, recorded: Recorded | None) -> Change | None:
    """The change that is recorded of this very workload."""
    found = of_this(workload, recorded)
    return None if found is None else change_from_status(found.status)


def _not_listed(reason: str, failed: Mapping[str, ClusterError]) -> dict[str, Trouble]:
    return {namespace: Trouble(reason, str(error)) for namespace, error in failed.items()}


def _by_target(autoscalers: Iterable[Autoscaler]) -> dict[WorkloadRef, tuple[Autoscaler, ...]]:
    found: defaultdict[WorkloadRef, tuple[Autoscaler, ...]] = defaultdict(tuple)
    for autoscaler in autoscalers:
        found[autoscaler.target] += (autoscaler,)
    return dict(found)
