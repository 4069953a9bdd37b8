"""Lists in pages, of the whole cluster or of some namespaces, each item parsed at once and dropped.

Where the whole cluster is refused the namespaces are asked one by one, and one that is refused does not stop the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from rightsizer.cluster.endpoint import Endpoint
from rightsizer.cluster.metadata import Item
from rightsizer.cluster.transport import Request, Transport
from rightsizer.errors import ClusterError, ClusterForbidden, ClusterStale, ClusterUnreachable, InvalidQuantity
from rightsizer.ports import Listing

Parsed = TypeVar("Parsed")

# Up to so many namespaces, one list for each is cheaper than one of the whole cluster.
FEW_NAMESPACES = 3

# Only metadata: what is not needed is not even sent. The second form is for servers that cannot.
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

_LOG = logging.getLogger(__name__)


class Lister:
    """Reads lists over a transport, `page_size` items a request."""

    def __init__(self, transport: Transport, *, page_size: int = 500) -> None:
        self._transport = transport
        self._page_size = page_size

    def whole(
        self,
        endpoint: Endpoint,
        parse: Callable[[Item], Parsed],
        *,
        namespace: str | None = None,
        accept: str = "application/json",
        labels: str = "",
    ) -> list[Parsed]:
        """All items of one namespace, or of the cluster; of those `labels` only, where they are given. Raises ClusterError.

        The token of a listing lives for some minutes only; a listing that took longer is started again, once.
        """
        try:
            return list(self._items(endpoint, parse, namespace, accept, labels))
        except ClusterStale:
            return list(self._items(endpoint, parse, namespace, accept, labels))

    def of_namespaces(
        self, endpoint: Endpoint, parse: Callable[[Item], Parsed], namespaces: Collection[str], *, accept: str = "application/json"
    ) -> Listing[Parsed]:
        """The items of these namespaces. Raises ClusterError where the trouble is not that of a namespace."""
        wanted = sorted(set(namespaces))
        if len(wanted) > FEW_NAMESPACES:
            members = frozenset(wanted)
            try:
                found = self.whole(endpoint, lambda item: _inside(item, members, parse), accept=accept)
                return Listing(tuple(parsed for parsed in found if parsed is not None))
            except ClusterForbidden as error:
                _LOG.debug("no list of the whole cluster, asking each namespace: %s", error)
        return self._one_by_one(endpoint, parse, wanted, accept)

    def _one_by_one(self, endpoint: Endpoint, parse: Callable[[Item], Parsed], namespaces: Sequence[str], accept: str) -> Listing[Parsed]:
        items: list[Parsed] = []
        failed: dict[str, ClusterError] = {}
        unreachable_before = False
        for namespace in namespaces:
            try:
                items += self.whole(endpoint, parse, namespace=namespace, accept=accept)
                unreachable_before = False
            except ClusterUnreachable as error:
                # Twice in a row it is the server and not the namespace; the rest would only wait through all its retries.
                if unreachable_before:
                    raise
                unreachable_before = True
                failed[namespace] = error
            except ClusterError as error:
                unreachable_before = False
                failed[namespace] = error
        return Listing(tuple(items), failed)

    def _items(
        self, endpoint: Endpoint, parse: Callable[[Item], Parsed], namespace: str | None, accept: str, labels: str
    ) -> Iterator[Parsed]:
        token, selected = "", {"labelSelector": labels} if labels else {}
        while True:
            query = {"limit": str(self._page_size)} | selected | ({"continue": token} if token else {})
            path = endpoint.path(namespace=namespace)
            page = self._transport.call(Request("GET", "list", endpoint.plural, path, query=query, accept=accept))
            yield from _parsed(page.get("items") or [], parse)
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return


def _parsed(items: Iterable[Item], parse: Callable[[Item], Parsed]) -> Iterator[Parsed]:
    for item in items:
        try:
            yield parse(item)
        except InvalidQuantity as error:
            # One object of somebody's is not worth the others.
            metadata = item["metadata"]
            _LOG.warning("%s/%s is left out: %s", metadata.get("namespace"), metadata.get("name"), error)


def _inside(item: Item, namespaces: frozenset[str], parse: Callable[[Item], Parsed]) -> Parsed | None:
    return parse(item) if item["metadata"]["namespace"] in namespaces else None
