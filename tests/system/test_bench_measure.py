"""The benchmark of measuring on a tiny cluster: every arm gives figures that make sense, and nothing is left running."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.bench.measure import Plan, measure
from tests.bench.other_arms import Asker
from tests.bench.record import Record, find
from tests.bench.usage_blocks import END, Size, generated_cluster
from tests.bench.usage_server import usage_server

pytestmark = pytest.mark.system

CONTAINERS = 50


def silent(text: str) -> None:
    """Progress is for people."""


def test_tiny_benchmark(tmp_path: Path) -> None:
    records = measure(Plan(sizes=(CONTAINERS,), days=1, sample=5), records_file=tmp_path / "measure.json", log_folder=tmp_path)
    assert len(json.loads((tmp_path / "measure.json").read_text())) == len(records) == 6
    assert {record.trouble for record in records} == {""}
    backfill, cycle = (find(records, arm="rightsizer", phase=phase, containers=CONTAINERS) for phase in ("backfill", "cycle"))
    theirs = find(records, arm="per-container", phase="cycle", containers=CONTAINERS)
    assert backfill is not None
    assert cycle is not None
    assert theirs is not None
    _check_ours(backfill, cycle)
    assert theirs.asked_containers == 5
    assert 6 <= (theirs.requests or 0) / theirs.sized_containers <= 7


def _check_ours(backfill: Record, cycle: Record) -> None:
    assert backfill.sized_containers == cycle.sized_containers > 10
    assert 50 < (backfill.operator_rss_mb or 0) < 250
    assert (backfill.api_writes or 0) > 0
    assert cycle.quiet_api_writes == 0
    assert (backfill.bytes or 0) > 3 * (cycle.bytes or math.inf)
    assert 0 < (cycle.requests or 0) < (backfill.requests or 0)


def test_generated_history_is_what_it_says(tmp_path: Path) -> None:
    cluster = generated_cluster(Size(containers=200, days=2), tell=silent)
    again = generated_cluster(Size(containers=200, days=2), tell=silent, cache=tmp_path)
    assert again.folder != cluster.folder
    assert (again.samples, again.workloads) == (cluster.samples, cluster.workloads)
    with usage_server(cluster) as server:
        # Before the history begins, at two times within it, and at its last scrape.
        counts = [_count(server.url, at) for at in (END - 2 * 86_400 - 60, END - 100_000, END - 7_200, END - 1)]
        replaced = _value(server.url, "count(count by (pod,uid) (last_over_time(kube_pod_owner[2d])))", END - 1)
        resets = _value(server.url, "sum(resets(container_cpu_usage_seconds_total[2d]))", END - 1)
    pods = sum(workload.replicas for workload in cluster.workloads)
    assert counts[0] == 0
    # Where a pod is being replaced, both are there for half a minute.
    assert all(200 <= count <= 210 for count in counts[1:])
    assert 0.2 < replaced / pods - 1 < 0.6
    assert resets == 0


def _count(url: str, at: int) -> float:
    return _value(url, 'count(container_memory_working_set_bytes{container!=""}) or vector(0)', at)


def _value(url: str, query: str, at: int) -> float:
    (series,) = Asker(url, at=at).ask(query)
    return float(series["value"][1])
