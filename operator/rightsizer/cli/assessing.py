"""What is declared and what was used, whichever way it was read, and what follows for each workload.

Live and offline differ only in where these values come from; from here on they go one way. Nothing is read or written here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from rightsizer.change import Change
from rightsizer.cycle import Ruled, assign, recommend
from rightsizer.cycle.case import Case, Proof, look
from rightsizer.cycle.proving import prove_all
from rightsizer.cycle.surroundings import NO_SURROUNDINGS, Surroundings
from rightsizer.errors import ClusterError
from rightsizer.history import History, last_slot
from rightsizer.methods.finding import Known
from rightsizer.profile import Mode, Profile
from rightsizer.status.conditions import Trouble
from rightsizer.status.standing import Standing
from rightsizer.workload import Autoscaler, ContainerKey, Workload, WorkloadRef

DEFAULT_PROFILE_NAME = ""
"""The name of the profile that stands in where there is none: no object can be called so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What is declared. `changes`: the last recorded change; `known`: what else is recorded, by container. `defaults`: whether the default
    profile rules what no profile fits. `annotations`, `labels`: of the namespaces.

    `notes`: what a person should know about the reading. `failures`: namespaces that could not be read.
    """

    workloads: tuple[Workload, ...]
    profiles: tuple[Profile, ...]
    defaults: bool = True
    annotations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    autoscalers: tuple[Autoscaler, ...] = ()
    surroundings: Surroundings = NO_SURROUNDINGS
    changes: Mapping[WorkloadRef, Change] = field(default_factory=dict)
    known: Mapping[ContainerKey, Known] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failures: Mapping[str, ClusterError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was used up to `now` (unix seconds), and what could not be read. `origin` says in words where it comes from.

    `replicas`: the pods of workloads whose number is not declared.
    """

    history: History
    now: float
    origin: str
    oom_floors: Mapping[ContainerKey, int] = field(default_factory=dict)
    trouble: Mapping[str, Trouble] = field(default_factory=dict)
    replicas: Mapping[WorkloadRef, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Origin(Protocol):
    """Where values come from: a cluster with a usage source, or files."""

    def declared(self) -> Declared:
        """Raises ClusterError, or InvalidInput for a file."""
        ...

    def usage(self, workloads: Sequence[Workload], *, window_seconds: int) -> Usage:
        """Raises UsageSourceError, or InvalidInput for a file."""
        ...


@dataclass(frozen=True, slots=True)
class Assessed:
    """A workload with its profile, and where it stands by what was measured just now."""

    ruled: Ruled
    standing: Standing

    @property
    def workload(self) -> Workload:
        return self.ruled.workload


def without_workloads(namespaces: Sequence[str]) -> tuple[str, ...]:
    """What is told of namespaces that were asked for beside others, and have nothing to size."""
    return (f"no workload in namespace {', '.join(sorted(set(namespaces)))}",) if namespaces else ()


def rule(declared: Declared) -> dict[WorkloadRef, Ruled]:
    """The workloads that a profile rules, in order of namespace and name."""
    ruled = dict(assign(declared.workloads, declared.profiles, declared.annotations, labels=declared.labels).ruled)
    if declared.defaults:
        rest = [workload for workload in declared.workloads if workload.ref not in ruled]
        defaults = [Profile(namespace, DEFAULT_PROFILE_NAME) for namespace in {workload.ref.namespace for workload in rest}]
        ruled |= assign(rest, defaults, declared.annotations).ruled
    return dict(sorted(ruled.items()))


def window_seconds(ruled: Iterable[Ruled]) -> int:
    """The longest window that any of the profiles asks for."""
    return max((one.profile.window_seconds for one in ruled), default=0)


def assess(ruled: Iterable[Ruled], declared: Declared, usage: Usage) -> list[Assessed]:
    """What is recommended for each workload that is not ignored, and what the checks say to it."""
    present = [_with_replicas(one, usage.replicas) for one in ruled if one.mode is not Mode.IGNORE]
    end = last_slot(usage.now)
    proving = prove_all(present, usage.history, end=end)
    recommendations = recommend(
        present, usage.history, usage.oom_floors, end=end, held=proving.held, known=declared.known, learnt=proving.learnt
    )
    autoscalers: defaultdict[WorkloadRef, tuple[Autoscaler, ...]] = defaultdict(tuple)
    for autoscaler in declared.autoscalers:
        autoscalers[autoscaler.target] += (autoscaler,)
    cases = (
        Case(
            ruled=one,
            recommendations=(found := recommendations[one.workload.ref]),
            now=usage.now,
            proof=Proof(evidence=proving.of(one.workload.ref, found), troubles=proving.troubles(one.workload.ref, found)),
            autoscalers=autoscalers[one.workload.ref],
            trouble=usage.trouble.get(one.workload.ref.namespace),
            confines=declared.surroundings.around(one.workload),
        )
        for one in present
    )
    # Nothing is written, so no number has to stand still.
    return [Assessed(case.ruled, look(case, declared.changes.get(case.workload.ref))) for case in cases]


def _with_replicas(ruled: Ruled, replicas: Mapping[WorkloadRef, int]) -> Ruled:
    count = replicas.get(ruled.workload.ref)
    return ruled if count is None else replace(ruled, workload=replace(ruled.workload, replicas=count))
