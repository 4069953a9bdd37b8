"""What a real VictoriaMetrics does otherwise than Prometheus; where both do the same is in `test_prometheus.py`.

MetricsQL takes a rate from the last sample before the range and does not extrapolate, so the CPU of a slot differs where usage jumps. The
tolerances that the README names are checked here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby

import numpy as np
import pytest

from rightsizer.cycle import Measuring, assign, recommend
from rightsizer.errors import UsageSourceOverloaded
from rightsizer.history import Span, last_slot
from rightsizer.profile import Profile
from rightsizer.prometheus import Connection, Endpoint, Prometheus
from rightsizer.promql import cpu_range_seconds
from rightsizer.workload import Container, ContainerKey, Sizes, Workload, WorkloadRef
from tests.loaded_prometheus import loaded_prometheus
from tests.loaded_victoria_metrics import load, loaded_victoria_metrics
from tests.system.test_measuring import KEYS, SCRAPE_SECONDS, WINDOW_SECONDS, Known, assert_same, refresh
from tests.system.test_prometheus import KnownHistory

pytestmark = pytest.mark.system

MEBIBYTE = 1024 * 1024
SWING_MILLICORES = 700
"""`Known` uses 50m to 750m, and another value every 15 minutes."""


@pytest.fixture(scope="module")
def end() -> int:
    return int(time.time()) // 300 * 300 - 300


@pytest.fixture(scope="module")
def known(end: int) -> str:
    """Three days of four workloads; the pods of two are replaced every day."""
    return Known(end=end).text()


@pytest.fixture(scope="module")
def url(known: str) -> Iterator[str]:
    with loaded_victoria_metrics(known) as running:
        yield running


def source(url: str) -> Prometheus:
    return Prometheus(Connection(Endpoint(url=url)))


def workload(key: ContainerKey) -> Workload:
    ref = key.workload
    only = Container(key.container, Sizes())
    return Workload(ref=ref, uid=str(ref), api_version="apps/v1", resource_version="1", generation=1, containers=(only,), replicas=1)


WORKLOADS = {
    namespace: [workload(key) for key in keys] for namespace, keys in groupby(sorted(KEYS), key=lambda key: key.workload.namespace)
}


def backfilled(url: str, *, end: int) -> Measuring:
    with closing(source(url)) as prometheus:
        measuring = Measuring(prometheus, None)
        report = refresh(measuring, WORKLOADS, at=end)
    assert (set(report.read.values()), report.unread) == ({1.0}, False)
    return measuring


def test_a_backfill_is_that_of_prometheus_within_the_tolerance(
    url: str, known: str, end: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = backfilled(url, end=end)
    with loaded_prometheus(known, folder=tmp_path_factory.mktemp("history")) as prometheus:
        expected = backfilled(prometheus, end=end)
    one, other = (each.history.window(KEYS, end=end, seconds=WINDOW_SECONDS, details=True) for each in (found, expected))
    np.testing.assert_array_equal(one.memory, other.memory)
    np.testing.assert_array_equal(one.pods, other.pods)
    assert found.oom_floors() == expected.oom_floors() != {}
    # Where Prometheus has a value there is one, and one more at the end of a pod.
    only_here = np.isfinite(one.cpu) & ~np.isfinite(other.cpu)
    assert not np.any(np.isfinite(other.cpu) & ~np.isfinite(one.cpu))
    assert only_here.sum(axis=1).max() <= 2 * 3
    # A slot: by what the usage jumps, in the share that one scrape has of the range. All slots: hardly at all.
    apart = np.abs(one.cpu - other.cpu)
    assert np.nanmax(apart) <= SWING_MILLICORES * SCRAPE_SECONDS / cpu_range_seconds(SCRAPE_SECONDS)
    assert np.nanmean(apart / other.cpu) < 0.01
    for percentile in (90, 95, 99, 100):
        here, there = (np.nanpercentile(each.cpu, percentile, axis=1) for each in (one, other))
        assert here == pytest.approx(there, rel=0.02)


def test_too_much_for_one_question_is_asked_for_in_parts(url: str, known: str, end: int) -> None:
    """One namespace at a time stays below the limit. VictoriaMetrics counts whole blocks of up to 8192 samples of a series, however short
    the time that is asked for, so beyond that it is fewer series that help."""
    whole = backfilled(url, end=end)
    with loaded_victoria_metrics(known, flags=["-search.maxSamplesPerQuery=12000"]) as limited, closing(source(limited)) as prometheus:
        measuring = Measuring(prometheus, None)
        report = refresh(measuring, WORKLOADS, at=end)
    assert (report.halved > 0, set(report.read.values())) == (True, {1.0})
    assert_same(measuring, whole, end=end)


@pytest.mark.parametrize("flag", ["-search.maxSamplesPerQuery=100", "-search.maxUniqueTimeseries=1", "-search.maxPointsPerTimeseries=5"])
def test_its_limits_are_called_overload(known: str, end: int, flag: str) -> None:
    with loaded_victoria_metrics(known, flags=[flag]) as limited, closing(source(limited)) as prometheus:
        span = Span(end - 86_400, end)
        with pytest.raises(UsageSourceOverloaded, match=r"HTTP 422: .*-search\.max"):
            prometheus.usage("cpu", namespaces=["shop", "bank"], span=span, scrape_interval_seconds=SCRAPE_SECONDS)


def test_what_came_late_or_just_now_is_seen() -> None:
    """By default an answer about the last 30 s is one about an earlier time, and a repeated one comes from a cache."""
    now = int(time.time())
    with loaded_victoria_metrics(f"fresh 1 {now - 5}\n") as url:
        connection = Connection(Endpoint(url=url))

        def values(metric: str) -> list[float]:
            answer = connection.ask("/api/v1/query", {"query": f"max_over_time({metric}[20s])", "time": str(now)}, kind="test")
            return [float(series.values[0]) for series in answer.series]

        assert (values("fresh"), values("late")) == ([1.0], [])
        load(url, f"late 2 {now - 7}\n")
        assert values("late") == [2.0]
        connection.close()


def test_the_worked_example() -> None:
    history = KnownHistory(now=time.time() // 30 * 30)
    history.add("container_cpu_usage_seconds_total", {"pod": "steady", "container": "app"}, lambda at: round(0.18 * (at + 36_000), 6))
    history.add("container_memory_working_set_bytes", {"pod": "steady", "container": "app"}, lambda at: 320.0 * MEBIBYTE)
    controlled = {"owner_is_controller": "true"}
    history.add("kube_pod_owner", {"pod": "steady", "owner_kind": "StatefulSet", "owner_name": "web", **controlled}, lambda at: 1.0)
    web = workload(ContainerKey(WorkloadRef("shop", "StatefulSet", "web"), "app"))
    now = history.span.end + 60.0
    with loaded_victoria_metrics(history.text()) as url, closing(source(url)) as prometheus:
        measuring = Measuring(prometheus, None)
        report = measuring.refresh({"shop": [web]}, now=now, window_seconds=86_400)
    assert report.trouble == {}
    ruled = assign([web], [Profile("shop", "all")], {}).ruled.values()
    app = recommend(ruled, measuring.history, measuring.oom_floors(), end=last_slot(now))[web.ref]["app"]
    assert app.wanted == Sizes(cpu_request=216, cpu_limit=432, memory_request=384 * MEBIBYTE, memory_limit=576 * MEBIBYTE)
