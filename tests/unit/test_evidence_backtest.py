from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rightsizer.evidence import backtest as module
from rightsizer.evidence.backtest import Decision, Series, backtest, merged
from rightsizer.evidence.rules import Plan, learned, measured, rule_of
from rightsizer.methods.pace import Pace
from rightsizer.profile import DEFAULT_RULE, RiskBudget

about: Any = pytest.approx

DAY = 288
MI = 2**20
PACE = Pace(86_400, 86_400, minimum_change=0.1, raise_change=0.2, lower_every_seconds=86_400, fast=True)
PLAN = rule_of("p95+20", window_seconds=14 * 86_400)


def one(name: str, days: float = 3, *, level: float = 100.0, seed: int | None = None, memory: bool = True) -> Series:
    slots = round(days * DAY)
    random = np.random.default_rng(seed)
    cpu = np.full(slots, level) if seed is None else random.gamma(2.0, level / 2, slots)
    used = cpu * MI if memory else np.full(slots, np.nan)
    return Series(name, 1000, cpu.astype(np.float32), used.astype(np.float32))


def decided(series: list[Series], plan: Plan = PLAN) -> dict[str, list[Decision]]:
    found: dict[str, list[Decision]] = {}
    backtest(series, plan, PACE, take=lambda one, decisions: found.update({one.name: list(decisions)}))
    return found


def test_a_decision_is_in_force_a_second_after_the_slot_that_it_has_seen() -> None:
    series = one("a")
    series.cpu[600:] = 500
    first, raised = decided([series])["a"][:2]
    assert first == Decision(
        (1000 + 287) * 300 + 1,
        about(120),
        about(240),
        about(120 * MI),
        about(180 * MI),
        "cpu:First memory:First",
    )
    assert (raised.unix_ts, raised.cpu_request, raised.reason) == ((1000 + 601) * 300 + 1, about(600), "cpu:AboveRequest")
    assert raised.memory_request == first.memory_request


def test_a_resource_without_values_has_no_sizes_and_no_figures() -> None:
    series = one("a", memory=False)
    assert np.isnan(decided([series])["a"][0].memory_request)
    verdict = backtest([series, one("b")], PLAN, PACE)
    assert np.isnan(verdict.memory.above[verdict.names.index("a")])
    assert verdict.memory.above[verdict.names.index("b")] == 0
    assert verdict.scores("cpu").slack.tolist() == about([1 - 1 / 1.2] * 2)


def test_too_short_a_series_is_never_decided() -> None:
    assert decided([one("a", 0.5)])["a"] == []


@pytest.mark.parametrize("cells", [1, 1000, 10_000_000])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    series = [one(name, days, seed=seed) for seed, (name, days) in enumerate([("a", 5), ("b", 2), ("c", 12), ("d", 1.4), ("e", 3)])]
    plan = measured(DEFAULT_RULE, window_seconds=4 * 86_400)
    together = decided(series, plan)
    monkeypatch.setattr(module, "CELLS_AT_ONCE", cells)
    assert decided(series, plan) == together
    verdict = backtest(series, plan, PACE)
    assert sorted(verdict.names) == ["a", "b", "c", "d", "e"]
    assert len(verdict.cpu.slack) == 5


@pytest.mark.parametrize("days", [1.1, 2.37, 4.9])
def test_cutting_a_series_short_leaves_the_decisions_before_the_cut(days: float) -> None:
    whole = one("a", 5, seed=8)
    slots = round(days * DAY)
    cut = Series("a", whole.first_slot, whole.cpu[:slots], whole.memory[:slots])
    until = (whole.first_slot + slots - 1) * 300 + 1
    plan = measured(DEFAULT_RULE, window_seconds=4 * 86_400)
    # Beside other series than before, too.
    expected = [decision for decision in decided([whole], plan)["a"] if decision.unix_ts <= until]
    assert decided([one("b", 9, seed=1), cut], plan)["a"] == expected
    assert expected


def test_progress_and_the_begin_of_judging() -> None:
    told: list[int] = []
    series = [one("a"), one("b", 4)]
    verdict = backtest(series, PLAN, PACE, starts=lambda lengths: lengths - 10, report=told.append)
    assert told == [2]
    assert verdict.cpu.days.tolist() == about([10 / DAY] * 2)


def test_throttled_slots_are_flagged_where_they_are_known() -> None:
    unknown = one("a")
    share = np.full(unknown.slots, np.nan, dtype=np.float32)
    share[DAY : 2 * DAY] = 0.5
    known = Series("b", unknown.first_slot, unknown.cpu, unknown.memory, share)
    verdict = backtest([known], PLAN, PACE)
    assert verdict.cpu.censored.tolist() == [0.5]
    assert np.isnan(verdict.memory.censored).all()
    assert np.isnan(backtest([unknown], PLAN, PACE).cpu.censored).all()


def test_verdicts_on_several_sets_are_one() -> None:
    plain = backtest([one("a"), one("b")], PLAN, PACE)
    choosing = backtest([one("c")], learned(DEFAULT_RULE, RiskBudget(), window_seconds=86_400), PACE)
    verdict = merged([plain, choosing])
    assert (verdict.plan, verdict.names) == ("Learned / p95+20", ("a", "b", "c"))
    assert verdict.cpu.slack.tolist() == [*plain.cpu.slack, *choosing.cpu.slack]
    assert verdict.explanations["cpu"] == ("", "", *choosing.explanations["cpu"])
    assert (merged([plain, plain]).plan, merged([plain]).explanations) == ("p95+20", {})
