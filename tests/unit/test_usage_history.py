"""The history as text: what OpenMetrics and CSV hold of past pods."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.usage import ContainerUsage, Resources, Restarts, WorkloadUsage, constant, ramp, restarts_above, steps
from tests.usage.exposition import write_openmetrics
from tests.usage.history_file import COLUMNS, write_csv
from tests.usage.pod import PodRun, pods_between
from tests.usage.quantity import MEBIBYTE
from tests.usage.workload import WorkloadKind, restarts_each_loop, scenario_digest

DAY = 86_400.0
MIDNIGHT = 20_700 * DAY
Samples = dict[str, dict[tuple[tuple[str, str], ...], list[tuple[float, float]]]]

LINE = re.compile(r'(?P<name>[a-z_]+)\{(?P<labels>(?:[a-z_]+="[^"\\]*",?)*)\} (?P<value>\S+) (?P<time>\d+)')


def container(**changes: object) -> ContainerUsage:
    values: dict[str, object] = {"name": "app", "cpu": constant(0.18), "memory": constant(320 * MEBIBYTE)} | changes
    return ContainerUsage(**values)  # type: ignore[arg-type]


def workload(**changes: object) -> WorkloadUsage:
    values: dict[str, object] = {
        "namespace": "shop",
        "kind": "Deployment",
        "name": "web",
        "containers": (container(),),
        "variation": 0.0,
    } | changes
    return WorkloadUsage(**values)  # type: ignore[arg-type]


def written(*workloads: WorkloadUsage, begin: float, end: float, until: float = math.inf) -> str:
    stream = io.StringIO()
    samples = write_openmetrics(stream, workloads, begin=begin, end=end, until=until)
    text = stream.getvalue()
    assert samples == sum(not line.startswith("#") for line in text.splitlines())
    return text


def parsed(text: str) -> Samples:
    """Refuses what is not OpenMetrics: families in pieces or without type, times going back, a missing end."""
    families: list[str] = []
    samples: Samples = defaultdict(lambda: defaultdict(list))
    lines = text.splitlines()
    assert lines[-1] == "# EOF"
    for line in lines[:-1]:
        if line.startswith("# TYPE "):
            family, kind = line.split()[2:]
            assert family not in families
            families.append(family)
            suffix = "_total" if kind == "counter" else ""
            continue
        found = LINE.fullmatch(line)
        assert found, line
        assert found["name"] == families[-1] + suffix
        key = tuple(sorted((part.split("=")[0], part.split('"')[1]) for part in found["labels"].split(",")))
        series = samples[found["name"]][key]
        assert not series or series[-1][0] < float(found["time"])
        series.append((float(found["time"]), float(found["value"])))
    return samples


def labels_of(samples: Samples, name: str) -> list[dict[str, str]]:
    return [dict(key) for key in samples[name]]


def of_container(samples: Samples, name: str, container_name: str = "app") -> list[np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    return [np.array(points) for key, points in samples[name].items() if dict(key).get("container") == container_name]


def test_the_worked_example_is_written_exactly() -> None:
    samples = parsed(written(workload(replicas=2, replaced_every_days=5), begin=MIDNIGHT, end=MIDNIGHT + DAY))
    for points in of_container(samples, "container_cpu_usage_seconds_total"):
        increments = np.round(np.diff(points[:, 1]), 6)
        assert set(increments[increments > 0]) == {10.8}
    for points in of_container(samples, "container_memory_working_set_bytes"):
        assert set(points[:, 1]) == {335544320.0}


def test_usage_has_the_labels_of_the_kubelet() -> None:
    samples = parsed(written(workload(), begin=MIDNIGHT, end=MIDNIGHT + 600))
    (labels,) = labels_of(samples, "container_memory_working_set_bytes")
    assert labels.keys() == {
        "namespace", "pod", "container", "image", "id", "name", "node", "job", "metrics_path", "instance",
    }  # fmt: skip
    assert (labels["job"], labels["metrics_path"]) == ("kubelet", "/metrics/cadvisor")
    assert re.fullmatch(r"web-[a-z0-9]{10}-[a-z0-9]{5}", labels["pod"])


def test_cgroup_and_pause_series_carry_the_sum_and_little() -> None:
    samples = parsed(written(workload(cgroup_series=True), begin=MIDNIGHT, end=MIDNIGHT + 60))
    memory = {dict(key).get("container"): points[0][1] for key, points in samples["container_memory_working_set_bytes"].items()}
    assert memory.keys() == {"app", "POD", None}
    assert memory[None] == memory["app"] + memory["POD"]


def test_owners_lead_from_the_pod_to_the_deployment() -> None:
    samples = parsed(written(workload(replicas=2), begin=MIDNIGHT, end=MIDNIGHT + 600))
    owners = labels_of(samples, "kube_pod_owner")
    (replicaset,) = labels_of(samples, "kube_replicaset_owner")
    assert {(owner["owner_kind"], owner["owner_name"]) for owner in owners} == {("ReplicaSet", replicaset["replicaset"])}
    assert (replicaset["owner_kind"], replicaset["owner_name"]) == ("Deployment", "web")
    assert {owner["pod"] for owner in owners} == {labels["pod"] for labels in labels_of(samples, "container_memory_working_set_bytes")}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Deployment", r"web-[a-z0-9]{10}-[a-z0-9]{5}"),
        ("StatefulSet", r"web-[01]"),
        ("DaemonSet", r"web-[a-z0-9]{5}"),
        ("CronJob", r"web-\d{8}-[a-z0-9]{5}"),
    ],
)
def test_past_pods_are_named_as_their_controllers_name_them(kind: WorkloadKind, name: str) -> None:
    of_kind = workload(kind=kind, replicas=2, replaced_every_days=1, active_minutes=30 if kind == "CronJob" else None)
    pods = list(pods_between(of_kind, begin=MIDNIGHT, end=MIDNIGHT + 3 * DAY))
    assert len(pods) >= 6
    assert all(re.fullmatch(name, pod.name) for pod in pods)
    assert len({pod.uid for pod in pods}) == len(pods)


def test_a_run_of_a_cron_job_has_the_minute_in_its_name_and_an_owner_above() -> None:
    nightly = workload(kind="CronJob", replaced_every_days=1, active_minutes=30)
    samples = parsed(written(nightly, begin=MIDNIGHT, end=MIDNIGHT + 2 * DAY))
    for labels in labels_of(samples, "kube_job_owner"):
        assert (labels["owner_kind"], labels["owner_name"]) == ("CronJob", "web")
    (pod, *_) = pods_between(nightly, begin=MIDNIGHT, end=MIDNIGHT + 2 * DAY)
    assert pod.ended - pod.started == 1800.0
    assert pod.name.split("-")[1] == f"{int(pod.started // 60):08d}"


def test_a_cron_job_without_its_times_is_refused() -> None:
    with pytest.raises(ValueError, match="active_minutes"):
        workload(kind="CronJob")


def test_the_counter_of_a_new_pod_starts_at_zero() -> None:
    samples = parsed(written(workload(replaced_every_days=0.5), begin=MIDNIGHT, end=MIDNIGHT + 2 * DAY))
    firsts = [points[0][1] for points in of_container(samples, "container_cpu_usage_seconds_total")]
    assert len(firsts) >= 4
    assert all(first <= 0.18 * 60 for first in firsts[1:])


def test_one_pod_of_a_replica_takes_over_where_the_other_ended() -> None:
    pods = list(pods_between(workload(replaced_every_days=1), begin=MIDNIGHT, end=MIDNIGHT + 5 * DAY))
    assert [pod.ended for pod in pods[:-1]] == [pod.started for pod in pods[1:]]


def test_statefulset_pods_of_one_name_are_never_visible_together() -> None:
    pods = list(pods_between(workload(kind="StatefulSet", replaced_every_days=1), begin=MIDNIGHT, end=MIDNIGHT + 5 * DAY))
    lookback_seconds = 300.0
    assert all(later.started - earlier.ended > lookback_seconds for earlier, later in pairwise(pods))
    (last,) = pods_between(workload(kind="StatefulSet"), begin=MIDNIGHT, end=MIDNIGHT + 600, until=MIDNIGHT + 600)
    assert MIDNIGHT + 600 - last.ended > lookback_seconds


OOM_AT_SIX = Restarts(period_seconds=DAY, anchor_seconds=0.0, offsets=(6 * 3600.0,))


def test_an_oom_kill_resets_the_counter_and_shows_in_state() -> None:
    killed = workload(containers=(container(restarts=OOM_AT_SIX),), replaced_every_days=40)
    samples = parsed(written(killed, begin=MIDNIGHT, end=MIDNIGHT + DAY))
    (cpu,) = of_container(samples, "container_cpu_usage_seconds_total")
    (restarts,) = of_container(samples, "kube_pod_container_status_restarts_total")
    falls = cpu[1:, 0][np.diff(cpu[:, 1]) < 0]
    assert falls.tolist() == [MIDNIGHT + 6 * 3600]
    assert cpu[cpu[:, 0] == falls[0]][0, 1] == 0.0
    assert np.diff(restarts[:, 1]).sum() == 1.0
    assert {labels["reason"] for labels in labels_of(samples, "kube_pod_container_status_last_terminated_reason")} == {"OOMKilled"}


def test_no_reason_is_told_before_the_first_kill() -> None:
    fresh = workload(containers=(container(restarts=OOM_AT_SIX),), history_hours=2)
    until = MIDNIGHT + 7 * 3600
    samples = parsed(written(fresh, begin=MIDNIGHT, end=until, until=until))
    (reason,) = of_container(samples, "kube_pod_container_status_last_terminated_reason")
    assert reason[0, 0] >= MIDNIGHT + 6 * 3600
    assert of_container(samples, "kube_pod_container_status_restarts_total")[0][0].tolist()[1] == 0.0


def test_memory_never_exceeds_its_limit() -> None:
    tight = container(memory=steps([100.0 * MEBIBYTE, 300.0 * MEBIBYTE], seconds_each=600), limits=Resources(memory="256Mi"))
    samples = parsed(written(workload(containers=(tight,)), begin=MIDNIGHT, end=MIDNIGHT + 1200))
    (memory,) = of_container(samples, "container_memory_working_set_bytes")
    assert memory[:, 1].max() == 256 * MEBIBYTE


def test_kills_follow_from_a_curve_above_the_limit_but_not_in_quick_succession() -> None:
    curve = steps([1.0, 9.0, 1.0, 9.0, 1.0, 9.0], seconds_each=1000.0)
    assert restarts_above(curve, 5.0, apart_seconds=3600.0).offsets == (1000.0, 5000.0)
    assert restarts_each_loop(ramp(1.0, 2.0, period_seconds=50.0, anchor_seconds=7.0)).between(start=7, end=110) == (57.0, 107.0)


def test_resources_are_told_in_cores_and_bytes_and_sidecars_apart() -> None:
    sized = {"requests": Resources(cpu="500m", memory="1Gi"), "limits": Resources(cpu="1")}
    both = workload(containers=(container(**sized), container(name="proxy", sidecar=True, **sized)))
    samples = parsed(written(both, begin=MIDNIGHT, end=MIDNIGHT + 60))
    told = {
        (name, dict(key)["container"], dict(key)["resource"], dict(key)["unit"]): points[0][1]
        for name in samples
        if "_resource_" in name
        for key, points in samples[name].items()
    }
    assert told == {
        ("kube_pod_container_resource_requests", "app", "cpu", "core"): 0.5,
        ("kube_pod_container_resource_requests", "app", "memory", "byte"): 2**30,
        ("kube_pod_container_resource_limits", "app", "cpu", "core"): 1.0,
        ("kube_pod_init_container_resource_requests", "proxy", "cpu", "core"): 0.5,
        ("kube_pod_init_container_resource_requests", "proxy", "memory", "byte"): 2**30,
        ("kube_pod_init_container_resource_limits", "proxy", "cpu", "core"): 1.0,
    }


def test_throttling_is_told_where_it_is_known() -> None:
    throttled = workload(containers=(container(throttled_share=0.25),), replaced_every_days=1)
    samples = parsed(written(throttled, begin=MIDNIGHT, end=MIDNIGHT + 3600))
    (periods,) = of_container(samples, "container_cpu_cfs_periods_total")
    (throttles,) = of_container(samples, "container_cpu_cfs_throttled_periods_total")
    assert set(np.diff(periods[:, 1])) == {600.0}
    assert set(np.diff(throttles[:, 1])) == {150.0}


def test_state_is_written_wider_than_usage_but_within_the_lookback() -> None:
    samples = parsed(written(workload(), begin=MIDNIGHT, end=MIDNIGHT + 3600))
    ((*usage,),) = samples["container_memory_working_set_bytes"].values()
    ((*owner,),) = samples["kube_pod_owner"].values()
    assert [len(usage), len(owner)] == [60, 15]
    assert set(np.diff([time for time, _ in owner])) == {240.0}


def test_a_day_has_the_same_content_whatever_is_written_around_it() -> None:
    scenario = (
        workload(replicas=3, replaced_every_days=0.7, variation=0.1, containers=(container(restarts=OOM_AT_SIX),)),
        workload(kind="StatefulSet", name="database", replaced_every_days=0.9),
        workload(kind="CronJob", name="nightly", replaced_every_days=0.25, active_minutes=40),
    )
    alone = parsed(written(*scenario, begin=MIDNIGHT, end=MIDNIGHT + DAY))
    among = parsed(written(*scenario, begin=MIDNIGHT - DAY, end=MIDNIGHT + 1.5 * DAY, until=MIDNIGHT + 1.5 * DAY))
    cut: Samples = defaultdict(dict)
    for name, series in among.items():
        for key, points in series.items():
            if inside := [point for point in points if MIDNIGHT <= point[0] < MIDNIGHT + DAY]:
                cut[name][key] = inside
    assert cut == alone


def test_pods_differ_a_little_and_always_in_the_same_way() -> None:
    varied = workload(replicas=5, variation=0.1)
    shares = [varied.share_of_pod(ordinal) for ordinal in range(5)]
    assert len(set(shares)) == 5
    assert all(0.9 <= share <= 1.1 for share in shares)
    assert shares == [workload(replicas=5, variation=0.1).share_of_pod(ordinal) for ordinal in range(5)]


def test_a_new_workload_begins_hours_before_the_end_and_is_absent_without_one() -> None:
    fresh, until = workload(history_hours=6), MIDNIGHT + 3600.0
    assert written(fresh, begin=MIDNIGHT, end=MIDNIGHT + DAY) == "# EOF\n"
    (memory,) = of_container(parsed(written(fresh, begin=MIDNIGHT, end=until, until=until)), "container_memory_working_set_bytes")
    assert memory[0, 0] == until - 6 * 3600


def test_the_grid_leaves_out_when_the_pod_did_not_run() -> None:
    (pod, *_) = pods_between(workload(replaced_every_days=1), begin=MIDNIGHT, end=MIDNIGHT + 10)
    assert isinstance(pod, PodRun)
    grid = pod.grid(begin=pod.started - 1000, end=pod.ended + 1000, spacing_seconds=60)
    assert pod.started <= grid[0] < pod.started + 60
    assert pod.ended - 60 <= grid[-1] < pod.ended


def test_the_digest_of_a_scenario_changes_with_any_of_its_numbers() -> None:
    digests = {
        scenario_digest(scenario)
        for scenario in (
            (workload(),),
            (workload(replicas=2),),
            (workload(containers=(container(cpu=constant(0.181)),)),),
            (workload(), workload(name="other")),
        )
    }
    assert len(digests) == 4
    assert scenario_digest((workload(),)) == scenario_digest((workload(),))
    assert scenario_digest((workload(),), 60.0) != scenario_digest((workload(),), 30.0)


def rows_of(path: Path) -> list[dict[str, str]]:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return list(csv.DictReader(text.decode().splitlines()))


@pytest.mark.parametrize("name", ["history.csv", "history.csv.gz"])
def test_the_csv_holds_the_worked_example(tmp_path: Path, name: str) -> None:
    until = MIDNIGHT + 40_000.0
    count = write_csv([workload(replicas=2)], tmp_path / name, days=1, until=until)
    rows = rows_of(tmp_path / name)
    assert len(rows) == count == 2 * 287
    assert tuple(rows[0]) == COLUMNS
    assert {(row["namespace"], row["workload"], row["container"]) for row in rows} == {("shop", "Deployment/web", "app")}
    assert {(row["cpu_cores"], row["memory_bytes"]) for row in rows} == {("0.18", "335544320")}
    times = sorted({int(row["unix_ts"]) for row in rows})
    assert set(np.diff(times)) == {300}
    assert until - 300 < times[-1] <= until


def test_the_csv_tells_the_mean_cpu_and_the_highest_memory_of_a_step(tmp_path: Path) -> None:
    uneven = container(cpu=steps([1.0, 3.0], seconds_each=150), memory=steps([1.0 * MEBIBYTE, 5.0 * MEBIBYTE], seconds_each=150))
    write_csv([workload(containers=(uneven,))], tmp_path / "history.csv", days=0.1, until=MIDNIGHT)
    assert {(row["cpu_cores"], row["memory_bytes"]) for row in rows_of(tmp_path / "history.csv")} == {("2.0", str(5 * MEBIBYTE))}
