from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rightsizer.cycle import Measuring
from rightsizer.errors import (
    ClusterForbidden,
    UsageAnswerInvalid,
    UsageSourceError,
    UsageSourceOverloaded,
    UsageSourceRefused,
    UsageSourceTimeout,
    UsageSourceUnreachable,
)
from rightsizer.workload import Container, ContainerKey, OwnerRef, WorkloadRef
from tests.unit.builders import DAY, MI, NOW, WIDE, WORKED
from tests.unit.world import World

DOWN = UsageSourceUnreachable("http://prometheus:9090: Connection refused")
WEB = WorkloadRef("shop", "Deployment", "web")


@pytest.fixture
def world() -> World:
    world = World()
    world.add_deployment()
    world.apply_profile()
    return world


class TestQuestions:
    def test_none_within_a_slot(self, world: World) -> None:
        world.run_cycle()
        before = world.source.made()
        world.run_cycles(3)
        assert world.source.made() == before

    def test_few_in_a_new_slot(self, world: World) -> None:
        world.run_cycle()
        before = len(world.source.calls)
        world.next_slot()
        world.run_cycle()
        assert [call.name for call in world.source.calls[before:]] == ["usage", "usage", "oom_kills"]

    def test_one_more_where_containers_have_cpu_limits_about_their_namespaces_alone(self, world: World) -> None:
        world.add_deployment(namespace="bank")
        world.apply_profile(namespace="bank")
        world.use("web-5d9c7b-ccccc", owner=OwnerRef("ReplicaSet", "web-5d9c7b"), throttled=0.0)
        world.run_cycle()
        throttled = [call for call in world.source.calls if call.about.startswith("throttled")]
        assert {call.namespaces for call in throttled} == {("shop",)}
        assert len(throttled) == 4
        for _ in range(4):
            before = len(world.source.calls)
            world.next_slot()
            world.run_cycle()
        asked = [(call.name, call.about.partition(" ")[0]) for call in world.source.calls[before:]]
        # The last slot of an hour for the last time.
        assert asked == [("usage", "cpu"), ("usage", "memory"), ("usage", "throttled"), ("oom_kills", "")]
        before = world.source.made("usage")
        for _ in range(12):
            world.next_slot()
            world.run_cycle()
        assert world.source.made("usage") == before + 12 * 2 + 1
        hour = int(NOW) + 3_600
        assert world.source.calls[-2].about == f"throttled {hour - 3_300}..{hour}"

    def test_as_many_for_fifty_workloads_as_for_one(self, world: World) -> None:
        many = World()
        for number in range(50):
            many.add_deployment(f"web{number}")
        many.apply_profile()
        for each in (world, many):
            each.run_cycle()
            each.next_slot()
            each.run_cycle()
        assert many.source.made() == world.source.made()

    def test_only_for_what_is_new_and_what_may_have_come_late(self, world: World) -> None:
        world.run_cycle()
        end = int(world.clock.time) // 300 * 300
        before = len(world.source.calls)
        for _ in range(2):
            world.next_slot()
            world.run_cycle()
        assert [call.about for call in world.source.calls[before:] if call.name == "usage"] == [
            f"cpu {end + 300}..{end + 300}",
            f"memory {end + 300}..{end + 300}",
            f"cpu {end - 600}..{end + 600}",
            f"memory {end - 600}..{end + 600}",
        ]

    def test_backfill_goes_by_two_days_and_then_by_weeks_and_tells_its_progress(self, world: World) -> None:
        world.run_cycle()
        # 14 days at noon of a Thursday: today, yesterday, the rest of its week, and the week before.
        assert world.source.made("usage") == 4 * 2
        assert (len(world.progress), world.progress[-1]) == (4, 1.0)
        assert world.progress == sorted(world.progress)

    def test_backfill_goes_from_the_newest_to_the_oldest(self, world: World) -> None:
        world.run_cycle()
        ends = [int(call.about.rpartition("..")[2]) for call in world.source.calls if call.name == "usage"]
        assert ends == sorted(ends, reverse=True)

    def test_namespaces_share_them(self, world: World) -> None:
        for name in "abcdef":
            world.add_deployment(namespace=name)
            world.apply_profile(namespace=name)
        world.run_cycle()
        assert world.source.made("usage", "loads") == 4 * 2 + 1
        assert all(world.sizes(namespace=name) == WORKED for name in "abcdef")

    def test_scrape_interval_once_an_hour(self, world: World) -> None:
        world.run_cycle()
        world.next_slot()
        world.run_cycle()
        assert world.source.made("loads") == 1
        world.pass_time(3_600)
        world.run_cycle()
        assert world.source.made("loads") == 2

    def test_without_a_scrape_interval_the_past_is_read_all_the_same(self, world: World) -> None:
        world.source.interval_seconds = None
        world.run_cycle()
        assert world.sizes() == WORKED

    def test_a_scrape_interval_that_was_not_found_is_asked_for_again(self, world: World) -> None:
        world.source.interval_seconds = None
        world.run_cycle()
        before = world.source.made("loads")
        world.source.interval_seconds = 30
        for _ in range(2):
            world.next_slot()
            world.run_cycle()
        assert world.source.made("loads") == before + 1

    def test_a_namespace_with_jobs_only_is_read_from_the_start_once(self) -> None:
        world = World()
        world.add_deployment(days=0)
        world.use("backup-28123456-x2x2x", owner=OwnerRef("Job", "backup-28123456"))
        world.apply_profile()
        world.run_cycle()
        before = world.source.made("usage")
        world.run_cycles(3)
        assert world.source.made("usage") == before

    def test_a_scrape_interval_that_looks_long_is_asked_for_again(self, world: World) -> None:
        world.source.interval_seconds = 450
        world.run_cycle()
        world.source.interval_seconds = 30
        for _ in range(3):
            world.next_slot()
            world.run_cycle()
        assert world.source.made("loads") == 2


class TestRecordingRules:
    def test_what_they_kept_whole_is_read_from_them_and_the_rest_as_ever(self, world: World) -> None:
        world.add_deployment(namespace="bank")
        world.apply_profile(namespace="bank")
        world.source.recorded_since = {"shop": int(NOW) - 3 * DAY}
        world.run_cycle()
        recorded = [call for call in world.source.calls if call.about.startswith("recorded cpu")]
        # Today and yesterday; the week before them is not whole.
        assert [call.namespaces for call in recorded] == [("shop",)] * 2
        assert world.source.made("recorded") == 4
        assert all(world.sizes(namespace=name) == WORKED for name in ("shop", "bank"))

    def test_new_slots_are_not_read_from_them(self, world: World) -> None:
        world.source.recorded_since = {"shop": 0}
        world.run_cycle()
        before = len(world.source.calls)
        world.next_slot()
        world.run_cycle()
        assert [call.name for call in world.source.calls[before:]] == ["usage", "usage", "oom_kills"]
        assert "recorded" not in world.source.calls[before].about


class TestThrottling:
    def test_is_told_raises_the_request_and_lowers_no_limit(self, world: World) -> None:
        world.use("web-5d9c7b-ccccc", owner=OwnerRef("ReplicaSet", "web-5d9c7b"), throttled=0.4, days=6.9)
        world.run_cycle()
        (entry,) = world.recommended()["containers"]
        assert entry["explanation"]["cpu"]["throttled"] == "50%"
        assert "= 180m, a lower bound: throttled in 50 % of the values; + 20 %" in entry["explanation"]["cpu"]["text"]
        assert entry["explanation"]["cpu"]["clamp"] == "Throttled"
        assert "throttled" not in entry["explanation"]["memory"]
        # 180m / (1 - 0.4) + 20 %, as exact as the code of a share.
        assert world.sizes() == replace(WORKED, cpu_request=361, cpu_limit=WIDE.cpu_limit)
        assert [found["type"] for found in entry["findings"]] == ["Throttled"]

    def test_owners_are_asked_for_as_far_back_as_throttling_was_read(self, world: World, tmp_path: Path) -> None:
        world.history_folder = tmp_path
        world.restart()
        world.use("web-5d9c7b-ccccc", owner=OwnerRef("ReplicaSet", "web-5d9c7b"), throttled=0.4)
        world.run_cycle()
        world.pass_time(3_600 - 300)
        world.run_cycle()
        world.measuring.close()
        world.restart()
        before = len(world.source.calls)
        world.pass_time(1_500)
        world.run_cycle()
        hour = int(NOW) + 3_600
        told = [call.about for call in world.source.calls[before:]]
        assert f"throttled {hour - 3_300}..{hour}" in told
        assert next(call.about for call in world.source.calls[before:] if call.name == "pod_owners") == f"{hour - 3_300}..{hour + 1_200}"

    def test_is_not_told_where_limits_never_bind(self, world: World) -> None:
        world.use("web-5d9c7b-ccccc", owner=OwnerRef("ReplicaSet", "web-5d9c7b"), throttled=0.0)
        world.run_cycle()
        assert not world.measuring.history.has_throttling
        assert "throttled" not in world.recommended()["containers"][0]["explanation"]["cpu"]


class TestTrouble:
    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (DOWN, "UsageSourceUnreachable"),
            (UsageSourceTimeout("no answer within 30 s"), "UsageSourceTimeout"),
            (UsageSourceOverloaded(429, "too many queries"), "UsageSourceOverloaded"),
            (UsageSourceRefused(500, "internal error"), "UsageSourceRefused"),
            (UsageAnswerInvalid("HTML instead of JSON"), "UsageAnswerInvalid"),
            (UsageSourceError("the secret cannot be read"), "UsageSourceFailed"),
        ],
    )
    def test_is_named(self, world: World, error: UsageSourceError, reason: str) -> None:
        world.source.fail(error)
        report = world.run_cycle()
        condition = world.measuring_condition()
        assert (condition["status"], condition["reason"], condition["message"]) == ("False", reason, str(error))
        assert (world.told(), report.troubled_namespaces) == (("Stale", reason), 1)

    def test_at_the_start_then_recovered(self, world: World) -> None:
        world.source.fail(DOWN)
        world.run_cycles(3)
        assert (world.sizes(), world.recommended()["summary"]["cpu"]) == (WIDE, "500m -> ?")
        world.source.recover()
        world.run_cycles(1)
        assert (world.sizes(), world.measuring_condition()["status"]) == (WORKED, "True")

    def test_later_keeps_the_recommendation_and_its_age(self, world: World) -> None:
        world.apply_profile(mode="Recommend")
        world.run_cycle()
        before = world.recommended()
        world.source.fail(DOWN)
        world.pass_time(DAY)
        world.run_cycle()
        after = world.recommended()
        assert world.told() == ("Stale", "UsageSourceUnreachable")
        assert (after["containers"], after["measuredAt"]) == (before["containers"], before["measuredAt"])

    def test_recommendation_and_age_outlive_a_restart(self, world: World) -> None:
        world.apply_profile(mode="Recommend")
        world.run_cycle()
        before = world.recommended()
        world.restart()
        world.source.fail(DOWN)
        world.next_slot()
        world.run_cycle()
        after = world.recommended()
        assert (after["containers"], after["measuredAt"]) == (before["containers"], before["measuredAt"])

    def test_nothing_is_applied_meanwhile(self, world: World) -> None:
        world.apply_profile(mode="Recommend")
        world.run_cycle()
        world.apply_profile(mode="Apply")
        world.source.fail(DOWN)
        world.next_slot()
        world.run_cycles(5)
        assert (world.sizes(), world.cluster.made("apply")) == (WIDE, 0)
        world.source.recover()
        world.run_cycles(1)
        assert world.sizes() == WORKED

    def test_is_written_and_told_once(self, world: World) -> None:
        world.run_cycle()
        world.end_rollouts()
        world.run_cycles(2)
        world.cluster.events.clear()
        world.source.fail(DOWN)
        world.next_slot()
        world.run_cycles(1)
        before = world.cluster.writes
        world.run_cycles(20)
        assert world.cluster.writes == before
        assert world.events() == ["UsageSourceUnreachable"]
        assert world.events("ResourceProfile") == ["UsageSourceUnreachable"]

    def test_in_one_namespace_leaves_the_others(self, world: World) -> None:
        world.add_deployment(namespace="bank")
        world.apply_profile(namespace="bank")
        world.source.fail(UsageSourceOverloaded(422, "too many samples"), call="usage", namespace="bank")
        report = world.run_cycle()
        assert (world.sizes(), world.sizes(namespace="bank")) == (WORKED, WIDE)
        assert (world.measuring_condition()["status"], world.measuring_condition(namespace="bank")["status"]) == ("True", "False")
        assert report.troubled_namespaces == 1

    def test_in_mid_backfill_costs_what_could_not_be_read_only(self, world: World) -> None:
        world.source.fail(UsageSourceUnreachable("it broke"), call="usage", skip=4, times=1)
        world.run_cycle()
        assert (world.sizes(), world.measuring_condition()["reason"]) == (WIDE, "UsageSourceUnreachable")
        assert world.source.made("usage") == 4 + 1
        world.run_cycles(1)
        assert (world.sizes(), world.progress[-1]) == (WORKED, 1.0)
        assert world.measuring_condition()["status"] == "True"
        assert world.source.made("usage") == 4 + 1 + 2 * 2

    def test_a_question_that_takes_too_long_is_halved(self, world: World) -> None:
        world.source.fail(UsageSourceTimeout("slow"), call="usage", skip=4, times=1)
        report = world.run_cycle()
        assert (world.sizes(), report.troubled_namespaces) == (WORKED, 0)
        assert (report.questions_halved, report.questions_failed) == (1, 0)
        assert world.source.made("usage") == 2 * 4 + 1 + 2

    def test_of_a_namespace_that_takes_too_long_leaves_the_others_and_their_past(self, world: World) -> None:
        for name in "abcdef":
            world.add_deployment(namespace=name)
            world.apply_profile(namespace=name)
        world.source.fail(UsageSourceTimeout("slow"), call="usage", namespace="c")
        report = world.run_cycle()
        assert report.troubled_namespaces == 1
        assert [name for name in "abcdef" if world.sizes(namespace=name) != WORKED] == ["c"]

    @pytest.mark.parametrize("call", ["loads", "pod_owners", "oom_kills"])
    def test_of_any_question_leaves_the_other_namespaces(self, world: World, call: str) -> None:
        world.add_deployment(namespace="bank")
        world.apply_profile(namespace="bank")
        world.source.fail(UsageSourceOverloaded(422, "too many samples"), call=call, namespace="bank")
        report = world.run_cycle()
        assert (world.sizes(), world.sizes(namespace="bank"), report.troubled_namespaces) == (WORKED, WIDE, 1)
        world.source.recover()
        assert (world.run_cycle().troubled_namespaces, world.sizes(namespace="bank")) == (0, WORKED)

    def test_metrics_are_missing(self, world: World) -> None:
        world.source.hidden.add("cpu")
        world.run_cycle()
        condition = world.measuring_condition()
        assert condition["reason"] == "MetricsMissing"
        assert condition["message"] == "the usage source has no series of container_cpu_usage_seconds_total in namespace shop"
        assert "memory" not in condition["message"]
        assert world.sizes() == WIDE

    def test_what_narrows_the_questions_is_told_with_metrics_that_are_missing(self, world: World) -> None:
        world.source.narrowed_by = 'RIGHTSIZER_PROMETHEUS_MATCHERS cluster="east"'
        world.restart()
        world.source.hidden.add("cpu")
        world.run_cycle()
        assert world.measuring_condition()["message"].endswith('namespace shop (asked with RIGHTSIZER_PROMETHEUS_MATCHERS cluster="east")')

    def test_missing_metrics_come_back(self, world: World) -> None:
        world.source.hidden.add("memory")
        world.run_cycle()
        world.source.hidden.clear()
        world.next_slot()
        world.run_cycle()
        assert world.measuring_condition()["status"] == "True"

    def test_while_asking_what_is_missing(self, world: World) -> None:
        world.source.hidden.add("cpu")
        world.run_cycle()
        world.source.fail(DOWN, call="loads")
        world.next_slot()
        world.run_cycle()
        assert world.measuring_condition()["reason"] == "UsageSourceUnreachable"

    def test_is_none_where_no_pod_is_wanted(self, world: World) -> None:
        world.cluster.edit(WEB, replicas=0)
        world.source.usages.clear()
        world.run_cycle()
        assert (world.measuring_condition()["status"], world.told()) == ("True", ("Waiting", "NotEnoughHistory"))

    def test_is_none_where_the_first_pod_has_just_started(self, world: World) -> None:
        world.source.usages = [replace(usage, since=int(NOW) + 30) for usage in world.source.usages]
        world.run_cycle()
        assert (world.source.made("loads"), world.measuring_condition()["status"]) == (1, "True")

    def test_of_a_server_that_is_gone_is_not_waited_for_in_each_namespace(self, world: World) -> None:
        for name in "abcdef":
            world.add_deployment(namespace=name)
            world.apply_profile(namespace=name)
        world.run_cycle()
        before = world.source.made()
        world.source.fail(DOWN)
        world.next_slot()
        report = world.run_cycle()
        assert (world.source.made() - before, report.troubled_namespaces) == (1, 7)
        world.source.recover()
        assert world.run_cycle().troubled_namespaces == 0


class TestOwners:
    def test_from_kube_state_metrics(self, world: World) -> None:
        world.run_cycle()
        assert world.measuring_condition()["message"].endswith("come from kube-state-metrics")
        assert world.cluster.made("pods") == 0

    def test_from_the_api_where_that_is_missing(self, world: World) -> None:
        world.source.kube_state_metrics = False
        world.cluster.stored_replica_sets["shop", "web-5d9c7b"] = OwnerRef("Deployment", "web")
        world.run_cycle()
        assert world.sizes() == WORKED
        assert "kube-state-metrics is missing" in world.measuring_condition()["message"]
        assert world.measuring_condition()["status"] == "True"

    @pytest.mark.parametrize("call", ["pods", "replica_set_owners"])
    def test_from_names_where_the_api_refuses(self, world: World, call: str) -> None:
        world.source.kube_state_metrics = False
        world.cluster.fail(ClusterForbidden("no"), call=call)
        world.run_cycle()
        assert world.sizes() == WORKED

    def test_of_pods_of_the_past_from_names(self, world: World) -> None:
        world.source.kube_state_metrics = False
        world.cluster.stored_pods.clear()
        world.run_cycle()
        assert world.sizes() == WORKED

    def test_from_names_where_there_is_no_cluster_to_ask(self, world: World) -> None:
        world.source.kube_state_metrics = False
        measuring = Measuring(world.source, None)
        measuring.refresh({"shop": [world.workload()]}, now=world.clock.time, window_seconds=14 * DAY)
        assert set(measuring.history) == {ContainerKey(WEB, "app")}

    def test_that_could_be_two_by_name_count_for_none(self, world: World) -> None:
        world.source.kube_state_metrics = False
        world.cluster.stored_pods.clear()
        # Its pods would be called web-5d9c7b-<5> too.
        world.cluster.add_workload(replace(world.workload(), ref=WorkloadRef("shop", "DaemonSet", "web-5d9c7b")))
        world.run_cycle()
        assert (world.told(), world.sizes()) == (("Waiting", "NotEnoughHistory"), WIDE)

    def test_pod_without_owner_is_left_out_and_not_asked_for_ever(self, world: World) -> None:
        world.use("lonely", owner=None, cpu=5_000, memory=9_000 * MI)
        world.run_cycle()
        assert world.sizes() == WORKED
        before = world.source.made("pod_owners")
        for _ in range(3):
            world.next_slot()
            world.run_cycle()
        assert world.source.made("pod_owners") == before

    def test_owner_that_comes_a_scrape_later_is_found(self, world: World) -> None:
        world.run_cycle()
        world.add_deployment("late", days=0)
        world.use("late-77-ccccc", owner=None, days=0)
        world.next_slot()
        world.run_cycle()
        assert len(world.measuring.history) == 1
        world.own("late-77-ccccc", OwnerRef("ReplicaSet", "late-77"))
        world.next_slot()
        world.run_cycle()
        assert ContainerKey(WorkloadRef("shop", "Deployment", "late"), "app") in set(world.measuring.history)

    def test_are_forgotten_when_there_are_too_many(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("rightsizer.cycle.ownership.MOST_KNOWN", 1)
        world.run_cycle()
        world.add_deployment("second", days=1)
        world.next_slot()
        world.run_cycle()
        world.next_slot()
        world.run_cycle()
        assert len(world.measuring.history) == 2


class TestOomKill:
    @pytest.mark.parametrize("kube_state_metrics", [True, False])
    def test_raises_the_floor(self, world: World, kube_state_metrics: bool) -> None:
        world.source.kube_state_metrics = kube_state_metrics
        world.kill_for_memory(limit=480 * MI)
        world.run_cycle()
        # The larger of 480Mi x 1.2 and 480Mi + 100Mi.
        assert (world.sizes().memory_request, world.sizes().memory_limit) == (384 * MI, 580 * MI)

    def test_of_a_large_container_by_a_fifth(self, world: World) -> None:
        world.kill_for_memory(limit=700 * MI)
        world.run_cycle()
        # Half of it, as the limit may be twice the request.
        assert (world.sizes().memory_request, world.sizes().memory_limit) == (420 * MI, 840 * MI)

    def test_without_a_known_limit_keeps_above_the_peak(self, world: World) -> None:
        world.apply_profile(memory={"buffer": "5%", "limit": {"policy": "None"}})
        world.kill_for_memory(limit=None)
        world.run_cycle()
        assert world.sizes().memory_request == 384 * MI

    def test_later_raises_what_was_applied(self, world: World) -> None:
        world.run_cycle()
        world.end_rollouts()
        world.run_cycles(1)
        assert world.last_change()["outcome"] == "Succeeded"
        world.next_slot()
        world.kill_for_memory(limit=576 * MI)
        world.run_cycle()
        assert (world.sizes().memory_request, world.sizes().memory_limit) == (384 * MI, 692 * MI)

    def test_is_forgotten_after_the_window(self, world: World) -> None:
        world.apply_profile(window="7d")
        world.kill_for_memory(limit=400 * MI)
        world.run_cycle()
        assert world.measuring.oom_floors() == {ContainerKey(WEB, "app"): 500 * MI}
        world.pass_time(8 * DAY)
        world.run_cycle()
        assert world.measuring.oom_floors() == {}

    def test_of_a_pod_of_no_workload_teaches_nothing(self, world: World) -> None:
        world.kill_for_memory("lonely", limit=400 * MI)
        world.run_cycle()
        assert world.measuring.oom_floors() == {}


class TestHistory:
    def test_longer_window_is_filled_again(self, world: World) -> None:
        world.apply_profile(mode="Recommend", window="2d", minimumHistory={"raise": "1h", "lower": "1h"})
        world.run_cycle()
        assert world.source.made("usage") == 2 * 3
        world.apply_profile(mode="Recommend", window="7d", minimumHistory={"raise": "1h", "lower": "1h"})
        world.run_cycles(1)
        assert world.source.made("usage") == 2 * 3 + 2 * 3
        assert world.recommended()["containers"][0]["explanation"]["cpu"]["window"] == "7d"

    def test_shorter_window_keeps_what_is_there(self, world: World) -> None:
        world.run_cycle()
        before = world.source.made("usage")
        world.apply_profile(window="2d", minimumHistory={"raise": "1h", "lower": "1h"})
        world.run_cycles(1)
        assert (world.source.made("usage"), world.measuring.history.slots) == (before, 14 * DAY // 300)

    def test_of_containers_that_are_gone_is_forgotten(self, world: World) -> None:
        world.add_deployment("zoo")
        world.run_cycle()
        world.kill_for_memory("zoo-5d9c7b-aaaaa", limit=400 * MI)
        world.cluster.delete_workload(WorkloadRef("shop", "Deployment", "zoo"))
        world.next_slot()
        world.run_cycle()
        assert set(world.measuring.history) == {ContainerKey(WEB, "app")}
        assert world.measuring.oom_floors() == {}

    def test_of_an_older_template_is_not_kept(self, world: World) -> None:
        world.use("web-5d9c7b-ddddd", owner=OwnerRef("ReplicaSet", "web-5d9c7b"), container="former")
        world.run_cycle()
        assert set(world.measuring.history) == {ContainerKey(WEB, "app")}

    def test_of_a_namespace_that_cannot_be_listed_is_kept(self, world: World) -> None:
        world.run_cycle()
        world.cluster.fail(ClusterForbidden("deployments is forbidden"), call="workloads", namespace="shop")
        world.next_slot()
        before = world.source.made()
        world.run_cycle()
        assert (set(world.measuring.history), world.source.made()) == ({ContainerKey(WEB, "app")}, before)
        world.cluster.recover()
        world.run_cycles(1)
        assert world.source.made("usage") == 2 * 4 + 2

    def test_short_history_waits(self) -> None:
        world = World()
        world.add_deployment(days=3)
        world.apply_profile()
        world.run_cycle()
        assert (world.sizes(), world.told()) == (WIDE, ("Waiting", "NotEnoughHistory"))

    def test_container_that_is_new_waits_and_leaves_the_other(self, world: World) -> None:
        world.cluster.edit(WEB, containers=(Container("app", WIDE), Container("new", WIDE)))
        world.run_cycle()
        assert (world.sizes(), world.sizes(container="new")) == (WORKED, WIDE)
