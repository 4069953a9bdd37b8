"""The metric families that kubelet (cAdvisor) and kube-state-metrics expose, computed for one pod at given times.

Past pods written as history and live pods on a scrape go through the same code, so that both look alike. It knows no text
format and not where the pods come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tests.usage.pod import ContainerRun, PodRun
from tests.usage.shape import FloatArray
from tests.usage.workload import PAUSE_IMAGE, Resources, digest

Labels = dict[str, str]

CFS_PERIODS_PER_SECOND = 10
_PAUSE_MEMORY_BYTES = 282_624.0
_PAUSE_CPU_CORES = 0.00002


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Series:
    """One series of a family: the values at the times (unix seconds)."""

    labels: Labels
    times: FloatArray
    values: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A metric family: its name as queried, and how the series of a pod come about."""

    name: str
    type: Literal["counter", "gauge"]
    series: Callable[[PodRun, FloatArray], Iterator[Series]]
    decimals: int = 0
    """Decimals that the values are rounded to: microseconds for CPU time, as exact as the kernel counts."""


def _container_labels(pod: PodRun, container: ContainerRun) -> Labels:
    container_id = digest(pod.namespace, pod.name, pod.uid, container.name).hex()[:12]
    return {
        **_cgroup_labels(pod, below=f"/{container_id}"),
        "container": container.name,
        "image": container.image,
        "name": container_id,
    }


def _pause_labels(pod: PodRun) -> Labels:
    container_id = digest(pod.namespace, pod.name, pod.uid, "POD").hex()[:12]
    own = {"container": "POD", "image": PAUSE_IMAGE, "name": container_id}
    return {**_cgroup_labels(pod, below=f"/{container_id}"), **own}


def _cgroup_labels(pod: PodRun, *, below: str = "") -> Labels:
    return {
        "id": f"/kubepods/pod{pod.uid}{below}",
        "instance": f"10.0.0.{digest(pod.node)[0]}:10250",
        "job": "kubelet",
        "metrics_path": "/metrics/cadvisor",
        "namespace": pod.namespace,
        "node": pod.node,
        "pod": pod.name,
    }


def _measured(pod: PodRun) -> Iterator[ContainerRun]:
    return (container for container in pod.containers if container.usage is not None)


def _running_since(pod: PodRun, container: ContainerRun, times: FloatArray) -> FloatArray:
    starts = np.array([pod.started, *container.restarted])
    return starts[np.searchsorted(starts[1:], times, side="right")]


def _cpu_usage(pod: PodRun, times: FloatArray) -> Iterator[Series]:
    total = np.zeros_like(times)
    for container in _measured(pod):
        since = _running_since(pod, container, times)
        seconds = container.cpu_seconds(start=since, end=times, share=pod.share)
        total = total + container.cpu_seconds(start=pod.started, end=times, share=pod.share)
        yield Series(labels={"cpu": "total", **_container_labels(pod, container)}, times=times, values=seconds)
    if pod.cgroup_series:
        pause = (times - pod.started) * _PAUSE_CPU_CORES
        yield Series(labels={"cpu": "total", **_pause_labels(pod)}, times=times, values=pause)
        yield Series(labels={"cpu": "total", **_cgroup_labels(pod)}, times=times, values=total + pause)


def _working_set(pod: PodRun, times: FloatArray) -> Iterator[Series]:
    pause = np.full_like(times, _PAUSE_MEMORY_BYTES)
    total = pause
    for container in _measured(pod):
        levels = container.memory_bytes(times, share=pod.share)
        total = total + levels
        yield Series(labels=_container_labels(pod, container), times=times, values=levels)
    if pod.cgroup_series:
        yield Series(labels=_pause_labels(pod), times=times, values=pause)
        yield Series(labels=_cgroup_labels(pod), times=times, values=total)


def _cfs_periods(pod: PodRun, times: FloatArray) -> Iterator[Series]:
    return _cfs(pod, times, throttled=False)


def _cfs_throttled_periods(pod: PodRun, times: FloatArray) -> Iterator[Series]:
    return _cfs(pod, times, throttled=True)


def _cfs(pod: PodRun, times: FloatArray, *, throttled: bool) -> Iterator[Series]:
    for container in _measured(pod):
        throttled_share = container.usage.throttled_share if container.usage else None
        if throttled_share is not None:
            share = throttled_share if throttled else 1.0
            periods = (times - _running_since(pod, container, times)) * CFS_PERIODS_PER_SECOND * share
            yield Series(labels=_container_labels(pod, container), times=times, values=np.floor(periods))


def _state_labels(of: PodRun, **own: str) -> Labels:
    scraped = {"instance": "kube-state-metrics:8080", "job": "kube-state-metrics", "namespace": of.namespace}
    return {**scraped, **own}


def _info(labels: Labels, times: FloatArray) -> Series:
    return Series(labels=labels, times=times, values=np.ones_like(times))


def _pod_owner(pod: PodRun, times: FloatArray) -> Iterator[Series]:
    # kube-state-metrics writes <none> for a pod without a controller.
    owner = ("<none>", "<none>", "<none>") if pod.owner is None else (pod.owner.kind, pod.owner.name, "true")
    labels = {"owner_kind": owner[0], "owner_name": owner[1], "owner_is_controller": owner[2]}
    yield _info(_state_labels(pod, pod=pod.name, uid=pod.uid, **labels), times)


def _upper_owner(pod: PodRun, times: FloatArray, *, kind: str, label: str) -> Iterator[Series]:
    if pod.tells_upper_owner and pod.owner is not None and pod.upper_owner is not None and pod.owner.kind == kind:
        upper = {"owner_kind": pod.upper_owner.kind, "owner_name": pod.upper_owner.name}
        yield _info(_state_labels(pod, owner_is_controller="true", **{label: pod.owner.name}, **upper), times)


def _replicaset_owner(pod: PodRun, times: FloatArray) -> Iterator[Series]:
    return _upper_owner(pod, times, kind="ReplicaSet", label="replicaset")


def _job_owner(pod: PodRun, times: FloatArray) -> Iterator[Series]:
    return _upper_owner(pod, times, kind="Job", label="job_name")


def _of_containers(
    *, sidecars: bool, series: Callable[[PodRun, ContainerRun, FloatArray], Iterator[Series]]
) -> Callable[[PodRun, FloatArray], Iterator[Series]]:
    """kube-state-metrics counts native sidecars among the init containers, in families of their own."""

    def of_pod(pod: PodRun, times: FloatArray) -> Iterator[Series]:
        for container in pod.containers:
            if container.sidecar == sidecars:
                yield from series(pod, container, times)

    return of_pod


def _restarts(pod: PodRun, container: ContainerRun, times: FloatArray) -> Iterator[Series]:
    counted = np.searchsorted(np.array(container.restarted), times, side="right") + container.earlier_restarts
    labels = _state_labels(pod, pod=pod.name, uid=pod.uid, container=container.name)
    yield Series(labels=labels, times=times, values=counted.astype(np.float64))


def _terminated_reason(pod: PodRun, container: ContainerRun, times: FloatArray) -> Iterator[Series]:
    if container.restart_reason is not None:
        first = min(container.restarted, default=np.inf) if container.earlier_restarts == 0 else -np.inf
        reason = {"container": container.name, "reason": container.restart_reason}
        yield _info(_state_labels(pod, pod=pod.name, uid=pod.uid, **reason), times[times >= first])


def _requests(pod: PodRun, container: ContainerRun, times: FloatArray) -> Iterator[Series]:
    return _resources(pod, container, container.requests, times)


def _limits(pod: PodRun, container: ContainerRun, times: FloatArray) -> Iterator[Series]:
    return _resources(pod, container, container.limits, times)


def _resources(pod: PodRun, container: ContainerRun, resources: Resources, times: FloatArray) -> Iterator[Series]:
    common = {"pod": pod.name, "uid": pod.uid, "container": container.name, "node": pod.node}
    for level, resource, unit in (
        (resources.cpu_cores, "cpu", "core"),
        (resources.memory_bytes, "memory", "byte"),
    ):
        if level is not None:
            labels = _state_labels(pod, **common, resource=resource, unit=unit)
            yield Series(labels=labels, times=times, values=np.full_like(times, level))


def _container_families(prefix: str, *, sidecars: bool) -> tuple[Family, ...]:
    return (
        Family(
            name=f"{prefix}_status_restarts_total",
            type="counter",
            series=_of_containers(sidecars=sidecars, series=_restarts),
        ),
        Family(
            name=f"{prefix}_status_last_terminated_reason",
            type="gauge",
            series=_of_containers(sidecars=sidecars, series=_terminated_reason),
        ),
        Family(
            name=f"{prefix}_resource_requests",
            type="gauge",
            series=_of_containers(sidecars=sidecars, series=_requests),
            decimals=6,
        ),
        Family(
            name=f"{prefix}_resource_limits",
            type="gauge",
            series=_of_containers(sidecars=sidecars, series=_limits),
            decimals=6,
        ),
    )


CADVISOR = (
    Family(name="container_cpu_usage_seconds_total", type="counter", series=_cpu_usage, decimals=6),
    Family(name="container_memory_working_set_bytes", type="gauge", series=_working_set),
    Family(name="container_cpu_cfs_periods_total", type="counter", series=_cfs_periods),
    Family(name="container_cpu_cfs_throttled_periods_total", type="counter", series=_cfs_throttled_periods),
)
"""What the kubelet exposes of running pods, with timestamps."""

KUBE_STATE = (
    Family(name="kube_pod_owner", type="gauge", series=_pod_owner),
    Family(name="kube_replicaset_owner", type="gauge", series=_replicaset_owner),
    Family(name="kube_job_owner", type="gauge", series=_job_owner),
    *_container_families("kube_pod_container", sidecars=False),
    *_container_families("kube_pod_init_container", sidecars=True),
)
"""What kube-state-metrics exposes of all pods, without timestamps."""
