"""The operator's own code in a process of its own, cycle by cycle, at times that its parent names. Run by `operator_arm`.

The only place that knows how the operator is put together. A line with a time comes in, a line of JSON about the cycle goes out.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Imported as the running operator does, for the memory that it takes.
import rightsizer.handlers  # noqa: F401
from rightsizer.cli.allocator import collect_seldom, give_memory_back
from rightsizer.cluster import connect
from rightsizer.cycle import Cycle, Measuring
from rightsizer.cycle.measuring import MeasuringReport
from rightsizer.history import History
from rightsizer.prometheus import Connection, Endpoint, Prometheus
from rightsizer.workload import Workload

READS = frozenset({"get", "list", "watch"})


class GivenClock:
    """Implements `ports.Clock`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds


class ApiCount:
    """Requests to the Kubernetes API since the last `take`."""

    def __init__(self) -> None:
        self._verbs: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._seconds = 0.0

    def on_request(self, verb: str, target: str, status: int, seconds: float) -> None:
        with self._lock:
            self._verbs[verb] += 1
            self._seconds += seconds

    def take(self) -> dict[str, float]:
        writes = sum(count for verb, count in self._verbs.items() if verb not in READS)
        taken = {"api_requests": sum(self._verbs.values()), "api_writes": writes, "api_s": self._seconds}
        self._verbs.clear()
        self._seconds = 0.0
        return taken


class WatchedMeasuring(Measuring):
    """Remembers how much of the window has been read, which share of the namespace that has least."""

    share_read = 0.0

    def refresh(
        self, workloads: Mapping[str, Sequence[Workload]], *, now: float, window_seconds: int, kills_seconds: int = 0
    ) -> MeasuringReport:
        report = super().refresh(workloads, now=now, window_seconds=window_seconds, kills_seconds=kills_seconds)
        self.share_read = min(report.read.values(), default=1.0)
        return report


def build(
    *, kubeconfig: str, prometheus_url: str, history_folder: Path, clock: GivenClock, api: ApiCount
) -> tuple[Cycle, WatchedMeasuring]:
    """Put together as `rightsizer.handlers.run` does it, with the history in files as the manifests have it."""
    source = Prometheus(Connection(Endpoint(url=prometheus_url)))
    cluster = connect(kubeconfig, None, on_request=api.on_request)
    measuring = WatchedMeasuring(source, cluster, new_history=lambda slots: History(slots=slots, folder=history_folder))
    return Cycle(cluster, measuring, clock), measuring


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--prometheus-url", required=True)
    parser.add_argument("--history-folder", required=True, type=Path)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    give_memory_back()
    collect_seldom()
    clock, api = GivenClock(), ApiCount()
    cycle, measuring = build(
        kubeconfig=given.kubeconfig, prometheus_url=given.prometheus_url, history_folder=given.history_folder, clock=clock, api=api
    )
    _answer({"ready": True})
    for line in sys.stdin:
        clock.seconds = float(line)
        began = time.monotonic()
        report = cycle.run()
        _answer(
            {
                "seconds": time.monotonic() - began,
                "containers": report.containers,
                "failed": report.failed,
                "troubled_namespaces": report.troubled_namespaces,
                "share_read": measuring.share_read,
                "proved": report.proved_containers,
                **api.take(),
            }
        )


def _answer(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
