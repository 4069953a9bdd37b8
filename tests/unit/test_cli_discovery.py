"""A usage source that nobody named: which Service is chosen, what is said about it, and the way to it through the API server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rightsizer.cli.discovery import PATTERNS, Candidate, candidates, check_goes_through, choose
from rightsizer.cluster import Service, ServicePort
from rightsizer.cluster.service import parse_service
from rightsizer.errors import InvalidInput
from rightsizer.settings import from_environment
from tests.api_objects import deployment
from tests.api_server import ApiServer, Received, Reply, paged, refusal
from tests.prometheus_server import Asked, PrometheusServer, as_json, matrix, vector
from tests.prometheus_server import Reply as PrometheusReply
from tests.unit.cli_files import run

MEBIBYTE = 1024 * 1024
NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"


def service(
    name: str, labels: Mapping[str, str], *ports: tuple[str, int], namespace: str = "monitoring", headless: bool = False
) -> Service:
    return Service(namespace, name, labels, tuple(ServicePort(*port) for port in ports or [("http", 9090)]), headless)


@pytest.mark.parametrize(
    ("labels", "ports", "server", "url"),
    [
        (
            {"app": "kube-prometheus-stack-prometheus"},
            [("http-web", 9090), ("reloader-web", 8080)],
            "Prometheus",
            "http://it.monitoring.svc:9090",
        ),
        (
            {NAME: "prometheus", COMPONENT: "prometheus"},
            [("web", 9090), ("reloader-web", 8080)],
            "Prometheus",
            "http://it.monitoring.svc:9090",
        ),
        ({NAME: "prometheus", COMPONENT: "server"}, [("http", 80)], "Prometheus", "http://it.monitoring.svc:80"),
        ({"app": "prometheus", "component": "server"}, [("", 80)], "Prometheus", "http://it.monitoring.svc:80"),
        ({"operated-prometheus": "true"}, [("web", 9090)], "Prometheus", "http://it.monitoring.svc:9090"),
        ({NAME: "vmsingle"}, [("graphite", 2003), ("http", 8429)], "VictoriaMetrics", "http://it.monitoring.svc:8429"),
        ({NAME: "victoria-metrics-single"}, [("", 8428)], "VictoriaMetrics", "http://it.monitoring.svc:8428"),
        ({NAME: "vmselect"}, [("http", 8481)], "VictoriaMetrics", "http://it.monitoring.svc:8481/select/0/prometheus"),
        ({NAME: "thanos-query"}, [("grpc", 10901), ("http", 9090)], "Thanos", "http://it.monitoring.svc:9090"),
        ({NAME: "thanos", COMPONENT: "query"}, [("http", 9090)], "Thanos", "http://it.monitoring.svc:9090"),
        ({NAME: "mimir", COMPONENT: "gateway"}, [("http-metrics", 80)], "Mimir", "http://it.monitoring.svc:80/prometheus"),
        ({NAME: "mimir", COMPONENT: "nginx"}, [("http", 80)], "Mimir", "http://it.monitoring.svc:80/prometheus"),
        (
            {NAME: "mimir", COMPONENT: "query-frontend"},
            [("http-metrics", 8080), ("grpc", 9095)],
            "Mimir",
            "http://it.monitoring.svc:8080/prometheus",
        ),
    ],
)
def test_what_is_known(labels: dict[str, str], ports: list[tuple[str, int]], server: str, url: str) -> None:
    (found,) = candidates([service("it", labels, *ports)])
    assert (found.pattern.server, found.url) == (server, url)


@pytest.mark.parametrize(
    ("labels", "ports"),
    [
        ({NAME: "alertmanager"}, [("web", 9093)]),
        ({NAME: "prometheus-pushgateway"}, [("http", 9091)]),
        ({NAME: "mimir", COMPONENT: "distributor"}, [("http-metrics", 8080)]),
        ({"app": "prometheus", "component": "alertmanager"}, [("http", 80)]),
        ({NAME: "thanos-query"}, [("grpc", 10901)]),
        ({NAME: "prometheus"}, [("https", 9090)]),
        ({NAME: "prometheus"}, [("metrics", 8443)]),
        ({}, [("http", 9090)]),
    ],
)
def test_what_is_not_taken_for_a_usage_source(labels: dict[str, str], ports: list[tuple[str, int]]) -> None:
    with pytest.raises(InvalidInput, match=r"^where does the usage come from\? No Service of the cluster looks like .* --manifests DIR"):
        choose([service("prometheus", labels, *ports)])


def test_the_readme_names_every_label() -> None:
    told = (Path(__file__).parents[2] / "README.md").read_text().partition("### Finding the usage source")[2].partition("\n## ")[0]
    for pattern in PATTERNS:
        assert f"| {pattern.server}" in told
        assert not [part for label in pattern.labels.items() for part in label if part not in told]


def test_the_order_of_preference_and_the_others_are_named() -> None:
    services = [
        service("mimir", {NAME: "mimir", COMPONENT: "gateway"}, ("http", 80)),
        service("thanos", {NAME: "thanos-query"}),
        service("operated", {"operated-prometheus": "true"}, headless=True),
        service("second", {NAME: "prometheus"}),
        service("first", {NAME: "prometheus"}),
        service("aa", {NAME: "prometheus"}, headless=True),
        service("vm", {NAME: "vmsingle"}, ("http", 9090)),
        service("web", {NAME: "web"}),
    ]
    names = ["first", "second", "aa", "operated", "vm", "thanos", "mimir"]
    assert [found.service.name for found in candidates(reversed(services))] == names
    chosen, others, words = choose(services)
    assert [other.service.name for other in others] == names[1:]
    assert chosen.service.name == "first"
    assert words == (
        "usage from Prometheus monitoring/first:9090, found by app.kubernetes.io/name=prometheus and preferred to "
        "Prometheus monitoring/second:9090, Prometheus monitoring/aa:9090, Prometheus monitoring/operated:9090, "
        "VictoriaMetrics monitoring/vm:9090, Thanos monitoring/thanos:9090 and 1 more; give --prometheus-url to take another"
    )


def test_many_others_are_counted() -> None:
    *_, words = choose(service(f"p{number}", {NAME: "prometheus"}) for number in range(9))
    assert "monitoring/p5:9090 and 3 more; " in words


def test_how_to_forward_a_port_to_it() -> None:
    (found,) = candidates([service("vm", {NAME: "vmselect"}, ("http", 8481))])
    assert isinstance(found, Candidate)
    assert found.forwarding == (
        "`kubectl -n monitoring port-forward service/vm 9090:8481` and --prometheus-url http://127.0.0.1:9090/select/0/prometheus"
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prometheus_bearer_token_file": Path("t")}, "a secret"),
        ({"prometheus_username": "me", "prometheus_password_file": Path("p")}, "a secret"),
        ({"prometheus_headers": {"authorization": "Bearer x"}}, "a header Authorization"),
        ({"prometheus_ca_file": Path("ca")}, "a certificate"),
        ({"prometheus_verify": False}, "a certificate"),
    ],
)
def test_what_cannot_go_through_the_api_server_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{words} for Prometheus cannot be passed through the API server"):
        check_goes_through(from_environment({}, prometheus_url="http://p", **settings))
    check_goes_through(from_environment({}, prometheus_url="http://p", prometheus_headers={"X-Scope-OrgID": "team"}))


def as_item(found: Service) -> dict[str, Any]:
    ports = [{"name": port.name, "port": port.number, "protocol": "TCP", "targetPort": "web"} for port in found.ports]
    return {
        "metadata": {"namespace": found.namespace, "name": found.name, "labels": dict(found.labels)},
        "spec": {"clusterIP": "None" if found.headless else "10.0.0.9", "ports": ports},
    }


def test_a_service_of_the_api() -> None:
    found = service("dns", {"a": "b"}, ("http", 80), ("", 81), headless=True)
    item = as_item(found)
    item["spec"]["ports"].append({"name": "dns", "port": 53, "protocol": "UDP"})
    assert parse_service(item) == found
    bare = {"metadata": {"namespace": "shop", "name": "elsewhere"}, "spec": {"type": "ExternalName", "externalName": "example.com"}}
    assert parse_service(bare) == Service("shop", "elsewhere", {}, ())


PROMETHEUS = service("prometheus", {NAME: "prometheus"}, ("web", 9090))
PROXY = "/api/v1/namespaces/monitoring/services/http:prometheus:9090/proxy"
WEB = {"namespace": "shop", "pod": "web-5d9c7b-abcde", "container": "app"}


def steady(form: Mapping[str, str]) -> PrometheusReply:
    """180m and 320Mi, whenever is asked."""
    query = form.get("query", "")
    if "figure" in query:
        return vector(({"namespace": "shop", "figure": "samples"}, "30"), ({"namespace": "shop", "figure": "series"}, "1"))
    value = "0.18" if "cpu_usage" in query else str(320 * MEBIBYTE) if "working_set" in query else None
    if value is None:
        return matrix() if "start" in form else vector()
    return matrix((WEB, [(at, value) for at in range(int(form["start"]), int(form["end"]) + 1, int(form["step"]))]))


def proxied(received: Received) -> Reply:
    answer = steady(received.body)
    return Reply(answer.status, answer.body)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """A cluster with one Deployment and a Prometheus behind a Service."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ApiServer() as server:
        server.on("GET", "/api/v1/services", paged([as_item(PROMETHEUS)]))
        server.on("GET", "/apis/apps/v1/namespaces/shop/deployments", paged([deployment()]))
        server.on("GET", "/api/v1/namespaces", paged([{"metadata": {"name": "shop"}}]))
        for path in (
            "/apis/apps/v1/namespaces/shop/statefulsets",
            "/apis/apps/v1/namespaces/shop/daemonsets",
            "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers",
            "/api/v1/namespaces/shop/pods",
        ):
            server.on("GET", path, paged([]))
        for path in ("query", "query_range", "series"):
            server.on("POST", f"{PROXY}/api/v1/{path}", proxied)
        yield server


def recommended(stdout: str) -> dict[str, Any]:
    (web,) = json.loads(stdout)
    found: dict[str, Any] = web["containers"][0]["recommended"]["requests"]
    return found


def test_recommend_without_a_url_goes_through_the_api_server(api: ApiServer, tmp_path: Path) -> None:
    options = ("--kubeconfig", api.kubeconfig(tmp_path), "-n", "shop", "--prometheus-header", "X-Scope-OrgID=team")
    result = run("recommend", *options, "-o", "json")
    assert result.exit_code == 0, result.stderr
    assert recommended(result.stdout) == {"cpu": "216m", "memory": "384Mi"}
    assert result.stderr.splitlines()[0] == (
        "note: usage from Prometheus monitoring/prometheus:9090, found by app.kubernetes.io/name=prometheus; "
        "give --prometheus-url to take another; asked through the API server"
    )
    asked = api.asked("POST", f"{PROXY}/api/v1/query_range")
    assert {request.headers["X-Scope-OrgID"] for request in asked} == {"team"}
    assert asked[0].body["partial_response"] == "false"
    explained = run("explain", "deploy/web", *options)
    assert "Prometheus monitoring/prometheus:9090 through the API server" in explained.stdout


def test_in_the_cluster_it_is_reached_by_its_name(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rightsizer.cli.live.in_pod", lambda kubeconfig, context: True)
    result = run("recommend", "--kubeconfig", api.kubeconfig(tmp_path), "-n", "shop", "--prometheus-timeout", "1")
    assert result.exit_code == 4
    note, error = result.stderr.splitlines()
    assert note.startswith("note: usage from Prometheus monitoring/prometheus:9090, found by")
    assert error.startswith("error: http://prometheus.monitoring.svc:9090: ")
    assert api.asked("POST", f"{PROXY}/api/v1/query") == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            refusal(403, 'User "me" cannot create resource "services/proxy"'),
            "the right to create services/proxy in namespace monitoring is needed, or "
            "`kubectl -n monitoring port-forward service/prometheus 9090:9090` and --prometheus-url http://127.0.0.1:9090",
        ),
        (refusal(503, 'no endpoints available for service "prometheus"'), "HTTP 503: no endpoints available"),
        (refusal(429, "too many requests"), "HTTP 429: "),
        (Reply(302, b"", {"Location": "https://login"}), "redirected to https://login"),
        (Reply(200, b"<html>"), "answered HTML"),
        (Reply(0), "through the API server: POST"),
    ],
)
def test_what_the_api_server_refuses_is_the_usage_source_that_refuses(api: ApiServer, tmp_path: Path, answer: Reply, words: str) -> None:
    api.on("POST", f"{PROXY}/api/v1/query", answer)
    result = run("recommend", "--kubeconfig", api.kubeconfig(tmp_path), "-n", "shop", "--prometheus-timeout", "3")
    assert (result.exit_code, result.stdout) == (4, "")
    assert words in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal(503, "no endpoints available"), "HTTP 503: no endpoints available"),
        (Reply(404, b"404 page not found"), "has no Prometheus API"),
    ],
)
def test_others_that_were_found_are_named_where_the_chosen_one_is_away(api: ApiServer, tmp_path: Path, answer: Reply, words: str) -> None:
    api.on("GET", "/api/v1/services", paged([as_item(PROMETHEUS), as_item(service("vm", {NAME: "vmsingle"}, ("http", 8428)))]))
    api.on("POST", f"{PROXY}/api/v1/query", answer)
    result = run("recommend", "--kubeconfig", api.kubeconfig(tmp_path), "-n", "shop", "--prometheus-timeout", "3")
    error = result.stderr.splitlines()[-1]
    assert result.exit_code == 4
    assert words in error
    assert (
        "; found too: VictoriaMetrics monitoring/vm:8428, by `kubectl -n monitoring port-forward service/vm 9090:8428` "
        "and --prometheus-url http://127.0.0.1:9090 ("
    ) in error


@pytest.mark.parametrize(
    ("services", "options", "words"),
    [
        (paged([]), (), "No Service of the cluster looks like a Prometheus"),
        (refusal(403, "no"), (), "Services may not be listed to find it"),
        (paged([as_item(PROMETHEUS)]), ("--prometheus-insecure",), "a certificate for Prometheus cannot be passed through the API server"),
    ],
)
def test_none_to_be_had_is_wrong_usage(api: ApiServer, tmp_path: Path, services: Any, options: tuple[str, ...], words: str) -> None:
    api.on("GET", "/api/v1/services", services)
    result = run("recommend", "--kubeconfig", api.kubeconfig(tmp_path), "-n", "shop", *options)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert words in result.stderr
    assert "--prometheus-url" in result.stderr


def test_no_credential_of_kubernetes_is_ever_sent_to_prometheus(api: ApiServer, tmp_path: Path) -> None:
    def answer(asked: Asked) -> PrometheusReply:
        return steady(asked.form)

    with PrometheusServer(as_json({})) as prometheus:
        prometheus.answer(answer)
        kubeconfig = api.kubeconfig(tmp_path, token="kubernetes-secret")
        result = run("recommend", "--kubeconfig", kubeconfig, "-n", "shop", "--prometheus-url", prometheus.url, "-o", "json")
    assert recommended(result.stdout) == {"cpu": "216m", "memory": "384Mi"}
    headers = [{name.lower(): value for name, value in received.headers.items()} for received in api.received]
    assert {one["authorization"] for one in headers} == {"Bearer kubernetes-secret"}
    assert prometheus.asked
    assert "kubernetes-secret" not in repr(prometheus.asked)
    assert not [one for one in prometheus.asked if "authorization" in {name.lower() for name in one.headers}]
    # It was named, so nothing else was looked for.
    assert api.asked("GET", "/api/v1/services") == []
