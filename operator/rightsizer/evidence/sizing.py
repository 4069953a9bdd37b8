"""The sizes that a rule wants, as the replay needs them: of many moments at once, in plain numbers without rounding.

Rounding costs at most 1m or 1Mi, and would say more about the smallest containers than about the rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rightsizer.history import SLOT_SECONDS
from rightsizer.methods.levels import Estimator, estimator_of
from rightsizer.methods.sizing import PEAK_MARGIN, asked_by_peak, lifted, peak_floor, request_floor
from rightsizer.methods.statistics import Numbers
from rightsizer.profile import LimitPolicy, LimitRule, ResourceRule
from rightsizer.quantities import MEBIBYTE
from rightsizer.workload import ResourceName

LEAST: Mapping[ResourceName, float] = {"cpu": 0.1, "memory": MEBIBYTE}
"""What an idle container is given at least: a request of nothing could not be exceeded by a share of itself."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """What a rule wants of one resource: request = factor x level within the bounds, and the limit that belongs to it.

    Bounds in millicores or bytes. `learns_from_kills`: an OOM kill leaves a floor under the request for as long as the window.
    `window` in slots: how far back peaks, kills and history count. `guaranteed`: the limit is the request, as in a Guaranteed pod.
    `kept_limit`: the limit that the policy Keep leaves, NaN where it is not known or there is none.
    """

    resource: ResourceName
    estimator: Estimator
    factor: float
    limit: LimitRule
    window: int
    minimum: float = 0.0
    maximum: float = math.inf
    learns_from_kills: bool = True
    guaranteed: bool = False
    kept_limit: float = math.nan

    @property
    def limit_moves(self) -> bool:
        """Whether there is a limit that can be raised."""
        return self.limit.policy is LimitPolicy.RATIO

    def bounded(self, requests: Numbers) -> Numbers:
        """Within the bounds; NaN stays."""
        return np.clip(requests, max(self.minimum, LEAST[self.resource]), self.maximum)

    def request_floors(self, floors: Numbers) -> Numbers:
        """The least requests that what OOM kills taught leaves; NaN for none."""
        return floors if self.guaranteed else request_floor(self.limit, floors)

    def peak_floors(self, peaks: Numbers, margin: float = PEAK_MARGIN) -> Numbers:
        """The least memory requests whose limits can hold the peaks with this margin; NaN for none."""
        if self.resource == "cpu":
            return np.full(peaks.shape, np.nan)
        return peaks * PEAK_MARGIN if self.guaranteed else peak_floor(self.limit, peaks, margin)

    def limits(self, requests: Numbers, levels: Numbers, peaks: Numbers, floors: Numbers) -> Numbers:
        """The limits of these requests, lifted by peaks above the level and by what OOM kills taught (NaN: nothing); NaN for none."""
        if self.guaranteed:
            return requests
        if not self.limit_moves:
            return np.where(np.isnan(requests), np.nan, self.kept_limit)
        asked = asked_by_peak(levels, peaks)
        if self.resource == "memory":
            asked = np.fmax(asked, floors)
        return np.fmax(requests * self.limit.ratio, lifted(self.limit, requests, asked))


def sizing_of(resource: ResourceName, rule: ResourceRule, *, window_seconds: int, bounded: bool, guaranteed: bool = False) -> Sizing:
    """What the method `Measured` wants by this rule. `bounded`: whether the rule's bounds count; `guaranteed`: of a Guaranteed pod."""
    return Sizing(
        resource,
        estimator_of(rule, window_seconds=window_seconds),
        1 + rule.buffer,
        rule.limit,
        window_seconds // SLOT_SECONDS,
        minimum=rule.minimum if bounded else 0.0,
        maximum=rule.maximum if bounded else math.inf,
        guaranteed=guaranteed,
    )
