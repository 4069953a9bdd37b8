"""Recommendations are written a few at a time; changes to workloads are made one after the other all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from rightsizer.cycle.writing import Writing
from rightsizer.errors import ClusterError, ClusterNotFound, ClusterUnreachable
from tests.unit.world import World

AT_ONCE = 4
MANY = 3 * AT_ONCE


@pytest.fixture
def world() -> World:
    world = World()
    world.writes_at_once = AT_ONCE
    world.restart()
    for number in range(MANY):
        world.add_deployment(f"web-{number:02}")
    return world


def before(monkeypatch: pytest.MonkeyPatch, world: World, call: str, look: Callable[[], object]) -> None:
    """Let `look` run at the begin of each such call of the cluster."""
    original = getattr(world.cluster, call)

    def looked_at(*arguments: Any, **named: Any) -> Any:
        look()
        return original(*arguments, **named)

    monkeypatch.setattr(world.cluster, call, looked_at)


def test_so_many_are_written_at_once_and_all_before_the_cycle_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(AT_ONCE)
    before(monkeypatch, world, "write_recommendation", lambda: together.wait(10))
    world.apply_profile(mode="Recommend")
    report = world.run_cycle()
    assert (report.workloads, report.failed, len(world.cluster.stored_recommendations)) == (MANY, 0, MANY)


def test_changes_are_made_one_after_the_other_in_the_order_of_the_cycle(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    before(monkeypatch, world, "apply", lambda: threads.append(threading.current_thread()))
    world.apply_profile(mode="Apply")
    report = world.run_cycle()
    assert (report.changed, set(threads)) == (MANY, {threading.current_thread()})
    assert [patch.workload.name for patch, _ in world.cluster.applied] == [f"web-{number:02}" for number in range(MANY)]
    world.run_cycles(1)
    assert {world.last_change(f"web-{number:02}")["outcome"] for number in range(MANY)} == {"InProgress"}


def test_nothing_is_handed_to_other_threads_when_nothing_is_new(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.apply_profile(mode="Recommend")
    world.run_cycle()
    monkeypatch.setattr(Writing, "later", lambda *_: pytest.fail("something was written"))
    assert world.run_cycle().failed == 0


@pytest.mark.parametrize(("error", "failed"), [(ClusterUnreachable("no connection"), 1), (ClusterNotFound("gone"), 0)])
def test_one_that_cannot_be_written_leaves_the_others_alone(world: World, error: ClusterError, failed: int) -> None:
    world.apply_profile(mode="Recommend")
    world.cluster.fail(error, call="write_recommendation", times=1)
    assert world.run_cycle().failed == failed
    assert len(world.cluster.stored_recommendations) == MANY - 1
    assert world.run_cycle().failed == 0
    assert len(world.cluster.stored_recommendations) == MANY


@pytest.mark.parametrize("at_once", [1, AT_ONCE])
def test_a_fault_of_ours_is_not_swallowed(world: World, at_once: int) -> None:
    world.writes_at_once = at_once
    world.restart()
    world.apply_profile(mode="Recommend")
    world.cluster.fail(RuntimeError("a fault"), call="write_recommendation", times=1)
    with pytest.raises(RuntimeError, match="a fault"):
        world.run_cycle()


def test_what_has_not_begun_is_given_up_where_an_exception_ends_the_cycle() -> None:
    begun, go_on, written = threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        assert go_on.wait(10)
        written.append("slow")

    def end_early() -> None:
        with Writing(at_once=2) as writing:
            writing.later(slow)
            writing.later(slow)
            for _ in range(20):
                writing.later(lambda: written.append("late"))
            assert begun.wait(10)
            threading.Timer(0.05, go_on.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        end_early()
    assert written == ["slow", "slow"]
