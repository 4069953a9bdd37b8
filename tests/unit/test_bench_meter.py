"""What is read of processes and of Prometheus' own counters."""

from __future__ import annotations

import os
import time

import pytest

from tests.bench.meter import Answered, ProcessMeter, answered_in, cpu_seconds_of, peak_mb_of

METRICS = """# HELP prometheus_engine_query_samples_total The total number of samples loaded by all queries.
# TYPE prometheus_engine_query_samples_total counter
prometheus_engine_query_samples_total 4500
prometheus_http_requests_total{code="200",handler="/-/ready"} 3
prometheus_http_requests_total{code="200",handler="/api/v1/query"} 10
prometheus_http_requests_total{code="422",handler="/api/v1/query_range"} 2
prometheus_http_requests_total{code="503",handler="/api/v1/query_range"} 1
prometheus_http_requests_total{code="200",handler="/metrics"} 7
prometheus_http_response_size_bytes_bucket{handler="/api/v1/query",le="100"} 5
prometheus_http_response_size_bytes_sum{handler="/api/v1/query"} 1.5e+06
prometheus_http_response_size_bytes_sum{handler="/api/v1/query_range"} 500
prometheus_http_response_size_bytes_sum{handler="/metrics"} 9999
go_goroutines 30
"""


def test_only_the_questions_are_counted() -> None:
    assert answered_in(METRICS) == Answered(requests=13, bytes=1_500_500, samples=4_500, refused=3)


def test_a_server_that_was_not_asked_yet() -> None:
    assert answered_in("go_goroutines 30\n") == Answered(0, 0, 0, 0)


def test_since_an_earlier_look() -> None:
    assert Answered(10, 500, 90, 2).since(Answered(4, 100, 90, 1)) == Answered(6, 400, 0, 1)


def test_cpu_time_of_a_process_with_an_odd_name() -> None:
    fields = "S 1 2 3 4 5 6 7 8 9 10 150 50 0 0"
    assert cpu_seconds_of(f"42 (a) b (c d) {fields}") == pytest.approx(200 / os.sysconf("SC_CLK_TCK"))


def test_peak_memory() -> None:
    assert peak_mb_of("Name:\tx\nVmHWM:\t    1000 kB\nVmRSS:\t     500 kB\n") == pytest.approx(1.024)
    assert peak_mb_of("Name:\tkthread\n") == 0.0


def test_this_process_is_seen_at_work() -> None:
    meter = ProcessMeter(os.getpid())
    before = meter.cpu_seconds()
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert meter.cpu_seconds() - before >= 0.08
    assert meter.peak_mb() > 10


def test_the_peak_is_that_since_it_was_reset() -> None:
    meter = ProcessMeter(os.getpid())
    ballast = bytearray(os.urandom(1)) * 64_000_000
    high = meter.peak_mb()
    del ballast
    meter.reset_peak()
    assert meter.peak_mb() < high - 50
