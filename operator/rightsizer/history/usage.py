"""Usage on a time axis of 5-minute slots, as values: what an answer of the usage source and what a question to the history look like.

Neither where the values come from nor how they are kept is known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rightsizer.workload import ContainerKey, ResourceName

SLOT_SECONDS = 300

Values = NDArray[np.float32]

UsageKind = ResourceName | Literal["throttled"]


def last_slot(time: float) -> int:
    """The newest slot that is over at this time (unix seconds)."""
    return int(time // SLOT_SECONDS) * SLOT_SECONDS


@dataclass(frozen=True, slots=True)
class Span:
    """The slots from `start` to `end`, both included; unix seconds, multiples of SLOT_SECONDS."""

    start: int
    end: int

    @property
    def slots(self) -> int:
        return (self.end - self.start) // SLOT_SECONDS + 1

    def touches(self, other: Span) -> bool:
        """Whether they share a slot or follow on each other without a gap."""
        return self.start <= other.end + SLOT_SECONDS and other.start <= self.end + SLOT_SECONDS


@dataclass(frozen=True, slots=True, order=True)
class PodSeries:
    """Whose series: one container of one pod."""

    namespace: str
    pod: str
    container: str


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """An answer of the usage source: values of shape (series, span.slots), NaN where there is none.

    CPU in millicores (mean rate over the slot), memory in bytes (peak of the working set within the slot), throttled as the share of
    the CFS periods of the slot in which the container was throttled (0 to 1).
    """

    resource: UsageKind
    span: Span
    series: tuple[PodSeries, ...]
    values: Values


@dataclass(frozen=True, slots=True)
class UsageWindow:
    """Histories of several containers on one time axis. All arrays have shape (containers, slots), NaN where nothing is known.

    `cpu`: millicores of the busiest pod; `memory`: bytes of the largest pod; `pods`: how many pods were seen in the slot.
    `cpu_mean`: millicores, mean over the pods; `throttled`: share of the CFS periods, of the pod with the largest, NaN also where it
    was not throttled at all; both None where they were not asked for.
    """

    keys: tuple[ContainerKey, ...]
    span: Span
    cpu: Values
    memory: Values
    pods: NDArray[np.uint16]
    cpu_mean: Values | None = None
    throttled: Values | None = None

    def of(self, resource: ResourceName) -> Values:
        return self.cpu if resource == "cpu" else self.memory
