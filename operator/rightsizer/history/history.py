"""The history of many containers: takes answers of the usage source apart by container, and gives windows of several containers back.

Values of several pods become those of the busiest pod here, because a request has to fit each pod. How values are kept is the ring's
and the codec's matter, where they survive a restart is the folder's; where they come from and what they are used for is not known.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rightsizer.history.codec import decode_pods, decode_share, decode_usage, encode_pods, encode_share, encode_usage
from rightsizer.history.folder import open_folder
from rightsizer.history.index import BLANK_ROW
from rightsizer.history.reduction import count_known, largest, last_known, mean_known, numbered
from rightsizer.history.ring import Ring, shapes
from rightsizer.history.spans import Spans, not_before
from rightsizer.history.usage import SLOT_SECONDS, Span, UsageBatch, UsageWindow
from rightsizer.workload import ContainerKey

logger = logging.getLogger(__name__)


class History:
    """5-minute values of the last `slots` slots per container. Grows with the containers it is told of and reuses what it forgets.

    Values are off by at most 0.05 %; whole numbers up to 2,048 and memory like 320Mi are exact; shares of throttled periods are off by
    at most 0.004. With a folder, what was added survives the end of the process in any way, once `save` was called after it; without
    one, or when it cannot be used (`trouble`), it is in memory only. `origin` says what decides the values, by name: where any of it
    differs from what a folder was filled under, the folder is emptied. Not for several threads at once.
    """

    def __init__(self, *, slots: int, folder: Path | None = None, origin: Mapping[str, str] = MappingProxyType({})) -> None:
        if slots < 1:
            raise ValueError(f"a history needs at least one slot, not {slots}")
        opened = open_folder(folder, slots=slots, shapes=shapes(slots), origin=origin)
        self._storage, self._index, self._folder = opened.storage, opened.index, opened.folder
        self._open_trouble = opened.trouble
        self._save_trouble: str | None = None
        self._ring = Ring(self._storage, slots=slots)
        self._ring.reserve(BLANK_ROW + 1)

    def __len__(self) -> int:
        return len(self._index.rows)

    def __iter__(self) -> Iterator[ContainerKey]:
        """The containers of which something is known."""
        return iter(self._index.rows)

    @property
    def slots(self) -> int:
        return self._ring.slots

    @property
    def size(self) -> int:
        """Bytes in use for values, in memory or in files."""
        return self._ring.size

    @property
    def trouble(self) -> str | None:
        """Why the history will not survive a restart as it should; None when it will, or when nobody asked for it."""
        return self._open_trouble or self._storage.trouble or self._save_trouble

    @property
    def has_throttling(self) -> bool:
        """Whether there may be a throttled share of any container. While there is none, asking for it is of no use."""
        return self._ring.written("throttled")

    def newest(self, key: ContainerKey) -> int | None:
        """The slot of the last CPU or memory value that was seen of this container; None without one."""
        row = self._index.rows.get(key)
        return None if row is None else self._ring.last_seen(row)

    def known_since(self, key: ContainerKey) -> int | None:
        """The slot from which on this container is known, where it was forgotten and came back; None where nothing is left out.

        What was marked as read before that slot says nothing of it. `read_again` makes up for it.
        """
        since, oldest = self._index.known_since(key), self._ring.oldest
        return None if since is None or (oldest is not None and since <= oldest) else since

    def add(self, batch: UsageBatch, keys: Sequence[ContainerKey | None]) -> None:
        """Merge an answer; `keys` names the container behind each series, None for a series to leave out.

        Of several pods of one container the largest value counts, slot by slot. A batch should therefore have all pods of a
        container: where it has a value, that replaces what an earlier answer said of the slot (late samples make it more complete),
        where it has none, the earlier value stays. The number of pods is that of the pods with a memory value; CPU leaves it alone.
        Slots older than the ring are passed over; NaN, infinity and negative values are no values. Raises ValueError when the
        shapes do not fit.
        """
        _check(batch, keys)
        codes: NDArray[Any] = encode_share(batch.values) if batch.resource == "throttled" else encode_usage(batch.values)
        used = [index for index in np.flatnonzero(codes.any(axis=1)).tolist() if keys[index] is not None]
        if not used:
            return
        found = [key for index in used if (key := keys[index]) is not None]
        self._make_rows(found, since=batch.span.start)
        pods = [(self._index.rows[key], batch.series[index].pod) for key, index in zip(found, used, strict=True)]
        self._merge(batch, pods, codes if len(used) == len(codes) else codes[used])

    def _make_rows(self, keys: Sequence[ContainerKey], *, since: int) -> None:
        rows = self._index.hand_out(keys, since=since)
        if rows:
            self._ring.clear(np.array([row for row in rows if row < self._ring.rows], dtype=np.intp))
            self._ring.reserve(max(rows) + 1)

    def _merge(self, batch: UsageBatch, pods: list[tuple[int, str]], codes: NDArray[Any]) -> None:
        """Reduce series to pods, then pods to containers, and put the outcome into the ring. `pods` is (row, pod) per series."""
        if len(set(pods)) < len(pods):
            codes = largest(numbered(pods), codes)[1]
            pods = list(dict.fromkeys(pods))
        pod_rows = np.array([row for row, _ in pods], dtype=np.intp)
        rows, most = largest(pod_rows, codes)
        last = last_known(most)
        self._ring.advance(batch.span.start + int(last.max()) * SLOT_SECONDS)
        self._ring.merge(batch.resource, rows, batch.span, most)
        if batch.resource == "throttled":
            return
        if batch.resource == "memory":
            self._ring.merge("pods", rows, batch.span, encode_pods(count_known(pod_rows, codes)))
        else:
            self._ring.merge("cpu_mean", rows, batch.span, mean_known(pod_rows, codes))
        self._ring.see(rows, batch.span.start + last * SLOT_SECONDS)

    def window(
        self,
        keys: Sequence[ContainerKey],
        *,
        end: int,
        seconds: int,
        throttled: bool = False,
        mean: bool = False,
        details: bool = False,
    ) -> UsageWindow:
        """The last `seconds` up to the slot `end` for these containers (unknown ones: all NaN).

        `throttled` asks for the throttled share as well, `mean` for the mean CPU, `details` for both. Longer than the ring is cut to
        the ring.
        Raises ValueError for an `end` between slots or less than one slot.
        """
        slots = min(seconds // SLOT_SECONDS, self.slots)
        if slots < 1 or end % SLOT_SECONDS:
            raise ValueError(f"no window of {seconds} s ends at {end}: slots are {SLOT_SECONDS} s and end at multiples of that")
        span = Span(end - (slots - 1) * SLOT_SECONDS, end)
        rows = np.array([self._index.rows.get(key, BLANK_ROW) for key in keys], dtype=np.intp)
        return UsageWindow(
            keys=tuple(keys),
            span=span,
            cpu=decode_usage(self._ring.read("cpu", rows, span)),
            memory=decode_usage(self._ring.read("memory", rows, span)),
            pods=decode_pods(self._ring.read("pods", rows, span)),
            cpu_mean=decode_usage(self._ring.read("cpu_mean", rows, span)) if mean or details else None,
            throttled=decode_share(self._ring.read("throttled", rows, span)) if throttled or details else None,
        )

    def read_spans(self, namespace: str) -> Spans:
        """What has been read from the usage source for this namespace and is still in the ring, oldest first, as few spans as possible."""
        oldest = self._ring.oldest
        spans = self._index.read(namespace)
        return spans if oldest is None else not_before(spans, oldest)

    def read_span(self, namespace: str) -> Span | None:
        """The newest span without a gap of what has been read; None: nothing."""
        spans = self.read_spans(namespace)
        return spans[-1] if spans else None

    def mark_read(self, namespace: str, span: Span) -> None:
        """Note that a span was read, whether there were values or not."""
        newest = max(self._ring.newest or span.end, span.end)
        self._index.mark_read(namespace, span, oldest=newest - (self.slots - 1) * SLOT_SECONDS)

    def missing(self, namespace: str, wanted: Span) -> Spans:
        """What of a span is still to be read for this namespace, newest first."""
        return self._index.missing(namespace, wanted)

    def read_again(self, namespace: str) -> None:
        """Count nothing of this namespace as read. Values stay; its containers will be known as far back as it is read again."""
        self._index.unread(namespace)

    def forget_all_but(self, keys: Collection[ContainerKey]) -> None:
        """Drop the histories of containers that are gone. A namespace of which nothing is left counts as not read again."""
        kept = set(keys)
        gone = [key for key in self._index.rows if key not in kept]
        self._index.forget(gone, at=self._ring.newest or 0)
        if not self._storage.in_files:
            self._index.reuse_rows()

    def save(self) -> None:
        """Have what was added, read and forgotten survive this process; cheap where nothing changed. Never raises: see `trouble`."""
        if self._ring.oldest is not None:
            self._index.expire(self._ring.oldest)
        if self._folder is None or not self._storage.in_files or not self._index.changed:
            return
        try:
            self._folder.save(self._index, self._storage)
        except OSError as error:
            self._note_save_trouble(error)
        else:
            self._save_trouble = None
            self._index.changed = False
            self._index.reuse_rows()

    def _note_save_trouble(self, error: OSError) -> None:
        trouble = f"the history cannot be saved: {error}"
        if trouble != self._save_trouble:
            logger.warning("%s", trouble)
        self._save_trouble = trouble

    def close(self) -> None:
        """Save, bring all to the disk, and let others use the folder. The history is not to be used after."""
        if self._folder is None:
            return
        try:
            if self._storage.in_files:
                self._folder.finish(self._index, self._storage)
        except OSError as error:
            self._note_save_trouble(error)
        self._storage.close()
        self._folder.unlock()
        self._folder = None


def _check(batch: UsageBatch, keys: Sequence[ContainerKey | None]) -> None:
    expected = (len(keys), batch.span.slots)
    if batch.values.shape != expected or len(batch.series) != len(keys):
        raise ValueError(f"{len(batch.series)} series with values of shape {batch.values.shape}, expected {expected}")
    if batch.span.start % SLOT_SECONDS or batch.span.end % SLOT_SECONDS:
        raise ValueError(f"{batch.span} does not start and end at multiples of {SLOT_SECONDS}")
