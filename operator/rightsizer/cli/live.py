"""Workloads from a cluster and usage from the Prometheus API. It reads and never writes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rightsizer import prometheus
from rightsizer.change import Change
from rightsizer.cli.assessing import Declared, Usage, without_workloads
from rightsizer.cli.discovery import WAYS, ThroughApiServer, check_goes_through, choose
from rightsizer.cli.exits import NothingMatched, note
from rightsizer.cli.profile_file import everywhere, only_profile, read_profile
from rightsizer.cli.progress import Report
from rightsizer.cluster import connect, in_pod, open_service
from rightsizer.cycle import Measuring
from rightsizer.cycle.measuring import ReadingLimits
from rightsizer.cycle.remembering import remembered
from rightsizer.cycle.surroundings import Looking, Surroundings
from rightsizer.errors import ClusterError, ClusterForbidden, ClusterNotFound, ClusterUnreachable, InvalidInput
from rightsizer.methods import known_methods
from rightsizer.ports import Cluster, Listing, Namespace, Recorded, UsageSource
from rightsizer.profile import DEFAULT_KINDS, ON_CREATE, ROLLOUT, Profile, kinds_to_list, with_known_method
from rightsizer.settings import from_environment
from rightsizer.status.change import change_from_status
from rightsizer.status.naming import recommendation_name
from rightsizer.stopping import Stopping
from rightsizer.strategies.on_create import Entry, PodSizes, sized
from rightsizer.workload import Workload, WorkloadRef

Item = TypeVar("Item")

ALL_NAMESPACES = None


class ReadableCluster(Cluster, Protocol):
    """A cluster that can be asked for our own objects in some namespaces: a person may not be allowed to list all."""

    def cluster_profiles(self) -> tuple[Profile, ...]: ...

    def profiles_of(self, namespaces: Sequence[str]) -> Listing[Profile]: ...

    def recommendations_of(self, namespaces: Sequence[str]) -> Listing[Recorded]: ...

    def pod_sizes_of(self, namespaces: Sequence[str]) -> Listing[PodSizes]: ...


class Live:
    """Implements `Origin`. `namespaces`: empty for that of the context, ALL_NAMESPACES for all. `profile`: a file, in place of the
    profiles of the cluster."""

    def __init__(
        self,
        cluster: ReadableCluster,
        source: UsageSource,
        *,
        namespaces: Sequence[str] | None,
        profile: Path | None,
        report: Report,
        described: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._cluster = cluster
        self._source = source
        self._asked = namespaces
        self._path = profile
        self._profile = None if profile is None else read_profile(profile)
        self._report = report
        self._described = described
        self._now = now

    def declared(self) -> Declared:
        known, notes = self._namespaces()
        namespaces = sorted(known) if self._asked is ALL_NAMESPACES else self._asked
        profiles, profile_notes = self._profiles(namespaces)
        # What no profile rules is told by the defaults.
        kinds = kinds_to_list([Profile("", "", kinds=DEFAULT_KINDS), *profiles])
        workloads = self._cluster.workloads(kinds, namespaces)
        if not workloads.items:
            _raise_first(workloads.failed)
            where = "the cluster" if self._asked is ALL_NAMESPACES else f"namespace {', '.join(namespaces)}"
            raise NothingMatched(f"no workload ({', '.join(kinds)}) in {where} (name others with -n, or all with -A)")
        places = sorted({workload.ref.namespace for workload in workloads.items})
        recorded = self._recorded(workloads.items, places)
        autoscalers = self._cluster.autoscalers(places)
        _raise_first(autoscalers.failed)
        changes = _changes(recorded)
        present, size_notes = self._as_created(workloads.items, changes)
        annotations = {name: one.annotations for name, one in known.items()}
        surroundings, unread = self._surroundings(present, annotations)
        return Declared(
            workloads=present,
            profiles=profiles,
            defaults=self._profile is None,
            annotations=annotations,
            labels={name: one.labels for name, one in known.items()},
            autoscalers=autoscalers.items,
            surroundings=surroundings,
            changes=changes,
            known=remembered(recorded),
            notes=(*notes, *self._empty(places, workloads.failed), *profile_notes, *size_notes, *unread),
            failures=workloads.failed,
        )

    def _surroundings(
        self, workloads: Sequence[Workload], annotations: Mapping[str, Mapping[str, str]]
    ) -> tuple[Surroundings, tuple[str, ...]]:
        """What stands around all workloads, whether they would be changed or not; and what of it may not be read."""
        applying = {workload.ref: ROLLOUT for workload in workloads}
        found = Looking(self._cluster, thorough=True).around(applying, annotations, now=self._now())
        unread = dict.fromkeys(f"what would hold changes back there is told in part only: {why}" for why in found.unknown.values())
        return replace(found, unknown={}), tuple(unread)

    def usage(self, workloads: Sequence[Workload], *, window_seconds: int) -> Usage:
        by_namespace: dict[str, list[Workload]] = {}
        for workload in workloads:
            by_namespace.setdefault(workload.ref.namespace, []).append(workload)
        # One question first: a server that does not answer is told once, and not after trying each namespace.
        now = self._now()
        self._source.loads(sorted(by_namespace), at=int(now))
        limits = ReadingLimits(newest_seconds=math.inf, portion_seconds=math.inf)
        measuring = Measuring(self._source, self._cluster, limits=limits, progress=self._progress)
        measured = measuring.refresh(by_namespace, now=now, window_seconds=window_seconds)
        return Usage(
            history=measuring.history,
            now=now,
            origin=self._described,
            oom_floors=measuring.oom_floors(),
            trouble={**measured.unreadable, **measured.trouble},
        )

    def _progress(self, share: float) -> None:
        self._report("usage history", share, 1.0)

    def _empty(self, places: Sequence[str], failed: Mapping[str, ClusterError]) -> tuple[str, ...]:
        return without_workloads([name for name in self._asked or () if name not in places and name not in failed])

    def _namespaces(self) -> tuple[Mapping[str, Namespace], tuple[str, ...]]:
        try:
            found = {namespace.name: namespace for namespace in self._cluster.namespaces()}
        except ClusterForbidden:
            if self._asked is ALL_NAMESPACES:
                raise
            return {}, ("namespaces may not be listed: an opt-out by annotation of a namespace is not seen, nor are its labels",)
        absent = [name for name in self._asked or () if name not in found]
        if absent:
            raise InvalidInput(f"the cluster has no namespace {', '.join(absent)}: name others with -n, or all with -A")
        return found, ()

    def _profiles(self, namespaces: Sequence[str]) -> tuple[tuple[Profile, ...], tuple[str, ...]]:
        if self._profile is not None:
            return everywhere(self._profile, namespaces), (only_profile(self._profile, self._path),)
        found = _unless_absent(lambda: self._cluster.profiles_of(namespaces))
        if found is None:
            return (), ("the cluster does not know ResourceProfiles",)
        _raise_first(found.failed)
        cluster_wide, notes = self._cluster_profiles()
        methods = known_methods()
        profiles = tuple(with_known_method(profile, methods) for profile in (*found.items, *cluster_wide))
        problems = (f"profile {profile.title}: {problem}" for profile in profiles for problem in profile.problems)
        return profiles, (*notes, *problems)

    def _cluster_profiles(self) -> tuple[tuple[Profile, ...], tuple[str, ...]]:
        try:
            return self._cluster.cluster_profiles(), ()
        except ClusterForbidden:
            return (), ("ClusterResourceProfiles may not be listed: a workload that only such a one rules is told by the default profile",)

    def _recorded(self, workloads: Sequence[Workload], namespaces: Sequence[str]) -> list[Recorded]:
        """The written recommendations, but not those of former workloads of the same name."""
        found = _unless_absent(lambda: self._cluster.recommendations_of(namespaces))
        uids = {workload.ref: workload.uid for workload in workloads}
        recorded = () if found is None else found.items
        return [one for one in recorded if one.name == recommendation_name(one.workload) and _uid(one) == uids.get(one.workload)]

    def _as_created(
        self, workloads: tuple[Workload, ...], changes: Mapping[WorkloadRef, Change]
    ) -> tuple[tuple[Workload, ...], tuple[str, ...]]:
        """The workloads as their new pods are, where those are sized at their creation; and what a person should know about that."""
        places = sorted({ref.namespace for ref, change in changes.items() if change.strategy == ON_CREATE})
        found = _unless_absent(lambda: self._cluster.pod_sizes_of(places)) if places else None
        if found is None:
            return workloads, ()
        entries = {(one.namespace, name): entry for one in found.items for name, entry in one.entries.items()}
        seen = tuple(_sized(workload, entries.get((workload.ref.namespace, str(workload.ref)))) for workload in workloads)
        return seen, tuple(f"PodSizes of {name} may not be read: the sizes told are those of the templates" for name in found.failed)


def _sized(workload: Workload, entry: Entry | None) -> Workload:
    return workload if entry is None else sized(workload, entry)


def discovered(kubeconfig: str | None, context: str | None, given: Mapping[str, Any], stopping: Stopping) -> tuple[UsageSource, str]:
    """The usage source that the cluster itself seems to hold, and where it is in words; what was chosen is told on stderr.

    `given`: settings of the usage source by name, without its URL. Raises InvalidInput where none is found or may be looked for.
    """
    try:
        cluster = connect(kubeconfig, context, stopping=stopping)
    except ClusterUnreachable as error:
        raise InvalidInput(f"where does the usage come from? Give {WAYS}; it cannot be looked for: {error}") from error
    try:
        services = cluster.services()
    except ClusterForbidden as error:
        raise InvalidInput(f"where does the usage come from? Services may not be listed to find it ({error}): give {WAYS}") from error
    chosen, others, words = choose(services)
    settings = from_environment(os.environ, **{**given, "prometheus_url": chosen.url})
    if in_pod(kubeconfig, context):
        note(words)
        return prometheus.connect(settings, stopping=stopping), f"{chosen.pattern.server} {chosen.url}"
    check_goes_through(settings)
    note(f"{words}; asked through the API server")
    service = chosen.service
    proxy = open_service(kubeconfig, context, namespace=service.namespace, name=service.name, port=chosen.port, stopping=stopping)
    return prometheus.connect(settings, line=ThroughApiServer(proxy, chosen, others), stopping=stopping), f"{chosen} through the API server"


def _unless_absent(ask: Callable[[], Listing[Item]]) -> Listing[Item] | None:
    """The answer; None where the cluster does not know the kind that was asked for."""
    try:
        listing = ask()
    except ClusterNotFound:
        return None
    return None if any(isinstance(error, ClusterNotFound) for error in listing.failed.values()) else listing


def _changes(recorded: Sequence[Recorded]) -> dict[WorkloadRef, Change]:
    changes = {one.workload: change_from_status(one.status) for one in recorded}
    return {ref: change for ref, change in changes.items() if change is not None}


def _uid(recorded: Recorded) -> str | None:
    reference = recorded.spec.get("workloadRef") or {}
    return reference.get("uid")


def _raise_first(failed: Mapping[str, ClusterError]) -> None:
    for error in failed.values():
        raise error
