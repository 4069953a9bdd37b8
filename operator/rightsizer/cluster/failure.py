"""An HTTP error of the API server as one of our errors, and whether asking again can help.

The server tells several things by one status; what separates them (causes, field, words of the message) is kept in this file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from rightsizer.cluster.ownership import path_of
from rightsizer.cluster.resize_refusal import RESIZE, resize_refused
from rightsizer.errors import (
    ClusterBusy,
    ClusterError,
    ClusterForbidden,
    ClusterNotFound,
    ClusterOwned,
    ClusterRejected,
    ClusterStale,
    ClusterUnreachable,
)

_MANAGER = re.compile(r'conflict with "(?P<manager>[^"]*)"')
_LONGEST_TEXT = 2_000

# A quantity that is none, a field that the schema does not know, a value of another type.
_MALFORMED = ("quantities must match", "failed to convert new object", "failed to create typed patch object")


@dataclass(frozen=True, slots=True)
class Failure:
    """The error, and whether the same request may succeed a moment later."""

    error: ClusterError
    passing: bool


def failure_of(status: int, content: bytes, *, action: str, target: str = "") -> Failure:
    """The error behind an HTTP status other than 2xx. `action` opens the message: what was asked of which path.

    `target`: the plural of what was asked for, as RBAC names it. An answer to `pods/resize` is told apart further.
    """
    reply = _status_object(content)
    message = str(reply.get("message") or content[:_LONGEST_TEXT].decode(errors="replace") or "no message")
    text = f"{action}: HTTP {status}: {message[:_LONGEST_TEXT]}"
    if status == 429:
        return Failure(ClusterBusy(text), passing=True)
    if status >= 500 and not _malformed(message):
        return Failure(ClusterUnreachable(text), passing=True)
    if target == RESIZE and (refused := resize_refused(status, reply, message=message, text=text)) is not None:
        return Failure(refused, passing=False)
    return Failure(_final(status, text, message, _causes(reply)), passing=False)


def _final(status: int, text: str, message: str, causes: list[Mapping[str, Any]]) -> ClusterError:
    if status in (401, 403):
        return ClusterForbidden(text)
    if status == 404:
        return ClusterNotFound(text)
    if status == 409:
        return _conflict(text, message, causes)
    # The list's token is too old (410), or the object is another one of the same name: read again.
    if status == 410 or any(cause.get("field") == "metadata.uid" for cause in causes):
        return ClusterStale(text)
    return ClusterRejected(text)


def _conflict(text: str, message: str, causes: list[Mapping[str, Any]]) -> ClusterError:
    owners = {}
    for cause in causes:
        if cause.get("reason") != "FieldManagerConflict":
            continue
        match = _MANAGER.search(str(cause.get("message", "")))
        owners[path_of(str(cause.get("field", "")))] = match["manager"] if match else "unknown"
    if owners:
        return ClusterOwned(text, owners)
    # Server-Side Apply of an object that is gone is an attempt to create it, refused because of the uid that we send.
    if "no existing object was found" in message:
        return ClusterNotFound(text)
    return ClusterStale(text)


def _malformed(message: str) -> bool:
    """Whether a 500 is the body's fault, as Server-Side Apply answers it; no retry can heal that."""
    return any(words in message for words in _MALFORMED)


def _status_object(content: bytes) -> Mapping[str, Any]:
    try:
        decoded = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _causes(reply: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    details = reply.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return [cause for cause in causes or [] if isinstance(cause, dict)]
