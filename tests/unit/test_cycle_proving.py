"""The past of every container is replayed in the background, gates lowering, and is told."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from rightsizer.cycle.assignment import Ruled, assign
from rightsizer.cycle.proving import CONTAINERS_AT_ONCE, PLUGGED_AT_ONCE, RENEWED_SECONDS, TRIED_AGAIN_SECONDS, Proving
from rightsizer.evidence.proof import Basis
from rightsizer.history import SLOT_SECONDS, History, PodSeries, Span, UsageBatch, Values
from rightsizer.methods.plugin import Plugin
from rightsizer.methods.ranking import Columns, Levels
from rightsizer.methods.recommendation import Method
from rightsizer.profile import EvidenceRule, LimitPolicy, LimitRule, Mode, Profile
from rightsizer.workload import RESOURCES, Container, ContainerKey, OwnerRef, ResourceName, Sizes, WorkloadRef
from tests.unit.builders import DAY, MI, NOW, WIDE, workload
from tests.unit.world import World

END = int(NOW) // SLOT_SECONDS * SLOT_SECONDS
PROFILE = Profile("shop", "all", mode=Mode.APPLY, window_seconds=2 * DAY, lower_after_seconds=DAY)
LEVELS = {"cpu": 180.0, "memory": 320.0 * MI}


def ruled(number: int, profile: Profile = PROFILE) -> list[Ruled]:
    found = [workload(Container("app", WIDE), ref=WorkloadRef("shop", "Deployment", f"w{index:03}")) for index in range(number)]
    return list(assign(found, [profile], {}).ruled.values())


def history(workloads: list[Ruled], *, days: float = 2, much: Mapping[str, float] | None = None) -> History:
    """`much`: other memory, by workload."""
    span = Span(END - (int(days * DAY) // SLOT_SECONDS - 1) * SLOT_SECONDS, END)
    found = History(slots=2 * DAY // SLOT_SECONDS)
    keys = [ContainerKey(one.workload.ref, "app") for one in workloads]
    series = tuple(PodSeries("shop", f"{key.workload.name}-pod", "app") for key in keys)
    for resource in RESOURCES:
        values = np.full((len(keys), span.slots), LEVELS[resource], dtype=np.float32)
        for row, key in enumerate(keys):
            if resource == "memory" and key.workload.name in (much or {}):
                values[row] = (much or {})[key.workload.name]
        found.add(UsageBatch(resource, span, series, values), keys)
    return found


def proven(proving: Proving, workloads: list[Ruled]) -> list[bool]:
    return [bool(proving.of(one.workload.ref, ["app"])) for one in workloads]


def sized(workloads: list[Ruled], sizes: Sizes) -> list[Ruled]:
    return [replace(one, workload=replace(one.workload, containers=(Container("app", sizes),))) for one in workloads]


class TestKeptLimits:
    @pytest.mark.parametrize(("policy", "kills", "again"), [(LimitPolicy.KEEP, True, True), (LimitPolicy.RATIO, False, False)])
    def test_evidence_is_of_the_limit_that_is_kept(self, policy: LimitPolicy, kills: bool, again: bool) -> None:
        rule = replace(PROFILE.default_rule, memory=replace(PROFILE.default_rule.memory, limit=LimitRule(policy=policy)))
        some = ruled(1, replace(PROFILE, default_rule=rule))
        proving, past = Proving(), history(some)
        proving.refresh(sized(some, replace(WIDE, memory_limit=100 * MI)), past, end=END)
        (before,) = proving.of(some[0].workload.ref, ["app"]).values()
        proving.refresh(sized(some, WIDE), past, end=END)
        (after,) = proving.of(some[0].workload.ref, ["app"]).values()
        assert (before.memory.oom_events > 0, after.memory.oom_events) == (kills, 0)
        assert (after is not before) == again


class TestProving:
    def test_all_of_a_small_cluster_at_once(self) -> None:
        some = ruled(3)
        proving = Proving()
        report = proving.refresh(some, history(some), end=END)
        assert report.containers == 3
        assert report.seconds > 0
        assert proven(proving, some) == [True] * 3
        held = proving.held(ContainerKey(some[0].workload.ref, "app"))
        assert held == {resource: pytest.approx(LEVELS[resource]) for resource in RESOURCES}

    def test_the_time_of_a_cycle_is_kept_and_the_next_goes_on(self) -> None:
        some = ruled(CONTAINERS_AT_ONCE + 2)
        times: Iterator[float] = count(0, 0.7)
        proving = Proving(budget_seconds=0.5, stopwatch=lambda: next(times))
        found = history(some)
        assert proving.refresh(some, found, end=END).containers == CONTAINERS_AT_ONCE
        assert proving.refresh(some, found, end=END).containers == CONTAINERS_AT_ONCE + 2

    def test_what_is_fresh_is_not_made_again(self) -> None:
        some = ruled(1)
        proving = Proving()
        proving.refresh(some, history(some), end=END)
        nothing = History(slots=10)
        proving.refresh(some, nothing, end=END + RENEWED_SECONDS - SLOT_SECONDS)
        assert proven(proving, some) == [True]
        proving.refresh(some, nothing, end=END + RENEWED_SECONDS)
        assert proven(proving, some) == [False]

    def test_too_little_to_judge_is_tried_again_sooner(self) -> None:
        some = ruled(1)
        proving = Proving()
        proving.refresh(some, history(some, days=0.9), end=END)
        proving.refresh(some, history(some), end=END + TRIED_AGAIN_SECONDS - SLOT_SECONDS)
        assert proven(proving, some) == [False]
        proving.refresh(some, history(some), end=END + TRIED_AGAIN_SECONDS)
        assert proven(proving, some) == [True]

    @pytest.mark.parametrize(
        "other",
        [
            replace(PROFILE, window_seconds=DAY + 3600),
            replace(PROFILE, lower_after_seconds=DAY - 3600),
            replace(PROFILE, apply=replace(PROFILE.apply, minimum_change=0.2)),
            replace(PROFILE, default_rule=replace(PROFILE.default_rule, cpu=replace(PROFILE.default_rule.cpu, buffer=0.5))),
        ],
    )
    def test_another_rule_needs_other_evidence(self, other: Profile) -> None:
        some = ruled(1)
        proving = Proving()
        proving.refresh(some, history(some), end=END)
        proving.refresh(ruled(1, other), History(slots=10), end=END + SLOT_SECONDS)
        assert proven(proving, some) == [False]

    def test_rules_that_are_gone_are_forgotten(self) -> None:
        def held() -> int:
            return sum(type(each) is Basis for each in gc.get_objects())

        proving, before = Proving(), held()
        for days in range(1, 9):
            some = ruled(1, replace(PROFILE, window_seconds=days * DAY))
            proving.refresh(some, history(some), end=END)
        assert held() - before == 1

    def test_what_was_written_may_hold_until_something_was_replayed(self) -> None:
        some, little = ruled(1), History(slots=10)
        proving, ref = Proving(), some[0].workload.ref
        proving.refresh(some, history(some), end=END, left_out={"shop"})
        assert proving.awaits(ref, ["app"])
        proving.refresh(some, history(some), end=END)
        assert not proving.awaits(ref, ["app"])
        # Of another rule nothing was replayed yet, and nothing that was written before is of it.
        other = ruled(1, replace(PROFILE, window_seconds=DAY + 3600))
        proving.refresh(other, little, end=END + SLOT_SECONDS, left_out={"shop"})
        proving.refresh(other, little, end=END + 2 * SLOT_SECONDS, left_out={"shop"})
        assert (proven(proving, some), proving.awaits(ref, ["app"])) == ([False], False)

    def test_what_evidence_may_show_does_not_matter_to_it(self) -> None:
        some = ruled(1)
        proving = Proving()
        proving.refresh(some, history(some), end=END)
        proving.refresh(ruled(1, replace(PROFILE, evidence=EvidenceRule(5, 0.5))), History(slots=10), end=END + SLOT_SECONDS)
        assert proven(proving, some) == [True]

    def test_namespaces_of_which_not_all_is_known_stay_as_they_are(self) -> None:
        some = ruled(1)
        proving = Proving()
        proving.refresh(some, history(some), end=END, left_out={"shop"})
        assert proven(proving, some) == [False]
        proving.refresh(some, history(some), end=END)
        # A namespace that cannot be listed has no workloads for a while.
        proving.refresh([], history(some), end=END, left_out={"shop"})
        assert proven(proving, some) == [True]
        proving.refresh([], history(some), end=END)
        assert proven(proving, some) == [False]

    def test_ignored_workloads_are_left_alone(self) -> None:
        some = ruled(1, replace(PROFILE, mode=Mode.IGNORE))
        assert Proving().refresh(some, history(some), end=END).containers == 0


def half_of_it(values: Values, ends: Columns, *, resource: ResourceName, window: int) -> Levels:
    if (values[:, 0] > 1e12).any():
        raise ValueError("too much")
    return np.tile(values[:, :1] / 2, len(ends))


class TestPlugin:
    METHODS: Mapping[str, Method] = {"Half": Plugin("Half", lambda: half_of_it)}
    PROFILE = replace(PROFILE, method="Half")

    def test_its_own_levels_are_replayed(self) -> None:
        some = ruled(2, self.PROFILE)
        proving = Proving(methods=self.METHODS)
        assert proving.refresh(some, history(some), end=END).containers == 2
        evidence = proving.of(some[0].workload.ref, ["app"])["app"]
        # Half of the usage + 20 % is below all of it.
        assert evidence.cpu.above == 1.0
        assert evidence.cpu.held == pytest.approx(90)

    def test_another_method_needs_other_evidence(self) -> None:
        some = ruled(1, self.PROFILE)
        proving = Proving(methods=self.METHODS)
        proving.refresh(some, history(some), end=END)
        proving.refresh(ruled(1), History(slots=10), end=END + SLOT_SECONDS)
        assert proven(proving, some) == [False]

    def test_where_it_fails_only_that_number_has_no_evidence(self, caplog: pytest.LogCaptureFixture) -> None:
        some = ruled(3, self.PROFILE)
        proving = Proving(methods=self.METHODS)
        proving.refresh(some, history(some, much={"w001": 1e13}), end=END)
        judged = [proving.of(one.workload.ref, ["app"])["app"] for one in some]
        assert [found.memory.judged_slots > 0 for found in judged] == [True, False, True]
        assert all(found.cpu.judged_slots for found in judged)
        assert judged[1].memory.held is None
        told = "method Half failed for memory: ValueError: too much"
        assert f"some numbers have no evidence: {told}" in caplog.text
        assert [proving.troubles(one.workload.ref, ["app"]) for one in some].count({"app": told}) == 1

    def test_one_that_looks_ahead_proves_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        def ahead(values: Values, ends: Columns, *, resource: ResourceName, window: int) -> Levels:
            return np.full((len(values), len(ends)), float(values.shape[1]))

        some = ruled(1, self.PROFILE)
        proving = Proving(methods={"Half": Plugin("Half", lambda: ahead)})
        proving.refresh(some, history(some), end=END)
        assert proven(proving, some) == [False]
        assert "method Half looks ahead" in caplog.text


class TestTroublesomePlugin:
    """What it costs the cycle, counted in calls; each takes some seconds of a clock of its own."""

    def proving(self, seconds: list[float], *, fails: bool = False) -> tuple[Proving, list[int]]:
        """And the number of rows in each call. `seconds`: those of a call, to be changed."""
        clock, calls = [0.0], list[int]()

        def levels(values: Values, ends: Columns, *, resource: ResourceName, window: int) -> Levels:
            calls.append(len(values))
            clock[0] += seconds[0]
            if fails:
                raise ValueError("no")
            return np.ones((len(values), len(ends)))

        method = Plugin("Half", lambda: levels)
        return Proving(methods={"Half": method}, stopwatch=lambda: clock[0]), calls

    def test_a_slow_one_is_asked_for_one_container_at_a_time_while_it_is_slow(self) -> None:
        some, seconds = ruled(4 * PLUGGED_AT_ONCE, TestPlugin.PROFILE), [1.0]
        proving, calls = self.proving(seconds)
        assert proving.refresh(some, history(some), end=END).containers == PLUGGED_AT_ONCE
        assert set(calls) == {PLUGGED_AT_ONCE}
        calls.clear()
        assert proving.refresh(some, history(some), end=END).containers == PLUGGED_AT_ONCE + 1
        assert set(calls) == {1}
        calls.clear()
        seconds[0] = 0.001
        assert proving.refresh(some, history(some), end=END).containers == len(some)
        assert set(calls) == {1, PLUGGED_AT_ONCE, PLUGGED_AT_ONCE - 2}

    def test_one_that_fails_is_tried_again_as_seldom_as_any_and_one_at_a_time(self) -> None:
        some = ruled(PLUGGED_AT_ONCE + 1, TestPlugin.PROFILE)
        proving, calls = self.proving([0.01], fails=True)
        proving.refresh(some, history(some), end=END)
        assert proven(proving, some) == [False] * len(some)
        calls.clear()
        proving.refresh(some, history(some), end=END + TRIED_AGAIN_SECONDS)
        proving.refresh(some, history(some), end=END + RENEWED_SECONDS - SLOT_SECONDS)
        assert calls == []
        proving.refresh(some, history(some), end=END + RENEWED_SECONDS)
        assert calls == [1] * (2 * len(some))

    def test_too_little_history_is_no_failure(self) -> None:
        some = ruled(1, TestPlugin.PROFILE)
        proving, _ = self.proving([0.0])
        proving.refresh(some, history(some, days=0.9), end=END)
        proving.refresh(some, history(some), end=END + TRIED_AGAIN_SECONDS)
        assert proven(proving, some) == [True]


@pytest.fixture
def world() -> World:
    world = World()
    world.apply_profile()
    return world


def writes(world: World) -> int:
    return sum(call.name == "write_recommendation" for call in world.cluster.calls)


def burst(world: World, *, hours: float, cpu: float = 180, memory: float = 320 * MI) -> None:
    """Five days ago, one of the pods used so much for some hours."""
    begin = world.clock.time - 5 * DAY
    owner = OwnerRef("ReplicaSet", "web-5d9c7b")
    world.use("web-5d9c7b-ccccc", owner=owner, cpu=cpu, memory=memory, days=5, until=begin + hours * 3600)


def test_the_figures_are_told(world: World) -> None:
    world.apply_profile(mode="Recommend")
    world.add_deployment()
    report = world.run_cycle()
    assert world.recommended()["evidence"]["summary"] == "7d: 0 OOM, 0% above, 0.0/day, -62% mem"
    assert report.proved_containers == 1
    assert report.proving_seconds > 0


def test_the_status_is_not_rewritten_for_evidence_that_says_the_same(world: World) -> None:
    world.apply_profile(mode="Recommend")
    world.add_deployment()
    world.run_cycle()
    before = writes(world)
    for _ in range(8):
        world.pass_time(3_600)
        world.run_cycle()
    assert writes(world) == before


def test_time_above_the_request_holds_lowering_back(world: World) -> None:
    world.apply_profile(evidence={"maxTimeAboveRequest": "0%"})
    world.add_deployment()
    burst(world, hours=3, cpu=450)
    world.run_cycle()
    assert (world.sizes().cpu_request, world.sizes().memory_request) == (WIDE.cpu_request, 384 * MI)
    world.end_rollouts()
    world.run_cycles(2)
    assert world.told() == ("Blocked", "EvidenceTooWeak")
    message = world.recommended()["summary"]["message"]
    assert message.startswith("this rule would have had cpu above the request for ")
    assert message.endswith("of the time of app in the 7d that were judged; spec.evidence.maxTimeAboveRequest is 0%")
    assert "EvidenceTooWeak" in world.events()


def test_the_profile_may_accept_it(world: World) -> None:
    world.apply_profile(evidence={"maxTimeAboveRequest": "1%"})
    world.add_deployment()
    burst(world, hours=3, cpu=450)
    world.run_cycle()
    assert (world.sizes().cpu_request or 0) < (WIDE.cpu_request or 0)


def test_an_oom_kill_in_the_replay_holds_lowering_back(world: World) -> None:
    world.apply_profile(evidence={"maxTimeAboveRequest": "100%"})
    world.add_deployment()
    burst(world, hours=0.2, memory=900 * MI)
    world.run_cycle()
    assert world.sizes().memory_request == WIDE.memory_request
    assert world.recommended()["evidence"]["oomKills"] == 1


def test_nothing_is_lowered_before_the_past_was_replayed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Proving, "of", lambda *_: {})
    world.add_deployment()
    world.run_cycle()
    assert world.told() == ("Waiting", "NoEvidence")
    assert world.sizes() == WIDE
    assert world.events() == []


def test_evidence_is_there_again_after_a_restart(world: World) -> None:
    world.apply_profile(mode="Recommend")
    world.add_deployment()
    world.run_cycle()
    before = writes(world)
    world.restart()
    assert world.run_cycle().proved_containers == 1
    assert writes(world) == before


def test_what_fell_a_short_while_ago_is_held(world: World) -> None:
    world.apply_profile(mode="Recommend", cpu={"statistic": "p50", "halfLife": "1h"})
    world.add_deployment()
    world.run_cycle()
    world.change_usage(cpu=60)
    requests = []
    for _ in range(12):
        world.pass_time(6 * 3_600)
        world.run_cycle()
        requests.append(world.recommended()["containers"][0]["recommended"]["requests"]["cpu"])
    # Some 54 hours after the level fell, and not sooner.
    assert requests == ["216m"] * 8 + ["72m"] * 4


def test_memory_near_its_limit_is_raised_at_once(world: World) -> None:
    world.add_deployment()
    world.run_cycle()
    world.end_rollouts()
    world.run_cycles(2)
    assert world.sizes().memory_limit == 576 * MI
    world.change_usage(memory=530 * MI)
    world.next_slot()
    world.run_cycle()
    assert world.sizes().memory_request == 1060 * MI
    explanation = world.recommended()["containers"][0]["explanation"]["memory"]
    assert explanation["clamp"] == "NearLimit"
    assert (
        "raised to 2 x 530Mi = 1060Mi, because the memory in use is at 90% of its limit or above and climbed by 210Mi in 5 minutes"
        in explanation["text"]
    )


def test_what_was_raised_at_once_is_not_lowered_for_two_hours(world: World) -> None:
    world.apply_profile(apply={"lowerAtMostEvery": "0h"}, memory={"statistic": "p50"})
    world.add_deployment()
    world.run_cycle()
    world.end_rollouts()
    world.run_cycles(2)
    world.change_usage(memory=570 * MI)
    world.next_slot()
    world.run_cycle()
    world.end_rollouts()
    assert world.sizes().memory_request == 1140 * MI
    world.change_usage(memory=320 * MI)
    world.pass_time(3_600)
    world.run_cycles(2)
    assert world.told() == ("Blocked", "CoolingDown")
    world.pass_time(3_600)
    world.run_cycle()
    assert (world.sizes().memory_request or 0) < 1140 * MI


def test_evidence_of_another_rule_goes_from_the_status(world: World) -> None:
    world.apply_profile(mode="Recommend", window="12h", minimumHistory={"raise": "1h", "lower": "1h"})
    world.add_deployment(days=0.4)
    world.run_cycle()
    assert "OOM" in world.recommended()["evidence"]["summary"]
    world.apply_profile(mode="Recommend")
    world.run_cycle()
    assert "evidence" not in world.recommended()
