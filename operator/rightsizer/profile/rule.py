"""The rules of a profile as frozen values, with the defaults of the custom resource's schema.

A rule says how a size follows from measured usage and when it may be applied. It must not know how either is done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from rightsizer.errors import InvalidQuantity
from rightsizer.quantities import GIBIBYTE, MEBIBYTE, format_duration
from rightsizer.workload import ResourceName

DAY_SECONDS = 86_400


class Mode(StrEnum):
    """What may happen to a workload, from nothing to everything. Compared by `allows`, never by `<` (that compares letters)."""

    IGNORE = "Ignore"
    RECOMMEND = "Recommend"
    APPLY = "Apply"

    def allows(self, other: Mode) -> bool:
        """Whether what `other` does may be done under this mode. Ignore < Recommend < Apply."""
        return _MODES.index(self) >= _MODES.index(other)


_MODES = tuple(Mode)


def lowest(*modes: Mode) -> Mode:
    """The mode that allows least; at least one is given."""
    return min(modes, key=_MODES.index)


class LimitPolicy(StrEnum):
    """What becomes of a limit: a ratio of the request, removed, or left as it is."""

    RATIO = "Ratio"
    NONE = "None"
    KEEP = "Keep"


@dataclass(frozen=True, slots=True)
class Statistic:
    """Which figure of the measured usage counts: `percentile` is 50.0 to 99.9, 100.0 for `max` and None for `mean`.

    `by_load`: up to which level that percentage of the work was done, not that of the time.
    """

    name: str
    percentile: float | None
    by_load: bool = False

    @property
    def has_half_life(self) -> bool:
        """Whether it can weigh the values by their age: percentiles can, the mean and the largest value do not."""
        return self.percentile is not None and self.percentile < 100


_STATISTIC = re.compile(r"(?P<load>load-)?p(?P<percentile>[5-9][0-9](?:\.[0-9])?)")


def parse_statistic(text: str) -> Statistic:
    """The statistic of a name: `p50` to `p99.9`, `load-p50` to `load-p99.9`, `mean`, `max`. Raises InvalidQuantity."""
    if text == "mean":
        return Statistic(text, None)
    if text == "max":
        return Statistic(text, 100.0)
    match = _STATISTIC.fullmatch(text)
    if match is None:
        raise InvalidQuantity(f"must be a percentile from p50 to p99.9 (such as p95 or load-p95), mean or max, is {text!r}")
    return Statistic(text, float(match["percentile"]), by_load=match["load"] is not None)


LOAD_HALF_LIFE_SECONDS: Mapping[ResourceName, int] = {"cpu": 15 * 3_600, "memory": 72 * 3_600}
"""After how long a value counts half in a `load-` percentile, where the profile does not say."""


def half_life_of(statistic: Statistic, resource: ResourceName) -> int | None:
    """The half-life that a statistic has by itself, in seconds; None where all values of the window count alike."""
    return LOAD_HALF_LIFE_SECONDS[resource] if statistic.by_load else None


@dataclass(frozen=True, slots=True)
class LimitRule:
    """How a limit follows from a request. `max_ratio` is how far a recent peak may lift it (None: not at all)."""

    policy: LimitPolicy = LimitPolicy.RATIO
    ratio: float = 2.0
    max_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class ResourceRule:
    """The rule for one resource of one container. `buffer` is a share (0.2 = 20 %); bounds in millicores or bytes.

    `half_life_seconds`: after how long a value counts half in a percentile; None: all values of the window count alike.
    """

    statistic: str
    buffer: float
    limit: LimitRule
    minimum: int
    maximum: int
    half_life_seconds: int | None = None

    @property
    def told_statistic(self) -> str:
        """`p95`, or `load-p95 (half-life 12h)`."""
        return (
            self.statistic if self.half_life_seconds is None else f"{self.statistic} (half-life {format_duration(self.half_life_seconds)})"
        )


@dataclass(frozen=True, slots=True)
class ContainerRule:
    """The rules for one container after the exceptions of its name were applied."""

    cpu: ResourceRule
    memory: ResourceRule
    ignored: bool = False

    def resource(self, name: ResourceName) -> ResourceRule:
        return self.cpu if name == "cpu" else self.memory


DEFAULT_RULE = ContainerRule(
    cpu=ResourceRule("load-p94", 0.2, LimitRule(ratio=2.0), minimum=10, maximum=16_000, half_life_seconds=LOAD_HALF_LIFE_SECONDS["cpu"]),
    memory=ResourceRule(
        "load-p96",
        0.2,
        LimitRule(ratio=1.5, max_ratio=2.0),
        minimum=32 * MEBIBYTE,
        maximum=64 * GIBIBYTE,
        half_life_seconds=LOAD_HALF_LIFE_SECONDS["memory"],
    ),
)
"""The statistics and half-lives are those that the accuracy study chose (`python -m tests.accuracy`)."""


ROLLOUT = "Rollout"
IN_PLACE = "InPlace"
ON_CREATE = "OnCreate"
AT_CREATION = (IN_PLACE, ON_CREATE)
"""Strategies under which new pods are sized as they are created, and the template stays as it is."""

FROM_TOOLS = "FromTools"
ALWAYS = "Always"
NEVER = "Never"
TAKE_OWNERSHIP = (FROM_TOOLS, ALWAYS, NEVER)
"""Whose fields the strategy Rollout takes over: those of tools that only act when a person does, those of anybody, or nobody's."""


@dataclass(frozen=True, slots=True)
class VerifyRule:
    """How long a workload is watched after a change, in seconds (0: not at all), and in how much of the CPU periods of a container may be
    throttled meanwhile, as a share."""

    period_seconds: int = 30 * 60
    max_throttled: float = 0.25


@dataclass(frozen=True, slots=True)
class ApplyRule:
    """When a recommendation is applied. `minimum_change` is a share; times in seconds.

    `fallback`: the strategy for what cannot be resized in place; None: it is left. `take_ownership`: whose fields are taken over, one of
    FROM_TOOLS, ALWAYS, NEVER. `max_concurrent`: how many workloads of the profile may be in a rollout at a time; after one that was taken
    back, nothing is lowered in the others for `pause_after_failure_seconds`.
    """

    strategy: str = ROLLOUT
    minimum_change: float = 0.10
    lower_at_most_every_seconds: int = DAY_SECONDS
    fallback: str | None = None
    take_ownership: str = FROM_TOOLS
    max_concurrent: int = 1
    pause_after_failure_seconds: int = 3_600
    verify: VerifyRule = VerifyRule()


@dataclass(frozen=True, slots=True)
class EvidenceRule:
    """What the replay of a container's own past may show for it to be lowered all the same. `max_time_above_request` is a share."""

    max_oom_kills: int = 0
    max_time_above_request: float = 0.01


DEFAULT_TIME_ABOVE_REQUEST: Mapping[ResourceName, float] = MappingProxyType({"cpu": 0.003, "memory": 0.0015})
"""What `Learned` promises where no budget is set. CPU that is short waits a little; memory above its request is what the node evicts
first. Looser budgets save little: at 1 % four points of CPU, two of memory."""


@dataclass(frozen=True, slots=True)
class RiskBudget:
    """What the method `Learned` may risk; None is its own default.

    `time_above_request`: the share of the time that a container may use more than its request. `oom_kills_per_1000_days`: how often a
    lesson of an OOM kill may be forgotten, as each that is forgotten may cost one more kill.
    """

    time_above_request: float | None = None
    oom_kills_per_1000_days: float | None = None

    @property
    def kill_memory_seconds(self) -> int:
        """How long the lesson of an OOM kill counts at least; 0: as long as the window."""
        return 0 if self.oom_kills_per_1000_days is None else round(1000 * DAY_SECONDS / self.oom_kills_per_1000_days)
