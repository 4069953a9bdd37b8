"""Who is changed first and how many at a time; the queue alone as tables, and through whole cycles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rightsizer.change import Change, Outcome
from rightsizer.checks.differences import differences
from rightsizer.checks.facts import Objection, Reason, Verdict
from rightsizer.cycle.assignment import Ruled
from rightsizer.cycle.case import Case
from rightsizer.cycle.queue import Queue, in_order
from rightsizer.methods.recommendation import Clamp, ContainerRecommendation
from rightsizer.profile import ApplyRule, EffectiveMode, Mode, Profile
from rightsizer.status.standing import Standing
from rightsizer.workload import Container, Sizes, WorkloadRef
from tests.unit.builders import MI, NOW, WIDE, WORKED, recommendation, workload
from tests.unit.world import World

HUGE = Sizes(4_000, 8_000, 16_384 * MI, 32_768 * MI)
SMALL = Sizes(100, 200, 128 * MI, 192 * MI)
MIXED = Sizes(100, 200, 1_024 * MI, 2_048 * MI)


def place(
    name: str,
    sizes: Sizes = WIDE,
    *,
    namespace: str = "shop",
    profile: str = "all",
    pressure: bool = False,
    change: Change | None = None,
    replicas: int = 2,
    **apply: Any,
) -> tuple[Case, Standing]:
    ref = WorkloadRef(namespace, "Deployment", name)
    deployment = workload(Container("app", sizes), ref=ref, replicas=replicas)
    rule = Profile(namespace, profile, uid=profile, mode=Mode.APPLY, apply=replace(ApplyRule(), **apply))
    found: dict[str, ContainerRecommendation] = {"app": recommendation(current=sizes)}
    if pressure:
        memory = found["app"].memory
        assert memory is not None
        found = {"app": replace(found["app"], memory=replace(memory, limit_clamp=Clamp.NEAR_LIMIT))}
    changes = differences(found, deployment)
    standing = Standing(deployment, Mode.APPLY, 0.1, found, changes, Verdict(changes), change)
    return Case(Ruled(deployment, rule, EffectiveMode(Mode.APPLY)), found, NOW), standing


def waiting(*places: tuple[Case, Standing], per_namespace: int = 100, now: float = NOW) -> dict[str, Reason | None]:
    """Who has to wait, and why, in the order of the queue."""
    queue = Queue(((case.ruled, standing) for case, standing in places), per_namespace=per_namespace, now=now)
    answers: dict[str, Reason | None] = {}
    for case, standing in in_order(places):
        objection = queue.objection(case.ruled, standing)
        answers[case.workload.ref.name] = None if objection is None else objection.reason
    return answers


def changed(outcome: Outcome, *, time: float = NOW - 60, strategy: str = "Rollout", reverts: str = "") -> Change:
    return Change(time, strategy, outcome, {"app": WIDE}, {"app": WORKED}, reverts=reverts)


BUSY = Reason.ANOTHER_ROLLOUT_RUNNING
STOPPED = Reason.QUEUE_STOPPED


class TestOrder:
    def test_pressure_then_raises_then_the_largest_saving(self) -> None:
        places = [
            place("b-lower", WIDE),
            place("a-lower", WIDE),
            place("huge", HUGE),
            place("many", WIDE, replicas=1_000),
            place("raised", SMALL),
            place("mixed", MIXED),
            place("urgent", SMALL, pressure=True),
        ]
        names = [case.workload.ref.name for case, _ in in_order(places)]
        assert names == ["urgent", "mixed", "raised", "many", "huge", "a-lower", "b-lower"]


class TestLimits:
    def test_of_a_profile(self) -> None:
        assert waiting(place("a"), place("b"), place("c", profile="other")) == {"a": None, "b": BUSY, "c": None}

    def test_as_many_as_the_profile_allows(self) -> None:
        places = [place(name, max_concurrent=2) for name in "abc"]
        assert waiting(*places) == {"a": None, "b": None, "c": BUSY}

    def test_of_a_namespace_whatever_its_profiles_allow(self) -> None:
        places = [place(name, profile=name, max_concurrent=9) for name in "ab"]
        assert waiting(*places, place("c", namespace="bank", profile="c"), per_namespace=1) == {"a": None, "b": BUSY, "c": None}

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (changed(Outcome.STARTED), BUSY),
            (changed(Outcome.IN_PROGRESS), BUSY),
            (changed(Outcome.IN_PROGRESS, strategy="InPlace"), None),
            (changed(Outcome.VERIFYING), None),
            (changed(Outcome.SUCCEEDED), None),
        ],
    )
    def test_those_that_are_under_way_count(self, change: Change, expected: Reason | None) -> None:
        busy = place("z", change=change)
        queue = Queue([(case.ruled, standing) for case, standing in [busy, place("a")]], per_namespace=100, now=NOW)
        case, standing = place("a")
        found = queue.objection(case.ruled, standing)
        assert (None if found is None else found.reason) == expected

    @pytest.mark.parametrize("strategy", ["InPlace", "OnCreate"])
    def test_what_restarts_nothing_does_not_wait(self, strategy: str) -> None:
        assert waiting(place("a", strategy=strategy), place("b", strategy=strategy)) == {"a": None, "b": None}

    def test_pressure_does_not_wait_but_counts(self) -> None:
        places = [place("a", SMALL, pressure=True), place("b", SMALL, pressure=True), place("c")]
        assert waiting(*places) == {"a": None, "b": None, "c": BUSY}


class TestStopped:
    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (changed(Outcome.FAILED), STOPPED),
            (changed(Outcome.SUCCEEDED, reverts="OOM"), STOPPED),
            (changed(Outcome.SUCCEEDED, reverts="OOM", time=NOW - 3_600), None),
            (changed(Outcome.SUCCEEDED), None),
            (changed(Outcome.UNDONE), None),
        ],
    )
    def test_after_a_failure_in_the_profile(self, change: Change, expected: Reason | None) -> None:
        case, standing = place("z", change=change)
        silent = (case, replace(standing, verdict=Verdict()))
        found = waiting(silent, place("a"), place("b", profile="other"))
        assert (found["a"], found["b"]) == (expected, None)

    def test_only_lowering_is(self) -> None:
        failed = place("z", change=changed(Outcome.FAILED))
        case, standing = place("a", MIXED)
        queue = Queue([(one.ruled, where) for one, where in [failed, (case, standing)]], per_namespace=9, now=NOW)
        found = queue.objection(case.ruled, standing)
        assert isinstance(found, Objection)
        assert {str(path) for path in found.paths or ()} == {"app.memory.request", "app.memory.limit"}

    def test_nor_is_what_is_under_pressure(self) -> None:
        failed = place("z", change=changed(Outcome.FAILED))
        assert waiting(failed, place("a", SMALL, pressure=True))["a"] is None

    def test_in_place_too(self) -> None:
        failed = place("z", change=changed(Outcome.FAILED), strategy="InPlace")
        assert waiting(failed, place("a", strategy="InPlace"))["a"] is STOPPED


class TestThroughCycles:
    @pytest.fixture
    def world(self) -> World:
        world = World()
        for name, sizes in (("a", WIDE), ("huge", HUGE), ("raised", SMALL)):
            world.add_deployment(name, sizes=sizes)
        world.apply_profile(apply={"maxConcurrent": 1, "pauseAfterFailure": "2h"})
        return world

    def made(self, world: World) -> list[str]:
        return [patch.workload.name for patch, _ in world.cluster.applied]

    def test_one_after_the_other(self, world: World) -> None:
        world.run_cycles(2)
        assert self.made(world) == ["raised"]
        assert (world.told("a"), world.told("huge")) == (("Blocked", "AnotherRolloutRunning"),) * 2
        for expected in (["raised", "huge"], ["raised", "huge", "a"]):
            world.end_rollouts()
            world.run_cycles(1)
            assert self.made(world) == expected

    def test_those_that_wait_cost_no_requests(self, world: World) -> None:
        world.run_cycles(3)
        writes, pods = world.cluster.writes, world.cluster.made("pods_of")
        world.run_cycles(5)
        assert (world.cluster.writes, world.cluster.made("pods_of")) == (writes, pods)

    def test_a_failure_holds_the_lowering_of_others_for_a_while(self, world: World) -> None:
        world.run_cycles(1)
        world.cluster.fail_rollout(WorkloadRef("shop", "Deployment", "raised"), "ProgressDeadlineExceeded")
        world.run_cycles(1)
        world.end_rollouts()
        world.run_cycles(3)
        assert (world.told("huge"), world.told("a")) == (("Blocked", "QueueStopped"),) * 2
        world.pass_time(7_200)
        world.run_cycles(1)
        assert self.made(world)[-1] == "huge"
