"""Arrays of a fixed number of slots per row, used in a circle: the slot `t` stands in the column (t / 300) modulo the columns.

Each array is there twice. The newest slots of all rows stand together in a small ring ("fresh") and are folded into the long one some
hours at a time: a refresh would otherwise touch a page of every row. The numbers `newest` and `folded` say what is where:

    slots           (newest - all slots, folded]     (folded, newest]
    stand in        the long ring                    the fresh ring

Every step keeps that true at each moment, in this order: columns that are in neither range are cleared or written, then `folded` and
`newest` move, then values are put in. So a process may die anywhere and what it leaves behind is never a round too old.
A row is a number; what it stands for, and what the codes in it mean except that 0 is nothing known, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rightsizer.history.head import NONE, HeadField
from rightsizer.history.storage import BLOCK_ROWS, MappedArray, Shape, Storage, blocks
from rightsizer.history.usage import SLOT_SECONDS, Span

ArrayName = Literal["cpu", "cpu_mean", "memory", "pods", "throttled"]
Rows = NDArray[np.intp]

FRESH_SLOTS = 48
"""4 hours: 4 MB for 10,000 containers, and six times a day all pages are written."""

STAYING_SLOTS = 4
"""How many of the newest slots stay in the fresh ring when it is folded, because they are asked for again."""

_TYPES: dict[ArrayName, type[np.unsignedinteger[Any]]] = {
    "cpu": np.uint16,
    "cpu_mean": np.uint16,
    "memory": np.uint16,
    "pods": np.uint8,
    "throttled": np.uint8,
}
_LAST = "last"


def shapes(slots: int) -> dict[str, Shape]:
    """The arrays that a ring of so many slots keeps, in an order that does not change: files are told by it."""
    fresh = min(FRESH_SLOTS, slots)
    found = {_LAST: Shape(1, np.uint32, resident=True)}
    for name, dtype in _TYPES.items():
        found[f"{name}.long"] = Shape(slots, dtype)
        found[f"{name}.fresh"] = Shape(fresh, dtype, resident=True)
    return found


@dataclass(frozen=True, slots=True)
class _Part:
    """Some columns of an array, and the places in a span that they stand for."""

    array: MappedArray
    columns: slice
    places: slice


class Ring:
    """The arrays, and up to which slot time has moved on. Arrays that were never written take no room."""

    def __init__(self, storage: Storage, *, slots: int) -> None:
        self.slots = slots
        self._fresh_slots = min(FRESH_SLOTS, slots)
        self._storage = storage

    @property
    def newest(self) -> int | None:
        number = self._storage.head[HeadField.NEWEST]
        return None if number == NONE else number * SLOT_SECONDS

    @property
    def oldest(self) -> int | None:
        """The oldest slot that is kept."""
        return None if self.newest is None else self.newest - (self.slots - 1) * SLOT_SECONDS

    @property
    def rows(self) -> int:
        """Rows in use are below this number."""
        return self._storage.head[HeadField.USED]

    @property
    def size(self) -> int:
        """Bytes of the rows in use, wherever they are kept."""
        return self.rows * self._storage.row_bytes

    @property
    def _folded(self) -> int:
        return self._storage.head[HeadField.FOLDED] * SLOT_SECONDS

    def reserve(self, rows: int) -> None:
        """Make the rows below this number usable. New ones are empty."""
        if rows > self.rows:
            self._storage.reserve(rows)
            self._storage.head[HeadField.USED] = rows

    def advance(self, slot: int) -> None:
        """Move time on to this slot, if it is newer: what the slots that are new now held a round before is forgotten."""
        newest = self.newest
        staying = slot - min(STAYING_SLOTS, self._fresh_slots) * SLOT_SECONDS
        if newest is None:
            self._set(HeadField.FOLDED, staying)
        elif slot <= newest:
            return
        else:
            if slot - self._folded > self._fresh_slots * SLOT_SECONDS:
                self._fold(staying, newest=newest)
            self._clear_fresh(Span(max(newest, self._folded) + SLOT_SECONDS, slot))
        self._set(HeadField.NEWEST, slot)

    def _set(self, field: HeadField, slot: int) -> None:
        self._storage.head[field] = slot // SLOT_SECONDS

    def _fold(self, upto: int, *, newest: int) -> None:
        """Put the fresh slots up to this one into the long ring. Slots after the newest one become empty there."""
        span = Span(max(self._folded, upto - self.slots * SLOT_SECONDS) + SLOT_SECONDS, upto)
        fresh_span = Span(span.start, min(upto, newest))
        for name, dtype in _TYPES.items():
            long, fresh = self._storage.get(f"{name}.long"), self._storage.get(f"{name}.fresh")
            if long is None or fresh is None:
                continue
            for rows in blocks(self.rows):
                codes = np.zeros((rows.stop - rows.start, span.slots), dtype=dtype)
                for columns, places in _pieces(fresh_span, columns=self._fresh_slots):
                    codes[:, places] = fresh.array[rows, columns]
                for columns, places in _pieces(span, columns=self.slots):
                    long.array[rows, columns] = codes[:, places]
                long.release()
        self._set(HeadField.FOLDED, upto)

    def _clear_fresh(self, span: Span) -> None:
        for name in _TYPES:
            if (fresh := self._storage.get(f"{name}.fresh")) is not None:
                for columns, _ in _pieces(span, columns=self._fresh_slots):
                    fresh.array[: self.rows, columns] = 0

    def merge(self, name: ArrayName, rows: Rows, span: Span, codes: NDArray[Any]) -> None:
        """Put codes of shape (rows, span.slots) in place of what is there, but leave it where they know nothing. No row twice.

        Slots that are not in the ring, on either side, are passed over: `advance` comes first.
        """
        for kind in ("long", "fresh"):
            self._storage.make(f"{name}.{kind}")
        for part in self._parts(name, span):
            for block in blocks(len(rows)):
                place = (rows[block], part.columns)
                new = codes[block, part.places]
                part.array.array[place] = np.where(new != 0, new, part.array.array[place])
                part.array.release()

    def written(self, name: ArrayName) -> bool:
        """Whether anything was ever put into this array."""
        return self._storage.get(f"{name}.long") is not None or self._storage.get(f"{name}.fresh") is not None

    def read(self, name: ArrayName, rows: Rows, span: Span) -> NDArray[Any]:
        """Codes of shape (rows, span.slots), 0 outside of the ring."""
        codes = np.zeros((len(rows), span.slots), dtype=_TYPES[name])
        for part in self._parts(name, span):
            for block in blocks(len(rows)):
                codes[block, part.places] = part.array.array[rows[block], part.columns]
                part.array.release()
        return codes

    def _parts(self, name: ArrayName, span: Span) -> Iterator[_Part]:
        """Where the slots of a span stand, as far as they are in the ring."""
        newest, oldest, folded = self.newest, self.oldest, self._folded
        if newest is None or oldest is None:
            return
        for kind, first, last, width in (
            ("long", oldest, min(folded, newest), self.slots),
            ("fresh", folded + SLOT_SECONDS, newest, self._fresh_slots),
        ):
            array = self._storage.get(f"{name}.{kind}")
            inside = Span(max(span.start, first), min(span.end, last))
            if array is None:
                continue
            offset = (inside.start - span.start) // SLOT_SECONDS
            for columns, places in _pieces(inside, columns=width):
                yield _Part(array, columns, slice(places.start + offset, places.stop + offset))

    def see(self, rows: Rows, slots: NDArray[np.int64]) -> None:
        """Note the last slot with a value of each row. No row twice."""
        last = self._storage.make(_LAST).array
        last[rows, 0] = np.maximum(last[rows, 0], slots // SLOT_SECONDS)

    def last_seen(self, row: int) -> int | None:
        """The last slot with a value of a row."""
        last = self._storage.get(_LAST)
        return int(last.array[row, 0]) * SLOT_SECONDS or None if last is not None else None

    def clear(self, rows: Rows) -> None:
        """Forget all that these rows hold."""
        for name in self._storage.names:
            array = self._storage.make(name)
            for start in range(0, len(rows), BLOCK_ROWS):
                array.array[rows[start : start + BLOCK_ROWS]] = 0
                array.release()


def _pieces(span: Span, *, columns: int) -> Iterator[tuple[slice, slice]]:
    """A span as pairs of (columns of a ring, places in the span). A span that ends before it starts is none."""
    start = span.start
    while start <= span.end:
        column = start // SLOT_SECONDS % columns
        count = min((span.end - start) // SLOT_SECONDS + 1, columns - column)
        place = (start - span.start) // SLOT_SECONDS
        yield slice(column, column + count), slice(place, place + count)
        start += count * SLOT_SECONDS
