from __future__ import annotations

import pytest

from rightsizer.errors import ClusterError, ClusterForbidden, ClusterNotFound, ClusterUnreachable
from rightsizer.workload import Autoscaler, ScalingMetric, WorkloadRef
from tests.unit.builders import WIDE, WORKED
from tests.unit.world import World

WEB = WorkloadRef("shop", "Deployment", "web")
MODE = "rightsizer.dev/mode"


@pytest.fixture
def world() -> World:
    world = World()
    world.add_deployment()
    world.apply_profile()
    return world


class TestAnnotation:
    @pytest.mark.parametrize(
        ("value", "state", "reason"),
        [("Ignore", "Ignored", "ModeIgnore"), ("Recommend", "Recommended", "RecommendOnly"), ("off", "Recommended", "RecommendOnly")],
    )
    @pytest.mark.parametrize("place", ["workload", "namespace"])
    def test_lowers_the_mode(self, world: World, place: str, value: str, state: str, reason: str) -> None:
        if place == "workload":
            world.cluster.edit(WEB, annotations={MODE: value})
        else:
            world.cluster.namespace_annotations["shop"] = {MODE: value}
        report = world.run_cycle()
        assert (world.told(), world.sizes(), report.workloads) == ((state, reason), WIDE, 1)

    def test_that_cannot_be_read_is_told_once(self, world: World) -> None:
        world.cluster.edit(WEB, annotations={MODE: "off"})
        world.run_cycles(3)
        assert world.events() == ["UnknownMode"]
        assert "'off'" in world.cluster.events[0].message

    def test_that_can_be_read_again_and_then_not_is_told_again(self, world: World) -> None:
        for value in ("off", "Recommend", "off"):
            world.cluster.edit(WEB, annotations={MODE: value})
            world.run_cycles(1)
        assert world.events() == ["UnknownMode", "UnknownMode"]

    def test_that_is_removed_gives_the_mode_back(self, world: World) -> None:
        world.cluster.edit(WEB, annotations={MODE: "Ignore"})
        world.run_cycle()
        world.cluster.edit(WEB, annotations={})
        world.run_cycles(1)
        assert world.sizes() == WORKED


class TestProfile:
    def test_that_ignores_deletes_recommendations_and_leaves_workloads(self, world: World) -> None:
        world.run_cycle()
        world.apply_profile(mode="Ignore")
        report = world.run_cycle()
        assert (world.recommended(), world.sizes(), report.workloads) == ({}, WORKED, 0)
        assert world.measuring_condition()["reason"] == "ModeIgnore"

    def test_that_ignores_costs_nothing(self, world: World) -> None:
        world.apply_profile(mode="Ignore")
        world.run_cycle()
        writes = world.cluster.writes
        world.next_slot()
        world.run_cycle()
        assert (world.source.made(), world.cluster.writes) == (0, writes)

    def test_that_is_deleted_takes_its_recommendations_along(self, world: World) -> None:
        world.run_cycle()
        world.delete_profile()
        world.run_cycle()
        assert (world.recommended(), world.sizes(), len(world.measuring.history)) == ({}, WORKED, 0)

    def test_that_no_longer_fits_a_workload_deletes_its_recommendation(self, world: World) -> None:
        world.add_deployment("api", labels={"tier": "api"})
        world.run_cycle()
        world.apply_profile(workloads={"selector": {"matchLabels": {"tier": "api"}}})
        world.run_cycle()
        assert world.recommended() == {}
        assert world.recommended("api") != {}

    def test_deletion_that_fails_is_tried_again(self, world: World) -> None:
        world.run_cycle()
        world.delete_profile()
        world.cluster.fail(ClusterUnreachable("no answer"), call="delete_recommendation", times=1)
        world.run_cycle()
        assert world.recommended() != {}
        world.run_cycle()
        assert world.recommended() == {}

    def test_of_two_the_older_rules_and_the_other_says_so(self, world: World) -> None:
        world.apply_profile("younger", mode="Recommend", created="2025-06-01")
        world.run_cycle()
        assert world.sizes() == WORKED
        ready = world.condition(world.profile_status("younger"), "Ready")
        assert (ready["reason"], ready["message"]) == ("PartlyOverruled", "an older profile rules 1 workload of those that fit")
        assert world.profile_status("younger")["workloads"]["matched"] == 0
        assert world.condition(world.profile_status(), "Ready")["reason"] == "Understood"

    def test_older_one_that_ignores_rules_too(self, world: World) -> None:
        world.apply_profile("older", mode="Ignore", created="2024-01-01")
        world.run_cycle()
        assert (world.sizes(), world.recommended()) == (WIDE, {})

    def test_with_a_field_that_cannot_be_used_says_so_and_works(self, world: World) -> None:
        world.apply_profile(cpu={"buffer": "lots"})
        world.run_cycle()
        ready = world.condition(world.profile_status(), "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "InvalidField")
        assert "spec.cpu.buffer" in ready["message"]
        assert world.sizes() == WORKED

    def test_edited_is_observed(self, world: World) -> None:
        world.run_cycle()
        world.apply_profile()
        world.run_cycle()
        assert world.profile_status()["observedGeneration"] == 2

    def test_that_fits_nothing_says_so(self, world: World) -> None:
        world.apply_profile(workloads={"selector": {"matchLabels": {"tier": "nowhere"}}})
        world.run_cycle()
        ready = world.condition(world.profile_status(), "Ready")
        assert (ready["status"], ready["reason"]) == ("True", "NothingMatched")

    def test_exception_for_a_container_that_is_not_there_says_so(self, world: World) -> None:
        world.apply_profile(containers=[{"name": "istoi-proxy", "mode": "Ignore"}, {"name": "app", "cpu": {"buffer": "20%"}}])
        world.run_cycle()
        ready = world.condition(world.profile_status(), "Ready")
        assert (ready["reason"], ready["message"]) == ("UnknownContainers", "spec.containers names what no workload has: istoi-proxy")

    def test_events_when_a_condition_turns_only(self, world: World) -> None:
        world.run_cycles(3)
        assert world.events("ResourceProfile") == ["Understood", "Measuring"]

    def test_that_is_deleted_in_mid_cycle(self, world: World) -> None:
        world.cluster.fail(ClusterNotFound("gone"), call="write_profile_status")
        world.run_cycle()
        assert (world.sizes(), world.events("ResourceProfile")) == (WORKED, [])

    def test_whose_status_cannot_be_written_is_tried_again(self, world: World) -> None:
        world.cluster.fail(ClusterForbidden("no"), call="write_profile_status", times=1)
        world.run_cycle()
        assert world.profile_status() == {}
        world.run_cycles(1)
        assert world.profile_status()["workloads"]["matched"] == 1

    def test_rules_its_own_namespace_only(self, world: World) -> None:
        world.add_deployment(namespace="bank")
        report = world.run_cycle()
        assert (report.workloads, world.sizes(namespace="bank")) == (1, WIDE)

    def test_rules_its_own_kinds_only(self, world: World) -> None:
        world.apply_profile(workloads={"kinds": ["StatefulSet"]})
        assert world.run_cycle().workloads == 0


class TestClusterTrouble:
    @pytest.mark.parametrize("call", ["profiles", "namespaces", "workloads", "autoscalers", "recommendations"])
    def test_with_a_list_ends_the_cycle_and_changes_nothing(self, world: World, call: str) -> None:
        world.cluster.fail(ClusterUnreachable("no connection"), call=call, times=1)
        with pytest.raises(ClusterUnreachable):
            world.run_cycle()
        assert (world.sizes(), world.cluster.writes) == (WIDE, 0)
        world.run_cycle()
        assert world.sizes() == WORKED

    @pytest.mark.parametrize(("call", "reason"), [("workloads", "WorkloadsNotListed"), ("autoscalers", "AutoscalersNotListed")])
    def test_in_one_namespace_leaves_the_others(self, world: World, call: str, reason: str) -> None:
        world.add_deployment(namespace="bank")
        world.apply_profile(namespace="bank")
        world.cluster.fail(ClusterForbidden("is forbidden"), call=call, namespace="bank")
        report = world.run_cycle()
        assert (world.sizes(), world.sizes(namespace="bank"), report.troubled_namespaces) == (WORKED, WIDE, 1)
        assert world.measuring_condition(namespace="bank")["reason"] == reason
        assert world.measuring_condition()["status"] == "True"

    def test_with_everything_in_one_namespace_leaves_the_others(self, world: World) -> None:
        world.add_deployment(namespace="bank")
        world.apply_profile(namespace="bank")
        world.cluster.fail(ClusterForbidden("is forbidden"), namespace="bank")
        world.run_cycle()
        assert (world.sizes(), world.sizes(namespace="bank")) == (WORKED, WIDE)

    @pytest.mark.parametrize("call", ["workloads", "autoscalers"])
    def test_in_a_namespace_keeps_its_recommendations(self, world: World, call: str) -> None:
        world.run_cycle()
        before = world.recommended()
        error: ClusterError = ClusterForbidden("is forbidden")
        world.cluster.fail(error, call=call, namespace="shop")
        world.run_cycle()
        assert world.recommended() == before

    def test_autoscaler_of_another_workload_does_not_matter(self, world: World) -> None:
        other = WorkloadRef("shop", "Deployment", "api")
        world.cluster.stored_autoscalers.append(Autoscaler("shop", "api", other, (ScalingMetric("cpu", "Utilization"),)))
        world.run_cycle()
        assert world.sizes() == WORKED
