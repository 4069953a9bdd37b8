"""A change as `status.lastChange`, and back: the record from which the operator goes on after a restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rightsizer.change import Change, Outcome
from rightsizer.status.sizes import quantity, sizes_from_status, sizes_status
from rightsizer.status.times import rfc3339, unix_seconds
from rightsizer.workload import RESOURCES, ResourceName, Sizes

_TIMES = {
    "last_lowered": "lastLowered",
    "lowered_before": "loweredBefore",
    "watched_until": "watchedUntil",
    "memory_watched_until": "memoryWatchedUntil",
    "cpu_watched_until": "cpuWatchedUntil",
}
_WORDS = {"reverts": "reverts", "undone_by": "undoneBy"}

KEPT = 10
"""So many changes of a workload are kept in its status."""


def change_status(change: Change) -> dict[str, Any]:
    """`status.lastChange` of this change, and one item of `status.history`."""
    status: dict[str, Any] = {
        "time": rfc3339(change.time),
        "strategy": change.strategy,
        "outcome": str(change.outcome),
        "message": change.message,
        "previous": _containers(change.previous),
        "applied": _containers(change.applied),
    }
    status |= {told: rfc3339(at) for name, told in _TIMES.items() if (at := getattr(change, name)) is not None}
    status |= {told: word for name, told in _WORDS.items() if (word := getattr(change, name))}
    if change.failures:
        status["failures"] = change.failures
    if change.restless:
        status["restless"] = list(change.restless)
    if change.left:
        status["left"] = [{"pod": pod, "message": why} for pod, why in sorted(change.left.items())]
    return status


def change_figures(change: Change) -> str:
    """The change of the requests, container by container: `app cpu 500m -> 216m, app memory 1Gi -> 384Mi`."""
    return ", ".join(
        f"{name} {resource} {_figure(resource, old)} -> {_figure(resource, new)}"
        for name, after in change.applied.items()
        for resource in RESOURCES
        if (old := change.previous.get(name, Sizes()).request(resource)) != (new := after.request(resource))
    )


def change_from_status(status: Mapping[str, Any]) -> Change | None:
    """The last change that a recommendation's status tells of; None where there is none, or none that can be read."""
    return _readable(status.get("lastChange"))


def history_from_status(status: Mapping[str, Any]) -> tuple[Change, ...]:
    """The changes before the last one that a recommendation's status tells of, newest first."""
    recorded = status.get("history")
    found = (_readable(one) for one in recorded) if isinstance(recorded, list) else ()
    return tuple(change for change in found if change is not None)


def _readable(recorded: object) -> Change | None:
    if not isinstance(recorded, Mapping):
        return None
    try:
        return _change(recorded)
    except (KeyError, ValueError, TypeError, AttributeError):
        # Somebody edited it. Without a record the workload is judged by what it is, as one that was never changed.
        return None


def _change(recorded: Mapping[str, Any]) -> Change:
    times = {name: None if told not in recorded else unix_seconds(recorded[told]) for name, told in _TIMES.items()}
    return Change(
        time=unix_seconds(recorded["time"]),
        strategy=recorded["strategy"],
        outcome=Outcome(recorded["outcome"]),
        previous=_sizes(recorded.get("previous", [])),
        applied=_sizes(recorded.get("applied", [])),
        message=recorded.get("message", ""),
        failures=int(recorded.get("failures", 0)),
        restless=tuple(recorded.get("restless", ())),
        left={one["pod"]: one["message"] for one in recorded.get("left", ())},
        reverts=recorded.get("reverts", ""),
        undone_by=recorded.get("undoneBy", ""),
        **times,
    )


def _containers(sizes: Mapping[str, Sizes]) -> list[dict[str, Any]]:
    return [{"name": name, **sizes_status(container)} for name, container in sizes.items()]


def _sizes(containers: Sequence[Mapping[str, Any]]) -> dict[str, Sizes]:
    return {container["name"]: sizes_from_status(container) for container in containers}


def _figure(resource: ResourceName, value: int | None) -> str:
    return "unset" if value is None else quantity(resource, value)
