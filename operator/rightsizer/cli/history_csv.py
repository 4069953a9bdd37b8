"""Reads usage from a CSV file, plain or gzip, into a history; the file is streamed, so its size does not matter for memory.

Every number is checked: a line that cannot be used ends the reading with an error that names file and line. It knows the file's form
and not what the usage is used for.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rightsizer.cli.progress import Report
from rightsizer.cli.slot_table import MOST_SECONDS, MOST_USAGE, MOST_YEARS, Floats, SlotTable
from rightsizer.errors import InvalidInput
from rightsizer.history import SLOT_SECONDS, History, PodSeries, last_slot
from rightsizer.workload import ContainerKey, WorkloadRef

COLUMNS = ("namespace", "workload", "pod", "container", "unix_ts", "cpu_cores", "memory_bytes")
ROWS_AT_ONCE = 50_000

_GZIP_MAGIC = b"\x1f\x8b"
_MILLICORES_PER_CORE = 1000.0
# Unix times of today in milliseconds are above it, in seconds below for 3,000 years.
_LATEST = 1e11

Row = tuple[int, list[str]]
"""The number of the line, and its fields in the order of COLUMNS."""


@dataclass(frozen=True, slots=True)
class FileUsage:
    """What the file told. `now`: the end of its newest slot, or what was given.

    `known`: workloads that were asked for and have rows in it, at whatever time; `unknown`: those that were not asked for.
    `reaches_further`: whether there are samples from before the window.
    """

    history: History
    now: float
    known: frozenset[WorkloadRef]
    unknown: frozenset[WorkloadRef]
    reaches_further: bool


def read_history(path: Path, *, workloads: Collection[WorkloadRef], window_seconds: int, now: float | None, report: Report) -> FileUsage:
    """The usage of these workloads in the window that ends with `now` (unix seconds; None: with the newest sample of the file).

    Raises InvalidInput.
    """
    last = None if now is None else last_slot(now) // SLOT_SECONDS
    table = SlotTable(slots=window_seconds // SLOT_SECONDS, last=last)
    names = _Names(path, frozenset(workloads))
    # What is after a given end takes no window with it.
    reach = _Reach(path) if now is None else None
    for rows in _blocks(path, report):
        _take(rows, names, table, path, reach)
    if table.newest is None:
        raise InvalidInput(f"{path}: no sample in it" + ("" if now is None else " at or before --now"))
    end = float(table.newest * SLOT_SECONDS) if now is None else now
    known = frozenset(key.workload for key in names.keys)
    further = table.oldest is not None and table.oldest * SLOT_SECONDS <= end - window_seconds
    return FileUsage(table.history(names.series, names.keys), end, known, frozenset(names.unknown), further)


class _Reach:
    """The first and last time so far: a single wild one would end the window where nothing else is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first, self._last = math.inf, -math.inf

    def add(self, rows: Sequence[Row], times: Floats) -> None:
        """Raises InvalidInput for the first row that is too far from one before it."""
        first, last = min(self._first, float(times.min())), max(self._last, float(times.max()))
        if last - first > MOST_SECONDS:
            firsts = np.minimum(np.minimum.accumulate(times), self._first)
            lasts = np.maximum(np.maximum.accumulate(times), self._last)
            line = rows[int((lasts - firsts > MOST_SECONDS).argmax())][0]
            raise _bad(self._path, line, f"unix_ts: more than {MOST_YEARS} years from another sample; --now TIME leaves out later ones")
        self._first, self._last = first, last


class _Names:
    """Numbers the series that are wanted; the others are -1."""

    def __init__(self, path: Path, wanted: frozenset[WorkloadRef]) -> None:
        self._path = path
        self._wanted = wanted
        self._numbers: dict[tuple[str, str, str, str], int] = {}
        self.series: list[PodSeries] = []
        self.keys: list[ContainerKey] = []
        self.unknown: set[WorkloadRef] = set()

    def number(self, line: int, names: tuple[str, str, str, str]) -> int:
        found = self._numbers.get(names)
        if found is None:
            found = self._numbers[names] = self._new(line, *names)
        return found

    def _new(self, line: int, namespace: str, workload: str, pod: str, container: str) -> int:
        kind, separator, name = workload.partition("/")
        if not (kind and separator and name):
            raise _bad(self._path, line, f"workload: {workload!r} is not KIND/NAME, such as Deployment/web")
        for column, value in (("namespace", namespace), ("pod", pod), ("container", container)):
            if not value:
                raise _bad(self._path, line, f"{column}: is empty")
        ref = WorkloadRef(namespace, kind, name)
        if ref not in self._wanted:
            self.unknown.add(ref)
            return -1
        self.series.append(PodSeries(namespace, pod, container))
        self.keys.append(ContainerKey(ref, container))
        return len(self.series) - 1


def _take(rows: Sequence[Row], names: _Names, table: SlotTable, path: Path, reach: _Reach | None) -> None:
    numbers = np.array([names.number(line, (row[0], row[1], row[2], row[3])) for line, row in rows], dtype=np.int64)
    try:
        times = np.array([float(row[4]) for _, row in rows])
        cpu = np.array([float(row[5]) if row[5] else math.nan for _, row in rows])
        memory = np.array([float(row[6]) if row[6] else math.nan for _, row in rows])
    except ValueError:
        raise _first_fault(rows, path) from None
    if not (_times_fine(times) and _usage_fine(cpu, "cpu_cores") and _usage_fine(memory, "memory_bytes")):
        raise _first_fault(rows, path)
    if reach is not None:
        reach.add(rows, times)
    table.add(numbers, times, cpu * _MILLICORES_PER_CORE, memory)


def _times_fine(times: Floats) -> bool:
    return bool(np.all((times > 0) & (times < _LATEST)))


def _usage_fine(values: Floats, column: str) -> bool:
    return bool(np.all(np.isnan(values) | ((values >= 0) & (values <= MOST_USAGE[column]))))


def _first_fault(rows: Sequence[Row], path: Path) -> InvalidInput:
    """Looks at one line after the other for the one that was found wrong."""
    for line, row in rows:
        for column, text in zip(COLUMNS[4:], row[4:], strict=True):
            fault = _fault(column, text)
            if fault:
                return _bad(path, line, f"{column}: {fault}")
    raise AssertionError("no line of these is wrong")


def _fault(column: str, text: str) -> str:
    if column == "unix_ts":
        return _time_fault(text)
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return f"{text!r} is not a number"
    if value < 0 or math.isinf(value):
        return f"{text} is no usage: a number of 0 or more, or nothing for a gap"
    return f"{text} is no usage: above {MOST_USAGE[column]:g}" if value > MOST_USAGE[column] else ""


def _time_fault(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        return f"{text!r} is not a time in unix seconds"
    if value >= _LATEST:
        return f"{text} is too late: write unix seconds, not milliseconds"
    return "" if value > 0 else f"{text} is not a time in unix seconds"


def _blocks(path: Path, report: Report) -> Iterator[list[Row]]:
    try:
        with path.open("rb") as raw, _text(raw, path) as text:
            size = path.stat().st_size
            rows = _rows(csv.reader(text), path)
            while block := list(islice(rows, ROWS_AT_ONCE)):
                yield block
                if size:
                    report(f"reading {path.name}", raw.tell(), size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidInput(f"{path}: is broken gzip: {error}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: is not UTF-8 text: {error}") from error
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror or error}") from error


@contextmanager
def _text(raw: io.BufferedReader, path: Path) -> Iterator[io.TextIOWrapper]:
    """The text of the file, unpacked where its first bytes are those of gzip. A byte order mark, as spreadsheets write it, is skipped."""
    packed = raw.peek(2)[:2] == _GZIP_MAGIC
    if path.suffix == ".gz" and not packed:
        raise InvalidInput(f"{path}: is named .gz, but is not gzip: pack it again, or name a plain text .csv")
    binary: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=raw, mode="rb") if packed else raw
    with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text:
        yield text


def _rows(lines: Iterator[list[str]], path: Path) -> Iterator[Row]:
    reader = enumerate_lines(lines, path)
    _, header = next(reader, (0, []))
    places = _places(header, path)
    in_order = places == list(range(len(COLUMNS)))
    for line, fields in reader:
        if len(fields) != len(header):
            raise _bad(path, line, f"{len(fields)} fields, but the header has {len(header)}")
        yield line, fields if in_order else [fields[place] for place in places]


def enumerate_lines(reader: Iterator[list[str]], path: Path) -> Iterator[Row]:
    """The lines that are not empty, with their numbers."""
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise _bad(path, reader.line_num, str(error)) from error  # type: ignore[attr-defined]
        if fields is None:
            return
        if fields:
            yield reader.line_num, fields  # type: ignore[attr-defined]


def _places(header: list[str], path: Path) -> list[int]:
    if not header:
        raise InvalidInput(f"{path}: is empty: the first line must name the columns {','.join(COLUMNS)}")
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise InvalidInput(f"{path}: the first line names no column {', '.join(missing)}; needed are {','.join(COLUMNS)}")
    return [header.index(column) for column in COLUMNS]


def _bad(path: Path, line: int, message: str) -> InvalidInput:
    return InvalidInput(f"{path}:{line}: {message}")
