"""From measured usage to requests and limits: small estimators over arrays, each wrapping what the one before it gave.

Every function takes and gives arrays of shape (containers,), NaN where nothing is known, so that thousands of containers of one rule cost
as much as one. Nothing here knows where the usage comes from, or how a number is told to people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rightsizer.history import Values
from rightsizer.methods.pace import FAST_MARGIN, above_request, climbing_to, near_limit
from rightsizer.methods.recommendation import Clamp
from rightsizer.methods.statistics import Numbers
from rightsizer.methods.wishes import Wishes
from rightsizer.profile import LimitPolicy, LimitRule, ResourceRule
from rightsizer.quantities import MEBIBYTE, round_up_array
from rightsizer.workload import ResourceName

STEPS: Mapping[ResourceName, int] = {"cpu": 1, "memory": MEBIBYTE}
"""Sizes are rounded up to whole millicores and whole mebibytes."""

PEAK_MARGIN = 1.2
"""What the memory limit holds at least, as a multiple of the recent peak, as far as it follows from the request or is it."""

LEARNED_PEAK_MARGIN = 1.0
"""The same by the method `Learned`, whose limit is always as high as the rule allows: a fifth more would cost 0.4 points of slack and save
no kill."""

OOM_FACTOR = 1.2
OOM_ADDITION = 100 * MEBIBYTE
"""An OOM kill asks for the larger of limit x 1.2 and limit + 100Mi."""

PEAK_LIMIT_RATIO = 2.0
"""What a memory limit should be as a multiple of the peak, as far as `max_ratio` lets it: a process that is replaced by a new one beside
it needs twice its memory. Usage without peaks above the measured level asks for nothing."""


UNTHROTTLED_MOST = 2.0
"""What was cut off is added up to so many times what was used: a share of periods says how often the limit was met, and not by how much
it was too low. Twice is what the limit is above the request by default; what is still too little shows as throttling again."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the sizes of several containers depend on besides their rule. Millicores or bytes, NaN for not known or not set.

    `newest`: the last value that was seen; `previous`: that of the slot before it. `leak_hold`: the request that a leak is left with, NaN
    without a leak. `unthrottled`: what would have been measured without throttling, NaN where there is hardly any.
    `wishes`: what was learned, in place of what was measured. None: in none of them. `current_request`, `fast`: what is requested now, and
    whether usage above it raises it at once; None: in none of them.
    """

    measured: Numbers
    peak: Numbers
    oom_floor: Numbers
    current_limit: Numbers
    guaranteed: NDArray[np.bool_]
    newest: Numbers
    previous: Numbers
    leak_hold: Numbers | None = None
    unthrottled: Numbers | None = None
    wishes: Wishes | None = None
    current_request: Numbers | None = None
    fast: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Sized:
    """Numbers, and which bound decided each (an array of `Clamp`)."""

    values: Numbers
    clamps: NDArray[Any]


def oom_floor(memory_limit: int) -> int:
    """What an OOM kill at this limit asks for, in bytes: more than what was not enough. The peak that was seen is added by `requests`."""
    return max(int(memory_limit * OOM_FACTOR), memory_limit + OOM_ADDITION)


def unthrottled(values: Values, shares: Values, *, noticeably: float) -> Values:
    """Usage as if the limit had not cut it off: a value throttled in a share s of its CFS periods counts 1 / (1 - s) times, at most twice.

    Only where the share is above `noticeably`; NaN is none.

        value  share  becomes
        100m   0.04   100m
        100m   0.2    125m
        100m   0.9    200m
    """
    factors = 1 / np.fmax(1 - shares, 1 / UNTHROTTLED_MOST)
    raised: Values = np.where(shares > noticeably, values * factors, values).astype(np.float32)
    return raised


def leak_hold(current_request: Numbers, start: Numbers, buffer: float) -> Numbers:
    """The memory request that a leak is left with: what it has, or the level from which it climbs anew plus the buffer, if that is more.

    Following it upwards only puts the kill off and takes room from others; going down would bring it nearer. NaN where `start` is.
    """
    begin = round_up_array(with_buffer(start, buffer), STEPS["memory"])
    return np.where(np.isnan(start), np.nan, np.fmax(current_request, begin))


def top_ratio(rule: LimitRule) -> float:
    """How many times the request a limit may be at most; 1 where it does not follow from the request."""
    return (rule.max_ratio or rule.ratio) if rule.policy is LimitPolicy.RATIO else 1.0


def request_floor(rule: LimitRule, floors: Numbers) -> Numbers:
    """The least requests whose limits can be what OOM kills taught (`oom_floor`); NaN for none.

    It is the limit that was too low: where the limit may be a multiple of the request, the request need not be all of it.
    """
    return floors / top_ratio(rule)


def asked_by_peak(levels: Numbers, peaks: Numbers) -> Numbers:
    """What memory limits should be for the recent peaks; NaN where no peak is above the level that was measured.

    level  peak   limit
    320Mi  320Mi  -
    320Mi  400Mi  800Mi
    """
    return np.where(peaks > levels, peaks * PEAK_LIMIT_RATIO, np.nan)


def peak_floor(rule: LimitRule, peaks: Numbers, margins: float | Numbers = PEAK_MARGIN) -> Numbers:
    """The least memory requests whose limits can hold the recent peaks; NaN for none. Only where the rule lifts limits for peaks."""
    if rule.policy is not LimitPolicy.RATIO or rule.max_ratio is None:
        return np.full(peaks.shape, np.nan)
    return request_floor(rule, peaks * margins)


def with_buffer(measured: Numbers, buffer: float | Numbers) -> Numbers:
    """The target: 180 + 20 % = 216."""
    return measured * (1 + buffer)


def buffers(rule: ResourceRule, inputs: Inputs) -> Numbers:
    """What is added to what was measured, as shares: the rule's, and where something was learned its margin."""
    margins = np.full(len(inputs.measured), np.nan) if inputs.wishes is None else inputs.wishes.margins
    return np.where(np.isnan(margins), rule.buffer, margins)


def unbounded(values: Numbers) -> Sized:
    """The start of a chain of bounds."""
    return Sized(values, np.full(len(values), Clamp.NONE, dtype=object))


def raised(sized: Sized, floor: Numbers | float, clamp: Clamp) -> Sized:
    """At least `floor`; a NaN is no floor."""
    return _replaced(sized, sized.values < floor, floor, clamp)


def lowered(sized: Sized, ceiling: Numbers | float, clamp: Clamp) -> Sized:
    """At most `ceiling`; a NaN is no ceiling."""
    return _replaced(sized, sized.values > ceiling, ceiling, clamp)


def rounded_up(sized: Sized, step: int) -> Sized:
    """The next multiple of `step`; what decided a number stays."""
    return Sized(round_up_array(sized.values, step), sized.clamps)


def requests(resource: ResourceName, rule: ResourceRule, inputs: Inputs) -> Sized:
    """The requests: target, then what an OOM kill taught, then rounding, then the profile's bounds, then a limit that stays.

    The profile's bounds come after the rounding and are taken as they are written; its maximum wins over what an OOM kill taught.

        measured  buffer  OOM floor  peak   min   max    request
        180m      20 %    -          -      10m   16     216m
        320Mi     20 %    -          320Mi  32Mi  64Gi   384Mi
        200Mi     20 %    615Mi      512Mi  32Mi  64Gi   308Mi  OOMKill (the limit may be 2 x the request)
        200Mi     20 %    600Mi      512Mi  32Mi  64Gi   308Mi  OOMKill (1.2 x 512Mi = 614.4Mi)
        3m        20 %    -          -      10m   16     10m    Minimum

        200Mi     20 %    -          800Mi  32Mi  64Gi   480Mi  Peak (1.2 x 800Mi, over 2)

    A leak is left with `leak_hold`, whatever was measured and killed; throttled CPU is raised to what `unthrottled` gives.
    """
    sized = unbounded(with_buffer(inputs.measured, buffers(rule, inputs)))
    if inputs.wishes is not None:
        sized = lowered(sized, inputs.wishes.keep, Clamp.KEPT)
        sized = raised(sized, inputs.wishes.kill_floors, Clamp.REPLAYED_KILL)
        sized = raised(sized, inputs.wishes.guards, Clamp.MEASURED)
    if resource == "memory":
        floors = _oom_floor(inputs)
        floors = np.where(inputs.guaranteed, floors, request_floor(rule.limit, floors))
        sized = raised(sized, floors, Clamp.OOM_KILL)
        sized = raised(sized, np.where(inputs.guaranteed, inputs.peak * PEAK_MARGIN, np.nan), Clamp.GUARANTEED)
        sized = raised(sized, _above_request_floor(inputs, climbs=True), Clamp.ABOVE_REQUEST)
        sized = raised(sized, _near_limit_floor(rule.limit, inputs), Clamp.NEAR_LIMIT)
        # The limit that belongs to it holds the peak: it is no surprise that it will come again.
        sized = raised(sized, peak_floor(rule.limit, inputs.peak, _peak_margins(inputs)), Clamp.PEAK)
    elif inputs.unthrottled is not None:
        sized = raised(sized, with_buffer(inputs.unthrottled, rule.buffer), Clamp.THROTTLED)
        sized = raised(sized, np.where(inputs.guaranteed & _throttled(inputs), inputs.current_limit, np.nan), Clamp.THROTTLED)
    if resource == "cpu":
        sized = raised(sized, _above_request_floor(inputs, climbs=False), Clamp.ABOVE_REQUEST)
    sized = rounded_up(sized, STEPS[resource])
    if inputs.leak_hold is not None:
        sized = _replaced(sized, _leaks(inputs), inputs.leak_hold, Clamp.LEAK)
    sized = raised(sized, rule.minimum, Clamp.MINIMUM)
    sized = lowered(sized, rule.maximum, Clamp.MAXIMUM)
    return _below_kept_limit(sized, inputs) if rule.limit.policy is LimitPolicy.KEEP else sized


def limits(resource: ResourceName, rule: LimitRule, inputs: Inputs, requested: Numbers) -> Sized:
    """The limits that belong to `requested`; NaN for no limit.

    A Guaranteed pod stays so under every policy: its limits are its requests. The profile's bounds are for requests only.
    """
    sized = _limits_by_policy(resource, rule, inputs, requested)
    if rule.policy is LimitPolicy.RATIO:
        sized = _where_it_was(sized, inputs, requested)
    return _replaced(sized, inputs.guaranteed, requested, Clamp.GUARANTEED)


def _limits_by_policy(resource: ResourceName, rule: LimitRule, inputs: Inputs, requested: Numbers) -> Sized:
    if rule.policy is LimitPolicy.NONE:
        return unbounded(np.full(len(requested), np.nan))
    if rule.policy is LimitPolicy.KEEP:
        return unbounded(inputs.current_limit)
    step = STEPS[resource]
    limit = rounded_up(unbounded(requested * rule.ratio), step)
    limit = raised(limit, round_up_array(lifted(rule, requested, asked_by_peak(inputs.measured, inputs.peak)), step), Clamp.PEAK)
    if resource == "cpu":
        return limit
    return raised(limit, round_up_array(lifted(rule, requested, _oom_floor(inputs)), step), Clamp.OOM_KILL)


def _where_it_was(sized: Sized, inputs: Inputs, requested: Numbers) -> Sized:
    """The limit of a leak stays as it is, also where there is none; one that throttles is not lowered."""
    if inputs.leak_hold is not None:
        # At least the request, which the profile's minimum may have raised.
        kept = np.where(np.isnan(inputs.current_limit), np.nan, np.fmax(inputs.current_limit, requested))
        sized = _replaced(sized, _leaks(inputs), kept, Clamp.LEAK)
    if inputs.unthrottled is not None:
        sized = raised(sized, np.where(_throttled(inputs), inputs.current_limit, np.nan), Clamp.THROTTLED)
    return sized


def _leaks(inputs: Inputs) -> NDArray[np.bool_]:
    none = np.zeros(len(inputs.measured), dtype=np.bool_)
    return none if inputs.leak_hold is None else ~np.isnan(inputs.leak_hold)


def _throttled(inputs: Inputs) -> NDArray[np.bool_]:
    none = np.zeros(len(inputs.measured), dtype=np.bool_)
    return none if inputs.unthrottled is None else ~np.isnan(inputs.unthrottled)


def lifted(rule: LimitRule, requested: Numbers, asked: Numbers) -> Numbers:
    """How far a limit is lifted to what a peak or a kill asks for, before rounding; NaN where nothing is asked, or the rule lifts none."""
    if rule.max_ratio is None:
        return np.full(requested.shape, np.nan)
    return np.where(np.isnan(asked), np.nan, np.fmin(asked, requested * rule.max_ratio))


def _oom_floor(inputs: Inputs) -> Numbers:
    killed = ~np.isnan(inputs.oom_floor)
    return np.where(killed, np.fmax(inputs.oom_floor, inputs.peak * PEAK_MARGIN), np.nan)


def _peak_margins(inputs: Inputs) -> float | Numbers:
    return PEAK_MARGIN if inputs.wishes is None else np.where(np.isnan(inputs.wishes.levels), PEAK_MARGIN, LEARNED_PEAK_MARGIN)


def _near_limit_floor(rule: LimitRule, inputs: Inputs) -> Numbers:
    """The requests that memory asks for at once, because it comes near a limit that can be moved; NaN for none."""
    near = near_limit(inputs.newest, inputs.current_limit) & (rule.policy is LimitPolicy.RATIO)
    return np.where(near, np.fmax(inputs.newest * FAST_MARGIN, climbing_to(inputs.previous, inputs.newest)), np.nan)


def _above_request_floor(inputs: Inputs, *, climbs: bool) -> Numbers:
    """The requests that usage above the request asks for at once, where that restarts nothing; NaN for none. `climbs`: as memory does."""
    if inputs.fast is None or inputs.current_request is None:
        return np.full(len(inputs.measured), np.nan)
    above = above_request(inputs.previous, inputs.newest, inputs.current_request, math.inf) & inputs.fast
    wanted = np.fmax(inputs.previous, inputs.newest) * FAST_MARGIN
    if climbs:
        wanted = np.fmax(wanted, climbing_to(inputs.previous, inputs.newest))
    return np.where(above, wanted, np.nan)


def _below_kept_limit(sized: Sized, inputs: Inputs) -> Sized:
    # A request above its limit is refused by the API server, and the profile says that the limit stays: the request gives way. In a
    # Guaranteed pod a request below its limit would end the class, so there it stays at the limit.
    at_most_limit = lowered(sized, inputs.current_limit, Clamp.LIMIT)
    return _replaced(at_most_limit, inputs.guaranteed, inputs.current_limit, Clamp.GUARANTEED)


def _replaced(sized: Sized, where: NDArray[np.bool_], by: Numbers | float, clamp: Clamp) -> Sized:
    clamps = sized.clamps.copy()
    clamps[where] = clamp
    return Sized(np.where(where, by, sized.values), clamps)
