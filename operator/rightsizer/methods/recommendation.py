"""What a method answers: sizes per container, and how each number came about, so that a person can redo it by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from rightsizer.history import UsageWindow
from rightsizer.methods.finding import NOTHING_RECOGNISED, Finding, Recognised
from rightsizer.methods.release import Release
from rightsizer.profile import ContainerRule, LimitPolicy
from rightsizer.workload import Container, ContainerKey, ResourceName, Sizes


class Clamp(StrEnum):
    """Which bound decided a number, if one did.

    OOM_KILL and PEAK: the memory that a kill or the peak asks for. NEAR_LIMIT: what memory that comes near its limit now asks for.
    ABOVE_REQUEST: usage above the request, where raising restarts nothing. GUARANTEED: what keeps the pod in that class. LIMIT: a request
    that had to stay at a limit that the profile keeps. LEAK: memory that leaks is not followed. THROTTLED: what the CPU limit cut off is
    added. Of `Learned` only, KEPT: what is requested now needs neither raising nor lowering; REPLAYED_KILL: what memory above its limit
    taught in the replay; MEASURED: what `Measured` gives, because the replay was above its request for much more than was promised.
    """

    NONE = "None"
    MINIMUM = "Minimum"
    MAXIMUM = "Maximum"
    OOM_KILL = "OOMKill"
    NEAR_LIMIT = "NearLimit"
    ABOVE_REQUEST = "AboveRequest"
    GUARANTEED = "Guaranteed"
    PEAK = "Peak"
    LIMIT = "Limit"
    LEAK = "Leak"
    THROTTLED = "Throttled"
    KEPT = "Kept"
    REPLAYED_KILL = "ReplayedOOMKill"
    MEASURED = "Measured"


@dataclass(frozen=True, slots=True)
class Learnt:
    """What the method `Learned` came to for one resource of one container, as of its last full hour. Sizes in millicores or bytes.

    `form`: the shape that its usage was found to have, and `choice` why, in words. `raise_to`, `lower_to`: the requests that it would
    be raised to and lowered to; the `margin` (a share) in them is what the control of the risk added. `kill_floor`, `guard`: the least
    requests that replayed kills and `Measured` leave, NaN for none. `promised`: the share of the time above the request that it may have,
    and `above` the one that the replay had in the `days` that were judged.
    """

    form: str
    choice: str
    raise_to: float
    lower_to: float
    margin: float
    kill_floor: float
    guard: float
    promised: float
    above: float
    days: float


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """What a method is told about a container besides its usage.

    `oom_floor`: bytes that an OOM kill taught (largest of limit x 1.2 and limit + 100Mi), None without one. `held`: the highest level of
    each resource (millicores, bytes) at the full hours of the hold that the profile's strategy asks for; what is left out is not known.
    `recognised`: what could fool the method, as it was recognised of late. `learnt`: what the method `Learned` came to, of each resource
    of which there was enough history; None: its past has not been walked through yet, or the method is another one. `fast`: usage above the
    request raises it at once.
    """

    key: ContainerKey
    container: Container
    rule: ContainerRule
    guaranteed: bool
    oom_floor: int | None = None
    held: Mapping[ResourceName, float] = field(default_factory=dict)
    recognised: Recognised = NOTHING_RECOGNISED
    learnt: Mapping[ResourceName, Learnt] | None = None
    fast: bool = False


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured of one resource of one container. Values in millicores or bytes, times in seconds.

    `coverage`: share of the window's slots with a value. `history_seconds`: from the first value to the last. `newest`: slot of the last
    value, unix seconds. `pods`: the largest number of pods seen at once. `throttled`: share of the samples in which the container was
    throttled noticeably; what it used then is a lower bound of what it wanted. 0 also where that is not known, and for memory.
    `latest`: the level just now, where `value` is a higher one of a few hours ago that is held. `last_value`: the newest value;
    `previous_value`: that of the slot before it, None for a gap.
    `runs`: how many there were, of what runs now and then, and `longest_run_slots`; its `history_seconds` reach up to now. None for others.
    `release`: all of it is from since this release; `before_release_seconds` of history from before it count only for raising.
    """

    statistic: str
    window_seconds: int
    value: float
    peak: float
    samples: int
    coverage: float
    history_seconds: int
    newest: int
    pods: int
    throttled: float = 0.0
    latest: float | None = None
    last_value: float = 0.0
    previous_value: float | None = None
    release: Release | None = None
    before_release_seconds: int = 0
    runs: int | None = None
    longest_run_slots: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """How request and limit of one resource came about. Numbers in millicores or bytes.

    `target` is the measured value plus the buffer, before bounds and rounding. `text` is one line that can be redone by hand. Of the method
    `Learned` only, `choice`: why it wants that, in words; `learned`: it wants it, and not `Measured` in its place; `provisional`: it only
    stands in until the past was walked through.
    """

    resource: ResourceName
    measurement: Measurement
    buffer: float
    target: float
    request: int
    request_clamp: Clamp
    limit: int | None
    limit_policy: LimitPolicy
    limit_ratio: float | None
    limit_clamp: Clamp
    text: str
    choice: str = ""
    provisional: bool = False
    learned: bool = False


@dataclass(frozen=True, slots=True)
class ContainerRecommendation:
    """The sizes wanted for one container. `wanted` equals `current` in each number that cannot be said yet (explanation None).

    `troubles`: by resource, why the method could not say it although there was usage, if so. `findings`: what could fool the
    recommendation.
    """

    name: str
    current: Sizes
    wanted: Sizes
    cpu: Explanation | None = None
    memory: Explanation | None = None
    troubles: Mapping[ResourceName, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def trouble(self) -> str:
        """Those of all resources, each once; empty where there is none."""
        return "; ".join(dict.fromkeys(self.troubles.values()))

    def explanation(self, resource: ResourceName) -> Explanation | None:
        return self.cpu if resource == "cpu" else self.memory


class Method(Protocol):
    """From usage to sizes: a pure function over many containers at once."""

    @property
    def name(self) -> str: ...

    def recommend(self, usage: UsageWindow, facts: Sequence[ContainerFacts]) -> list[ContainerRecommendation]:
        """One recommendation per row of `usage`; `facts[i]` belongs to `usage.keys[i]`. All rules share one window.

        What was used before a release that split the history of a row is left out of `usage`.
        """
        ...
