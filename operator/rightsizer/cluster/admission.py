"""Whether the admission policies that size pods at their creation are there: known to the server, and installed.

Only looks; they are installed by a person, with rights that the operator does not have.
"""

from __future__ import annotations

from rightsizer.cluster.endpoint import ADMISSION, ADMISSION_BINDINGS, ADMISSION_POLICIES, Endpoint
from rightsizer.cluster.transport import Request, Transport
from rightsizer.errors import ClusterForbidden, ClusterNotFound

NAMES = ("size-pods.rightsizer.dev", "clamp-pods.rightsizer.dev", "fit-quota.rightsizer.dev")
"""Of the policies, and of their bindings."""

_INSTALL = "kubectl apply -k manifests/on-create/"


def policy_trouble(transport: Transport) -> str:
    """Why they do not work, in a sentence; empty where they are in place. Raises ClusterError where that cannot be found out."""
    if not _served(transport):
        return "the API server has no MutatingAdmissionPolicy of admissionregistration.k8s.io/v1, which Kubernetes has from 1.36 on"
    for endpoint in (ADMISSION_POLICIES, ADMISSION_BINDINGS):
        for name in NAMES:
            trouble = _missing(transport, endpoint, name)
            if trouble:
                return trouble
    return ""


def _served(transport: Transport) -> bool:
    try:
        found = transport.call(Request("GET", "get", "apiresources", f"/apis/{ADMISSION}"))
    except ClusterNotFound:
        return False
    return any(resource.get("name") == ADMISSION_POLICIES.plural for resource in found.get("resources") or [])


def _missing(transport: Transport, endpoint: Endpoint, name: str) -> str:
    try:
        transport.call(Request("GET", "get", endpoint.plural, endpoint.path(name=name)))
    except ClusterNotFound:
        return f"{endpoint.kind} {name} is not installed: {_INSTALL}"
    except ClusterForbidden:
        return f"no right to read {endpoint.kind} {name}, which comes with it: {_INSTALL}"
    return ""
