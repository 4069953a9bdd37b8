"""CronJobs and Argo Rollouts against a real API server: what the operator makes of them, and what the server makes of its patches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rightsizer.checks.differences import differences
from rightsizer.cluster import KubernetesCluster, connect
from rightsizer.strategies.rollout import render
from rightsizer.workload import FieldPath, RolloutPhase, Workload
from tests.operator_process import running
from tests.scenario import GENEROUS, WORKED_EXAMPLE, Manifest, Stage, now_and_then, profile, staged, steady
from tests.unit.builders import recommendation

pytestmark = pytest.mark.system

DEFINITION = Path(__file__).with_name("argo_rollouts.yaml")
NIGHT = "jobs/CronJob/night"


def rollout(name: str = "canary", **spec: Any) -> Manifest:
    container = {"name": "app", "image": "registry.example/app:1", "resources": GENEROUS}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container, {**container, "name": "proxy"}]}}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "namespace": "argo"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }


@pytest.fixture(scope="module")
def stage(binaries: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    assert binaries is not None
    with staged(tmp_path_factory.mktemp("kinds"), (now_and_then("jobs", "night"), steady("jobs", "web"))) as ready:
        ready.bed.create_namespace("argo")
        yield ready


def pod_template(stage: Stage, reference: str = NIGHT) -> Manifest:
    return dict(stage.workload(reference)["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["resources"])


def resources_of_jobs(stage: Stage) -> dict[str, Manifest]:
    """By Job, what its template asks for."""
    jobs = stage.owned("jobs", NIGHT)
    return {job["metadata"]["name"]: job["spec"]["template"]["spec"]["containers"][0]["resources"] for job in jobs}


def schedule(stage: Stage, text: str) -> None:
    stage.bed.kubectl("patch", "cronjob", "night", "--namespace", "jobs", "--type=merge", "--patch", f'{{"spec":{{"schedule":"{text}"}}}}')


@pytest.mark.timeout(300)
def test_a_cron_job_is_sized_from_its_next_run_on(stage: Stage) -> None:
    schedule(stage, "* * * * *")
    stage.bed.wait_for(lambda: resources_of_jobs(stage), 90, "a Job before the change")
    before, earlier = resources_of_jobs(stage), len(stage.bed.audit_events(operator_user()))
    assert list(before.values()) == [GENEROUS] * len(before)
    with stage.ruled_by(profile("jobs")), running(stage.operator()) as operator:
        stage.bed.wait_for(lambda: pod_template(stage) == WORKED_EXAMPLE, 60, "the CronJob sized")
        operator.wait_for_cycles(2)
        told = stage.recommendation(NIGHT)
        assert told["lastChange"]["message"].startswith("in force from its next run on")
        explained = told["containers"][0]["explanation"]["cpu"]["text"]
        assert " runs, 1 pod) = 180m" in explained
        stage.bed.wait_for(lambda: WORKED_EXAMPLE in resources_of_jobs(stage).values(), 90, "a Job after the change")
        after = resources_of_jobs(stage)
        assert {name: after[name] for name in before if name in after} == {name: before[name] for name in before if name in after}
        asked = {event["objectRef"]["resource"] for event in stage.bed.audit_events(operator_user())[earlier:] if event["verb"] == "list"}
        assert "cronjobs" in asked
        assert not {"jobs", "rollouts"} & asked


def operator_user() -> str:
    return "system:serviceaccount:rightsizer:rightsizer"


@pytest.fixture
def cluster(stage: Stage) -> Iterator[KubernetesCluster]:
    kubeconfig = stage.bed.kubeconfig_for(namespace="rightsizer", service_account="rightsizer")
    cluster = connect(str(kubeconfig), None)
    yield cluster
    cluster.close()


@contextlib.contextmanager
def defined(stage: Stage, *, by_name: bool) -> Iterator[None]:
    """With the definition of Rollouts, newer or older. Afterwards it is gone with all of them."""
    definition = yaml.safe_load(DEFINITION.read_text())
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    containers = spec["properties"]["template"]["properties"]["spec"]["properties"]["containers"]
    if not by_name:
        del containers["x-kubernetes-list-type"], containers["x-kubernetes-list-map-keys"]
    stage.bed.apply(definition)
    stage.bed.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/rollouts.argoproj.io")
    try:
        yield
    finally:
        stage.bed.kubectl("delete", "crd", "rollouts.argoproj.io", "--wait=true")


def listed(stage: Stage, cluster: KubernetesCluster) -> list[Workload]:
    stage.bed.wait_for(lambda: cluster.workloads(["Rollout"], ["argo"]).items, what="Rollouts")
    return list(cluster.workloads(["Rollout"], ["argo"]).items)


def test_without_their_definition_there_are_no_rollouts(cluster: KubernetesCluster) -> None:
    found = cluster.workloads(["Rollout"], ["argo"])
    assert (found.items, found.failed) == ((), {})


def test_the_containers_of_a_rollout_are_merged_and_its_controller_is_believed(stage: Stage, cluster: KubernetesCluster) -> None:
    borrowing = rollout("borrowing", workloadRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"})
    del borrowing["spec"]["template"]
    with defined(stage, by_name=True):
        stage.bed.apply(rollout(), borrowing)
        (found,) = listed(stage, cluster)
        assert (found.ref.name, found.merged_by_name, found.rollout) == ("canary", True, RolloutPhase.IN_PROGRESS)
        written = {"status": {"phase": "Healthy", "observedGeneration": str(found.generation)}}
        command = ("patch", "rollout", "canary", "--namespace", "argo", "--subresource=status", "--type=merge")
        stage.bed.kubectl(*command, "--patch", yaml.safe_dump(written))
        (found,) = listed(stage, cluster)
        assert found.rollout is RolloutPhase.COMPLETE
        patch = render(found, differences({"app": recommendation()}, found))
        changed = cluster.apply(patch, force=True)
        assert (changed.generation, changed.rollout) == (found.generation + 1, RolloutPhase.IN_PROGRESS)
        assert FieldPath("app", "cpu", "request") in changed.owned
        app, proxy = stage.workload("argo/Rollout/canary")["spec"]["template"]["spec"]["containers"]
        assert (app["image"], app["resources"]) == ("registry.example/app:1", WORKED_EXAMPLE)
        assert (proxy["image"], proxy["resources"]) == ("registry.example/app:1", GENEROUS)


def test_an_older_definition_is_recognised(stage: Stage, cluster: KubernetesCluster) -> None:
    with defined(stage, by_name=False):
        stage.bed.apply(rollout())
        (found,) = listed(stage, cluster)
        assert not found.merged_by_name
