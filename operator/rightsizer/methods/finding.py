"""What fools a recommendation, by the word that status, event and README have for it, and what a method is told of it.

How each is recognised is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rightsizer.methods.release import Release, Split
from rightsizer.workload import ResourceName


class FindingType(StrEnum):
    """The words, in the order in which findings are told."""

    MEMORY_LEAK = "MemoryLeak"
    MEMORY_GROWTH = "MemoryGrowth"
    THROTTLED = "Throttled"
    LEVEL_SHIFT = "LevelShift"
    RARE_PEAK = "RarePeak"
    STARTUP_SPIKE = "StartupSpike"
    HOT_REPLICA = "HotReplica"
    IDLE = "Idle"
    SHORT_HISTORY = "ShortHistory"


@dataclass(frozen=True, slots=True)
class Finding:
    """One of them, of one container, with its figures in a sentence."""

    type: FindingType
    message: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a container besides its usage.

    `told`: the findings that people have been told of it; `release`: its newest one, if one was seen; `splits`: the releases since which
    its history counted so far, by resource.
    """

    told: frozenset[FindingType] = frozenset()
    release: Release | None = None
    splits: Mapping[ResourceName, Release] = field(default_factory=dict)


NOTHING_KNOWN = Known()


@dataclass(frozen=True, slots=True)
class Recognised:
    """What was recognised of one container, as far as numbers depend on it.

    `leak_start`: bytes from which a leak climbs anew, None without a leak; `throttled`: whether there is that finding; `splits`: from
    when on the history of a resource counts, where a release changed its level.
    """

    findings: tuple[Finding, ...] = ()
    leak_start: float | None = None
    throttled: bool = False
    splits: Mapping[ResourceName, Split] = field(default_factory=dict)


NOTHING_RECOGNISED = Recognised()
