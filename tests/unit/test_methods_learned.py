from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from rightsizer.methods import choice, forms
from rightsizer.methods.choice import Tally
from rightsizer.methods.forms import BURST, DAILY, STEADY, bands
from rightsizer.methods.levels import DAY_SLOTS, HOUR_SLOTS
from rightsizer.methods.risk import CPU, CPU_BUDGET, MEMORY, MEMORY_BUDGET, MEMORY_DIAL, conduct_of
from rightsizer.workload import ResourceName

WINDOW = 14 * DAY_SLOTS


def days(*levels: float, hours: int = 24) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.repeat(np.array([levels], dtype=np.float32), hours * HOUR_SLOTS, axis=1)


def last(values: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([values.shape[1] - 1])


@pytest.mark.parametrize(("resource", "margin"), [("cpu", 1.04), ("memory", 1.035)])
def test_usage_that_stays_the_same_is_given_its_margin_by_the_steady_form(resource: ResourceName, margin: float) -> None:
    values = days(100, 100, 100)
    steady = bands(resource, values, last(values), window=WINDOW)[STEADY]
    assert steady.raise_to[0] == pytest.approx([100 * margin])
    assert steady.lower_to[0] == pytest.approx([100 * margin])


def test_the_recent_peak_moves_the_level_no_further_than_its_bounds() -> None:
    for peak, share in ((300.0, forms.CPU_MOST), (90.0, forms.CPU_LEAST)):
        values = days(100, 100, 100, 100, *([90] * 2 if peak < 100 else [100, 100]))
        values[0, -1] = peak
        assert bands("cpu", values, last(values), window=WINDOW)[STEADY].raise_to[0, 0] <= 1.04 * share * 100 * 1.001


def test_the_daily_form_is_raised_to_what_the_next_hours_needed_yesterday() -> None:
    values = days(*([100] * 8 + [20] * 16) * 3, hours=1)
    hours = np.arange(2 * 24, 3 * 24) * HOUR_SLOTS + HOUR_SLOTS - 1
    found = bands("cpu", values, hours, window=WINDOW)
    busy, quiet, soon = 5, 18, 21
    assert [found[DAILY].raise_to[0, hour] for hour in (busy, quiet, soon)] == pytest.approx([104, 23, 104])
    assert found[STEADY].raise_to[0, quiet] == pytest.approx(104)
    # Within a day nothing is lowered: the busy hours come back.
    assert found[DAILY].lower_to[0].min() >= 90


@pytest.mark.parametrize(("level", "hours", "lowered"), [(20, 25, True), (20, 24, False), (80, 25, False)])
def test_the_daily_form_lowers_after_a_quiet_day_where_it_is_worth_it(level: float, hours: int, lowered: bool) -> None:
    values = np.concatenate([days(100, 100, 100), days(*[level] * hours, hours=1)], axis=1)
    found = bands("cpu", values, last(values), window=WINDOW)
    assert (found[DAILY].lower_to[0, 0] == pytest.approx(1.15 * level)) == lowered
    assert found[STEADY].lower_to[0, 0] > 1.15 * level


def test_without_a_yesterday_the_daily_form_is_the_steady_one() -> None:
    values = days(100, 20, hours=4)
    for window in (WINDOW, DAY_SLOTS):
        found = bands("cpu", values, last(values), window=window)
        assert found[DAILY].raise_to[0] == pytest.approx(found[STEADY].raise_to[0])


def test_the_burst_form_remembers_a_week() -> None:
    for quiet_days, held in ((6, True), (8, False)):
        values = days(1000, *([100] * quiet_days))
        values[0, : DAY_SLOTS - HOUR_SLOTS] = 100
        found = bands("cpu", values, last(values), window=WINDOW)
        assert (found[BURST].raise_to[0, 0] == pytest.approx(700)) == held
        assert found[BURST].lower_to[0, 0] >= found[BURST].raise_to[0, 0] / 1.1 - 1e-6


@pytest.mark.parametrize("resource", ["cpu", "memory"])
def test_a_form_asks_for_nothing_it_has_not_seen(resource: ResourceName) -> None:
    values = np.random.default_rng(5).gamma(2, 50, (3, 4 * DAY_SLOTS)).astype(np.float32)
    ends = np.arange(DAY_SLOTS, 3 * DAY_SLOTS, HOUR_SLOTS)
    whole, cut = (bands(resource, part, ends, window=WINDOW) for part in (values, values[:, : 3 * DAY_SLOTS]))
    for name, band in whole.items():
        np.testing.assert_allclose(band.raise_to, cut[name].raise_to)
        np.testing.assert_allclose(band.lower_to, cut[name].lower_to)


@pytest.mark.parametrize(("resource", "budget", "plain"), [("cpu", CPU_BUDGET, CPU), ("memory", MEMORY_BUDGET, MEMORY)])
def test_the_default_budget(resource: ResourceName, budget: float, plain: object) -> None:
    found = conduct_of(resource, None, fast=True)
    assert found == conduct_of(resource, budget, fast=True)
    assert (found.set_point, found.start, found.most_credit) == (budget, 0, 0)
    assert replace(found, set_point=0.0, gain=0.0) == plain


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("resource", ["cpu", "memory"])
def test_a_looser_budget_never_asks_for_more(resource: ResourceName, fast: bool) -> None:
    budgets = np.geomspace(0.0005, 0.1, 60).tolist()
    found = [conduct_of(resource, budget, fast=fast) for budget in budgets]
    assert (np.diff([one.set_point for one in found]) > 0).all()
    assert (np.diff([one.start for one in found]) <= 0).all()
    assert (np.diff([one.most_credit for one in found]) >= 0).all()
    assert (np.diff([one.fast_margin for one in found]) <= 0).all()
    assert all(one.credit <= one.most_credit for one in found)


@pytest.mark.parametrize(
    ("budget", "set_point", "start"), [row[:3] for row in MEMORY_DIAL] + [(0.0075, 0.0095, -0.065), (0.06, 0.075, -0.12)]
)
def test_the_dial_of_memory(budget: float, set_point: float, start: float) -> None:
    found = conduct_of("memory", budget, fast=True)
    assert (found.set_point, found.start) == pytest.approx((set_point, start))


def test_rollout_raises_nothing_at_once() -> None:
    for resource in ("cpu", "memory"):
        found = conduct_of(resource, None, fast=False)
        assert [found.above, found.far_above, found.far_above_young] == [math.inf] * 3


def tally(number: int = 3, *, length: float = 10, requested: tuple[float, ...] = (100, 100, 100), above: float = 0.0) -> Tally:
    slots = np.full((number, 1), float(length * DAY_SLOTS))
    counted = choice.empty((number, 1))
    changed = {"requested": np.array([requested]).T * slots, "slots": slots, "used": slots * 80, "known": slots * 1, "above": slots * above}
    return replace(counted, **changed)


def test_what_counts_as_a_point() -> None:
    counted = tally(requested=(100, 80, 125))
    counted.above[1] = counted.known[1] * 0.001
    counted.unmet[1] = counted.used[1] * 0.001
    counted.changes[1] = 5  # in 10 days
    found = choice.costs(counted, np.array([80.0]))
    figures = [getattr(found, item.name)[1, 0] for item in fields(choice.Costs)]
    assert figures == pytest.approx([-20, 3, 0.8, 4])  # slack 0 instead of 20 %
    assert found.slack[2, 0] == pytest.approx(16)
    assert found.total[0, 0] == 0


@pytest.mark.parametrize(
    ("length", "requested", "current", "expected"),
    [
        (10, (100, 90, 100), 0, 1),
        (1.9, (100, 50, 100), 0, 0),  # too little was replayed
        (10, (100, 99, 100), 0, 0),  # not worth the point that speaks for the first
        (10, (100, 90, 90.2), 2, 2),  # not better by half a point than the one in force
        (10, (100, 90, 95), 2, 1),
        (10, (100, 110, 110), 1, 0),
    ],
)
def test_the_choice(length: float, requested: tuple[float, ...], current: int, expected: int) -> None:
    points = choice.scores(tally(length=length, requested=requested), np.array([80.0]))
    assert choice.chosen(np.array([current]), points).tolist() == [expected]


def test_nothing_counted_costs_nothing() -> None:
    points = choice.scores(choice.empty((3, 2)), np.array([np.nan, 1.0]))
    assert choice.chosen(np.zeros(2, dtype=np.int64), points).tolist() == [0, 0]


def test_two_weeks_halve_what_was_counted() -> None:
    counted = tally(length=8)
    for _ in range(14 * 24):
        choice.fade(counted)
    assert counted.days[0, 0] == pytest.approx(4)


@pytest.mark.parametrize(
    ("length", "current", "words"),
    [
        (1, 0, "steady: 1.0 days were replayed, others are chosen from 2 days on"),
        (10, 1, "daily: 8.9 points cheaper than steady over 10.0 days of replay (slack -8.9, above +0.0, unmet +0.0, changes +0.0)"),
        (10, 0, "steady: no other form was cheaper by enough over 10.0 days of replay; runner-up daily (-7.1 points)"),
    ],
)
def test_the_choice_is_explained(length: float, current: int, words: str) -> None:
    (text,) = choice.told((STEADY, DAILY, BURST), np.array([current]), tally(length=length, requested=(100, 90, 120)), np.array([80.0]))
    assert text.startswith(words)
    if current == 1:
        assert text.endswith("runner-up steady (+7.1 points)")


def test_one_form_is_no_choice() -> None:
    (text,) = choice.told((STEADY,), np.array([0]), choice.empty((1, 1)), np.array([80.0]))
    assert text == "steady: the only form of this resource under this strategy"
