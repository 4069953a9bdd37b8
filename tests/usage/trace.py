"""Reads the recorded CPU and memory traces that lie beside the tests, and turns them into shapes.

Knows the form of the files (``series,unix_ts,cpu_cores,memory_bytes``, gzip) and nothing of who replays them.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from tests.usage.shape import FloatArray, UsageShape, recorded

TRACES_DIRECTORY = Path(__file__).resolve().parent.parent / "traces"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Trace:
    """One recorded series; NaN where nothing was recorded."""

    series: str
    times: FloatArray
    cpu_cores: FloatArray
    memory_bytes: FloatArray

    def cpu(self, *, scale: float = 1.0) -> UsageShape:
        """The CPU as a shape, times a factor."""
        return recorded(self.times, self.cpu_cores).scaled(scale)

    def memory(self, *, scale: float = 1.0, plus: float = 0.0) -> UsageShape:
        """The memory as a shape, times a factor plus a constant (bytes). A recorded 0 is a gap: nothing runs in 0 bytes."""
        levels = np.where(self.memory_bytes > 0, self.memory_bytes, np.nan)
        return recorded(self.times, levels).scaled(scale, plus=plus)


def read_traces(name: str, *, directory: Path = TRACES_DIRECTORY) -> dict[str, Trace]:
    """All series of one file (``operate-first-k8s``), by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has another heading.
    """
    with gzip.open(directory / f"{name}.csv.gz", "rt", encoding="utf-8") as lines:
        heading = next(lines).rstrip("\n")
        if heading != "series,unix_ts,cpu_cores,memory_bytes":
            raise ValueError(f"{name}: unexpected heading {heading!r}")
        return {trace.series: trace for trace in _traces(lines)}


def _traces(lines: Iterator[str]) -> Iterator[Trace]:
    rows = (line.rstrip("\n").split(",") for line in lines)
    for series, group in groupby(rows, key=lambda row: row[0]):
        columns = np.array([[cell or "nan" for cell in row[1:]] for row in group], dtype=np.float64).T
        yield Trace(series=series, times=columns[0], cpu_cores=columns[1], memory_bytes=columns[2])
