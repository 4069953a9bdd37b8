"""What processes and questions cost, read where the kernel and Prometheus count it themselves.

CPU time is what `process_cpu_seconds_total` shows, from the same place (in steps of 10 ms), without the cost of asking for it.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.usage_server import UsageServer
from tests.testbed.addresses import opener

_TICKS = os.sysconf("SC_CLK_TCK")
_COUNTED = re.compile(r"^(?P<name>\w+)\{(?P<labels>[^}]*)\} (?P<value>\S+)$|^(?P<plain>\w+) (?P<number>\S+)$", re.MULTILINE)
_API = 'handler="/api/v1/'
_REFUSED = ('code="400"', 'code="422"', 'code="503"')

BYTES_PER_MB = 1_000_000


class ProcessMeter:
    """CPU time and memory of one process of this machine (Linux)."""

    def __init__(self, pid: int) -> None:
        self._folder = Path("/proc") / str(pid)

    def cpu_seconds(self) -> float:
        """Of all its threads, since it began."""
        return cpu_seconds_of((self._folder / "stat").read_text())

    def peak_mb(self) -> float:
        """The most memory that was resident since the last `reset_peak`, mapped files included."""
        return peak_mb_of((self._folder / "status").read_text())

    def reset_peak(self) -> None:
        # Where the kernel does not let us, the peak is that since the start: too high, never too low.
        with contextlib.suppress(OSError):
            (self._folder / "clear_refs").write_text("5")


def cpu_seconds_of(stat: str) -> float:
    """User and system time of `/proc/PID/stat`. The second field, a name in brackets, may hold anything."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peak_mb_of(status: str) -> float:
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 / BYTES_PER_MB if found else 0.0


@dataclass(frozen=True, slots=True)
class Answered:
    """What a Prometheus has answered: requests to its API, bytes sent, samples read by queries, queries that it refused or gave up."""

    requests: float
    bytes: float
    samples: float
    refused: float

    def since(self, earlier: Answered) -> Answered:
        return Answered(
            self.requests - earlier.requests,
            self.bytes - earlier.bytes,
            self.samples - earlier.samples,
            self.refused - earlier.refused,
        )


def answered_in(metrics: str) -> Answered:
    """From the text of Prometheus' own `/metrics`."""
    requests = sent = samples = refused = 0.0
    for found in _COUNTED.finditer(metrics):
        name, labels, value = found["name"] or found["plain"], found["labels"] or "", float(found["value"] or found["number"])
        if name == "prometheus_engine_query_samples_total":
            samples += value
        elif name == "prometheus_http_response_size_bytes_sum" and _API in labels:
            sent += value
        elif name == "prometheus_http_requests_total" and _API in labels:
            requests += value
            refused += value if any(code in labels for code in _REFUSED) else 0.0
    return Answered(requests, sent, samples, refused)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a time of asking cost the server."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    answered: Answered


class ServerMeter:
    """From its making to `read`. The server's own counters are read outside of the time that is measured."""

    def __init__(self, server: UsageServer) -> None:
        self._url = f"{server.url}/metrics"
        self._process = ProcessMeter(server.pid)
        self._answered = self._count()
        self._process.reset_peak()
        self._cpu = self._process.cpu_seconds()
        self._began = time.monotonic()

    def read(self) -> Spent:
        wall, cpu, peak = self.seconds(), self.cpu_seconds(), self._process.peak_mb()
        return Spent(wall, cpu, peak, self._count().since(self._answered))

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def cpu_seconds(self) -> float:
        return self._process.cpu_seconds() - self._cpu

    def _count(self) -> Answered:
        with opener().open(self._url, timeout=30.0) as response:
            return answered_in(response.read().decode())
