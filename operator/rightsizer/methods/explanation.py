"""The way to a number in one line that a person can redo with a calculator.

Only wording: each number that stands in the line was decided elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rightsizer.history import SLOT_SECONDS
from rightsizer.methods.pace import CLIMB_MOST, CLIMB_SLOTS, FAST_MARGIN, NEAR_LIMIT, ROLLOUT_HOLD_SECONDS
from rightsizer.methods.recommendation import Clamp, Learnt, Measurement
from rightsizer.methods.risk import GUARD
from rightsizer.methods.sizing import (
    LEARNED_PEAK_MARGIN,
    OOM_ADDITION,
    OOM_FACTOR,
    PEAK_LIMIT_RATIO,
    PEAK_MARGIN,
    STEPS,
    UNTHROTTLED_MOST,
    top_ratio,
)
from rightsizer.profile import LimitPolicy, LimitRule
from rightsizer.quantities import MEBIBYTE, format_cpu, format_days, format_duration, format_memory, format_share_up
from rightsizer.workload import ResourceName

"""What an OOM kill adds to the limit at which it happened, where the limit x 1.2 is less: how the floor was made, told backwards here."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The numbers on the way to a request and a limit, in millicores or bytes. `unthrottled`: what would have been measured without
    throttling, to which `rule_buffer` is added."""

    resource: ResourceName
    measurement: Measurement
    buffer: float
    target: float
    oom_floor: int | None
    request: int
    request_clamp: Clamp
    limit: int | None
    limit_rule: LimitRule
    limit_clamp: Clamp
    current_request: int | None = None
    unthrottled: float | None = None
    rule_buffer: float = 0.0
    learned: bool = False


def text(steps: Steps) -> str:
    """The whole way, from the measured value to the limit.

    p95 of 14d (4,012 values, 99.5 %, busiest of up to 3 pods) = 180m; + 20 % = 216m; limit 2 x 216m = 432m

    Where the container was throttled, the measured value is followed by: a lower bound: throttled in 12 % of the values
    """
    return f"{_measured(steps)}; {_request(steps)}; {_limit(steps)}"


def choice(resource: ResourceName, learnt: Learnt) -> str:
    """Why `Learned` wants what it wants, and what it promises against what its replay had.

    steady: the only form of this resource under this strategy; a request below 175m is raised to it, one above 180m lowered to it; above
    the request for 0.2% of the last 7d in its replay, 0.3% are promised
    """
    raise_to, lower_to = (amount(resource, round(one / STEPS[resource]) * STEPS[resource]) for one in (learnt.raise_to, learnt.lower_to))
    risk = f"above the request for {format_share_up(learnt.above)} of the last {format_days(learnt.days)} in its replay"
    targets = f"a request below {raise_to} is raised to it, one above {lower_to} lowered to it"
    return f"{learnt.choice}; {targets}; {risk}, {format_risk(learnt.promised)} are promised"


def format_risk(share: float) -> str:
    """A promised share with up to two decimals: 0.0015 -> 0.15%, 0.01 -> 1%."""
    return f"{_decimal(round(share * 100, 2))}%"


def amount(resource: ResourceName, value: float) -> str:
    """A size as people write it, with up to three decimals: 216m, 180.3m, 2, 384Mi, 384.36Mi, 64Gi."""
    if resource == "cpu":
        return format_cpu(int(value)) if value == int(value) else f"{_decimal(value)}m"
    return format_memory(int(value)) if value % MEBIBYTE == 0 else f"{_decimal(value / MEBIBYTE)}Mi"


def _decimal(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _measured(steps: Steps) -> str:
    found = steps.measurement
    window = format_duration(found.window_seconds)
    values = "1 value" if found.samples == 1 else f"{found.samples:,} values"
    # Of what runs now and then most of the window is a gap, and none of it is missing.
    share = f"{found.coverage * 100:.1f} %" if found.runs is None else "1 run" if found.runs == 1 else f"{found.runs:,} runs"
    seen = ", ".join([values, share, *_pods(steps)])
    since = "" if found.release is None else f" since {found.release}"
    return f"{found.statistic} of {window}{since} ({seen}) = {_level(steps)}{_throttled(found)}"


def _level(steps: Steps) -> str:
    found = steps.measurement
    value = amount(steps.resource, found.value)
    if found.latest is None:
        return value
    hold = format_duration(ROLLOUT_HOLD_SECONDS)
    return f"{value}, the highest of the last {hold} (now {amount(steps.resource, found.latest)})"


def _throttled(found: Measurement) -> str:
    return f", a lower bound: throttled in {whole_percent(found.throttled)} % of the values" if found.throttled else ""


def whole_percent(share: float) -> int:
    """Rounded up, so that what is above zero shows: 0.001 -> 1, 0.12 -> 12, 0.123 -> 13."""
    # In two steps: 0.07 x 100 is a little more than 7.
    return math.ceil(round(share * 100, 6))


def _pods(steps: Steps) -> list[str]:
    pods = steps.measurement.pods
    if pods == 0:
        return []
    # The most that were seen at once: during a rollout there are more than the workload asks for.
    most = "busiest" if steps.resource == "cpu" else "largest"
    return ["1 pod" if pods == 1 else f"{most} of up to {pods:,} pods"]


def _request(steps: Steps) -> str:
    sign = "-" if steps.buffer < 0 else "+"
    target = f"{sign} {_decimal(abs(steps.buffer) * 100)} % = {amount(steps.resource, steps.target)}"
    if steps.request_clamp == Clamp.NONE:
        return target + _rounding(steps, steps.target, steps.request)
    return f"{target}; {_moved(steps)}"


def _moved(steps: Steps) -> str:
    """What a bound made of the target."""
    match steps.request_clamp:
        case Clamp.PEAK:
            return _raised_for_peak(steps)
        case Clamp.LEAK:
            return _held_for_leak(steps)
        case Clamp.THROTTLED:
            return _raised_after_throttling(steps)
        case Clamp.OOM_KILL:
            return _raised_after_oom_kill(steps)
        case Clamp.NEAR_LIMIT:
            return _raised_near_limit(steps)
        case Clamp.ABOVE_REQUEST:
            return _raised_above_request(steps)
        case Clamp.KEPT:
            return f"left at {_size(steps, steps.request)}, which is neither to be raised nor to be lowered"
        case Clamp.REPLAYED_KILL:
            return f"raised to {_size(steps, steps.request)}, because in its replay memory came above its limit"
        case Clamp.MEASURED:
            why = f"its replay was above its request for more than {GUARD:g} x what is promised"
            return f"raised to {_size(steps, steps.request)}, which Measured gives, because {why}"
        case _:
            return _moved_by_profile(steps)


def _moved_by_profile(steps: Steps) -> str:
    match steps.request_clamp:
        case Clamp.MINIMUM:
            return f"raised to the minimum {_size(steps, steps.request)}"
        case Clamp.MAXIMUM:
            return f"lowered to the maximum {_size(steps, steps.request)}"
        case Clamp.GUARANTEED if steps.limit_rule.policy is LimitPolicy.KEEP:
            return f"left at the limit {_size(steps, steps.request)}, which is kept in a Guaranteed pod"
        case Clamp.GUARANTEED:
            raised = _times_peak(steps, PEAK_MARGIN, steps.request)
            return f"raised to {raised}, because the limit of a Guaranteed pod is its request"
        case _:
            return f"lowered to the limit {_size(steps, steps.request)}, which is kept"


def _raised_for_peak(steps: Steps) -> str:
    ratio, margin = top_ratio(steps.limit_rule), LEARNED_PEAK_MARGIN if steps.learned else PEAK_MARGIN
    share = steps.measurement.peak * margin / ratio
    told = f"the peak of {_size(steps, steps.measurement.peak)}" if margin == 1 else _times_peak(steps, margin, None)
    rounding = _rounding(steps, share, steps.request)
    return f"raised to {told}, over {ratio:g} = {_size(steps, share)}{rounding}, because the limit has to hold the peak"


def _held_for_leak(steps: Steps) -> str:
    if steps.request == steps.current_request:
        return f"left at {_size(steps, steps.request)}, because the memory leaks"
    return f"held at {_size(steps, steps.request)}, from which it climbs anew with the buffer, because the memory leaks"


def _raised_after_throttling(steps: Steps) -> str:
    level = steps.unthrottled or 0
    wanted = level * (1 + steps.rule_buffer)
    if wanted + STEPS[steps.resource] <= steps.request:
        return f"raised to the limit {_size(steps, steps.request)}, at which it was throttled, because the pod is Guaranteed"
    counted = f"throttled values count 1 / (1 - their share of periods), up to {UNTHROTTLED_MOST:g} x"
    result = f"{_size(steps, wanted)}{_rounding(steps, wanted, steps.request)}"
    return f"raised, as {_size(steps, level)} is measured where {counted}: + {_decimal(steps.rule_buffer * 100)} % = {result}"


def _raised_after_oom_kill(steps: Steps) -> str:
    floor, ratio = steps.oom_floor or 0, _floor_ratio(steps)
    # A floor is whole bytes, so it may lie less than one below 1.2 x the peak of a container that used all of its limit.
    if floor <= OOM_ADDITION or floor + 1 <= steps.measurement.peak * PEAK_MARGIN:
        peak = steps.measurement.peak * PEAK_MARGIN
        if ratio == 1:
            return f"raised to {_times_peak(steps, PEAK_MARGIN, steps.request)}, because of an OOM kill"
        share = f"{_size(steps, peak / ratio)}{_rounding(steps, peak / ratio, steps.request)}"
        return f"raised to {_times_peak(steps, PEAK_MARGIN, None)}, over {ratio:g} = {share}, because of an OOM kill"
    rounding = _rounding(steps, floor / ratio, steps.request)
    result = f" = {_size(steps, floor)}" if rounding or ratio != 1 else ""
    share = f", over {ratio:g}" if ratio != 1 else ""
    share += f" = {_size(steps, floor / ratio)}" if rounding and ratio != 1 else ""
    return f"raised to {_size(steps, steps.request)}: OOM-killed at a limit of {_limit_at_kill(steps, floor)}{result}{share}{rounding}"


def _raised_near_limit(steps: Steps) -> str:
    return _raised_at_once(steps, steps.measurement.last_value, f"because the memory in use is at {NEAR_LIMIT:.0%} of its limit or above")


def _raised_above_request(steps: Steps) -> str:
    used, request = max(steps.measurement.last_value, steps.measurement.previous_value or 0.0), steps.current_request
    of = "" if request is None else f" of {_size(steps, request)}"
    return _raised_at_once(steps, used, f"because the last two values are above the request{of}")


def _raised_at_once(steps: Steps, used: float, why: str) -> str:
    before = steps.measurement.previous_value
    climbed = 0.0 if before is None or steps.resource == "cpu" else used - before
    factor = min(1 + CLIMB_SLOTS * climbed / used, CLIMB_MOST) if used else 0.0
    if factor <= FAST_MARGIN:
        return f"raised to {_times(steps, FAST_MARGIN, used)}, {why}"
    pace = f"climbed by {_size(steps, climbed)} in {SLOT_SECONDS // 60} minutes"
    if factor == CLIMB_MOST:
        return f"raised to {_times(steps, CLIMB_MOST, used)}, {why} and {pace}"
    asked = used * factor
    sum_ = f"{_size(steps, used)} + {CLIMB_SLOTS} x {_size(steps, climbed)} = {_size(steps, asked)}{_rounding(steps, asked, steps.request)}"
    return f"raised to {sum_}, {why} and {pace}"


def _times(steps: Steps, factor: float, used: float) -> str:
    return f"{factor:g} x {_size(steps, used)} = {_size(steps, used * factor)}{_rounding(steps, used * factor, steps.request)}"


def _floor_ratio(steps: Steps) -> float:
    """So many times the request may the limit be, which is what a kill asks to be higher."""
    if steps.limit_clamp is Clamp.GUARANTEED:
        return 1.0
    return top_ratio(steps.limit_rule)


def _limit_at_kill(steps: Steps, floor: int) -> str:
    # The floor is the larger of limit x 1.2 and limit + 100Mi, so the limit is the smaller of both ways back.
    by_factor, by_addition = math.ceil(floor / OOM_FACTOR), floor - OOM_ADDITION
    if by_addition <= by_factor:
        return f"{_size(steps, by_addition)}, + {_size(steps, OOM_ADDITION)}"
    return f"{_size(steps, by_factor)}, x {OOM_FACTOR:g}"


def _limit(steps: Steps) -> str:
    rule = steps.limit_rule
    if steps.limit_clamp is Clamp.GUARANTEED:
        return "limit = request, because the pod is Guaranteed"
    if steps.limit is None:
        return "no limit"
    if rule.policy is LimitPolicy.KEEP:
        return f"limit {_size(steps, steps.limit)} kept"
    if steps.limit_clamp is Clamp.LEAK:
        return f"limit {_size(steps, steps.limit)} left, because the memory leaks"
    if steps.limit_clamp is Clamp.THROTTLED:
        return f"limit {_size(steps, steps.limit)} left, because it throttles already"
    if steps.limit_clamp is Clamp.PEAK:
        return _limit_by_peak(steps)
    if steps.limit_clamp is Clamp.OOM_KILL:
        return _limit_by_kill(steps)
    product = steps.request * rule.ratio
    return f"limit {rule.ratio:g} x {_size(steps, steps.request)} = {_size(steps, product)}{_rounding(steps, product, steps.limit)}"


def _limit_by_peak(steps: Steps) -> str:
    most = steps.request * (steps.limit_rule.max_ratio or 0)
    if steps.measurement.peak * PEAK_LIMIT_RATIO <= most:
        return f"limit {_times_peak(steps, PEAK_LIMIT_RATIO, steps.limit)}"
    capped = f"{steps.limit_rule.max_ratio:g} x {_size(steps, steps.request)} = {_size(steps, most)}{_rounding(steps, most, steps.limit)}"
    return f"limit {capped}, the most for {_times_peak(steps, PEAK_LIMIT_RATIO, None)}"


def _limit_by_kill(steps: Steps) -> str:
    floor, most = steps.oom_floor or 0, steps.request * (steps.limit_rule.max_ratio or 0)
    killed = f"OOM-killed at a limit of {_limit_at_kill(steps, floor)}"
    if floor > most:
        return f"limit {steps.limit_rule.max_ratio:g} x {_size(steps, steps.request)} = {_size(steps, most)}, the most: {killed}"
    rounding = _rounding(steps, floor, steps.limit)
    return f"limit {_size(steps, steps.limit or 0)}: {killed}" + (f" = {_size(steps, floor)}{rounding}" if rounding else "")


def _times_peak(steps: Steps, factor: float, result: int | None) -> str:
    product = steps.measurement.peak * factor
    return f"{factor:g} x the peak of {_size(steps, steps.measurement.peak)} = {_size(steps, product)}{_rounding(steps, product, result)}"


def _rounding(steps: Steps, exact: float, result: int | None) -> str:
    step = STEPS[steps.resource]
    if result is None or abs(exact - result) < step / 10_000:
        return ""
    return f", rounded up to {_size(steps, result)}"


def _size(steps: Steps, value: float) -> str:
    return amount(steps.resource, value)
