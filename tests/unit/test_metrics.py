from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from rightsizer.errors import InvalidSettings
from rightsizer.metrics import CycleFigures, Health, HealthServer, OperatorMetrics
from tests.fakes import FakeClock

FIGURES: dict[str, Any] = {
    "seconds": 2.0,
    "at": 1_763_640_000.0,
    "workloads": {("Apply", "Applied"): 3, ("Recommend", "Waiting"): 1},
    "reasons": {"UpToDate": 3, "NotEnoughHistory": 1},
    "changes": 2,
    "failed_workloads": 1,
    "reversals": 7,
    "troubled_namespaces": 4,
    "history_containers": 5,
    "history_bytes": 12_096,
    "history_read": 0.25,
    "questions_halved": 3,
    "questions_failed": 1,
    "proved_containers": 6,
    "proving_seconds": 0.5,
}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000)


@pytest.fixture
def health(clock: FakeClock) -> Health:
    return Health(stalled_after_seconds=900, clock=clock.now)


@pytest.fixture
def metrics() -> OperatorMetrics:
    return OperatorMetrics()


@pytest.fixture
def server(metrics: OperatorMetrics, health: Health) -> Iterator[HealthServer]:
    server = HealthServer(metrics.registry, health, address="127.0.0.1", port=0)
    server.start()
    yield server
    server.stop()


def value(metrics: OperatorMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def get(server: HealthServer, path: str) -> tuple[int, str, str]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, str(response.getheader("Content-Type")), response.read().decode()
    finally:
        connection.close()


class TestHealth:
    def test_is_good_at_the_start(self, health: Health) -> None:
        assert health.trouble() is None

    def test_is_good_up_to_the_time_allowed(self, health: Health, clock: FakeClock) -> None:
        clock.time += 900
        assert health.trouble() is None

    def test_is_bad_after_it(self, health: Health, clock: FakeClock) -> None:
        clock.time += 901
        assert health.trouble() == "no progress for 901 s (allowed: 900 s)"

    def test_is_good_again_with_progress(self, health: Health, clock: FakeClock) -> None:
        clock.time += 5_000
        health.progress()
        assert health.trouble() is None
        clock.time += 901
        assert health.trouble() is not None


class TestOperatorMetrics:
    def test_of_a_cycle(self, metrics: OperatorMetrics) -> None:
        metrics.cycle_ended(CycleFigures(**FIGURES))
        expected = {
            "rightsizer_cycle_duration_seconds_sum": 2.0,
            "rightsizer_cycle_duration_seconds_count": 1,
            "rightsizer_last_cycle_timestamp_seconds": 1_763_640_000.0,
            "rightsizer_changes_total": 2,
            "rightsizer_failed_workloads": 1,
            "rightsizer_troubled_namespaces": 4,
            "rightsizer_history_containers": 5,
            "rightsizer_history_bytes": 12_096,
            "rightsizer_history_read_share": 0.25,
            "rightsizer_evidence_containers": 6,
            "rightsizer_evidence_seconds_total": 0.5,
        }
        assert {name: value(metrics, name) for name in expected} == expected
        assert [value(metrics, "rightsizer_usage_questions_total", outcome=outcome) for outcome in ("halved", "failed")] == [3, 1]
        assert value(metrics, "rightsizer_cycles_total", outcome="ok") == 1
        assert value(metrics, "rightsizer_workloads", mode="Apply", state="Applied") == 3
        assert value(metrics, "rightsizer_workload_reasons", reason="NotEnoughHistory") == 1

    def test_states_and_reasons_that_are_over_go(self, metrics: OperatorMetrics) -> None:
        metrics.cycle_ended(CycleFigures(**FIGURES))
        metrics.cycle_ended(CycleFigures(**{**FIGURES, "workloads": {("Apply", "Applied"): 4}, "reasons": {"UpToDate": 4}}))
        assert value(metrics, "rightsizer_workloads", mode="Recommend", state="Waiting") is None
        assert value(metrics, "rightsizer_workload_reasons", reason="NotEnoughHistory") is None
        assert value(metrics, "rightsizer_workloads", mode="Apply", state="Applied") == 4
        assert value(metrics, "rightsizer_changes_total") == 4
        assert value(metrics, "rightsizer_reversals_total") == 14

    def test_of_a_cycle_that_failed(self, metrics: OperatorMetrics) -> None:
        metrics.cycle_failed()
        assert value(metrics, "rightsizer_cycles_total", outcome="failed") == 1
        assert value(metrics, "rightsizer_cycles_total", outcome="ok") is None

    def test_of_requests_to_the_usage_source(self, metrics: OperatorMetrics) -> None:
        metrics.usage_source_request("cpu", seconds=0.25, size_bytes=100)
        metrics.usage_source_request("cpu", seconds=0.5, size_bytes=50)
        names = ("rightsizer_usage_source_requests_total", "rightsizer_usage_source_seconds_total", "rightsizer_usage_source_bytes_total")
        assert [value(metrics, name, kind="cpu") for name in names] == [2, 0.75, 150]

    @pytest.mark.parametrize(("code", "label"), [(200, "200"), (0, "none")])
    def test_of_requests_to_the_api(self, metrics: OperatorMetrics, code: int, label: str) -> None:
        metrics.api_request("list", "pods", code, 0.1)
        assert value(metrics, "rightsizer_api_requests_total", verb="list", resource="pods", code=label) == 1

    def test_two_operators_in_one_process_do_not_meet(self, metrics: OperatorMetrics) -> None:
        OperatorMetrics().cycle_failed()
        assert value(metrics, "rightsizer_cycles_total", outcome="failed") is None


class TestServer:
    def test_is_well(self, server: HealthServer) -> None:
        assert get(server, "/healthz") == (200, "text/plain; charset=utf-8", "ok\n")

    def test_is_stalled_and_back(self, server: HealthServer, health: Health, clock: FakeClock) -> None:
        clock.time += 1_000
        status, _, text = get(server, "/healthz?verbose")
        assert (status, text) == (503, "no progress for 1000 s (allowed: 900 s)\n")
        health.progress()
        assert get(server, "/healthz")[0] == 200

    def test_metrics(self, server: HealthServer, metrics: OperatorMetrics) -> None:
        metrics.cycle_ended(CycleFigures(**FIGURES))
        metrics.usage_source_request("cpu", seconds=1, size_bytes=1)
        metrics.api_request("list", "pods", 200, 0.1)
        status, content_type, text = get(server, "/metrics")
        assert (status, content_type.partition(";")[0]) == (200, "text/plain")
        families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE rightsizer_")}
        assert families >= {
            "rightsizer_info",
            "rightsizer_cycles_total",
            "rightsizer_cycle_duration_seconds",
            "rightsizer_last_cycle_timestamp_seconds",
            "rightsizer_workloads",
            "rightsizer_workload_reasons",
            "rightsizer_changes_total",
            "rightsizer_failed_workloads",
            "rightsizer_troubled_namespaces",
            "rightsizer_history_containers",
            "rightsizer_history_bytes",
            "rightsizer_history_read_share",
            "rightsizer_usage_questions_total",
            "rightsizer_usage_source_requests_total",
            "rightsizer_usage_source_seconds_total",
            "rightsizer_usage_source_bytes_total",
            "rightsizer_api_requests_total",
        }
        assert "process_resident_memory_bytes" in text

    def test_anything_else_is_not_there(self, server: HealthServer) -> None:
        status, _, text = get(server, "/")
        assert (status, text) == (404, "there is /healthz and /metrics\n")

    def test_port_that_is_in_use(self, server: HealthServer, metrics: OperatorMetrics, health: Health) -> None:
        with pytest.raises(InvalidSettings, match=f"RIGHTSIZER_HTTP_PORT {server.port}: .*in use"):
            HealthServer(metrics.registry, health, address="127.0.0.1", port=server.port)

    def test_address_that_is_none(self, metrics: OperatorMetrics, health: Health) -> None:
        with pytest.raises(InvalidSettings, match=r"RIGHTSIZER_HTTP_ADDRESS '203\.0\.113\.7'"):
            HealthServer(metrics.registry, health, address="203.0.113.7", port=0)
