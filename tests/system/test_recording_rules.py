"""The shipped recording rules, by promtool and by a real Prometheus: what they keep is what is asked for otherwise, to the last bit."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rightsizer.cycle import Measuring
from rightsizer.history import Span, UsageKind
from rightsizer.prometheus import Connection, Endpoint, Prometheus
from rightsizer.workload import Container, ContainerKey, Sizes, Workload, WorkloadRef
from tests.loaded_prometheus import loaded_prometheus, prometheus_major, seconds_off_the_edges
from tests.testbed.binaries import built_binaries

pytestmark = pytest.mark.system

RULES = Path(__file__).parents[2] / "manifests" / "prometheus-rules" / "usage.yaml"
SCRAPE_SECONDS = 60
HOUR = 3600
KINDS: tuple[UsageKind, ...] = ("cpu", "memory", "throttled")


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The groups of the PrometheusRule as a file of rules."""
    path = tmp_path_factory.mktemp("rules") / "usage.yaml"
    path.write_text(yaml.safe_dump({"groups": yaml.safe_load(RULES.read_text())["spec"]["groups"]}))
    return path


def promtool(*arguments: object) -> str:
    result = subprocess.run([str(built_binaries() / "promtool"), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_promtool_accepts_the_rules(rules: Path) -> None:
    assert "SUCCESS: 4 rules found" in promtool("check", "rules", rules)


def test_promtool_finds_the_known_answers(rules: Path, tmp_path: Path) -> None:
    container = 'namespace="shop", pod="web-0", container="app"'
    answers = {
        # Recorded at 20 minutes: the slot that ended at 15, with its peak. Numbers that are exact in binary.
        f'rightsizer:container_cpu_usage_cores{{{container}, scrape_interval="60"}}': 0.25,
        f'rightsizer:container_memory_working_set_bytes{{{container}, scrape_interval="60"}}': 700,
        f'rightsizer:container_cpu_throttled_share{{{container}, scrape_interval="60"}}': 0.25,
        'rightsizer:recorded_containers{namespace="shop", scrape_interval="60"}': 1,
    }
    series = {
        f'container_cpu_usage_seconds_total{{{container}, id="/a"}}': "1000+15x30",
        'container_cpu_usage_seconds_total{namespace="shop", pod="web-0", container="POD"}': "0+60x30",
        f'container_memory_working_set_bytes{{{container}, id="/a"}}': "100x12 700 100x17",
        f"container_cpu_cfs_periods_total{{{container}}}": "10000+600x30",
        f"container_cpu_cfs_throttled_periods_total{{{container}}}": "10000+150x30",
    }
    test: dict[str, Any] = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": name.partition("{")[0], "eval_time": "20m", "exp_samples": [{"labels": name, "value": value}]}
            for name, value in answers.items()
        ],
    }
    # The promtool of Prometheus 2 gets there to the last bit, and knows no other way to compare.
    fuzzy = {"fuzzy_compare": True} if prometheus_major() >= 3 else {}
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "5m", **fuzzy, "tests": [test]}))
    assert "SUCCESS" in promtool("test", "rules", path)


def openmetrics(*, begin: int, end: int) -> str:
    """Two containers that are throttled now and then, one of which is replaced, in the namespace `shop`; one in `bank`, without limits."""
    families: dict[str, list[str]] = {}
    off = seconds_off_the_edges()

    def add(metric: str, labels: str, value: Callable[[int], float], *, since: int = begin, until: int = end) -> None:
        lines = families.setdefault(metric, [])
        lines += [f"{metric}{{{labels}}} {value(at)!r} {at}" for at in range(since + off, until + 1, SCRAPE_SECONDS)]

    def pod(namespace: str, name: str, seed: int, *, since: int = begin, until: int = end) -> None:
        labels, total = f'namespace="{namespace}",pod="{name}",container="app"', {"cpu": 1000.0, "throttled": 1000.0}

        def counted(which: str, most: int) -> Callable[[int], float]:
            def value(at: int) -> float:
                total[which] = round(total[which] + max(((at - begin) // 900 * seed) % most - most // 4, 0), 3)
                return total[which]

            return value

        add("container_cpu_usage_seconds_total", labels, counted("cpu", 50), since=since, until=until)
        peak = lambda at: float(((at - begin) // SCRAPE_SECONDS * seed) % 997 * 2**20)  # noqa: E731
        add("container_memory_working_set_bytes", labels, peak, since=since, until=until)
        if namespace == "shop":
            add("container_cpu_cfs_periods_total", labels, lambda at: 600.0 * (at - begin), since=since, until=until)
            add("container_cpu_cfs_throttled_periods_total", labels, counted("throttled", 400), since=since, until=until)
        owner = f'namespace="{namespace}",pod="{name}",owner_kind="StatefulSet",owner_name="web",owner_is_controller="true"'
        add("kube_pod_owner", owner, lambda at: 1.0, since=since, until=until)

    for name, later in (("early", 60), ("late", 359)):
        # As if rules had run at the very first and the last second in which they record the slot that ended at `slot`.
        labels = f'namespace="edges",pod="{name}",container="app",scrape_interval="60"'
        recorded = families.setdefault("rightsizer:container_cpu_usage_cores", [])
        recorded += [
            f"rightsizer:container_cpu_usage_cores{{{labels}}} {slot // 300 % 100} {slot + later}" for slot in range(begin, end, 300)
        ]
    half = begin + (end - begin) // 2
    pod("shop", "web-0", 7)
    pod("shop", "web-1", 11, until=half)
    pod("shop", "web-2", 13, since=half + 420)
    pod("bank", "web-0", 17)
    types = {metric: "counter" if metric.endswith("_total") else "gauge" for metric in families}
    blocks = [f"# TYPE {name.removesuffix('_total')} {types[name]}\n" + "\n".join(lines) for name, lines in families.items()]
    return "\n".join([*blocks, "# EOF", ""])


@pytest.fixture(scope="module")
def end() -> int:
    """The newest slot of what is known: some hours ago, so that the rules have recorded it, and an hour ends with it."""
    return int(time.time()) // HOUR * HOUR - 4 * HOUR


@pytest.fixture(scope="module")
def source(rules: Path, end: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with eight hours of usage, of which the rules have kept the newer five, as it would have run them itself."""
    folder = tmp_path_factory.mktemp("recorded")
    # Twice: the last rule reads what the others recorded.
    kept: list[Path] = []
    text = openmetrics(begin=end - 8 * HOUR, end=end + 900)
    for number in (1, 2):
        with loaded_prometheus(text, folder=tmp_path_factory.mktemp("pass"), blocks=kept) as url:
            kept = [folder / str(number)]
            span = (f"--start={end - 5 * HOUR}", f"--end={end + 900}", "--eval-interval=5m")
            promtool("tsdb", "create-blocks-from", "rules", *span, f"--url={url}", f"--output-dir={kept[0]}", rules)
    with loaded_prometheus(text, folder=tmp_path_factory.mktemp("last"), blocks=kept) as url:
        prometheus = Prometheus(Connection(Endpoint(url=url)))
        yield prometheus
        prometheus.close()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_recorded_is_what_is_asked_for_otherwise(source: Prometheus, end: int, kind: UsageKind) -> None:
    span = Span(end - 4 * HOUR, end)
    raw, recorded = (
        source.usage(kind, namespaces=["bank", "shop"], span=span, scrape_interval_seconds=SCRAPE_SECONDS, recorded=recorded)
        for recorded in (False, True)
    )
    assert len(raw.series) == (3 if kind == "throttled" else 4)
    assert np.isfinite(raw.values).any(axis=1).all()
    assert raw.series == recorded.series
    np.testing.assert_array_equal(raw.values, recorded.values)


def test_a_value_is_that_of_its_slot_whenever_the_rules_run(source: Prometheus, end: int) -> None:
    span = Span(end - HOUR, end)
    found = source.usage("cpu", namespaces=["edges"], span=span, scrape_interval_seconds=SCRAPE_SECONDS, recorded=True)
    expected = [slot // 300 % 100 * 1000.0 for slot in range(span.start, span.end + 1, 300)]
    assert [series.pod for series in found.series] == ["early", "late"]
    assert found.values.tolist() == [expected, expected]


def test_where_and_when_it_is_recorded_is_known(source: Prometheus, end: int) -> None:
    def recorded(*, first: int, interval: int = SCRAPE_SECONDS) -> frozenset[str]:
        return source.recorded(namespaces=["bank", "shop", "none"], span=Span(first, end), scrape_interval_seconds=interval)

    assert recorded(first=end - 4 * HOUR) == {"bank", "shop"}
    assert recorded(first=end - 6 * HOUR) == frozenset()
    assert recorded(first=end - 4 * HOUR, interval=30) == frozenset()
    loads = source.loads(["bank", "shop"], at=end)
    assert [(load.recorded, load.limited) for load in (loads["bank"], loads["shop"])] == [(True, 0), (True, 2)]


def test_the_history_is_the_same_with_and_without_the_rules(source: Prometheus, end: int, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [ContainerKey(WorkloadRef(namespace, "StatefulSet", "web"), "app") for namespace in ("bank", "shop")]
    workloads = {
        key.workload.namespace: [
            Workload(key.workload, str(key.workload), "apps/v1", "1", 1, containers=(Container("app", Sizes()),), replicas=2)
        ]
        for key in keys
    }
    asked: list[bool] = []
    usage = source.usage

    def counted(kind: UsageKind, *, recorded: bool = False, **rest: Any) -> Any:
        asked.append(recorded)
        return usage(kind, recorded=recorded, **rest)

    def read() -> Measuring:
        measuring = Measuring(source, None)
        # First the newest hours, which are recorded; then what there was before.
        for seconds in (4 * HOUR, 7 * HOUR):
            assert measuring.refresh(workloads, now=end + 60.0, window_seconds=seconds).trouble == {}
        return measuring

    monkeypatch.setattr(source, "usage", counted)
    with_rules = read()
    assert asked.count(True) >= 3
    monkeypatch.setattr(source, "recorded", lambda **_: frozenset())
    asked.clear()
    without = read()
    assert not any(asked)
    one, other = (each.history.window(keys, end=end, seconds=7 * HOUR, details=True) for each in (with_rules, without))
    for name in ("cpu", "memory", "pods", "cpu_mean", "throttled"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
