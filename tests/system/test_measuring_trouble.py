"""The reader on a real Prometheus that holds what nobody likes: too many series, odd names, values that are no numbers, late samples."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from rightsizer.cycle import Measuring
from rightsizer.prometheus import Connection, Endpoint, Prometheus
from rightsizer.workload import Container, ContainerKey, Sizes, Workload, WorkloadRef
from tests.loaded_prometheus import loaded_server, seconds_off_the_edges
from tests.testbed import PrometheusConfig

pytestmark = pytest.mark.system

MEBIBYTE = 1024 * 1024
SCRAPE_SECONDS = 60
SLOT = 300
SLOTS = 24
WINDOW_SECONDS = SLOTS * SLOT

HEAVY_CONTAINERS = 1_500
MOST_SAMPLES = 1_200
"""Of a query, as the server allows it: a single slot of the heavy namespace is more."""

ODD_POD = 'a"b\\c\nd{e}|.*'


def key(namespace: str, name: str) -> ContainerKey:
    return ContainerKey(WorkloadRef(namespace, "StatefulSet", name), "app")


def workloads(*keys: ContainerKey) -> dict[str, list[Workload]]:
    found: dict[str, list[Workload]] = {}
    for one in keys:
        named = Workload(
            ref=one.workload,
            uid=str(one),
            api_version="apps/v1",
            resource_version="1",
            generation=1,
            containers=(Container("app", Sizes()),),
            replicas=1,
        )
        found.setdefault(one.workload.namespace, []).append(named)
    return found


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Known:
    """Three hours up to `end` and a little more, in OpenMetrics. Pods use 0.2 cores and 100 MiB unless they say otherwise."""

    def __init__(self, *, end: int) -> None:
        self.end = end
        self.begin = end - 3 * 3600
        self._families: dict[str, list[str]] = {}

    def add(self, metric: str, labels: dict[str, str], value: Callable[[int], float], *, since: int | None = None) -> None:
        text = ",".join(f'{name}="{escaped(content)}"' for name, content in labels.items())
        lines = self._families.setdefault(metric, [])
        for at in range(self.begin if since is None else since, self.end + 61, SCRAPE_SECONDS):
            lines.append(f"{metric}{{{text}}} {_number(value(at))} {at}")

    def pod(
        self,
        namespace: str,
        owner: str,
        pod: str,
        *,
        cores: float = 0.2,
        memory: Callable[[int], float] = lambda at: 100.0 * MEBIBYTE,
        counter: Callable[[int, float], float] = lambda at, value: value,
        **more: str,
    ) -> None:
        labels = {"namespace": namespace, "pod": pod, "container": "app", **more}
        self.add("container_cpu_usage_seconds_total", labels, lambda at: counter(at, round(cores * (at - self.begin), 6)))
        self.add("container_memory_working_set_bytes", labels, memory)
        owned = {"owner_kind": "StatefulSet", "owner_name": owner, "owner_is_controller": "true"}
        self.add("kube_pod_owner", {"namespace": namespace, "pod": pod, **owned, **more}, lambda at: 1)

    def text(self) -> str:
        types = {metric: "counter" if metric.endswith("_total") else "gauge" for metric in self._families}
        blocks = [f"# TYPE {name.removesuffix('_total')} {types[name]}\n" + "\n".join(lines) for name, lines in self._families.items()]
        return "\n".join([*blocks, "# EOF", ""])


def _number(value: float) -> str:
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(repr(value), repr(value))


def at_slot(end: int, slots_ago: int) -> range:
    """The times of the samples of a slot."""
    last = end - slots_ago * SLOT
    return range(last - SLOT + 1, last + 1)


def write_heavy(known: Known) -> None:
    for number in range(HEAVY_CONTAINERS):
        labels = {"namespace": "heavy", "pod": f"many-{number}", "container": "app"}
        for metric in ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes"):
            known.add(metric, labels, lambda at: float(at - known.begin), since=known.end - 600)


def write_odd(known: Known) -> None:
    known.pod("odd", "odd", ODD_POD)
    killed = {"namespace": "odd", "pod": ODD_POD, "container": "app"}
    reason = {"uid": "1", "reason": "OOMKilled"}
    known.add("kube_pod_container_status_last_terminated_reason", killed | reason, lambda at: 1, since=known.end - 3_600)
    known.add("kube_pod_container_resource_limits", killed | {"resource": "memory"}, lambda at: 512.0 * MEBIBYTE)


def write_not_finite(known: Known) -> None:
    end = known.end
    one_nan, all_nan, one_infinite = end - 2 * SLOT, at_slot(end, 4), end - 6 * SLOT

    def memory(at: int) -> float:
        if at == one_nan or at in all_nan:
            return float("nan")
        return float("inf") if at == one_infinite else 100.0 * MEBIBYTE

    known.pod("sick", "nan", "nan-0", memory=memory, counter=lambda at, value: float("nan") if at in at_slot(end, 8) else value)


@pytest.fixture(scope="module")
def end() -> int:
    return int(time.time()) // SLOT * SLOT - SLOT


@pytest.fixture(scope="module")
def url(end: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    known = Known(end=end)
    known.pod("shop", "web", "web-0")
    for cluster, cores in (("east", 0.2), ("west", 0.8)):
        known.pod("both", "web", "web-0", cores=cores, cluster=cluster, job="kubelet")
    for write in (write_heavy, write_odd, write_not_finite):
        write(known)
    config = PrometheusConfig(flags=[f"--query.max-samples={MOST_SAMPLES}"])
    with loaded_server(known.text(), folder=tmp_path_factory.mktemp("trouble"), config=config) as server:
        yield server.url


def read(url: str, *keys: ContainerKey, end: int, matchers: str = "") -> tuple[Measuring, Any]:
    source = Prometheus(Connection(Endpoint(url=url)), extra_matchers=matchers)
    measuring = Measuring(source, None)
    report = measuring.refresh(workloads(*keys), now=end + 60.0, window_seconds=WINDOW_SECONDS)
    source.close()
    return measuring, report


def test_a_namespace_with_too_many_series_leaves_the_others(url: str, end: int) -> None:
    heavy, web = key("heavy", "many"), key("shop", "web")
    measuring, report = read(url, heavy, web, end=end)
    assert set(report.trouble) == {"heavy"}
    assert report.trouble["heavy"].reason == "UsageSourceOverloaded"
    assert "too many samples" in report.trouble["heavy"].message
    assert report.read["shop"] == 1.0
    window = measuring.history.window([web, heavy], end=end, seconds=WINDOW_SECONDS)
    assert np.isfinite(window.cpu).sum(axis=1).tolist() == [SLOTS, 0]


def test_names_with_quotes_backslashes_and_line_breaks(url: str, end: int) -> None:
    measuring, report = read(url, key("odd", "odd"), end=end)
    assert (report.trouble, report.read) == ({}, {"odd": 1.0})
    window = measuring.history.window([key("odd", "odd")], end=end, seconds=WINDOW_SECONDS)
    assert window.cpu[0] == pytest.approx([200.0] * SLOTS)
    # Its memory limit was asked for by the name of the pod.
    assert measuring.oom_floors() == {key("odd", "odd"): pytest.approx(512 * 1.2 * MEBIBYTE, abs=1)}


def test_what_is_no_number_is_no_value(url: str, end: int) -> None:
    measuring, report = read(url, key("sick", "nan"), end=end)
    assert report.trouble == {}
    window = measuring.history.window([key("sick", "nan")], end=end, seconds=WINDOW_SECONDS)
    ago = np.arange(SLOTS)[::-1]
    # One NaN among numbers does not hide them. A slot with an infinite peak has no peak.
    assert ago[np.isnan(window.memory[0])].tolist() == [6, 4]
    assert np.nanmax(window.memory[0]) == 100 * MEBIBYTE
    # Any NaN in the range of a rate makes it one: the slot itself, and the one that begins with its last sample.
    assert ago[np.isnan(window.cpu[0])].tolist() == [8, 7]
    assert np.nanmax(window.cpu[0]) == pytest.approx(200.0)


@pytest.mark.parametrize(("matchers", "millicores"), [('cluster="east"', 200), ('cluster="west"', 800), ('cluster=~"e.*"', 200)])
def test_two_clusters_behind_one_server_are_told_apart_by_a_matcher(url: str, end: int, matchers: str, millicores: float) -> None:
    measuring, report = read(url, key("both", "web"), end=end, matchers=matchers)
    assert report.trouble == {}
    window = measuring.history.window([key("both", "web")], end=end, seconds=WINDOW_SECONDS)
    assert window.cpu[0] == pytest.approx([millicores] * SLOTS)
    assert set(window.pods[0].tolist()) == {1}


class Exporter:
    """Serves samples with their times, whatever they are: so a real Prometheus takes them in late and out of order."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = ("\n".join(exporter.lines) + "\n").encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Exporter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, times: Sequence[int], *, begin: int) -> None:
        """Samples of `late/late-0` at these unix times: 0.2 cores and 100 MiB."""
        pod = 'namespace="late",pod="late-0",container="app"'
        owner = 'namespace="late",pod="late-0",owner_kind="StatefulSet",owner_name="late",owner_is_controller="true"'
        self.lines = [
            line
            for at in times
            for line in (
                f"container_cpu_usage_seconds_total{{{pod}}} {0.2 * (at - begin):.6f} {at * 1000}",
                f"container_memory_working_set_bytes{{{pod}}} {100 * MEBIBYTE} {at * 1000}",
                f"kube_pod_owner{{{owner}}} 1 {at * 1000}",
            )
        ]


@pytest.mark.parametrize("late_slots", [2, 7], ids=["by ten minutes", "by more than half an hour"])
def test_samples_that_come_late_are_read_when_they_come(tmp_path_factory: pytest.TempPathFactory, late_slots: int) -> None:
    """As from a remote write that was behind, or as when the operator's clock is ahead of the server's."""
    end = int(time.time()) // SLOT * SLOT
    begin = end - 55 * 60
    off = seconds_off_the_edges()
    times = list(range(begin - off, end + 1 - off, SCRAPE_SECONDS))
    here = end - late_slots * SLOT
    with Exporter() as exporter:
        exporter.serve([at for at in times if at <= here], begin=begin)
        config = PrometheusConfig(scrape_targets=[exporter.address], scrape_interval="1s")
        with loaded_server("# EOF\n", folder=tmp_path_factory.mktemp("late"), config=config) as server:
            source = Prometheus(Connection(Endpoint(url=server.url)))
            measuring = Measuring(source, None)
            late = key("late", "late")

            def refresh(slot: int) -> None:
                measuring.refresh(workloads(late), now=slot + 30.0, window_seconds=11 * SLOT)

            def shown(at: int) -> bool:
                form = {"query": 'max(timestamp(kube_pod_owner{namespace="late"}))', "time": str(at + 1)}
                found = source._connection.ask("/api/v1/query", form, kind="test").series
                return [float(series.values[0]) for series in found] == [at]

            wait_until(lambda: shown(here - off))
            for slot in range(here, end, SLOT):
                refresh(slot)
            assert measuring.history.newest(late) == here, "nothing stale is taken for new"
            exporter.serve(times, begin=begin)
            wait_until(lambda: shown(end - off))
            refresh(end)
            window = measuring.history.window([late], end=end, seconds=10 * SLOT)
            assert window.cpu[0] == pytest.approx([200.0] * 10)
            assert window.memory[0].tolist() == [100.0 * MEBIBYTE] * 10
            source.close()


def wait_until(done: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)
