"""Where the arrays of the history live: in files that are mapped into memory, or, without a folder or when its disk is full, in memory.

A file's pages stay with the kernel when the process dies, and can be handed back at any time, so that the values of many containers
do not count as memory of this process. What the arrays hold is not known here.
"""

from __future__ import annotations

import logging
import mmap
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rightsizer.history.head import HEAD_BYTES, NONE, Head, HeadDamaged, HeadField

logger = logging.getLogger(__name__)

BLOCK_ROWS = 256
"""How many rows are touched before their pages go back. The kernel maps 64 kB around a page that is read, so at most 16 MB are mapped."""

HEAD_FILE = "head"

_FIRST_CAPACITY = 64
_GROWTH = 1.25
_READ_BYTES = 1 << 20


def blocks(rows: int) -> Iterator[slice]:
    """All rows in portions that are touched at once."""
    return (slice(start, min(start + BLOCK_ROWS, rows)) for start in range(0, rows, BLOCK_ROWS))


@dataclass(frozen=True, slots=True)
class Shape:
    """Of an array: how many columns, of which type, and whether to keep its pages in memory (small arrays that are always in use)."""

    width: int
    dtype: type[np.unsignedinteger[Any]]
    resident: bool = False

    def size(self, rows: int) -> int:
        return rows * self.width * np.dtype(self.dtype).itemsize


class MappedArray:
    """Rows of zeros to begin with, in a file (a descriptor that it closes) or in memory alone."""

    def __init__(self, shape: Shape, *, rows: int, file: int | None = None) -> None:
        self._shape = shape
        self._file = file
        try:
            self._mapping, self.array = self._map(rows)
        except OSError:
            self.close()
            raise

    def _map(self, rows: int) -> tuple[mmap.mmap, NDArray[Any]]:
        size = self._shape.size(rows)
        if self._file is None:
            # Mapped pages cost nothing until they are written and go back when the array is gone; those of the heap do neither.
            mapping = mmap.mmap(-1, size, access=mmap.ACCESS_COPY)
        else:
            # Without room that is set aside, a full disk would kill the process at a write (SIGBUS) instead of raising here.
            os.posix_fallocate(self._file, 0, size)
            mapping = mmap.mmap(self._file, size)
        return mapping, np.frombuffer(mapping, dtype=self._shape.dtype).reshape(rows, self._shape.width)

    def grow(self, rows: int) -> None:
        mapping, array = self._map(rows)
        if self._file is None:
            array[: len(self.array)] = self.array
        self._mapping, self.array = mapping, array

    def release(self) -> None:
        """Let the kernel have the pages; those of a file keep their content and come back when they are touched."""
        if self._file is not None and not self._shape.resident:
            self._mapping.madvise(mmap.MADV_DONTNEED)

    def leave_file(self) -> None:
        """Go on in memory alone with the same content."""
        copy = MappedArray(self._shape, rows=len(self.array))
        for rows in blocks(len(self.array)):
            copy.array[rows] = self.array[rows]
            self.release()
        self.close()
        self._mapping, self.array = copy._mapping, copy.array

    def flush(self) -> None:
        self._mapping.flush()

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Storage:
    """Arrays by name, made when they are first asked for, all with the same number of rows; and the head beside them.

    When a file cannot be made or grown, all goes on in memory, and `trouble` says why.
    """

    def __init__(self, shapes: Mapping[str, Shape], *, head: Head | None = None, folder: Path | None = None) -> None:
        self._shapes = dict(shapes)
        self._folder = folder
        self._arrays: dict[str, MappedArray] = {}
        self.head = head or Head()
        self.trouble: str | None = None

    @classmethod
    def create(cls, shapes: Mapping[str, Shape], *, folder: Path | None = None) -> Storage:
        """A new one without arrays. Raises OSError."""
        head = _map_head(folder, new=True) if folder else Head()
        for field in HeadField:
            head[field] = 0
        head[HeadField.CAPACITY] = _FIRST_CAPACITY
        head[HeadField.NEWEST] = NONE
        return cls(shapes, head=head, folder=folder)

    @classmethod
    def load(cls, shapes: Mapping[str, Shape], *, folder: Path) -> Storage:
        """What is in the folder. Raises OSError, and HeadDamaged where it does not fit together."""
        storage = cls(shapes, head=_map_head(folder), folder=folder)
        try:
            storage._load_arrays(folder)
        except (OSError, HeadDamaged):
            storage.close()
            raise
        return storage

    def _load_arrays(self, folder: Path) -> None:
        rows, arrays = self.head[HeadField.CAPACITY], self.head[HeadField.ARRAYS]
        for place, (name, shape) in enumerate(self._shapes.items()):
            if arrays >> place & 1:
                file = _open_file(folder / name, size=shape.size(rows))
                self._arrays[name] = MappedArray(shape, rows=rows, file=file)

    @property
    def in_files(self) -> bool:
        return self._folder is not None

    @property
    def names(self) -> list[str]:
        """The arrays that are there."""
        return list(self._arrays)

    @property
    def row_bytes(self) -> int:
        return sum(self._shapes[name].size(1) for name in self._arrays)

    def get(self, name: str) -> MappedArray | None:
        return self._arrays.get(name)

    def make(self, name: str) -> MappedArray:
        """The array of this name, made where it is not there yet."""
        if name not in self._arrays:
            try:
                self._arrays[name] = self._new_array(name)
            except OSError as error:
                self.leave_folder(error)
                self._arrays[name] = self._new_array(name)
        return self._arrays[name]

    def _new_array(self, name: str) -> MappedArray:
        shape, rows = self._shapes[name], self.head[HeadField.CAPACITY]
        if self._folder is None:
            return MappedArray(shape, rows=rows)
        made = MappedArray(shape, rows=rows, file=_open_file(self._folder / name, size=0, new=True))
        # A file counts from here on; what a crash left of one before is made anew.
        self.head[HeadField.ARRAYS] |= 1 << list(self._shapes).index(name)
        return made

    def reserve(self, rows: int) -> None:
        """Make the rows below this number usable."""
        if rows <= self.head[HeadField.CAPACITY]:
            return
        capacity = max(rows, int(self.head[HeadField.CAPACITY] * _GROWTH))
        try:
            self._grow(capacity)
        except OSError as error:
            self.leave_folder(error)
            self._grow(capacity)

    def _grow(self, capacity: int) -> None:
        for array in self._arrays.values():
            if len(array.array) < capacity:
                array.grow(capacity)
        # A crash before this leaves files that are too long, and those are cut when they are loaded.
        self.head[HeadField.CAPACITY] = capacity

    def leave_folder(self, error: OSError) -> None:
        """Go on in memory with what is there. The files stay as they are, as after a crash."""
        self.trouble = f"the history goes on in memory: {error}"
        logger.warning("%s", self.trouble)
        self._folder = None
        self.head = self.head.copy()
        for array in self._arrays.values():
            array.leave_file()

    def flush(self) -> None:
        """Have all on the disk. Raises OSError."""
        for array in self._arrays.values():
            array.flush()
        self.head.flush()

    def checksums(self) -> dict[str, int]:
        """Of the file of each array. Raises OSError."""
        return {name: _checksum(self._folder / name) for name in self._arrays} if self._folder else {}

    def close(self) -> None:
        for array in self._arrays.values():
            array.close()


def _map_head(folder: Path, *, new: bool = False) -> Head:
    file = _open_file(folder / HEAD_FILE, size=HEAD_BYTES, new=new)
    try:
        return Head(file)
    finally:
        os.close(file)


def _open_file(path: Path, *, size: int, new: bool = False) -> int:
    """A descriptor of a file of this size. One that is there is cut to it; HeadDamaged where it is shorter."""
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_TRUNC if new else 0), 0o600)
    try:
        if not new and os.fstat(file).st_size < size:
            raise HeadDamaged(f"{path.name} is too short")
        os.ftruncate(file, size)
        if new and size:
            os.posix_fallocate(file, 0, size)
    except BaseException:
        os.close(file)
        raise
    return file


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while portion := file.read(_READ_BYTES):
            checksum = zlib.crc32(portion, checksum)
    return checksum
