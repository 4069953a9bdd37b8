"""Writes a scenario's usage as the CSV file that ``rightsizer recommend --history`` reads.

The same pods and curves as in Prometheus, already brought to rates. It knows nothing of Prometheus.
"""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np

from tests.usage.pod import ContainerRun, PodRun, history_begin, pods_between
from tests.usage.shape import DAY_SECONDS, FloatArray
from tests.usage.workload import WorkloadUsage

COLUMNS = ("namespace", "workload", "pod", "container", "unix_ts", "cpu_cores", "memory_bytes")

_MEMORY_SAMPLES_PER_STEP = 5


def write_csv(
    workloads: Sequence[WorkloadUsage],
    path: Path,
    *,
    days: float,
    until: float,
    step_seconds: float = 300.0,
) -> int:
    """Writes the last ``days`` before ``until`` (unix time) and returns the number of rows; gzip when the name ends in .gz.

    A row tells of the step that ends at its time: the mean of the CPU (cores) and the highest of five memory samples
    (bytes). Only steps through which the pod ran whole are written.
    """
    rows = 0
    with _opened(path) as stream:
        stream.write(",".join(COLUMNS) + "\n")
        for workload in workloads:
            begin = history_begin(workload, begin=until - days * DAY_SECONDS, until=until)
            for pod in pods_between(workload, begin=begin, end=until, until=until):
                times = _step_ends(pod, begin=begin, until=until, step_seconds=step_seconds)
                for container in pod.containers:
                    lines = _lines(workload, pod, container, times=times, step_seconds=step_seconds)
                    stream.writelines(lines)
                    rows += len(lines)
    return rows


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if path.suffix != ".gz":
        with path.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        return
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=3, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as stream,
    ):
        yield stream


def _step_ends(pod: PodRun, *, begin: float, until: float, step_seconds: float) -> FloatArray:
    first = math.ceil(max(begin, pod.started) / step_seconds) + 1
    last = math.floor(min(until, pod.ended) / step_seconds)
    return np.arange(first, last + 1, dtype=np.float64) * step_seconds


def _lines(workload: WorkloadUsage, pod: PodRun, container: ContainerRun, *, times: FloatArray, step_seconds: float) -> list[str]:
    if container.usage is None:
        return []
    prefix = f"{workload.namespace},{workload.workload},{pod.name},{container.name},"
    used_seconds = container.cpu_seconds(start=times - step_seconds, end=times, share=pod.share)
    cores = np.round(used_seconds / step_seconds, 6).tolist()
    before = np.arange(_MEMORY_SAMPLES_PER_STEP) * (step_seconds / _MEMORY_SAMPLES_PER_STEP)
    levels = container.memory_bytes(times[:, np.newaxis] - before, share=pod.share).max(axis=1)
    memory = np.rint(levels).astype(np.int64).tolist()
    moments = times.astype(np.int64).tolist()
    return [f"{prefix}{moment},{core},{level}\n" for moment, core, level in zip(moments, cores, memory, strict=True)]
