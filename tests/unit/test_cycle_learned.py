"""A profile with the method `Learned`: walked through in the background, recommended, applied, and kept over a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from rightsizer.cycle import proving
from rightsizer.cycle.proving import WALK_RENEWED_SECONDS, WALKED_AT_ONCE, Proving
from rightsizer.cycle.wanted import LATE_SECONDS
from rightsizer.evidence.proof import Basis
from rightsizer.evidence.walking import Walked, walk
from rightsizer.history import SLOT_SECONDS, History, PodSeries, Span, UsageBatch, UsageWindow
from rightsizer.methods.learned import NOT_WALKED, TOO_LITTLE
from rightsizer.profile import RiskBudget
from rightsizer.workload import ContainerKey, OwnerRef
from tests.unit.builders import DAY, MI, WIDE
from tests.unit.test_cycle_proving import END, PROFILE, history, proven, ruled, writes
from tests.unit.world import World

LEARNED = replace(PROFILE, method="Learned")
HOUR = 3_600


@pytest.fixture
def world() -> World:
    world = World()
    world.apply_profile(method="Learned")
    world.add_deployment()
    return world


@pytest.fixture
def unwalked(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """There is no time for any replay, as after the start in a large cluster."""
    monkeypatch.setattr(Proving, "_due", lambda *_: {})
    return monkeypatch


def explained(world: World, resource: str = "cpu") -> Mapping[str, Any]:
    explanation: Mapping[str, Any] = world.recommended()["containers"][0]["explanation"][resource]
    return explanation


def test_it_is_recommended_and_applied(world: World) -> None:
    world.run_cycle()
    assert (world.sizes().cpu_request, world.sizes().cpu_limit) == (192, 384)
    assert (world.sizes().memory_request, world.sizes().memory_limit) == (336 * MI, 672 * MI)
    found = explained(world)
    assert found["statistic"] == "Learned steady"
    assert found["choice"].split("; ")[:2] == [
        "steady: the only form of this resource under this strategy",
        "a request below 192m is raised to it, one above 192m lowered to it",
    ]
    assert found["choice"].endswith("above the request for 0% of the last 7d in its replay, 0.3% are promised")
    assert world.condition(world.profile_status(), "Ready")["status"] == "True"
    world.end_rollouts()
    world.run_cycles(2)
    assert world.told() == ("Applied", "UpToDate")


def test_what_is_applied_stays_while_usage_moves_a_little(world: World) -> None:
    world.run_cycle()
    world.end_rollouts()
    world.run_cycles(2)
    sizes = world.sizes()
    for cpu in (185.0, 178.0, 183.0):
        world.change_usage(cpu=cpu)
        world.pass_time(5 * HOUR)
        world.run_cycle()
    assert world.sizes() == sizes
    assert world.told()[0] == "Applied"


def test_hour_by_hour_it_follows_what_changed(world: World) -> None:
    world.run_cycle()
    world.end_rollouts()
    world.run_cycles(2)
    world.change_usage(cpu=400)
    for _ in range(30):
        world.pass_time(HOUR)
        world.run_cycle()
        world.end_rollouts()
    assert (world.sizes().cpu_request or 0) > 400


def test_before_its_past_was_walked_through_it_is_by_measured_and_nothing_is_lowered(world: World, unwalked: pytest.MonkeyPatch) -> None:
    world.run_cycle()
    assert world.told() == ("Waiting", "NoEvidence")
    assert world.sizes() == WIDE
    assert explained(world)["choice"] == NOT_WALKED
    assert world.recommended()["containers"][0]["recommended"]["requests"] == {"cpu": "216m", "memory": "384Mi"}
    unwalked.undo()
    world.pass_time(60)
    world.run_cycle()
    assert world.sizes().cpu_request == 192


def test_a_restart_takes_nothing_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run_cycle()
    world.end_rollouts()
    world.run_cycles(2)
    before, sizes, written = dict(explained(world)), world.sizes(), writes(world)
    world.restart()
    with monkeypatch.context() as patched:
        patched.setattr(Proving, "_due", lambda *_: {})
        world.run_cycles(3)
        world.next_slot()
        world.run_cycle()
        assert explained(world) == before
        assert world.sizes() == sizes
        assert world.told() == ("Applied", "UpToDate")
    world.run_cycles(2)
    assert explained(world) == before
    assert (world.sizes(), writes(world)) == (sizes, written)


def test_memory_near_its_limit_does_not_wait_for_the_walk(world: World, unwalked: pytest.MonkeyPatch) -> None:
    unwalked.undo()
    world.run_cycle()
    world.end_rollouts()
    world.run_cycles(2)
    world.restart()
    unwalked.setattr(Proving, "_due", lambda *_: {})
    world.change_usage(memory=650 * MI)
    world.next_slot()
    world.run_cycle()
    assert world.sizes().memory_request == 1300 * MI
    assert explained(world, "memory")["clamp"] == "NearLimit"


def test_with_too_little_history_it_is_by_measured() -> None:
    world = World()
    world.apply_profile(method="Learned", mode="Recommend")
    world.add_deployment(days=0.9)
    world.run_cycle()
    assert explained(world)["choice"] == TOO_LITTLE
    assert explained(world)["statistic"].startswith("load-p94")


def test_another_method_takes_its_place_at_once(world: World) -> None:
    world.run_cycle()
    world.apply_profile(mode="Recommend")
    world.pass_time(60)
    world.run_cycle()
    assert "choice" not in explained(world)
    assert explained(world)["statistic"].startswith("load-p94")


def test_a_change_has_to_be_worth_what_its_replay_asks_for() -> None:
    world = World()
    world.apply_profile(method="Learned")
    # 192m are wanted: 17 % less, and its own replay lowers by 22 % under Rollout.
    world.add_deployment(sizes=replace(WIDE, cpu_request=230, cpu_limit=460, memory_request=336 * MI, memory_limit=672 * MI))
    world.run_cycle()
    assert world.told() == ("Applied", "ChangeTooSmall")
    assert "is below 22%, which Learned asks lowering to be worth" in world.recommended()["summary"]["message"]


def test_what_the_replay_shows_of_it_gates_lowering(world: World) -> None:
    world.apply_profile(method="Learned", evidence={"maxTimeAboveRequest": "0%"})
    owner, begin = OwnerRef("ReplicaSet", "web-5d9c7b"), world.clock.time - 5 * DAY
    world.use("web-5d9c7b-ccccc", owner=owner, cpu=450, days=5, until=begin + 3 * HOUR)
    world.run_cycle()
    assert world.sizes().cpu_request == WIDE.cpu_request
    assert world.sizes().memory_request == 336 * MI


@pytest.mark.parametrize(("kills", "kept"), [(None, False), (10, True)])
def test_a_kill_is_remembered_for_as_long_as_the_budget_says(kills: int | None, kept: bool) -> None:
    world = World()
    world.apply_profile(
        method="Learned", mode="Recommend", window="2d", minimumHistory={"lower": "24h"}, risk={"oomKillsPer1000Days": kills}
    )
    world.add_deployment(days=2)
    world.run_cycle()
    world.kill_for_memory(limit=1000 * MI)
    world.next_slot()
    world.run_cycle()
    assert explained(world, "memory")["clamp"] == "OOMKill"
    world.cluster.stored_pods = [replace(pod, containers=()) for pod in world.cluster.stored_pods]
    world.pass_time(3 * DAY)
    world.run_cycles(2)
    assert (explained(world, "memory")["clamp"] == "OOMKill") == kept


def test_the_budget_of_one_profile_remembers_nothing_for_another() -> None:
    world = World()
    short: dict[str, Any] = {"mode": "Recommend", "window": "2d", "minimumHistory": {"lower": "24h"}}
    world.apply_profile(**short)
    world.apply_profile(namespace="other", method="Learned", risk={"oomKillsPer1000Days": 10}, **short)
    for place in ("shop", "other"):
        world.add_deployment(days=2, namespace=place)
    world.run_cycle()
    world.kill_for_memory(limit=1000 * MI)
    world.next_slot()
    world.run_cycle()
    assert explained(world, "memory")["clamp"] == "OOMKill"
    world.cluster.stored_pods = [replace(pod, containers=()) for pod in world.cluster.stored_pods]
    world.pass_time(3 * DAY)
    world.run_cycles(2)
    assert explained(world, "memory")["clamp"] == "None"


class TestWalking:
    """In portions, whole once a day, and on by each full hour."""

    @staticmethod
    def key(workloads: list[Any], number: int = 0) -> ContainerKey:
        return ContainerKey(workloads[number].workload.ref, "app")

    def test_the_last_full_hour_counts_once_no_late_samples_are_awaited(self) -> None:
        some = ruled(1, LEARNED)
        found, end = history(some), END // HOUR * HOUR
        # At the first full refresh in which the hour's last slot is old enough.
        for late, seen in ((LATE_SECONDS, end - HOUR), (LATE_SECONDS + SLOT_SECONDS, end)):
            walking = Proving()
            walking.refresh(some, found, end=end + late)
            assert walking._proved[self.key(some)].walked.end == seen  # type: ignore[union-attr]

    def test_it_goes_on_by_new_hours_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        some = ruled(2, LEARNED)
        whole: list[int] = []

        def counted(usage: UsageWindow, basis: Basis) -> list[Walked]:
            whole.append(len(usage.keys))
            return walk(usage, basis)

        monkeypatch.setattr(proving, "walk", counted)
        walking, found = Proving(), history(some)
        walking.refresh(some, found, end=END)
        before = walking.learnt(self.key(some))
        rise(found, some, cpu=1000.0, since=END + SLOT_SECONDS, until=END + 3 * HOUR)
        walking.refresh(some, found, end=END + 3 * HOUR)
        after = walking.learnt(self.key(some))
        assert before is not None
        assert after is not None
        assert after["cpu"].raise_to > 2 * before["cpu"].raise_to
        assert whole == [2]
        walking.refresh(some, found, end=END + WALK_RENEWED_SECONDS)
        assert whole == [2, 2]

    def test_a_large_cluster_is_walked_through_cycle_by_cycle(self) -> None:
        some = ruled(WALKED_AT_ONCE + 2, LEARNED)
        times: Iterator[float] = count(0, 0.25)
        walking, found = Proving(budget_seconds=1.0, stopwatch=lambda: next(times)), history(some)
        assert walking.refresh(some, found, end=END).containers == WALKED_AT_ONCE
        assert walking.learnt(self.key(some, WALKED_AT_ONCE + 1)) is None
        assert walking.refresh(some, found, end=END).containers == WALKED_AT_ONCE + 2

    def test_another_budget_needs_another_walk(self) -> None:
        some = ruled(1, LEARNED)
        walking = Proving()
        walking.refresh(some, history(some), end=END)
        assert walking.learnt(self.key(some)) is not None
        walking.refresh(ruled(1, replace(LEARNED, risk=RiskBudget(0.01))), History(slots=10), end=END + SLOT_SECONDS)
        assert walking.learnt(self.key(some)) == {}

    def test_measured_has_no_walk(self) -> None:
        some = ruled(1)
        walking = Proving()
        walking.refresh(some, history(some), end=END)
        assert proven(walking, some) == [True]
        assert walking.learnt(self.key(some)) is None

    def test_a_namespace_of_which_not_all_is_known_waits(self) -> None:
        some = ruled(1, LEARNED)
        walking, found = Proving(), history(some)
        walking.refresh(some, found, end=END)
        before = walking.learnt(self.key(some))
        walking.refresh(some, found, end=END + 2 * HOUR, left_out={"shop"})
        assert walking.learnt(self.key(some)) is before


def rise(found: History, workloads: list[Any], *, cpu: float, since: int, until: int) -> None:
    span = Span(since, until)
    keys = [ContainerKey(one.workload.ref, "app") for one in workloads]
    series = tuple(PodSeries("shop", f"{key.workload.name}-pod", "app") for key in keys)
    found.add(UsageBatch("cpu", span, series, np.full((len(keys), span.slots), cpu, dtype=np.float32)), keys)
