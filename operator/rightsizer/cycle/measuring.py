"""Keeps the usage history up to date: what is new first, then what is missing of the past, in few questions for many namespaces.

A refresh costs what is new. The past is read newest first, in portions, so that recommendations appear while history arrives; what could not
be read stays missing and is asked for again. Questions are never made per workload or per container.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from rightsizer.cycle.asking import Answered, Asking, Unanswered
from rightsizer.cycle.learned import OomLessons
from rightsizer.cycle.ownership import PodWorkloads
from rightsizer.cycle.questions import Question, plan
from rightsizer.cycle.trouble import trouble_of
from rightsizer.errors import UsageSourceError
from rightsizer.history import SLOT_SECONDS, History, Span, last_slot
from rightsizer.ports import Cluster, Load, OwnerSource, UsageSource
from rightsizer.status.conditions import Trouble
from rightsizer.workload import RESOURCES, ContainerKey, Workload

logger = logging.getLogger(__name__)

LOADS_ASKED_AGAIN_SECONDS = 3_600

UNKNOWN_LOAD = Load(series=100, scrape_interval_seconds=60)
"""Of a namespace without samples now: its past is read with a range that fits all usual intervals."""

_METRICS = {"cpu": "container CPU usage", "memory": "container memory (working set)"}

NewHistory = Callable[[int], History]
"""Makes a history of so many slots."""


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """How hard the usage source may be asked. `at_once`: questions at a time. `portion_seconds`: how long one refresh may read the past."""

    at_once: int = 2
    portion_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class MeasuringReport:
    """What became of the reading, by namespace: trouble, where owners came from, which share of the window has been read. `news`: any."""

    trouble: Mapping[str, Trouble]
    owner_sources: Mapping[str, OwnerSource]
    read: Mapping[str, float]
    news: bool


class Measuring:
    """The history with all that is needed to go on reading into it. `clock` counts seconds and need not know the date."""

    def __init__(
        self,
        source: UsageSource,
        cluster: Cluster | None,
        *,
        new_history: NewHistory = lambda slots: History(slots=slots),
        limits: ReadingLimits = ReadingLimits(),  # noqa: B008 - frozen
        progress: Callable[[float], None] = lambda share: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._new_history = new_history
        self._limits = limits
        self._progress = progress
        self._clock = clock
        self._asking = Asking(at_once=limits.at_once, clock=clock)
        self._pods = PodWorkloads(source, cluster)
        self._oom = OomLessons()
        self._loads: dict[str, Load] = {}
        self._loads_asked = 0.0
        self._trouble: dict[str, Trouble] = {}
        self._newest_slot = 0
        self.history = new_history(1)

    def refresh(self, workloads: Mapping[str, Sequence[Workload]], *, now: float, window_seconds: int) -> MeasuringReport:
        """Read for these namespaces (name -> its workloads). `window_seconds`: the longest window that anybody needs."""
        self._make_room(window_seconds)
        wanted = Span(last_slot(now) - (self.history.slots - 1) * SLOT_SECONDS, last_slot(now))
        missing = {namespace: spans for namespace in workloads if (spans := self._missing(namespace, wanted))}
        if missing:
            self._read(missing, workloads, wanted, now=now)
            self.history.save()
        self._oom.forget_before(wanted.start)
        return MeasuringReport(
            trouble={namespace: trouble for namespace, trouble in self._trouble.items() if namespace in workloads},
            owner_sources={name: source for name in workloads if (source := self._pods.source_of(name)) is not None},
            read={namespace: self._share_read(namespace, wanted) for namespace in workloads},
            news=bool(missing),
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
            self.history = self._new_history(slots)

    def _missing(self, namespace: str, wanted: Span) -> tuple[Span, ...]:
        """What is to be read, newest first. A newest slot that was read is read again: samples come late by a scrape."""
        spans = self.history.missing(namespace, wanted)
        if not spans or spans[0].end < wanted.end or spans[0].start == wanted.start:
            return spans
        return (Span(spans[0].start - SLOT_SECONDS, spans[0].end), *spans[1:])

    def _share_read(self, namespace: str, wanted: Span) -> float:
        return 1.0 - sum(span.slots for span in self.history.missing(namespace, wanted)) / wanted.slots

    def _read(
        self, missing: Mapping[str, tuple[Span, ...]], workloads: Mapping[str, Sequence[Workload]], wanted: Span, *, now: float
    ) -> None:
        try:
            self._learn_loads(sorted(workloads), at=wanted.end, now=now)
        except UsageSourceError as error:
            self._fail(missing, error)
            return
        questions = plan(missing, {namespace: self._loads.get(namespace, UNKNOWN_LOAD) for namespace in missing})
        newest = [question for question in questions if question.span.end == wanted.end]
        self._newest_slot = wanted.end
        self._ask(newest, workloads, until=float("inf"))
        self._ask(questions[len(newest) :], workloads, until=self._clock() + self._limits.portion_seconds)

    def _learn_loads(self, namespaces: Sequence[str], *, at: int, now: float) -> None:
        if now - self._loads_asked < LOADS_ASKED_AGAIN_SECONDS and all(namespace in self._loads for namespace in namespaces):
            return
        found = self._source.loads(namespaces, at=at)
        self._loads = {namespace: found.get(namespace, UNKNOWN_LOAD) for namespace in namespaces}
        self._loads_asked = now

    def _ask(self, questions: Sequence[Question], workloads: Mapping[str, Sequence[Workload]], *, until: float) -> None:
        for done, outcome in enumerate(self._asking.ask(self._answer, questions, until=until), start=1):
            if isinstance(outcome, Unanswered):
                self._fail(outcome.question.namespaces, outcome.error)
                continue
            try:
                self._keep(outcome, workloads)
            except UsageSourceError as error:
                self._fail(outcome.question.namespaces, error)
                continue
            self._progress(done / max(len(questions), done))

    def _answer(self, question: Question) -> Answered:
        """Runs in the pool: nothing of this object is changed here."""
        namespaces, span = question.namespaces, question.span
        batches = [
            self._source.usage(
                resource, namespaces=namespaces, span=span, scrape_interval_seconds=question.scrape_interval_seconds
            )
            for resource in RESOURCES
        ]
        return Answered(question, batches, self._source.oom_kills(namespaces=namespaces, span=span))

    def _keep(self, answered: Answered, workloads: Mapping[str, Sequence[Workload]]) -> None:
        question = answered.question
        there = {
            ContainerKey(workload.ref, container.name)
            for namespace in question.namespaces
            for workload in workloads.get(namespace, ())
            for container in workload.sizable
        }
        pods = {(series.namespace, series.pod) for batch in answered.batches for series in batch.series}
        self._pods.learn(pods, workloads, span=question.span)
        for batch in answered.batches:
            self.history.add(batch, [key if (key := self._pods.key_of(series)) in there else None for series in batch.series])
        for kill in answered.oom_kills:
            self._oom.learn(self._pods.key_of(kill.series), at=kill.at, memory_limit=kill.memory_limit)
        for namespace in question.namespaces:
            self._keep_oom_kills_of_pods(namespace)
            self.history.mark_read(namespace, question.span)
        if question.span.end == self._newest_slot:
            for namespace in question.namespaces:
                self._trouble.pop(namespace, None)
            self._tell_silence(answered, workloads)

    def _keep_oom_kills_of_pods(self, namespace: str) -> None:
        if self._pods.source_of(namespace) is OwnerSource.API_AND_NAMES:
            for key, at, limit in self._pods.oom_kills_of_pods(namespace):
                self._oom.learn(key, at=at, memory_limit=limit)

    def _fail(self, namespaces: Collection[str], error: UsageSourceError) -> None:
        logger.warning("usage of %s could not be read: %s", _named(namespaces), error)
        self._trouble.update(dict.fromkeys(namespaces, trouble_of(error)))

    def _tell_silence(self, answered: Answered, workloads: Mapping[str, Sequence[Workload]]) -> None:
        """Running pods without usage are trouble: the usage source does not scrape them, or under other names."""
        for batch in answered.batches:
            heard = {series.namespace for series in batch.series}
            for namespace in set(answered.question.namespaces) - heard:
                if any(workload.replicas for workload in workloads.get(namespace, ())):
                    message = f"the usage source has no series of {_METRICS[batch.resource]} in namespace {namespace}"
                    self._trouble[namespace] = Trouble("MetricsMissing", message)


def _named(namespaces: Collection[str]) -> str:
    names = sorted(namespaces)
    return f"namespace {names[0]}" if len(names) == 1 else f"{len(names)} namespaces ({', '.join(names[:3])}, ...)"
