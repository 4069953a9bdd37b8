"""A change as `status.lastChange`, and back: the record from which the operator goes on after a restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rightsizer.change import Change, Outcome
from rightsizer.status.sizes import quantity, sizes_from_status, sizes_status
from rightsizer.status.times import rfc3339, unix_seconds
from rightsizer.workload import RESOURCES, ResourceName, Sizes


def change_status(change: Change) -> dict[str, Any]:
    """`status.lastChange` of this change."""
    status: dict[str, Any] = {
        "time": rfc3339(change.time),
        "strategy": change.strategy,
        "outcome": str(change.outcome),
        "message": change.message,
        "previous": _containers(change.previous),
        "applied": _containers(change.applied),
    }
    if change.last_lowered is not None:
        status["lastLowered"] = rfc3339(change.last_lowered)
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
    recorded = status.get("lastChange")
    if not isinstance(recorded, Mapping):
        return None
    try:
        return _change(recorded)
    except (KeyError, ValueError, TypeError, AttributeError):
        # Somebody edited it. Without a record the workload is judged by what it is, as one that was never changed.
        return None


def _change(recorded: Mapping[str, Any]) -> Change:
    last_lowered = recorded.get("lastLowered")
    return Change(
        time=unix_seconds(recorded["time"]),
        strategy=recorded["strategy"],
        outcome=Outcome(recorded["outcome"]),
        previous=_sizes(recorded.get("previous", [])),
        applied=_sizes(recorded.get("applied", [])),
        last_lowered=None if last_lowered is None else unix_seconds(last_lowered),
        message=recorded.get("message", ""),
    )


def _containers(sizes: Mapping[str, Sizes]) -> list[dict[str, Any]]:
    return [{"name": name, **sizes_status(container)} for name, container in sizes.items()]


def _sizes(containers: Sequence[Mapping[str, Any]]) -> dict[str, Sizes]:
    return {container["name"]: sizes_from_status(container) for container in containers}


def _figure(resource: ResourceName, value: int | None) -> str:
    return "unset" if value is None else quantity(resource, value)
