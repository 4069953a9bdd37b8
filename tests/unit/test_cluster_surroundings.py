"""What stands around workloads as the API tells it: budgets, vertical autoscalers, nodes, steps of rolling updates, the own Deployment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rightsizer.checks.confines import DisruptionBudget, Room, VerticalAutoscaler
from rightsizer.checks.node_room import Node
from rightsizer.cluster import KubernetesCluster, connect
from rightsizer.cluster.autoscaler_json import parse_autoscaler
from rightsizer.cluster.confines_json import parse_quota
from rightsizer.cluster.endpoint import DEPLOYMENTS
from rightsizer.cluster.rollout import rolling_steps
from rightsizer.cluster.surroundings_json import parse_disruption_budget, parse_node, parse_vertical_autoscaler
from rightsizer.cluster.workload_json import parse_workload
from rightsizer.errors import ClusterForbidden
from rightsizer.profile import LabelSelector, Requirement
from rightsizer.workload import ResourceName, WorkloadRef
from tests.api_objects import deployment
from tests.api_server import ApiServer, Reply, refusal

Json = dict[str, Any]
METADATA = {"namespace": "shop", "name": "one"}
WEB = WorkloadRef("shop", "Deployment", "web")
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
BOTH: frozenset[ResourceName] = frozenset(("cpu", "memory"))
VPAS = "/apis/autoscaling.k8s.io/v1/namespaces/shop/verticalpodautoscalers"
OWN = "/apis/apps/v1/namespaces/shop/deployments/web"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path) -> Iterator[KubernetesCluster]:
    cluster = connect(server.kubeconfig(tmp_path), None, sleep=lambda seconds: None)
    yield cluster
    cluster.close()


class TestDisruptionBudgets:
    def test_as_counted(self) -> None:
        selector = {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}]}
        item = {"metadata": METADATA, "spec": {"selector": selector}, "status": {"expectedPods": 3, "disruptionsAllowed": 1}}
        expected = LabelSelector({"app": "web"}, (Requirement("tier", "In", ("a", "b")),))
        assert parse_disruption_budget(item) == DisruptionBudget("shop", "one", expected, pods=3, allowed=1)

    @pytest.mark.parametrize(("spec", "selector"), [({}, None), ({"selector": {}}, LabelSelector())])
    def test_not_counted_yet_and_selectors_that_say_little(self, spec: Json, selector: LabelSelector | None) -> None:
        found = parse_disruption_budget({"metadata": METADATA, "spec": spec})
        assert found == DisruptionBudget("shop", "one", selector, pods=0, allowed=0)


class TestVerticalAutoscalers:
    @pytest.mark.parametrize(
        ("spec", "sizes"),
        [
            ({}, {"*": BOTH}),
            ({"updatePolicy": {"updateMode": "Initial"}}, {"*": BOTH}),
            ({"updatePolicy": {"updateMode": "InPlaceOrRecreate"}}, {"*": BOTH}),
            ({"updatePolicy": {"updateMode": "Off"}}, {"*": frozenset()}),
            (
                {"updatePolicy": {"updateMode": "Off"}, "resourcePolicy": {"containerPolicies": [{"containerName": "app"}]}},
                {"*": frozenset()},
            ),
            (
                {"resourcePolicy": {"containerPolicies": [{"containerName": "app", "controlledResources": ["cpu"]}]}},
                {"*": BOTH, "app": frozenset(("cpu",))},
            ),
            (
                {
                    "resourcePolicy": {
                        "containerPolicies": [{"containerName": "*", "mode": "Off"}, {"containerName": "app", "mode": "Auto"}]
                    }
                },
                {"*": frozenset(), "app": BOTH},
            ),
        ],
    )
    def test_what_they_size(self, spec: Json, sizes: Any) -> None:
        found = parse_vertical_autoscaler({"metadata": METADATA, "spec": {"targetRef": TARGET, **spec}})
        assert found == VerticalAutoscaler("shop", "one", WEB, "apps", sizes)

    def test_without_their_definition_there_are_none(self, server: ApiServer, cluster: KubernetesCluster) -> None:
        server.on("GET", VPAS, refusal(404, "the server could not find the requested resource"))
        found = cluster.vertical_autoscalers(["shop"])
        assert (found.items, found.failed) == ((), {})

    def test_those_that_may_not_be_listed_are_told(self, server: ApiServer, cluster: KubernetesCluster) -> None:
        server.on("GET", VPAS, refusal(403, "you may not"))
        assert isinstance(cluster.vertical_autoscalers(["shop"]).failed["shop"], ClusterForbidden)


def node(spec: Json | None = None, *, ready: str = "True") -> Json:
    status = {"allocatable": {"cpu": "3920m", "memory": "7Gi", "pods": "110"}, "conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": "n", "labels": {"zone": "a"}}, "spec": spec or {}, "status": status}


class TestNodes:
    @pytest.mark.parametrize(
        ("item", "usable"),
        [(node(), True), (node({"unschedulable": True}), False), (node(ready="False"), False), (node(ready="Unknown"), False)],
    )
    def test_what_they_have_for_pods(self, item: Json, usable: bool) -> None:
        assert parse_node(item) == Node("n", {"zone": "a"}, Room(3920, 7 * 2**30), usable)

    def test_one_that_says_nothing_has_nothing(self) -> None:
        assert parse_node({"metadata": {"name": "n"}}) == Node("n", {}, Room(0, 0), usable=False)


def steps(kind: str, strategy: Json | None, *, replicas: int = 10) -> tuple[int, int]:
    field = "strategy" if kind in ("Deployment", "Rollout") else "updateStrategy"
    return rolling_steps(kind, {"spec": {"replicas": replicas, field: strategy}, "status": {"desiredNumberScheduled": replicas}})


@pytest.mark.parametrize(
    ("kind", "strategy", "replicas", "expected"),
    [
        ("Deployment", None, 10, (3, 2)),
        ("Deployment", None, 1, (1, 0)),
        ("Deployment", {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}, 10, (2, 0)),
        ("Deployment", {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "33%"}}, 10, (10, 3)),
        ("Deployment", {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "5%"}}, 10, (0, 1)),
        ("Deployment", {"type": "Recreate"}, 10, (0, 10)),
        ("StatefulSet", None, 10, (0, 1)),
        ("StatefulSet", {"rollingUpdate": {"maxUnavailable": "25%"}}, 10, (0, 3)),
        ("StatefulSet", {"type": "OnDelete"}, 10, (0, 0)),
        ("Rollout", None, 10, (3, 2)),
        ("Rollout", {"canary": {"maxSurge": 0, "maxUnavailable": 2}}, 10, (0, 2)),
        ("Rollout", {"blueGreen": {}}, 10, (10, 0)),
        ("DaemonSet", None, 10, (0, 1)),
        ("DaemonSet", {"rollingUpdate": {"maxSurge": "10%", "maxUnavailable": 0}}, 10, (1, 0)),
        ("DaemonSet", {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}}, 10, (0, 3)),
    ],
)
def test_steps_of_a_rolling_update(kind: str, strategy: Json | None, replicas: int, expected: tuple[int, int]) -> None:
    assert steps(kind, strategy, replicas=replicas) == expected


@pytest.mark.parametrize(("job", "runs"), [({}, 1), ({"parallelism": 3}, 3)])
def test_the_next_run_of_a_cron_job_is_one_more(job: Json, runs: int) -> None:
    assert rolling_steps("CronJob", {"spec": {"jobTemplate": {"spec": job}}}) == (runs, 0)


def test_a_workload_has_its_steps_labels_and_node_selector() -> None:
    item = deployment()
    item["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
    found = parse_workload(DEPLOYMENTS, item)
    assert (found.max_surge, found.max_unavailable) == (1, 0)
    assert (found.pod_labels, found.node_selector, found.group) == ({"app": "web"}, {"disk": "fast"}, "apps")


def test_a_horizontal_autoscaler_has_the_group_of_its_target() -> None:
    item = {"metadata": METADATA, "spec": {"scaleTargetRef": TARGET, "metrics": []}}
    assert parse_autoscaler(item).group == "apps"
    assert parse_autoscaler({**item, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}}}).group == ""


@pytest.mark.parametrize(("scopes", "counts"), [([], True), (["NotTerminating"], True), (["Terminating"], False), (["BestEffort"], False)])
def test_a_quota_for_other_pods_counts_nothing(scopes: list[str], counts: bool) -> None:
    found = parse_quota({"metadata": METADATA, "spec": {"hard": {"cpu": "1"}, "scopes": scopes}})
    assert bool(found.hard) == counts


class TestAnnotations:
    def test_of_one_workload(self, server: ApiServer, cluster: KubernetesCluster) -> None:
        server.on("GET", OWN, Reply(body={"metadata": {"annotations": {"rightsizer.dev/mode": "Recommend"}}}))
        assert cluster.annotations_of(WEB) == {"rightsizer.dev/mode": "Recommend"}

    def test_of_one_that_is_not_there(self, server: ApiServer, cluster: KubernetesCluster) -> None:
        server.on("GET", OWN, refusal(404, 'deployments.apps "web" not found'))
        assert cluster.annotations_of(WEB) == {}

    def test_a_refusal_is_an_error(self, server: ApiServer, cluster: KubernetesCluster) -> None:
        server.on("GET", OWN, refusal(403, "you may not"))
        with pytest.raises(ClusterForbidden):
            cluster.annotations_of(WEB)
