"""The operator's own metrics, all named `rightsizer_...`, in a registry of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, PlatformCollector, ProcessCollector

from rightsizer import __version__

_CYCLE_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180, 600)


@dataclass(frozen=True, slots=True)
class CycleFigures:
    """What is counted of a cycle that ended well. `states`: workloads by (mode, state); `reasons`: workloads by the reason told."""

    seconds: float
    at: float
    workloads: Mapping[tuple[str, str], int]
    reasons: Mapping[str, int]
    changes: int
    reversals: int
    failed_workloads: int
    troubled_namespaces: int
    history_containers: int
    history_bytes: int
    history_read: float
    questions_halved: int
    questions_failed: int
    proved_containers: int
    proving_seconds: float


class OperatorMetrics:
    """Counts; thread-safe, as the client library is."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        Info("rightsizer", "The operator.", registry=self.registry).info({"version": __version__})
        self._cycles = Counter("rightsizer_cycles", "Cycles by how they ended.", ["outcome"], registry=self.registry)
        self._seconds = Histogram(
            "rightsizer_cycle_duration_seconds", "How long a cycle took.", buckets=_CYCLE_BUCKETS, registry=self.registry
        )
        self._last = Gauge("rightsizer_last_cycle_timestamp_seconds", "When the last good cycle ended.", registry=self.registry)
        self._workloads = Gauge("rightsizer_workloads", "Workloads by mode and state.", ["mode", "state"], registry=self.registry)
        self._reasons = Gauge("rightsizer_workload_reasons", "Workloads by the reason told.", ["reason"], registry=self.registry)
        self._changes = Counter("rightsizer_changes", "Changes of workloads that were made.", registry=self.registry)
        self._reversals = Counter("rightsizer_reversals", "Changes of workloads that were taken back.", registry=self.registry)
        self._failed = Gauge("rightsizer_failed_workloads", "Workloads that the last cycle could not settle.", registry=self.registry)
        self._troubled = Gauge("rightsizer_troubled_namespaces", "Namespaces that could not be measured.", registry=self.registry)
        self._containers = Gauge("rightsizer_history_containers", "Containers in the usage history.", registry=self.registry)
        self._bytes = Gauge("rightsizer_history_bytes", "Size of the usage history, in memory or in files.", registry=self.registry)
        self._read = Gauge("rightsizer_history_read_share", "Share of the window that has been read.", registry=self.registry)
        self._proved = Gauge("rightsizer_evidence_containers", "Containers with evidence.", registry=self.registry)
        self._proving = Counter("rightsizer_evidence_seconds", "Time spent on replaying the past.", registry=self.registry)
        self._questions = Counter(
            "rightsizer_usage_questions", "Questions that were halved or went unanswered.", ["outcome"], registry=self.registry
        )
        self._usage = Counter("rightsizer_usage_source_requests", "Requests to the usage source.", ["kind"], registry=self.registry)
        self._usage_seconds = Counter(
            "rightsizer_usage_source_seconds", "Time spent waiting for the usage source.", ["kind"], registry=self.registry
        )
        self._usage_bytes = Counter("rightsizer_usage_source_bytes", "Bytes read from the usage source.", ["kind"], registry=self.registry)
        self._api = Counter(
            "rightsizer_api_requests", "Requests to the Kubernetes API.", ["verb", "resource", "code"], registry=self.registry
        )

    def cycle_ended(self, figures: CycleFigures) -> None:
        self._cycles.labels("ok").inc()
        self._seconds.observe(figures.seconds)
        self._last.set(figures.at)
        self._changes.inc(figures.changes)
        self._reversals.inc(figures.reversals)
        self._failed.set(figures.failed_workloads)
        self._troubled.set(figures.troubled_namespaces)
        self._containers.set(figures.history_containers)
        self._bytes.set(figures.history_bytes)
        self._read.set(figures.history_read)
        self._proved.set(figures.proved_containers)
        self._proving.inc(figures.proving_seconds)
        self._questions.labels("halved").inc(figures.questions_halved)
        self._questions.labels("failed").inc(figures.questions_failed)
        self._workloads.clear()
        for (mode, state), count in figures.workloads.items():
            self._workloads.labels(mode, state).set(count)
        self._reasons.clear()
        for reason, count in figures.reasons.items():
            self._reasons.labels(reason).set(count)

    def cycle_failed(self) -> None:
        self._cycles.labels("failed").inc()

    def usage_source_request(self, kind: str, *, seconds: float, size_bytes: int) -> None:
        self._usage.labels(kind).inc()
        self._usage_seconds.labels(kind).inc(seconds)
        self._usage_bytes.labels(kind).inc(size_bytes)

    def api_request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        self._api.labels(verb, resource, str(code) if code else "none").inc()
