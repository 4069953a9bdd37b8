"""What every object of the API carries: times, annotations, the controller that owns it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rightsizer.workload import ANNOTATION_PREFIX, OwnerRef

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Item = Mapping[str, Any]
"""An object of the API as JSON."""


def unix_seconds(text: str) -> float:
    """The unix time of a timestamp of the API, such as 2026-01-31T08:00:00Z."""
    return datetime.fromisoformat(text).timestamp()


def timestamp(seconds: float) -> str:
    """A unix time as the API writes it, in whole seconds."""
    return datetime.fromtimestamp(int(seconds), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def annotations_of(item: Item) -> dict[str, str]:
    """The annotations without kubectl's copy of the whole manifest, which is larger than all else that is kept."""
    annotations = item["metadata"].get("annotations") or {}
    return {name: value for name, value in annotations.items() if name != _LAST_APPLIED}


def labels_of(item: Item) -> dict[str, str]:
    return dict(item["metadata"].get("labels") or {})


def group_of(reference: Item) -> str:
    """The API group of a reference to another object; empty where it names none."""
    return str(reference.get("apiVersion") or "").rpartition("/")[0]


def own_annotations(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Those of an object, or of a pod template, that are ours."""
    annotations = metadata.get("annotations") or {}
    return {name: value for name, value in annotations.items() if name.startswith(ANNOTATION_PREFIX)}


def controller_of(item: Item) -> OwnerRef | None:
    """The one owner that controls the object, None where there is none."""
    for owner in item["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            return OwnerRef(kind=owner["kind"], name=owner["name"])
    return None
