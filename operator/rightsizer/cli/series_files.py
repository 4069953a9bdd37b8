"""Reads recorded usage by series from CSV (plain or gzip) and Parquet files, and brings it to 5-minute slots.

One row is one sample; the time between samples is the file's own, gaps are rows that are not there. A row that cannot be used ends the
reading with an error that names file and line. pandas is at home here, and only here.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rightsizer.cli.progress import Report
from rightsizer.cli.slot_table import MOST_SECONDS, MOST_USAGE, MOST_YEARS
from rightsizer.errors import InvalidInput
from rightsizer.evidence.backtest import Series
from rightsizer.history import SLOT_SECONDS

COLUMNS = ("series", "unix_ts", "cpu_cores", "memory_bytes")
ROWS_AT_ONCE = 500_000

_NUMBERS = COLUMNS[1:]
_MILLICORES_PER_CORE = 1000.0
# Unix times of today in milliseconds are above it, in seconds below for 3,000 years.
_LATEST = 1e11


def read_series(paths: Sequence[Path], report: Report) -> list[Series]:
    """All series of the files, by name; one that is in several files is one series. Raises InvalidInput."""
    found: dict[str, _Samples] = {}
    reach = _Reach()
    for number, path in enumerate(paths):
        newest: dict[str, float] = {}
        for line, frame in _frames(path):
            _check(frame, path, line, newest)
            reach.add(frame, path, line)
            for name, rows in frame.groupby("series", sort=False):
                found.setdefault(str(name), _Samples()).add(rows)
            report(f"reading {path.name}", number, len(paths))
    if not found:
        raise InvalidInput(f"{', '.join(str(path) for path in paths)}: no sample in it")
    return [samples.series(name) for name, samples in sorted(found.items())]


class _Reach:
    """The first and last time of each series over all files: a single wild time would make millions of empty slots."""

    def __init__(self) -> None:
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def add(self, frame: pd.DataFrame, path: Path, line: int) -> None:
        """Raises InvalidInput for the first row that is too far from the others."""
        names, times = frame["series"], frame["unix_ts"]
        by_series = times.groupby(names, sort=False)
        for name, first in by_series.first().items():
            self._first[str(name)] = min(float(first), self._first.get(str(name), float(first)))
        firsts = names.map(self._first)
        earlier = names.map(self._last).fillna(times)
        far = (times - firsts > MOST_SECONDS) | (earlier - times > MOST_SECONDS)
        _refuse(far.to_numpy(), path, line, f"unix_ts: more than {MOST_YEARS} years from another sample of the series")
        for name, last in by_series.last().items():
            self._last[str(name)] = max(float(last), self._last.get(str(name), float(last)))


class _Samples:
    """The samples of one series by slot: sums and counts of CPU, peaks of memory, in pieces as they were read."""

    def __init__(self) -> None:
        self._pieces: list[pd.DataFrame] = []

    def add(self, rows: pd.DataFrame) -> None:
        slots = np.ceil(rows["unix_ts"].to_numpy() / SLOT_SECONDS).astype(np.int64)
        grouped = rows.groupby(slots)
        cpu = grouped["cpu_cores"].agg(["sum", "count"])
        self._pieces.append(cpu.assign(peak=grouped["memory_bytes"].max()))

    def series(self, name: str) -> Series:
        pieces = pd.concat(self._pieces)
        by_slot = pieces.groupby(level=0).agg({"sum": "sum", "count": "sum", "peak": "max"})
        first = int(by_slot.index[0])
        places = by_slot.index.to_numpy() - first
        cpu = np.full(int(places[-1]) + 1, np.nan, dtype=np.float32)
        memory = cpu.copy()
        sums, counts = by_slot["sum"].to_numpy(), by_slot["count"].to_numpy()
        known = counts > 0
        cpu[places[known]] = sums[known] / counts[known] * _MILLICORES_PER_CORE
        memory[places] = by_slot["peak"].to_numpy()
        return Series(name, first, cpu, memory)


def _frames(path: Path) -> Iterator[tuple[int, pd.DataFrame]]:
    """Parts of a file, each with the number of its first line (Parquet: of its first row, counted from 1)."""
    try:
        yield from _parquet(path) if path.suffix == ".parquet" else _csv(path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidInput(f"{path}: is broken gzip: {error}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: is not UTF-8 text: {error}") from error
    except pd.errors.ParserError as error:
        raise InvalidInput(f"{path}: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror or error}") from error


def _csv(path: Path) -> Iterator[tuple[int, pd.DataFrame]]:
    form: dict[str, Any] = {
        "dtype": str,
        "keep_default_na": False,
        "skip_blank_lines": False,
        "index_col": False,
        "encoding": "utf-8-sig",
        "compression": "gzip" if path.suffix == ".gz" else None,
    }
    header = _checked_header(path)
    # A column may have any name, also twice, where it is not needed.
    names = [name if name in COLUMNS else f"column {place}" for place, name in enumerate(header)]
    with pd.read_csv(path, names=names, header=None, skiprows=1, chunksize=ROWS_AT_ONCE, **form) as chunks:
        line, blank_from = 2, 0
        for chunk in chunks:
            empty = _empty_at_end(chunk)
            if blank_from and empty < len(chunk):
                raise _bad(path, blank_from, "series: a name is needed")
            blank_from = blank_from or (line + len(chunk) - empty if empty else 0)
            chunk = chunk.iloc[: len(chunk) - empty]
            yield line, _numbers(chunk, path, line)
            line += len(chunk)


def _checked_header(path: Path) -> list[str]:
    """The first line, when all others have as many fields: pandas would fill up those that are short, and cut what is too much.

    Raises InvalidInput.
    """
    with _text(path) as text:
        reader = csv.reader(text, strict=True)
        line = 1
        try:
            header = next(reader, [])
            _check_columns(header, path)
            line = reader.line_num + 1
            for fields in reader:
                # Lines with nothing in them are told of, or passed over at the end, later on.
                if len(fields) != len(header) and "".join(fields).strip():
                    raise _bad(path, line, f"{len(fields)} fields, but the first line has {len(header)}")
                if "\0" in "".join(fields):
                    raise _bad(path, line, "a NUL byte is in it")
                line = reader.line_num + 1
        except csv.Error as error:
            raise _bad(path, line, f"is no CSV: {error}") from error
    return header


def _text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _empty_at_end(chunk: pd.DataFrame) -> int:
    """How many lines at the end have nothing in them, as editors leave them."""
    number = 0
    while number < len(chunk) and not any(chunk.iloc[-1 - number].fillna("").str.strip()):
        number += 1
    return number


def _parquet(path: Path) -> Iterator[tuple[int, pd.DataFrame]]:
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise InvalidInput(f"{path}: reading Parquet needs pyarrow: pip install 'rightsizer[parquet]', or write it as CSV") from error
    except ValueError as error:
        raise InvalidInput(f"{path}: is no Parquet file: {' '.join(str(error).split())}") from error
    _check_columns(frame.columns, path)
    if frame.empty:
        # Its columns may have any type.
        return
    for name in _NUMBERS:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise InvalidInput(f"{path}: column {name} does not hold numbers")
    yield 1, frame[list(COLUMNS)].astype({"series": str, **dict.fromkeys(_NUMBERS, "float64")})


def _check_columns(columns: Iterable[Any], path: Path) -> None:
    names = list(columns)
    if not names:
        raise InvalidInput(f"{path}: is empty: the first line must name the columns {','.join(COLUMNS)}")
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        raise InvalidInput(f"{path}:1: column {', '.join(twice)} is there more than once")
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise InvalidInput(f"{path}:1: no column {', '.join(missing)}; needed are {','.join(COLUMNS)}")


def _numbers(chunk: pd.DataFrame, path: Path, line: int) -> pd.DataFrame:
    """The texts of a part as numbers, NaN where there is none."""
    found = {"series": chunk["series"]}
    for name in _NUMBERS:
        # A line that is too short has nothing in its last columns, not even an empty text.
        texts = chunk[name].fillna("").str.strip()
        numbers = pd.to_numeric(texts.where(texts != "", "nan"), errors="coerce")
        bad = (numbers.isna() & ~texts.str.lower().isin(["", "nan"])).to_numpy()
        if bad.any():
            row = int(bad.argmax())
            raise _bad(path, line + row, f"{name}: {texts.iloc[row]!r} is not a number")
        found[name] = numbers.astype("float64")
    return pd.DataFrame(found)


def _check(frame: pd.DataFrame, path: Path, line: int, newest: dict[str, float]) -> None:
    """Whether every row can be used. `newest`: the last time of each series so far, moved along."""
    names, times = frame["series"].fillna("").to_numpy(), frame["unix_ts"].to_numpy()
    _refuse(names == "", path, line, "series: a name is needed")
    _refuse(~(times > 0), path, line, "unix_ts: a time in unix seconds is needed")
    _refuse(times >= _LATEST, path, line, "unix_ts: too late: write unix seconds, not milliseconds")
    for name in ("cpu_cores", "memory_bytes"):
        values = frame[name].to_numpy()
        _refuse((values < 0) | np.isinf(values), path, line, f"{name}: no usage: a number of 0 or more, or nothing for a gap")
        _refuse(values > MOST_USAGE[name], path, line, f"{name}: no usage: above {MOST_USAGE[name]:g}")
    before = frame.groupby("series", sort=False)["unix_ts"].shift()
    before = before.fillna(frame["series"].map(newest)).to_numpy(dtype=np.float64)
    _refuse(times == before, path, line, "unix_ts: the series has a sample of this time already")
    _refuse(times < before, path, line, "unix_ts: earlier than the sample before it: sort the rows of a series by time")
    newest.update(frame.groupby("series", sort=False)["unix_ts"].last())


def _refuse(bad: NDArray[np.bool_], path: Path, line: int, message: str) -> None:
    if bad.any():
        raise _bad(path, line + int(bad.argmax()), message)


def _bad(path: Path, line: int, message: str) -> InvalidInput:
    return InvalidInput(f"{path}:{line}: {message}")
