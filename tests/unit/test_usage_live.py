"""The live side: pods of a cluster as JSON, and the page that a scrape of them gets."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.usage import ContainerUsage, WorkloadUsage, constant, ramp
from tests.usage.cluster_pod import ClusterObjects, ClusterPods
from tests.usage.demo_scenario import workloads as demo_workloads
from tests.usage.exporter import ClusterUnavailableError, LiveExporter, load_scenario
from tests.usage.exposition import scrape_page
from tests.usage.pod import pods_between
from tests.usage.quantity import MEBIBYTE

NOW = 1_790_000_000.0
LEAK = ramp(100.0 * MEBIBYTE, 300.0 * MEBIBYTE, period_seconds=5000.0)


def scenario(**changes: Any) -> WorkloadUsage:
    app = ContainerUsage(name="app", cpu=constant(0.18), memory=LEAK)
    proxy = ContainerUsage(name="proxy", cpu=constant(0.02), memory=constant(64.0 * MEBIBYTE), sidecar=True)
    values: dict[str, Any] = {"namespace": "shop", "kind": "Deployment", "name": "web", "containers": (proxy, app), "variation": 0.0}
    return WorkloadUsage(**(values | changes))


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def metadata(name: str, owner: tuple[str, str] | None, **more: Any) -> dict[str, Any]:
    references = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else None
    return {"namespace": "shop", "name": name, "uid": f"uid-{name}", "ownerReferences": references, **more}


def status(name: str, *, started: float, restarts: int = 0, reason: str | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "restartCount": restarts,
        "state": {"running": {"startedAt": stamp(started)}},
        "lastState": {"terminated": {"reason": reason}} if reason else {},
    }


def api_pod(
    name: str = "web-7d9-abcde",
    *,
    started: float = NOW - 1000.0,
    owner: tuple[str, str] | None = ("ReplicaSet", "web-7d9"),
    app_status: dict[str, Any] | None = None,
    phase: str = "Running",
    limits: dict[str, str] | None = None,
) -> dict[str, Any]:
    app = {"name": "app", "image": "shop/web:1", "resources": {"requests": {"cpu": "500m"}, "limits": limits or {}}}
    return {
        "metadata": metadata(name, owner, creationTimestamp=stamp(started - 3)),
        "spec": {
            "nodeName": "kwok-0",
            "initContainers": [{"name": "migrate"}, {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}],
            "containers": [app],
        },
        "status": {
            "phase": phase,
            "startTime": stamp(started),
            "containerStatuses": [app_status or status("app", started=started)],
        },
    }


REPLICASET = {"metadata": metadata("web-7d9", ("Deployment", "web"))}


def objects(*pods: dict[str, Any]) -> ClusterObjects:
    return ClusterObjects(pods=pods, replicasets=[REPLICASET])


def values(page: str, name: str, *having: str) -> list[float]:
    """Values of the lines of a metric that contain all these pieces of labels."""
    lines = [line for line in page.splitlines() if line.startswith(name + "{")]
    return [float(line.split("} ")[1].split()[0]) for line in lines if all(piece in line for piece in having)]


def page_of(*pods: dict[str, Any], now: float = NOW, workload: WorkloadUsage | None = None) -> str:
    return scrape_page(ClusterPods([workload or scenario()]).running(objects(*pods)), now=now)


def test_a_live_pod_shows_the_integral_since_its_start() -> None:
    assert values(page_of(api_pod()), "container_cpu_usage_seconds_total", 'container="app"') == [180.0]


@pytest.mark.parametrize("gap_seconds", [0.517, 15.0, 3601.25])
def test_rates_are_right_whatever_the_gap_between_scrapes(gap_seconds: float) -> None:
    pods = ClusterPods([scenario()]).running(objects(api_pod()))
    pages = [scrape_page(pods, now=NOW + offset) for offset in (0.003, gap_seconds)]
    first, second = (next(re.finditer(r'container="app".*} (\S+) (\d+)$', page, re.MULTILINE)).groups() for page in pages)
    rate = (float(second[0]) - float(first[0])) / (int(second[1]) - int(first[1])) * 1000
    assert rate == pytest.approx(0.18, abs=2e-6)


def test_live_and_history_are_the_same_function_of_time() -> None:
    (past,) = pods_between(scenario(), begin=NOW, end=NOW + 1)
    then = values(scrape_page([past], now=NOW), "container_memory_working_set_bytes", 'container="app"')
    assert values(page_of(api_pod()), "container_memory_working_set_bytes", 'container="app"') == then


def test_usage_carries_milliseconds_and_state_no_timestamp() -> None:
    page = page_of(api_pod(), now=NOW + 0.1239)
    assert re.search(r"^container_memory_working_set_bytes\{.*\} \d+ 1790000000124$", page, re.MULTILINE)
    assert re.search(r"^kube_pod_owner\{.*\} 1$", page, re.MULTILINE)
    assert "# TYPE container_cpu_usage_seconds_total counter\n" in page
    assert "# EOF" not in page


def test_owners_are_those_of_the_api() -> None:
    page = page_of(api_pod(), api_pod("web-7d9-fghij"))
    assert values(page, "kube_pod_owner", 'owner_kind="ReplicaSet"', 'owner_name="web-7d9"') == [1.0, 1.0]
    assert values(page, "kube_replicaset_owner", 'replicaset="web-7d9"', 'owner_name="web"') == [1.0]


def test_a_native_sidecar_is_measured_and_a_plain_init_container_is_not() -> None:
    page = page_of(api_pod())
    assert values(page, "container_cpu_usage_seconds_total", 'container="proxy"') == [20.0]
    assert values(page, "kube_pod_init_container_status_restarts_total", 'container="proxy"') == [0.0]
    assert "migrate" not in page


def test_a_restarted_container_counts_from_its_restart_and_tells_why() -> None:
    killed = status("app", started=NOW - 100, restarts=3, reason="OOMKilled")
    page = page_of(api_pod(app_status=killed))
    assert values(page, "container_cpu_usage_seconds_total", 'container="app"') == [18.0]
    assert values(page, "kube_pod_container_status_restarts_total", 'container="app"') == [3.0]
    assert values(page, "kube_pod_container_status_last_terminated_reason", 'reason="OOMKilled"') == [1.0]


def test_a_container_that_waits_between_restarts_keeps_its_count_and_reason() -> None:
    waiting = {"name": "app", "restartCount": 2, "state": {"waiting": {}}, "lastState": {"terminated": {"reason": "Error"}}}
    page = page_of(api_pod(app_status=waiting))
    assert values(page, "kube_pod_container_status_restarts_total", 'container="app"') == [2.0]
    assert values(page, "kube_pod_container_status_last_terminated_reason", 'reason="Error"') == [1.0]


def test_requests_limits_and_the_memory_under_them_are_those_of_the_pod() -> None:
    page = page_of(api_pod(limits={"memory": "128Mi"}))
    assert values(page, "kube_pod_container_resource_requests", 'resource="cpu"') == [0.5]
    assert values(page, "kube_pod_container_resource_limits", 'resource="memory"') == [128 * MEBIBYTE]
    assert values(page, "container_memory_working_set_bytes", 'container="app"')[0] <= 128 * MEBIBYTE


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
def test_pods_that_do_not_run_are_left_out(phase: str) -> None:
    assert page_of(api_pod(phase=phase)) == ""


def test_pods_of_nobody_show_state_but_no_usage() -> None:
    page = page_of(api_pod("lonely", owner=None), api_pod("other-1", owner=("StatefulSet", "other")))
    assert values(page, "container_cpu_usage_seconds_total") == []
    assert values(page, "kube_pod_owner", 'pod="lonely"', 'owner_kind="<none>"') == [1.0]
    assert values(page, "kube_pod_owner", 'pod="other-1"', 'owner_name="other"') == [1.0]


def test_a_pod_keeps_its_share_and_a_new_one_takes_the_part_that_is_free() -> None:
    varied = scenario(variation=0.2)
    pods = ClusterPods([varied])
    before = {run.name: run.share for run in pods.running(objects(api_pod("web-7d9-b"), api_pod("web-7d9-c")))}
    after = {run.name: run.share for run in pods.running(objects(api_pod("web-7d9-c"), api_pod("web-7d9-a")))}
    assert before == {"web-7d9-b": varied.share_of_pod(0), "web-7d9-c": varied.share_of_pod(1)}
    assert after == {"web-7d9-c": varied.share_of_pod(1), "web-7d9-a": varied.share_of_pod(0)}


@dataclass
class FakeCluster:
    """A source of objects that can go away."""

    answer: ClusterObjects = field(default_factory=lambda: objects(api_pod()))
    away: bool = False
    calls: int = 0

    def __call__(self) -> ClusterObjects:
        self.calls += 1
        if self.away:
            raise ClusterUnavailableError("away")
        return self.answer


@dataclass
class FakeClock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def exporter(cluster: FakeCluster, clock: FakeClock) -> Iterator[LiveExporter]:
    with LiveExporter([scenario()], cluster, clock=clock, refresh_seconds=3.0) as running:
        yield running


def scrape(exporter: LiveExporter, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://{exporter.address}{path}", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        body: bytes = answer.read()
    return body.decode()


def test_a_scrape_gets_the_page_of_the_moment(exporter: LiveExporter, clock: FakeClock) -> None:
    first = values(scrape(exporter), "container_cpu_usage_seconds_total", 'container="app"')
    clock.now += 10.0
    assert values(scrape(exporter), "container_cpu_usage_seconds_total", 'container="app"') == [first[0] + 1.8]


def test_pods_are_listed_no_oftener_than_asked(exporter: LiveExporter, cluster: FakeCluster, clock: FakeClock) -> None:
    for _ in range(3):
        scrape(exporter)
    assert cluster.calls == 1
    clock.now += 3.0
    cluster.answer = objects()
    assert scrape(exporter) == ""
    assert cluster.calls == 2


def test_usage_goes_on_while_the_cluster_is_away(
    exporter: LiveExporter, cluster: FakeCluster, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    scrape(exporter)
    cluster.away = True
    clock.now += 10.0
    assert values(scrape(exporter), "container_cpu_usage_seconds_total", 'container="app"') == [181.8]
    assert "pods known before" in caplog.text


def test_other_paths_are_not_there(exporter: LiveExporter) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        scrape(exporter, "/")
    refused.value.close()


def test_the_scrape_configuration_keeps_the_labels_and_times_of_the_page(exporter: LiveExporter) -> None:
    entry = exporter.scrape_config(interval_seconds=5)
    assert entry["static_configs"] == [{"targets": [exporter.address]}]
    assert (entry["scrape_interval"], entry["scrape_timeout"]) == ("5s", "5s")
    assert entry["honor_labels"]
    assert entry["honor_timestamps"]
    assert entry["track_timestamps_staleness"]


def test_stopping_twice_or_before_the_start_is_no_trouble(cluster: FakeCluster) -> None:
    exporter = LiveExporter([scenario()], cluster)
    exporter.stop()
    exporter.stop()


def test_a_scenario_is_found_by_its_name() -> None:
    names = [workload.name for workload in load_scenario("tests.usage.demo_scenario:workloads")]
    assert names == [workload.name for workload in demo_workloads()]
