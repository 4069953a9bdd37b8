"""How the history arrives and stays: in portions, across restarts, and again for what came back."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from rightsizer.cycle import Measuring
from rightsizer.cycle.loads import MOST_FAILURES_IN_A_ROW, UNKNOWN_LOAD, Loads
from rightsizer.cycle.measuring import ReadingLimits
from rightsizer.errors import UsageSourceError, UsageSourceOverloaded, UsageSourceTimeout, UsageSourceUnreachable
from rightsizer.ports import Load
from rightsizer.workload import ContainerKey, WorkloadRef
from tests.fakes import FakeUsageSource
from tests.unit.builders import DAY, MI, NOW, WIDE, WORKED
from tests.unit.world import World

WEB = WorkloadRef("shop", "Deployment", "web")
APP = ContainerKey(WEB, "app")


class SlowWorld(World):
    """Every question takes a second, and a refresh reads the past for one.

    14 days at noon are four questions: today, yesterday, the rest of a week, and the week before it.
    """

    def __init__(self, *, portion_seconds: float = 1.0) -> None:
        self.seconds = 0.0
        self.stop_after: int | None = None
        self.portion_seconds = portion_seconds
        super().__init__()

    def restart(self) -> None:
        super().restart()
        self.measuring = Measuring(
            self.source,
            self.cluster,
            new_history=self.new_history,
            limits=ReadingLimits(at_once=1, portion_seconds=self.portion_seconds),
            progress=self._a_second_passes,
            clock=lambda: self.seconds,
            stopping=lambda: self.stop_after is not None and len(self.progress) >= self.stop_after,
        )
        self.cycle = type(self.cycle)(self.cluster, self.measuring, self.clock, writes_at_once=1)

    def _a_second_passes(self, share: float) -> None:
        self.seconds += 1
        self.progress.append(share)


@pytest.fixture
def world() -> SlowWorld:
    world = SlowWorld()
    world.add_deployment()
    world.apply_profile()
    return world


@pytest.fixture
def kept(tmp_path: Path) -> World:
    world = World()
    world.history_folder = tmp_path / "history"
    world.restart()
    world.add_deployment()
    world.apply_profile(mode="Recommend")
    return world


class TestPortions:
    def test_the_newest_and_then_as_much_as_fits_in_the_time(self, world: SlowWorld) -> None:
        report = world.run_cycle()
        assert (len(world.progress), report.unread) == (1 + 1, True)
        assert 1 / 14 < report.read < 2 / 14

    def test_all_in_the_end_with_nothing_read_twice(self, world: SlowWorld) -> None:
        reports = [world.run_cycle() for _ in range(3)]
        assert [report.unread for report in reports] == [True, True, False]
        assert (reports[-1].read, world.source.made("usage")) == (1.0, 2 * 4)

    def test_what_is_new_comes_before_what_is_old(self, world: SlowWorld) -> None:
        world.run_cycle()
        before = len(world.source.calls)
        end = int(world.clock.time) // 300 * 300
        world.next_slot()
        world.run_cycle()
        assert world.source.calls[before].about == f"cpu {end + 300}..{end + 300}"

    def test_nothing_is_lowered_before_all_is_read(self, world: SlowWorld) -> None:
        world.apply_profile(minimumHistory={"raise": "1h", "lower": "1h"})
        world.run_cycle()
        assert (world.sizes(), world.told()) == (WIDE, ("Waiting", "NotEnoughHistory"))
        for _ in range(2):
            world.run_cycle()
        assert world.sizes() == WORKED

    def test_raises_and_recommendations_do_not_wait_for_the_rest(self, world: SlowWorld) -> None:
        world.change_usage(cpu=900, memory=1500 * MI)
        world.source.usages = [usage for usage in world.source.usages if usage.since > NOW]
        world.use("web-5d9c7b-aaaaa", owner=None, cpu=900, memory=1500 * MI, days=2)
        world.run_cycle()
        assert world.recommended()["containers"][0]["recommended"]["requests"] == {"cpu": "1080m", "memory": "1800Mi"}
        assert world.sizes().memory_request == 1800 * MI

    def test_numbers_that_move_with_each_portion_are_written_first_and_last_and_seldom_between(self, world: SlowWorld) -> None:
        world.apply_profile(mode="Recommend")
        written = []
        for _ in range(3):
            world.run_cycle()
            written.append(world.cluster.made("write_recommendation"))
        assert written == [1, 1, 2]
        assert world.recommended()["containers"][0]["explanation"]["cpu"]["samples"] == 4032

    def test_a_long_way_is_told_every_five_minutes(self, world: SlowWorld) -> None:
        world.apply_profile(mode="Recommend")
        written = []
        for _ in range(4):
            world.run_cycle()
            written.append(world.cluster.made("write_recommendation"))
            world.pass_time(150)
        assert written == [1, 1, 2, 2]

    @pytest.mark.parametrize("spec", [{"mode": "Apply"}, {"cpu": {"buffer": "50%"}}, {"window": "13d"}])
    def test_what_is_more_than_numbers_does_not_wait_for_the_rest(self, world: SlowWorld, spec: dict[str, Any]) -> None:
        world.apply_profile(mode="Recommend")
        world.run_cycle()
        world.apply_profile(**{"mode": "Recommend", **spec})
        world.run_cycle()
        assert world.cluster.made("write_recommendation") == 2

    def test_how_far_it_got_is_told_in_steps(self, world: SlowWorld) -> None:
        told = []
        for _ in range(3):
            world.run_cycle()
            told.append(world.measuring_condition()["message"].rpartition("; ")[2])
        assert told == ["10 % of the window read", "50 % of the window read", "the workloads of pods come from kube-state-metrics"]

    def test_stopping_ends_it_between_questions(self, world: SlowWorld) -> None:
        world.stop_after = 2
        report = world.run_cycle()
        assert (len(world.progress), world.source.made("usage"), report.unread) == (2, 4, True)

    def test_trouble_with_the_past_is_told_until_something_is_read_without(self, world: SlowWorld) -> None:
        world.run_cycle()
        world.source.fail(UsageSourceUnreachable("connection refused"), times=1, call="usage")
        world.run_cycle()
        assert world.measuring_condition()["reason"] == "UsageSourceUnreachable"
        world.run_cycle()
        assert world.measuring_condition()["status"] == "True"


class TestRestart:
    def test_goes_on_where_it_was(self, kept: World) -> None:
        kept.run_cycle()
        before = kept.recommended()
        kept.measuring.close()
        kept.restart()
        kept.source.calls.clear()
        kept.next_slot()
        report = kept.run_cycle()
        # The newest usage, and of the rest only the OOM kills.
        assert kept.source.made("usage") == 2
        assert (report.read, kept.recommended()["containers"]) == (1.0, before["containers"])

    def test_within_a_slot_the_newest_is_heard_again(self, kept: World) -> None:
        kept.run_cycle()
        kept.measuring.close()
        kept.restart()
        kept.source.calls.clear()
        kept.run_cycle()
        assert kept.source.made("usage") == 2
        assert kept.measuring_condition()["message"].endswith("come from kube-state-metrics")

    def test_does_not_forget_oom_kills(self, kept: World) -> None:
        kept.kill_for_memory(limit=400 * MI)
        kept.pass_time(2 * DAY)
        kept.run_cycle()
        assert kept.measuring.oom_floors() == {APP: 500 * MI}
        kept.measuring.close()
        kept.restart()
        kept.run_cycle()
        assert kept.measuring.oom_floors() == {APP: 500 * MI}

    def test_nothing_is_lowered_before_the_oom_kills_are_known(self, kept: World) -> None:
        kept.run_cycle()
        kept.measuring.close()
        kept.limits = ReadingLimits(at_once=1, portion_seconds=0)
        kept.restart()
        kept.apply_profile(mode="Apply")
        report = kept.run_cycle()
        assert (kept.sizes(), kept.told()) == (WIDE, ("Waiting", "NotEnoughHistory"))
        assert (report.read < 1, report.unread) == (True, True)

    def test_a_longer_window_takes_the_folder_over(self, kept: World) -> None:
        kept.apply_profile(mode="Recommend", window="2d", minimumHistory={"raise": "1h", "lower": "1h"})
        kept.run_cycle()
        kept.apply_profile(mode="Recommend", window="7d", minimumHistory={"raise": "1h", "lower": "1h"})
        assert kept.run_cycle().read == 1.0
        assert (kept.measuring.history.trouble, kept.measuring.history.slots) == (None, 7 * 288)

    def test_a_folder_that_cannot_be_used_is_told_and_does_not_matter(self, tmp_path: Path) -> None:
        world = World()
        world.history_folder = tmp_path / "file"
        world.history_folder.write_text("")
        world.add_deployment()
        world.apply_profile()
        world.run_cycle()
        assert world.sizes() == WORKED
        condition = world.measuring_condition()
        assert condition["status"] == "True"
        assert "; the history is in memory only: " in condition["message"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_cannot_be_written_any_more_is_told_and_does_not_matter(
    kept: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    kept.apply_profile(mode="Recommend", window="2d", minimumHistory={"raise": "1h", "lower": "1h"})
    kept.run_cycle()
    before = kept.recommended()["containers"]

    def refuse(file: int, offset: int, length: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    for name in range(80):
        kept.add_deployment(f"more-{name}")
    kept.next_slot()
    kept.run_cycle()
    message = f"the history goes on in memory: [Errno {number}] {os.strerror(number)}"
    assert message in caplog.messages
    condition = kept.measuring_condition()
    assert (condition["status"], condition["message"].rpartition("; ")[2]) == ("True", message)
    after = kept.recommended()["containers"]
    assert [one["recommended"] for one in after] == [one["recommended"] for one in before]
    assert kept.told() == ("Recommended", "RecommendOnly")


def test_a_container_that_came_back_is_read_again() -> None:
    world = World()
    world.add_deployment()
    world.add_deployment("zoo")
    world.apply_profile(mode="Recommend")
    world.run_cycle()
    zoo = world.cluster.stored_workloads[WorkloadRef("shop", "Deployment", "zoo")]
    world.cluster.delete_workload(zoo.ref)
    world.next_slot()
    world.run_cycle()
    assert set(world.measuring.history) == {APP}
    world.cluster.add_workload(zoo)
    for _ in range(2):
        world.next_slot()
        world.run_cycle()
    came_back, stayed = world.recommended("zoo")["containers"][0], world.recommended()["containers"][0]
    assert came_back["recommended"] == stayed["recommended"]
    assert came_back["explanation"]["cpu"]["samples"] == stayed["explanation"]["cpu"]["samples"]
    before = world.source.made("usage")
    world.next_slot()
    world.run_cycle()
    assert world.source.made("usage") == before + 2


class TestLoads:
    def loads(self, source: FakeUsageSource, *namespaces: str, now: float = NOW) -> tuple[Loads, dict[str, UsageSourceError]]:
        loads = Loads(source)
        return loads, loads.learn(namespaces, now=now)

    @pytest.fixture
    def source(self) -> FakeUsageSource:
        world = World()
        for number in range(40):
            world.use("web-0", owner=None, namespace=f"n{number}")
        return world.source

    def test_in_one_question(self, source: FakeUsageSource) -> None:
        loads, failed = self.loads(source, "n1", "n2", "empty")
        assert (failed, source.made()) == ({}, 1)
        assert [loads.of(name) for name in ("n1", "n2", "empty")] == [Load(1, 30), Load(1, 30), UNKNOWN_LOAD]
        assert (loads.present("n1"), loads.present("empty")) == (True, False)

    def test_of_the_one_to_blame_is_not_known(self, source: FakeUsageSource) -> None:
        source.fail(UsageSourceOverloaded(422, "too many samples"), namespace="n7")
        loads, failed = self.loads(source, *(f"n{number}" for number in range(40)))
        assert list(failed) == ["n7"]
        assert all(loads.present(f"n{number}") for number in range(40) if number != 7)

    def test_what_was_known_does_for_the_next_time(self, source: FakeUsageSource) -> None:
        loads, _ = self.loads(source, "n1")
        source.fail(UsageSourceTimeout("slow"))
        assert loads.learn(["n1"], now=NOW + 4_000) == {}
        assert loads.of("n1") == Load(1, 30)

    def test_a_server_that_is_away_is_asked_once(self, source: FakeUsageSource) -> None:
        source.fail(UsageSourceUnreachable("connection refused"))
        with pytest.raises(UsageSourceUnreachable):
            self.loads(source, "n1", "n2")
        assert source.made() == 1

    def test_a_server_that_fails_on_everything_is_left_in_peace(self, source: FakeUsageSource) -> None:
        source.fail(UsageSourceTimeout("slow"))
        with pytest.raises(UsageSourceTimeout):
            self.loads(source, *(f"n{number}" for number in range(40)))
        assert source.made() == MOST_FAILURES_IN_A_ROW

    def test_anew_only_what_was_not_asked_just_now(self, source: FakeUsageSource) -> None:
        loads, _ = self.loads(source, "n1")
        assert loads.learn_anew(["n1"], now=NOW) == {}
        assert source.made() == 1
        loads.learn_anew(["n1", "n2"], now=NOW + 300)
        assert source.made() == 2

    def test_an_interval_that_is_longer_has_to_be_seen_for_a_while(self, source: FakeUsageSource) -> None:
        loads, _ = self.loads(source, "n1")
        source.interval_seconds = 120
        seen = []
        for slot in range(12, 20):
            loads.learn(["n1"], now=NOW + slot * 300)
            seen.append(loads.of("n1").scrape_interval_seconds)
        assert seen == [30] * 6 + [120] * 2

    def test_after_a_gap_the_former_interval_holds(self, source: FakeUsageSource) -> None:
        loads, _ = self.loads(source, "n1")
        for interval, present in ((None, False), (180, True), (90, True), (30, True)):
            source.interval_seconds = interval
            loads.learn_anew(["n1"], now=NOW + 300 * (interval or 1))
            assert (loads.of("n1").scrape_interval_seconds, loads.present("n1")) == (30, present)

    def test_a_first_interval_that_is_long_is_asked_for_until_it_is_sure(self, source: FakeUsageSource) -> None:
        source.interval_seconds = 90
        loads, _ = self.loads(source, "n1")
        for slot in range(1, 10):
            loads.learn(["n1"], now=NOW + slot * 300)
        assert source.made() == 1 + 5
