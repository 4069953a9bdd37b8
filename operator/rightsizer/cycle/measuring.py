"""Keeps the usage history up to date: what is new first, then what is missing of the past, in few questions for many namespaces.

A refresh costs what is new. The past is read newest first, in portions, so that recommendations appear while history arrives; what
could not be read stays missing and is asked for again. Questions are never made per workload or per container.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from rightsizer.cycle.asking import Answered, Asking, Unanswered, never
from rightsizer.cycle.learned import OomLessons, Since
from rightsizer.cycle.loads import Loads
from rightsizer.cycle.ownership import PodName, PodWorkloads
from rightsizer.cycle.questions import Question, plan, throttling_span
from rightsizer.cycle.silence import Silence
from rightsizer.cycle.trouble import trouble_of
from rightsizer.cycle.unreadable import Unreadable
from rightsizer.cycle.wanted import LATE_SECONDS, share_read, with_late, without
from rightsizer.errors import UsageSourceError, UsageSourceUnreachable
from rightsizer.history import SLOT_SECONDS, History, Span, UsageBatch, UsageKind, last_slot
from rightsizer.history.spans import Spans, gaps, joined
from rightsizer.ports import Cluster, OwnerSource, UsageSource
from rightsizer.status.conditions import Trouble
from rightsizer.workload import RESOURCES, ContainerKey, Workload

logger = logging.getLogger(__name__)

Workloads = Mapping[str, Sequence[Workload]]
"""By namespace."""

NewHistory = Callable[[int], History]
"""Makes a history of so many slots."""

Progress = Callable[[float], None]
"""Told of each question that was answered, with the share of the window that has been read so far."""


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """How hard the usage source may be asked. `at_once`: questions at a time.

    For so long one refresh may begin questions: `newest_seconds` about what is new, and then `portion_seconds` about the past.
    """

    at_once: int = 2
    newest_seconds: float = 120.0
    portion_seconds: float = 45.0


@dataclass(frozen=True, slots=True)
class MeasuringReport:
    """What became of the reading, by namespace: trouble, where owners came from, which share of the window has been read.

    `unreadable`: why a part of the past is not known, which is no trouble for what is newer.
    `unread`: time was up, and there is more to be read. `answered`, `halved`, `failed`: questions that brought something, that were too
    much, and that went unanswered.
    """

    trouble: Mapping[str, Trouble]
    unreadable: Mapping[str, Trouble]
    owner_sources: Mapping[str, OwnerSource]
    read: Mapping[str, float]
    unread: bool
    answered: int
    halved: int
    failed: int


@dataclass(slots=True)
class _Round:
    """One refresh, and what became of it so far."""

    workloads: Workloads
    wanted: Span
    now: float
    answered: set[str] = field(default_factory=set)
    failed: dict[str, Trouble] = field(default_factory=dict)
    in_past: bool = False
    past_answered: set[str] = field(default_factory=set)
    past_failed: dict[str, UsageSourceError] = field(default_factory=dict)
    unread: bool = False

    def is_newest(self, question: Question) -> bool:
        return question.span.end == self.wanted.end and not question.kills_only


def _in_memory(slots: int) -> History:
    return History(slots=slots)


def _nobody(share: float) -> None:
    """Nobody looks."""


class Measuring:
    """The history with all that is needed to go on reading into it. `clock` counts seconds and need not know the date.

    When `stopping` answers True, a refresh ends after the questions that are under way.
    """

    def __init__(
        self,
        source: UsageSource,
        cluster: Cluster | None,
        *,
        new_history: NewHistory = _in_memory,
        limits: ReadingLimits = ReadingLimits(),
        progress: Progress = _nobody,
        stopping: Callable[[], bool] = never,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._source = source
        self._new_history = new_history
        self._limits = limits
        self._progress = progress
        self._clock = clock
        self._asking = Asking(at_once=limits.at_once, clock=clock, sleep=sleep, stopping=stopping)
        self._pods = PodWorkloads(source, cluster)
        self._loads = Loads(source)
        self._oom = OomLessons()
        self._learnt: dict[str, Spans] = {}
        """Of which spans the OOM kills are known: a history outlives the process, and what it taught does not."""
        self._heard: set[str] = set()
        self._trouble: dict[str, Trouble] = {}
        self._silence = Silence(self._loads, narrowed_by=source.narrowed_by)
        self._unreadable = Unreadable()
        # A folder is opened when it is known how long the history is to be: another length would empty it.
        self.history = _in_memory(1)

    def refresh(self, workloads: Workloads, *, now: float, window_seconds: int, kills_seconds: int = 0) -> MeasuringReport:
        """Read for these namespaces (name -> its workloads). `window_seconds`: the longest window that anybody needs.

        `kills_seconds`: for how long an OOM kill that was seen is remembered, where that is longer.
        """
        self._make_room(window_seconds)
        self._read_again_what_came_back()
        self._pods.begin()
        answered, halved, failed = self._asking.answered, self._asking.halved, self._asking.failed
        wanted = Span(last_slot(now) - (self.history.slots - 1) * SLOT_SECONDS, last_slot(now))
        this = _Round(workloads, wanted, now)
        self._read(this)
        self._conclude(this)
        self._oom.forget_before(min(wanted.start, now - kills_seconds))
        self._unreadable.forget_all_but(workloads)
        return MeasuringReport(
            trouble={name: trouble for name in workloads if (trouble := self._trouble_of(name)) is not None},
            unreadable={name: trouble for name in workloads if (trouble := self._unreadable.trouble(name)) is not None},
            owner_sources={name: source for name in workloads if (source := self._pods.source_of(name)) is not None},
            read={namespace: self._share_read(namespace, this) for namespace in workloads},
            unread=this.unread,
            answered=self._asking.answered - answered,
            halved=self._asking.halved - halved,
            failed=self._asking.failed - failed,
        )

    def oom_floors(self, since: Since = lambda key: 0.0) -> dict[ContainerKey, int]:
        """Bytes below which no memory request may fall, by container, from the OOM kills that are remembered, since a time of its own."""
        return self._oom.floors(since)

    def newest_kill(self, key: ContainerKey) -> float | None:
        """When a container was last killed for memory (unix seconds), as far as that is remembered."""
        return self._oom.newest(key)

    def forget_all_but(self, keys: Collection[ContainerKey]) -> None:
        """Drop what is known of containers that are gone."""
        self.history.forget_all_but(keys)
        self._oom.forget_all_but(keys)

    def close(self) -> None:
        """Let the history survive, as far as it can. Nothing is to be read after."""
        self.history.close()

    def _make_room(self, window_seconds: int) -> None:
        slots = window_seconds // SLOT_SECONDS
        if slots > self.history.slots:
            # A longer ring is filled from the usage source again, the store of record.
            self.history.close()
            self.history = self._new_history(slots)

    def _read_again_what_came_back(self) -> None:
        """What was read while a container was away left it out."""
        for namespace in {key.workload.namespace for key in self.history if self.history.known_since(key) is not None}:
            logger.info("namespace %s is read again: a container came back", namespace)
            self.history.read_again(namespace)

    def _missing(self, namespace: str, this: _Round, newest_values: Mapping[str, int]) -> Spans:
        """What is to be read, newest first, and what was read so early that it is read again."""
        wanted = this.wanted
        spans = self.history.missing(namespace, wanted)
        if namespace not in self._heard and not (spans and spans[0].end == wanted.end):
            # Whether there is usage at all, and whose pods they are, has to be seen once by each process.
            spans = (Span(wanted.end, wanted.end), *spans)
        spans = with_late(spans, wanted, newest_value=newest_values.get(namespace))
        return without(spans, self._unreadable.left_out(namespace, now=this.now))

    def _newest_values(self) -> dict[str, int]:
        """The last slot with a value, by namespace; of CronJobs alone it would tell nothing about samples that are late."""
        found: dict[str, int] = {}
        for key in self.history:
            if not key.workload.steady:
                continue
            namespace = key.workload.namespace
            found[namespace] = max(found.get(namespace, 0), self.history.newest(key) or 0)
        return found

    def _not_learnt(self, namespace: str, this: _Round) -> Iterable[Span]:
        """Of which spans there are values, but not the OOM kills."""
        wanted = this.wanted
        learnt = self._learnt.get(namespace, ())
        if left_out := self._unreadable.left_out(namespace, now=this.now):
            learnt = joined((*learnt, *left_out))
        for read in self.history.read_spans(namespace):
            span = Span(max(read.start, wanted.start), min(read.end, wanted.end))
            if span.start <= span.end:
                yield from gaps(learnt, span)

    def _unread(self, namespace: str, this: _Round) -> Spans:
        missing = without(self.history.missing(namespace, this.wanted), self._unreadable.left_out(namespace, now=this.now))
        return (*missing, *self._not_learnt(namespace, this))

    def _share_read(self, namespace: str, this: _Round) -> float:
        return share_read(self._unread(namespace, this), this.wanted)

    def _trouble_of(self, namespace: str) -> Trouble | None:
        return self._trouble.get(namespace) or self._silence.trouble(namespace)

    def _read(self, this: _Round) -> None:
        newest_values = self._newest_values()
        missing = {name: spans for name in this.workloads if (spans := self._missing(name, this, newest_values))}
        not_learnt = {name: spans for name in this.workloads if (spans := tuple(self._not_learnt(name, this)))}
        places = {*missing, *not_learnt}
        if not places:
            return
        try:
            for namespace, error in self._loads.learn(places, now=this.now).items():
                self._fail(this, [namespace], error)
        except UsageSourceError as error:
            self._fail(this, places, error)
            return
        questions = self._plan(this, missing)
        lessons = [replace(question, kills_only=True) for question in self._plan(this, not_learnt)]
        newest = sorted(filter(this.is_newest, questions), key=self._urgency)
        self._ask(this, newest, until=self._clock() + self._limits.newest_seconds)
        self.history.save()
        if not self._asking.given_up:
            resting = {name for name in places if self._unreadable.rests(name, now=this.now)}
            past = [*lessons, *(question for question in questions if not this.is_newest(question))]
            past = [left for question in past if (left := question.without({*this.failed, *resting})).namespaces]
            this.in_past = True
            self._ask(this, past, until=self._clock() + self._limits.portion_seconds)
            self.history.save()

    def _urgency(self, question: Question) -> tuple[bool, int]:
        """Where time is too short for all, those come first that are the furthest behind, and last those that had no answer before."""
        return any(name in self._trouble for name in question.namespaces), question.span.start

    def _plan(self, this: _Round, missing: Mapping[str, Spans]) -> list[Question]:
        wanted = {name: spans for name, spans in missing.items() if name not in this.failed}
        return plan(wanted, {name: self._loads.of(name) for name in wanted}, now=this.now)

    def _ask(self, this: _Round, questions: Sequence[Question], *, until: float) -> None:
        for outcome in self._asking.ask(partial(self._answer, newest=this.wanted.end), questions, until=until):
            if isinstance(outcome, Unanswered):
                self._unanswered(this, outcome)
                continue
            self._keep(this, outcome)
            shares = [self._share_read(namespace, this) for namespace in this.workloads]
            self._progress(sum(shares) / len(shares))
        # Where nothing but failures came, the next cycle can wait.
        this.unread = this.unread or (self._asking.left > 0 and bool(this.answered or not this.failed))

    def _unanswered(self, this: _Round, unanswered: Unanswered) -> None:
        question, error = unanswered.question, unanswered.error
        if this.is_newest(question) or isinstance(error, UsageSourceUnreachable):
            self._fail(this, {*question.namespaces, *unanswered.unasked}, error)
            return
        # A server that has the newest slots is well. Which of several namespaces is to blame is found out in later cycles, when those
        # that were found before are left alone.
        logger.warning("the past of %s could not be read: %s", _named(question.namespaces), error)
        if len(question.namespaces) == 1:
            this.past_failed.update(dict.fromkeys(question.namespaces, error))

    def _answer(self, question: Question, *, newest: int) -> Answered:
        """Runs in the pool: nothing of this object is changed here."""
        batches = [] if question.kills_only else list(self._usage(question, newest=newest))
        span = question.span
        if span.end == newest:
            # A kill that shows late must not wait for the next full refresh.
            span = Span(min(span.start, newest - LATE_SECONDS), newest)
        kills = self._source.oom_kills(namespaces=question.namespaces, span=span)
        answered = Answered(question, batches, None, kills)
        # Of throttling and kills, more than the question's span may have come, of pods that are gone since.
        first = min([question.span.start, *(batch.span.start for batch in batches), *(int(kill.at) for kill in kills)])
        return replace(answered, owners=self._pods.ask(_pods(answered), span=Span(first, question.span.end)))

    def _usage(self, question: Question, *, newest: int) -> Iterator[UsageBatch]:
        span, interval = question.span, question.scrape_interval_seconds
        complete: frozenset[str] = frozenset()
        if question.recorded:
            complete = self._source.recorded(namespaces=question.recorded, span=span, scrape_interval_seconds=interval)
        wanted: list[tuple[UsageKind, Sequence[str], Span]] = [(resource, question.namespaces, span) for resource in RESOURCES]
        if (throttling := throttling_span(span, newest=newest)) is not None:
            wanted.append(("throttled", question.limited, throttling))
        for kind, namespaces, of_kind in wanted:
            for recorded in (False, True):
                names = [name for name in namespaces if (name in complete and of_kind == span) == recorded]
                if names:
                    yield self._source.usage(kind, namespaces=names, span=of_kind, scrape_interval_seconds=interval, recorded=recorded)

    def _keep(self, this: _Round, answered: Answered) -> None:
        namespaces, span = answered.question.namespaces, answered.question.span
        there = {
            ContainerKey(workload.ref, container.name)
            for namespace in namespaces
            for workload in this.workloads[namespace]
            for container in workload.sizable
        }
        self._pods.learn(_pods(answered), answered.owners, this.workloads)
        for batch in answered.batches:
            # What is not there now (pods of Jobs made by hand, a container of an older template) would be forgotten at once.
            self.history.add(batch, [key if (key := self._pods.key_of(series)) in there else None for series in batch.series])
        for kill in answered.oom_kills:
            self._oom.learn(self._pods.key_of(kill.series), at=kill.at, memory_limit=kill.memory_limit)
        for namespace in namespaces:
            self._learnt[namespace] = joined((*self._learnt.get(namespace, ()), span))
            if not answered.question.kills_only:
                self.history.mark_read(namespace, span)
        this.answered.update(namespaces)
        if this.is_newest(answered.question):
            self._hear(this, answered)
        elif this.in_past:
            this.past_answered.update(namespaces)

    def _hear(self, this: _Round, answered: Answered) -> None:
        """The newest usage of these namespaces, or none."""
        for namespace in answered.question.namespaces:
            self._heard.add(namespace)
            if self._pods.source_of(namespace) is OwnerSource.API_AND_NAMES:
                for key, at, limit in self._pods.oom_kills_of_pods(namespace):
                    self._oom.learn(key, at=at, memory_limit=limit)
        for namespace, error in self._silence.listen(answered, this.workloads, now=this.now).items():
            self._fail(this, [namespace], error)

    def _fail(self, this: _Round, namespaces: Collection[str], error: UsageSourceError) -> None:
        logger.warning("usage of %s could not be read: %s", _named(namespaces), error)
        this.failed.update(dict.fromkeys(namespaces, trouble_of(error)))

    def _conclude(self, this: _Round) -> None:
        """A trouble is over when something was read without a new one, and the newest slot is known."""
        newest = Span(this.wanted.end, this.wanted.end)
        unknown = {namespace for namespace in this.workloads if self.history.missing(namespace, newest)}
        # What failed too often is not asked for any more, also not for the newest slot.
        this.failed.update({name: trouble_of(error) for name, error in this.past_failed.items() if name in unknown})
        for namespace in this.answered - this.failed.keys() - unknown:
            self._trouble.pop(namespace, None)
        self._trouble.update(this.failed)
        self._conclude_past(this)

    def _conclude_past(self, this: _Round) -> None:
        """Of a namespace whose newest slot is not known either, it is not the past that is to blame."""
        for namespace, error in this.past_failed.items():
            if namespace not in this.failed:
                unread = [span for span in self._unread(namespace, this) if span.end != this.wanted.end]
                self._unreadable.failed(namespace, error, unread=unread, progress=namespace in this.past_answered, now=this.now)
        for namespace in this.past_answered - this.past_failed.keys():
            self._unreadable.answered(namespace, now=this.now)


def _pods(answered: Answered) -> set[PodName]:
    series = [*(kill.series for kill in answered.oom_kills), *(one for batch in answered.batches for one in batch.series)]
    return {(one.namespace, one.pod) for one in series}


def _named(namespaces: Collection[str]) -> str:
    names = sorted(namespaces)
    if len(names) == 1:
        return f"namespace {names[0]}"
    return f"{len(names)} namespaces ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
