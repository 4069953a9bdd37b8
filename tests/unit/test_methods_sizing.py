from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer.methods.recommendation import Clamp
from rightsizer.methods.sizing import Inputs, limits, lowered, raised, requests, rounded_up, unbounded, with_buffer
from rightsizer.profile import DEFAULT_RULE, LimitPolicy, LimitRule, ResourceRule
from rightsizer.workload import RESOURCES, ResourceName
from tests.unit.builders import GI, MI

NAN = float("nan")
CPU, MEMORY = DEFAULT_RULE.cpu, DEFAULT_RULE.memory
KEEP, NONE = LimitRule(LimitPolicy.KEEP), LimitRule(LimitPolicy.NONE)


def inputs(
    *measured: float,
    peak: float | None = None,
    oom_floor: float = NAN,
    current_limit: float = NAN,
    guaranteed: bool = False,
    newest: float = NAN,
    previous: float = NAN,
    current_request: float = NAN,
    fast: bool = False,
) -> Inputs:
    each = np.ones(len(measured))
    return Inputs(
        measured=np.array(measured, dtype=np.float64),
        peak=np.array(measured) if peak is None else each * peak,
        oom_floor=each * oom_floor,
        current_limit=each * current_limit,
        guaranteed=np.full(len(measured), guaranteed),
        newest=each * newest,
        previous=each * previous,
        current_request=each * current_request,
        fast=np.full(len(measured), fast),
    )


def sizes(resource: ResourceName, rule: ResourceRule, given: Inputs) -> tuple[float, Clamp, float | None, Clamp]:
    requested = requests(resource, rule, given)
    limited = limits(resource, rule.limit, given, requested.values)
    limit = limited.values[0]
    return requested.values[0], requested.clamps[0], None if np.isnan(limit) else limit, limited.clamps[0]


def test_the_worked_example() -> None:
    assert sizes("cpu", CPU, inputs(180)) == (216, Clamp.NONE, 432, Clamp.NONE)
    assert sizes("memory", MEMORY, inputs(320 * MI)) == (384 * MI, Clamp.NONE, 576 * MI, Clamp.NONE)


@pytest.mark.parametrize(
    ("fast", "previous", "newest", "request_", "clamp"),
    [
        (True, 300, 400, 480, Clamp.ABOVE_REQUEST),
        (True, 400, 300, 480, Clamp.ABOVE_REQUEST),
        (False, 300, 400, 216, Clamp.NONE),
        (True, 200, 400, 216, Clamp.NONE),
        (True, NAN, 400, 216, Clamp.NONE),
        (True, 400, 200, 216, Clamp.NONE),
        (True, 217, 217, 261, Clamp.ABOVE_REQUEST),
    ],
)
def test_two_values_above_the_request_raise_it_where_that_restarts_nothing(
    fast: bool, previous: float, newest: float, request_: int, clamp: Clamp
) -> None:
    given = inputs(180, previous=previous, newest=newest, current_request=216, fast=fast)
    assert sizes("cpu", CPU, given) == (request_, clamp, 2 * request_, Clamp.NONE)


@pytest.mark.parametrize(("previous", "newest", "request_"), [(400, 400, 480), (400, 450, 650), (390, 900, 1800)])
def test_memory_above_its_request_is_raised_for_what_it_is_about_to_use(previous: int, newest: int, request_: int) -> None:
    given = inputs(320 * MI, previous=previous * MI, newest=newest * MI, current_request=384 * MI, fast=True)
    assert sizes("memory", MEMORY, given)[:2] == (request_ * MI, Clamp.ABOVE_REQUEST)


@pytest.mark.parametrize(
    ("measured", "request_", "clamp", "limit"),
    [
        (180.1, 217, Clamp.NONE, 434),
        (0, 10, Clamp.MINIMUM, 20),
        (3, 10, Clamp.MINIMUM, 20),
        (8.3, 10, Clamp.NONE, 20),
        (13_333, 16_000, Clamp.NONE, 32_000),
        (20_000, 16_000, Clamp.MAXIMUM, 32_000),
    ],
)
def test_cpu_by_ratio(measured: float, request_: float, clamp: Clamp, limit: float) -> None:
    assert sizes("cpu", CPU, inputs(measured)) == (request_, clamp, limit, Clamp.NONE)


@pytest.mark.parametrize(
    ("measured", "oom_floor", "peak", "request_", "clamp"),
    [
        (320 * MI, NAN, 320 * MI, 384 * MI, Clamp.NONE),
        (200 * MI, 614.4 * MI, 512 * MI, 308 * MI, Clamp.OOM_KILL),
        (320 * MI, 614.4 * MI, 512 * MI, 384 * MI, Clamp.NONE),
        (200 * MI, 600 * MI, 512 * MI, 308 * MI, Clamp.OOM_KILL),
        (320 * MI, 300 * MI, 300 * MI, 384 * MI, Clamp.NONE),
        (320.1 * MI, NAN, 320.1 * MI, 385 * MI, Clamp.NONE),
        (1 * MI, NAN, 1 * MI, 32 * MI, Clamp.MINIMUM),
        (1 * MI, 20 * MI, 1 * MI, 32 * MI, Clamp.MINIMUM),
        (60 * GI, NAN, 60 * GI, 64 * GI, Clamp.MAXIMUM),
        (60 * GI, 80 * GI, 60 * GI, 64 * GI, Clamp.MAXIMUM),
    ],
)
def test_memory_request(measured: float, oom_floor: float, peak: float, request_: float, clamp: Clamp) -> None:
    assert sizes("memory", MEMORY, inputs(measured, oom_floor=oom_floor, peak=peak))[:2] == (request_, clamp)


@pytest.mark.parametrize(
    ("peak", "limit", "clamp"),
    [
        (320 * MI, 576 * MI, Clamp.NONE),
        (321 * MI, 642 * MI, Clamp.PEAK),
        (370.3 * MI, 741 * MI, Clamp.PEAK),
        (500 * MI, 768 * MI, Clamp.PEAK),
        (640 * MI, 768 * MI, Clamp.PEAK),
    ],
)
def test_a_peak_lifts_the_memory_limit_up_to_max_ratio(peak: float, limit: float, clamp: Clamp) -> None:
    assert sizes("memory", MEMORY, inputs(320 * MI, peak=peak)) == (384 * MI, Clamp.NONE, limit, clamp)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (MEMORY.limit, (600 * MI, Clamp.PEAK, 1200 * MI, Clamp.PEAK)),
        (LimitRule(ratio=1.5, max_ratio=1.5), (800 * MI, Clamp.PEAK, 1200 * MI, Clamp.NONE)),
        (LimitRule(ratio=1.5), (384 * MI, Clamp.NONE, 576 * MI, Clamp.NONE)),
        (LimitRule(LimitPolicy.NONE), (384 * MI, Clamp.NONE, None, Clamp.NONE)),
    ],
)
def test_the_limit_holds_the_peak(limit: LimitRule, expected: tuple[float, Clamp, float | None, Clamp]) -> None:
    assert sizes("memory", replace(MEMORY, limit=limit), inputs(320 * MI, peak=1000 * MI)) == expected


@pytest.mark.parametrize(
    ("previous", "request_"),
    [(NAN, 648), (540, 648), (600, 648), (520, 648), (500, 700), (400, 1080), (100, 1080)],
)
def test_memory_that_climbs_to_its_limit_is_raised_for_what_is_coming(previous: float, request_: float) -> None:
    given = inputs(320 * MI, newest=540 * MI, previous=previous * MI, current_limit=576 * MI)
    assert requests("memory", MEMORY, given).values[0] == request_ * MI


@pytest.mark.parametrize(
    ("oom_floor", "limit", "clamp"),
    [(500 * MI, 576 * MI, Clamp.NONE), (600 * MI, 600 * MI, Clamp.OOM_KILL), (600.5 * MI, 601 * MI, Clamp.OOM_KILL)],
)
def test_a_kill_lifts_the_memory_limit(oom_floor: float, limit: float, clamp: Clamp) -> None:
    assert sizes("memory", MEMORY, inputs(320 * MI, oom_floor=oom_floor, peak=320 * MI)) == (384 * MI, Clamp.NONE, limit, clamp)


@pytest.mark.parametrize(
    ("rule", "request_"), [(LimitRule(ratio=1.5), 410 * MI), (LimitRule(ratio=1.0), 615 * MI), (NONE, 615 * MI), (KEEP, 615 * MI)]
)
def test_a_kill_asks_for_as_much_as_the_limit_cannot_give(rule: LimitRule, request_: float) -> None:
    given_ = inputs(200 * MI, oom_floor=614.4 * MI, peak=512 * MI, current_limit=2 * GI)
    assert sizes("memory", replace(MEMORY, limit=rule), given_)[:2] == (request_, Clamp.OOM_KILL)


def test_a_kill_in_a_guaranteed_pod_asks_for_all_of_it() -> None:
    given_ = inputs(200 * MI, oom_floor=614.4 * MI, peak=400 * MI, guaranteed=True)
    assert sizes("memory", MEMORY, given_) == (615 * MI, Clamp.OOM_KILL, 615 * MI, Clamp.GUARANTEED)


def test_an_oom_kill_does_not_raise_cpu() -> None:
    assert sizes("cpu", CPU, inputs(180, oom_floor=1e9)) == (216, Clamp.NONE, 432, Clamp.NONE)


def test_the_peak_alone_never_lifts_a_cpu_limit() -> None:
    assert sizes("cpu", CPU, inputs(180, peak=4000))[2:] == (432, Clamp.NONE)


def test_bounds_are_taken_as_written_even_between_steps() -> None:
    rule = replace(MEMORY, minimum=100 * MI + 1)
    assert sizes("memory", rule, inputs(1 * MI))[:2] == (100 * MI + 1, Clamp.MINIMUM)
    rule = replace(MEMORY, maximum=100 * MI - 1)
    assert sizes("memory", rule, inputs(320 * MI))[:2] == (100 * MI - 1, Clamp.MAXIMUM)


@pytest.mark.parametrize(
    ("current_limit", "expected"),
    [
        (1000, (216, Clamp.NONE, 1000, Clamp.NONE)),
        (216, (216, Clamp.NONE, 216, Clamp.NONE)),
        (200, (200, Clamp.LIMIT, 200, Clamp.NONE)),
        (5, (5, Clamp.LIMIT, 5, Clamp.NONE)),
        (NAN, (216, Clamp.NONE, None, Clamp.NONE)),
    ],
)
def test_a_kept_limit_holds_the_request(current_limit: float, expected: tuple[float, Clamp, float | None, Clamp]) -> None:
    assert sizes("cpu", replace(CPU, limit=KEEP), inputs(180, current_limit=current_limit)) == expected


def test_policy_none_removes_the_limit() -> None:
    assert sizes("cpu", replace(CPU, limit=NONE), inputs(180, current_limit=500)) == (216, Clamp.NONE, None, Clamp.NONE)


@pytest.mark.parametrize("policy", [CPU.limit, NONE])
def test_a_guaranteed_pod_keeps_limit_equal_to_request(policy: LimitRule) -> None:
    found = sizes("cpu", replace(CPU, limit=policy), inputs(180, current_limit=1000, guaranteed=True))
    assert found == (216, Clamp.NONE, 216, Clamp.GUARANTEED)


def test_memory_of_a_guaranteed_pod_leaves_a_fifth_above_the_peak() -> None:
    found = sizes("memory", replace(MEMORY, buffer=0.0), inputs(300 * MI, peak=400 * MI, current_limit=GI, guaranteed=True))
    assert found == (480 * MI, Clamp.GUARANTEED, 480 * MI, Clamp.GUARANTEED)


def test_a_kept_limit_leaves_a_guaranteed_pod_as_it_is() -> None:
    found = sizes("cpu", replace(CPU, limit=KEEP), inputs(180, current_limit=1000, guaranteed=True))
    assert found == (1000, Clamp.GUARANTEED, 1000, Clamp.GUARANTEED)


def test_rows_do_not_mix() -> None:
    given = Inputs(
        measured=np.array([180.0, NAN, 3.0, 180.0]),
        peak=np.array([180.0, NAN, 3.0, 180.0]),
        oom_floor=np.full(4, NAN),
        current_limit=np.array([NAN, NAN, NAN, 500.0]),
        guaranteed=np.array([False, False, False, True]),
        newest=np.full(4, NAN),
        previous=np.full(4, NAN),
    )
    requested = requests("cpu", CPU, given)
    limited = limits("cpu", CPU.limit, given, requested.values)
    np.testing.assert_array_equal(requested.values, [216, NAN, 10, 216])
    np.testing.assert_array_equal(limited.values, [432, NAN, 20, 216])
    assert list(requested.clamps) == [Clamp.NONE, Clamp.NONE, Clamp.MINIMUM, Clamp.NONE]


def test_estimators_wrap_each_other_and_leave_what_they_got() -> None:
    start = unbounded(with_buffer(np.array([100.0, 1.0]), 0.5))
    wrapped = rounded_up(lowered(raised(start, 20, Clamp.MINIMUM), 120, Clamp.MAXIMUM), 50)
    assert start.values.tolist() == [150, 1.5]
    assert list(start.clamps) == [Clamp.NONE, Clamp.NONE]
    assert wrapped.values.tolist() == [150, 50]
    assert list(wrapped.clamps) == [Clamp.MAXIMUM, Clamp.MINIMUM]


rules = st.builds(
    lambda buffer, policy, ratio, more: replace(CPU, buffer=buffer, limit=LimitRule(policy, ratio, None if more is None else ratio + more)),
    st.integers(0, 300).map(lambda percent: percent / 100),
    st.sampled_from(LimitPolicy),
    st.floats(1, 100).map(lambda ratio: round(ratio, 2)),
    st.one_of(st.none(), st.floats(0, 10)),
)
bounds = st.tuples(st.integers(1, 10**9), st.integers(0, 10**9)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(
    resource=st.sampled_from(RESOURCES),
    rule=rules,
    bound=bounds,
    measured=st.floats(0, 1e10),
    peak_ratio=st.floats(1, 10),
    oom_floor=st.one_of(st.just(NAN), st.floats(0, 1e10)),
    current=st.integers(1, 10**10),
    guaranteed=st.booleans(),
)
def test_whatever_is_measured_the_sizes_are_valid(
    resource: ResourceName,
    rule: ResourceRule,
    bound: tuple[int, int],
    measured: float,
    peak_ratio: float,
    oom_floor: float,
    current: int,
    guaranteed: bool,
) -> None:
    rule = replace(rule, minimum=bound[0], maximum=bound[1])
    given_ = inputs(measured, peak=measured * peak_ratio, oom_floor=oom_floor, current_limit=current, guaranteed=guaranteed)
    request, clamp, limit, _ = sizes(resource, rule, given_)
    assert request == int(request)
    assert limit is None or limit >= request
    if guaranteed:
        assert limit == request
    if clamp not in (Clamp.LIMIT, Clamp.GUARANTEED):
        assert rule.minimum <= request <= rule.maximum
    if rule.limit.policy is LimitPolicy.KEEP:
        assert limit == current
    if clamp is Clamp.NONE:
        assert request >= measured
