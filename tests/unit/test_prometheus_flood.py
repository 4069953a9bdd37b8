"""A million series where some were expected: memory stays bounded, and the other namespaces are read."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from rightsizer.cycle import Measuring
from rightsizer.cycle.asking import MOST_FAILURES_ALONE, Answered, Asking, Unanswered
from rightsizer.cycle.questions import Question
from rightsizer.errors import UsageSourceOverloaded
from rightsizer.history import Span
from rightsizer.prometheus import Connection, Endpoint, Prometheus
from rightsizer.workload import Container, ContainerKey, OwnerRef, Sizes, WorkloadRef
from tests.prometheus_server import NO_RAW_CHUNKS, RAW_PATH, Asked, PrometheusServer, Reply, matrix, vector
from tests.unit.builders import DAY, NOW, workload

MOST_BYTES = 4_000_000
SERIES = 1_000_000
KEYS = [ContainerKey(WorkloadRef(namespace, "StatefulSet", "web"), "app") for namespace in ("flood", "shop")]


def series(namespace: str, pod: str, asked: Asked) -> tuple[dict[str, str], list[tuple[int, str]]]:
    slots = range(int(asked.form["start"]), int(asked.form["end"]) + 1, 300)
    return {"namespace": namespace, "pod": pod, "container": "app"}, [(slot, "0.25") for slot in slots]


def flood() -> Reply:
    """A thousand of them, a thousand times: 150 MB if it were read to its end."""
    thousand = matrix(*((container(f"web-{number}"), [(int(NOW), "0.25")]) for number in range(1_000)))
    return Reply(body=thousand.body[thousand.body.index(b"[") + 1 :], repeated=SERIES // 1_000)


def container(pod: str) -> dict[str, str]:
    return {"namespace": "flood", "pod": pod, "container": "app", "id": "x" * 40}


def answer(asked: Asked) -> Reply:
    if asked.path.endswith(RAW_PATH):
        return NO_RAW_CHUNKS
    query = asked.form.get("query", asked.form.get("match[]", ""))
    names = [name for name in ("flood", "shop") if name in query]
    if asked.path.endswith("query_range") and "container_" in query:
        return FLOOD if "flood" in names else matrix(*(series(name, "web-0", asked) for name in names))
    if "figure" in query:
        figures = {"samples": "30", "series": "1"}
        return vector(*(({"namespace": name, "figure": figure}, value) for name in names for figure, value in figures.items()))
    if asked.path.endswith("query_range") or "replicaset" in query:
        return matrix() if asked.path.endswith("query_range") else vector()
    owner = OwnerRef("StatefulSet", "web")
    return vector(*(({"namespace": name, "pod": "web-0", "owner_kind": owner.kind, "owner_name": owner.name}, "1") for name in names))


FLOOD = flood()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PrometheusServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with PrometheusServer() as running:
        running.answer(answer)
        yield running


@pytest.fixture
def source(server: PrometheusServer) -> Iterator[Prometheus]:
    prometheus = Prometheus(Connection(Endpoint(url=server.url, max_answer_bytes=MOST_BYTES)))
    yield prometheus
    prometheus.close()


def test_an_answer_without_end_is_not_kept_in_memory(server: PrometheusServer) -> None:
    connection = Connection(Endpoint(url=server.url, max_answer_bytes=MOST_BYTES))
    server.answer(lambda _: FLOOD)
    tracemalloc.start()
    try:
        with pytest.raises(UsageSourceOverloaded, match=f"longer than {MOST_BYTES} bytes"):
            connection.ask("/api/v1/query_range", {"query": "up"}, kind="test")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        connection.close()
    assert most < 4 * MOST_BYTES


def test_what_could_not_be_read_is_not_kept_with_the_reason(server: PrometheusServer, source: Prometheus) -> None:
    """Its traceback would keep the answer alive."""
    workloads = {key.workload.namespace: [workload(Container("app", Sizes()), ref=key.workload)] for key in KEYS}
    span = Span(int(NOW) // 300 * 300, int(NOW) // 300 * 300)

    def read(question: Question) -> Answered:
        batch = source.usage("cpu", namespaces=question.namespaces, span=question.span, scrape_interval_seconds=30)
        return Answered(question, [batch], None, [])

    (outcome,) = Asking(at_once=1).ask(read, [Question((*workloads,)[:1], span, 30)], until=math.inf)
    assert isinstance(outcome, Unanswered)
    assert (outcome.error.__traceback__, outcome.error.__context__) == (None, None)


def test_a_million_series_of_one_namespace_leave_the_others(server: PrometheusServer, source: Prometheus) -> None:
    workloads = {key.workload.namespace: [workload(Container("app", Sizes()), ref=key.workload)] for key in KEYS}
    measuring = Measuring(source, None)
    tracemalloc.start()
    try:
        report = measuring.refresh(workloads, now=NOW + 60, window_seconds=DAY)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Two questions at a time, and what the server of this test needs itself.
    assert most < 10 * MOST_BYTES
    assert {name: trouble.reason for name, trouble in report.trouble.items()} == {"flood": "UsageSourceOverloaded"}
    assert (report.read["shop"], report.read["flood"] < 1) == (1.0, True)
    window = measuring.history.window(KEYS, end=int(NOW) // 300 * 300, seconds=DAY)
    assert np.isfinite(window.cpu).sum(axis=1).tolist() == [0, DAY // 300]
    floods = [query for asked in server.asked if "flood" in (query := asked.form.get("query", "")) and "container_" in query]
    assert len(floods) <= 4 * MOST_FAILURES_ALONE
