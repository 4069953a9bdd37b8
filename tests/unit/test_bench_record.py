"""Records of the benchmark: scaled up from a sample, written and read again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.generated import evenly, read_cluster
from tests.bench.measure import Plan, plan_from
from tests.bench.meter import Answered, Spent
from tests.bench.record import Record, find, for_each_phase, read_records, record_of, scaled_up, sizes_of, write_records

SPENT = Spent(wall_s=2.0, cpu_s=1.5, peak_mb=120.0, answered=Answered(requests=70, bytes=1_000, samples=9_000, refused=1))


def sampled() -> Record:
    return record_of(SPENT, arm="per-container", phase="backfill", containers=1_000, days=14, sized_containers=500)


def test_what_was_spent_stands_in_the_record() -> None:
    record = sampled()
    assert (record.wall_s, record.prometheus_cpu_s, record.prometheus_peak_mb) == (2.0, 1.5, 120.0)
    assert (record.requests, record.bytes, record.samples, record.refused) == (70, 1_000, 9_000, 1)
    assert (record.operator_cpu_s, record.operator_rss_mb, record.api_requests, record.api_writes) == (None, None, None, None)


def test_scaled_to_the_declared_containers_but_for_the_peak() -> None:
    record = scaled_up(sampled(), asked_containers=50)
    assert (record.wall_s, record.prometheus_cpu_s, record.requests, record.bytes, record.samples) == (20, 15, 700, 10_000, 90_000)
    assert record.prometheus_peak_mb == 120.0
    assert (record.containers, record.sized_containers, record.asked_containers) == (1_000, 500, 50)


def test_all_asked_for_is_scaled_by_one_and_what_is_missing_stays_missing() -> None:
    record = scaled_up(replace(sampled(), wall_s=None), asked_containers=500)
    assert (record.wall_s, record.prometheus_cpu_s) == (None, 1.5)


def test_both_phases_cost_the_same_where_nothing_is_kept() -> None:
    backfill, cycle = for_each_phase(sampled())
    assert (backfill.phase, cycle.phase) == ("backfill", "cycle")
    assert replace(cycle, phase="backfill") == backfill


def test_found_by_arm_phase_and_size() -> None:
    records = [*for_each_phase(sampled()), replace(sampled(), containers=50)]
    assert find(records, arm="per-container", phase="cycle", containers=1_000) == records[1]
    assert find(records, arm="cluster-wide", phase="cycle", containers=1_000) is None
    assert sizes_of(records) == [50, 1_000]


def test_written_with_the_agreed_names_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "bench" / "measure.json"
    write_records([replace(sampled(), wall_s=1.23456)], file)
    (written,) = json.loads(file.read_text())
    agreed = "arm phase containers wall_s prometheus_cpu_s prometheus_peak_mb requests bytes "
    agreed += "operator_cpu_s operator_rss_mb api_requests api_writes"
    assert list(written)[:12] == agreed.split()
    assert (written["wall_s"], written["api_writes"]) == (1.235, None)
    assert read_records(file) == [replace(sampled(), wall_s=1.235)]


@pytest.mark.parametrize(
    ("count", "chosen"),
    [(1, [0]), (3, [0, 3, 6]), (4, [0, 2, 5, 7]), (10, list(range(10))), (99, list(range(10)))],
)
def test_evenly(count: int, chosen: list[int]) -> None:
    assert evenly(list(range(10)), count) == chosen


def test_cluster_as_the_program_writes_it(tmp_path: Path) -> None:
    containers = [
        {"name": name, "cpuRequestMillicores": 100, "memoryRequestBytes": 2**20, "cpuLimited": False} for name in ("app", "proxy")
    ]
    workload = {"namespace": "team-001", "kind": "Deployment", "name": "web-0000", "replicas": 3, "containers": containers}
    written = {"containers": 6, "days": 2, "end": 86_400, "samples": 99, "seed": 1, "workloads": [workload]}
    (tmp_path / "cluster.json").write_text(json.dumps(written))
    cluster = read_cluster(tmp_path)
    assert (cluster.containers, cluster.days, cluster.end, cluster.namespaces) == (6, 2, 86_400, ["team-001"])
    assert [(one.name, container) for one, container in cluster.sized_containers] == [("web-0000", "app"), ("web-0000", "proxy")]


def test_plan_by_default_and_as_asked_for() -> None:
    assert plan_from({}) == Plan(sizes=(1_000, 3_000, 10_000), days=14, sample=50, arms=("rightsizer", "per-container", "cluster-wide"))
    asked = {"SIZES": "200 50", "DAYS": "2", "SAMPLE": "5", "ARMS": "rightsizer"}
    assert plan_from(asked) == Plan(sizes=(50, 200), days=2, sample=5, arms=("rightsizer",))


@pytest.mark.parametrize(
    ("environment", "whole"), [({}, True), ({"SAMPLE": "5"}, True), ({"SIZES": "1000"}, False), ({"ARMS": "rightsizer"}, False)]
)
def test_only_a_whole_run_is_kept_in_the_docs(environment: dict[str, str], whole: bool) -> None:
    assert plan_from(environment).whole is whole


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"SIZES": "many"}, "SIZES"),
        ({"DAYS": "0"}, "DAYS"),
        ({"SAMPLE": "5 6"}, "SAMPLE"),
        ({"SIZES": "-5"}, "SIZES"),
        ({"ARMS": "other"}, "ARMS"),
    ],
)
def test_plan_that_makes_no_sense_is_refused_by_name(environment: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        plan_from(environment)
