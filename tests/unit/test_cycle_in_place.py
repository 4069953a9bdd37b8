"""Pods that are resized in place through whole cycles: one after the other, those that are left alone, and the fallback."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rightsizer.errors import ClusterStale, ClusterUnreachable, ResizeReason, ResizeRefused
from rightsizer.workload import FieldPath
from tests.fake_kubelet import Kubelet
from tests.unit.builders import DAY, WIDE, WORKED
from tests.unit.moving_world import PODS, WEB, MovingWorld, killed

FIRST, SECOND = PODS


def in_place(**apply: Any) -> MovingWorld:
    return MovingWorld(strategy="InPlace", **apply)


def pods(world: MovingWorld) -> list[bool]:
    """Which of them ask for the new sizes."""
    return [world.pod_sizes(name) == WORKED for name in PODS]


class TestOneAfterTheOther:
    def test_new_pods_first_then_one_in_each_cycle(self) -> None:
        world = in_place()
        world.minutes(1)
        names = [call.name for call in world.cluster.calls if call.name in ("write_pod_sizes", "resize")]
        assert (names, pods(world)) == (["write_pod_sizes", "resize"], [True, False])
        world.minutes(1)
        assert pods(world) == [True, True]
        world.minutes(1)
        assert (world.last_change()["outcome"], world.sizes()) == ("Verifying", WIDE)

    def test_the_next_waits_for_the_first_to_be_ready(self) -> None:
        world = in_place()
        world.minutes(1)
        world.cluster.edit_pod(FIRST, ready=False, unready_since=world.clock.time)
        world.minutes(3)
        assert pods(world) == [True, False]
        world.cluster.edit_pod(FIRST, ready=True, unready_since=None)
        world.minutes(1)
        assert pods(world) == [True, True]

    def test_the_next_waits_while_the_first_is_deferred(self) -> None:
        world = in_place()
        world.cluster.kubelet_of[FIRST] = Kubelet.DEFERS
        world.minutes(30)
        assert (pods(world), world.last_change()["outcome"]) == ([True, False], "InProgress")
        assert "is Deferred" in world.last_change()["message"]
        world.cluster.let_kubelet(FIRST, Kubelet.APPLIES)
        world.minutes(5)
        assert (pods(world), world.last_change()["outcome"]) == ([True, True], "Succeeded")

    def test_what_goes_on_is_not_written_again(self) -> None:
        world = in_place()
        world.cluster.kubelet_of[FIRST] = Kubelet.DEFERS
        world.minutes(3)
        before = world.cluster.writes
        world.minutes(10)
        assert world.cluster.writes == before

    @pytest.mark.parametrize("error", [ClusterStale("modified"), ClusterUnreachable("no answer")])
    def test_a_resize_that_met_another_change_is_tried_again(self, error: Exception) -> None:
        world = in_place()
        world.cluster.fail(error, call="resize", times=2)
        world.minutes(8)
        assert (pods(world), world.last_change()["outcome"]) == ([True, True], "Succeeded")

    def test_a_pod_that_comes_meanwhile_needs_no_resize(self) -> None:
        world = in_place()
        world.minutes(1)
        world.run_pod(SECOND, world.sizes_of_new_pods())
        world.minutes(5)
        assert (world.last_change()["outcome"], world.cluster.made("resize")) == ("Succeeded", 1)


class TestLeftAlone:
    @pytest.mark.parametrize(
        ("kubelet", "minutes", "words"),
        [
            (Kubelet.FINDS_INFEASIBLE, 8, "is Infeasible"),
            (Kubelet.DEFERS, 70, "is Deferred"),
            (Kubelet.FAILS, 18, "is Error"),
            (Kubelet.DOES_NOT_LOOK, 18, "is Proposed"),
            (Kubelet.DOES_NOTHING, 18, "is InProgress"),
        ],
    )
    def test_one_of_two_is_named_and_the_other_done(self, kubelet: Kubelet, minutes: int, words: str) -> None:
        world = in_place()
        world.cluster.kubelet_of[FIRST] = kubelet
        world.minutes(minutes)
        (left,) = world.last_change()["left"]
        assert (left["pod"], words in left["message"]) == (FIRST, True)
        # What it asked for in vain is taken back.
        assert (world.last_change()["outcome"], pods(world)) == ("Succeeded", [False, True])

    def test_a_pod_that_opted_out_keeps_whatever_it_has(self) -> None:
        world = in_place()
        own = replace(WIDE, cpu_request=321)
        world.run_pod(FIRST, own)
        world.cluster.edit_pod(FIRST, annotations={"rightsizer.dev/mode": "Ignore"})
        world.minutes(8)
        assert (world.pod_sizes(FIRST), world.pod_sizes(SECOND)) == (own, WORKED)
        assert [patch.pod for patch in world.cluster.resized] == [SECOND]

    def test_a_refusal_is_remembered(self) -> None:
        world = in_place()
        world.cluster.fail(ResizeRefused("403", reason=ResizeReason.QUOTA_EXCEEDED, detail="exceeded quota: rq"), call="resize", times=1)
        world.minutes(8)
        assert [one["pod"] for one in world.last_change()["left"]] == [FIRST]
        assert pods(world) == [False, True]

    def test_where_none_could_be_it_is_taken_back_for_new_pods_too(self) -> None:
        world = in_place()
        world.cluster.kubelet = Kubelet.FINDS_INFEASIBLE
        world.minutes(8)
        assert world.changes() == [("InPlace", "Succeeded", True), ("InPlace", "Failed", False)]
        assert (world.sizes_of_new_pods(), world.told()) == (WIDE, ("Blocked", "BackingOff"))


class TestFallback:
    @pytest.mark.parametrize("left", [(FIRST,), (FIRST, SECOND)], ids=["one", "all"])
    def test_by_rollout_from_then_on(self, left: tuple[str, ...]) -> None:
        world = in_place(fallback="Rollout")
        world.cluster.kubelet_of |= dict.fromkeys(left, Kubelet.FINDS_INFEASIBLE)
        world.minutes(12)
        assert world.changes()[0] == ("Rollout", "Succeeded", False)
        assert (world.sizes(), [world.pod_sizes(name) for name in PODS]) == (WORKED, [WORKED, WORKED])
        assert world.cluster.stored_pod_sizes["shop"].entries == {}

    def test_of_a_workload_with_one_pod(self) -> None:
        world = in_place(fallback="Rollout")
        world.cluster.stored_pods = [pod for pod in world.cluster.stored_pods if pod.name == FIRST]
        world.cluster.kubelet = Kubelet.FINDS_INFEASIBLE
        for _ in range(5):
            world.run_cycles(1)
        assert (world.last_change()["strategy"], world.sizes()) == ("Rollout", WORKED)

    def test_not_where_nobody_asked_for_it(self) -> None:
        world = in_place()
        world.cluster.kubelet_of[FIRST] = Kubelet.FINDS_INFEASIBLE
        world.minutes(12)
        assert (world.cluster.applied, world.last_change()["strategy"]) == ([], "InPlace")

    def test_not_after_harm_that_the_sizes_did(self) -> None:
        world = in_place(fallback="Rollout")
        world.trouble = lambda world: killed(world)
        world.minutes(12)
        assert world.changes() == [("InPlace", "Succeeded", True), ("InPlace", "Failed", False)]
        assert (world.cluster.applied, world.told()) == ([], ("Blocked", "BackingOff"))

    def test_is_taken_back_where_it_does_harm_too(self) -> None:
        world = in_place(fallback="Rollout")
        world.cluster.kubelet = Kubelet.FINDS_INFEASIBLE
        world.minutes(5)
        assert world.last_change()["strategy"] == "Rollout"
        killed(world)
        world.minutes(8)
        assert world.changes()[:2] == [("Rollout", "Succeeded", True), ("Rollout", "Failed", False)]
        world.pass_time(DAY / 2)
        world.minutes(1)
        assert world.told() == ("Blocked", "BackingOff")


class TestOwnership:
    @pytest.mark.parametrize(
        ("rule", "manager", "taken", "reason"),
        [
            ("FromTools", "kubectl-client-side-apply", True, None),
            ("FromTools", "argocd-controller", False, "OwnedByGitOps"),
            ("Always", "argocd-controller", True, None),
            ("Never", "kubectl-client-side-apply", False, "OwnedByOther"),
        ],
    )
    def test_whose_fields_are_taken_over(self, rule: str, manager: str, taken: bool, reason: str | None) -> None:
        world = MovingWorld(takeOwnership=rule)
        fields = [FieldPath("app", resource, field) for resource in ("cpu", "memory") for field in ("request", "limit")]
        world.cluster.edit(WEB, managers=dict.fromkeys(fields, manager))
        world.minutes(8)
        assert (world.sizes() == WORKED, world.told()[1] if reason else None) == (taken, reason)
        assert [forced for _, forced in world.cluster.applied] == [True] * taken


class TestUsageAboveTheRequest:
    """Two values in a row raise at once what is resized in place, and nothing else."""

    @staticmethod
    def changed(strategy: str) -> MovingWorld:
        world = MovingWorld(strategy=strategy, verify={"period": "0m"})
        world.minutes(6)
        assert world.pod_sizes(FIRST) == WORKED
        world.change_usage(cpu=400)
        return world

    def test_is_followed_without_a_restart(self) -> None:
        world = self.changed("InPlace")
        world.next_slot()
        world.minutes(1)
        assert world.pod_sizes(FIRST) == WORKED
        world.next_slot()
        world.run_cycles(1)
        explanation = world.recommended()["containers"][0]["explanation"]["cpu"]
        assert explanation["clamp"] == "AboveRequest"
        assert "raised to 1.2 x 400m = 480m, because the last two values are above the request of 216m" in explanation["text"]
        world.minutes(3)
        assert {world.pod_sizes(name).cpu_request for name in PODS} == {480}

    def test_does_not_roll_anything_out(self) -> None:
        world = self.changed("Rollout")
        world.next_slot()
        world.next_slot()
        world.minutes(3)
        assert world.pod_sizes(FIRST).cpu_request == 216

    def test_is_not_followed_where_nothing_is_applied(self) -> None:
        world = self.changed("InPlace")
        world.apply_profile(mode="Recommend", window="1d", minimumHistory={"raise": "1h", "lower": "1h"}, apply={"strategy": "InPlace"})
        world.next_slot()
        world.next_slot()
        world.minutes(1)
        assert world.recommended()["containers"][0]["explanation"]["cpu"]["clamp"] == "None"
