"""The questions as golden texts: a change here is a change of what every Prometheus is asked."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from rightsizer import promql
from rightsizer.history import UsageKind
from rightsizer.promql import LabelNames, Scope

SHOP = Scope(namespaces=["shop"])
CPU_SELECTOR = 'container_cpu_usage_seconds_total{container!="",container!="POD",namespace="shop"}'


def test_cpu_of_two_namespaces() -> None:
    assert promql.usage("cpu", Scope(namespaces=["shop", "bank"]), scrape_interval_seconds=30) == (
        "max by (namespace, pod, container) "
        '(rate(container_cpu_usage_seconds_total{container!="",container!="POD",namespace=~"bank|shop"}[330s]))'
    )


def test_memory_of_one_namespace_of_one_cluster() -> None:
    scope = Scope(namespaces=["shop"], extra_matchers='cluster="x"')
    assert promql.usage("memory", scope, scrape_interval_seconds=30) == (
        "max by (namespace, pod, container) "
        '(max_over_time(container_memory_working_set_bytes{container!="",container!="POD",namespace="shop",cluster="x"}[300s]))'
    )


def test_the_throttled_share_of_the_cfs_periods() -> None:
    of_containers = '{container!="",container!="POD",namespace="shop"}[330s]'
    assert promql.usage("throttled", SHOP, scrape_interval_seconds=30) == (
        f"max by (namespace, pod, container) ((rate(container_cpu_cfs_throttled_periods_total{of_containers}) > 0)"
        f" / rate(container_cpu_cfs_periods_total{of_containers}))"
    )


def test_series_by_samples() -> None:
    assert promql.series_by_samples(SHOP) == f'count_values by (namespace) ("samples", count_over_time({CPU_SELECTOR}[900s]))'


def test_limited_now() -> None:
    assert promql.limited_now(SHOP) == f"count by (namespace) ({CPU_SELECTOR.replace(promql.CPU_METRIC, promql.CFS_PERIODS_METRIC)})"


def test_loads_are_all_in_one() -> None:
    assert promql.loads(SHOP) == (
        f'label_replace({promql.series_by_samples(SHOP)}, "figure", "series", "", "") or '
        f'label_replace({promql.limited_now(SHOP)}, "figure", "limited", "", "") or '
        'label_replace(count by (namespace) (rightsizer:recorded_containers{namespace="shop"}), "figure", "recorded", "", "")'
    )


def test_recorded_usage_is_what_was_recorded_from_a_minute_after_the_slot_to_a_minute_after_the_next() -> None:
    assert promql.recorded_usage("cpu", SHOP, scrape_interval_seconds=60) == (
        "max by (namespace, pod, container) "
        '(last_over_time(rightsizer:container_cpu_usage_cores{scrape_interval="60",namespace="shop"}[300s] offset -359999ms))'
    )


def test_recorded_slots() -> None:
    assert promql.recorded_slots(SHOP, slots=288, scrape_interval_seconds=60) == (
        "max by (namespace) "
        '(count_over_time(rightsizer:recorded_containers{scrape_interval="60",namespace="shop"}[86400s] offset -359999ms))'
    )


@pytest.mark.parametrize("kind", ["cpu", "memory", "throttled"])
def test_the_shipped_rules_record_what_is_asked_for_otherwise(kind: UsageKind) -> None:
    manifest = yaml.safe_load((Path(__file__).parents[2] / "manifests" / "prometheus-rules" / "usage.yaml").read_text())
    rules = {rule["record"]: rule for group in manifest["spec"]["groups"] for rule in group["rules"]}
    asked = promql.usage(kind, SHOP, scrape_interval_seconds=60).replace(',namespace="shop"', "")
    rule = rules[promql.RECORDED_METRICS[kind]]
    assert rule["expr"] == f"last_over_time({asked}[5m:5m] offset {promql.RECORDED_LATER_SECONDS // 60}m)"
    assert rule["labels"] == {"scrape_interval": "60"}
    assert list(rules)[-1] == promql.RECORDED_CONTAINERS_METRIC


def test_pod_owners() -> None:
    assert promql.pod_owners(SHOP, range_seconds=600) == (
        "count by (namespace, pod, owner_kind, owner_name) "
        '(present_over_time(kube_pod_owner{owner_is_controller="true",namespace="shop"}[600s]))'
    )


def test_replica_set_owners() -> None:
    assert promql.replica_set_owners(SHOP, range_seconds=300) == (
        "count by (namespace, replicaset, owner_kind, owner_name) "
        '(present_over_time(kube_replicaset_owner{owner_is_controller="true",namespace="shop"}[300s]))'
    )


def test_oom_kills_of_containers_and_sidecars() -> None:
    assert promql.oom_kills(SHOP) == (
        "max by (namespace, pod, container, uid) (max_over_time({"
        '__name__=~"kube_pod_container_status_last_terminated_reason|kube_pod_container_status_terminated_reason|'
        'kube_pod_init_container_status_last_terminated_reason|kube_pod_init_container_status_terminated_reason",'
        'reason="OOMKilled",namespace="shop"}[300s])) > 0'
    )


def test_memory_limits_of_pods() -> None:
    assert promql.memory_limits(SHOP, pods=["web-1", "web-0"]) == (
        "max by (namespace, pod, container) (max_over_time({"
        '__name__=~"kube_pod_container_resource_limits|kube_pod_init_container_resource_limits",'
        'resource="memory",pod=~"web-0|web-1",namespace="shop"}[300s]))'
    )


class TestRenamedLabels:
    """The names stand wherever the usual ones do, each kind of metric with its own."""

    SCOPE = Scope(
        namespaces=["shop"],
        labels=LabelNames(namespace="ns", pod="pod_name", container="container_name"),
        state_labels=LabelNames(namespace="exported_namespace", pod="exported_pod", container="exported_container"),
    )
    OF_CONTAINERS = '{container_name!="",container_name!="POD",ns="shop"}'

    @pytest.mark.parametrize("kind", ["cpu", "memory", "throttled"])
    def test_usage(self, kind: UsageKind) -> None:
        text = promql.usage(kind, self.SCOPE, scrape_interval_seconds=30)
        assert text.startswith("max by (ns, pod_name, container_name) (")
        assert text.count(self.OF_CONTAINERS) == (2 if kind == "throttled" else 1)
        assert "{container!" not in text

    def test_loads(self) -> None:
        text = promql.loads(self.SCOPE)
        assert (text.count("by (ns)"), text.count(self.OF_CONTAINERS)) == (3, 2)

    def test_state(self) -> None:
        assert promql.pod_owners(self.SCOPE, range_seconds=300) == (
            "count by (exported_namespace, exported_pod, owner_kind, owner_name) "
            '(present_over_time(kube_pod_owner{owner_is_controller="true",exported_namespace="shop"}[300s]))'
        )
        owners = promql.replica_set_owners(self.SCOPE, range_seconds=300)
        assert owners.startswith("count by (exported_namespace, replicaset, owner_kind, owner_name) (")
        assert promql.oom_kills(self.SCOPE).startswith("max by (exported_namespace, exported_pod, exported_container, uid) (")
        limits = promql.memory_limits(self.SCOPE, pods=["web-0"])
        assert limits.startswith("max by (exported_namespace, exported_pod, exported_container) (")
        assert 'exported_pod="web-0",exported_namespace="shop"' in limits

    def test_of_usage_alone_leave_state_alone(self) -> None:
        scope = Scope(namespaces=["shop"], labels=self.SCOPE.labels)
        assert promql.oom_kills(scope) == promql.oom_kills(SHOP)
        assert promql.pod_owners(scope, range_seconds=300) == promql.pod_owners(SHOP, range_seconds=300)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (["shop"], 'n="shop"'),
        (["b", "a", "b"], 'n=~"a|b"'),
        (["a.b", "c"], r'n=~"a\\.b|c"'),
        (["a.b"], 'n="a.b"'),
        (['say "hi"'], r'n="say \"hi\""'),
        (["back\\slash"], r'n="back\\slash"'),
        (["back\\slash", "z"], r'n=~"back\\\\slash|z"'),
        (["line\nbreak\r"], r'n="line\nbreak\r"'),
        (["(a|b)*", "[c]+?{1}^$"], r'n=~"\\(a\\|b\\)\\*|\\[c\\]\\+\\?\\{1\\}\\^\\$"'),
        (["grün", "x"], 'n=~"grün|x"'),
    ],
)
def test_matcher_escapes(values: list[str], text: str) -> None:
    assert promql.matcher("n", values) == text


@pytest.mark.parametrize(
    ("interval", "cpu", "memory"),
    [(1, 301, 300), (15, 315, 300), (30, 330, 300), (60, 360, 300), (100, 400, 300), (120, 480, 300), (150, 600, 300), (300, 1200, 600)],
)
def test_ranges_follow_the_scrape_interval(interval: int, cpu: int, memory: int) -> None:
    assert promql.cpu_range_seconds(interval) == cpu
    assert promql.memory_range_seconds(interval) == memory


@pytest.mark.parametrize(
    ("samples", "seconds"),
    [
        (90.0, 10),
        (60.0, 15),
        (30.0, 30),
        (15.0, 60),
        (29.9, 30),
        (27.0, 30),
        (14.0, 60),
        (13.0, 60),
        (3.0, 300),
        (1.0, 900),
        (5000.0, 1),
        (0.0, None),
        (math.nan, None),
    ],
)
def test_scrape_interval_from_the_number_of_samples(samples: float, seconds: int | None) -> None:
    assert promql.scrape_interval_seconds(samples) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        'cluster="east"',
        'cluster = "east" , zone =~ "a|b(c)"',
        "a!='b'",
        "a=~`\\(`",
        r'a=~"\\(",b="("',
        r'a="\""',
        '"my.label"="x"',
    ],
)
def test_matchers_are_taken_as_they_are(text: str) -> None:
    assert promql.checked_matchers(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cluster=east", "'cluster=east' is no matcher: write cluster=\"east\""),
        ("}", "'}' is no matcher"),
        (',a="b"', "is no matcher"),
        ('a="b" c="d"', "is no matcher"),
        ('a="b",c', "'c' is no matcher"),
        ('a="b" or c="d"', "is no matcher"),
        ('a=~"("', r'"\(" is no regular expression: missing \)'),
        ("a!~`x)`", r"`x\)` is no regular expression: unbalanced"),
        ('a=~"[b"', "is no regular expression: unterminated character set"),
    ],
)
def test_what_is_no_matcher(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        promql.checked_matchers(text)
