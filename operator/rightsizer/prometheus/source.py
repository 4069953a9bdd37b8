"""The usage source of the cycle: questions from `promql`, asked over a `Connection`, answers as values of the ports.

It splits what is too long for one query, and it says which label or metric is missing. It does not know what the usage is used for.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rightsizer import promql
from rightsizer.errors import UsageAnswerInvalid, UsageSourceOverloaded, UsageSourceRefused
from rightsizer.history import SLOT_SECONDS, PodSeries, Span, UsageBatch, UsageKind, Values
from rightsizer.ports import Load, OomSeries, PodOwners
from rightsizer.prometheus.answer import Answer, Series
from rightsizer.prometheus.connection import Connection
from rightsizer.prometheus.raw import FEWEST_SLOTS, RawChunks, RawQuestion, check_size, shares
from rightsizer.prometheus.slots import peaks, rates
from rightsizer.promql import USUAL_LABELS, LabelNames, Scope
from rightsizer.settings import named
from rightsizer.workload import OwnerRef, ResourceName

logger = logging.getLogger(__name__)

MAX_POINTS_PER_SERIES = 11_000
"""Prometheus refuses more in one query."""

PODS_PER_QUERY = 200
"""Names in one query for memory limits."""

OOM_LOOK_BACK_SECONDS = 3600
"""How far before the span an OOM kill is looked for, so that one that was told before is not told again after a gap in the series."""

_MILLICORES_PER_CORE = 1000.0
_NO_OWNER = "<none>"


class Prometheus:
    """Implements `ports.UsageSource`. `extra_matchers` (`cluster="x"`) narrows every question to a part of a shared server.

    `labels` and `state_labels`: how the kubelet's metrics and kube-state-metrics are labelled there; nobody else has to know.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        extra_matchers: str = "",
        labels: LabelNames = USUAL_LABELS,
        state_labels: LabelNames = USUAL_LABELS,
    ) -> None:
        self._connection = connection
        self._raw = RawChunks(connection)
        self._lists_series = True
        self._everything = Scope(namespaces=(), extra_matchers=extra_matchers, labels=labels, state_labels=state_labels)
        self._labels = labels
        self._state_labels = state_labels
        self._told: set[str] = set()
        settings = (
            f"{named('prometheus_matchers')} {extra_matchers}" if extra_matchers else "",
            f"{named('prometheus_labels')} {','.join(labels.of_container)}" if labels != USUAL_LABELS else "",
        )
        self.narrowed_by = " and ".join(text for text in settings if text)

    def loads(self, namespaces: Sequence[str], *, at: int) -> Mapping[str, Load]:
        if not namespaces:
            return {}
        totals: Counter[tuple[str, str]] = Counter()
        samples: dict[str, int] = {}
        for series in self._ask_now(promql.loads(self._scope(namespaces)), kind="loads", at=at).series:
            namespace, count = series.labels.get(self._labels.namespace, ""), series.labels.get("samples", "")
            totals[series.labels.get("figure", ""), namespace] += int(series.values[0])
            if count.isdecimal():
                samples[namespace] = max(samples.get(namespace, 0), int(count))
        return {
            namespace: Load(
                series=totals["series", namespace],
                scrape_interval_seconds=interval,
                limited=totals["limited", namespace],
                recorded=("recorded", namespace) in totals,
            )
            for namespace, most in samples.items()
            if (interval := promql.scrape_interval_seconds(most)) is not None
        }

    def usage(
        self, kind: UsageKind, *, namespaces: Sequence[str], span: Span, scrape_interval_seconds: int, recorded: bool = False
    ) -> UsageBatch:
        metrics = promql.RECORDED_METRICS if recorded else promql.METRICS
        rows: dict[PodSeries, Values] = {}
        labels = self._labels.of_container
        for part in _parts(span) if namespaces else ():
            answer = self._usage(kind, self._scope(namespaces), part, scrape_interval_seconds, recorded=recorded)
            for series in self._complete(answer, labels, metric=metrics[kind]):
                row = rows.setdefault(_pod_series(series, labels), np.full(span.slots, np.nan, dtype=np.float32))
                check_size(len(rows), span)
                _fill(row, series, span, factor=_MILLICORES_PER_CORE if kind == "cpu" else 1.0)
        return _batch(kind, span, rows)

    def recorded(self, *, namespaces: Sequence[str], span: Span, scrape_interval_seconds: int) -> frozenset[str]:
        if not namespaces:
            return frozenset()
        query = promql.recorded_slots(self._scope(namespaces), slots=span.slots, scrape_interval_seconds=scrape_interval_seconds)
        answer = self._ask_now(query, kind="loads", at=span.end)
        return frozenset(series.labels.get(self._labels.namespace, "") for series in answer.series if series.values[0] >= span.slots)

    def pod_owners(self, *, namespaces: Sequence[str], span: Span) -> PodOwners:
        if not namespaces:
            return PodOwners({}, {})
        scope, seconds = self._scope(namespaces), span.slots * SLOT_SECONDS
        pods = self._owners(
            promql.pod_owners(scope, range_seconds=seconds),
            promql.pod_owner_selector(scope),
            self._state_labels.of_pod_owner,
            span=span,
            metric=promql.POD_OWNER_METRIC,
        )
        replica_sets = self._owners(
            promql.replica_set_owners(scope, range_seconds=seconds),
            promql.replica_set_owner_selector(scope),
            self._state_labels.of_replica_set_owner,
            span=span,
            metric=promql.REPLICA_SET_OWNER_METRIC,
        )
        # Where no pod is of a Job, the question is spared.
        jobs = self._job_owners(scope, span) if any(owner.kind == "Job" for owner in pods.values()) else {}
        return PodOwners(pods, replica_sets, jobs)

    def oom_kills(self, *, namespaces: Sequence[str], span: Span) -> list[OomSeries]:
        """A kill is told in the span in which it first shows, and a second one of the same container only when the pod is another."""
        if not namespaces:
            return []
        kills = self._first_shown(self._scope(namespaces), span)
        limits = self._memory_limits(namespaces, kills)
        return [OomSeries(series, at, _value_near(limits.get(series), at)) for series, at in kills]

    def close(self) -> None:
        self._connection.close()

    def _usage(self, kind: UsageKind, scope: Scope, span: Span, scrape_interval_seconds: int, *, recorded: bool) -> Iterable[Series]:
        """Long spans by raw chunks where the server hands them out, everything else by a query: the same values either way."""
        if span.slots >= FEWEST_SLOTS and not recorded:
            found = (
                self._raw_throttling(scope, span, scrape_interval_seconds)
                if kind == "throttled"
                else self._raw_usage(kind, scope, span, scrape_interval_seconds)
            )
            if found is not None:
                return found
        asked = promql.recorded_usage if recorded else promql.usage
        return self._ask_over(asked(kind, scope, scrape_interval_seconds=scrape_interval_seconds), span, kind=kind).series

    def _raw_usage(self, resource: ResourceName, scope: Scope, span: Span, scrape_interval_seconds: int) -> Iterable[Series] | None:
        question = RawQuestion(
            selector=promql.usage_selector(resource, scope),
            statistic=rates if resource == "cpu" else peaks,
            range_seconds=promql.usage_range_seconds(resource, scrape_interval_seconds),
            labels=scope.labels.of_container,
            span=span,
        )
        return self._raw.ask(question)

    def _raw_throttling(self, scope: Scope, span: Span, scrape_interval_seconds: int) -> Iterable[Series] | None:
        question = RawQuestion(
            selector=promql.throttling_selector(scope),
            statistic=rates,
            range_seconds=promql.cpu_range_seconds(scrape_interval_seconds),
            labels=None,
            span=span,
        )
        if (found := self._raw.ask(question)) is None:
            return None
        part, whole = promql.CFS_THROTTLED_METRIC, promql.CFS_PERIODS_METRIC
        return shares(found, part=part, whole=whole, labels=scope.labels.of_container, span=span)

    def _scope(self, namespaces: Sequence[str]) -> Scope:
        return replace(self._everything, namespaces=namespaces)

    def _ask_now(self, query: str, *, kind: str, at: int) -> Answer:
        return self._connection.ask("/api/v1/query", {"query": query, "time": str(at)}, kind=kind)

    def _ask_over(self, query: str, span: Span, *, kind: str, step_seconds: int = SLOT_SECONDS) -> Answer:
        form = {"query": query, "start": str(span.start), "end": str(span.end), "step": str(step_seconds)}
        return self._connection.ask("/api/v1/query_range", form, kind=kind)

    def _owners(self, query: str, selector: str, labels: Sequence[str], *, span: Span, metric: str) -> dict[tuple[str, str], OwnerRef]:
        answer = self._ask_labels(selector, span) or self._ask_now(query, kind="owners", at=span.end)
        found: dict[tuple[str, str], OwnerRef] = {}
        for series in self._complete(answer.series, labels, metric=metric, with_values=False):
            namespace, name, owner_kind, owner_name = (series.labels[label] for label in labels)
            found[namespace, name] = OwnerRef(owner_kind, owner_name)
        return found

    def _job_owners(self, scope: Scope, span: Span) -> dict[tuple[str, str], OwnerRef | None]:
        """Jobs without an owner too. Versions of kube-state-metrics differ in how they tell that: without the labels, or `<none>`."""
        labels, selector = self._state_labels.of_job, promql.job_owner_selector(scope)
        query = promql.job_owners(scope, range_seconds=span.slots * SLOT_SECONDS)
        answer = self._ask_labels(selector, span) or self._ask_now(query, kind="owners", at=span.end)
        found: dict[tuple[str, str], OwnerRef | None] = {}
        for series in self._complete(answer.series, labels, metric=promql.JOB_OWNER_METRIC, with_values=False):
            kind, name = (series.labels.get(label, "") for label in ("owner_kind", "owner_name"))
            namespace, job = (series.labels[label] for label in labels)
            found[namespace, job] = OwnerRef(kind, name) if kind and name and _NO_OWNER not in (kind, name) else None
        return found

    def _ask_labels(self, selector: str, span: Span) -> Answer | None:
        """The labels of the series within a long span: the server looks into its index only, and into no samples. None where it cannot."""
        if span.slots < FEWEST_SLOTS or not self._lists_series:
            return None
        form = {"match[]": selector, "start": str(span.start - SLOT_SECONDS), "end": str(span.end)}
        try:
            return self._connection.ask("/api/v1/series", form, kind="owners")
        except UsageSourceOverloaded:
            raise
        except (UsageSourceRefused, UsageAnswerInvalid) as error:
            self._lists_series = False
            logger.info("this server does not list series, so owners are read by queries: %s", error)
            return None

    def _first_shown(self, scope: Scope, span: Span) -> list[tuple[PodSeries, int]]:
        """Containers with an OOM kill, and the first slot of the span that shows it, unless it showed before the span."""
        first: dict[tuple[PodSeries, str], int] = {}
        labels = self._state_labels.of_container
        for part in _parts(Span(span.start - OOM_LOOK_BACK_SECONDS, span.end)):
            answer = self._ask_over(promql.oom_kills(scope), part, kind="oom")
            for series in self._complete(answer.series, labels, metric=promql.OOM_METRICS[0]):
                first.setdefault((_pod_series(series, labels), series.labels.get("uid", "")), int(series.times[0]))
        return sorted((series, at) for (series, _), at in first.items() if at >= span.start)

    def _memory_limits(self, namespaces: Sequence[str], kills: Sequence[tuple[PodSeries, int]]) -> Mapping[PodSeries, Mapping[int, float]]:
        """Limits in bytes by slot, of the containers of the killed pods, around the times of the kills."""
        limits: dict[PodSeries, dict[int, float]] = {}
        labels = self._state_labels.of_container
        pods = sorted({series.pod for series, _ in kills})
        for index in range(0, len(pods), PODS_PER_QUERY):
            named = pods[index : index + PODS_PER_QUERY]
            times = [at for series, at in kills if series.pod in named]
            query = promql.memory_limits(self._scope(namespaces), pods=named)
            for part in _parts(Span(min(times) - 2 * SLOT_SECONDS, max(times))):
                answer = self._ask_over(query, part, kind="oom")
                for series in self._complete(answer.series, labels, metric=promql.MEMORY_LIMIT_METRICS[0]):
                    by_slot = zip(series.times.astype(int).tolist(), series.values.tolist(), strict=True)
                    limits.setdefault(_pod_series(series, labels), {}).update(by_slot)
        return limits

    def _complete(self, answer: Iterable[Series], labels: Sequence[str], *, metric: str, with_values: bool = True) -> Iterator[Series]:
        """The series that have all labels, and values where they matter.

        Those without a label are told once; UsageAnswerInvalid where no series has them all.
        """
        absent: set[str] = set()
        complete = False
        for series in answer:
            lacking = [label for label in labels if not series.labels.get(label)]
            absent.update(lacking)
            complete = complete or not lacking
            if not lacking and (len(series.values) or not with_values):
                yield series
        if absent:
            text = f"{metric}: series without the label {' and '.join(sorted(absent))}"
            self._tell_absent(f"{text}{self._where_called(absent, metric)}", fatal=not complete)

    def _where_called(self, absent: set[str], metric: str) -> str:
        """The setting that says what these labels are called; nothing for those that are called the same everywhere."""
        of_state = metric.startswith("kube_")
        if not absent.intersection((self._state_labels if of_state else self._labels).of_container):
            return ""
        return f" ({named('prometheus_kube_state_labels' if of_state else 'prometheus_labels')} says what it is called)"

    def _tell_absent(self, text: str, *, fatal: bool) -> None:
        if fatal:
            raise UsageAnswerInvalid(text)
        if text not in self._told:
            self._told.add(text)
            logger.warning("left out: %s", text)


def _parts(span: Span) -> Iterator[Span]:
    step = MAX_POINTS_PER_SERIES * SLOT_SECONDS
    for start in range(span.start, span.end + 1, step):
        yield Span(start, min(start + step - SLOT_SECONDS, span.end))


def _pod_series(series: Series, labels: tuple[str, str, str]) -> PodSeries:
    namespace, pod, container = labels
    return PodSeries(series.labels[namespace], series.labels[pod], series.labels[container])


def _fill(row: Values, series: Series, span: Span, *, factor: float) -> None:
    """Puts the values into their slots; what is not finite stays NaN, and what lies outside the span is left out."""
    slots = (series.times - span.start) / SLOT_SECONDS
    if np.any(slots != np.floor(slots)):
        raise UsageAnswerInvalid("the answer holds values at times that were not asked for")
    wanted = np.isfinite(series.values) & (slots >= 0) & (slots < len(row))
    row[slots[wanted].astype(np.intp)] = series.values[wanted] * factor


def _batch(kind: UsageKind, span: Span, rows: dict[PodSeries, Values]) -> UsageBatch:
    """Takes the rows over one by one, so that they are not in memory twice."""
    names = tuple(sorted(rows))
    values = np.empty((len(names), span.slots), dtype=np.float32)
    for number, name in enumerate(names):
        values[number] = rows.pop(name)
    return UsageBatch(kind, span, names, values)


def _value_near(values: Mapping[int, float] | None, at: int) -> int | None:
    """The value at a slot, else the last one before it, else the first one after it."""
    usable = {time: value for time, value in (values or {}).items() if np.isfinite(value)}
    if not usable:
        return None
    before = [time for time in usable if time <= at]
    return round(usable[max(before) if before else min(usable)])
