"""What the namespace and the API server allow the pods of a workload, as values for the checks.

Where they were read, and what follows from them, is not known here. CPU is in millicores and memory in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rightsizer.workload import ResourceName, SizeField, Workload

Amount = tuple[ResourceName, SizeField]
"""What a quota counts: requests or limits of CPU or memory."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """One item of a LimitRange: for each container, or (`per_pod`) for their sum. `ratio`: the most that limit / request may be."""

    per_pod: bool = False
    least: Mapping[ResourceName, int] = field(default_factory=dict)
    most: Mapping[ResourceName, int] = field(default_factory=dict)
    ratio: Mapping[ResourceName, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LimitRange:
    """A LimitRange of a namespace. A pod outside of any of them is refused."""

    namespace: str
    name: str
    bounds: tuple[Bounds, ...]


@dataclass(frozen=True, slots=True)
class Quota:
    """A ResourceQuota of a namespace: what all its pods may have together, and what they have. Without `used` nothing is known of it."""

    namespace: str
    name: str
    hard: Mapping[Amount, int]
    used: Mapping[Amount, int]


@dataclass(frozen=True, slots=True)
class Confines:
    """What stands around one workload.

    `template`: the workload as its own template has it, where its pods are sized at creation and not by the template; else None.
    `promised`: what other workloads' new pods will ask for beyond their templates. `policy_trouble`: why the admission policies do
    not work; empty where they do. `full`: the namespace's PodSizes holds no entry of this workload, and has no room for another.
    """

    limit_ranges: tuple[LimitRange, ...] = ()
    quotas: tuple[Quota, ...] = ()
    template: Workload | None = None
    promised: Mapping[Amount, int] = field(default_factory=dict)
    policy_trouble: str = ""
    full: bool = False
