"""What findings do: to the numbers, in the status, as an event, and in the explanation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rightsizer.cli.assessing import Declared, Usage, assess, rule
from rightsizer.cli.walkthrough import render as walk_through
from rightsizer.history import SLOT_SECONDS, PodSeries, UsageWindow
from rightsizer.methods.finding import Finding, FindingType
from rightsizer.methods.measured import Measured
from rightsizer.methods.recommendation import Clamp, ContainerRecommendation
from rightsizer.methods.sizing import leak_hold, unthrottled
from rightsizer.profile import ContainerRule, LimitPolicy, LimitRule
from rightsizer.status import recommendation as recommendation_status
from rightsizer.status.conditions import Trouble
from rightsizer.status.findings import findings_to_write, told_findings
from rightsizer.workload import OwnerRef, Sizes
from tests.fakes import PodUsage
from tests.unit.builders import GI, MI, NOW, PLAIN_RULE, WIDE, container_facts, recommendation, usage_window, with_recognised
from tests.unit.test_status import schema, standing, unknown_fields
from tests.unit.world import World

NAN = float("nan")
LEAK, IDLE = Finding(FindingType.MEMORY_LEAK, "it leaks"), Finding(FindingType.IDLE, "it sleeps")
GUARANTEED = Sizes(cpu_request=1000, cpu_limit=1000, memory_request=GI, memory_limit=GI)
BLOCK = 36
CLIMB = 24
"""Blocks of three hours: a climb takes three days."""


def leaking(*, low: float = 400 * MI, high: float = 900 * MI, times: int = 4) -> UsageWindow:
    """A saw up to now: so many climbs of three days."""
    memory = np.tile(np.linspace(low, high, CLIMB * BLOCK), times).tolist()
    return usage_window([[100.0] * len(memory)], [memory])


def recommended(usage: UsageWindow, **facts: Any) -> ContainerRecommendation:
    (found,) = Measured().recommend(usage, with_recognised(usage, container_facts(rule=facts.pop("rule", PLAIN_RULE), **facts)))
    return found


class TestLeak:
    def test_is_told_and_leaves_the_memory_as_it_is(self) -> None:
        found = recommended(leaking())
        assert [each.type for each in found.findings] == [FindingType.MEMORY_LEAK]
        assert (found.wanted.memory_request, found.wanted.memory_limit) == (WIDE.memory_request, WIDE.memory_limit)
        assert found.memory is not None
        assert (found.memory.request_clamp, found.memory.limit_clamp) == (Clamp.LEAK, Clamp.LEAK)
        assert found.memory.text.endswith("left at 1Gi, because the memory leaks; limit 2Gi left, because the memory leaks")

    def test_cpu_is_sized_all_the_same(self) -> None:
        assert recommended(leaking()).wanted.cpu_request == 120

    @pytest.mark.parametrize("oom_floor", [None, 3 * GI])
    def test_is_not_chased_by_its_kills(self, oom_floor: int | None) -> None:
        low = replace(WIDE, memory_request=512 * MI, memory_limit=GI)
        found = recommended(leaking(), sizes=low, oom_floor=oom_floor)
        assert (found.wanted.memory_request, found.wanted.memory_limit) == (512 * MI, GI)

    def test_with_less_than_it_begins_with_it_gets_that_and_the_buffer(self) -> None:
        found = recommended(leaking(), sizes=replace(WIDE, memory_request=64 * MI, memory_limit=None))
        assert (found.wanted.memory_request, found.wanted.memory_limit) == (480 * MI, None)
        assert found.memory is not None
        assert "held at 480Mi, from which it climbs anew with the buffer, because the memory leaks; no limit" in found.memory.text

    @pytest.mark.parametrize(
        ("policy", "limit"), [(LimitPolicy.RATIO, 2 * GI), (LimitPolicy.KEEP, 2 * GI), (LimitPolicy.NONE, None)], ids=str
    )
    def test_under_each_policy(self, policy: LimitPolicy, limit: int | None) -> None:
        rule_ = replace(PLAIN_RULE, memory=replace(PLAIN_RULE.memory, limit=LimitRule(policy=policy)))
        found = recommended(leaking(), rule=rule_)
        assert (found.wanted.memory_request, found.wanted.memory_limit) == (GI, limit)

    def test_the_bounds_of_the_profile_win(self) -> None:
        rule_ = replace(PLAIN_RULE, memory=replace(PLAIN_RULE.memory, minimum=3 * GI))
        found = recommended(leaking(), rule=rule_)
        assert (found.wanted.memory_request, found.wanted.memory_limit) == (3 * GI, 3 * GI)

    def test_a_guaranteed_pod_stays_so(self) -> None:
        found = recommended(leaking(), sizes=GUARANTEED, guaranteed=True)
        assert (found.wanted.memory_request, found.wanted.memory_limit) == (GI, GI)

    def test_growth_without_a_fall_is_followed(self) -> None:
        days = np.linspace(400 * MI, 2_000 * MI, 10 * 288).tolist()
        found = recommended(usage_window([[100.0] * len(days)], [days]))
        assert FindingType.MEMORY_GROWTH in [each.type for each in found.findings]
        assert found.wanted.memory_request == 2_400 * MI

    def test_hold_of_several(self) -> None:
        current, start = np.array([512.0, NAN, 100.0, 512.0]) * MI, np.array([400.0, 400.0, 400.0, NAN]) * MI
        np.testing.assert_array_equal(leak_hold(current, start, 0.2), np.array([512, 480, 480, NAN]) * MI)


class TestThrottled:
    @pytest.mark.parametrize(("share", "becomes"), [(NAN, 100), (0.04, 100), (0.2, 125), (0.5, 200), (0.9, 200), (1, 200)])
    def test_what_was_cut_off_is_added(self, share: float, becomes: float) -> None:
        values, shares = np.array([[100]], dtype=np.float32), np.array([[share]], dtype=np.float32)
        assert unthrottled(values, shares, noticeably=0.05)[0, 0] == pytest.approx(becomes)

    def throttled(self, share: float, **facts: Any) -> ContainerRecommendation:
        return recommended(usage_window([[100.0] * 40], [[100.0 * MI] * 40], throttled=[[share] * 40]), **facts)

    def test_the_request_is_raised_and_the_limit_not_lowered(self) -> None:
        found = self.throttled(0.2)
        assert (found.wanted.cpu_request, found.wanted.cpu_limit) == (150, 1000)
        assert found.cpu is not None
        assert (found.cpu.request_clamp, found.cpu.limit_clamp) == (Clamp.THROTTLED, Clamp.THROTTLED)
        assert found.cpu.text.endswith("up to 2 x: + 20 % = 150m; limit 1 left, because it throttles already")

    def test_a_low_limit_rises_with_the_request(self) -> None:
        found = self.throttled(0.2, sizes=replace(WIDE, cpu_request=50, cpu_limit=110))
        assert (found.wanted.cpu_request, found.wanted.cpu_limit) == (150, 300)

    def test_a_guaranteed_pod_keeps_the_limit_that_throttles(self) -> None:
        found = self.throttled(0.2, sizes=GUARANTEED, guaranteed=True)
        assert (found.wanted.cpu_request, found.wanted.cpu_limit) == (1000, 1000)
        assert found.cpu is not None
        assert "raised to the limit 1, at which it was throttled, because the pod is Guaranteed" in found.cpu.text

    @pytest.mark.parametrize("share", [0.0, 0.04])
    def test_hardly_throttled_is_not_at_all(self, share: float) -> None:
        found = self.throttled(share)
        assert (found.wanted.cpu_request, found.wanted.cpu_limit, found.findings) == (120, 240, ())

    def test_others_of_the_same_rule_are_left_alone(self) -> None:
        usage = usage_window([[100.0] * 40] * 2, [[100.0 * MI] * 40] * 2, throttled=[[0.2] * 40, [NAN] * 40])
        facts = [container_facts(name, rule=PLAIN_RULE) for name in ("c0", "c1")]
        found = Measured().recommend(usage, with_recognised(usage, *facts))
        assert [(each.wanted.cpu_request, each.wanted.cpu_limit) for each in found] == [(150, 1000), (120, 240)]


class TestRarePeak:
    def weekly(self, peak: float) -> UsageWindow:
        memory = np.full(14 * 288, 200.0 * MI)
        for day in (3, 10):
            memory[day * 288 : day * 288 + 12] = peak * MI
        return usage_window([[100.0] * len(memory)], [memory.tolist()])

    def rule(self, limit: LimitRule) -> ContainerRule:
        return replace(PLAIN_RULE, memory=replace(PLAIN_RULE.memory, statistic="p95", limit=limit))

    def test_the_limit_has_room_for_it(self) -> None:
        found = recommended(self.weekly(800), rule=self.rule(LimitRule(ratio=1.5, max_ratio=2.0)))
        assert [each.type for each in found.findings] == [FindingType.RARE_PEAK]
        assert (found.wanted.memory_request, found.wanted.memory_limit) == (480 * MI, 960 * MI)
        assert found.memory is not None
        assert found.memory.request_clamp is Clamp.PEAK
        words = "+ 20 % = 240Mi; raised to 1.2 x the peak of 800Mi = 960Mi, over 2 = 480Mi, because the limit has to hold the peak"
        assert words in found.memory.text

    def test_where_the_limit_has_room_anyway_nothing_is_raised(self) -> None:
        found = recommended(self.weekly(390), rule=self.rule(LimitRule(ratio=1.5, max_ratio=2.0)))
        assert [each.type for each in found.findings] == [FindingType.RARE_PEAK]
        assert (found.wanted.memory_request, found.wanted.memory_limit) == (240 * MI, 480 * MI)

    def test_without_a_limit_nothing_kills(self) -> None:
        found = recommended(self.weekly(800), rule=self.rule(LimitRule(policy=LimitPolicy.NONE)))
        assert (found.wanted.memory_request, found.wanted.memory_limit) == (240 * MI, None)


class TestStatus:
    def entry(self, *findings: Finding, old: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        status = recommendation_status.render(
            standing(None, replace(recommendation(), findings=findings), **fields), old=old or {}, now=NOW
        )
        self.status = status
        return dict(status["containers"][0])

    def test_has_them_in_the_schema(self) -> None:
        assert self.entry(LEAK, IDLE)["findings"] == [
            {"type": "MemoryLeak", "message": "it leaks"},
            {"type": "Idle", "message": "it sleeps"},
        ]
        assert unknown_fields(self.status, schema("resourcerecommendations", "status")) == []

    def test_has_nothing_where_there_is_none(self) -> None:
        assert "findings" not in self.entry()

    def test_a_message_stands_as_long_as_the_explanation_does(self) -> None:
        self.entry(LEAK)
        old = self.status
        self.entry(Finding(FindingType.MEMORY_LEAK, "it leaks a little more"), old=old)
        assert self.status == old
        assert findings_to_write(old["containers"][0], [replace(LEAK, message="new")], renewed=True)[0]["message"] == "new"

    def test_what_comes_and_goes_is_news(self) -> None:
        self.entry(LEAK)
        assert self.entry(LEAK, IDLE, old=self.status)["findings"][1]["type"] == "Idle"
        assert "findings" not in self.entry(old=self.status)

    def test_they_stay_while_usage_cannot_be_measured(self) -> None:
        self.entry(LEAK)
        old = self.status
        unmeasured = standing(None, ContainerRecommendation("app", WIDE, WIDE), trouble=Trouble("MetricsMissing", "gone"))
        status = recommendation_status.render(unmeasured, old=old, now=NOW)
        assert status["containers"][0]["findings"] == old["containers"][0]["findings"]

    @pytest.mark.parametrize(
        ("findings", "told"),
        [
            ([{"type": "MemoryLeak", "message": "x"}, {"type": "Idle", "message": "y"}], {FindingType.MEMORY_LEAK, FindingType.IDLE}),
            ([{"type": "Other", "message": "x"}], set()),
            ([{"type": "Idle"}], set()),
            (["Idle"], set()),
            (None, set()),
        ],
        ids=["written", "unknown", "no-message", "no-list-of-findings", "null"],
    )
    def test_what_was_told_is_read_back(self, findings: Any, told: set[FindingType]) -> None:
        assert told_findings({"name": "app", "findings": findings}) == told


STEEP = np.linspace(400 * MI, 900 * MI, CLIMB)
EDGE = np.concatenate([[400 * MI, 425 * MI, 450 * MI], np.linspace(453 * MI, 505 * MI, CLIMB - 3)])
"""Most of it is warming up: too little to be told, enough to be told on."""


def steps(climb: NDArray[np.float64]) -> Iterator[tuple[int, int, float]]:
    """Four climbs up to NOW, in steps of three hours: first slot, last slot, bytes."""
    seconds = BLOCK * SLOT_SECONDS
    for block, memory in enumerate(np.tile(climb, 4).tolist()):
        end = int(NOW) - (4 * CLIMB - 1 - block) * seconds
        yield end - seconds + SLOT_SECONDS, end, memory


class TestInTheCluster:
    def leaking(self, climb: NDArray[np.float64] = STEEP) -> World:
        world = World()
        world.apply_profile()
        world.add_deployment(days=0)
        pod = "web-5d9c7b-aaaaa"
        world.own(pod, OwnerRef("ReplicaSet", "web-5d9c7b"))
        for since, until, memory in steps(climb):
            world.source.usages.append(PodUsage(PodSeries("shop", pod, "app"), 180, memory, since, until, None))
        return world

    def test_a_leak_is_an_event_once_and_nothing_is_changed_for_it(self) -> None:
        world = self.leaking()
        world.run_cycle()
        assert [found["type"] for found in world.recommended()["containers"][0]["findings"]] == ["MemoryLeak"]
        world.run_cycles(2)
        world.restart()
        world.run_cycles(2)
        assert world.events().count("MemoryLeak") == 1
        assert (world.sizes().memory_request, world.sizes().memory_limit) == (WIDE.memory_request, WIDE.memory_limit)
        told = next(event for event in world.cluster.events if event.reason == "MemoryLeak")
        assert told.message.startswith("container app: memory climbs steadily")

    @pytest.mark.parametrize("told", [False, True])
    def test_at_the_edge_a_finding_is_not_begun_but_goes_on(self, told: bool) -> None:
        world = self.leaking(EDGE)
        world.run_cycle()
        (entry,) = world.recommended()["containers"]
        assert "findings" not in entry
        if told:
            entry["findings"] = [{"type": "MemoryLeak", "message": "it leaks"}]
        world.restart()
        world.run_cycle()
        assert [found["type"] for found in world.recommended()["containers"][0].get("findings", [])] == ["MemoryLeak"] * told
        assert world.events().count("MemoryLeak") == 0

    def test_explain_tells_it(self) -> None:
        world = self.leaking()
        world.run_cycle()
        declared = Declared(workloads=(world.workload(),), profiles=())
        usage = Usage(history=world.measuring.history, now=world.clock.time, origin="here")
        text = walk_through(assess(rule(declared).values(), declared, usage)[0], usage)
        assert "\n  MemoryLeak: memory climbs steadily, by " in text
        assert "3. bounds   left at 1Gi, because the memory leaks" in text
