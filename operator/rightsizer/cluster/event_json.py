"""A core/v1 Event as the API's JSON."""

from __future__ import annotations

from typing import Any, Literal

from rightsizer.cluster.metadata import timestamp
from rightsizer.cluster.ownership import FIELD_MANAGER
from rightsizer.ports import EventTarget

# Bounds of the API; a longer event is refused.
_LONGEST_MESSAGE = 1024
_LONGEST_PREFIX = 240


def event_body(target: EventTarget, *, kind: Literal["Normal", "Warning"], reason: str, message: str, at: float) -> dict[str, Any]:
    """The event on an object at a time in unix seconds. The server completes the name."""
    moment = timestamp(at)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{target.name[:_LONGEST_PREFIX]}.", "namespace": event_namespace(target)},
        "involvedObject": {
            "apiVersion": target.api_version,
            "kind": target.kind,
            "namespace": target.namespace,
            "name": target.name,
            "uid": target.uid,
        },
        "type": kind,
        "reason": reason,
        "message": message if len(message) <= _LONGEST_MESSAGE else f"{message[: _LONGEST_MESSAGE - 3]}...",
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }


def event_namespace(target: EventTarget) -> str:
    """Events on objects without a namespace live in `default`."""
    return target.namespace or "default"
