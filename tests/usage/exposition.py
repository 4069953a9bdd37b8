"""Writes metric families as text: OpenMetrics for loading history, the older Prometheus format for scrapes.

A scrape uses the older format because its timestamps are whole milliseconds: those of OpenMetrics go through a float and
come out a millisecond early now and then, which a rate over a short range would show. It knows nothing of workloads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

import numpy as np

from tests.usage.family import CADVISOR, KUBE_STATE, Family, Labels, Series
from tests.usage.pod import PodRun, history_begin, pods_between
from tests.usage.shape import FloatArray
from tests.usage.workload import WorkloadUsage

KUBE_STATE_SPACING_SECONDS = 240.0
"""Spacing of the slowly changing series in loaded history: below the 5 minutes for which an instant query looks back."""

SCRAPE_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def write_openmetrics(
    stream: TextIO,
    workloads: Iterable[WorkloadUsage],
    *,
    begin: float,
    end: float,
    interval_seconds: float = 60.0,
    until: float = float("inf"),
) -> int:
    """Writes the samples of [begin, end) (unix times) and returns their number.

    What is written of a time does not depend on begin and end. A workload with ``history_hours`` appears only where
    ``until`` is given, and then from its own beginning, which can lie before begin.
    """
    pods = [
        (pod, history_begin(workload, begin=begin, until=until))
        for workload in workloads
        for pod in pods_between(workload, begin=begin, end=end, until=until)
    ]
    state_spacing = max(KUBE_STATE_SPACING_SECONDS // interval_seconds, 1.0) * interval_seconds
    samples = 0
    for family in CADVISOR + KUBE_STATE:
        spacing = interval_seconds if family in CADVISOR else state_spacing
        heading = f"# TYPE {_openmetrics_family_name(family)} {family.type}\n"
        for pod, pod_begin in pods:
            times = pod.grid(begin=pod_begin, end=end, spacing_seconds=spacing)
            for series in _not_empty(family, pod, times):
                stream.write(heading)
                heading = ""
                stream.writelines(_sample_lines(family, series, timestamp=_whole_seconds))
                samples += series.times.size
    stream.write("# EOF\n")
    return samples


def scrape_page(pods: Iterable[PodRun], *, now: float) -> str:
    """The page of a scrape of all these pods at a unix time (to the millisecond)."""
    times = np.array([round(now, 3)])
    present = [pod for pod in pods if pod.started <= times[0] < pod.ended]
    lines: list[str] = []
    for family in CADVISOR + KUBE_STATE:
        timestamp = _milliseconds if family in CADVISOR else _no_timestamp
        of_family = [
            line
            for pod in present
            for series in _not_empty(family, pod, times)
            for line in _sample_lines(family, series, timestamp=timestamp)
        ]
        if of_family:
            lines += [f"# TYPE {family.name} {family.type}\n", *of_family]
    return "".join(lines)


def _openmetrics_family_name(family: Family) -> str:
    return family.name.removesuffix("_total") if family.type == "counter" else family.name


def _not_empty(family: Family, pod: PodRun, times: FloatArray) -> Iterator[Series]:
    if times.size:
        yield from (series for series in family.series(pod, times) if series.times.size)


def _sample_lines(family: Family, series: Series, *, timestamp: Callable[[FloatArray], list[str]]) -> Iterator[str]:
    prefix = f"{family.name}{{{_label_text(series.labels)}}} "
    values = _value_texts(series.values, decimals=family.decimals)
    return (f"{prefix}{value}{moment}\n" for value, moment in zip(values, timestamp(series.times), strict=True))


def _label_text(labels: Labels) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items() if value)


def _value_texts(values: FloatArray, *, decimals: int) -> list[float] | list[int]:
    if decimals:
        rounded: list[float] = np.round(values, decimals).tolist()
        return rounded
    whole: list[int] = np.rint(values).astype(np.int64).tolist()
    return whole


def _whole_seconds(times: FloatArray) -> list[str]:
    return [f" {moment}" for moment in times.astype(np.int64).tolist()]


def _milliseconds(times: FloatArray) -> list[str]:
    return [f" {moment}" for moment in np.rint(times * 1000).astype(np.int64).tolist()]


def _no_timestamp(times: FloatArray) -> list[str]:
    return [""] * times.size
