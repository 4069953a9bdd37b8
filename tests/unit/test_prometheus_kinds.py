"""Thanos and Mimir, which are not run in the tests: what they answer by their documentation, and what is made of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rightsizer.errors import UsageSourceOverloaded, UsageSourceRefused
from rightsizer.prometheus import Connection, Endpoint
from tests.prometheus_server import Asked, PrometheusServer, Reply, failure, vector

FINE = vector(({}, "1"))
TENANT = {"X-Scope-OrgID": "team"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PrometheusServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with PrometheusServer(FINE) as running:
        yield running


def ask(url: str, **settings: object) -> list[float]:
    connection = Connection(Endpoint(url=url, **settings), sleep=lambda seconds: None)  # type: ignore[arg-type]
    try:
        answer = connection.ask("/api/v1/query", {"query": "up"}, kind="test")
        return [float(series.values[0]) for series in answer.series]
    finally:
        connection.close()


def thanos_without_a_store(asked: Asked) -> Reply:
    lost = "receive series from Addr: 10.0.0.7:10901: rpc error: code = Unavailable desc = connection refused"
    if asked.form.get("partial_response", "true") == "true":
        return vector(({}, "0.5"), warnings=[lost])
    return failure(422, "execution", f"expanding series: proxy Series(): rpc error: code = Aborted desc = {lost}")


def test_half_an_answer_of_thanos_is_an_error(server: PrometheusServer) -> None:
    server.answer(thanos_without_a_store)
    with pytest.raises(UsageSourceRefused, match=r"HTTP 422: execution: .*receive series from Addr: 10\.0\.0\.7:10901"):
        ask(server.url)


def test_a_time_of_which_thanos_has_no_store_has_no_values(server: PrometheusServer, caplog: pytest.LogCaptureFixture) -> None:
    words = "expanding series: proxy Series(): rpc error: code = Aborted desc = No StoreAPIs matched for this query"
    server.reply(failure(422, "execution", words))
    assert ask(server.url) == []
    assert "Prometheus warns: No StoreAPIs matched for this query" in caplog.messages


def test_limits_of_thanos_ask_for_less(server: PrometheusServer) -> None:
    for limit in ("series", "chunks", "bytes"):
        words = f"fetch series for block 01F: exceeded {limit} limit: rpc error: code = ResourceExhausted desc = limit 10 violated (got 11)"
        server.reply(failure(422, "execution", words))
        with pytest.raises(UsageSourceOverloaded):
            ask(server.url)
    assert len(server.asked) == 3


def mimir(asked: Asked) -> Reply:
    if not asked.path.startswith("/prometheus/api/v1/"):
        return Reply(404, b"404 page not found\n")
    return FINE if asked.headers.get("X-Scope-OrgID") == "team" else Reply(401, b"no org id\n")


def test_mimir_has_a_prefix_and_tenants(server: PrometheusServer) -> None:
    server.answer(mimir)
    assert ask(f"{server.url}/prometheus", headers=TENANT) == [1.0]
    with pytest.raises(UsageSourceRefused, match="HTTP 401: no org id"):
        ask(f"{server.url}/prometheus")
    with pytest.raises(UsageSourceRefused, match=r"is this the Prometheus URL"):
        ask(server.url, headers=TENANT)


@pytest.mark.parametrize(
    "words",
    [
        "the query exceeded the maximum number of chunks (limit: 10 chunks) (err-mimir-max-chunks-per-query)",
        "the query exceeded the maximum number of series (limit: 10 series) (err-mimir-max-series-per-query)",
        "the query exceeded the aggregated chunks size limit (limit: 10 bytes) (err-mimir-max-chunks-bytes-per-query)",
        "the query exceeded the maximum allowed estimated amount of memory (err-mimir-max-estimated-memory-consumption-per-query)",
        "the query time range exceeds the limit (query length: 720h, limit: 24h) (err-mimir-max-query-length)",
        "query processing would load too many samples into memory in query execution",
    ],
)
def test_limits_of_mimir_ask_for_less(server: PrometheusServer, words: str) -> None:
    server.reply(failure(422, "execution", words))
    with pytest.raises(UsageSourceOverloaded, match="HTTP 422"):
        ask(server.url, headers=TENANT)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "reply",
    [
        failure(429, "too_many_requests", "too many outstanding requests"),
        failure(429, "too_many_requests", "the request has been rejected because the tenant exceeded the request rate limit"),
        failure(503, "unavailable", "the ingester has too many read requests (err-mimir-ingester-max-inflight-read-requests)"),
    ],
)
def test_a_busy_mimir_is_asked_again_later(server: PrometheusServer, reply: Reply) -> None:
    server.reply(reply, FINE)
    assert ask(server.url, headers=TENANT) == [1.0]
