"""What is told of a profile after a cycle: how many workloads it rules, and where they cannot be measured. Pure.

A profile of a namespace looks at one place, a cluster-wide one at all in which it rules; what is written for both is decided in `status`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rightsizer.cycle.assignment import Assignment, ByNamespace
from rightsizer.cycle.measuring import MeasuringReport
from rightsizer.cycle.settling import Settled
from rightsizer.ports import OwnerSource
from rightsizer.profile import Mode, Profile
from rightsizer.status.conditions import Trouble
from rightsizer.status.profile import ProfileStanding
from rightsizer.status.standing import State

_SOURCE_NOTES = {
    OwnerSource.KUBE_STATE_METRICS: "the workloads of pods come from kube-state-metrics",
    OwnerSource.API_AND_NAMES: "kube-state-metrics is missing (kube_pod_owner): the workloads of pods come from the API and naming rules",
}
_MOST_NAMED = 5


class Ruling:
    """Of one cycle. `labels`: of all namespaces. `failed`: namespaces that could not be read, and why."""

    def __init__(self, assignment: Assignment, *, labels: ByNamespace, failed: Mapping[str, Trouble], measured: MeasuringReport) -> None:
        self._overruled = assignment.overruled
        self._labels = labels
        self._failed = failed
        self._measured = measured
        self._ruled_in: defaultdict[str, set[str]] = defaultdict(set)
        for ref, ruled in assignment.ruled.items():
            self._ruled_in[ruled.profile.uid].add(ref.namespace)

    def standing(self, profile: Profile, settled: Sequence[Settled], *, history_trouble: str | None) -> ProfileStanding:
        """`settled`: the workloads that the profile rules. `history_trouble`: what is wrong with the usage history itself, if so."""
        places = self._places(profile)
        trouble, unmeasured = self._trouble(places)
        known = {name for one in settled for name in one.container_names}
        return ProfileStanding(
            matched=len(settled),
            measured=sum(one.measured for one in settled),
            waiting=sum(one.state in (State.WAITING, State.BLOCKED, State.STALE) for one in settled),
            changed=sum(one.was_changed for one in settled),
            overruled=self._overruled.get(profile.uid, 0),
            unknown_containers=tuple(sorted(set(profile.container_rules) - known)) if settled else (),
            trouble=trouble,
            unmeasured=unmeasured,
            notes=(*self._notes(places), *(() if history_trouble is None else (history_trouble,))),
            namespaces=self._selected(profile),
        )

    def _places(self, profile: Profile) -> list[str]:
        """Where the profile needs usage: what it would rule in a namespace that could not be read is not known."""
        if not profile.cluster_wide:
            return [profile.namespace]
        unread = {name for name in self._failed if profile.covers(name, self._labels.get(name, {}))}
        return sorted(self._ruled_in[profile.uid] | unread)

    def _selected(self, profile: Profile) -> int | None:
        if not profile.cluster_wide or profile.mode is Mode.IGNORE:
            return None
        return sum(profile.covers(name, labels) for name, labels in self._labels.items())

    def _trouble(self, places: Sequence[str]) -> tuple[Trouble | None, str]:
        """What is wrong where it is so in all places; else in which of them, in words."""
        found = {name: trouble for name in places if (trouble := self._failed.get(name) or self._measured.trouble.get(name)) is not None}
        if not found:
            return None, ""
        first = next(iter(found.values()))
        if len(places) == 1:
            return first, ""
        if len(found) == len(places):
            return Trouble(first.reason, f"in all {len(places)} namespaces: {first.message}"), ""
        told = [f"{name} ({trouble.reason})" for name, trouble in found.items()]
        return None, f"{len(found)} of {len(places)} namespaces cannot be measured: {_named(told)}"

    def _notes(self, places: Sequence[str]) -> Iterator[str]:
        yield from self._source_notes(places)
        shares = [self._measured.read.get(name, 1.0) for name in places]
        read = sum(shares) / len(shares) if shares else 1.0
        if read < 1:
            # In steps, because a status is written when it changes.
            yield f"{int(read * 10) * 10} % of the window read"
        unreadable = {name: trouble for name in places if (trouble := self._measured.unreadable.get(name)) is not None}
        if unreadable:
            where = "" if len(places) == 1 else f"in {_named(unreadable)}: "
            yield f"{where}{next(iter(unreadable.values())).message}"

    def _source_notes(self, places: Sequence[str]) -> Iterator[str]:
        by_source: defaultdict[OwnerSource, list[str]] = defaultdict(list)
        for name in places:
            if (source := self._measured.owner_sources.get(name)) is not None:
                by_source[source].append(name)
        if len(by_source) == 1:
            yield _SOURCE_NOTES[next(iter(by_source))]
        elif by_source:
            # Where it works is of no matter beside where it does not.
            yield f"{_SOURCE_NOTES[OwnerSource.API_AND_NAMES]}, in {_named(by_source[OwnerSource.API_AND_NAMES])}"


def _named(names: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else ""
    return ", ".join(listed[:_MOST_NAMED]) + more
