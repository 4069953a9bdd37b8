"""The workloads of the demo: about a dozen of several kinds, two namespaces, fed by real traces.

``shop`` is meant for a profile that applies, ``batch`` for one that recommends, ``live`` for one profile for each strategy.
Says what each workload uses and requests; the objects for the API server follow from that in ``manifest``.
"""

from __future__ import annotations

from typing import Any

from tests.usage.manifest import horizontal_pod_autoscaler, namespace, workload_manifest
from tests.usage.quantity import MEBIBYTE
from tests.usage.shape import constant
from tests.usage.trace import Trace, read_traces
from tests.usage.workload import ContainerUsage, Resources, WorkloadUsage, restarts_above, restarts_each_loop

SHOP = "shop"
BATCH = "batch"
LIVE = "live"

Traces = dict[str, Trace]


def workloads() -> tuple[WorkloadUsage, ...]:
    """The scenario; the same at each call."""
    cluster, jobs = read_traces("operate-first-k8s"), read_traces("google-2011-job")
    return (
        _web(),
        _checkout(cluster),
        _frontend(jobs),
        _catalog(jobs),
        _payments(cluster),
        _thumbnails(cluster),
        _docs(cluster),
        _database(cluster),
        _node_agent(cluster),
        _reports(cluster),
        _sessions(cluster),
        _indexer(cluster),
        _preview(cluster),
        *(_alike(name) for name in ("gateway", "mailer", "cart")),
    )


def manifests() -> list[dict[str, Any]]:
    """The objects to create, in order: namespaces, workloads, the autoscaler of ``catalog``."""
    scenario = workloads()
    return [
        *(namespace(name) for name in dict.fromkeys(workload.namespace for workload in scenario)),
        *(workload_manifest(workload) for workload in scenario),
        horizontal_pod_autoscaler(SHOP, "catalog", min_replicas=2, max_replicas=6, cpu_percent=70),
    ]


def _web() -> WorkloadUsage:
    """The worked example: 180m and 320Mi, always and in every pod, become 216m/384Mi and 432m/576Mi."""
    app = ContainerUsage(
        name="app",
        cpu=constant(0.18),
        memory=constant(320 * MEBIBYTE),
        requests=Resources(cpu="500m", memory="1Gi"),
        limits=Resources(cpu="1", memory="2Gi"),
    )
    return WorkloadUsage(
        namespace=SHOP,
        kind="Deployment",
        name="web",
        replicas=2,
        containers=(app,),
        replaced_every_days=5,
        variation=0.0,
        cgroup_series=True,
    )


def _alike(name: str) -> WorkloadUsage:
    """Uses what the worked example does, to show what a change does to its pods."""
    app = ContainerUsage(
        name="app",
        cpu=constant(0.18),
        memory=constant(320 * MEBIBYTE),
        requests=Resources(cpu="500m", memory="1Gi"),
        limits=Resources(cpu="1", memory="2Gi"),
    )
    return WorkloadUsage(
        namespace=LIVE,
        kind="Deployment",
        name=name,
        replicas=2,
        containers=(app,),
        replaced_every_days=5,
        variation=0.0,
        cgroup_series=True,
    )


def _checkout(cluster: Traces) -> WorkloadUsage:
    """Steady."""
    trace = cluster["grafana-deployment/grafana/h0"]
    app = ContainerUsage(
        name="app",
        cpu=trace.cpu(),
        memory=trace.memory(scale=4),
        requests=Resources(cpu="1", memory="1Gi"),
        limits=Resources(cpu="2", memory="2Gi"),
    )
    return WorkloadUsage(namespace=SHOP, kind="Deployment", name="checkout", replicas=2, containers=(app,), replaced_every_days=6)


def _frontend(jobs: Traces) -> WorkloadUsage:
    """Daily rhythm."""
    trace = jobs["job-5412407100"]
    app = ContainerUsage(
        name="app",
        cpu=trace.cpu(scale=0.25),
        memory=trace.memory(scale=0.25),
        requests=Resources(cpu="1500m", memory="2Gi"),
        limits=Resources(cpu="3", memory="4Gi"),
    )
    return WorkloadUsage(namespace=SHOP, kind="Deployment", name="frontend", replicas=2, containers=(app,), replaced_every_days=3.5)


def _catalog(jobs: Traces) -> WorkloadUsage:
    """Scaled by a HorizontalPodAutoscaler on CPU."""
    trace = jobs["job-6115112084"]
    app = ContainerUsage(
        name="app",
        cpu=trace.cpu(scale=0.15),
        memory=trace.memory(scale=0.25),
        requests=Resources(cpu="500m", memory="1Gi"),
        limits=Resources(cpu="1", memory="2Gi"),
    )
    return WorkloadUsage(namespace=SHOP, kind="Deployment", name="catalog", replicas=3, containers=(app,), replaced_every_days=9)


def _payments(cluster: Traces) -> WorkloadUsage:
    """Guaranteed: requests equal limits."""
    trace = cluster["router-default/router/h1"]
    same = Resources(cpu="1", memory="2Gi")
    app = ContainerUsage(name="app", cpu=trace.cpu(), memory=trace.memory(), requests=same, limits=same)
    return WorkloadUsage(namespace=SHOP, kind="Deployment", name="payments", replicas=2, containers=(app,), replaced_every_days=8)


def _thumbnails(cluster: Traces) -> WorkloadUsage:
    """OOM-killed: its peaks do not fit into its memory limit, and fit into the one that it gets. Its CPU limit throttles it."""
    trace = cluster["hook/h0"]
    memory = trace.memory(scale=0.5)
    app = ContainerUsage(
        name="app",
        cpu=trace.cpu(),
        memory=memory,
        requests=Resources(cpu="100m", memory="128Mi"),
        limits=Resources(cpu="500m", memory="256Mi"),
        restarts=restarts_above(memory, 256 * MEBIBYTE),
        throttled_share=0.12,
    )
    return WorkloadUsage(
        namespace=SHOP,
        kind="Deployment",
        name="thumbnails",
        containers=(app,),
        replaced_every_days=12,
        variation=0.0,
    )


def _docs(cluster: Traces) -> WorkloadUsage:
    """Idle."""
    trace = cluster["tkn-cli-serve/t0"]
    app = ContainerUsage(
        name="app",
        cpu=trace.cpu(),
        memory=trace.memory(),
        requests=Resources(cpu="250m", memory="256Mi"),
        limits=Resources(cpu="500m", memory="512Mi"),
    )
    return WorkloadUsage(namespace=SHOP, kind="Deployment", name="docs", containers=(app,))


def _database(cluster: Traces) -> WorkloadUsage:
    """A StatefulSet that requests less than it uses."""
    trace = cluster["pulp-postgres/postgres/h0"]
    postgres = ContainerUsage(
        name="postgres",
        cpu=trace.cpu(scale=4),
        memory=trace.memory(scale=8),
        requests=Resources(cpu="100m", memory="256Mi"),
        limits=Resources(cpu="1", memory="1Gi"),
    )
    return WorkloadUsage(namespace=SHOP, kind="StatefulSet", name="database", containers=(postgres,), replaced_every_days=11)


def _node_agent(cluster: Traces) -> WorkloadUsage:
    """A DaemonSet with a native sidecar."""
    agent_trace, shipper_trace = cluster["sdn/h1"], cluster["moc-nfs-democratic-csi-controller/csi-driver/t0"]
    shipper = ContainerUsage(
        name="log-shipper",
        cpu=shipper_trace.cpu(),
        memory=shipper_trace.memory(),
        requests=Resources(cpu="100m", memory="128Mi"),
        limits=Resources(cpu="200m", memory="256Mi"),
        sidecar=True,
    )
    agent = ContainerUsage(
        name="agent",
        cpu=agent_trace.cpu(),
        memory=agent_trace.memory(),
        requests=Resources(cpu="200m", memory="512Mi"),
        limits=Resources(cpu="400m", memory="1Gi"),
    )
    return WorkloadUsage(namespace=SHOP, kind="DaemonSet", name="node-agent", replicas=2, containers=(shipper, agent))


def _reports(cluster: Traces) -> WorkloadUsage:
    """Bursty: nearly nothing, then most of a core and two gigabytes."""
    trace = cluster["observatorium-thanos-compact/thanos-compact/h0"]
    app = ContainerUsage(
        name="app",
        cpu=trace.cpu(),
        memory=trace.memory(),
        requests=Resources(cpu="1", memory="3Gi"),
        limits=Resources(cpu="2", memory="4Gi"),
    )
    return WorkloadUsage(namespace=BATCH, kind="Deployment", name="reports", containers=(app,), replaced_every_days=13)


def _sessions(cluster: Traces) -> WorkloadUsage:
    """Leaking: the memory climbs for four days, then the container restarts. The climb of the trace is stretched."""
    trace = cluster["noobaa-operator/h0"]
    memory = trace.memory(scale=10, plus=-1150 * MEBIBYTE)
    app = ContainerUsage(
        name="app",
        cpu=trace.cpu(),
        memory=memory,
        requests=Resources(cpu="200m", memory="512Mi"),
        limits=Resources(cpu="500m", memory="768Mi"),
        restarts=restarts_each_loop(memory, reason="Error"),
    )
    return WorkloadUsage(namespace=BATCH, kind="Deployment", name="sessions", containers=(app,), replaced_every_days=12)


def _indexer(cluster: Traces) -> WorkloadUsage:
    """Heavy, and uses more than twice what it requests."""
    trace = cluster["operatorhubio-catalog/registry-server/h0"]
    app = ContainerUsage(
        name="app",
        cpu=trace.cpu(),
        memory=trace.memory(),
        requests=Resources(cpu="1", memory="1Gi"),
        limits=Resources(cpu="4", memory="2Gi"),
    )
    return WorkloadUsage(namespace=BATCH, kind="Deployment", name="indexer", containers=(app,), replaced_every_days=7)


def _preview(cluster: Traces) -> WorkloadUsage:
    """Short-lived: began six hours ago."""
    trace = cluster["pulp-api/api/h0"]
    app = ContainerUsage(
        name="app",
        cpu=trace.cpu(),
        memory=trace.memory(),
        requests=Resources(cpu="500m", memory="512Mi"),
        limits=Resources(cpu="1", memory="1Gi"),
    )
    return WorkloadUsage(namespace=BATCH, kind="Deployment", name="preview", containers=(app,), history_hours=6)
