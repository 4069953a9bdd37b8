"""What stands around workloads, through whole cycles: what is read and when, what holds back, and what goes on all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rightsizer.checks.confines import Bounds, DisruptionBudget, LimitRange, Quota, Room, VerticalAutoscaler
from rightsizer.checks.node_room import Node
from rightsizer.cycle import Cycle
from rightsizer.errors import ClusterError, ClusterForbidden, ClusterUnreachable
from rightsizer.profile import LabelSelector
from rightsizer.workload import Container, Sizes, WorkloadRef
from tests.unit.builders import MI, WIDE, WORKED, workload
from tests.unit.world import World

SMALL = Sizes(cpu_request=100, cpu_limit=200, memory_request=128 * MI, memory_limit=192 * MI)
OWN = WorkloadRef("rightsizer", "Deployment", "rightsizer")
LISTS = ("limit_ranges", "quotas", "disruption_budgets", "vertical_autoscalers")
LOOKS = (*LISTS, "nodes", "daemon_sets", "annotations_of")


@pytest.fixture
def world() -> World:
    """Deployment/web of the worked example under a profile that applies by rollout, and an operator that knows its own Deployment."""
    world = World()
    world.add_deployment()
    world.apply_profile()
    world.cluster.add_workload(workload(ref=OWN, uid="own"))
    world.cycle = Cycle(world.cluster, world.measuring, world.clock, writes_at_once=1, own_deployment=OWN)
    return world


def own_mode(world: World, mode: str) -> None:
    world.cluster.edit(OWN, annotations={"rightsizer.dev/mode": mode})


class TestWhatIsRead:
    def test_nothing_where_all_profiles_recommend(self, world: World) -> None:
        world.apply_profile(mode="Recommend")
        world.run_cycles(3)
        assert world.cluster.made(*LOOKS) == 0

    def test_each_list_once_a_cycle_and_nodes_every_five_minutes(self, world: World) -> None:
        world.run_cycles(6)
        assert [world.cluster.made(call) for call in LISTS] == [6] * len(LISTS)
        assert (world.cluster.made("nodes"), world.cluster.made("daemon_sets")) == (2, 2)
        assert world.cluster.made("annotations_of") == 6

    def test_only_namespaces_in_which_something_is_applied(self, world: World) -> None:
        for namespace, spec in (("recommends", {"mode": "Recommend"}), ("creates", {"apply": {"strategy": "OnCreate"}})):
            world.add_deployment(namespace=namespace)
            world.apply_profile(namespace=namespace, **spec)
        world.run_cycle()
        asked = {call.name: call.namespaces for call in world.cluster.calls if call.name in LISTS}
        assert asked == {**dict.fromkeys(LISTS, ("creates", "shop")), "disruption_budgets": ("shop",)}

    def test_an_operator_without_a_deployment_does_not_look_for_one(self, world: World) -> None:
        world.restart()
        world.run_cycle()
        assert world.cluster.made("annotations_of") == 0
        assert world.sizes() == WORKED


class TestStop:
    @pytest.mark.parametrize("mode", ["Recommend", "Ignore", "stop!"])
    def test_nothing_is_changed_from_the_next_cycle_on(self, world: World, mode: str) -> None:
        own_mode(world, mode)
        world.run_cycle()
        assert (world.sizes(), world.told()) == (WIDE, ("Blocked", "Stopped"))
        assert f'"{mode}"' in world.recommended()["summary"]["message"]

    def test_recommendations_go_on_and_changes_when_it_ends(self, world: World) -> None:
        own_mode(world, "Recommend")
        world.run_cycle()
        assert world.recommended()["containers"][0]["recommended"]["requests"]["cpu"] == "216m"
        own_mode(world, "Apply")
        world.run_cycles(1)
        assert world.sizes() == WORKED

    def test_what_only_recommends_is_not_told_of_it(self, world: World) -> None:
        own_mode(world, "Recommend")
        world.add_deployment(namespace="other")
        world.apply_profile(namespace="other", mode="Recommend")
        world.run_cycle()
        assert world.told(namespace="other") == ("Recommended", "RecommendOnly")

    def test_without_such_a_deployment_nothing_stops(self, world: World) -> None:
        world.cluster.delete_workload(OWN)
        world.run_cycle()
        assert world.sizes() == WORKED

    @pytest.mark.parametrize("error", [ClusterForbidden("no"), ClusterUnreachable("gone"), ClusterError("odd")])
    def test_where_it_cannot_be_read_nothing_is_changed_and_nothing_else_is_asked(self, world: World, error: ClusterError) -> None:
        world.cluster.fail(error, call="annotations_of", times=1)
        world.run_cycle()
        assert (world.sizes(), world.told()) == (WIDE, ("Blocked", "Stopped"))
        assert "whether changes are stopped" in world.recommended()["summary"]["message"]
        assert world.cluster.made(*LISTS, "nodes") == 0
        world.run_cycles(1)
        assert world.sizes() == WORKED


class TestFreeze:
    def test_holds_back_its_namespace_only(self, world: World) -> None:
        world.add_deployment(namespace="other")
        world.apply_profile(namespace="other")
        world.cluster.namespace_annotations["shop"] = {"rightsizer.dev/freeze": "true"}
        world.run_cycle()
        assert (world.sizes(), world.told()) == (WIDE, ("Blocked", "Frozen"))
        assert world.sizes(namespace="other") == WORKED

    def test_ends_with_the_annotation(self, world: World) -> None:
        world.cluster.namespace_annotations["shop"] = {"rightsizer.dev/freeze": "true"}
        world.run_cycle()
        world.cluster.namespace_annotations["shop"] = {"rightsizer.dev/freeze": "false"}
        world.run_cycles(1)
        assert world.sizes() == WORKED

    def test_of_what_has_nothing_to_change_it_says_nothing(self, world: World) -> None:
        world.add_deployment("ready", sizes=WORKED)
        world.cluster.namespace_annotations["shop"] = {"rightsizer.dev/freeze": "true"}
        world.run_cycle()
        assert world.told("ready") == ("Applied", "UpToDate")


class TestWindow:
    def test_a_change_waits_for_its_window_and_the_status_stands_still(self, world: World) -> None:
        world.apply_profile(apply={"windows": [{"start": "12:30", "end": "13:00"}]})
        world.run_cycle()
        assert (world.sizes(), world.told()) == (WIDE, ("Blocked", "OutsideWindow"))
        before = world.cluster.writes
        world.run_cycles(3)
        assert world.cluster.writes == before
        world.pass_time(30 * 60)
        world.run_cycle()
        assert world.sizes() == WORKED

    def test_an_oom_kill_does_not_wait_unless_the_profile_says_so(self, world: World) -> None:
        shut = [{"start": "03:00", "end": "04:00"}]
        world.apply_profile(apply={"windows": shut, "raiseOutsideWindows": False})
        world.cluster.edit(WorkloadRef("shop", "Deployment", "web"), containers=(Container("app", WORKED),))
        world.kill_for_memory(limit=1024 * MI)
        world.run_cycles(2)
        assert (world.sizes(), world.told()) == (WORKED, ("Blocked", "OutsideWindow"))
        world.apply_profile(apply={"windows": shut})
        world.run_cycles(1)
        after = world.sizes()
        assert (after.memory_limit or 0) >= 1228 * MI
        assert after.cpu_request == WORKED.cpu_request

    def test_a_window_that_cannot_be_read_is_told_on_the_profile(self, world: World) -> None:
        world.apply_profile(apply={"windows": [{"timeZone": "Mars/Base"}]})
        world.run_cycle()
        ready = world.condition(world.profile_status(), "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "InvalidField")
        assert ready["message"].startswith("spec.apply.windows[0].timeZone: ")
        assert "default" not in ready["message"]
        assert world.told() == ("Blocked", "OutsideWindow")


class TestWhatStandsInTheWay:
    @pytest.mark.parametrize("call", [*LISTS, "nodes", "daemon_sets"])
    def test_what_cannot_be_read_holds_changes_back_and_measuring_goes_on(self, world: World, call: str) -> None:
        namespace = "shop" if call in LISTS else None
        world.cluster.fail(ClusterForbidden("you may not"), call=call, namespace=namespace)
        world.run_cycle()
        assert (world.sizes(), world.told()) == (WIDE, ("Blocked", "SurroundingsUnknown"))
        assert "could not be read: you may not" in world.recommended()["summary"]["message"]
        assert world.measuring_condition()["status"] == "True"
        world.cluster.recover()
        world.run_cycles(1)
        assert world.sizes() == WORKED

    def test_a_namespace_that_cannot_be_read_leaves_the_others_alone(self, world: World) -> None:
        world.add_deployment(namespace="other")
        world.apply_profile(namespace="other")
        world.cluster.fail(ClusterForbidden("no"), call="quotas", namespace="shop")
        world.run_cycle()
        assert (world.sizes(), world.sizes(namespace="other")) == (WIDE, WORKED)

    def test_a_vertical_autoscaler(self, world: World) -> None:
        target = WorkloadRef("shop", "Deployment", "web")
        world.cluster.stored_vertical_autoscalers = [VerticalAutoscaler("shop", "vpa", target, "apps", {"*": frozenset(("cpu",))})]
        world.run_cycle()
        assert world.sizes() == replace(WORKED, cpu_request=WIDE.cpu_request, cpu_limit=WIDE.cpu_limit)

    def test_a_limit_range_moves_a_rollout_too(self, world: World) -> None:
        world.cluster.stored_limit_ranges = [LimitRange("shop", "l", (Bounds(least={"cpu": 300}),))]
        world.run_cycle()
        assert world.sizes() == replace(WORKED, cpu_request=300)

    def test_a_quota_without_room_for_the_rolling_update(self, world: World) -> None:
        world.add_deployment("small", sizes=SMALL, max_surge=1)
        world.cluster.stored_quotas = [Quota("shop", "q", {("cpu", "request"): 2000}, {("cpu", "request"): 1700})]
        world.run_cycle()
        after = world.sizes("small")
        assert (after.cpu_request, after.memory_request) == (SMALL.cpu_request, WORKED.memory_request)

    def test_a_node_that_is_too_small(self, world: World) -> None:
        world.add_deployment("small", sizes=SMALL)
        world.cluster.stored_nodes = [Node("n", {}, Room(150, 2**30))]
        for _ in range(4):
            world.run_cycle()
            world.end_rollouts()
            world.pass_time(3_600)
        assert (world.sizes("small").cpu_request, world.sizes()) == (SMALL.cpu_request, WORKED)

    def test_a_disruption_budget(self, world: World) -> None:
        world.cluster.edit(WorkloadRef("shop", "Deployment", "web"), pod_labels={"app": "web"})
        world.cluster.stored_disruption_budgets = [DisruptionBudget("shop", "b", LabelSelector({"app": "web"}), pods=2, allowed=0)]
        world.run_cycle()
        assert (world.sizes(), world.told()) == (WIDE, ("Blocked", "PodDisruptionBudgetForbids"))
