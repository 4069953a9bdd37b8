"""Where a workload stands with its newest template, read from its status.

The question is whether the newest template has reached every pod, not whether every pod is well now: a workload whose pods
crash long after their rollout is complete, for it has to be open to a change that heals it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rightsizer.workload import ARGO_ROLLOUT, CRON_JOB, RolloutPhase

Standing = tuple[RolloutPhase, str]
"""The phase and, where there is more to say, why."""

_COMPLETE: Standing = (RolloutPhase.COMPLETE, "")
_NOT_SEEN: Standing = (RolloutPhase.IN_PROGRESS, "the controller has not seen the newest template yet")
_ON_DELETE: Standing = (
    RolloutPhase.COMPLETE,
    "update strategy OnDelete: a pod takes a new template only when somebody deletes it",
)


def deployment_standing(item: Mapping[str, Any]) -> Standing:
    """Complete when every replica is updated, no old one is left and all are available, or were when the rollout ended."""
    status = item.get("status") or {}
    wanted = wanted_replicas(item)
    if wanted == 0:
        return _COMPLETE
    if not _seen(item):
        return _NOT_SEEN
    conditions = {condition.get("type"): condition for condition in status.get("conditions") or []}
    progressing = conditions.get("Progressing", {})
    if _all_replaced(status, wanted):
        available = status.get("availableReplicas", 0)
        # The reason stays when pods become unavailable later, until the next template comes.
        if available == wanted:
            return _COMPLETE
        if progressing.get("reason") == "NewReplicaSetAvailable":
            return RolloutPhase.COMPLETE, f"{available} of {wanted} pods are available"
    return _unfinished(status, wanted, conditions)


def stateful_set_standing(item: Mapping[str, Any]) -> Standing:
    """Complete when the controller has made the newest revision the current one, or reached the partition."""
    status, strategy = item.get("status") or {}, (item.get("spec") or {}).get("updateStrategy") or {}
    wanted = wanted_replicas(item)
    if strategy.get("type") == "OnDelete":
        return _ON_DELETE
    if wanted == 0:
        return _COMPLETE
    if not _seen(item):
        return _NOT_SEEN
    updated, ready = status.get("updatedReplicas", 0), status.get("readyReplicas", 0)
    if status.get("updateRevision") == status.get("currentRevision"):
        return RolloutPhase.COMPLETE, "" if ready >= wanted else f"{ready} of {wanted} pods are ready"
    partition = min((strategy.get("rollingUpdate") or {}).get("partition") or 0, wanted)
    if partition and updated >= wanted - partition and ready >= wanted:
        return RolloutPhase.COMPLETE, f"the partition keeps {partition} of {wanted} pods on the former template"
    if updated >= wanted and ready >= wanted:
        return _COMPLETE
    return RolloutPhase.IN_PROGRESS, f"{updated} of {wanted} pods are updated, {ready} are ready"


def daemon_set_standing(item: Mapping[str, Any]) -> Standing:
    """Complete when every node that wants a pod runs an updated and available one."""
    status, strategy = item.get("status") or {}, (item.get("spec") or {}).get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return _ON_DELETE
    if not _seen(item):
        return _NOT_SEEN
    wanted = status.get("desiredNumberScheduled", 0)
    updated, available = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
    if updated >= wanted and available >= wanted:
        return _COMPLETE
    return RolloutPhase.IN_PROGRESS, f"{updated} of {wanted} pods are updated, {available} are available"


def cron_job_standing(item: Mapping[str, Any]) -> Standing:
    """Always complete: a new template is in force from the next run on, and Jobs that run are not replaced."""
    return _COMPLETE


def argo_rollout_standing(item: Mapping[str, Any]) -> Standing:
    """As Argo's controller tells it in `status.phase`: Healthy, Progressing, Paused or Degraded.

    Paused at a step of a canary, or before a promotion, the new template has not reached every pod. The observed generation is a text.
    """
    status = item.get("status") or {}
    if wanted_replicas(item) == 0:
        return _COMPLETE
    if str(status.get("observedGeneration", "")) != str(item["metadata"].get("generation", 0)):
        return _NOT_SEEN
    phase, message = status.get("phase", ""), status.get("message") or ""
    if phase == "Healthy":
        return _COMPLETE
    words = f"{phase}: {message}" if message else phase
    return (RolloutPhase.FAILED if phase == "Degraded" else RolloutPhase.IN_PROGRESS), words


def rolling_steps(kind: str, item: Mapping[str, Any]) -> tuple[int, int]:
    """How many pods a rolling update has at most above and below the wanted number (surge, unavailable), as the controllers round.

    A CronJob has none: its next run is one more, beside one that may be under way.
    """
    spec, replicas = item.get("spec") or {}, wanted_replicas(item)
    if kind == CRON_JOB:
        parallelism = spec["jobTemplate"]["spec"].get("parallelism")
        return 1 if parallelism is None else int(parallelism), 0
    strategy = spec.get("strategy" if kind in ("Deployment", ARGO_ROLLOUT) else "updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return 0, 0
    if strategy.get("type") == "Recreate":
        return 0, replicas
    if kind == ARGO_ROLLOUT and "blueGreen" in strategy:
        return replicas, 0
    rolling = (strategy.get("canary") if kind == ARGO_ROLLOUT else strategy.get("rollingUpdate")) or {}
    if kind == "DaemonSet":
        wanted = int((item.get("status") or {}).get("desiredNumberScheduled", 0))
        surge = _share(rolling.get("maxSurge", 0), wanted, up=True)
        return surge, 0 if surge else max(_share(rolling.get("maxUnavailable", 1), wanted, up=True), 1)
    if kind == "StatefulSet":
        return 0, max(_share(rolling.get("maxUnavailable", 1), replicas, up=True), 1)
    surge = _share(rolling.get("maxSurge", "25%"), replicas, up=True)
    unavailable = _share(rolling.get("maxUnavailable", "25%"), replicas, up=False)
    # With neither nothing could ever be replaced.
    return surge, unavailable if surge or unavailable else 1


def _share(value: int | str, replicas: int, *, up: bool) -> int:
    """A number, or a percentage of the replicas."""
    if isinstance(value, int):
        return value
    hundredths = int(value.removesuffix("%")) * replicas
    return -(-hundredths // 100) if up else hundredths // 100


def wanted_replicas(item: Mapping[str, Any]) -> int:
    """`spec.replicas`, which is 1 where it is left out."""
    replicas = (item.get("spec") or {}).get("replicas")
    return 1 if replicas is None else int(replicas)


def _seen(item: Mapping[str, Any]) -> bool:
    generation = int(item["metadata"].get("generation", 0))
    return int((item.get("status") or {}).get("observedGeneration", 0)) >= generation


def _all_replaced(status: Mapping[str, Any], wanted: int) -> bool:
    # Zeros are left out of a status; old pods that are still leaving count in `replicas`.
    return bool(status.get("updatedReplicas", 0) == wanted and status.get("replicas", 0) == wanted)


def _unfinished(status: Mapping[str, Any], wanted: int, conditions: Mapping[str, Mapping[str, Any]]) -> Standing:
    progressing, failing = conditions.get("Progressing", {}), conditions.get("ReplicaFailure", {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return RolloutPhase.FAILED, _told(progressing)
    # Quota or admission refuses the pods at once, while Progressing stays true until its deadline.
    if failing.get("status") == "True":
        return RolloutPhase.FAILED, _told(failing)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    return RolloutPhase.IN_PROGRESS, f"{updated} of {wanted} pods are updated, {available} are available"


def _told(condition: Mapping[str, Any]) -> str:
    return f"{condition.get('reason', '')}: {condition.get('message', '')}"
