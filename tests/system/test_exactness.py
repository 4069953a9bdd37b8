"""Every statistic of the pipeline (a real Prometheus, the reader, the history) against a calculation from the raw samples by hand.

The reference knows samples only, in plain Python. Of the product it shares nothing but the names of the statistics.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from rightsizer.cycle import Measuring
from rightsizer.methods.statistics import statistic
from rightsizer.prometheus import Connection, Endpoint, Prometheus
from rightsizer.workload import Container, ContainerKey, Sizes, Workload, WorkloadRef
from tests.loaded_prometheus import loaded_prometheus

pytestmark = pytest.mark.system

CPU_RANGE_SECONDS = {15: 315, 30: 330, 60: 360}
"""By scrape interval."""

SLOT = 300
SLOTS = 288
QUANTISATION = 0.0005
"""Half a step of 11 bits of mantissa is 0.0488 %; the rest is for 32-bit floats on the way."""

STATISTICS = ("p50", "p75", "p90", "p95", "p99", "p99.5", "p99.9", "mean", "max")

Samples = list[tuple[int, float]]


@dataclass(frozen=True)
class Raw:
    """One series: a cgroup of a pod's container as one scrape job sees it."""

    pod: str
    cpu: Samples
    memory: Samples
    scrape_seconds: int
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A workload and all the series that its pods ever had."""

    name: str
    kind: str
    series: list[Raw]

    @property
    def key(self) -> ContainerKey:
        return ContainerKey(WorkloadRef("shop", self.kind, self.name), "app")


class Generator:
    """Random but repeatable usage up to `end` (unix seconds), over a day and some."""

    def __init__(self, *, end: int, seed: int, scrape_seconds: int) -> None:
        self.end = end
        self.scrape_seconds = scrape_seconds
        self.begin = end - SLOTS * SLOT - 3_600
        self.random = random.Random(seed)

    def scrapes(self, since: int, until: int, *, missed: float = 0.0, gaps: Sequence[tuple[int, int]] = ()) -> list[int]:
        """Times of scrapes, each pod with an offset of its own; single ones are missed, and all within a gap."""
        offset = self.random.randrange(self.scrape_seconds)
        times = range(since + offset, until + 1, self.scrape_seconds)
        return [at for at in times if self.random.random() >= missed and not any(first <= at < last for first, last in gaps)]

    def raw(self, pod: str, times: list[int], *, resets: Sequence[int] = (), scale: float = 1.0, **labels: str) -> Raw:
        """A walk with peaks; the counter begins anew at each time of `resets`."""
        level, used, before = 0.2 * scale, self.random.uniform(0, 1e5), times[0]
        cpu: Samples = []
        memory: Samples = []
        left = sorted(resets)
        for at in times:
            level = min(max(level * math.exp(self.random.gauss(0, 0.1)), 0.002), 4.0)
            rate = level * (5 if self.random.random() < 0.01 else 1)
            while left and left[0] <= at:
                left.pop(0)
                used = 0.0
            used += rate * (at - before)
            before = at
            cpu.append((at, round(used, 6)))
            memory.append((at, float(round(2**28 * scale * self.random.lognormvariate(0, 0.3)))))
        return Raw(pod, cpu, memory, self.scrape_seconds, labels)

    def cases(self) -> list[Case]:
        begin, end = self.begin, self.end
        day = range(begin, end + 1, 6 * 3600)
        replaced = [
            self.raw(f"replaced-5d9c7b-{index}{letter * 4}", self.scrapes(start, min(start + 6 * 3600 - 420, end)), scale=1 + index)
            for index, start in enumerate(day)
            for letter in "bc"
        ]
        return [
            Case("steady", "StatefulSet", [self.raw("steady-0", self.scrapes(begin, end))]),
            Case("replicas", "StatefulSet", [self.raw(f"replicas-{n}", self.scrapes(begin, end, missed=0.05)) for n in range(3)]),
            Case("gaps", "StatefulSet", [self.raw("gaps-0", self.scrapes(begin, end, missed=0.3, gaps=self._gaps()))]),
            Case("resets", "StatefulSet", [self.raw("resets-0", self.scrapes(begin, end), resets=self._moments(40))]),
            Case("replaced", "Deployment", replaced),
            Case("restarted", "StatefulSet", self._restarted()),
            Case("twice", "StatefulSet", self._twice()),
            Case("young", "StatefulSet", [self.raw("young-0", self.scrapes(end - 5_000, end))]),
            Case("gone", "StatefulSet", [self.raw("gone-0", self.scrapes(begin, end - 40_000))]),
            Case("tiny", "StatefulSet", [self.raw("tiny-0", self.scrapes(begin, end), scale=0.01)]),
        ]

    def _moments(self, count: int) -> list[int]:
        return [self.random.randrange(self.begin, self.end) for _ in range(count)]

    def _gaps(self) -> list[tuple[int, int]]:
        return [(at, at + self.random.randrange(60, 4_000)) for at in self._moments(12) if at < self.end - 8_000]

    def _restarted(self) -> list[Raw]:
        """Three cgroups after one another in the same pod."""
        bounds = [self.begin, self.begin + 30_000, self.begin + 61_000, self.end]
        return [
            self.raw("restarted-0", self.scrapes(first + 45, last), resets=[first + 45], id=f"/kubepods/{first}")
            for first, last in pairwise(bounds)
        ]

    def _twice(self) -> list[Raw]:
        """The same container by two scrape jobs, at other times."""
        one = self.raw("twice-0", self.scrapes(self.begin, self.end))
        cpu, memory = ([(at + 7, value) for at, value in samples] for samples in (one.cpu, one.memory))
        return [
            one,
            Raw("twice-0", cpu, memory, one.scrape_seconds, {"job": "b"}),
        ]


def openmetrics(cases: Sequence[Case]) -> str:
    families: dict[str, list[str]] = {}

    def add(metric: str, labels: dict[str, str], samples: Samples) -> None:
        text = ",".join(f'{name}="{value}"' for name, value in labels.items())
        families.setdefault(metric, []).extend(f"{metric}{{{text}}} {value!r} {at}" for at, value in samples)

    for case in cases:
        owned: dict[str, list[int]] = {}
        for raw in case.series:
            labels = {"namespace": "shop", "pod": raw.pod, "container": "app", **raw.labels}
            add("container_cpu_usage_seconds_total", labels, raw.cpu)
            add("container_memory_working_set_bytes", labels, raw.memory)
            owned.setdefault(raw.pod, []).extend(at for at, _ in raw.cpu)
        for pod, times in owned.items():
            owner = ("ReplicaSet", pod.rsplit("-", 1)[0]) if case.kind == "Deployment" else (case.kind, case.name)
            add("kube_pod_owner", {"pod": pod, **_owner(*owner)}, [(at, 1.0) for at in sorted(set(times))[::4]])
        if case.kind == "Deployment":
            times = [at for at, _ in case.series[-1].cpu]
            add(
                "kube_replicaset_owner",
                {"replicaset": f"{case.name}-5d9c7b", **_owner("Deployment", case.name)},
                [(at, 1.0) for at in times],
            )
    types = {metric: "counter" if metric.endswith("_total") else "gauge" for metric in families}
    return "\n".join(
        [f"# TYPE {name.removesuffix('_total')} {types[name]}\n" + "\n".join(rows) for name, rows in families.items()] + ["# EOF", ""]
    )


def _owner(kind: str, name: str) -> dict[str, str]:
    return {"namespace": "shop", "owner_kind": kind, "owner_name": name, "owner_is_controller": "true"}


# The reference


def within(samples: Samples, *, end: int, seconds: int) -> Samples:
    return [(at, value) for at, value in samples if end - seconds < at <= end]


def rate(samples: Samples, *, end: int, range_seconds: int) -> float | None:
    """As the documentation of PromQL has it: resets added, extrapolated to the bounds of the range unless those are too far away."""
    inside = within(samples, end=end, seconds=range_seconds)
    if len(inside) < 2:
        return None
    values = [Fraction(value) for _, value in inside]
    increase = values[-1] - values[0] + sum(before for before, after in pairwise(values) if after < before)
    first, last = inside[0][0], inside[-1][0]
    apart = Fraction(last - first, len(inside) - 1)
    to_start, to_end = Fraction(first - (end - range_seconds)), Fraction(end - last)
    if to_start >= apart * Fraction(11, 10):
        to_start = apart / 2
    if increase > 0:
        # A counter is never below 0, so it cannot have begun earlier.
        to_start = min(to_start, (last - first) * values[0] / increase)
    if to_end >= apart * Fraction(11, 10):
        to_end = apart / 2
    return float(increase * (last - first + to_start + to_end) / (last - first) / range_seconds)


def millicores(raw: Raw, *, end: int) -> float | None:
    cores = rate(raw.cpu, end=end, range_seconds=CPU_RANGE_SECONDS[raw.scrape_seconds])
    return None if cores is None else cores * 1000


def peak(raw: Raw, *, end: int) -> float | None:
    return max((value for _, value in within(raw.memory, end=end, seconds=SLOT)), default=None)


def busiest(case: Case, of: Callable[..., float | None], *, end: int) -> float | None:
    return max((value for raw in case.series if (value := of(raw, end=end)) is not None), default=None)


def by_hand(values: list[float], name: str) -> float:
    if name == "mean":
        return math.fsum(values) / len(values)
    ordered = sorted(values)
    rank = (len(ordered) - 1) * (1.0 if name == "max" else float(name[1:]) / 100)
    below, above = ordered[math.floor(rank)], ordered[math.ceil(rank)]
    return below + (above - below) * (rank - math.floor(rank))


# The comparison


@pytest.fixture(scope="module", params=[(1, 30), (2, 60), (3, 15)], ids=str)
def cases(request: pytest.FixtureRequest, end: int) -> list[Case]:
    seed, scrape_seconds = request.param
    return Generator(end=end + 120, seed=seed, scrape_seconds=scrape_seconds).cases()


@pytest.fixture(scope="module")
def end() -> int:
    return int(time.time()) // SLOT * SLOT - SLOT


@pytest.fixture(scope="module")
def measuring(cases: list[Case], end: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measuring]:
    with loaded_prometheus(openmetrics(cases), folder=tmp_path_factory.mktemp("exact")) as url:
        source = Prometheus(Connection(Endpoint(url=url)))
        found = Measuring(source, None)
        report = found.refresh({"shop": [workload(case) for case in cases]}, now=end + 60.0, window_seconds=SLOTS * SLOT)
        assert (report.trouble, report.read, report.unread) == ({}, {"shop": 1.0}, False)
        yield found
        source.close()


def workload(case: Case) -> Workload:
    return Workload(
        ref=case.key.workload,
        uid=case.name,
        api_version="apps/v1",
        resource_version="1",
        generation=1,
        containers=(Container("app", Sizes()),),
        replicas=1,
    )


@pytest.fixture(scope="module")
def reference(cases: list[Case], end: int) -> dict[tuple[str, str], list[float | None]]:
    """Millicores and bytes by case and resource, slot by slot."""
    slots = range(end - (SLOTS - 1) * SLOT, end + 1, SLOT)
    of: dict[str, Callable[..., float | None]] = {"cpu": millicores, "memory": peak}
    return {(case.name, name): [busiest(case, of[name], end=slot) for slot in slots] for case in cases for name in of}


@pytest.mark.parametrize("resource", ["cpu", "memory"])
def test_each_slot(
    cases: list[Case], measuring: Measuring, reference: dict[tuple[str, str], list[float | None]], end: int, resource: str
) -> None:
    window = measuring.history.window([case.key for case in cases], end=end, seconds=SLOTS * SLOT)
    for case, row in zip(cases, getattr(window, resource), strict=True):
        expected = [math.nan if value is None else value for value in reference[case.name, resource]]
        np.testing.assert_array_equal(np.isnan(row), np.isnan(expected), err_msg=f"{case.name}: which slots are known")
        np.testing.assert_allclose(row, expected, rtol=QUANTISATION, atol=2**-10, err_msg=case.name)


@pytest.mark.parametrize("resource", ["cpu", "memory"])
@pytest.mark.parametrize("name", STATISTICS)
def test_each_statistic(
    cases: list[Case],
    measuring: Measuring,
    reference: dict[tuple[str, str], list[float | None]],
    end: int,
    resource: str,
    name: str,
) -> None:
    window = measuring.history.window([case.key for case in cases], end=end, seconds=SLOTS * SLOT)
    found = statistic(getattr(window, resource), name)
    for case, value in zip(cases, found.tolist(), strict=True):
        known = [one for one in reference[case.name, resource] if one is not None]
        assert value == pytest.approx(by_hand(known, name), rel=QUANTISATION), case.name


def test_the_cases_are_what_they_say(cases: list[Case], reference: dict[tuple[str, str], list[float | None]]) -> None:
    """Otherwise the comparison would prove less than it seems to."""
    known = {name: sum(value is not None for value in values) for (name, resource), values in reference.items() if resource == "cpu"}
    assert known["steady"] == SLOTS
    assert 150 < known["gaps"] < SLOTS
    assert known["replaced"] > 250
    assert 10 <= known["young"] <= 20
    assert known["gone"] < 180
    resets = next(case for case in cases if case.name == "resets").series[0].cpu
    assert sum(after[1] < before[1] for before, after in pairwise(resets)) >= 30
