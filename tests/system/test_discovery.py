"""A usage source found in a real cluster and asked through its API server, headers and all.

No pod really runs. The API server sends what goes to one over the HTTP proxy that its environment names, and there the answers are given.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.prometheus_server import Asked, PrometheusServer, Reply, as_json
from tests.system.test_cli import rightsizer
from tests.testbed import Testbed
from tests.unit.test_cli_discovery import steady

pytestmark = pytest.mark.system

MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: prometheus-server, namespace: monitoring, labels: {app.kubernetes.io/name: prometheus}}
spec: {selector: {app: prometheus}, ports: [{name: http, port: 80, targetPort: 9090}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: prometheus-server, namespace: monitoring}
spec:
  selector: {matchLabels: {app: prometheus}}
  template:
    metadata: {labels: {app: prometheus}}
    spec: {containers: [{name: prometheus, image: prometheus, ports: [{containerPort: 9090}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: app}]}
"""


@pytest.fixture
def pods() -> Iterator[PrometheusServer]:
    """Answers in the place of every pod."""

    def answer(asked: Asked) -> Reply:
        return steady(asked.form)

    with PrometheusServer(as_json({})) as server:
        server.answer(answer)
        yield server


@pytest.fixture
def bed(pods: PrometheusServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Testbed]:
    with monkeypatch.context() as patch:
        patch.setenv("HTTP_PROXY", pods.url)
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        started = Testbed.start()
    with started as running:
        for namespace in ("monitoring", "shop"):
            running.create_namespace(namespace)
        running.apply(MANIFESTS)
        running.wait_for(lambda: _has_addresses(running), what="a pod behind the Service")
        yield running


def _has_addresses(bed: Testbed) -> bool:
    endpoints = bed.get("endpoints", "prometheus-server", namespace="monitoring") or {}
    return any(subset.get("addresses") for subset in endpoints.get("subsets") or [])


def test_the_usage_comes_through_the_api_server_and_the_credential_stays_there(bed: Testbed, pods: PrometheusServer) -> None:
    options = ("-n", "shop", "--prometheus-header", "X-Scope-OrgID=team")
    done = rightsizer("recommend", *options, "-o", "json", kubeconfig=bed.kubeconfig)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(
        "note: usage from Prometheus monitoring/prometheus-server:80, found by app.kubernetes.io/name=prometheus;"
    )
    (web,) = json.loads(done.stdout)
    assert web["containers"][0]["recommended"]["requests"] == {"cpu": "216m", "memory": "384Mi"}
    assert {asked.path.split("/", 3)[3] for asked in pods.asked} == {"api/v1/query", "api/v1/query_range"}
    headers = [{name.lower(): value for name, value in asked.headers.items()} for asked in pods.asked]
    assert {one["x-scope-orgid"] for one in headers} == {"team"}
    assert not [one for one in headers if "authorization" in one]
    token = json.loads(bed.kubeconfig.read_text())["users"][0]["user"]["token"]
    assert token not in repr(pods.asked)
