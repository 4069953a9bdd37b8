"""What stands around a workload: what its namespace, its nodes and the API server allow its pods, and who else sizes or guards them.

Where they were read, and what follows from them, is not known here. CPU is in millicores and memory in bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from rightsizer.profile import LabelSelector
from rightsizer.workload import FieldPath, ResourceName, SizeField, Workload, WorkloadRef, same_group

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

    def room(self, amount: Amount, promised: Mapping[Amount, int]) -> float:
        """How much more it has room for, beside what others were promised. Where nobody has counted yet, for less than nothing."""
        if amount not in self.hard:
            return math.inf
        return self.hard[amount] - self.used[amount] - promised.get(amount, 0) if amount in self.used else -math.inf


@dataclass(frozen=True, slots=True)
class DisruptionBudget:
    """A PodDisruptionBudget as its controller counts it: how many pods it is about, and how many may be taken away now.

    `selector` None: it is about no pod.
    """

    namespace: str
    name: str
    selector: LabelSelector | None
    pods: int
    allowed: int

    def guards(self, workload: Workload) -> bool:
        return self.namespace == workload.ref.namespace and self.selector is not None and self.selector.matches(workload.pod_labels)


ANY_CONTAINER = "*"


@dataclass(frozen=True, slots=True)
class VerticalAutoscaler:
    """A VerticalPodAutoscaler that sizes pods. `sizes`: which resources, by container; `*` stands for those that are not named.

    `group`: the API group of its target; empty where it is not named.
    """

    namespace: str
    name: str
    target: WorkloadRef
    group: str
    sizes: Mapping[str, frozenset[ResourceName]]

    def is_about(self, workload: Workload) -> bool:
        return self.target == workload.ref and same_group(self.group, workload.group)

    def takes(self, path: FieldPath) -> bool:
        """Whether it sets this number. It moves limits along with requests."""
        return path.resource in self.sizes.get(path.container, self.sizes[ANY_CONTAINER])


@dataclass(frozen=True, slots=True)
class Room:
    """What a pod may ask for on a node, in millicores and bytes."""

    cpu: int
    memory: int

    def get(self, resource: ResourceName) -> int:
        return self.cpu if resource == "cpu" else self.memory


@dataclass(frozen=True, slots=True)
class Confines:
    """What stands around one workload.

    `stopped`: why nothing is changed in the whole cluster; `frozen`: why in its namespace; `unknown`: what of all this could not be read.
    Empty where that is not so. `budgets`, `vertical_autoscalers`: those of its namespace. `rooms`: the largest that the nodes have for
    its pods, none smaller than another in both resources; empty where no node is known.
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
    stopped: str = ""
    frozen: str = ""
    unknown: str = ""
    budgets: tuple[DisruptionBudget, ...] = ()
    vertical_autoscalers: tuple[VerticalAutoscaler, ...] = ()
    rooms: tuple[Room, ...] = ()
