"""Arrays of a fixed number of slots per row, used in a circle: the slot `t` stands in the column (t / 300) modulo the slots.

All memory of the history is allocated in one place here. A row is a number; what it stands for, and what the codes in it mean except
that 0 is nothing known, is not known here.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rightsizer.history.usage import SLOT_SECONDS, Span

ArrayName = Literal["cpu", "memory", "pods"]
Rows = NDArray[np.intp]

_TYPES: dict[ArrayName, type[np.unsignedinteger[Any]]] = {"cpu": np.uint16, "memory": np.uint16, "pods": np.uint8}
_FIRST_CAPACITY = 64


class Ring:
    """The arrays, and up to which slot time has moved on. Columns of slots that left the ring are cleared as time moves on."""

    def __init__(self, *, slots: int) -> None:
        if slots < 1:
            raise ValueError(f"a history needs at least one slot, not {slots}")
        self.slots = slots
        self.newest: int | None = None
        self._rows = 0
        self._capacity = _FIRST_CAPACITY
        self._arrays = {name: self._allocate(self._capacity, dtype) for name, dtype in _TYPES.items()}

    def _allocate(self, rows: int, dtype: DTypeLike) -> NDArray[Any]:
        # Mapped pages cost nothing until they are written and go back when the array is gone; those of the heap do neither (np.zeros
        # kept 65 MB of outgrown arrays at 10,000 rows). A file can take the place of the anonymous memory.
        size = rows * self.slots * np.dtype(dtype).itemsize
        return np.frombuffer(mmap.mmap(-1, size, access=mmap.ACCESS_COPY), dtype=dtype).reshape(rows, self.slots)

    @property
    def size(self) -> int:
        """Bytes of the rows in use."""
        return sum(array[: self._rows].nbytes for array in self._arrays.values())

    def reserve(self, rows: int) -> None:
        """Make the rows below this number usable. The capacity doubles, one array after the other, so only one is there twice."""
        self._rows = max(rows, self._rows)
        if rows <= self._capacity:
            return
        self._capacity = max(rows, 2 * self._capacity)
        for name, dtype in _TYPES.items():
            grown = self._allocate(self._capacity, dtype)
            grown[: len(self._arrays[name])] = self._arrays[name]
            self._arrays[name] = grown

    def advance(self, slot: int) -> None:
        """Move time on to this slot, if it is newer: the columns of the slots that are new now are cleared of what they held."""
        if self.newest is not None and slot > self.newest:
            for columns, _ in self._pieces(Span(self.newest + SLOT_SECONDS, slot), newest=slot):
                for array in self._arrays.values():
                    array[: self._rows, columns] = 0
        self.newest = slot if self.newest is None else max(slot, self.newest)

    def merge(self, name: ArrayName, rows: Rows, span: Span, codes: NDArray[Any]) -> None:
        """Put codes of shape (rows, span.slots) in place of what is there, but leave it where they know nothing. No row twice.

        Slots that are not in the ring, on either side, are passed over: `advance` comes first.
        """
        array = self._arrays[name]
        for columns, part in self._pieces(span, newest=self.newest):
            new = codes[:, part]
            array[rows, columns] = np.where(new != 0, new, array[rows, columns])

    def read(self, name: ArrayName, rows: Rows, span: Span) -> NDArray[Any]:
        """Codes of shape (rows, span.slots), 0 outside of the ring."""
        array = self._arrays[name]
        codes = np.zeros((len(rows), span.slots), dtype=array.dtype)
        for columns, part in self._pieces(span, newest=self.newest):
            codes[:, part] = array[rows, columns]
        return codes

    def clear(self, rows: Rows) -> None:
        """Forget all that these rows hold."""
        for array in self._arrays.values():
            array[rows] = 0

    def _pieces(self, span: Span, *, newest: int | None) -> Iterator[tuple[slice, slice]]:
        """The part of a span that is in the ring, as at most two pairs of (columns of the ring, places in the span)."""
        if newest is None:
            return
        start, end = max(span.start, newest - (self.slots - 1) * SLOT_SECONDS), min(span.end, newest)
        while start <= end:
            column = start // SLOT_SECONDS % self.slots
            count = min((end - start) // SLOT_SECONDS + 1, self.slots - column)
            place = (start - span.start) // SLOT_SECONDS
            yield slice(column, column + count), slice(place, place + count)
            start += count * SLOT_SECONDS
