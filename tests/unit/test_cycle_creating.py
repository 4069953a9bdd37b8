"""Pods that are sized at their creation, through whole cycles: what is written for them, when, and what stays after trouble."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rightsizer.checks.confines import Bounds, LimitRange, Quota
from rightsizer.errors import ClusterError, ClusterForbidden, ClusterRejected, ClusterUnreachable
from rightsizer.strategies.on_create import Entry, PodSizes
from rightsizer.workload import Container, Sizes, WorkloadRef
from tests.unit.builders import DAY, MI, WIDE, WORKED
from tests.unit.world import World

WEB = WorkloadRef("shop", "Deployment", "web")
SMALL = Sizes(cpu_request=100, cpu_limit=200, memory_request=128 * MI, memory_limit=192 * MI)
IN_FORCE = "in force for pods that are created from now on; those that run keep theirs"


class PowerCut(BaseException):
    """Nothing in the operator may catch this: it ends there and then."""


@pytest.fixture
def world() -> World:
    """Deployment/web of the worked example under a profile that applies to new pods."""
    world = World()
    world.add_deployment()
    world.apply_profile(apply={"strategy": "OnCreate"})
    return world


def entries(world: World, namespace: str = "shop") -> dict[str, dict[str, Sizes]]:
    found = world.cluster.stored_pod_sizes.get(namespace)
    return {} if found is None else {name: dict(entry.sizes) for name, entry in found.entries.items()}


def writes(world: World) -> int:
    return world.cluster.made("write_pod_sizes")


class TestWorkedExample:
    def test_stands_in_the_sizes_of_the_namespace(self, world: World) -> None:
        report = world.run_cycle()
        assert entries(world) == {"Deployment/web": {"app": WORKED}}
        assert (report.changed, report.unfinished, report.failed) == (1, 0, 0)

    def test_says_which_recommendation_it_is(self, world: World) -> None:
        world.run_cycle()
        entry = world.cluster.stored_pod_sizes["shop"].entries["Deployment/web"]
        assert entry.sized_by == f"deployment-web@{world.last_change()['time']}"

    def test_the_template_is_not_touched(self, world: World) -> None:
        world.run_cycle()
        assert world.cluster.applied == []
        assert world.sizes() == WIDE

    def test_is_told_as_what_new_pods_get(self, world: World) -> None:
        world.run_cycle()
        change = world.last_change()
        assert (change["strategy"], change["outcome"], change["message"]) == ("OnCreate", "Succeeded", IN_FORCE)
        assert world.told() == ("Applied", "UpToDate")
        assert world.recommended()["containers"][0]["current"]["requests"] == {"cpu": "216m", "memory": "384Mi"}
        assert world.events() == ["Resizing"]

    def test_is_written_once_and_then_nothing_is(self, world: World) -> None:
        world.run_cycle()
        world.run_cycles(1)
        before = world.cluster.writes
        world.run_cycles(5)
        assert world.cluster.writes == before
        assert writes(world) == 1

    def test_the_policies_are_looked_for_now_and_then(self, world: World) -> None:
        world.run_cycles(12)
        assert world.cluster.made("policy_trouble") == 3

    def test_many_workloads_are_one_write(self, world: World) -> None:
        for number in range(5):
            world.add_deployment(f"web-{number}")
        world.run_cycle()
        assert len(entries(world)) == 6
        assert writes(world) == 1

    def test_each_namespace_has_its_own(self, world: World) -> None:
        world.add_deployment(namespace="other")
        world.apply_profile(namespace="other", apply={"strategy": "OnCreate"})
        world.run_cycle()
        assert entries(world) == entries(world, "other")
        assert writes(world) == 2


class TestLater:
    def test_it_is_not_lowered_again_within_a_day(self, world: World) -> None:
        world.run_cycle()
        world.change_usage(cpu=20)
        world.pass_time(DAY / 2)
        world.run_cycle()
        assert entries(world) == {"Deployment/web": {"app": WORKED}}

    def test_another_number_is_added_to_the_earlier_ones(self, world: World) -> None:
        world.add_deployment("small", sizes=SMALL)
        world.cluster.stored_quotas = [Quota("shop", "q", {("cpu", "request"): 0}, {("cpu", "request"): 0})]
        world.run_cycle()
        first = entries(world)["Deployment/small"]["app"]
        assert (first.cpu_request, first.memory_request) == (None, 384 * MI)
        world.cluster.stored_quotas = []
        world.run_cycles(2)
        assert entries(world)["Deployment/small"]["app"] == WORKED

    @pytest.mark.parametrize(
        "leave",
        [
            lambda world: world.apply_profile(mode="Recommend", apply={"strategy": "OnCreate"}),
            lambda world: world.apply_profile(mode="Ignore"),
            lambda world: world.apply_profile(),
            lambda world: world.delete_profile(),
            lambda world: world.cluster.delete_workload(WEB),
            lambda world: world.cluster.edit(WEB, annotations={"rightsizer.dev/mode": "Recommend"}),
            lambda world: world.cluster.edit(WEB, pod_annotations={"rightsizer.dev/mode": "Ignore"}),
            lambda world: world.cluster.namespace_annotations.update(shop={"rightsizer.dev/mode": "Ignore"}),
            lambda world: world.cluster.edit(WEB, containers=(Container("renamed", WIDE),)),
        ],
        ids=["recommend", "ignore", "rollout", "no-profile", "gone", "workload", "pod-template", "namespace", "container"],
    )
    def test_an_entry_goes_with_its_reason(self, world: World, leave: object) -> None:
        world.run_cycle()
        assert callable(leave)
        leave(world)
        world.run_cycles(1)
        assert entries(world) == {}

    def test_a_pause_leaves_it_in_force(self, world: World) -> None:
        world.run_cycle()
        world.cluster.edit(WEB, annotations={"rightsizer.dev/paused": "true"})
        world.run_cycles(2)
        assert entries(world) == {"Deployment/web": {"app": WORKED}}

    def test_another_workload_of_the_same_name_does_not_inherit_it(self, world: World) -> None:
        world.run_cycle()
        world.cluster.delete_workload(WEB)
        world.add_deployment(days=0, uid="another", annotations={"rightsizer.dev/paused": "true"})
        world.run_cycles(1)
        assert entries(world) == {}

    def test_a_container_that_left_leaves_the_entry(self, world: World) -> None:
        world.run_cycle()
        entry = world.cluster.stored_pod_sizes["shop"].entries["Deployment/web"]
        both = Entry({**entry.sizes, "left": WORKED}, entry.recommendation, entry.since)
        world.cluster.stored_pod_sizes["shop"] = PodSizes("shop", {"Deployment/web": both})
        world.run_cycles(1)
        assert entries(world) == {"Deployment/web": {"app": WORKED}}

    def test_what_was_deleted_by_hand_was_undone_by_somebody(self, world: World) -> None:
        world.run_cycle()
        world.cluster.stored_pod_sizes.clear()
        world.run_cycles(1)
        assert (entries(world), world.told()) == ({}, ("Blocked", "RevertedByOther"))
        world.pass_time(DAY)
        world.run_cycle()
        assert entries(world) == {}

    @pytest.mark.parametrize("mode", ["Recommend", "Ignore"])
    def test_what_went_with_the_mode_comes_back_with_it(self, world: World, mode: str) -> None:
        world.run_cycle()
        world.apply_profile(mode=mode, apply={"strategy": "OnCreate"})
        world.run_cycles(2)
        world.apply_profile(apply={"strategy": "OnCreate"})
        world.pass_time(DAY)
        world.run_cycles(1)
        assert entries(world) == {"Deployment/web": {"app": WORKED}}


class TestTrouble:
    def test_without_the_policies_nothing_is_written_and_that_is_told(self, world: World) -> None:
        world.cluster.missing_policy = "no such API"
        world.run_cycles(2)
        assert entries(world) == {}
        assert world.told() == ("Blocked", "AdmissionPolicyMissing")

    def test_policies_that_come_later_are_noticed_at_once(self, world: World) -> None:
        world.cluster.missing_policy = "no such API"
        world.run_cycle()
        world.cluster.missing_policy = ""
        world.run_cycles(1)
        assert entries(world) == {"Deployment/web": {"app": WORKED}}

    def test_policies_that_go_leave_the_entries_and_are_told(self, world: World) -> None:
        world.run_cycle()
        world.cluster.missing_policy = "not installed"
        world.run_cycles(6)
        assert entries(world) == {"Deployment/web": {"app": WORKED}}
        assert world.told() == ("Blocked", "AdmissionPolicyMissing")
        assert world.recommended()["containers"][0]["current"]["requests"]["cpu"] == "500m"

    @pytest.mark.parametrize("call", ["limit_ranges", "quotas"])
    def test_entries_stay_where_not_all_around_them_is_known(self, world: World, call: str) -> None:
        world.add_deployment("another")
        world.cluster.edit(WorkloadRef("shop", "Deployment", "another"), annotations={"rightsizer.dev/paused": "true"})
        world.run_cycle()
        world.cluster.edit(WorkloadRef("shop", "Deployment", "another"), annotations={})
        world.cluster.fail(ClusterError("no"), call=call, namespace="shop")
        world.run_cycles(2)
        assert list(entries(world)) == ["Deployment/web"]
        assert (world.told(), world.told("another")) == (("Applied", "UpToDate"), ("Blocked", "SurroundingsUnknown"))

    def test_sizes_that_may_not_be_read_stop_only_those_that_need_them(self, world: World) -> None:
        world.run_cycle()
        world.add_deployment(namespace="other")
        world.apply_profile(namespace="other")
        world.cluster.fail(ClusterForbidden("no"), call="pod_sizes")
        world.run_cycles(2)
        assert world.told() == ("Blocked", "AdmissionPolicyMissing")
        assert world.sizes(namespace="other") == WORKED
        assert entries(world) == {"Deployment/web": {"app": WORKED}}

    def test_entries_stay_while_the_namespace_cannot_be_read(self, world: World) -> None:
        world.run_cycle()
        world.cluster.fail(ClusterError("no"), call="workloads", namespace="shop")
        world.run_cycles(2)
        assert entries(world) == {"Deployment/web": {"app": WORKED}}

    def test_a_write_that_is_refused_is_a_failed_change_and_waits(self, world: World) -> None:
        world.cluster.fail(ClusterRejected("too many"), call="write_pod_sizes", times=1)
        world.run_cycle()
        world.cluster.stored_pod_sizes.clear()
        assert (world.last_change()["outcome"], world.last_change()["message"]) == ("Failed", "too many")
        world.run_cycles(2)
        assert (entries(world), world.told()) == ({}, ("Blocked", "BackingOff"))
        world.pass_time(3_600)
        world.run_cycle()
        assert entries(world) == {"Deployment/web": {"app": WORKED}}

    @pytest.mark.parametrize("made", [False, True])
    def test_a_write_without_an_answer_is_judged_by_the_next_cycle(self, world: World, made: bool) -> None:
        world.cluster.fail(ClusterUnreachable("gone"), call="write_pod_sizes", times=1, after=made)
        world.run_cycle()
        assert world.last_change()["outcome"] == "Started"
        world.run_cycles(1)
        assert entries(world) == {"Deployment/web": {"app": WORKED}}
        assert world.last_change()["outcome"] == "Succeeded"
        assert writes(world) == (1 if made else 2)

    @pytest.mark.parametrize("call", ["write_recommendation", "write_pod_sizes"])
    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize("skip", [0, 1])
    def test_killed_anywhere_it_ends_as_if_nothing_had_happened(self, world: World, call: str, after: bool, skip: int) -> None:
        world.cluster.fail(PowerCut(), call=call, times=1, after=after, skip=skip)
        if call == "write_pod_sizes" and skip:
            world.add_deployment(namespace="other")
            world.apply_profile(namespace="other", apply={"strategy": "OnCreate"})
        with pytest.raises(PowerCut):
            world.run_cycle()
        world.restart()
        world.run_cycles(3)
        assert entries(world) == {"Deployment/web": {"app": WORKED}}
        assert (world.last_change()["outcome"], world.told()) == ("Succeeded", ("Applied", "UpToDate"))
        assert writes(world) <= 4


class TestWhatTheNamespaceAllows:
    def test_a_full_object_takes_no_more_and_keeps_what_it_has(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("rightsizer.cycle.creating.MOST_ENTRIES", 1)
        world.add_deployment("zoo")
        world.run_cycles(2)
        assert list(entries(world)) == ["Deployment/web"]
        assert (world.told("zoo"), world.told()) == (("Blocked", "PodSizesFull"), ("Applied", "UpToDate"))

    def test_a_minimum_moves_the_size(self, world: World) -> None:
        world.cluster.stored_limit_ranges = [LimitRange("shop", "l", (Bounds(least={"cpu": 300}),))]
        world.run_cycle()
        assert entries(world)["Deployment/web"]["app"] == replace(WORKED, cpu_request=300)
        world.run_cycles(2)
        assert world.told() == ("Blocked", "LimitRangeForbids")
        assert writes(world) == 1

    def test_two_workloads_do_not_get_the_same_room(self, world: World) -> None:
        for name in ("a", "b"):
            world.add_deployment(name, sizes=SMALL)
        room = 3 * 116 + 10
        world.cluster.stored_quotas = [Quota("shop", "q", {("cpu", "request"): room}, {("cpu", "request"): 0})]
        world.run_cycle()
        raised = [entries(world)[f"Deployment/{name}"]["app"].cpu_request for name in ("a", "b")]
        assert raised == [216, None]
        world.run_cycles(2)
        assert entries(world)["Deployment/b"]["app"].cpu_request is None
        assert world.told("b") == ("Blocked", "QuotaExceeded")
