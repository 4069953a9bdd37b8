from __future__ import annotations

from dataclasses import replace

import pytest

from rightsizer.errors import (
    ClusterBusy,
    ClusterError,
    ClusterForbidden,
    ClusterNotFound,
    ClusterOwned,
    ClusterRejected,
    ClusterStale,
    ClusterUnreachable,
)
from rightsizer.workload import Autoscaler, Container, FieldPath, RolloutPhase, ScalingMetric, Sizes, WorkloadRef
from tests.unit.builders import DAY, MI, WIDE, WORKED
from tests.unit.world import World

HOUR = 3_600
WEB = WorkloadRef("shop", "Deployment", "web")
WORKED_STATUS = {"requests": {"cpu": "216m", "memory": "384Mi"}, "limits": {"cpu": "432m", "memory": "576Mi"}}
WIDE_STATUS = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}


class PowerCut(BaseException):
    """Nothing in the operator may catch this: it ends there and then."""


@pytest.fixture
def world() -> World:
    """Deployment/web of the worked example under a profile that applies."""
    world = World()
    world.add_deployment()
    world.apply_profile()
    return world


def run_until_quiet(world: World) -> None:
    """Cycles and rollouts until there is nothing left to do."""
    for _ in range(6):
        world.pass_time(60)
        world.run_cycle()
        world.end_rollouts()


class TestWorkedExample:
    def test_is_applied(self, world: World) -> None:
        report = world.run_cycle()
        assert world.sizes() == WORKED
        assert (report.changed, report.unfinished, report.failed, report.containers) == (1, 1, 0, 1)
        assert dict(report.states) == {("Apply", "RollingOut"): 1}

    def test_is_recorded_with_what_was_before(self, world: World) -> None:
        world.run_cycles(2)
        change = world.last_change()
        assert change["outcome"] == "InProgress"
        assert change["previous"] == [{"name": "app", **WIDE_STATUS}]
        assert change["applied"] == [{"name": "app", **WORKED_STATUS}]
        assert world.recommended()["containers"][0]["recommended"] == WORKED_STATUS
        assert world.told() == ("RollingOut", "RolloutInProgress")

    def test_intent_is_recorded_before_it_is_made(self, world: World) -> None:
        world.run_cycle()
        acts = [(call.name, call.about) for call in world.cluster.calls if call.name in ("apply", "write_recommendation")]
        assert acts == [
            ("write_recommendation", "Deployment/web Started"),
            ("apply", "Deployment/web"),
        ]

    def test_how_far_it_came_is_written_by_the_next_cycle(self, world: World) -> None:
        world.run_cycle()
        assert (world.last_change()["outcome"], world.last_change()["message"]) == ("Started", "recorded, being made")
        world.run_cycles(1)
        assert world.last_change()["outcome"] == "InProgress"

    def test_whole_life_of_the_change(self, world: World) -> None:
        run_until_quiet(world)
        assert world.last_change()["outcome"] == "Succeeded"
        assert world.told() == ("Applied", "UpToDate")
        assert world.events() == ["Resizing"]
        assert len(world.cluster.applied) == 1
        assert world.profile_status()["workloads"] == {"matched": 1, "measured": 1, "waiting": 0, "changed": 1}

    def test_event_tells_the_figures(self, world: World) -> None:
        world.run_cycle()
        assert world.cluster.events[0].message.startswith("app cpu 500m -> 216m, app memory 1Gi -> 384Mi")

    def test_is_only_recommended_where_the_profile_says_so(self, world: World) -> None:
        world.apply_profile(mode="Recommend")
        world.run_cycle()
        assert world.sizes() == WIDE
        assert world.told() == ("Recommended", "RecommendOnly")
        assert world.recommended()["containers"][0]["recommended"] == WORKED_STATUS
        assert world.recommended()["savings"] == {"cpu": "568m", "memory": "1280Mi"}
        assert world.events() == []

    def test_leaves_a_container_that_is_ignored(self, world: World) -> None:
        world.cluster.edit(WEB, containers=(Container("app", WIDE), Container("proxy", WIDE)))
        world.apply_profile(containers=[{"name": "proxy", "mode": "Ignore"}])
        world.run_cycle()
        assert (world.sizes(), world.sizes(container="proxy")) == (WORKED, WIDE)


class TestNothingNew:
    def test_second_cycle_writes_nothing(self, world: World) -> None:
        run_until_quiet(world)
        before = world.cluster.writes
        world.run_cycles(3)
        assert world.cluster.writes == before

    def test_nor_does_one_in_a_new_slot(self, world: World) -> None:
        run_until_quiet(world)
        before, events = world.cluster.writes, len(world.cluster.events)
        for _ in range(5):
            world.next_slot()
            world.run_cycle()
        assert (world.cluster.writes, len(world.cluster.events)) == (before, events)

    def test_nor_does_one_beside_a_copy_that_somebody_made(self, world: World) -> None:
        run_until_quiet(world)
        ours = world.cluster.stored_recommendations[WEB].recorded
        world.cluster.foreign_recommendations.append(replace(ours, name="my-copy", status={}))
        before = world.cluster.writes
        world.run_cycles(2)
        assert world.cluster.writes == before

    def test_nor_does_a_restarted_operator(self, world: World) -> None:
        run_until_quiet(world)
        before = world.cluster.writes
        world.restart()
        world.run_cycle()
        assert world.cluster.writes == before

    def test_no_profile_no_question(self) -> None:
        world = World()
        world.add_deployment()
        report = world.run_cycle()
        assert (report.profiles, report.workloads, world.cluster.writes, world.source.made()) == (0, 0, 0, 0)
        assert not any(call.namespaces for call in world.cluster.calls)


class TestCrash:
    @pytest.mark.parametrize(
        ("call", "after", "skip"),
        [
            pytest.param("write_recommendation", False, 0, id="before the intent"),
            pytest.param("write_recommendation", True, 0, id="after the intent"),
            pytest.param("apply", False, 0, id="before the act"),
            pytest.param("apply", True, 0, id="after the act"),
            pytest.param("emit", False, 0, id="before the event"),
            pytest.param("write_profile_status", False, 0, id="before the profile's status"),
        ],
    )
    def test_ends_the_same_and_applies_once(self, world: World, call: str, after: bool, skip: int) -> None:
        world.cluster.fail(PowerCut(), call=call, after=after, skip=skip, times=1)
        with pytest.raises(PowerCut):
            world.run_cycle()
        world.restart()
        run_until_quiet(world)
        assert len(world.cluster.applied) == 1
        assert world.sizes() == WORKED
        assert (world.told(), world.last_change()["outcome"]) == (("Applied", "UpToDate"), "Succeeded")

    def test_after_the_act_the_next_operator_watches_the_rollout(self, world: World) -> None:
        world.cluster.fail(PowerCut(), call="apply", after=True, times=1)
        with pytest.raises(PowerCut):
            world.run_cycle()
        assert world.last_change()["outcome"] == "Started"
        world.restart()
        world.run_cycles(2)
        assert world.last_change()["outcome"] == "InProgress"
        assert world.events() == ["Resizing"]

    def test_nothing_is_made_on_top_before_what_was_made_is_recorded(self, world: World) -> None:
        world.apply_profile(memory={"statistic": "max"})
        world.cluster.fail(PowerCut(), call="apply", after=True, times=1)
        with pytest.raises(PowerCut):
            world.run_cycle()
        world.restart()
        world.end_rollouts()
        world.change_usage(memory=500 * MI)
        world.next_slot()
        world.run_cycle()
        assert (len(world.cluster.applied), world.sizes().memory_request) == (2, 600 * MI)
        assert [change["outcome"] for change in world.recommended()["history"]] == ["Succeeded"]

    def test_lowering_cools_down_after_a_crash_too(self, world: World) -> None:
        world.cluster.fail(PowerCut(), call="apply", after=True, times=1)
        with pytest.raises(PowerCut):
            world.run_cycle()
        world.restart()
        run_until_quiet(world)
        assert "lastLowered" in world.last_change()


REFUSALS: list[tuple[ClusterError, str, str]] = [
    (ClusterForbidden("exceeded quota: rq"), "Failed", "BackingOff"),
    (ClusterBusy("429 too many requests"), "Failed", "BackingOff"),
    (ClusterRejected("422 invalid"), "Failed", "BackingOff"),
    (ClusterStale("the object has been modified"), "Started", "RolloutInProgress"),
    (ClusterUnreachable("no answer in time"), "Started", "RolloutInProgress"),
    (ClusterOwned("conflict with argocd", {"app.cpu.request": "argocd"}), "Abandoned", "ReadyToApply"),
    (ClusterNotFound("gone"), "Abandoned", "ReadyToApply"),
]


@pytest.mark.parametrize(
    ("error", "outcome", "reason"), REFUSALS, ids=lambda value: type(value).__name__ if isinstance(value, Exception) else ""
)
class TestRefused:
    def test_is_recorded_with_its_reason(self, world: World, error: ClusterError, outcome: str, reason: str) -> None:
        world.cluster.fail(error, call="apply")
        report = world.run_cycle()
        assert (world.last_change()["outcome"], world.told()[1]) == (outcome, reason)
        assert str(error) in world.last_change()["message"]
        assert (report.changed, world.sizes()) == (0, WIDE)
        assert "lastLowered" not in world.last_change() or outcome == "Started"

    def test_is_no_storm_of_tries_and_writes(self, world: World, error: ClusterError, outcome: str, reason: str) -> None:
        world.cluster.fail(error, call="apply")
        world.run_cycles(10)
        assert world.cluster.made("apply") <= 2
        assert world.cluster.made("write_recommendation") <= 5
        assert world.told() == ("Blocked", "BackingOff")
        assert str(error) in world.recommended()["summary"]["message"]
        before = world.cluster.writes
        world.run_cycles(10)
        assert world.cluster.writes == before

    def test_is_tried_again_after_an_hour_at_the_latest(self, world: World, error: ClusterError, outcome: str, reason: str) -> None:
        world.cluster.fail(error, call="apply")
        world.run_cycles(3)
        world.cluster.recover()
        world.pass_time(HOUR)
        world.run_cycles(1)
        assert world.sizes() == WORKED

    def test_leaves_the_next_workload_alone(self, world: World, error: ClusterError, outcome: str, reason: str) -> None:
        world.add_deployment("zoo")
        world.cluster.fail(error, call="apply", times=1)
        report = world.run_cycle()
        assert (world.sizes("web"), world.sizes("zoo")) == (WIDE, WORKED)
        assert report.changed == 1


class TestRefusedOnce:
    def test_a_workload_that_moved_on_is_tried_in_the_next_cycle(self, world: World) -> None:
        world.cluster.fail(ClusterStale("modified"), call="apply", times=1)
        world.run_cycles(2)
        assert (world.sizes(), world.cluster.made("apply")) == (WORKED, 2)

    @pytest.mark.parametrize("error", [ClusterStale("the retry met its own work"), ClusterUnreachable("the answer was lost")])
    def test_one_that_was_made_all_the_same_is_watched(self, world: World, error: ClusterError) -> None:
        world.cluster.fail(error, call="apply", after=True, times=1)
        run_until_quiet(world)
        assert len(world.cluster.applied) == 1
        assert (world.last_change()["outcome"], world.events()) == ("Succeeded", ["Resizing"])
        assert "lastLowered" in world.last_change()

    def test_is_told_by_an_event(self, world: World) -> None:
        world.cluster.fail(ClusterForbidden("exceeded quota: rq"), call="apply")
        world.run_cycles(3)
        assert world.events() == ["ResizeFailed", "BackingOff"]


class TestRollout:
    def test_that_goes_on_is_left_alone_and_not_written_again(self, world: World) -> None:
        world.run_cycles(2)
        before = world.cluster.writes
        world.run_cycles(3)
        assert (world.cluster.writes, world.told()) == (before, ("RollingOut", "RolloutInProgress"))

    def test_that_failed_is_taken_back_told_and_backed_off(self, world: World) -> None:
        world.run_cycle()
        world.cluster.fail_rollout(WEB, "ProgressDeadlineExceeded")
        world.run_cycles(2)
        assert (world.sizes(), world.told()) == (WIDE, ("Reverting", "RolloutInProgress"))
        assert world.last_change()["reverts"] == "ProgressDeadlineExceeded"
        assert [change["outcome"] for change in world.recommended()["history"]] == ["Failed"]
        run_until_quiet(world)
        assert (world.last_change()["outcome"], world.told()) == ("Succeeded", ("Blocked", "BackingOff"))
        assert world.events() == ["Resizing", "Reverting", "BackingOff"]
        before = world.cluster.writes
        world.run_cycles(5)
        assert world.cluster.writes == before

    def test_of_somebody_else_is_waited_for(self, world: World) -> None:
        world.cluster.edit(WEB, rollout=RolloutPhase.IN_PROGRESS, rollout_message="1 of 2 updated")
        world.run_cycle()
        assert (world.sizes(), world.told()) == (WIDE, ("Blocked", "RolloutInProgress"))
        world.cluster.end_rollout(WEB)
        world.run_cycles(1)
        assert world.sizes() == WORKED

    def test_lowering_cools_down_when_the_record_is_lost_with_its_profile(self, world: World) -> None:
        run_until_quiet(world)
        lowered = world.workload()
        world.delete_profile()
        world.run_cycle()
        assert world.recommended() == {}
        # The API server keeps the time with our fields; the person put the old sizes back.
        (app,) = lowered.containers
        world.cluster.edit(lowered.ref, sized_at=world.clock.now() - 3_600, containers=(replace(app, sizes=WIDE),))
        world.apply_profile()
        world.run_cycle()
        assert (world.told(), world.sizes()) == (("Blocked", "CoolingDown"), WIDE)

    def test_lowering_again_cools_down_and_raising_does_not(self, world: World) -> None:
        world.apply_profile(window="1d", memory={"statistic": "max"}, minimumHistory={"raise": "1h", "lower": "1h"})
        run_until_quiet(world)
        world.source.usages = [usage for usage in world.source.usages if usage.until is not None]
        for pod in ("aaaaa", "bbbbb"):
            world.use(f"web-5d9c7b-{pod}", owner=None, cpu=90, memory=320 * MI, days=2)
        world.restart()
        world.next_slot()
        world.run_cycle()
        assert world.told() == ("Blocked", "CoolingDown")
        world.change_usage(memory=500 * MI)
        world.next_slot()
        world.run_cycle()
        assert (world.sizes().memory_request, world.sizes().cpu_request) == (600 * MI, 216)

    def test_lowering_again_after_a_day(self, world: World) -> None:
        world.apply_profile(window="1d", minimumHistory={"raise": "1h", "lower": "1h"})
        run_until_quiet(world)
        world.change_usage(cpu=90)
        world.pass_time(DAY + HOUR)
        run_until_quiet(world)
        assert world.sizes().cpu_request == 108


class TestSomebodyElse:
    def test_set_other_values_while_ours_rolled_out(self, world: World) -> None:
        world.run_cycle()
        world.cluster.edit(WEB, containers=(Container("app", replace(WIDE, cpu_request=501)),), rollout=RolloutPhase.COMPLETE)
        world.run_cycles(3)
        assert (world.last_change()["outcome"], world.cluster.made("apply")) == ("Superseded", 1)
        assert world.told() == ("Blocked", "CoolingDown")
        assert world.events() == ["Resizing", "ResizeSuperseded", "CoolingDown"]

    @pytest.mark.parametrize("cycles", [0, 1])
    def test_put_the_former_values_back_while_ours_rolled_out(self, world: World, cycles: int) -> None:
        world.run_cycle()
        world.run_cycles(cycles)
        world.cluster.edit(WEB, containers=(Container("app", WIDE),), rollout=RolloutPhase.COMPLETE)
        world.run_cycles(3)
        assert (world.last_change()["outcome"], world.cluster.made("apply")) == ("Undone", 1)
        assert (world.sizes(), world.told()) == (WIDE, ("Blocked", "RevertedByOther"))
        assert world.events() == ["Resizing", "ResizeUndone", "RevertedByOther"]

    def test_a_controller_owns_a_field(self, world: World) -> None:
        paths = {FieldPath("app", "cpu", "request"): "argocd-controller", FieldPath("app", "cpu", "limit"): "argocd-controller"}
        world.cluster.edit(WEB, managers=paths)
        world.run_cycle()
        assert world.sizes() == Sizes(500, 1000, 384 * MI, 576 * MI)
        assert world.cluster.applied[0][1] is False
        world.end_rollouts()
        world.run_cycles(2)
        assert world.told() == ("Blocked", "OwnedByGitOps")

    def test_kubectl_owns_the_fields(self, world: World) -> None:
        world.cluster.edit(WEB, managers={FieldPath("app", "cpu", "request"): "kubectl-client-side-apply"})
        world.run_cycle()
        assert (world.sizes(), world.cluster.applied[0][1]) == (WORKED, True)
        assert world.workload().managers == {}

    def test_a_controller_took_a_field_in_mid_cycle(self, world: World) -> None:
        managers = {FieldPath("app", "cpu", "request"): "flux"}
        # Only that: the resourceVersion is not looked at, so that the ownership is.
        world.in_mid_cycle = lambda: world.cluster.add_workload(replace(world.workload(), managers=managers))
        world.run_cycle()
        assert (world.last_change()["outcome"], world.sizes()) == ("Abandoned", WIDE)
        world.run_cycles(2)
        assert world.told() == ("RollingOut", "RolloutInProgress")
        assert (world.sizes().cpu_request, world.sizes().memory_request) == (500, 384 * MI)

    def test_scales_on_the_utilization_of_cpu(self, world: World) -> None:
        world.cluster.stored_autoscalers.append(Autoscaler("shop", "web", WEB, (ScalingMetric("cpu", "Utilization"),)))
        world.run_cycle()
        assert world.sizes() == Sizes(500, 1000, 384 * MI, 576 * MI)

    def test_paused_it(self, world: World) -> None:
        world.cluster.edit(WEB, annotations={"rightsizer.dev/paused": "true"})
        world.run_cycles(2)
        assert (world.told(), world.events()) == (("Blocked", "Paused"), ["Paused"])


class TestGone:
    def test_deleted_before_the_record(self, world: World) -> None:
        world.cluster.fail(ClusterNotFound("namespaces shop: not found"), call="write_recommendation", times=1)
        world.add_deployment("zoo")
        report = world.run_cycle()
        assert (report.failed, world.sizes("web"), world.sizes("zoo")) == (0, WIDE, WORKED)

    def test_deleted_in_mid_cycle(self, world: World) -> None:
        ref = world.add_deployment("zoo")
        world.in_mid_cycle = lambda: world.cluster.stored_workloads.pop(ref, None)
        report = world.run_cycle()
        assert (world.sizes("web"), report.failed) == (WORKED, 0)
        assert world.recommended("zoo") == {}

    def test_recreated_with_another_uid_its_old_record_does_not_count(self, world: World) -> None:
        run_until_quiet(world)
        stored = world.cluster.stored_recommendations[WEB]
        world.add_deployment(uid="another", days=0)
        assert stored.recorded.spec["workloadRef"]["uid"] == "shop-web"
        world.run_cycles(1)
        assert world.sizes() == WORKED
        assert (world.last_change()["outcome"], "history" in world.recommended()) == ("Started", False)
        stored = world.cluster.stored_recommendations[WEB]
        assert (stored.recorded.spec["workloadRef"]["uid"], stored.owner_uid) == ("another", "another")

    def test_scaled_to_zero(self, world: World) -> None:
        world.cluster.edit(WEB, replicas=0)
        run_until_quiet(world)
        assert (world.sizes(), world.told()) == (WORKED, ("Applied", "UpToDate"))
        assert world.recommended()["savings"] == {"cpu": "0", "memory": "0"}

    def test_scaled_to_zero_for_an_hour_is_stale_and_left_alone(self, world: World) -> None:
        world.source.usages = []
        world.use("web-5d9c7b-aaaaa", owner=None, until=world.clock.time - HOUR)
        world.use("other-5d9c7b-aaaaa", owner=None)
        world.run_cycle()
        assert (world.sizes(), world.told()) == (WIDE, ("Stale", "StaleMetrics"))

    def test_container_renamed(self, world: World) -> None:
        run_until_quiet(world)
        world.cluster.edit(WEB, containers=(Container("server", WIDE),))
        world.run_cycles(1)
        assert (world.sizes(container="server"), world.told()) == (WIDE, ("Waiting", "NotEnoughHistory"))
        assert [entry["name"] for entry in world.recommended()["containers"]] == ["server"]


class TestRecordRefused:
    def test_in_one_namespace_leaves_the_others(self, world: World) -> None:
        world.add_deployment(namespace="bank")
        world.apply_profile(namespace="bank")
        world.cluster.fail(ClusterForbidden("resourcerecommendations is forbidden"), call="write_recommendation", namespace="bank")
        report = world.run_cycle()
        assert (report.failed, report.changed) == (1, 1)
        assert world.sizes() == WORKED

    def test_nothing_is_made_that_could_not_be_recorded(self, world: World) -> None:
        world.cluster.fail(ClusterForbidden("resourcerecommendations is forbidden"), call="write_recommendation")
        world.run_cycles(3)
        assert (world.sizes(), world.cluster.made("apply")) == (WIDE, 0)

    def test_after_the_act_the_next_cycle_goes_on(self, world: World) -> None:
        world.cluster.fail(ClusterUnreachable("no answer"), call="write_recommendation", skip=1, times=1)
        report = world.run_cycles(2)[-1]
        assert (report.failed, world.last_change()["outcome"]) == (1, "Started")
        run_until_quiet(world)
        assert (len(world.cluster.applied), world.last_change()["outcome"]) == (1, "Succeeded")


class TestRule:
    def test_may_remove_a_limit(self, world: World) -> None:
        world.apply_profile(cpu={"limit": {"policy": "None"}})
        world.run_cycle()
        assert world.sizes() == Sizes(216, None, 384 * MI, 576 * MI)

    def test_small_changes_are_not_worth_it(self, world: World) -> None:
        world.add_deployment(sizes=Sizes(220, 440, 390 * MI, 585 * MI))
        world.run_cycle()
        assert world.told() == ("Applied", "ChangeTooSmall")
        assert world.cluster.made("apply") == 0
