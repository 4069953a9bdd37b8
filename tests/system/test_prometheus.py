"""The usage source against a real Prometheus and a real VictoriaMetrics with a history written by hand, so that each answer is known
beforehand. Where the two differ, which they do in the CPU of a few slots, the test says how."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from rightsizer.errors import UsageSourceOverloaded, UsageSourceRefused
from rightsizer.history import PodSeries, Span, UsageKind
from rightsizer.ports import Load, OomSeries
from rightsizer.prometheus import Connection, Endpoint, Prometheus, connect
from rightsizer.settings import from_environment
from rightsizer.workload import OwnerRef
from tests.loaded_prometheus import loaded_prometheus
from tests.loaded_victoria_metrics import loaded_victoria_metrics

pytestmark = pytest.mark.system

SCRAPE_SECONDS = 30
SLOTS = 24
MEBIBYTE = 1024 * 1024
STRANGE = 'q"uo\\te\nd'
"""A label value with all that has to be escaped; Kubernetes has no such names, other sources of metrics do."""

Ranges = list[tuple[float, float]]

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class KnownHistory:
    """Two hours up to the last full slot, in OpenMetrics. Times in the methods are seconds since `begin`."""

    def __init__(self, *, now: float) -> None:
        self.span = Span(int(now) // 300 * 300 - (SLOTS - 1) * 300, int(now) // 300 * 300)
        self.begin = self.span.start - 300
        self.length = now - self.begin
        self._families: dict[str, list[str]] = {}

    def slot(self, number: int) -> int:
        return self.span.start + 300 * number

    def add(self, metric: str, labels: dict[str, str], value: Callable[[float], float], *, during: Ranges | None = None) -> None:
        """A series with a sample at each scrape of `during` (both ends included; default: from one hour before the span on)."""
        text = ",".join(f'{name}="{content.translate(_ESCAPES)}"' for name, content in {"namespace": "shop", **labels}.items())
        for first, last in during or [(-3600, self.length)]:
            for at in range(int(first), int(min(last, self.length)) + 1, SCRAPE_SECONDS):
                self._families.setdefault(metric, []).append(f"{metric}{{{text}}} {value(at)!r} {self.begin + at}")

    def text(self) -> str:
        blocks = [
            f"# TYPE {metric.removesuffix('_total')} {_type(metric)}\n" + "\n".join(lines) for metric, lines in self._families.items()
        ]
        return "\n".join([*blocks, "# EOF", ""])


def _type(metric: str) -> str:
    return "counter" if metric.endswith("_total") else "gauge"


def write_cpu(history: KnownHistory) -> None:
    def cpu(value: Callable[[float], float], *, during: Ranges | None = None, job: str = "kubelet", **labels: str) -> None:
        history.add("container_cpu_usage_seconds_total", {"container": "app", "job": job, **labels}, value, during=during)

    # 0.18 cores from one hour before the span on, at a counter that was not 0 then.
    cpu(lambda at: round(0.18 * (at + 36_000), 6), pod="steady")
    # The same container twice: a second scrape job, which sees less.
    cpu(lambda at: round(0.18 * (at + 36_000), 6), pod="twice")
    cpu(lambda at: round(0.09 * (at + 36_000), 6), pod="twice", job="cadvisor")
    # Restarted at 3000 s: a counter that begins anew, in another cgroup.
    cpu(lambda at: 0.2 * (at + 3600), pod="restarted", during=[(-3600, 3000)], id="/first")
    cpu(lambda at: 0.3 * (at - 3030), pod="restarted", during=[(3030, history.length)], id="/second")
    # The same, in one series: a reset in the middle of a slot.
    cpu(lambda at: 0.2 * (at + 3600) if at < 3150 else 0.2 * (at - 3120), pod="reset")
    # Not scraped between 2100 s and 3900 s.
    cpu(lambda at: 0.4 * (at + 3600), pod="gap", during=[(-3600, 2100), (3900, history.length)])
    # Six minutes of life.
    cpu(lambda at: 0.5 * (at - 1500), pod="short", during=[(1500, 1860)])
    # The cgroup of the pod, its pause container, and another namespace.
    cpu(lambda at: 9.0 * (at + 3600), pod="steady", container="")
    cpu(lambda at: 9.0 * (at + 3600), pod="steady", container="POD")
    cpu(lambda at: 9.0 * (at + 3600), pod="steady", namespace="bank")
    # Regex metacharacters in a namespace must not match others.
    cpu(lambda at: 0.25 * (at + 3600), pod="odd", namespace="s.op+")
    cpu(lambda at: 0.25 * (at + 3600), pod=STRANGE, namespace=STRANGE)


def write_throttling(history: KnownHistory) -> None:
    """In namespace `limits`, with 10 CFS periods a second."""

    def cfs(pod: str, share: Callable[[float], float], *, periods: Callable[[float], float] = lambda at: 10 * (at + 3600)) -> None:
        labels = {"namespace": "limits", "pod": pod, "container": "app"}
        history.add("container_cpu_usage_seconds_total", labels, lambda at: 0.1 * (at + 3600))
        history.add("container_cpu_cfs_periods_total", labels, periods)
        history.add("container_cpu_cfs_throttled_periods_total", labels, lambda at: share(at) * periods(at))

    cfs("quarter", lambda at: 0.25)
    cfs("never", lambda at: 0.0)
    # Both counters begin anew at 3150 s, in the middle of a slot.
    cfs("reset", lambda at: 0.5, periods=lambda at: 10 * (at + 3600) if at < 3150 else 10 * (at - 3120))
    # Throttled in half of the periods from 3000 s to 3300 s, the whole of slot 10.
    bound = {"namespace": "limits", "pod": "spell", "container": "app"}
    history.add("container_cpu_cfs_periods_total", bound, lambda at: 10 * (at + 3600))
    history.add("container_cpu_cfs_throttled_periods_total", bound, lambda at: 1000 + 5.0 * min(max(at - 3000, 0), 300))


def write_memory(history: KnownHistory) -> None:
    def memory(pod: str, value: Callable[[float], float]) -> None:
        history.add("container_memory_working_set_bytes", {"pod": pod, "container": "app"}, value)

    memory("steady", lambda at: 320.0 * MEBIBYTE)
    # One scrape of the slot (3000, 3300] is far above the others.
    memory("peak", lambda at: (700.0 if at == 3150 else 100.0) * MEBIBYTE)


def write_state(history: KnownHistory) -> None:
    def state(metric: str, *, during: Ranges | None = None, value: float = 1.0, **labels: str) -> None:
        history.add(metric, labels, lambda at: value, during=during)

    def owner(pod: str, kind: str, name: str, *, controller: str = "true", during: Ranges | None = None) -> None:
        state("kube_pod_owner", pod=pod, owner_kind=kind, owner_name=name, owner_is_controller=controller, during=during)

    owner("steady", "ReplicaSet", "web-5d9c7b")
    owner("short", "ReplicaSet", "web-aaaaaa", during=[(1500, 1860)])
    owner("bare", "<none>", "<none>", controller="<none>")
    for replica_set in ("web-5d9c7b", "web-aaaaaa"):
        owned = {"replicaset": replica_set, "owner_kind": "Deployment", "owner_name": "web", "owner_is_controller": "true"}
        history.add("kube_replicaset_owner", owned, lambda at: 1.0)
    killed = "kube_pod_container_status_last_terminated_reason"
    state(killed, pod="leak", container="app", uid="1", reason="OOMKilled", during=[(2400, history.length)])
    state(killed, pod="long-ago", container="app", uid="2", reason="OOMKilled")
    state(killed, pod="crash", container="app", uid="3", reason="Error", during=[(2400, history.length)])
    state(killed, pod="old-style", container="app", uid="4", reason="OOMKilled", value=0.0)
    state(killed.replace("pod_", "pod_init_"), pod="leak", container="proxy", uid="1", reason="OOMKilled", during=[(4000, history.length)])
    limit = "kube_pod_container_resource_limits"
    state(limit, pod="leak", container="app", resource="memory", value=256.0 * MEBIBYTE, during=[(-3600, 4500)])
    state(limit, pod="leak", container="app", resource="memory", node="new", value=512.0 * MEBIBYTE, during=[(4530, history.length)])
    state(limit, pod="leak", container="app", resource="cpu", value=2.0)


def write_relabelled(history: KnownHistory) -> None:
    """As an installation with renamed labels shows it, where `namespace` and `pod` are those of what was scraped."""
    usage = {"namespace": "monitoring", "pod": "node-exporter", "ns": "renamed", "pod_name": "web-0", "container_name": "app"}
    state = {"namespace": "monitoring", "pod": "ksm-0", "container": "ksm", "exported_namespace": "renamed", "exported_pod": "web-0"}
    history.add("container_cpu_usage_seconds_total", usage, lambda at: 0.18 * (at + 36_000))
    history.add("container_cpu_usage_seconds_total", {**usage, "container_name": "POD"}, lambda at: 9.0 * (at + 3600))
    history.add("container_memory_working_set_bytes", usage, lambda at: 320.0 * MEBIBYTE)
    history.add("container_cpu_cfs_periods_total", usage, lambda at: 10 * (at + 36_000))
    history.add("container_cpu_cfs_throttled_periods_total", usage, lambda at: 1.0 * (at + 36_000))
    owner = {**state, "owner_kind": "StatefulSet", "owner_name": "web", "owner_is_controller": "true"}
    history.add("kube_pod_owner", owner, lambda at: 1.0)
    container = {**state, "exported_container": "app"}
    killed = {**container, "uid": "1", "reason": "OOMKilled"}
    history.add("kube_pod_container_status_last_terminated_reason", killed, lambda at: 1.0, during=[(2400, history.length)])
    history.add("kube_pod_container_resource_limits", {**container, "resource": "memory"}, lambda at: 256.0 * MEBIBYTE)


def write_clusters(history: KnownHistory) -> None:
    """Two clusters behind one server, with a pod of the same name in each. Only in the west it is killed."""
    labels = {"namespace": "everywhere", "pod": "web-0", "container": "app"}

    def cluster(name: str, *, cores: float) -> None:
        history.add("container_cpu_usage_seconds_total", {**labels, "cluster": name}, lambda at: cores * (at + 36_000))
        history.add("container_memory_working_set_bytes", {**labels, "cluster": name}, lambda at: cores * 1000 * MEBIBYTE)
        owner = {"owner_kind": "StatefulSet", "owner_name": f"web-{name}", "owner_is_controller": "true"}
        history.add("kube_pod_owner", {**labels, **owner, "cluster": name}, lambda at: 1.0)

    cluster("east", cores=0.1)
    cluster("west", cores=0.4)
    killed = {**labels, "cluster": "west", "uid": "1", "reason": "OOMKilled"}
    history.add("kube_pod_container_status_last_terminated_reason", killed, lambda at: 1.0, during=[(2400, history.length)])


WRITERS = (write_cpu, write_throttling, write_memory, write_state, write_relabelled, write_clusters)


@pytest.fixture(scope="module")
def history() -> KnownHistory:
    known = KnownHistory(now=time.time() // SCRAPE_SECONDS * SCRAPE_SECONDS)
    for write in WRITERS:
        write(known)
    return known


@pytest.fixture(scope="module")
def prometheus(history: KnownHistory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus without a control plane beside it: nothing here needs one."""
    with loaded_prometheus(history.text(), folder=tmp_path_factory.mktemp("history")) as url:
        yield url


@pytest.fixture(scope="module")
def victoria_metrics(history: KnownHistory) -> Iterator[str]:
    with loaded_victoria_metrics(history.text()) as url:
        yield url


@pytest.fixture(params=["prometheus", "victoria_metrics"])
def server(request: pytest.FixtureRequest) -> str:
    """Which one it is. Not of the module's scope: in random order the two would be started again and again."""
    return str(request.param)


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(server))


@pytest.fixture
def source(url: str) -> Iterator[Prometheus]:
    prometheus = Prometheus(Connection(Endpoint(url=url)))
    yield prometheus
    prometheus.close()


@pytest.fixture
def cpu(source: Prometheus, history: KnownHistory) -> dict[str, list[float]]:
    """Millicores of each pod of the namespace, slot by slot; -1 where there is no value."""
    batch = source.usage("cpu", namespaces=["shop"], span=history.span, scrape_interval_seconds=SCRAPE_SECONDS)
    assert {(series.namespace, series.container) for series in batch.series} == {("shop", "app")}
    return {series.pod: np.nan_to_num(row, nan=-1.0).tolist() for series, row in zip(batch.series, batch.values, strict=True)}


def test_constant_usage_is_exact_in_every_slot(cpu: dict[str, list[float]]) -> None:
    assert cpu["steady"] == [180.0] * SLOTS


def test_a_container_seen_by_two_jobs_is_counted_once(cpu: dict[str, list[float]]) -> None:
    assert cpu["twice"] == [180.0] * SLOTS


def test_a_restart_in_another_cgroup_shows_the_larger_rate_and_no_peak(cpu: dict[str, list[float]]) -> None:
    assert cpu["restarted"][:9] == pytest.approx([200.0] * 9)
    assert cpu["restarted"][11:] == pytest.approx([300.0] * (SLOTS - 11))
    assert all(180 <= value <= 300.001 for value in cpu["restarted"][9:11])


def test_a_counter_reset_is_neither_a_peak_nor_negative(cpu: dict[str, list[float]]) -> None:
    assert cpu["reset"] == pytest.approx([200.0] * SLOTS)


def test_a_gap_has_no_values(cpu: dict[str, list[float]], server: str) -> None:
    missing = [number for number, value in enumerate(cpu["gap"]) if value == -1.0]
    # Slot 7 ends at 2400 s, slot 12 at 3900 s: each has one sample in its range, and a rate needs two. VictoriaMetrics takes
    # the last sample before the range where it is near.
    assert missing == ([7, 8, 9, 10, 11, 12] if server == "prometheus" else [8, 9, 10, 11, 12])
    assert cpu["gap"][:7] == pytest.approx([400.0] * 7)
    assert cpu["gap"][13:] == pytest.approx([400.0] * (SLOTS - 13), rel=0.11)


def test_a_pod_of_six_minutes_shows_up_in_its_slots_only(cpu: dict[str, list[float]]) -> None:
    shown = [number for number, value in enumerate(cpu["short"]) if value != -1.0]
    assert shown == [5, 6]
    assert cpu["short"][5] == pytest.approx(500.0, rel=0.15)


def test_namespaces_with_metacharacters_match_themselves_only(source: Prometheus, history: KnownHistory) -> None:
    for namespaces in (["s.op+"], ["s.op+", "bank|shop", 'q"uo\\te\n']):
        batch = source.usage("cpu", namespaces=namespaces, span=history.span, scrape_interval_seconds=SCRAPE_SECONDS)
        assert batch.series == (PodSeries("s.op+", "odd", "app"),)
        assert batch.values[0] == pytest.approx(250.0)


def test_labels_that_need_escaping(source: Prometheus, history: KnownHistory) -> None:
    batch = source.usage("cpu", namespaces=[STRANGE, "nowhere"], span=history.span, scrape_interval_seconds=SCRAPE_SECONDS)
    assert batch.series == (PodSeries(STRANGE, STRANGE, "app"),)
    assert batch.values[0] == pytest.approx(250.0)


def test_throttled_is_the_share_of_the_periods_and_nothing_where_there_was_none(
    source: Prometheus, history: KnownHistory, server: str
) -> None:
    batch = source.usage("throttled", namespaces=["limits", "shop"], span=history.span, scrape_interval_seconds=SCRAPE_SECONDS)
    shares = {series.pod: np.nan_to_num(row, nan=-1.0).tolist() for series, row in zip(batch.series, batch.values, strict=True)}
    assert set(shares) == {"quarter", "reset", "spell"}
    assert shares["quarter"] == pytest.approx([0.25] * SLOTS, abs=1e-6)
    assert shares["reset"] == pytest.approx([0.5] * SLOTS, abs=0.01)
    spell = {number: share for number, share in enumerate(shares["spell"]) if share != -1.0}
    if server == "victoria_metrics":
        # Its rate begins with the sample before the range: a scrape's worth of the spell is told with the next slot.
        assert spell == {10: pytest.approx(0.5, abs=0.06), 11: pytest.approx(0.0, abs=0.06)}
    else:
        assert spell == {10: pytest.approx(0.5)}


def test_without_cfs_metrics_nothing_is_throttled(source: Prometheus, history: KnownHistory) -> None:
    batch = source.usage("throttled", namespaces=["shop"], span=history.span, scrape_interval_seconds=SCRAPE_SECONDS)
    assert (batch.series, batch.values.shape) == ((), (0, SLOTS))


def test_memory_is_the_peak_of_the_slot_in_bytes(source: Prometheus, history: KnownHistory) -> None:
    batch = source.usage("memory", namespaces=["shop"], span=history.span, scrape_interval_seconds=SCRAPE_SECONDS)
    peak, steady = batch.values / MEBIBYTE
    assert [series.pod for series in batch.series] == ["peak", "steady"]
    assert steady.tolist() == [320.0] * SLOTS
    assert peak.tolist() == [700.0 if number == 10 else 100.0 for number in range(SLOTS)]


def test_loads_by_namespace(source: Prometheus, history: KnownHistory) -> None:
    loads = source.loads(["shop", "bank", "nowhere"], at=history.span.end)
    assert set(loads) == {"shop", "bank"}
    assert loads["bank"].series == 1
    assert source.loads(["limits"], at=history.span.end)["limits"].limited == 4
    assert loads["shop"].limited == 0
    # steady, twice (by two jobs), restarted, reset and gap.
    assert loads["shop"].series == 6
    assert [load.scrape_interval_seconds for load in loads.values()] == pytest.approx([SCRAPE_SECONDS] * 2, abs=2)


def test_owners_of_present_and_past_pods(source: Prometheus, history: KnownHistory) -> None:
    owners = source.pod_owners(namespaces=["shop", "bank"], span=history.span)
    assert owners.pods == {
        ("shop", "steady"): OwnerRef("ReplicaSet", "web-5d9c7b"),
        ("shop", "short"): OwnerRef("ReplicaSet", "web-aaaaaa"),
    }
    assert owners.replica_sets == {
        ("shop", "web-5d9c7b"): OwnerRef("Deployment", "web"),
        ("shop", "web-aaaaaa"): OwnerRef("Deployment", "web"),
    }


def test_a_short_lived_pod_is_found_in_a_long_span_too(source: Prometheus, history: KnownHistory) -> None:
    fortnight = Span(history.span.end - 14 * 86_400, history.span.end)
    assert ("shop", "short") in source.pod_owners(namespaces=["shop"], span=fortnight).pods


def test_oom_kills_of_containers_and_sidecars_with_the_limit_at_that_time(source: Prometheus, history: KnownHistory) -> None:
    assert source.oom_kills(namespaces=["shop"], span=history.span) == [
        OomSeries(PodSeries("shop", "leak", "app"), history.slot(7), 256 * MEBIBYTE),
        OomSeries(PodSeries("shop", "leak", "proxy"), history.slot(13), None),
    ]


def test_an_oom_kill_is_told_in_one_span_only(source: Prometheus, history: KnownHistory) -> None:
    told = [
        source.oom_kills(namespaces=["shop"], span=Span(history.slot(number), history.slot(number + 1))) for number in range(0, SLOTS, 2)
    ]
    assert [(kill.series.container, kill.at) for kills in told for kill in kills] == [("app", history.slot(7)), ("proxy", history.slot(13))]


def test_renamed_labels(url: str, history: KnownHistory) -> None:
    settings = {
        "RIGHTSIZER_PROMETHEUS_URL": url,
        "RIGHTSIZER_PROMETHEUS_LABELS": "namespace=ns,pod=pod_name,container=container_name",
        "RIGHTSIZER_PROMETHEUS_KUBE_STATE_LABELS": "namespace=exported_namespace,pod=exported_pod,container=exported_container",
    }
    renamed = connect(from_environment(settings))
    web = PodSeries("renamed", "web-0", "app")
    expected: dict[UsageKind, float] = {"cpu": 180.0, "memory": 320.0 * MEBIBYTE, "throttled": 0.1}
    for kind, value in expected.items():
        batch = renamed.usage(kind, namespaces=["renamed"], span=history.span, scrape_interval_seconds=SCRAPE_SECONDS)
        assert batch.series == (web,)
        assert batch.values[0] == pytest.approx([value] * SLOTS)
    assert renamed.loads(["renamed", "monitoring"], at=history.span.end) == {"renamed": Load(1, SCRAPE_SECONDS, limited=1)}
    assert renamed.pod_owners(namespaces=["renamed"], span=history.span).pods == {("renamed", "web-0"): OwnerRef("StatefulSet", "web")}
    assert renamed.oom_kills(namespaces=["renamed"], span=history.span) == [OomSeries(web, history.slot(7), 256 * MEBIBYTE)]
    renamed.close()


@pytest.mark.parametrize(("cluster", "millicores", "kills"), [("east", 100.0, 0), ("west", 400.0, 1)])
def test_two_clusters_behind_one_server(url: str, history: KnownHistory, cluster: str, millicores: float, kills: int) -> None:
    narrowed = Prometheus(Connection(Endpoint(url=url)), extra_matchers=f'cluster="{cluster}"')
    everywhere = ["everywhere"]
    cpu = narrowed.usage("cpu", namespaces=everywhere, span=history.span, scrape_interval_seconds=SCRAPE_SECONDS)
    memory = narrowed.usage("memory", namespaces=everywhere, span=history.span, scrape_interval_seconds=SCRAPE_SECONDS)
    assert cpu.values[0] == pytest.approx([millicores] * SLOTS)
    assert memory.values.tolist() == [[millicores * MEBIBYTE] * SLOTS]
    assert narrowed.loads(everywhere, at=history.span.end) == {"everywhere": Load(1, SCRAPE_SECONDS)}
    owners = narrowed.pod_owners(namespaces=everywhere, span=history.span)
    assert owners.pods == {("everywhere", "web-0"): OwnerRef("StatefulSet", f"web-{cluster}")}
    assert len(narrowed.oom_kills(namespaces=everywhere, span=history.span)) == kills
    narrowed.close()


def test_a_bad_matcher_is_refused_in_the_words_of_the_server(url: str, server: str) -> None:
    words = {"prometheus": r"HTTP 400: bad_data: .*parse error", "victoria_metrics": r"HTTP 422: 422: .*unexpected token"}[server]
    broken = Prometheus(Connection(Endpoint(url=url)), extra_matchers="cluster==")
    with pytest.raises(UsageSourceRefused, match=words):
        broken.loads(["shop"], at=0)
    broken.close()


def test_too_many_points_are_called_overload(url: str) -> None:
    connection = Connection(Endpoint(url=url))
    with pytest.raises(UsageSourceOverloaded, match=r"exceeded maximum resolution|too many points"):
        connection.ask("/api/v1/query_range", {"query": "up", "start": "0", "end": "40000", "step": "1"}, kind="test")
    connection.close()


def test_a_span_of_60_days_is_put_together_from_its_parts(source: Prometheus, history: KnownHistory) -> None:
    span = Span(history.span.end - 60 * 86_400, history.span.end)
    batch = source.usage("memory", namespaces=["shop"], span=span, scrape_interval_seconds=SCRAPE_SECONDS)
    assert batch.values.shape == (2, 17_281)
    assert np.isfinite(batch.values[1]).sum() == pytest.approx(SLOTS + 12, abs=1)
