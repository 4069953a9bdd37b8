"""ResourceRecommendations as the API's JSON: how they are named, owned by their workload, written and read."""

from __future__ import annotations

from typing import Any

from rightsizer.cluster.endpoint import RECOMMENDATIONS
from rightsizer.cluster.metadata import Item, unix_seconds
from rightsizer.ports import Recorded
from rightsizer.workload import REVERT_ANNOTATION, Workload, WorkloadRef

PROFILE_LABEL = "rightsizer.dev/profile"

_LONGEST_LABEL = 63


def parse_recommendation(item: Item) -> Recorded:
    metadata, spec = item["metadata"], item["spec"]
    reference = spec["workloadRef"]
    return Recorded(
        workload=WorkloadRef(namespace=metadata["namespace"], kind=reference["kind"], name=reference["name"]),
        name=metadata["name"],
        spec=spec,
        status=item.get("status") or {},
        revert_asked=_time((metadata.get("annotations") or {}).get(REVERT_ANNOTATION)),
    )


def _time(text: str | None) -> float | None:
    try:
        return None if text is None else unix_seconds(text)
    except ValueError:
        # Nothing that we wrote: nobody knows which change is meant.
        return None


def spec_body(recorded: Recorded, workload: Workload) -> dict[str, Any]:
    """All of it but the status. The workload owns it, so that the garbage collector deletes it with the workload."""
    owner = {
        "apiVersion": workload.api_version,
        "kind": workload.ref.kind,
        "name": workload.ref.name,
        "uid": workload.uid,
        "controller": False,
        "blockOwnerDeletion": False,
    }
    body = _identity(recorded)
    body["metadata"] |= {"labels": _labels(recorded), "ownerReferences": [owner]}
    body["spec"] = dict(recorded.spec)
    return body


def status_body(recorded: Recorded) -> dict[str, Any]:
    return _identity(recorded) | {"status": dict(recorded.status)}


def _identity(recorded: Recorded) -> dict[str, Any]:
    return {
        "apiVersion": RECOMMENDATIONS.api_version,
        "kind": RECOMMENDATIONS.kind,
        "metadata": {"name": recorded.name, "namespace": recorded.workload.namespace},
    }


def _labels(recorded: Recorded) -> dict[str, str]:
    # Names of objects may be longer than values of labels.
    profile = str((recorded.spec.get("profileRef") or {}).get("name", ""))
    return {PROFILE_LABEL: profile} if 0 < len(profile) <= _LONGEST_LABEL else {}
