"""What stands in the way of a change on a real API server: each held back for its own reason, and let go when that is gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.operator_process import OperatorProcess, running
from tests.scenario import GENEROUS, WORKED_EXAMPLE, Manifest, Stage, annotate, container, profile, requested, staged, steady
from tests.usage.manifest import horizontal_pod_autoscaler

pytestmark = pytest.mark.system

SMALL = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": WORKED_EXAMPLE["limits"]}
LARGE = {"cpu": "432m", "memory": "96Gi"}
OWN = "rightsizer/Deployment/rightsizer"


def small(**usage: Any) -> Any:
    return container(requests=SMALL["requests"], limits=SMALL["limits"], **usage)


WORKLOADS = (
    steady("frozen", "web"),
    steady("stopped", "web"),
    steady("shut", "web"),
    steady("scaled", "average"),
    steady("scaled", "container"),
    steady("vertical", "web"),
    steady("vertical", "told"),
    steady("guarded", "web", replicas=2),
    steady("tight", "small", small()),
    steady("full", "web"),
    steady("limited", "web"),
    steady("outside", "web"),
    # The nodes have 64 GiB, and the DaemonSet has some of it.
    steady("large", "web", container(memory=63 * 1024, requests={"cpu": "216m", "memory": "1Gi"}, limits=LARGE)),
    steady("large", "agent", kind="DaemonSet"),
)
NAMESPACES = tuple(dict.fromkeys(one.namespace for one in WORKLOADS))


def definition() -> Manifest:
    """Of VerticalPodAutoscalers, with any content."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "verticalpodautoscalers.autoscaling.k8s.io",
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes/kubernetes/pull/63797"},
        },
        "spec": {
            "group": "autoscaling.k8s.io",
            "names": {"kind": "VerticalPodAutoscaler", "plural": "verticalpodautoscalers"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def vertical(name: str, mode: str) -> Manifest:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    return {
        "apiVersion": "autoscaling.k8s.io/v1",
        "kind": "VerticalPodAutoscaler",
        "metadata": {"name": name, "namespace": "vertical"},
        "spec": {"targetRef": target, "updatePolicy": {"updateMode": mode}},
    }


def scaled_by(name: str, metric: Manifest) -> Manifest:
    found = horizontal_pod_autoscaler("scaled", name, min_replicas=1, max_replicas=1, cpu_percent=70)
    return {**found, "spec": {**found["spec"], "metrics": [metric]}}


def object_of(namespace: str, kind: str, spec: Manifest, *, api_version: str = "v1") -> Manifest:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "one", "namespace": namespace}, "spec": spec}


CPU_OF_CONTAINER = {"name": "cpu", "container": "app", "target": {"type": "Utilization", "averageUtilization": 70}}
AROUND = (
    scaled_by("average", {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "150m"}}}),
    scaled_by("container", {"type": "ContainerResource", "containerResource": CPU_OF_CONTAINER}),
    object_of(
        "guarded", "PodDisruptionBudget", {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}}, api_version="policy/v1"
    ),
    # Room for the pod that is there and one more, but not for a larger one; for none beside it.
    object_of("tight", "ResourceQuota", {"hard": {"requests.cpu": "300m"}}),
    object_of("full", "ResourceQuota", {"hard": {"requests.cpu": "600m"}}),
    object_of("limited", "LimitRange", {"limits": [{"type": "Container", "min": {"cpu": "300m"}}]}),
    object_of("outside", "LimitRange", {"limits": [{"type": "Container", "maxLimitRequestRatio": {"memory": "1"}}]}),
)
HELD = {
    "shut/Deployment/web": "OutsideWindow",
    "vertical/Deployment/web": "VpaActive",
    "outside/Deployment/web": "LimitRangeForbids",
    "large/Deployment/web": "NodeTooSmall",
}
RELEASED = {
    "frozen/Deployment/web": "Frozen",
    "guarded/Deployment/web": "PodDisruptionBudgetForbids",
    "full/Deployment/web": "QuotaExceeded",
}
CHANGED = ("scaled/Deployment/average", "scaled/Deployment/container", "vertical/Deployment/told", "tight/Deployment/small")


@pytest.fixture(scope="module")
def stage(binaries: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A cluster of its own."""
    assert binaries is not None
    with staged(tmp_path_factory.mktemp("surroundings"), WORKLOADS) as ready:
        bed = ready.bed
        bed.apply(definition())
        bed.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/verticalpodautoscalers.autoscaling.k8s.io")
        bed.apply(*AROUND, vertical("web", "Auto"), vertical("told", "Off"))
        # Without surge: pods go before others come.
        steps = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
        bed.kubectl("patch", "deployment", "web", "--namespace=guarded", "--patch", json.dumps({"spec": {"strategy": steps}}))
        annotate(bed, "x/namespace/frozen", "rightsizer.dev/freeze=true")
        yield ready


@pytest.fixture(scope="module")
def operator(stage: Stage) -> Iterator[OperatorProcess]:
    shut = {"windows": [{"days": ["Mon"], "start": "03:00", "end": "03:01", "timeZone": "Pacific/Kiritimati"}]}
    profiles = [profile(name, apply=shut if name == "shut" else {}) for name in NAMESPACES if name != "stopped"]
    with stage.ruled_by(*profiles), running(stage.operator()) as operator:
        yield operator


@pytest.mark.parametrize(("reference", "reason"), HELD.items())
@pytest.mark.usefixtures("operator")
def test_is_held_back(stage: Stage, reference: str, reason: str) -> None:
    stage.wait_state(reference, "Blocked", reason)
    assert stage.last_change(reference) == {}


@pytest.mark.usefixtures("operator")
def test_what_does_no_harm_is_changed(stage: Stage) -> None:
    stage.wait_changed(*CHANGED)
    assert stage.resources("scaled/Deployment/average") == WORKED_EXAMPLE
    assert stage.resources("vertical/Deployment/told") == WORKED_EXAMPLE
    only_memory = {"requests": {"cpu": "500m", "memory": "384Mi"}, "limits": {"cpu": "1", "memory": "576Mi"}}
    assert stage.resources("scaled/Deployment/container") == only_memory
    # 216m fit in, but not beside the former pod that lingers.
    assert stage.resources("tight/Deployment/small")["requests"] == {"cpu": "100m", "memory": "384Mi"}


@pytest.mark.usefixtures("operator")
def test_a_limit_range_moves_what_it_can(stage: Stage) -> None:
    stage.wait_changed("limited/Deployment/web")
    found = stage.resources("limited/Deployment/web")
    assert found["requests"] == {"cpu": "300m", "memory": "384Mi"}


@pytest.mark.usefixtures("operator")
def test_is_let_go_when_it_is_gone(stage: Stage) -> None:
    for reference, reason in RELEASED.items():
        stage.wait_state(reference, "Blocked", reason)
        assert stage.resources(reference) == GENEROUS
    annotate(stage.bed, "x/namespace/frozen", "rightsizer.dev/freeze-")
    stage.bed.kubectl("delete", "poddisruptionbudget", "one", "--namespace=guarded")
    stage.bed.kubectl("delete", "resourcequota", "one", "--namespace=full")
    stage.wait_changed(*RELEASED)


def test_a_stop_takes_effect_within_one_cycle_and_ends(stage: Stage, operator: OperatorProcess) -> None:
    annotate(stage.bed, OWN, "rightsizer.dev/mode=Recommend")
    try:
        with stage.ruled_by(profile("stopped")):
            stage.wait_state("stopped/Deployment/web", "Blocked", "Stopped")
            operator.wait_for_cycles(2)
            assert stage.resources("stopped/Deployment/web") == GENEROUS
            assert "nothing is changed in the whole cluster" in stage.summary("stopped/Deployment/web")["message"]
            annotate(stage.bed, OWN, "rightsizer.dev/mode-")
            stage.wait_changed("stopped/Deployment/web")
    finally:
        annotate(stage.bed, OWN, "rightsizer.dev/mode-")


def test_looking_costs_little(stage: Stage, operator: OperatorProcess) -> None:
    """A list of each kind for the whole cluster and one look at the own Deployment in a cycle; nodes seldom."""
    operator.wait_for_cycles(1)
    before = len(stage.bed.audit_events(operator.user))
    operator.wait_for_cycles(5)
    found = [requested(event)[1:] for event in stage.bed.audit_events(operator.user)[before:] if "objectRef" in event]
    for kind in ("limitranges", "resourcequotas", "poddisruptionbudgets", "verticalpodautoscalers"):
        assert 5 <= found.count((kind, "list")) <= 7
    assert 5 <= found.count(("deployments", "get")) <= 7
    assert found.count(("nodes", "list")) <= 1
