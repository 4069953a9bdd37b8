"""What measuring may cost at most, and whether a run kept to it. Pure: records in, verdicts out.

A goal is judged by the run that it speaks of. Without one it is not judged, however good a smaller run looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.bench.record import Phase, Record, find, sizes_of

CONTAINERS = 10_000
FEW_CONTAINERS = 1_000
DAYS = 14
CPU_STEP_SECONDS = 0.01
"""The kernel counts CPU time in steps of this; less cannot be told from nothing."""

LINEAR = 1.05
"""An exponent up to here counts as linear: two runs of the same differ by so much."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound and what was measured, in words. `met` is None where the run does not speak of it."""

    title: str
    bound: str
    measured: str
    met: bool | None

    @property
    def verdict(self) -> str:
        return {True: "met", False: "**not met**", None: "not judged"}[self.met]


def ratio(theirs: float | None, ours: float | None) -> float | None:
    """How many times as much theirs is."""
    if theirs is None or ours is None:
        return None
    return math.inf if ours == 0 else theirs / ours


def cpu_ratio(theirs: Record | None, ours: Record | None) -> float | None:
    """Of Prometheus' CPU time; never more than what can be told from the steps in which it is counted."""
    if theirs is None or ours is None or theirs.prometheus_cpu_s is None or ours.prometheus_cpu_s is None:
        return None
    return theirs.prometheus_cpu_s / max(ours.prometheus_cpu_s, CPU_STEP_SECONDS)


def exponent(values: Sequence[tuple[int, float | None]]) -> float | None:
    """b of cost = a x containers^b between the smallest and the largest size: 1 is linear, 2 quadratic."""
    usable = sorted((size, value) for size, value in values if value)
    if len(usable) < 2:
        return None
    (small, low), (large, high) = usable[0], usable[-1]
    return math.log(high / low) / math.log(large / small)


def judged(records: Sequence[Record]) -> list[Goal]:
    """Every goal, in the order of the design."""
    return [*_backfill(records), *_cycle(records), *_comparison(records), _memory(records), *_growth(records)]


def _full(records: Sequence[Record], phase: Phase) -> Record | None:
    found = find(records, arm="rightsizer", phase=phase, containers=CONTAINERS)
    return found if found is not None and found.days == DAYS else None


def _untroubled(*records: Record | None) -> bool:
    return not any(record.trouble for record in records if record is not None)


def _at_most(title: str, bound: float, value: float | None, *, unit: str, clean: bool = True) -> Goal:
    measured = "" if value is None else f"{value:,.2f} {unit}".replace(".00 ", " ").strip()
    return Goal(title, f"at most {bound:,g} {unit}".strip(), measured, None if value is None else value <= bound and clean)


def _backfill(records: Sequence[Record]) -> Iterator[Goal]:
    record = _full(records, "backfill")
    clean = record is not None and not record.trouble
    yield _at_most("start-up history, 10,000 containers, 14 days", 180, record.wall_s if record else None, unit="s", clean=clean)
    # The server runs with its own limit of 50 M samples, so a query beyond it is refused.
    yield _at_most("queries of it that are refused (beyond 50 M samples)", 0, record.refused if record else None, unit="", clean=clean)


def _cycle(records: Sequence[Record]) -> Iterator[Goal]:
    record = _full(records, "cycle")
    clean = record is not None and not record.trouble
    for title, bound, value, unit in (
        ("a steady cycle, 10,000 containers: Prometheus CPU", 0.5, record.prometheus_cpu_s if record else None, "s"),
        ("a steady cycle, 10,000 containers: wall time", 5, record.wall_s if record else None, "s"),
        ("a steady cycle, 10,000 containers: API requests", 60, record.api_requests if record else None, ""),
        ("a cycle without new usage, 10,000 containers: API writes", 0, record.quiet_api_writes if record else None, ""),
    ):
        yield _at_most(title, bound, value, unit=unit, clean=clean)


def _comparison(records: Sequence[Record]) -> Iterator[Goal]:
    """On the largest size that both arms ran on: it is the same history for both. Judged on the full size only."""
    sizes = [size for size in sizes_of(records) if find(records, arm="per-container", phase="cycle", containers=size)]
    size = max(sizes, default=0)
    theirs = find(records, arm="per-container", phase="backfill", containers=size)
    backfill = find(records, arm="rightsizer", phase="backfill", containers=size)
    cycle = find(records, arm="rightsizer", phase="cycle", containers=size)
    requests = ratio(theirs.requests, backfill.requests) if theirs and backfill else None
    for title, bound, value in (
        ("one query per container: Prometheus CPU against our backfill", 20, cpu_ratio(theirs, backfill)),
        ("one query per container: requests against our backfill", 50, requests),
        ("one query per container: Prometheus CPU against our cycle", 1_000, cpu_ratio(theirs, cycle)),
    ):
        measured = "" if value is None else f"{value:,.1f} times, {size:,} containers"
        judging = (size, theirs.days if theirs else 0) == (CONTAINERS, DAYS) and _untroubled(theirs, backfill, cycle)
        yield Goal(title, f"at least {bound:,} times", measured, value >= bound if value is not None and judging else None)


def _memory(records: Sequence[Record]) -> Goal:
    backfill, cycle = _full(records, "backfill"), _full(records, "cycle")
    peaks = [record.operator_rss_mb for record in (backfill, cycle) if record is not None and record.operator_rss_mb is not None]
    clean = _untroubled(backfill, cycle)
    return _at_most("memory of the operator, 10,000 containers", 250, max(peaks, default=None), unit="MB", clean=clean)


def _growth(records: Sequence[Record]) -> Iterator[Goal]:
    for phase, title in (("backfill", "backfill"), ("cycle", "steady cycle")):
        for name, field in (("wall time", "wall_s"), ("Prometheus CPU", "prometheus_cpu_s")):
            ours = [one for one in records if (one.arm, one.phase) == ("rightsizer", phase) and not one.trouble]
            sizes = sizes_of(ours)
            found = exponent([(one.containers, getattr(one, field)) for one in ours])
            measured = "" if found is None else f"exponent {found:.2f} from {sizes[0]:,} to {sizes[-1]:,} containers"
            judging = {FEW_CONTAINERS, CONTAINERS} <= set(sizes)
            met = found <= LINEAR if found is not None and judging else None
            yield Goal(f"growth of the {title}: {name}", f"linear or better, {FEW_CONTAINERS:,} to {CONTAINERS:,}", measured, met)
