"""The history of many containers: takes answers of the usage source apart by container, and gives windows of several containers back.

Values of several pods become those of the busiest pod here, because a request has to fit each pod. How values are kept is the ring's
and the codec's matter; where they come from and what they are used for is not known.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rightsizer.history.codec import UsageCodes, decode_pods, decode_usage, encode_pods, encode_usage
from rightsizer.history.ring import Ring, Rows
from rightsizer.history.usage import SLOT_SECONDS, Span, UsageBatch, UsageWindow
from rightsizer.workload import ContainerKey

# The row of every container that is not known: never written, so it reads as nothing known.
_BLANK_ROW = 0


class History:
    """5-minute values of the last `slots` slots per container. Grows with the containers it is told of and reuses what it forgets.

    Values are off by at most 0.05 %; whole numbers up to 2,048 and memory like 320Mi are exact.
    """

    def __init__(self, *, slots: int) -> None:
        self._ring = Ring(slots=slots)
        self._ring.reserve(_BLANK_ROW + 1)
        self._rows: dict[ContainerKey, int] = {}
        self._free: list[int] = []
        self._newest: dict[int, int] = {}
        self._read: dict[str, Span] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def slots(self) -> int:
        return self._ring.slots

    @property
    def size(self) -> int:
        """Bytes of memory in use for values."""
        return self._ring.size

    def __iter__(self) -> Iterator[ContainerKey]:
        """The containers of which something is known."""
        return iter(self._rows)

    def newest(self, key: ContainerKey) -> int | None:
        """The slot of the last value of either resource that was seen of this container; None without one."""
        row = self._rows.get(key)
        return None if row is None else self._newest.get(row)

    def add(self, batch: UsageBatch, keys: Sequence[ContainerKey | None]) -> None:
        """Merge an answer; `keys` names the container behind each series, None for a series to leave out.

        Of several pods of one container the largest value counts, slot by slot. A batch should therefore have all pods of a
        container: where it has a value, that replaces what an earlier answer said of the slot (late samples make it more complete),
        where it has none, the earlier value stays. The number of pods is that of the pods with a memory value; CPU leaves it alone.
        Slots older than the ring are passed over; NaN, infinity and negative values are no values. Raises ValueError when the
        shapes do not fit.
        """
        _check(batch, keys)
        codes = encode_usage(batch.values)
        used = [index for index in np.flatnonzero(codes.any(axis=1)).tolist() if keys[index] is not None]
        if not used:
            return
        rows = [self._row_of(key) for index in used if (key := keys[index]) is not None]
        pods = [(row, batch.series[index].pod) for row, index in zip(rows, used, strict=True)]
        self._merge(batch, pods, codes[used])

    def _row_of(self, key: ContainerKey) -> int:
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = self._free.pop() if self._free else len(self._rows) + 1
            self._ring.reserve(row + 1)
        return row

    def _merge(self, batch: UsageBatch, pods: list[tuple[int, str]], codes: UsageCodes) -> None:
        """Reduce series to pods, then pods to containers, and put the outcome into the ring. `pods` is (row, pod) per series."""
        if len(set(pods)) < len(pods):
            codes = _largest(_numbered(pods), codes)[1]
            pods = list(dict.fromkeys(pods))
        pod_rows = np.array([row for row, _ in pods], dtype=np.intp)
        rows, largest = _largest(pod_rows, codes)
        last = _last_known(largest)
        self._ring.advance(batch.span.start + int(last.max()) * SLOT_SECONDS)
        self._ring.merge(batch.resource, rows, batch.span, largest)
        if batch.resource == "memory":
            self._ring.merge("pods", rows, batch.span, encode_pods(_count_known(pod_rows, codes)))
        for row, slot in zip(rows.tolist(), (batch.span.start + last * SLOT_SECONDS).tolist(), strict=True):
            self._newest[row] = max(slot, self._newest.get(row, slot))

    def window(self, keys: Sequence[ContainerKey], *, end: int, seconds: int) -> UsageWindow:
        """The last `seconds` up to the slot `end` for these containers (unknown ones: all NaN).

        Longer than the ring is cut to the ring. Raises ValueError for an `end` between slots or less than one slot.
        """
        slots = min(seconds // SLOT_SECONDS, self.slots)
        if slots < 1 or end % SLOT_SECONDS:
            raise ValueError(f"no window of {seconds} s ends at {end}: slots are {SLOT_SECONDS} s and end at multiples of that")
        span = Span(end - (slots - 1) * SLOT_SECONDS, end)
        rows = np.array([self._rows.get(key, _BLANK_ROW) for key in keys], dtype=np.intp)
        return UsageWindow(
            keys=tuple(keys),
            span=span,
            cpu=decode_usage(self._ring.read("cpu", rows, span)),
            memory=decode_usage(self._ring.read("memory", rows, span)),
            pods=decode_pods(self._ring.read("pods", rows, span)),
        )

    def read_span(self, namespace: str) -> Span | None:
        """What has been read from the usage source for this namespace so far; None: nothing."""
        return self._read.get(namespace)

    def mark_read(self, namespace: str, span: Span) -> None:
        """Note that a span was read. It extends what was read before; where a gap lies between, only the newer one counts."""
        before = self._read.get(namespace, span)
        if before.touches(span):
            self._read[namespace] = Span(min(before.start, span.start), max(before.end, span.end))
        elif span.end > before.end:
            self._read[namespace] = span

    def forget_all_but(self, keys: Collection[ContainerKey]) -> None:
        """Drop the histories of containers that are gone. A namespace of which nothing is left counts as not read again."""
        kept = set(keys)
        gone = [key for key in self._rows if key not in kept]
        rows = [self._rows.pop(key) for key in gone]
        self._ring.clear(np.array(rows, dtype=np.intp))
        self._free += rows
        for row in rows:
            self._newest.pop(row, None)
        for namespace in _namespaces(gone) - _namespaces(self._rows):
            self._read.pop(namespace, None)


def _namespaces(keys: Iterable[ContainerKey]) -> set[str]:
    return {key.workload.namespace for key in keys}


def _check(batch: UsageBatch, keys: Sequence[ContainerKey | None]) -> None:
    expected = (len(keys), batch.span.slots)
    if batch.values.shape != expected or len(batch.series) != len(keys):
        raise ValueError(f"{len(batch.series)} series with values of shape {batch.values.shape}, expected {expected}")
    if batch.span.start % SLOT_SECONDS or batch.span.end % SLOT_SECONDS:
        raise ValueError(f"{batch.span} does not start and end at multiples of {SLOT_SECONDS}")


def _numbered(items: Sequence[Hashable]) -> Rows:
    """Equal items as equal numbers, counted by first sight."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(item, len(numbers)) for item in items], dtype=np.intp)


def _grouped(groups: Rows) -> tuple[Rows, Rows]:
    """An order of the elements that puts groups together, ascending, and where in it each group starts."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    return order, np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))


def _largest(groups: Rows, codes: UsageCodes) -> tuple[Rows, UsageCodes]:
    """The groups in ascending order, and of each the largest code slot by slot. Codes keep the order of values, nothing known is 0."""
    order, starts = _grouped(groups)
    return groups[order[starts]], np.maximum.reduceat(codes[order], starts, axis=0)


def _count_known(groups: Rows, codes: UsageCodes) -> NDArray[np.int32]:
    """Of each group in ascending order, how many of its elements know something, slot by slot."""
    order, starts = _grouped(groups)
    counts: NDArray[np.int32] = np.add.reduceat(codes[order] != 0, starts, axis=0, dtype=np.int32)
    return counts


def _last_known(codes: UsageCodes) -> NDArray[np.intp]:
    """The last place of each row where something is known; each row knows something."""
    last: NDArray[np.intp] = codes.shape[1] - 1 - np.argmax(codes[:, ::-1] != 0, axis=1)
    return last
