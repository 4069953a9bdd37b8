"""A change is watched and taken back through whole cycles: by whom it is harmed, how long is waited then, what passes meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rightsizer.errors import ClusterForbidden
from rightsizer.history import SLOT_SECONDS, PodSeries
from rightsizer.ports import OomSeries
from rightsizer.workload import Container, FieldPath, RolloutPhase
from tests.unit.builders import DAY, MI, WIDE, WORKED
from tests.unit.moving_world import PODS, WEB, MovingWorld, killed, never_ready

HOUR = 3_600
STRATEGIES = ["Rollout", "InPlace", "OnCreate"]
TAKEN_BACK = ("Succeeded", True)


def crashes(world: MovingWorld) -> None:
    world.suffer(ended_at=world.clock.time, waiting="CrashLoopBackOff", started_at=None, ready=False)


def restarts(world: MovingWorld) -> None:
    world.suffer(ended_at=world.clock.time, restarts=2)


def unready(world: MovingWorld) -> None:
    world.cluster.edit_pod(PODS[0], ready=False, unready_since=world.clock.time)


def be_throttled(world: MovingWorld, share: float) -> None:
    """From the next slot on."""
    world.change_usage()
    world.source.usages = [usage if usage.until is not None else replace(usage, throttled=share) for usage in world.source.usages]


def exhausted(world: MovingWorld) -> None:
    """Both tell of it: kube-state-metrics and the pod itself."""
    killed(world)
    at = int(world.clock.time) // SLOT_SECONDS * SLOT_SECONDS
    world.source.kills.append(OomSeries(PodSeries("shop", PODS[0], "app"), at, WORKED.memory_limit))


def moving(strategy: str = "Rollout", trouble: Callable[[MovingWorld], object] | None = None, **apply: Any) -> MovingWorld:
    return MovingWorld(trouble, churn=strategy == "OnCreate", strategy=strategy, **apply)


class TestHarm:
    @pytest.mark.parametrize("strategy", STRATEGIES)
    @pytest.mark.parametrize(
        ("trouble", "words"),
        [
            (killed, "container app of pod web-5d9c7b-aaaaa was killed for memory"),
            (crashes, "container app of pod web-5d9c7b-aaaaa crashes again and again"),
            (restarts, "container app of pod web-5d9c7b-aaaaa restarted"),
            (unready, "pod web-5d9c7b-aaaaa has not been ready for 10 minutes"),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_is_taken_back_by_the_same_strategy(self, strategy: str, trouble: Callable[[MovingWorld], object], words: str) -> None:
        world = moving(strategy, trouble, verify={"period": "12m"})
        world.minutes(20)
        assert world.changes() == [(strategy, "Succeeded", True), (strategy, "Failed", False)]
        assert world.last_change()["reverts"] == words
        assert (world.sizes_of_new_pods(), world.told()) == (WIDE, ("Blocked", "BackingOff"))
        assert world.events().count("Reverting") == 1
        event = next(event for event in world.cluster.events if event.reason == "Reverting")
        assert event.message.startswith("app cpu 216m -> 500m, app memory 384Mi -> 1Gi: ")
        assert words in event.message

    @pytest.mark.parametrize("strategy", STRATEGIES)
    @pytest.mark.parametrize(("share", "taken_back"), [(0.6, True), (0.2, False)])
    def test_throttling_is_waited_for_until_its_hour_is_read(self, strategy: str, share: float, taken_back: bool) -> None:
        world = moving(strategy)
        # Before, it was throttled a little, so that there is such a measure.
        world.source.usages = [replace(usage, throttled=0.01) for usage in world.source.usages]
        world.minutes(1)
        be_throttled(world, share)
        world.minutes(70)
        assert world.changes() == [(strategy, "Succeeded", False)]
        world.minutes(20)
        assert world.changes()[0] == (strategy, "Succeeded", taken_back)
        assert world.last_change().get("reverts", "").startswith("container app was throttled in 59.8% of its" if taken_back else "")

    def test_pods_that_run_are_sized_back_in_place(self) -> None:
        world = moving("InPlace", killed)
        world.minutes(12)
        assert [world.pod_sizes(name) for name in PODS] == [WIDE, WIDE]

    def test_what_restarted_before_is_not_blamed(self) -> None:
        world = moving("InPlace", restarts)
        world.suffer(ended_at=world.clock.time - HOUR, restarts=7)
        world.minutes(10)
        assert world.changes() == [("InPlace", "Succeeded", False)]
        assert "restarted" not in world.last_change()["message"]

    def test_a_pod_that_was_not_ready_before_is_not_blamed(self) -> None:
        world = moving("InPlace")
        world.cluster.edit_pod(PODS[0], ready=False, unready_since=world.clock.time - HOUR)
        world.minutes(15)
        assert world.changes() == [("InPlace", "Succeeded", False)]
        assert [world.pod_sizes(name) for name in PODS] == [WIDE, WORKED]

    def test_well_at_the_end_of_the_watch(self) -> None:
        world = moving(verify={"period": "5m"})
        world.minutes(2)
        assert world.told() == ("Verifying", "Verifying")
        world.minutes(6)
        assert (world.changes(), world.told()) == ([("Rollout", "Succeeded", False)], ("Applied", "UpToDate"))

    def test_pods_that_cannot_be_listed_are_not_taken_for_well(self) -> None:
        world = moving()
        world.cluster.fail(ClusterForbidden("no"), call="pods_of")
        world.minutes(10)
        assert world.last_change()["outcome"] == "Verifying"
        world.cluster.recover()
        world.minutes(1)
        assert world.last_change()["outcome"] == "Succeeded"

    def test_nothing_is_taken_back_where_the_profile_only_recommends_by_then(self) -> None:
        world = moving(trouble=killed, verify={"period": "5m"})
        world.minutes(2)
        world.apply_profile(mode="Recommend", apply={"verify": {"period": "5m"}})
        world.minutes(8)
        assert world.changes() == [("Rollout", "Failed", False)]
        assert world.sizes() == WORKED

    def test_is_not_taken_back_on_top_of_what_others_set(self) -> None:
        world = moving(trouble=killed, verify={"period": "5m"})
        world.minutes(2)
        world.cluster.edit(WEB, containers=(Container("app", replace(WORKED, memory_limit=700 * MI)),))
        world.minutes(8)
        assert world.changes() == [("Rollout", "Superseded", False)]
        assert world.sizes().memory_limit == 700 * MI


class TestReversal:
    def test_that_is_refused_is_tried_again_an_hour_later(self) -> None:
        world = moving(trouble=never_ready)
        world.cluster.fail(ClusterForbidden("webhook"), call="apply", skip=1)
        world.minutes(20)
        assert world.changes() == [("Rollout", "Failed", True), ("Rollout", "Failed", False)]
        assert world.cluster.made("apply") == 2
        world.cluster.recover()
        world.pass_time(HOUR)
        world.minutes(3)
        assert (world.sizes(), world.changes()[0]) == (WIDE, ("Rollout", "Succeeded", True))
        assert world.last_change()["failures"] == 1

    def test_is_made_where_a_person_asks_for_it(self) -> None:
        world = moving()
        world.minutes(8)
        stored = world.cluster.stored_recommendations[WEB]
        stored.recorded = replace(stored.recorded, revert_asked=world.clock.time - 7 * 60)
        world.minutes(3)
        assert (world.sizes(), world.changes()) == (WIDE, [("Rollout", "Succeeded", True), ("Rollout", "Succeeded", False)])
        assert world.last_change()["reverts"] == "somebody asked for it"

    def test_of_another_change_than_the_newest_is_not_made(self) -> None:
        world = moving()
        world.minutes(8)
        stored = world.cluster.stored_recommendations[WEB]
        stored.recorded = replace(stored.recorded, revert_asked=world.clock.time - DAY)
        world.minutes(3)
        assert world.sizes() == WORKED

    def test_waits_while_the_workload_is_paused(self) -> None:
        world = moving(trouble=killed, verify={"period": "4m"})
        world.minutes(2)
        world.cluster.edit(WEB, annotations={"rightsizer.dev/paused": "true"})
        world.minutes(8)
        assert (world.sizes(), world.changes()) == (WORKED, [("Rollout", "Failed", False)])
        world.cluster.edit(WEB, annotations={})
        world.minutes(3)
        assert world.sizes() == WIDE


class TestBackOff:
    def test_grows_with_every_change_in_a_row_that_was_taken_back(self) -> None:
        world = moving(trouble=never_ready)
        for failures, days in ((1, 1), (2, 2), (3, 7), (4, 7)):
            world.trouble = never_ready
            world.minutes(6)
            assert (world.sizes(), world.last_change()["failures"]) == (WIDE, failures)
            world.pass_time(days * DAY - HOUR)
            world.minutes(1)
            assert (world.told(), world.cluster.made("apply")) == (("Blocked", "BackingOff"), 2 * failures)
            world.pass_time(HOUR)

    def test_one_that_went_well_begins_anew(self) -> None:
        world = moving(trouble=never_ready)
        world.minutes(6)
        world.pass_time(DAY)
        world.minutes(6)
        # The memory is still watched until its peak hour.
        assert (world.last_change()["outcome"], world.last_change()["failures"]) == ("Succeeded", 1)
        world.pass_time(HOUR)
        world.minutes(2)
        assert "failures" not in world.last_change()

    def test_a_raise_in_between_does_not_end_it(self) -> None:
        world = moving(trouble=killed)
        world.minutes(6)
        assert world.told() == ("Blocked", "BackingOff")
        raise_memory(world)
        world.minutes(6)
        assert (world.changes()[0], world.sizes().memory_limit) == (("Rollout", "Succeeded", False), world.sizes().memory_limit)
        assert (world.sizes().memory_limit or 0) > (WIDE.memory_limit or 0)
        assert (world.sizes().cpu_request, world.told()) == (500, ("Blocked", "BackingOff"))
        assert world.last_change()["failures"] == 1


def raise_memory(world: MovingWorld, used: float = 1_950 * MI) -> None:
    """It is used up to the limit, and killed for it."""
    world.change_usage(memory=used)
    world.next_slot()
    world.next_slot()


class TestMemoryUnderPressure:
    def test_after_a_kill_it_comes_back_larger_than_what_was_too_little(self) -> None:
        world = moving(trouble=exhausted)
        world.apply_profile(minimumHistory={"raise": "1h", "lower": "1h"}, apply={"verify": {"period": "2m"}})
        world.minutes(8)
        assert world.sizes() == WIDE
        world.pass_time(DAY)
        world.minutes(6)
        assert (world.changes()[0], world.sizes().cpu_request) == (("Rollout", "Succeeded", False), 216)
        assert (world.sizes().memory_limit or 0) >= (WORKED.memory_limit or 0) * 1.2

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_cuts_a_watch_short(self, strategy: str) -> None:
        world = moving(strategy, verify={"period": "2h"})
        world.minutes(4)
        assert world.told() == ("Verifying", "Verifying")
        raise_memory(world, 560 * MI)
        world.minutes(1)
        (history,) = world.recommended()["history"]
        assert history["outcome"] == "Succeeded"
        assert history["message"].endswith("; the next change came before its watch ended")
        assert (world.sizes_of_new_pods().memory_limit or 0) > (WORKED.memory_limit or 0)

    def test_a_watch_holds_back_what_is_only_worth_it(self) -> None:
        world = moving(verify={"period": "2h"})
        world.minutes(4)
        world.change_usage(cpu=400)
        world.pass_time(HOUR)
        world.minutes(1)
        assert (world.sizes(), world.told()[1]) == (WORKED, "Verifying")


class TestUndone:
    def put_back(self, world: MovingWorld, manager: str) -> None:
        managers = {FieldPath("app", "cpu", "request"): manager, FieldPath("app", "memory", "limit"): manager}
        world.cluster.edit(WEB, containers=(Container("app", WIDE),), managers=managers, rollout=RolloutPhase.COMPLETE)

    @pytest.mark.parametrize("manager", ["kubectl-edit", "argocd-controller"])
    @pytest.mark.parametrize("minutes", [1, 2, 6], ids=["recorded", "watched", "ended"])
    def test_is_named_and_not_repeated(self, manager: str, minutes: int) -> None:
        world = moving()
        world.minutes(minutes)
        self.put_back(world, manager)
        world.minutes(3)
        assert (world.changes(), world.last_change()["undoneBy"]) == ([("Rollout", "Undone", False)], manager)
        assert world.told() == ("Blocked", "RevertedByOther")
        assert world.recommended()["summary"]["message"].startswith(f"{manager} put the values from before the change of ")
        world.pass_time(9 * DAY)
        world.minutes(3)
        assert (world.sizes(), len(world.cluster.applied)) == (WIDE, 1)

    def test_another_value_of_theirs_is_changed_again(self) -> None:
        world = moving()
        world.minutes(6)
        self.put_back(world, "kubectl-edit")
        world.minutes(2)
        world.cluster.edit(WEB, containers=(Container("app", replace(WIDE, cpu_request=700)),), managers={})
        world.pass_time(DAY)
        world.minutes(3)
        assert world.sizes() == replace(WIDE, cpu_request=216)

    def test_it_is_held_beyond_the_next_change_of_another_number(self) -> None:
        world = moving()
        world.minutes(6)
        self.put_back(world, "kubectl-edit")
        world.minutes(2)
        other = replace(WIDE, memory_request=900 * MI)
        world.cluster.edit(WEB, containers=(Container("app", other),), managers={})
        world.pass_time(DAY)
        world.minutes(8)
        assert [change[1] for change in world.changes()] == ["Succeeded", "Undone"]
        world.pass_time(DAY)
        world.minutes(4)
        assert world.sizes() == replace(WIDE, memory_request=384 * MI)


class TestHistory:
    def test_keeps_the_last_ten(self) -> None:
        world = moving("OnCreate", verify={"period": "0m"}, minimumChange="1%")
        world.apply_profile(
            window="1d",
            minimumHistory={"raise": "1h", "lower": "1h"},
            cpu={"statistic": "max", "max": "1000"},
            apply={"strategy": "OnCreate"},
        )
        world.minutes(2)
        cpu = 500.0
        for _ in range(13):
            cpu *= 1.5
            world.change_usage(cpu=cpu)
            world.pass_time(HOUR)
            world.minutes(1)
        assert len(world.changes()) == 10
        times = [world.last_change()["time"], *(one["time"] for one in world.recommended()["history"])]
        assert times == sorted(times, reverse=True)
        assert {change[1] for change in world.changes()} == {"Succeeded"}


class TestRequests:
    @pytest.mark.parametrize(("strategy", "most"), [("Rollout", 6), ("InPlace", 6), ("OnCreate", 6)])
    def test_of_one_change(self, strategy: str, most: int) -> None:
        world = moving(strategy)
        # What is recommended is written before, with whatever is written once.
        world.apply_profile(mode="Recommend", window="1d", minimumHistory={"raise": "1h", "lower": "1h"})
        world.minutes(2)
        before = world.cluster.made("write_recommendation", "apply", "emit", "write_pod_sizes")
        spec = {"strategy": strategy, "verify": {"period": "2m"}}
        world.apply_profile(window="1d", minimumHistory={"raise": "1h", "lower": "1h"}, apply=spec)
        events = len(world.events("ResourceProfile"))
        world.minutes(10)
        assert world.last_change()["outcome"] == "Succeeded"
        made = world.cluster.made("write_recommendation", "apply", "emit", "write_pod_sizes") - before
        assert made - (len(world.events("ResourceProfile")) - events) <= most
        assert world.cluster.made("pods_of") <= (2 if strategy == "Rollout" else 5)
