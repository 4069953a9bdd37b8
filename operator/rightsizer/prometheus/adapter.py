"""The way of `requests` to its connections, by which an order to stop can cut them, and what arrives on them.

Knows nothing of what is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import urllib3
from requests.adapters import HTTPAdapter

from rightsizer.stopping import Stopping, watched_pools

CHUNK_BYTES = 1024 * 1024
# Waited for until they are all here, so not more than what comes within a moment.
MOST_BYTES_AT_ONCE = 8 * 1024


class StoppableAdapter(HTTPAdapter):
    """Its connections, through a proxy or not, are cut by `stopping`."""

    def __init__(self, stopping: Stopping, *, retries: urllib3.Retry) -> None:
        self._pools = watched_pools(stopping)
        super().__init__(max_retries=retries)

    def init_poolmanager(self, *arguments: Any, **given: Any) -> None:
        super().init_poolmanager(*arguments, **given)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *arguments: Any, **given: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **given)
        manager.pool_classes_by_scheme = self._pools
        return manager


def arriving(raw: urllib3.HTTPResponse, *, framed: bool) -> Iterator[bytes]:
    """The body in pieces as they come; `framed` where the server sends pieces of its own."""
    if framed and raw.chunked and raw.supports_chunked_reads():
        # As below, one piece for each that the server sent, for a fifth of the time: raw chunks come in many small ones. It waits for
        # a whole piece, which therefore is small.
        yield from raw.read_chunked(MOST_BYTES_AT_ONCE, decode_content=True)
    else:
        while piece := raw.read1(CHUNK_BYTES, decode_content=True):
            yield piece
