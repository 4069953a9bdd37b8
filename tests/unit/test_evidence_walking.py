"""The walk of `Learned`, whole and on by an hour."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from rightsizer.evidence.lanes import conducts_of, packed, unpacked
from rightsizer.evidence.learning import replay_learned
from rightsizer.evidence.proof import Basis
from rightsizer.evidence.walking import Walked, learning_of, walk, walk_on
from rightsizer.history import SLOT_SECONDS, Span, UsageWindow, Values
from rightsizer.methods.levels import DAY_SLOTS, HOUR_SLOTS
from rightsizer.methods.pace import pace_of
from rightsizer.profile import DAY_SECONDS, DEFAULT_RULE, Profile, RiskBudget
from rightsizer.workload import RESOURCES, ContainerKey, ResourceName, WorkloadRef

MI = 2**20
FIRST = 600_000 * HOUR_SLOTS * SLOT_SECONDS
"""A full hour."""
WINDOW = 3 * DAY_SLOTS
PROFILE = Profile("shop", "all", raise_after_seconds=DAY_SECONDS, lower_after_seconds=DAY_SECONDS)
PACES = {strategy: pace_of(PROFILE, strategy=strategy) for strategy in ("InPlace", "Rollout")}


def basis(strategy: str = "InPlace", *, guaranteed: bool = False, budget: float | None = None) -> Basis:
    return Basis(DEFAULT_RULE, guaranteed, WINDOW * SLOT_SECONDS, PACES[strategy], risk=RiskBudget(budget))


def noisy(rows: int, days: float, *, seed: int = 3) -> Values:
    random = np.random.default_rng(seed)
    shape = rows, round(days * DAY_SLOTS)
    values = random.gamma(8, 12, shape) * np.where(random.random(shape) < 0.01, 4, 1)
    values[random.random(shape) < 0.05] = np.nan
    return values.astype(np.float32)


def window(values: Values, *, end: int | None = None, slots: int | None = None) -> UsageWindow:
    """The last `slots` columns up to the column `end`, of CPU and of as much memory in Mi."""
    end = values.shape[1] - 1 if end is None else end
    begin = 0 if slots is None else max(end + 1 - slots, 0)
    part = values[:, begin : end + 1]
    span = Span(FIRST + begin * SLOT_SECONDS, FIRST + end * SLOT_SECONDS)
    keys = tuple(ContainerKey(WorkloadRef("shop", "Deployment", "web"), f"c{row}") for row in range(len(values)))
    return UsageWindow(keys, span, part, part * np.float32(MI), np.ones(part.shape, dtype=np.uint16))


@pytest.mark.parametrize("strategy", ["InPlace", "Rollout"])
@pytest.mark.parametrize("resource", RESOURCES)
def test_what_is_kept_of_a_state_is_all_of_it(strategy: str, resource: ResourceName) -> None:
    what, pace = learning_of(basis(strategy), resource), PACES[strategy]
    _, state = replay_learned(window(noisy(3, 3)).of(resource), what, pace, first_slot=1)
    table = packed(state)
    assert table.shape[0] == 3
    assert table[0].nbytes < 800
    back = unpacked(table, lanes=len(conducts_of(what, pace)))
    for item in fields(back):
        if item.name == "tally":
            assert all(np.array_equal(getattr(back.tally, one.name), getattr(state.tally, one.name)) for one in fields(back.tally))
            continue
        ours, theirs = getattr(back, item.name), getattr(state, item.name)
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs, equal_nan=ours.dtype == np.float64)


@pytest.mark.parametrize("strategy", ["InPlace", "Rollout"])
def test_going_on_hour_by_hour_comes_to_what_the_whole_walk_does(strategy: str) -> None:
    values, what = noisy(4, 5, seed=8), basis(strategy, budget=0.01)
    begun = walk(window(values, end=2 * DAY_SLOTS), what)
    for end in range(2 * DAY_SLOTS + HOUR_SLOTS, values.shape[1], HOUR_SLOTS):
        begun = walk_on(window(values, end=end, slots=WINDOW), what, begun)
    whole = walk(window(values, end=end), what)
    for ours, theirs in zip(begun, whole, strict=True):
        assert ours.end == theirs.end == FIRST + end * SLOT_SECONDS
        for resource in RESOURCES:
            np.testing.assert_allclose(ours.stands(resource), theirs.stands(resource), rtol=1e-9)
            one, other = ours.learnt[resource], theirs.learnt[resource]
            assert (one.form, one.choice) == (other.form, other.choice)
            assert (one.raise_to, one.lower_to, one.margin) == pytest.approx((other.raise_to, other.lower_to, other.margin), rel=1e-9)


def test_the_number_is_what_the_backtest_would_decide_now() -> None:
    values = noisy(2, 4)
    end = 3 * DAY_SLOTS + 5 * HOUR_SLOTS
    (learnt, _) = (one.learnt["cpu"] for one in walk(window(values, end=end), basis()))
    course, state = replay_learned(values[:, : end + 1], learning_of(basis(), "cpu"), PACES["InPlace"], first_slot=FIRST // SLOT_SECONDS)
    assert (learnt.raise_to, learnt.lower_to) == (state.raise_to[0], state.lower_to[0])
    assert learnt.promised == 0.003
    assert learnt.margin == pytest.approx(np.exp(state.margins[-1, 0]) - 1)
    # In force is what was decided then, from these two.
    assert course.requests[0, -1] > 0


@pytest.mark.parametrize("days", [0.5, 1.0])
def test_nothing_was_learned_of_what_there_is_too_little_of(days: float) -> None:
    (found,) = walk(window(noisy(1, days)), basis())
    assert found.evidence is None
    assert found.learnt == {}


def test_what_was_killed_in_the_replay_leaves_a_floor() -> None:
    values = np.full((1, 3 * DAY_SLOTS + 1), 100, dtype=np.float32)
    values[0, 605] = 1000
    (found,) = walk(window(values), basis())
    memory, cpu = found.learnt["memory"], found.learnt["cpu"]
    # Half of 1.2 x 1000Mi: the limit may be twice the request.
    assert memory.kill_floor == pytest.approx(600 * MI)
    assert np.isnan(cpu.kill_floor)


def test_who_was_above_for_too_long_has_what_measured_gives_as_a_floor() -> None:
    values = np.full((1, 3 * DAY_SLOTS + 1), 100, dtype=np.float32)
    values[0, 300::50] = 170  # single values raise nothing at once
    calm, busy = (walk(window(one), basis("Rollout"))[0].learnt["cpu"] for one in (np.full_like(values, 100), values))
    assert np.isnan(calm.guard)
    assert busy.above > 0.012
    assert busy.guard > 100 * 1.2 - 1


def test_the_limit_of_a_guaranteed_pod_is_its_request() -> None:
    values = np.full((1, 3 * DAY_SLOTS + 1), 100, dtype=np.float32)
    course = replay_learned(window(values).memory, learning_of(basis(guaranteed=True), "memory"), PACES["InPlace"], first_slot=0)[0]
    assert np.array_equal(course.limits, course.requests, equal_nan=True)
    assert course.requests[0, -1] == pytest.approx(1.2 * 100 * MI)


def test_rows_have_their_own_evidence() -> None:
    values = noisy(2, 3)
    values[1] = np.nan
    first, second = walk(window(values), basis())
    assert isinstance(first, Walked)
    assert first.evidence is not None
    assert set(first.learnt) == set(RESOURCES)
    assert (second.evidence, second.learnt) == (None, {})
