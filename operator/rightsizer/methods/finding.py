"""What fools a recommendation, by the word that status, event and README have for it, and what a method is told of it.

How each is recognised is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
class Recognised:
    """What was recognised of one container, as far as numbers depend on it.

    `leak_start`: bytes from which a leak climbs anew, None without a leak; `throttled`: whether there is that finding; `rare_memory`:
    whether its memory has rare peaks.
    """

    findings: tuple[Finding, ...] = ()
    leak_start: float | None = None
    throttled: bool = False
    rare_memory: bool = False


NOTHING_RECOGNISED = Recognised()
