"""What the other arms ask, and what is put into the API server for the operator to find."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from rightsizer.cluster.endpoint import workload_endpoint
from rightsizer.cluster.workload_json import parse_workload
from rightsizer.workload import RolloutPhase
from tests.bench import questions
from tests.bench.api_content import settled_status, workload_manifest
from tests.bench.driver import ApiCount
from tests.bench.generated import GeneratedContainer, GeneratedWorkload
from tests.bench.other_arms import Asker, NoAnswer
from tests.bench.usage_blocks import Size
from tests.prometheus_server import PrometheusServer, failure, vector


@pytest.fixture
def server() -> Iterator[PrometheusServer]:
    with PrometheusServer() as running:
        yield running


def workload(kind: str = "Deployment") -> GeneratedWorkload:
    return GeneratedWorkload(
        "team-001", kind, "web-0000", 3, (GeneratedContainer("app", 250, 2**28), GeneratedContainer("proxy", 10, 2**24))
    )


def test_questions_for_one_container() -> None:
    asked = questions.of_container(namespace="shop", pods=["a-1", "a-2"], container="app", days=14)
    selector = '{namespace="shop",pod=~"a-1|a-2",container="app"}'
    assert len(asked) == 4
    assert asked[0] == (
        f"quantile_over_time(0.95,max(rate(container_cpu_usage_seconds_total{selector}[75s])) by (container,pod,job)[14d:75s])"
    )
    assert asked[1] == f"max_over_time(max(container_memory_working_set_bytes{selector}) by (container,pod,job)[14d:75s])"
    assert all(text.startswith("count_over_time(") for text in asked[2:])


def test_questions_for_owners_and_pods() -> None:
    assert questions.replica_sets(namespace="shop", deployment="a", days=2).endswith('owner_kind="Deployment",namespace="shop"}[2d]')
    asked = questions.pods(namespace="shop", owner_kind="ReplicaSet", owners=["a-x", "a-y"], days=2)
    assert asked == 'kube_pod_owner{owner_name=~"a-x|a-y",owner_kind="ReplicaSet",namespace="shop"}[2d]'
    assert questions.running(namespace="shop", pods=["p"]) == 'kube_pod_status_phase{phase="Running",pod=~"p",namespace="shop"} == 1'


def test_one_question_per_resource_for_everything() -> None:
    cpu, memory = questions.of_everything(days=14)
    assert "container_cpu_usage_seconds_total" in cpu
    assert "container_memory_working_set_bytes" in memory
    assert "namespace=" not in cpu + memory
    assert cpu.endswith("[14d:5m])")


def test_asked_at_the_end_of_the_history_and_not_packed(server: PrometheusServer) -> None:
    server.reply(vector(({"pod": "a"}, "1")))
    (series,) = Asker(server.url, at=1_700_000_000).ask("up")
    assert series["metric"] == {"pod": "a"}
    (asked,) = server.asked
    assert urlsplit(asked.path).path == "/api/v1/query"
    assert dict(asked.form) == {"query": "up", "time": "1700000000"}
    assert asked.headers["Accept-Encoding"] == "identity"


def test_a_refusal_is_told_in_the_servers_words(server: PrometheusServer) -> None:
    server.reply(failure(422, "execution", "query processing would load too many samples into memory"))
    with pytest.raises(NoAnswer, match=r"HTTP 422.*too many samples"):
        Asker(server.url, at=1).ask("up")


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_the_operator_finds_settled_workloads(kind: str) -> None:
    item = workload_manifest(workload(kind)) | {"status": settled_status(workload(kind))}
    item["metadata"] |= {"uid": "u", "resourceVersion": "1", "generation": 1, "creationTimestamp": "2025-10-01T00:00:00Z"}
    found = parse_workload(workload_endpoint(kind), item)
    assert (found.rollout, found.replicas) == (RolloutPhase.COMPLETE, 3)
    assert [container.name for container in found.sizable] == ["app", "proxy"]
    assert (found.sizable[0].sizes.cpu_request, found.sizable[0].sizes.memory_request) == (250, 2**28)


def test_api_requests_are_counted_from_one_look_to_the_next() -> None:
    api = ApiCount()
    for verb in ("list", "list", "patch", "create", "get"):
        api.on_request(verb, "deployments", 200, 0.5)
    assert api.take() == {"api_requests": 5, "api_writes": 2, "api_s": 2.5}
    assert api.take() == {"api_requests": 0, "api_writes": 0, "api_s": 0.0}


def test_every_parameter_of_a_history_is_a_flag() -> None:
    flags = Size(containers=50, days=1).flags()
    assert flags[:2] == ["-containers=50", "-days=1"]
    assert Size(containers=50, days=1, seed=2).flags() != flags
