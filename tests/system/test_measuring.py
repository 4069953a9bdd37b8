"""The history read from a real Prometheus: a restart in mid-backfill and a day of refreshes end with the same values as one backfill."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from rightsizer.cycle import Measuring
from rightsizer.cycle.measuring import MeasuringReport, ReadingLimits
from rightsizer.history import History
from rightsizer.methods.measured import Measured
from rightsizer.methods.recommendation import ContainerFacts
from rightsizer.profile import DEFAULT_RULE
from rightsizer.prometheus import Connection, Endpoint, Prometheus
from rightsizer.workload import Container, ContainerKey, Sizes, Workload, WorkloadRef
from tests.loaded_prometheus import loaded_server, prometheus_major, seconds_off_the_edges
from tests.prometheus_server import Asked, Reply, forwarded
from tests.prometheus_server import PrometheusServer as Front
from tests.testbed.prometheus_server import PrometheusServer

pytestmark = pytest.mark.system

DAY = 86_400
SCRAPE_SECONDS = 60
WINDOW_SECONDS = 2 * DAY
MEBIBYTE = 1024 * 1024
KINDS = {"web": "Deployment", "db": "StatefulSet"}
KEYS = [ContainerKey(WorkloadRef(namespace, kind, name), "app") for namespace in ("bank", "shop") for name, kind in KINDS.items()]


def pods_of(name: str, *, day: int) -> list[tuple[str, str]]:
    """Pods with their owners: those of the Deployment are replaced every day."""
    if name == "db":
        return [("db-0", "db")]
    return [(f"web-5d9c7b-{day}{letter}{letter}{letter}{letter}", "web-5d9c7b") for letter in "bc"]


class Known:
    """Three days up to `end`, in OpenMetrics."""

    def __init__(self, *, end: int) -> None:
        self.end = end
        self.begin = end - 3 * DAY - 3600
        self._off = seconds_off_the_edges()
        # Prometheus 2 takes a counter that is near 0 for one that began there, also where Prometheus 3 does not.
        self._counted = 1000.0 if prometheus_major() < 3 else 0.0
        self._families: dict[str, list[str]] = {}

    def text(self) -> str:
        for namespace in ("bank", "shop"):
            for name in KINDS:
                for day in range(4):
                    for pod, owner in pods_of(name, day=day):
                        self._pod(namespace, name, pod, owner, day=day)
            replica_set = {"namespace": namespace, "replicaset": "web-5d9c7b", **_owner("Deployment", "web")}
            self._add("kube_replicaset_owner", lambda at: 1, replica_set)
        killed = {"namespace": "shop", "pod": "db-0", "container": "app"}
        reason = "kube_pod_container_status_last_terminated_reason"
        self._add(reason, lambda at: 1, {**killed, "uid": "1", "reason": "OOMKilled"}, since=self.end - 30 * 3600)
        self._add("kube_pod_container_resource_limits", lambda at: 512.0 * MEBIBYTE, {**killed, "resource": "memory"})
        types = {metric: "counter" if metric.endswith("_total") else "gauge" for metric in self._families}
        blocks = [f"# TYPE {name.removesuffix('_total')} {types[name]}\n" + "\n".join(lines) for name, lines in self._families.items()]
        return "\n".join([*blocks, "# EOF", ""])

    def _pod(self, namespace: str, name: str, pod: str, owner: str, *, day: int) -> None:
        labels = {"namespace": namespace, "pod": pod}
        since, until = self.begin + day * DAY, min(self.begin + (day + 1) * DAY - 600, self.end)
        seed = sum(map(ord, namespace + pod))
        cpu = self._counted

        def used(at: int) -> float:
            nonlocal cpu
            cpu = round(cpu + SCRAPE_SECONDS * (50 + (at // 900 * seed) % 700) / 1000, 3)
            return cpu

        def peak(at: int) -> float:
            return float((100 + (at // 300 * seed) % 400) * MEBIBYTE)

        if (namespace, name) == ("shop", "web"):
            # One pod of the two is throttled, in the second half of each day.
            self._throttled({**labels, "container": "app"}, 0.4 if pod.endswith("bbbb") else 0.0, since=since, until=until)
        kind = "ReplicaSet" if name == "web" else "StatefulSet"
        self._add("container_cpu_usage_seconds_total", used, {**labels, "container": "app"}, since=since, until=until)
        self._add("container_memory_working_set_bytes", peak, {**labels, "container": "app"}, since=since, until=until)
        self._add("kube_pod_owner", lambda at: 1, {**labels, **_owner(kind, owner)}, since=since, until=until)

    def _throttled(self, labels: dict[str, str], share: float, *, since: int, until: int) -> None:
        def throttled(at: int) -> float:
            return 1000 + 10 * share * max(at - since - DAY // 2, 0)

        self._add("container_cpu_cfs_periods_total", lambda at: 1000 + 10 * (at - since), labels, since=since, until=until)
        self._add("container_cpu_cfs_throttled_periods_total", throttled, labels, since=since, until=until)

    def _add(self, metric: str, value: Callable[[int], float], labels: dict[str, str], *, since: int = 0, until: int = 0) -> None:
        text = ",".join(f'{name}="{content}"' for name, content in labels.items())
        lines = self._families.setdefault(metric, [])
        for at in range((since or self.begin) + self._off, (until or self.end) + 1, SCRAPE_SECONDS):
            lines.append(f"{metric}{{{text}}} {value(at)!r} {at}")


def _owner(kind: str, name: str) -> dict[str, str]:
    return {"owner_kind": kind, "owner_name": name, "owner_is_controller": "true"}


@pytest.fixture(scope="module")
def end() -> int:
    """The newest slot of what is known; an hour ends with it, as throttling is read by hours."""
    return (int(time.time()) - 300) // 3600 * 3600


@pytest.fixture(scope="module")
def server(end: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    with loaded_server(Known(end=end).text(), folder=tmp_path_factory.mktemp("history")) as running:
        yield running


@pytest.fixture(scope="module")
def source(server: PrometheusServer) -> Iterator[Prometheus]:
    prometheus = Prometheus(Connection(Endpoint(url=server.url)))
    yield prometheus
    prometheus.close()


@pytest.fixture(scope="module")
def workloads() -> dict[str, list[Workload]]:
    found: dict[str, list[Workload]] = {"bank": [], "shop": []}
    for key in KEYS:
        ref = key.workload
        found[ref.namespace].append(
            Workload(
                ref=ref,
                uid=str(ref),
                api_version="apps/v1",
                resource_version="1",
                generation=1,
                containers=(Container("app", Sizes()),),
                replicas=1,
            )
        )
    return found


def refresh(measuring: Measuring, workloads: dict[str, list[Workload]], *, at: int) -> MeasuringReport:
    """A minute after the slot `at` has ended."""
    report = measuring.refresh(workloads, now=at + 60.0, window_seconds=WINDOW_SECONDS)
    assert report.trouble == {}
    return report


@pytest.fixture(scope="module")
def whole(source: Prometheus, workloads: dict[str, list[Workload]], end: int) -> Measuring:
    """One backfill in memory, at once."""
    measuring = Measuring(source, None)
    report = refresh(measuring, workloads, at=end)
    assert (set(report.read.values()), report.unread) == ({1.0}, False)
    return measuring


def assert_same(found: Measuring, expected: Measuring, *, end: int) -> None:
    one, other = (each.history.window(KEYS, end=end, seconds=WINDOW_SECONDS, details=True) for each in (found, expected))
    for name in ("cpu", "memory", "pods", "cpu_mean", "throttled"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert found.oom_floors() == expected.oom_floors()


def test_the_backfill_knows_what_there_is(whole: Measuring, end: int) -> None:
    window = whole.history.window(KEYS, end=end, seconds=WINDOW_SECONDS)
    slots = WINDOW_SECONDS // 300
    assert np.isfinite(window.memory).sum(axis=1) == pytest.approx([slots] * 4, abs=8)
    assert np.isfinite(window.cpu).sum(axis=1) == pytest.approx([slots] * 4, abs=8)
    pods = {key.workload.name: int(np.median(row)) for key, row in zip(KEYS, window.pods, strict=True)}
    assert pods == {"web": 2, "db": 1}
    assert whole.oom_floors() == {ContainerKey(WorkloadRef("shop", "StatefulSet", "db"), "app"): round(612 * MEBIBYTE + 2.4 * MEBIBYTE)}


def test_throttling_is_that_of_the_pod_that_is_throttled_most(whole: Measuring, end: int) -> None:
    window = whole.history.window(KEYS, end=end, seconds=WINDOW_SECONDS, throttled=True)
    assert window.throttled is not None
    shares = {key: row[np.isfinite(row)] for key, row in zip(KEYS, window.throttled, strict=True)}
    web = shares.pop(ContainerKey(WorkloadRef("shop", "Deployment", "web"), "app"))
    assert len(web) == pytest.approx(WINDOW_SECONDS // 300 / 2, abs=8)
    assert np.median(web) == pytest.approx(0.4, abs=0.004)
    assert all(len(others) == 0 for others in shares.values())
    facts = [ContainerFacts(key, Container("app", Sizes()), DEFAULT_RULE, guaranteed=False) for key in KEYS]
    told = [found.cpu.measurement.throttled for found in Measured().recommend(window, facts) if found.cpu]
    assert told == [pytest.approx(0.5 if key.workload == WorkloadRef("shop", "Deployment", "web") else 0, abs=0.02) for key in KEYS]


def test_a_restart_in_mid_backfill_goes_on_and_ends_with_the_same(
    source: Prometheus, workloads: dict[str, list[Workload]], end: int, whole: Measuring, tmp_path: Path
) -> None:
    def in_folder(slots: int) -> History:
        return History(slots=slots, folder=tmp_path)

    told: list[float] = []
    first = Measuring(source, None, new_history=in_folder, progress=told.append, stopping=lambda: len(told) >= 1)
    report = refresh(first, workloads, at=end - 600)
    assert (report.unread, 0 < min(report.read.values()) <= max(report.read.values()) < 1) == (True, True)
    first.close()
    second = Measuring(source, None, new_history=in_folder)
    assert min(second.history.slots, len(second.history)) == 0
    report = refresh(second, workloads, at=end)
    assert (set(report.read.values()), report.unread, second.history.trouble) == ({1.0}, False, None)
    assert_same(second, whole, end=end)
    second.close()


@pytest.mark.timeout(180)
def test_24_hours_of_refreshes_end_with_the_same_as_one_backfill(
    source: Prometheus, workloads: dict[str, list[Workload]], end: int, whole: Measuring
) -> None:
    measuring = Measuring(source, None)
    for slot in range(end - DAY, end + 1, 300):
        report = refresh(measuring, workloads, at=slot)
        assert set(report.read.values()) == {1.0}
    assert_same(measuring, whole, end=end)


class KilledInMidAnswer:
    """In front of the real one, which is killed when so many questions about memory were answered and half of the next answer was sent."""

    def __init__(self, server: PrometheusServer, *, answers: int) -> None:
        self._server = server
        self._real = forwarded(server.url)
        self._left = answers
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Reply:
        with self._lock:
            reply = self._real(asked)
            question = asked.body or asked.form.get("query", "").encode()
            if b"container_memory_working_set_bytes" not in question or not (asked.body or b'"values"' in reply.body):
                return reply
            self._left -= 1
            if self._left >= 0:
                return reply
            self._server.kill()
            half = len(reply.body) // 2
            return Reply(200, reply.body[:half], reply.headers, missing_bytes=len(reply.body) - half)


def test_a_server_that_is_killed_in_mid_answer_costs_only_what_was_not_read(
    server: PrometheusServer, workloads: dict[str, list[Workload]], end: int, whole: Measuring
) -> None:
    with Front() as front:
        front.answer(KilledInMidAnswer(server, answers=1))
        source = Prometheus(Connection(Endpoint(url=front.url), sleep=lambda _: None))
        measuring = Measuring(source, None, limits=ReadingLimits(at_once=1))
        try:
            report = measuring.refresh(workloads, now=end - 240.0, window_seconds=WINDOW_SECONDS)
            assert {trouble.reason for trouble in report.trouble.values()} == {"UsageSourceUnreachable"}
            assert all(0 < share < 1 for share in report.read.values())
            known = measuring.history.window(KEYS, end=end - 300, seconds=WINDOW_SECONDS - 300)
            expected = whole.history.window(KEYS, end=end - 300, seconds=WINDOW_SECONDS - 300)
            assert 0 < np.isfinite(known.cpu).sum() < np.isfinite(expected.cpu).sum()
            np.testing.assert_array_equal(known.cpu[np.isfinite(known.cpu)], expected.cpu[np.isfinite(known.cpu)])
            measuring.refresh(workloads, now=end + 60.0, window_seconds=WINDOW_SECONDS)
            assert {measuring.history.newest(key) for key in KEYS} == {end - 300}, "what is old does not become new"
        finally:
            server.start()
        front.answer(forwarded(server.url))
        report = refresh(measuring, workloads, at=end)
        assert (set(report.read.values()), report.unread) == ({1.0}, False)
        assert_same(measuring, whole, end=end)
        source.close()
