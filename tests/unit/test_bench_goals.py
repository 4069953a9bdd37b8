"""The goals of measuring are judged by the run that they speak of, and by no other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.bench.goals import Goal, cpu_ratio, exponent, judged, ratio
from tests.bench.record import Phase, Record


def ours(phase: Phase, *, containers: int = 10_000, days: int = 14) -> Record:
    """Within every goal."""
    share = containers / 10_000
    return Record(
        arm="rightsizer",
        phase=phase,
        containers=containers,
        wall_s=(100.0 if phase == "backfill" else 2.0) * share,
        prometheus_cpu_s=(50.0 if phase == "backfill" else 0.3) * share,
        prometheus_peak_mb=500.0,
        requests=100.0 if phase == "backfill" else 2.0,
        bytes=1e9 * share,
        operator_cpu_s=30.0 * share,
        operator_rss_mb=200.0 if phase == "backfill" else 180.0,
        api_requests=40.0,
        api_writes=3.0,
        quiet_api_writes=0.0,
        days=days,
        refused=0.0,
    )


def theirs(*, containers: int = 10_000, days: int = 14) -> list[Record]:
    one = replace(
        ours("backfill", containers=containers, days=days), arm="per-container", prometheus_cpu_s=1_000.0, requests=7_000.0, wall_s=600.0
    )
    return [one, replace(one, phase="cycle")]


def whole_run() -> list[Record]:
    return [ours(phase, containers=containers) for containers in (1_000, 10_000) for phase in ("backfill", "cycle")] + theirs()


def changed(record: Record, field: str, value: float) -> Record:
    different: dict[str, Any] = {field: value}
    return replace(record, **different)


def goal(records: list[Record], title: str) -> Goal:
    (found,) = [goal for goal in judged(records) if title in goal.title]
    return found


def test_a_run_within_every_goal_meets_them_all() -> None:
    assert {goal.title: goal.met for goal in judged(whole_run())} == dict.fromkeys([goal.title for goal in judged([])], True)


@pytest.mark.parametrize(
    ("title", "phase", "field", "value"),
    [
        ("start-up history", "backfill", "wall_s", 180.1),
        ("refused", "backfill", "refused", 1.0),
        ("cycle, 10,000 containers: Prometheus CPU", "cycle", "prometheus_cpu_s", 0.51),
        ("cycle, 10,000 containers: wall time", "cycle", "wall_s", 5.1),
        ("API requests", "cycle", "api_requests", 61.0),
        ("API writes", "cycle", "quiet_api_writes", 1.0),
        ("CPU against our backfill", "backfill", "prometheus_cpu_s", 50.1),
        ("requests against our backfill", "backfill", "requests", 140.1),
        ("CPU against our cycle", "cycle", "prometheus_cpu_s", 1.01),
        ("memory of the operator", "backfill", "operator_rss_mb", 250.1),
        ("memory of the operator", "cycle", "operator_rss_mb", 250.1),
        ("growth of the backfill: wall", "backfill", "wall_s", 10 * 10**1.06),
        ("growth of the backfill: Prometheus", "backfill", "prometheus_cpu_s", 5 * 10**1.06),
        ("growth of the steady cycle: wall", "cycle", "wall_s", 0.2 * 10**1.06),
        ("growth of the steady cycle: Prometheus", "cycle", "prometheus_cpu_s", 0.03 * 10**1.06),
    ],
)
def test_a_figure_beyond_its_bound_is_told(title: str, phase: Phase, field: str, value: float) -> None:
    records = [
        changed(record, field, value) if (record.arm, record.phase, record.containers) == ("rightsizer", phase, 10_000) else record
        for record in whole_run()
    ]
    assert goal(records, title).met is False
    assert goal(records, title).verdict == "**not met**"


@pytest.mark.parametrize(
    "records",
    [
        [],
        [ours("backfill", containers=3_000), ours("cycle", containers=3_000), *theirs(containers=3_000)],
        [ours("backfill", days=2), ours("cycle", days=2), *theirs(days=2)],
    ],
    ids=["nothing", "a small cluster", "a short history"],
)
def test_other_runs_are_not_judged(records: list[Record]) -> None:
    assert {goal.met for goal in judged(records)} == {None}


def test_a_smaller_run_is_still_told() -> None:
    records = [ours("backfill", containers=3_000), ours("cycle", containers=3_000), *theirs(containers=3_000)]
    assert goal(records, "requests against our backfill").measured == "70.0 times, 3,000 containers"


def test_a_run_in_trouble_meets_no_goal_of_its_own() -> None:
    records = [replace(record, trouble="3 namespaces were not measured") for record in whole_run()]
    assert not any(one.met for one in judged(records))


@pytest.mark.parametrize(("theirs", "ours", "times"), [(10.0, 2.0, 5.0), (10.0, 0.0, math.inf), (None, 2.0, None), (10.0, None, None)])
def test_ratio(theirs: float | None, ours: float | None, times: float | None) -> None:
    assert ratio(theirs, ours) == times


def test_less_than_a_step_of_cpu_time_is_a_step() -> None:
    assert cpu_ratio(theirs()[0], replace(ours("cycle"), prometheus_cpu_s=0.0)) == pytest.approx(100_000)
    assert cpu_ratio(None, ours("cycle")) is None


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([(1_000, 3.0), (3_000, 99.0), (10_000, 30.0)], 1.0),
        ([(10_000, 300.0), (1_000, 3.0)], 2.0),
        ([(1_000, 3.0), (10_000, 3.0)], 0.0),
        ([(1_000, 3.0)], None),
        ([(1_000, None), (10_000, 30.0)], None),
        ([(1_000, 0.0), (10_000, 30.0)], None),
    ],
)
def test_exponent(values: list[tuple[int, float | None]], found: float | None) -> None:
    assert exponent(values) == (None if found is None else pytest.approx(found))
