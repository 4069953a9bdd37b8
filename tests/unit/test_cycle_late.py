"""Samples that come late, clocks that do not agree, and a server too slow for all: nothing is lost, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from rightsizer.cycle import Measuring
from rightsizer.cycle.measuring import ReadingLimits
from rightsizer.cycle.wanted import LATE_SECONDS, LATEST_SECONDS
from rightsizer.errors import UsageSourceTimeout
from rightsizer.history import SLOT_SECONDS, Span, UsageBatch, UsageKind
from rightsizer.ports import Load
from rightsizer.workload import ContainerKey, OwnerRef, WorkloadRef
from tests.fakes import FakeUsageSource
from tests.unit.builders import DAY, MI
from tests.unit.world import World

APP = ContainerKey(WorkloadRef("shop", "Deployment", "web"), "app")


class LateSource(FakeUsageSource):
    """Has the samples of a slot only some time after its end. `lag_seconds`: by pod (default: of all)."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self.now = now
        self.lag_seconds: dict[str, float] = {"": 0.0}

    def usage(
        self, resource: UsageKind, *, namespaces: Sequence[str], span: Span, scrape_interval_seconds: int, recorded: bool = False
    ) -> UsageBatch:
        interval = scrape_interval_seconds
        batch = super().usage(resource, namespaces=namespaces, span=span, scrape_interval_seconds=interval, recorded=recorded)
        slots = np.arange(span.start, span.end + 1, SLOT_SECONDS)
        for series, row in zip(batch.series, batch.values, strict=True):
            row[slots > self.now() - self.lag_seconds.get(series.pod, self.lag_seconds[""])] = np.nan
        there = np.atleast_1d(~np.isnan(batch.values).all(axis=1))
        names = tuple(series for series, keep in zip(batch.series, there, strict=True) if keep)
        return replace(batch, series=names, values=batch.values[there])


class LateWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.late = LateSource(self.clock.now)
        self.source = self.late
        self.restart()
        self.add_deployment()
        self.apply_profile(mode="Recommend")

    def run_slots(self, count: int) -> None:
        for _ in range(count):
            self.next_slot()
            self.run_cycle()

    def known(self, *, slots: int) -> list[bool]:
        """Of which of the last slots a value is known, newest first."""
        window = self.measuring.history.window([APP], end=int(self.clock.time) // 300 * 300, seconds=slots * SLOT_SECONDS)
        known = np.isfinite(window.cpu[0]) & np.isfinite(window.memory[0])
        return list(known[::-1].tolist())


@pytest.mark.parametrize("lag_slots", [0, 1, 2, 3, 4, 8, 11])
def test_samples_that_come_late_are_not_lost(lag_slots: int) -> None:
    """As from a remote write that is behind, or a server whose clock is behind ours by as much."""
    world = LateWorld()
    world.late.lag_seconds[""] = lag_slots * SLOT_SECONDS
    world.run_cycle()
    world.run_slots(24)
    known = world.known(slots=40)
    assert (known[:lag_slots], known[lag_slots:]) == ([False] * lag_slots, [True] * (40 - lag_slots))


@pytest.mark.parametrize("lag_slots", [1, 2, 4])
def test_usage_that_is_always_late_is_as_new_as_it_can_be_in_each_cycle(lag_slots: int) -> None:
    """Also between full refreshes: it must not be taken for stale every ten minutes."""
    world = LateWorld()
    world.late.lag_seconds[""] = lag_slots * SLOT_SECONDS
    world.run_cycle()
    for _ in range(8):
        world.run_slots(1)
        assert world.known(slots=lag_slots + 1) == [False] * lag_slots + [True]
        assert (world.told()[1] == "StaleMetrics") == (lag_slots > 3)


def test_a_kill_that_shows_late_is_known_in_the_next_slot() -> None:
    """Also between full refreshes: what is killed has to be raised soon."""
    world = LateWorld()
    world.run_cycle()
    for limit in (1_000 * MI, 2_000 * MI, 3_000 * MI, 4_000 * MI):
        # In a slot that was read before.
        world.kill_for_memory(limit=limit)
        world.run_slots(1)
        assert world.measuring.oom_floors()[APP] > limit


def test_the_first_reading_may_come_before_the_samples() -> None:
    """Also where the process ends in between: what was read too early is read again."""
    world = LateWorld()
    world.late.lag_seconds[""] = 600
    world.run_cycle()
    world.late.lag_seconds[""] = 0
    world.run_slots(1)
    assert all(world.known(slots=40))


def test_what_is_held_up_for_an_hour_is_read_when_it_comes() -> None:
    world = LateWorld()
    world.run_cycle()
    world.late.lag_seconds[""] = DAY
    world.run_slots(LATEST_SECONDS // SLOT_SECONDS - 1)
    assert not any(world.known(slots=11))
    world.late.lag_seconds[""] = 0
    world.run_slots(1)
    assert all(world.known(slots=40))


def test_one_pod_whose_samples_come_later_than_those_of_the_others_counts_as_well() -> None:
    world = LateWorld()
    world.use("web-5d9c7b-ccccc", owner=OwnerRef("ReplicaSet", "web-5d9c7b"), cpu=900, memory=900 * MI)
    world.late.lag_seconds["web-5d9c7b-ccccc"] = LATE_SECONDS - 60
    world.run_cycle()
    end = int(world.clock.time) // 300 * 300
    for count in range(1, 25):
        world.run_slots(1)
        window = world.measuring.history.window([APP], end=end + count * SLOT_SECONDS, seconds=24 * SLOT_SECONDS)
        # Two slots are too young, or three where the newest has just ended, and one more waits for the next full refresh.
        newest = 3 + count % 2
        assert window.cpu[0].tolist() == [900] * (24 - newest) + [180] * newest
        assert window.memory[0].tolist() == [900 * MI] * (24 - newest) + [320 * MI] * newest
        assert window.pods[0].tolist() == [3] * (24 - newest) + [2] * newest


def test_a_clock_that_is_ahead_shows_old_samples_as_old() -> None:
    """The operator believes that it is 20 minutes later: what it has is too old to act on, and nothing of it is taken for newer."""
    world = LateWorld()
    world.late.lag_seconds[""] = 1_200
    world.run_cycle()
    world.run_slots(3)
    assert world.told() == ("Stale", "StaleMetrics")
    newest = world.measuring.history.newest(APP)
    assert newest == (int(world.clock.time) - 1_200) // 300 * 300


def test_a_clock_that_is_behind_reads_what_it_takes_for_new_and_later_the_rest() -> None:
    world = LateWorld()
    world.pass_time(-600)
    world.run_cycle()
    assert world.measuring.history.newest(APP) == int(world.clock.time) // 300 * 300
    world.pass_time(600)
    world.run_cycle()
    assert all(world.known(slots=40))


def test_a_clock_that_is_put_back_asks_for_nothing_and_goes_on_afterwards() -> None:
    world = LateWorld()
    world.run_cycle()
    world.pass_time(-1_200)
    before = world.source.made("usage")
    world.run_cycle()
    assert world.source.made("usage") == before + 2, "the oldest slot of the window, which is older now"
    world.pass_time(1_500)
    world.run_cycle()
    assert all(world.known(slots=40))


def test_each_slot_is_asked_for_until_it_is_old_enough_and_no_more() -> None:
    world = LateWorld()
    world.run_cycle()
    world.source.calls.clear()
    first = int(world.clock.time) // 300 * 300 + 7 * SLOT_SECONDS
    ages: dict[str, dict[int, list[int]]] = {"cpu": {}, "memory": {}}
    for _ in range(24):
        before = len(world.source.calls)
        world.run_slots(1)
        for resource, bounds in (call.about.split(" ") for call in world.source.calls[before:] if call.name == "usage"):
            start, end = map(int, bounds.split(".."))
            for slot in range(max(start, first), end + 1, SLOT_SECONDS):
                ages[resource].setdefault(slot, []).append(end - slot)
    # Slots that end with a full refresh, and those in between.
    assert [ages["cpu"][slot] for slot in (first, first + 300)] == [[0, 300, 900], [0, 600, 1_200]]
    assert ages["memory"] == ages["cpu"]
    assert all(max(ages["cpu"][slot]) >= LATE_SECONDS for slot in range(first, first + 12 * SLOT_SECONDS, SLOT_SECONDS))


class TestTooSlowForAll:
    """Each namespace is scraped at another interval, so that there is a question for each, and each takes 29 seconds."""

    NAMES = tuple(f"n{number:02}" for number in range(20))

    @pytest.fixture
    def world(self) -> World:
        world = World()
        for number, name in enumerate(self.NAMES):
            world.add_deployment(namespace=name, days=1)
            world.apply_profile(namespace=name, mode="Recommend", window="1h", minimumHistory={"raise": "1h", "lower": "1h"})
            world.add_deployment(f"only-{number}", namespace=name, days=0)
        loads = {name: Load(2, 31 + number) for number, name in enumerate(self.NAMES)}
        world.source.loads = lambda namespaces, *, at: {name: loads[name] for name in namespaces}  # type: ignore[method-assign]
        original = world.source.oom_kills

        def slowly(*, namespaces: Sequence[str], span: Span) -> object:
            world.pass_time(29)
            return original(namespaces=namespaces, span=span)

        setattr(world.source, "oom_kills", slowly)  # noqa: B010
        limits = ReadingLimits(at_once=1, newest_seconds=120, portion_seconds=30)
        world.measuring = Measuring(world.source, world.cluster, limits=limits, clock=world.clock.now)
        world.cycle = type(world.cycle)(world.cluster, world.measuring, world.clock)
        return world

    def test_a_cycle_ends_in_time_and_the_next_goes_on(self, world: World) -> None:
        begin = world.clock.time
        report = world.run_cycle()
        assert (report.unread, report.troubled_namespaces) == (True, 0)
        assert 120 <= world.clock.time - begin <= 200
        first = set(world.measuring.history)
        assert 0 < len(first) < len(self.NAMES)
        world.run_cycle()
        assert len(set(world.measuring.history)) > len(first)

    def test_nobody_is_forgotten_for_ever(self, world: World) -> None:
        """All take longer than a slot: those that are the furthest behind have their turn first."""
        for _ in range(15):
            world.run_cycle()
        end = int(world.clock.time) // 300 * 300
        behind = [end - (world.measuring.history.newest(key) or 0) for key in world.measuring.history]
        assert (len(behind), max(behind) <= 900) == (len(self.NAMES), True)

    def test_those_that_never_answer_do_not_keep_the_others_waiting(self, world: World) -> None:
        for name in self.NAMES[:6]:
            world.source.fail(UsageSourceTimeout("slow"), call="usage", namespace=name)
        for _ in range(12):
            world.run_cycle()
        known = {key.workload.namespace for key in world.measuring.history}
        assert known == set(self.NAMES[6:])
