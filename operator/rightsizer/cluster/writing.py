"""Writes to the API server: Server-Side Apply under our own field manager, and the one patch that it cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rightsizer.cluster.endpoint import Endpoint
from rightsizer.cluster.ownership import FIELD_MANAGER
from rightsizer.cluster.transport import Request, Transport
from rightsizer.errors import ClusterOwned

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC_MERGE = "application/strategic-merge-patch+json"

Body = Mapping[str, Any]


class Writer:
    """Changes single objects over a transport. Each call may raise ClusterError."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def apply(
        self,
        endpoint: Endpoint,
        body: Body,
        *,
        namespace: str | None,
        name: str,
        force: bool,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """The object after Server-Side Apply, of the cluster itself without a namespace. ClusterOwned where others hold the fields and
        `force` is False."""
        query = {"force": "true" if force else "false"} | ({"dryRun": "All"} if dry_run else {})
        return self._patch(endpoint, body, namespace, name, subresource, APPLY, query)

    def apply_unless_owned(self, endpoint: Endpoint, body: Body, *, namespace: str, name: str, dry_run: bool = False) -> dict[str, Any]:
        """Server-Side Apply that takes fields from no other manager than from our own second entry.

        A strategic merge patch leaves an entry `Update` of our name beside `Apply`, and the two are in conflict like strangers.
        """
        try:
            return self.apply(endpoint, body, namespace=namespace, name=name, force=False, dry_run=dry_run)
        except ClusterOwned as error:
            others = {path: manager for path, manager in error.owners.items() if manager != FIELD_MANAGER}
            if others:
                raise ClusterOwned(str(error), others) from None
        return self.apply(endpoint, body, namespace=namespace, name=name, force=True, dry_run=dry_run)

    def merge(self, endpoint: Endpoint, body: Body, *, namespace: str, name: str, subresource: str | None = None) -> dict[str, Any]:
        """The object after a strategic merge patch, in which null removes a field whoever holds it."""
        return self._patch(endpoint, body, namespace, name, subresource, STRATEGIC_MERGE, {})

    def annotate(self, endpoint: Endpoint, body: Body, *, namespace: str, name: str) -> None:
        """Add annotations, whoever holds the others. Works for custom resources too, which know no strategic merge."""
        self._patch(endpoint, body, namespace, name, None, MERGE, {})

    def delete(self, endpoint: Endpoint, *, namespace: str, name: str) -> None:
        path = endpoint.path(namespace=namespace, name=name)
        self._transport.call(Request("DELETE", "delete", endpoint.plural, path))

    def create_once(self, endpoint: Endpoint, body: Body, *, namespace: str, read_seconds: float) -> None:
        """Create an object of a name that the server completes: in one attempt, for a second one would make a second object."""
        path = endpoint.path(namespace=namespace)
        request = Request("POST", "create", endpoint.plural, path, query=_query({}), body=body)
        self._transport.call_once(request, read_seconds=read_seconds)

    def _patch(
        self,
        endpoint: Endpoint,
        body: Body,
        namespace: str | None,
        name: str,
        subresource: str | None,
        content_type: str,
        query: dict[str, str],
    ) -> dict[str, Any]:
        target = f"{endpoint.plural}/{subresource}" if subresource else endpoint.plural
        path = endpoint.path(namespace=namespace, name=name, subresource=subresource)
        return self._transport.call(Request("PATCH", "patch", target, path, query=_query(query), body=body, content_type=content_type))


def _query(more: Mapping[str, str]) -> dict[str, str]:
    # Without Strict, a field that the server does not know is dropped in silence.
    return {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", **more}
