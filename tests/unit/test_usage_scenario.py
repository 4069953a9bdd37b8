"""The scenario of the demo: the kinds of workload that it promises, and objects that agree with it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rightsizer.methods.sizing import oom_floor
from tests.usage import Resources, WorkloadUsage
from tests.usage.demo_scenario import manifests, workloads
from tests.usage.manifest import workload_manifest
from tests.usage.pod import pods_between
from tests.usage.quantity import MEBIBYTE
from tests.usage.workload import scenario_digest

NOW = 1_790_000_000.0


@pytest.fixture(scope="module")
def scenario() -> dict[str, WorkloadUsage]:
    return {workload.name: workload for workload in workloads()}


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return manifests()


def test_the_scenario_is_the_same_at_each_call(scenario: dict[str, WorkloadUsage]) -> None:
    assert scenario_digest(tuple(scenario.values())) == scenario_digest(workloads())


def test_web_is_the_worked_example(scenario: dict[str, WorkloadUsage]) -> None:
    web = scenario["web"]
    (app,) = web.containers
    assert (web.namespace, web.kind, web.replicas, web.variation) == ("shop", "Deployment", 2, 0.0)
    assert (app.cpu.peak, app.memory.peak) == (0.18, 320 * MEBIBYTE)
    assert (app.requests, app.limits) == (Resources(cpu="500m", memory="1Gi"), Resources(cpu="1", memory="2Gi"))
    assert app.cpu.at([NOW, NOW + 1e6]).tolist() == [0.18, 0.18]


def test_every_kind_of_behaviour_is_there(scenario: dict[str, WorkloadUsage]) -> None:
    assert {workload.kind for workload in scenario.values()} == {"Deployment", "StatefulSet", "DaemonSet"}
    assert {workload.namespace for workload in scenario.values()} == {"shop", "batch", "live"}
    assert scenario["payments"].containers[0].requests == scenario["payments"].containers[0].limits
    assert scenario["preview"].history_hours == 6
    assert [container.sidecar for container in scenario["node-agent"].containers] == [True, False]
    assert scenario["docs"].containers[0].cpu.peak < 0.01


def test_the_leak_climbs_and_restarts_and_the_small_limit_kills(scenario: dict[str, WorkloadUsage]) -> None:
    leak, tight = scenario["sessions"].containers[0], scenario["thumbnails"].containers[0]
    assert leak.restarts is not None
    assert tight.restarts is not None
    begin = leak.memory.anchor_seconds
    climb = leak.memory.at([begin + 3600, begin + leak.memory.period_seconds - 3600])
    assert climb[1] > 3 * climb[0]
    assert leak.restarts.reason == "Error"
    assert tight.restarts.reason == "OOMKilled"
    assert tight.memory.peak > (tight.limits.memory_bytes or math.inf)
    assert len(tight.restarts.between(start=NOW - 14 * 86_400, end=NOW)) >= 14


def test_what_an_oom_kill_teaches_is_more_than_what_was_measured_and_enough(scenario: dict[str, WorkloadUsage]) -> None:
    tight = scenario["thumbnails"].containers[0]
    limit = int(tight.limits.memory_bytes or 0)
    assert oom_floor(limit) == 356 * MEBIBYTE
    assert oom_floor(limit) > limit * 1.2  # what is measured is never above the limit, and the buffer is 20 %
    assert tight.memory.peak < oom_floor(limit) * 1.5  # the new limit: no more kills


def test_only_the_workload_with_a_small_limit_would_be_killed(scenario: dict[str, WorkloadUsage]) -> None:
    above = {
        workload.name
        for workload in scenario.values()
        for container in workload.containers
        if container.memory.peak * (1 + workload.variation) > (container.limits.memory_bytes or math.inf)
    }
    assert above == {"thumbnails"}


def test_two_weeks_have_pods_of_every_workload_at_every_hour(scenario: dict[str, WorkloadUsage]) -> None:
    for workload in scenario.values():
        if workload.history_hours is None:
            pods = list(pods_between(workload, begin=NOW - 14 * 86_400, end=NOW))
            for moment in range(int(NOW - 14 * 86_400), int(NOW), 3600):
                assert any(pod.started <= moment + 600 and pod.ended > moment for pod in pods), workload.name


def test_namespaces_come_first_and_every_workload_has_its_object(scenario: dict[str, WorkloadUsage], objects: list[dict[str, Any]]) -> None:
    assert [item["metadata"]["name"] for item in objects if item["kind"] == "Namespace"] == ["shop", "batch", "live"]
    assert [item["kind"] for item in objects[:3]] == ["Namespace"] * 3
    described = {(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects[3:]}
    wanted = {(workload.kind, workload.namespace, workload.name) for workload in scenario.values()}
    assert described == wanted | {("HorizontalPodAutoscaler", "shop", "catalog")}


def test_objects_carry_the_resources_of_the_scenario_and_pause(objects: list[dict[str, Any]]) -> None:
    (web,) = (item for item in objects if item["metadata"]["name"] == "web")
    pod_spec = web["spec"]["template"]["spec"]
    assert web["spec"]["replicas"] == 2
    assert pod_spec["terminationGracePeriodSeconds"] == 1
    assert pod_spec["containers"] == [
        {
            "name": "app",
            "image": "registry.k8s.io/pause:3.10",
            "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
        }
    ]


def test_a_sidecar_becomes_an_init_container_that_restarts_always(objects: list[dict[str, Any]]) -> None:
    (agent,) = (item for item in objects if item["kind"] == "DaemonSet")
    pod_spec = agent["spec"]["template"]["spec"]
    assert "replicas" not in agent["spec"]
    assert [(container["name"], container["restartPolicy"]) for container in pod_spec["initContainers"]] == [("log-shipper", "Always")]
    assert [container["name"] for container in pod_spec["containers"]] == ["agent"]


def test_a_statefulset_names_its_service_and_a_cron_job_its_schedule(scenario: dict[str, WorkloadUsage]) -> None:
    assert workload_manifest(scenario["database"])["spec"]["serviceName"] == "database"
    nightly = WorkloadUsage(
        namespace="batch",
        kind="CronJob",
        name="nightly",
        containers=scenario["docs"].containers,
        replaced_every_days=1,
        active_minutes=30,
    )
    job = workload_manifest(nightly)
    assert job["apiVersion"] == "batch/v1"
    assert job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"
