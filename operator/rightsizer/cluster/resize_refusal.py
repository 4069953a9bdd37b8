"""Why the API server does not resize a pod, out of its answer.

Quota, LimitRange, a node that is too small and a missing right are all a 403, and a 404 is a pod that is gone or a server that knows no
resize; what separates them (causes, words of the message) is kept in this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rightsizer.errors import ResizeReason, ResizeRefused

RESIZE = "pods/resize"

# In this order; all violations of a LimitRange stand in one message.
_FORBIDDEN: tuple[tuple[str, ResizeReason], ...] = (
    ("enough allocatable resources", ResizeReason.NODE_TOO_SMALL),
    ("exceeded quota", ResizeReason.QUOTA_EXCEEDED),
    ("failed quota", ResizeReason.QUOTA_EXCEEDED),
    ("usage per ", ResizeReason.LIMIT_RANGE_FORBIDS),
    ("limit to request ratio per ", ResizeReason.LIMIT_RANGE_FORBIDS),
    ("requires features ", ResizeReason.UNSUPPORTED),
)
_INVALID: tuple[tuple[str, ResizeReason], ...] = (
    ("Pod QOS Class may not change", ResizeReason.QOS_CLASS_WOULD_CHANGE),
    ("cannot be removed", ResizeReason.NEEDS_ROLLOUT),
    ("without support for resize", ResizeReason.UNSUPPORTED),
    ("must be less than or equal to ", ResizeReason.REQUEST_ABOVE_LIMIT),
)


def resize_refused(status: int, reply: Mapping[str, Any], *, message: str, text: str) -> ResizeRefused | None:
    """The refusal behind an answer; None where it is trouble of another kind: no right, another pod, a conflict."""
    details = reply.get("details")
    details = details if isinstance(details, dict) else {}
    reason = _reason(status, details, message)
    return None if reason is None else ResizeRefused(text, reason=reason, detail=message)


def _reason(status: int, details: Mapping[str, Any], message: str) -> ResizeReason | None:
    causes = [cause for cause in details.get("causes") or [] if isinstance(cause, dict)]
    if status == 403:
        if any(cause.get("reason") == "NodeCapacity" for cause in causes):
            return ResizeReason.NODE_TOO_SMALL
        return _spoken(message, _FORBIDDEN)
    if status == 404:
        # A pod that is gone is named; a path that the server does not know is not.
        return None if details.get("name") else ResizeReason.UNSUPPORTED
    if status == 422 and not any(cause.get("field") == "metadata.uid" for cause in causes):
        return _spoken(message, _INVALID) or ResizeReason.REJECTED
    return None


def _spoken(message: str, words: tuple[tuple[str, ResizeReason], ...]) -> ResizeReason | None:
    return next((reason for spoken, reason in words if spoken in message), None)
