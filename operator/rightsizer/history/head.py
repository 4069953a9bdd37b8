"""The few numbers that say how to read the arrays of the history: they change with every step, and a crash between two steps must
leave them readable.

Each number lies in one word of eight bytes together with a check of itself, so that it is written by a single store and a damaged one is
seen. What the numbers mean is not known here.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from enum import IntEnum

import numpy as np

HEAD_BYTES = mmap.PAGESIZE
NONE = -(2**31)
"""Stands for a number that is not there yet."""


class HeadField(IntEnum):
    """The place of each number. Slots are counted in units of their length, so that they fit into 32 bits."""

    STORE = 0
    SLOTS = 1
    CLEAN = 2
    CAPACITY = 3
    ARRAYS = 4
    USED = 5
    NEWEST = 6
    FOLDED = 7


class HeadDamaged(ValueError):
    """A word that does not agree with its check, or numbers that do not fit together."""


class Head:
    """Whole numbers of 32 bits by field, in a page of a file (a descriptor) or in memory alone."""

    def __init__(self, file: int = -1) -> None:
        self._mapping = mmap.mmap(file, HEAD_BYTES)
        self._words = np.frombuffer(self._mapping, dtype=np.int64)

    def __getitem__(self, field: HeadField) -> int:
        word = int(self._words[field])
        if word != _sealed(word >> 32, field):
            raise HeadDamaged(f"its head is damaged ({field.name.lower()})")
        return word >> 32

    def __setitem__(self, field: HeadField, value: int) -> None:
        self._words[field] = _sealed(value, field)

    def copy(self) -> Head:
        """The same numbers in memory alone."""
        head = Head()
        head._words[:] = self._words
        return head

    def flush(self) -> None:
        self._mapping.flush()


def _sealed(value: int, field: HeadField) -> int:
    return value << 32 | zlib.crc32(struct.pack("<qq", value, field))
