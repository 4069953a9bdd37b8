"""A release that changes the level: how it is learned, and that only what came after it counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rightsizer.checks.measuring import not_enough_history
from rightsizer.cli.assessing import Declared, Usage, assess, rule
from rightsizer.cycle.remembering import remembered
from rightsizer.history import SLOT_SECONDS, UsageWindow
from rightsizer.methods.finding import NOTHING_KNOWN, FindingType, Known
from rightsizer.methods.measured import Measured
from rightsizer.methods.patterns.recognising import recognise
from rightsizer.methods.patterns.shift import shifts
from rightsizer.methods.release import Release, since_releases
from rightsizer.ports import Recorded
from rightsizer.status.release import image_status, newest_release, splitting_releases
from rightsizer.workload import ContainerKey, ResourceName
from tests.unit.builders import DAY, MI, NOW, PLAIN_RULE, REF, check_facts, container_facts, recommendation, usage_window
from tests.unit.test_status import schema, unknown_fields
from tests.unit.world import World

SLOTS = 14 * 288
HOUR = 3_600
OLD, NEW = "registry.example.com/shop/web:1", "registry.example.com/shop/web:2"


def released(days_ago: float) -> Release:
    return Release(NOW - days_ago * DAY, NEW)


def changed(days_ago: float, *, before: float = 300, after: float = 100, memory: float = 200) -> UsageWindow:
    """CPU that went from one level to another; memory that did not."""
    rng = np.random.default_rng(7)
    cpu = np.full(SLOTS, float(before))
    cpu[SLOTS - round(days_ago * 288) :] = after
    return usage_window([(cpu * rng.uniform(0.9, 1.1, SLOTS)).tolist()], [[memory * MI] * SLOTS])


def split(usage: UsageWindow, known: Known) -> dict[ResourceName, Release]:
    (found,) = recognise(usage, slice(None), [known])
    return {resource: each.release for resource, each in found.splits.items()}


class TestShift:
    @pytest.mark.parametrize("after", [100, 700], ids=["down", "up"])
    @pytest.mark.parametrize("days", [1.2, 5, 12.5])
    def test_with_a_release_splits_the_history_of_that_resource(self, after: float, days: float) -> None:
        assert split(changed(days, after=after), Known(release=released(days))) == {"cpu": released(days)}

    @pytest.mark.parametrize("late_hours", [0, 3, 5])
    def test_may_take_some_hours(self, late_hours: float) -> None:
        assert split(changed(5), Known(release=released(5 + late_hours / 24)))

    @pytest.mark.parametrize(
        "known",
        [
            NOTHING_KNOWN,
            Known(release=released(8)),
            Known(release=released(3)),
            Known(release=released(0.1)),
            Known(release=released(20)),
            Known(release=released(-1)),
        ],
        ids=["none", "long-before", "after", "just-now", "before-the-window", "of-a-clock-ahead"],
    )
    def test_without_one_at_that_time_splits_nothing_and_is_told(self, known: Known) -> None:
        (found,) = recognise(changed(5), slice(None), [known])
        assert found.splits == {}
        assert "but none was seen" in found.findings[0].message

    def test_of_less_than_a_day_splits_nothing(self) -> None:
        assert split(changed(0.9), Known(release=released(0.9))) == {}

    def test_that_is_small_splits_nothing(self) -> None:
        assert split(changed(5, after=250), Known(release=released(5))) == {}
        assert split(changed(5, before=30, after=10), Known(release=released(5))) == {}

    def test_of_the_newest_release_goes_before_a_larger_one(self) -> None:
        usage = changed(9, before=1000, after=300)
        usage.cpu[0, SLOTS - 4 * 288 :] /= 2
        assert split(usage, Known(release=released(4))) == {"cpu": released(4)}

    def test_message(self) -> None:
        (found,) = recognise(changed(5), slice(None), [Known(release=released(5))])
        assert found.findings[0].message == (
            "since the release of 2025-11-15 12:00 UTC (image web:2) CPU is 100m in the mean, before 300m: only usage since then counts"
        )


class TestSplit:
    def test_goes_on_after_a_release_that_changed_nothing(self) -> None:
        known = Known(release=released(2), splits={"cpu": released(5)})
        assert split(changed(5), known) == {"cpu": released(5)}

    def test_ends_where_the_levels_met_again(self) -> None:
        usage = changed(5)
        usage.cpu[0, -400:] = 300
        assert split(usage, Known(release=released(5), splits={"cpu": released(5)})) == {}

    @pytest.mark.parametrize("hours", range(0, 40, 3))
    def test_goes_on_until_it_leaves_the_window(self, hours: int) -> None:
        days = 13 + hours / 24
        usage = changed(days)
        assert split(usage, Known(splits={"cpu": released(days)})) == ({"cpu": released(days)} if hours < 33 else {})

    def test_leaves_out_what_was_before(self) -> None:
        usage, (found,) = changed(5), recognise(changed(5), slice(None), [Known(release=released(5))])
        left = since_releases(usage, [found.splits])
        known = np.flatnonzero(~np.isnan(left.cpu[0]))
        assert (known[0], len(known)) == (pytest.approx(SLOTS - 5 * 288, abs=36), SLOTS - known[0])
        assert left.memory is usage.memory
        assert not np.isnan(usage.cpu).any()

    def test_before_and_after_are_the_whole_history(self) -> None:
        (found,) = recognise(changed(5), slice(None), [Known(release=released(5))])
        one = found.splits["cpu"]
        assert one.before_seconds == (one.start - (int(NOW) - (SLOTS - 1) * SLOT_SECONDS))

    def test_forgets_rare_peaks_of_the_former_release(self) -> None:
        usage = changed(9, before=100, after=100)
        usage.memory[0, 288:300] *= 4
        usage.memory[0, SLOTS - 9 * 288 :] *= 2
        known = Known(release=released(9))
        assert FindingType.RARE_PEAK in [each.type for each in recognise(usage, slice(None), [NOTHING_KNOWN])[0].findings]
        (found,) = recognise(usage, slice(None), [known])
        assert "memory" in found.splits
        assert FindingType.RARE_PEAK not in [each.type for each in found.findings]

    def test_levels_gaps_and_explanation_are_of_what_came_since(self) -> None:
        (found,) = recognise(changed(5), slice(None), [Known(release=released(5))])
        facts = replace(container_facts(rule=PLAIN_RULE), recognised=found, held={"cpu": 500.0})
        (sized,) = Measured().recommend(since_releases(changed(5), [found.splits]), [facts])
        assert sized.cpu is not None
        measured = sized.cpu.measurement
        assert [measured.value, measured.peak] == pytest.approx([109, 110], abs=1)
        assert measured.history_seconds == pytest.approx(5 * DAY, abs=3 * HOUR)
        assert measured.coverage == pytest.approx(5 / 14, abs=0.01)
        assert measured.history_seconds + measured.before_release_seconds == 14 * DAY
        assert sized.cpu.text.startswith("p95 of 14d since the release of 2025-11-15 12:00 UTC (image web:2) (1,4")


class TestImage:
    @pytest.mark.parametrize(
        ("entry", "image", "expected"),
        [
            ({}, OLD, {"image": OLD}),
            ({"image": OLD}, OLD, {"image": OLD}),
            ({"image": OLD}, NEW, {"image": NEW, "imageSince": "2025-11-20T12:00:00Z"}),
            ({"image": NEW, "imageSince": "2025-11-10T00:00:00Z"}, NEW, {"image": NEW, "imageSince": "2025-11-10T00:00:00Z"}),
            ({"image": NEW, "imageSince": "2025-11-10T00:00:00Z"}, OLD, {"image": OLD, "imageSince": "2025-11-20T12:00:00Z"}),
            ({"image": OLD}, "", {}),
            ({}, "x" * 2000, {"image": "x" * 1024}),
        ],
        ids=["first-seen", "same", "changed", "since-then", "back-again", "unknown", "too-long"],
    )
    def test_status(self, entry: dict[str, str], image: str, expected: dict[str, str]) -> None:
        assert image_status(entry, image, now=NOW) == expected

    @pytest.mark.parametrize(
        "entry",
        [{}, {"image": NEW}, {"image": NEW, "imageSince": "once"}, {"imageSince": "2025-11-10T00:00:00Z"}, {"image": NEW, "imageSince": 7}],
        ids=["nothing", "no-time", "no-such-time", "no-image", "a-number"],
    )
    def test_no_release_is_read_where_none_was_seen(self, entry: dict[str, Any]) -> None:
        assert newest_release(entry) is None

    @pytest.mark.parametrize(
        "explanation", [None, [], {"cpu": None}, {"cpu": {"release": []}}, {"cpu": {"release": {"time": "x", "image": "y"}}}]
    )
    def test_an_edited_explanation_splits_nothing(self, explanation: Any) -> None:
        assert splitting_releases({"explanation": explanation}) == {}

    @pytest.mark.parametrize(
        ("image", "shown"),
        [(NEW, "web:2"), ("web", "web"), (f"r.io:5000/a/web@sha256:{'0123456789abcdef' * 4}", "web@sha256:0123456789ab")],
    )
    def test_is_told_in_short(self, image: str, shown: str) -> None:
        assert str(Release(NOW, image)) == f"the release of 2025-11-20 12:00 UTC (image {shown})"


class TestCheck:
    @pytest.mark.parametrize(
        ("seen_days", "before_days", "objection"),
        [(2, 12, "2 of 7 days of history since the release of 2025-11-18 12:00 UTC (image web:2)"), (8, 6, None)],
    )
    def test_is_lowered_by_what_was_seen_since(self, seen_days: int, before_days: int, objection: str | None) -> None:
        facts = self.facts(recommendation(), seen_days=seen_days, before_days=before_days)
        self.check(facts, objection)

    def test_is_raised_by_all_that_was_seen(self) -> None:
        wanted = recommendation(replace(container_facts().container.sizes, cpu_request=600, cpu_limit=1200))
        facts = self.facts(wanted, seen_days=2, before_days=12)
        slow = replace(facts, profile=replace(facts.profile, raise_after_seconds=10 * DAY))
        self.check(slow, None)

    def facts(self, found: Any, *, seen_days: int, before_days: int) -> Any:
        measured = {
            "history_seconds": seen_days * DAY,
            "samples": seen_days * 288,
            "release": released(2),
            "before_release_seconds": before_days * DAY,
        }
        both = {
            name: replace(each, measurement=replace(each.measurement, **measured))
            for name, each in (("cpu", found.cpu), ("memory", found.memory))
        }
        return check_facts(recommendations=[replace(found, **both)])

    def check(self, facts: Any, words: str | None) -> None:
        objection = not_enough_history(facts)
        assert (objection is None) == (words is None)
        if objection is not None and words is not None:
            assert objection.message.startswith(words)


class TestInTheCluster:
    def world(self, **profile: Any) -> World:
        world = World()
        world.apply_profile(**profile)
        world.add_deployment()
        self.deploy(world, OLD)
        world.run_cycle()
        return world

    def deploy(self, world: World, image: str) -> None:
        found = world.workload()
        world.cluster.stored_workloads[REF] = replace(found, containers=tuple(replace(each, image=image) for each in found.containers))

    def entry(self, world: World) -> dict[str, Any]:
        return dict(world.recommended()["containers"][0])

    def days_pass(self, world: World, days: float) -> None:
        world.end_rollouts()
        world.pass_time(days * DAY)
        world.run_cycle()

    def test_when_the_image_changed_is_learned_and_survives_a_restart(self) -> None:
        world = self.world()
        assert (self.entry(world)["image"], "imageSince" in self.entry(world)) == (OLD, False)
        world.pass_time(HOUR)
        self.deploy(world, NEW)
        world.run_cycle()
        since = self.entry(world)["imageSince"]
        assert (self.entry(world)["image"], since) == (NEW, "2025-11-20T13:01:00Z")
        world.restart()
        self.days_pass(world, 0.1)
        assert self.entry(world)["imageSince"] == since
        assert unknown_fields(world.recommended(), schema("resourcerecommendations", "status")) == []

    def test_an_equal_image_is_no_news(self) -> None:
        world = self.world()
        world.end_rollouts()
        world.run_cycles(2)
        writes = len(world.cluster.stored_recommendations)
        before = world.recommended()
        world.run_cycles(2)
        assert (world.recommended(), len(world.cluster.stored_recommendations)) == (before, writes)

    def less(self, **profile: Any) -> World:
        """A release that needs a third, a day and two hours ago."""
        world = self.world(**profile)
        world.end_rollouts()
        self.deploy(world, NEW)
        world.change_usage(cpu=60, memory=100 * MI)
        world.run_cycle()
        self.days_pass(world, 26 / 24)
        return world

    def test_a_lower_level_counts_from_the_second_day_and_is_made_after_a_week(self) -> None:
        world = self.less()
        entry = self.entry(world)
        assert entry["explanation"]["cpu"]["release"] == {"time": "2025-11-20T12:01:00Z", "image": NEW}
        assert "since the release of 2025-11-20 12:01 UTC (image web:2) (" in entry["explanation"]["memory"]["text"]
        assert entry["recommended"]["requests"] == {"cpu": "72m", "memory": "120Mi"}
        assert entry["findings"][0]["type"] == "LevelShift"
        assert world.told() == ("Waiting", "NotEnoughHistory")
        assert "of 7 days of history since the release of" in world.recommended()["summary"]["message"]
        assert world.sizes().cpu_request == 216
        self.days_pass(world, 6.2)
        assert (world.sizes().cpu_request, world.sizes().memory_request) == (72, 120 * MI)

    def test_the_command_line_says_the_same(self) -> None:
        world = self.less()
        recorded = [Recorded(REF, "deployment-web", {}, world.recommended())]
        known = remembered(recorded)
        assert known[ContainerKey(REF, "app")].release == Release(NOW + 60, NEW)
        declared = Declared(workloads=(world.workload(),), profiles=(), known=known)
        usage = Usage(history=world.measuring.history, now=world.clock.time, origin="here")
        (found,) = assess(rule(declared).values(), declared, usage)
        assert found.standing.recommendations["app"].wanted.cpu_request == 72

    def test_no_old_level_comes_back_before_it_leaves_the_window(self) -> None:
        world = self.less(memory={"statistic": "max"})
        for _ in range(14):
            self.days_pass(world, 0.95)
            world.restart()
            assert self.entry(world)["recommended"]["requests"]["memory"] == "120Mi"
        assert "release" not in self.entry(world)["explanation"]["memory"]

    def test_a_higher_level_is_made_as_soon_as_it_counts(self) -> None:
        world = self.world(cpu={"statistic": "p50"}, minimumHistory={"raise": "3d", "lower": "7d"})
        self.days_pass(world, 1)
        self.deploy(world, NEW)
        world.change_usage(cpu=400)
        world.run_cycle()
        self.days_pass(world, 26 / 24)
        assert world.sizes().cpu_request == 480


def test_shifts_of_no_rows() -> None:
    empty = np.empty((0, SLOTS), dtype=np.float32)
    assert shifts(empty, told=np.empty(0, dtype=np.bool_)).found.shape == (0,)
