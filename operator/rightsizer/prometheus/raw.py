"""Usage from raw chunks: the server only copies what it has stored, and the values of the slots are formed here, by PromQL's rules.

Several times cheaper for the server than any query over the same samples. Not every server hands out raw chunks; where it does not,
None tells the caller to ask by PromQL, and it is asked no more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rightsizer.errors import UsageAnswerInvalid, UsageNotRaw, UsageSourceOverloaded, UsageSourceRefused, UsageSourceUnreachable
from rightsizer.history import SLOT_SECONDS, Span
from rightsizer.prometheus import chunks
from rightsizer.prometheus.answer import Series
from rightsizer.prometheus.chunk_stream import CHUNKS_PER_BATCH, CONTENT_TYPE, RawBatch, batches
from rightsizer.prometheus.connection import Connection, Reading
from rightsizer.prometheus.read_request import HEADERS, PATH, matchers, read_request
from rightsizer.prometheus.slots import RawSeries, SlotValues, Statistic

logger = logging.getLogger(__name__)

FEWEST_SLOTS = 24
"""Two hours, which is what a chunk holds at a scrape interval of 60 s: for less, more would be copied than the values weigh."""

# Prometheus begins a new chunk at each multiple of it: a chunk that lies wholly within what is asked for is copied, any other is decoded
# and written anew.
_CHUNK_BOUNDARY_MS = 2 * 3600 * 1000

# The words of servers that know nothing of it, or not of this encoding of the question. Others may mean this question only, or this moment.
_NOT_OFFERED = frozenset({400, 404, 405, 406, 415, 501})

MOST_VALUES = 4_000_000
"""Series times slots of one answer, 32 MB. Only pods that lived shortly can be so many more than there were when the question was made."""

_Rows = dict[tuple[str, ...], NDArray[np.float64]]
"""By the group of a series (see `_group`), the values of all slots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawQuestion:
    """A statistic per slot of the series that a selector names, the largest of those that agree in `labels`; None: of each by itself."""

    selector: str
    statistic: Statistic
    range_seconds: int
    labels: Sequence[str] | None
    span: Span


class RawChunks:
    """Asks one server for raw chunks, for as long as it hands them out."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._offered = True
        self._refused = False

    def ask(self, question: RawQuestion) -> Iterator[Series] | None:
        """One series for each set of `labels`; None where the question has to be asked by PromQL. Raises UsageSourceError."""
        if not self._offered:
            return None
        try:
            start_ms, end_ms = _bounds(question)
            reading = Reading(
                path=PATH,
                body=read_request(matchers(question.selector), start_ms=start_ms, end_ms=end_ms),
                headers=HEADERS,
                content_type=CONTENT_TYPE,
                read=lambda pieces: _read(pieces, question),
            )
            return _series(self._connection.stream(reading, kind="raw"), question.labels, question.span)
        except UsageNotRaw as error:
            self._give_up(error)
        except UsageAnswerInvalid as error:
            # Some versions put the words of their trouble into the stream; a query tells them better, or works.
            logger.warning("asking by a query, as raw chunks could not be read: %s", error)
        except UsageSourceUnreachable as error:
            # A proxy may cut off this path only; if not, the query tells.
            logger.info("asking by a query, as raw chunks did not come: %s", error)
        except UsageSourceOverloaded:
            raise
        except UsageSourceRefused as error:
            # PromQL may be allowed or working where this is not; if not, its own error is the one to be told.
            if error.status in _NOT_OFFERED:
                self._give_up(error)
            elif not self._refused:
                self._refused = True
                logger.info("asking by a query, as raw chunks were refused: %s", error)
        return None

    def _give_up(self, error: Exception) -> None:
        if self._offered:
            self._offered = False
            logger.info("no raw chunks from this server, so the past is read by queries: %s", error)


def shares(series: Iterable[Series], *, part: str, whole: str, labels: Sequence[str], span: Span) -> Iterator[Series]:
    """`(part > 0) / whole` of two metrics, series by series as all their other labels agree, and of that the largest by `labels`.

    The series are those of a question without `labels`.
    """
    of_metric: dict[str, dict[frozenset[tuple[str, str]], Series]] = {part: {}, whole: {}}
    for one in series:
        others = frozenset(pair for pair in one.labels.items() if pair[0] != "__name__")
        of_metric[one.labels["__name__"]][others] = one
    rows: _Rows = {}
    for others, found in of_metric[part].items():
        above = found.values > 0
        if (all_of_it := of_metric[whole].get(others)) is None or not above.any():
            continue
        times, at_part, at_whole = np.intersect1d(found.times[above], all_of_it.times, assume_unique=True, return_indices=True)
        slots = ((times - span.start) // SLOT_SECONDS).astype(np.int64)
        _put(rows, _group(found.labels, labels), slots, found.values[above][at_part] / all_of_it.values[at_whole], span)
    return _series(rows, labels, span)


def _bounds(question: RawQuestion) -> tuple[int, int]:
    """From where to where (unix milliseconds, both included) chunks are wanted: up to the next boundaries of chunks."""
    span = question.span
    begin = (span.start - question.range_seconds) * 1000 // _CHUNK_BOUNDARY_MS * _CHUNK_BOUNDARY_MS
    end = span.end * 1000
    # A sample at the very end of the last slot belongs to it, and is alone in its chunk.
    return begin, end if end % _CHUNK_BOUNDARY_MS == 0 else (end // _CHUNK_BOUNDARY_MS + 1) * _CHUNK_BOUNDARY_MS - 1


def _read(pieces: Iterator[bytes], question: RawQuestion) -> _Rows:
    span = question.span
    rows: _Rows = {}
    for batch in batches(pieces, chunks_per_batch=CHUNKS_PER_BATCH):
        found = _slot_values(batch, question)
        slots = (found.times - span.start) // SLOT_SECONDS
        bounds = np.searchsorted(found.series, np.arange(len(batch.labels) + 1)).tolist()
        for labels, begin, end in zip(batch.labels, bounds, bounds[1:], strict=False):
            if begin < end:
                _put(rows, _group(labels, question.labels), slots[begin:end], found.values[begin:end], span)
        check_size(len(rows), span)
    return rows


def check_size(series: int, span: Span) -> None:
    """Raises UsageSourceOverloaded where the answer has so many series that it is to be asked for in smaller parts."""
    if series * span.slots > MOST_VALUES:
        raise UsageSourceOverloaded(200, f"{series} series and more over {span.slots} slots are too many for one answer")


def _put(rows: _Rows, group: tuple[str, ...], slots: NDArray[np.int64], values: NDArray[np.float64], span: Span) -> None:
    """As `max by` does it: NaN only where all are."""
    if (row := rows.get(group)) is None:
        row = rows[group] = np.full(span.slots, np.nan)
    row[slots] = np.fmax(row[slots], values)


def _series(rows: _Rows, labels: Sequence[str] | None, span: Span) -> Iterator[Series]:
    """Lets go of each row with the series that is made of it."""
    times = span.start + SLOT_SECONDS * np.arange(span.slots, dtype=np.float64)
    while rows:
        group, row = rows.popitem()
        there = ~np.isnan(row)
        named = zip(group[::2], group[1::2], strict=True) if labels is None else zip(labels, group, strict=True)
        yield Series(dict(named), times[there], row[there])


def _slot_values(batch: RawBatch, question: RawQuestion) -> SlotValues:
    samples = chunks.decode(batch.body, np.array(batch.starts, dtype=np.int64), np.array(batch.sizes, dtype=np.int64))
    first_chunks = np.cumsum([0, *batch.chunks])
    before = np.concatenate([[0], np.cumsum(samples.counts)])
    raw = RawSeries(samples.times, samples.values, np.diff(before[first_chunks]))
    return question.statistic(raw, question.span, question.range_seconds)


def _group(labels: Mapping[str, str], names: Sequence[str] | None) -> tuple[str, ...]:
    """The values of these labels; for None, names and values of all of them."""
    if names is None:
        return tuple(text for pair in sorted(labels.items()) for text in pair)
    return tuple(labels.get(name, "") for name in names)
