"""The command line against a real cluster and a real Prometheus: the same numbers as from files, and not one write."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenario import WORKED_EXAMPLE, WRITING_VERBS, Stage, profile

pytestmark = pytest.mark.system

SCRIPTS = Path(sys.executable).parent
READER = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: view}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: view}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: reader, namespace: view}]
"""
READER_NAME = "system:serviceaccount:view:reader"


@pytest.fixture(scope="module")
def reader(stage: Stage) -> Path:
    """The kubeconfig of somebody who may do everything in the namespace `view`, and nothing elsewhere."""
    stage.bed.apply(READER)
    return stage.bed.kubeconfig_for(namespace="view", service_account="reader")


PROMETHEUS = """
apiVersion: v1
kind: Namespace
metadata: {name: monitoring}
---
apiVersion: v1
kind: Service
metadata: {name: prometheus, namespace: monitoring, labels: {app.kubernetes.io/name: prometheus}}
spec: {selector: {app: nothing}, ports: [{name: web, port: 9090}]}
---
apiVersion: v1
kind: Service
metadata: {name: thanos, namespace: monitoring, labels: {app.kubernetes.io/name: thanos-query}}
spec: {ports: [{name: grpc, port: 10901}, {name: http, port: 9090}]}
"""
LISTER = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: lister}
rules: [{apiGroups: [""], resources: [services], verbs: [list]}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: lister, namespace: view}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: lister}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: lister}
subjects: [{kind: ServiceAccount, name: lister, namespace: view}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: lister, namespace: view}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: lister, namespace: view}]
"""


def rightsizer(*arguments: object, kubeconfig: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return command([SCRIPTS / "rightsizer", *arguments], kubeconfig=kubeconfig, **environment)


def command(words: list[object], *, kubeconfig: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RIGHTSIZER_")}
    return subprocess.run(
        [str(word) for word in words],
        env={**inherited, "KUBECONFIG": str(kubeconfig), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_worked_example_live_and_nothing_is_written(stage: Stage, reader: Path) -> None:
    done = rightsizer("recommend", "--prometheus-url", stage.bed.prometheus_url, "-o", "json", kubeconfig=reader)
    assert done.returncode == 0, done.stderr
    (web,) = json.loads(done.stdout)
    assert (web["namespace"], web["workload"]) == ("view", "Deployment/web")
    assert web["containers"][0]["recommended"] == WORKED_EXAMPLE
    requests = stage.bed.audit_events(READER_NAME)
    assert requests
    assert not [event["requestURI"] for event in requests if event["verb"] in WRITING_VERBS]


def test_explain_live_by_environment(stage: Stage, reader: Path) -> None:
    done = rightsizer("explain", "deploy/web", kubeconfig=reader, RIGHTSIZER_PROMETHEUS_URL=stage.bed.prometheus_url)
    assert done.returncode == 0, done.stderr
    assert "2. buffer   180m + 20 % = 216m" in done.stdout
    assert "limit 1.5 x 384Mi = 576Mi" in done.stdout
    assert f"Prometheus {stage.bed.prometheus_url}" in done.stdout


def test_backtest_live_beside_the_sizes_in_force(stage: Stage, reader: Path, tmp_path: Path) -> None:
    decisions = tmp_path / "out.csv"
    done = rightsizer(
        *("backtest", "--workload", "deploy/web", "--prometheus-url", stage.bed.prometheus_url, "-o", "json"),
        *("--rule", "current", "--rule", "vpa", "--trajectory", decisions),
        kubeconfig=reader,
    )
    assert done.returncode == 0, done.stderr
    own, current, vpa = json.loads(done.stdout)
    assert [one["rule"] for one in (own, current, vpa)] == ["Measured", "current", "vpa"]
    assert [one["name"] for one in own["series"]] == ["view/Deployment/web/app"]
    slacks = [one["cpu"]["slack"]["mean"] for one in (own, current, vpa)]
    assert slacks == pytest.approx([1 - 180 / 216, 1 - 180 / 500, 1 - 1 / 1.15], abs=0.005)
    assert current["memory"]["slack"]["mean"] == pytest.approx(1 - 320 / 1024, abs=0.005)
    (decided,) = csv.DictReader(decisions.read_text().splitlines())
    assert float(decided["cpu_request_cores"]) == pytest.approx(0.216, rel=0.005)
    assert not [event["requestURI"] for event in stage.bed.audit_events(READER_NAME) if event["verb"] in WRITING_VERBS]


def test_backtest_of_a_namespace_by_the_profiles_in_it(stage: Stage) -> None:
    generous = profile("rules", "Recommend", cpu={"buffer": "100%"}, containers=[{"name": "istio-proxy", "mode": "Ignore"}])
    with stage.ruled_by(generous):
        done = rightsizer(
            "backtest", "-n", "rules", "--prometheus-url", stage.bed.prometheus_url, "-o", "csv", kubeconfig=stage.bed.kubeconfig
        )
    assert done.returncode == 0, done.stderr
    found = [row for row in csv.DictReader(done.stdout.splitlines()) if row["resource"] == "cpu"]
    assert [row["series"] for row in found] == [f"rules/Deployment/{name}/app" for name in ("kept", "mesh", "unlimited")]
    assert [float(row["slack"]) for row in found] == pytest.approx([0.5] * 3, abs=0.005)


def test_as_a_plug_in_of_kubectl(stage: Stage) -> None:
    kubectl = stage.bed.kubectl.binary
    words = [kubectl, "rightsizer", "recommend", "-n", "view", "--prometheus-url", stage.bed.prometheus_url]
    done = command(words, kubeconfig=stage.bed.kubeconfig, PATH=f"{SCRIPTS}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    assert "500m -> 216m" in done.stdout


def test_what_may_not_be_read_is_exit_code_3(stage: Stage, reader: Path) -> None:
    for options in (("-n", "shop"), ("-A",)):
        done = rightsizer("recommend", *options, "--prometheus-url", stage.bed.prometheus_url, kubeconfig=reader)
        assert (done.returncode, done.stdout) == (3, "")
        assert "HTTP 403" in done.stderr
        assert done.stderr.startswith("error: ")
    unknown = rightsizer("recommend", "--context", "nope", "--prometheus-url", stage.bed.prometheus_url, kubeconfig=reader)
    assert (unknown.returncode, "nope" in unknown.stderr) == (3, True)


def test_a_usage_source_that_is_none_is_exit_code_4(stage: Stage) -> None:
    nobody = rightsizer("recommend", "-n", "view", "--prometheus-url", "http://127.0.0.1:9", kubeconfig=stage.bed.kubeconfig)
    assert (nobody.returncode, nobody.stdout) == (4, "")
    another = rightsizer(
        "recommend", "-n", "view", "--prometheus-url", f"{stage.bed.prometheus_url}/graph", kubeconfig=stage.bed.kubeconfig
    )
    assert (another.returncode, another.stdout) == (4, "")
    assert another.stderr.count("\n") == 1


def test_all_namespaces_of_the_cluster(stage: Stage) -> None:
    done = rightsizer("recommend", "-A", "--prometheus-url", stage.bed.prometheus_url, "-o", "json", kubeconfig=stage.bed.kubeconfig)
    places = {one["namespace"] for one in json.loads(done.stdout)}
    assert {"shop", "view", "rules"} <= places


@pytest.fixture(scope="module")
def services(stage: Stage) -> Iterator[None]:
    """Services that look like usage sources. An API server refuses to have 127.0.0.1 behind one, so there is nothing."""
    stage.bed.apply(PROMETHEUS, LISTER)
    stage.bed.wait_for(lambda: stage.bed.get("endpoints", "prometheus", namespace="monitoring"), what="endpoints of the Service")
    yield
    stage.bed.kubectl("delete", "namespace", "monitoring", "--wait=false")


@pytest.mark.usefixtures("services")
def test_a_usage_source_is_looked_for_where_none_is_named(stage: Stage) -> None:
    done = rightsizer("recommend", "-n", "view", "--prometheus-timeout", "3", kubeconfig=stage.bed.kubeconfig)
    assert (done.returncode, done.stdout) == (4, "")
    note, error = [line for line in done.stderr.splitlines() if not line.startswith("warning:")]
    assert note == (
        "note: usage from Prometheus monitoring/prometheus:9090, found by app.kubernetes.io/name=prometheus and preferred to "
        "Thanos monitoring/thanos:9090; give --prometheus-url to take another; asked through the API server"
    )
    assert 'HTTP 503: no endpoints available for service "prometheus"' in error
    assert "; found too: Thanos monitoring/thanos:9090, by `kubectl -n monitoring port-forward service/thanos 9090:9090`" in error


@pytest.mark.usefixtures("services")
def test_rights_to_find_and_to_ask_are_told(stage: Stage, reader: Path) -> None:
    unseen = rightsizer("recommend", kubeconfig=reader)
    assert (unseen.returncode, "Services may not be listed" in unseen.stderr) == (2, True)
    lister = stage.bed.kubeconfig_for(namespace="view", service_account="lister")
    unasked = rightsizer("recommend", kubeconfig=lister)
    assert unasked.returncode == 4
    assert "the right to create services/proxy in namespace monitoring is needed, or `kubectl -n monitoring port-forward" in unasked.stderr
    (event,) = [event for event in stage.bed.audit_events("system:serviceaccount:view:lister") if event["verb"] == "create"]
    assert event["requestURI"] == "/api/v1/namespaces/monitoring/services/http:prometheus:9090/proxy/api/v1/query"
