"""Which profile rules which workload, and what its annotations leave of the profile's mode. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from rightsizer.change import Change
from rightsizer.profile import IN_PLACE, EffectiveMode, Mode, Profile, effective_mode, select_profile
from rightsizer.workload import Workload, WorkloadRef

ByNamespace = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Ruled:
    """A workload with the profile that rules it."""

    workload: Workload
    profile: Profile
    effective: EffectiveMode

    @property
    def mode(self) -> Mode:
        return self.effective.mode


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who rules what. `overruled`: how many workloads fit a profile (by uid) but are ruled by one that comes before it."""

    ruled: Mapping[WorkloadRef, Ruled]
    overruled: Mapping[str, int]


def places_of(profiles: Iterable[Profile], labels: ByNamespace) -> list[str]:
    """The namespaces in which these profiles may rule workloads. `labels`: of all namespaces that there are."""
    places: set[str] = set()
    for profile in profiles:
        places.update([name for name in labels if profile.covers(name, labels[name])] if profile.cluster_wide else [profile.namespace])
    return sorted(places)


def assign(
    workloads: Iterable[Workload], profiles: Iterable[Profile], annotations: ByNamespace, *, labels: ByNamespace | None = None
) -> Assignment:
    """The profile of each workload that has one. `annotations`, `labels`: of the namespaces. A profile in mode Ignore rules, and nothing
    happens."""
    by_namespace: defaultdict[str, list[Profile]] = defaultdict(list)
    for profile in profiles:
        by_namespace[profile.namespace].append(profile)
    labels, everywhere = labels or {}, by_namespace.pop("", [])
    ruled: dict[WorkloadRef, Ruled] = {}
    overruled: Counter[str] = Counter()
    for workload in workloads:
        place = workload.ref.namespace
        selection = select_profile(workload, [*by_namespace.get(place, ()), *everywhere], namespace_labels=labels.get(place))
        overruled.update(loser.uid for loser in selection.losers)
        if selection.profile is not None:
            ruled[workload.ref] = Ruled(workload, selection.profile, _mode(selection.profile, workload, annotations))
    return Assignment(ruled, overruled)


def fallen_back(ruled: Ruled, change: Change | None) -> Ruled:
    """With the profile's fallback for its strategy, where that could not size the pods of the newest change, or the fallback did since."""
    rule = ruled.profile.apply
    if rule.fallback is None or rule.strategy != IN_PLACE or change is None:
        return ruled
    in_vain = change.strategy == rule.strategy and bool(change.left) and not change.in_hand
    if not in_vain and change.strategy != rule.fallback:
        return ruled
    return replace(ruled, profile=replace(ruled.profile, apply=replace(rule, strategy=rule.fallback)))


def _mode(profile: Profile, workload: Workload, annotations: ByNamespace) -> EffectiveMode:
    return effective_mode(
        profile,
        workload_annotations=workload.annotations,
        namespace_annotations=annotations.get(workload.ref.namespace, {}),
        pod_annotations=workload.pod_annotations,
    )
