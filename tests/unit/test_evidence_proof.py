"""What the replay of a container's own past says of its rule, in the figures that gate a change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rightsizer.evidence.proof import Basis, Evidence, prove
from rightsizer.history import SLOT_SECONDS, Span, UsageWindow
from rightsizer.methods.levels import DAY_SLOTS
from rightsizer.methods.pace import pace_of
from rightsizer.profile import DAY_SECONDS, DEFAULT_RULE, LimitPolicy, LimitRule, Profile
from rightsizer.quantities import MEBIBYTE
from rightsizer.workload import RESOURCES, ContainerKey, Sizes
from tests.unit.builders import NOW, REF

SLOTS = 14 * DAY_SLOTS
PROFILE = Profile("shop", "web")
ROLLOUT = Basis(DEFAULT_RULE, guaranteed=False, window_seconds=14 * DAY_SECONDS, pace=pace_of(PROFILE, strategy="Rollout"))


def flat(level: float, *, slots: int = SLOTS) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    values = np.full(SLOTS, np.nan, dtype=np.float32)
    values[SLOTS - slots :] = level
    return values


def proved(cpu: object, memory: object | None = None, *, basis: Basis = ROLLOUT) -> Evidence | None:
    slots = basis.window_seconds // SLOT_SECONDS
    cpus = np.array([cpu], dtype=np.float32)[:, -slots:]
    memories = np.array([flat(320 * MEBIBYTE) if memory is None else memory], dtype=np.float32)[:, -slots:]
    end = int(NOW) // SLOT_SECONDS * SLOT_SECONDS
    span = Span(end - (slots - 1) * SLOT_SECONDS, end)
    (found,) = prove(UsageWindow((ContainerKey(REF, "app"),), span, cpus, memories, np.ones(cpus.shape, dtype=np.uint16)), basis)
    return found


def known(*args: object, basis: Basis = ROLLOUT) -> Evidence:
    found = proved(*args, basis=basis)
    assert found is not None
    return found


def test_usage_that_stays_is_never_above() -> None:
    found = known(flat(180))
    assert (found.days, found.changes) == (7, 0)
    assert (found.cpu.judged_slots, found.cpu.above, found.cpu.oom_events) == (7 * DAY_SLOTS, 0.0, 0)
    assert found.cpu.request == pytest.approx(216)
    assert found.memory.request == pytest.approx(384 * MEBIBYTE)
    assert found.cpu.held == pytest.approx(180)
    assert found.memory.held == pytest.approx(320 * MEBIBYTE)


def test_slots_above_the_request_are_counted_and_gaps_are_not() -> None:
    cpu = flat(100)
    cpu[-288:-278] = 500  # above the limit, too, which kills nobody
    cpu[-100:-50] = np.nan
    found = known(cpu)
    assert found.cpu.judged_slots == 7 * DAY_SLOTS - 50
    assert found.cpu.above == pytest.approx(10 / found.cpu.judged_slots)
    assert found.cpu.oom_events == 0


def test_what_happened_before_the_judged_days_does_not_count() -> None:
    cpu = flat(100)
    cpu[3 * DAY_SLOTS : 3 * DAY_SLOTS + 20] = 900
    assert known(cpu).cpu.above == 0


def test_memory_above_its_limit_is_an_oom_kill() -> None:
    memory = flat(100 * MEBIBYTE)
    memory[-500:-498] = 900 * MEBIBYTE
    found = known(flat(100), memory)
    assert found.memory.oom_events == 1
    assert found.changes == pytest.approx(1 / 7, abs=0.2)


@pytest.mark.parametrize(("days", "judged"), [(0.5, None), (1.0, None), (3, 2), (9, 8), (10, 3), (14, 7)])
def test_a_short_history_is_judged_from_its_second_day_on(days: float, judged: float | None) -> None:
    found = proved(flat(100, slots=int(days * DAY_SLOTS)), flat(MEBIBYTE, slots=int(days * DAY_SLOTS)))
    assert (None if found is None else found.days) == judged


def test_who_lowers_sooner_is_judged_sooner() -> None:
    quick = replace(PROFILE, raise_after_seconds=3_600, lower_after_seconds=3_600)
    found = known(flat(100, slots=36), basis=replace(ROLLOUT, pace=pace_of(quick, strategy="Rollout")))
    assert found.cpu.judged_slots == 24


def test_days_are_those_that_were_judged() -> None:
    cpu, memory = flat(100), flat(100 * MEBIBYTE)
    for values in (cpu, memory):
        values[7 * DAY_SLOTS : 10 * DAY_SLOTS] = np.nan
        values[11 * DAY_SLOTS] *= 9
    found = known(cpu, memory)
    assert found.days == pytest.approx(4, abs=0.1)
    assert found.days == found.cpu.judged_slots / DAY_SLOTS
    # Memory was near its limit, killed, raised for it: how often does not matter here, but by which days it is divided.
    assert found.changes * found.days == pytest.approx(round(found.changes * found.days))
    assert found.changes > 0


def test_a_few_judged_slots_prove_nothing() -> None:
    cpu = flat(100)
    cpu[7 * DAY_SLOTS : -36] = np.nan
    found = known(cpu, flat(np.nan))
    assert (found.cpu.judged_slots, found.days, found.least_days) == (36, 36 / DAY_SLOTS, 1)
    assert (found.proves("cpu"), found.proves("memory"), found.proves_anything) == (False, False, False)
    assert (known(cpu).proves("cpu"), known(cpu).proves("memory")) == (False, True)


@pytest.mark.parametrize(
    ("window", "raising", "lowering", "judged"),
    [(1, 1, 1, 0.5), (1, 1 / 24, 1 / 24, 23 / 24), (2, 1, 2, 1), (7, 7, 7, 3.5), (14, 14, 14, 7), (14, 1, 14, 7), (10, 1, 10, 5)],
)
def test_half_of_the_window_is_judged_at_least(window: int, raising: float, lowering: float, judged: float) -> None:
    waiting = Profile("shop", "web", raise_after_seconds=int(raising * DAY_SECONDS), lower_after_seconds=int(lowering * DAY_SECONDS))
    basis = replace(ROLLOUT, window_seconds=window * DAY_SECONDS, pace=pace_of(waiting, strategy="Rollout"))
    found = known(flat(100), basis=basis)
    assert found.days == pytest.approx(judged, abs=1 / 24)
    assert found.proves("cpu")
    assert found.proves("memory")
    assert found.least_days == min(1, window / 4)


def test_nothing_seen_proves_nothing() -> None:
    assert proved(flat(np.nan), flat(np.nan)) is None


def test_a_level_that_fell_is_held_for_54_hours() -> None:
    cpu = flat(400)
    cpu[-36 * 12 :] = 100
    held = known(cpu).cpu.held
    assert held == pytest.approx(400, rel=0.01)
    assert known(cpu, basis=replace(ROLLOUT, pace=pace_of(PROFILE, strategy="InPlace"))).cpu.held is None


def test_the_limit_of_a_guaranteed_pod_is_its_request() -> None:
    memory = flat(100 * MEBIBYTE)
    memory[-400] = 170 * MEBIBYTE
    guaranteed = replace(ROLLOUT, guaranteed=True)
    assert known(flat(100), memory).memory.oom_events == 0
    assert known(flat(100), memory, basis=guaranteed).memory.oom_events == 1
    # What was needed once is kept while it is in the window.
    memory[-4000] = 170 * MEBIBYTE
    assert known(flat(100), memory, basis=guaranteed).memory.oom_events == 0


def with_policy(policy: LimitPolicy, *, limit: int | None = None, **fields: Any) -> Basis:
    """Policy of both limits; `limit`: that of memory today."""
    limits = {resource: replace(DEFAULT_RULE.resource(resource), limit=LimitRule(policy=policy)) for resource in RESOURCES}
    rule = replace(DEFAULT_RULE, cpu=limits["cpu"], memory=limits["memory"])
    return replace(ROLLOUT, rule=rule, kept=Sizes(cpu_limit=150, memory_limit=limit), **fields)


class TestLimitPolicies:
    def peaks(self) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        memory = flat(100 * MEBIBYTE)
        for start in (-500, -200):
            memory[start : start + 2] = 450 * MEBIBYTE
        return memory

    @pytest.mark.parametrize(("limit", "kills"), [(400, 2), (500, 0), (None, 0)])
    def test_a_limit_that_is_kept_kills(self, limit: int | None, kills: int) -> None:
        basis = with_policy(LimitPolicy.KEEP, limit=None if limit is None else limit * MEBIBYTE)
        assert known(flat(100), self.peaks(), basis=basis).memory.oom_events == kills

    def test_without_a_limit_nothing_is_killed(self) -> None:
        assert known(flat(100), self.peaks(), basis=with_policy(LimitPolicy.NONE)).memory.oom_events == 0

    def test_a_request_is_at_most_the_limit_that_is_kept(self) -> None:
        found = known(flat(400), flat(500 * MEBIBYTE), basis=with_policy(LimitPolicy.KEEP, limit=400 * MEBIBYTE))
        assert (found.cpu.request, found.memory.request) == (150, 400 * MEBIBYTE)
        assert found.cpu.above == found.memory.above == 1

    def test_in_a_guaranteed_pod_it_is_that_limit(self) -> None:
        basis = with_policy(LimitPolicy.KEEP, limit=400 * MEBIBYTE, guaranteed=True)
        assert known(flat(20), flat(50 * MEBIBYTE), basis=basis).memory.request == 400 * MEBIBYTE

    def test_near_a_limit_that_stays_nothing_is_raised(self) -> None:
        memory = flat(300 * MEBIBYTE)
        memory[-400:-398] = 380 * MEBIBYTE
        found = known(flat(100), memory, basis=with_policy(LimitPolicy.KEEP, limit=400 * MEBIBYTE))
        assert found.memory.request == pytest.approx(360 * MEBIBYTE)
        assert found.changes == 0


def test_days_without_any_value_are_not_told_as_judged() -> None:
    cpu, memory = flat(100), flat(320 * MEBIBYTE)
    for values in (cpu, memory):
        values[8 * DAY_SLOTS : 11 * DAY_SLOTS] = np.nan
    assert known(cpu, memory).days == 4
    memory[8 * DAY_SLOTS : 10 * DAY_SLOTS] = MEBIBYTE
    assert known(cpu, memory).days == 6
