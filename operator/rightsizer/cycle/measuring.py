"""Keeps the usage history up to date: per namespace one backfill, then only what is new, in a few queries for all its containers.

Each namespace is read by itself, so one that fails leaves the others alone. What could not be read is told as trouble, and is read the next
time from where it stopped. Queries are never made per workload or per container.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rightsizer.cycle.learned import OomLessons
from rightsizer.cycle.ownership import PodWorkloads
from rightsizer.cycle.trouble import UNREACHABLE, trouble_of
from rightsizer.errors import UsageSourceError
from rightsizer.history import SLOT_SECONDS, History, Span, UsageBatch, last_slot
from rightsizer.ports import Cluster, OwnerSource, UsageSource
from rightsizer.status.conditions import Trouble
from rightsizer.workload import RESOURCES, ContainerKey, Workload

logger = logging.getLogger(__name__)

CHUNK_SECONDS = 86_400
"""A backfill asks for a day at a time: 288 values per series, so a query of 1,000 containers stays near 300,000 values."""

OVERLAP_SLOTS = 2
"""A refresh asks again for the newest slots that it has: samples come late by a scrape, and rates want both ends of a slot."""

INTERVAL_ASKED_AGAIN_SECONDS = 3_600

UNREACHABLE_AT_MOST = 2
"""After so many namespaces in a row it is the server: the others would only wait through all its time limits."""

Progress = Callable[[str, int, int], None]
"""Told of each chunk of a backfill: namespace, chunks read, chunks in all."""


def no_progress(namespace: str, done: int, total: int) -> None:
    """Nobody looks."""


@dataclass(frozen=True, slots=True)
class MeasuringReport:
    """What became of the reading: trouble by namespace, and where owners came from."""

    trouble: Mapping[str, Trouble]
    owner_sources: Mapping[str, OwnerSource]


@dataclass(slots=True)
class _Reading:
    """What is remembered about a namespace between refreshes. `interval_asked`: unix seconds."""

    interval_seconds: int = 0
    interval_asked: float = 0.0
    trouble: Trouble | None = None
    empty: bool = field(default=False)


class Measuring:
    """The history with all that is needed to go on reading into it."""

    def __init__(self, source: UsageSource, cluster: Cluster | None, *, progress: Progress = no_progress) -> None:
        self._source = source
        self._progress = progress
        self._readings: dict[str, _Reading] = {}
        self._pods = PodWorkloads(source, cluster)
        self._oom = OomLessons()
        self.history = History(slots=1)

    def refresh(self, workloads: Mapping[str, Sequence[Workload]], *, now: float, window_seconds: int) -> MeasuringReport:
        """Read what is new for these namespaces (name -> its workloads). `window_seconds`: the longest window that anybody needs."""
        self._make_room(window_seconds)
        end = last_slot(now)
        unreachable: list[Trouble] = []
        for namespace, present in workloads.items():
            reading = self._readings.setdefault(namespace, _Reading())
            spans = list(self._spans(namespace, end))
            if not spans:
                continue
            if len(unreachable) == UNREACHABLE_AT_MOST:
                reading.trouble = unreachable[-1]
                continue
            reading.trouble = self._read_namespace(namespace, present, reading, spans, now=now)
            unreachable = [*unreachable, reading.trouble] if reading.trouble and reading.trouble.reason == UNREACHABLE else []
        self._oom.forget_before(end - window_seconds)
        return MeasuringReport(
            trouble={name: trouble for name in workloads if (trouble := self._readings[name].trouble) is not None},
            owner_sources={name: source for name in workloads if (source := self._pods.source_of(name)) is not None},
        )

    def oom_floors(self) -> dict[ContainerKey, int]:
        """Bytes below which no memory request may fall, by container, from the OOM kills within the window."""
        return self._oom.floors()

    def forget_all_but(self, keys: Collection[ContainerKey]) -> None:
        """Drop what is known of containers that are gone."""
        self.history.forget_all_but(keys)
        self._oom.forget_all_but(keys)

    def _make_room(self, window_seconds: int) -> None:
        slots = window_seconds // SLOT_SECONDS
        if slots > self.history.slots:
            # A longer ring is filled from the usage source again, the store of record.
            self.history = History(slots=slots)

    def _read_namespace(
        self, namespace: str, present: Sequence[Workload], reading: _Reading, spans: Sequence[Span], *, now: float
    ) -> Trouble | None:
        """Read these spans, and say what stood in the way or is missing."""
        try:
            for done, span in enumerate(spans):
                self._learn_interval(namespace, reading, now=now)
                self._read(namespace, present, reading, span)
                self.history.mark_read(namespace, span)
                self._progress(namespace, done + 1, len(spans))
        except UsageSourceError as error:
            logger.warning("usage of namespace %s could not be read: %s", namespace, error)
            return trouble_of(error)
        # Where no pod is wanted, none has to be seen.
        expected = any(workload.replicas for workload in present)
        return self._what_is_missing(namespace) if reading.empty and expected else None

    def _spans(self, namespace: str, end: int) -> Iterator[Span]:
        """What is still to be read, oldest first: a failure then leaves old data, which is seen to be old."""
        read = self.history.read_span(namespace)
        oldest = end - (self.history.slots - 1) * SLOT_SECONDS
        if read is not None and read.end >= end:
            return
        start = oldest if read is None else max(oldest, read.end - (OVERLAP_SLOTS - 1) * SLOT_SECONDS)
        while start <= end:
            stop = min(start + CHUNK_SECONDS - SLOT_SECONDS, end)
            yield Span(start, stop)
            start = stop + SLOT_SECONDS

    def _learn_interval(self, namespace: str, reading: _Reading, *, now: float) -> None:
        if reading.interval_seconds and now - reading.interval_asked < INTERVAL_ASKED_AGAIN_SECONDS:
            return
        found = self._source.scrape_interval_seconds([namespace])
        # Without samples now, the past is still read, with a range that fits all usual intervals.
        reading.interval_seconds = found or reading.interval_seconds or 60
        reading.interval_asked = now if found else 0.0

    def _read(self, namespace: str, present: Sequence[Workload], reading: _Reading, span: Span) -> None:
        reading.empty = False
        for resource in RESOURCES:
            batch = self._source.usage(resource, namespaces=[namespace], span=span, scrape_interval_seconds=reading.interval_seconds)
            reading.empty = reading.empty or not batch.series
            self.history.add(batch, self._keys(namespace, batch, present))
        for kill in self._source.oom_kills(namespaces=[namespace], span=span):
            self._oom.learn(self._pods.key_of(kill.series), at=kill.at, memory_limit=kill.memory_limit)
        if self._pods.source_of(namespace) is OwnerSource.API_AND_NAMES:
            for key, at, limit in self._pods.oom_kills_of_pods(namespace):
                self._oom.learn(key, at=at, memory_limit=limit)

    def _keys(self, namespace: str, batch: UsageBatch, present: Sequence[Workload]) -> list[ContainerKey | None]:
        self._pods.learn(namespace, {series.pod for series in batch.series}, present, span=batch.span)
        # What is not there now (pods of Jobs, a container of an older template) would be forgotten at once; when nothing else of the
        # namespace is known, it would then count as never read, and be read from the start in every cycle.
        there = {ContainerKey(workload.ref, container.name) for workload in present for container in workload.sizable}
        return [key if (key := self._pods.key_of(series)) in there else None for series in batch.series]

    def _what_is_missing(self, namespace: str) -> Trouble | None:
        try:
            missing = self._source.missing_metrics([namespace])
        except UsageSourceError as error:
            return trouble_of(error)
        needed = [name for name in missing if name.startswith("container_")]
        if not needed:
            return None
        return Trouble("MetricsMissing", f"the usage source has no series of {' and '.join(needed)} in namespace {namespace}")
