"""Every error that Rightsizer raises on purpose, in one tree.

A caller catches the narrowest class that it can do something about; the edge of a loop catches `RightsizerError`.

    RightsizerError
    ├── InvalidQuantity            a text that is no quantity, percentage or duration
    ├── InvalidProfile             a field of a profile that cannot be used; names the field
    ├── InvalidInput               a file or an option of the command line; names file and line
    ├── InvalidSettings            a setting of the operator; names the setting
    ├── Stopped                    nothing went wrong: a call was not begun, or broken off, as the work is being stopped
    ├── UsageSourceError           the Prometheus API
    │   ├── UsageSourceUnreachable     no connection, or it broke
    │   ├── UsageSourceTimeout         no answer in time
    │   ├── UsageSourceRefused         an HTTP error or an error answer; carries the status
    │   ├── UsageSourceOverloaded      429, 503, or a query limit: ask for less, or later
    │   ├── UsageAnswerInvalid         not the API's JSON (HTML, half an answer, a label missing)
    │   └── UsageNotRaw                no raw chunks to be had of it: ask by PromQL; never leaves the adapter
    └── ClusterError               the Kubernetes API
        ├── ClusterUnreachable         no connection, time-out, 5xx
        ├── ClusterBusy                429
        ├── ClusterForbidden           401, 403: RBAC, quota, admission
        ├── ClusterNotFound            404: gone meanwhile
        ├── ClusterStale               409 without causes: the object changed since it was read
        ├── ClusterOwned               409 with causes: other field managers own the fields
        └── ClusterRejected            400, 422, 500 on a malformed patch: never retried
            └── ResizeRefused              a pod is not resized in place, and why; also where the answer is a 403 or 404
"""

from __future__ import annotations

from enum import StrEnum


class RightsizerError(Exception):
    """The root of all errors that are raised on purpose."""


class InvalidQuantity(RightsizerError, ValueError):
    """A text that is no Kubernetes quantity, percentage or duration."""


class InvalidProfile(RightsizerError, ValueError):
    """A field of a profile that cannot be used. `field` is its path, such as `spec.cpu.buffer`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class InvalidInput(RightsizerError, ValueError):
    """A file or an option given on the command line that cannot be used."""


class InvalidSettings(RightsizerError, ValueError):
    """A setting of the operator that cannot be used."""


class MethodFailed(RightsizerError):
    """A method that somebody installed raised, or answered what cannot be used."""


class Stopped(RightsizerError):
    """A call was not begun, or was broken off, as the work is being stopped. It is nobody's trouble, so nobody on the way catches it."""


class UsageSourceError(RightsizerError):
    """The usage source did not give a usable answer."""


class UsageSourceUnreachable(UsageSourceError):
    """No connection could be made, or it broke before the whole answer was here."""


class UsageSourceTimeout(UsageSourceError):
    """The answer did not come within the time limit."""


class UsageSourceRefused(UsageSourceError):
    """The server answered with an HTTP error or with `status: error`."""

    def __init__(self, status: int, message: str, *, url: str = "") -> None:
        super().__init__(f"{url}: HTTP {status}: {message}" if url else f"HTTP {status}: {message}")
        self.status = status


class UsageSourceOverloaded(UsageSourceRefused):
    """The server asks for less or for later: 429, 503, 422 with a query limit."""


class UsageAnswerInvalid(UsageSourceError):
    """The answer is not what the Prometheus API promises: HTML, half a JSON, a label missing."""


class UsageNotRaw(UsageSourceError):
    """The server does not hand out raw chunks, or not of what is wanted: the question is to be asked by PromQL."""


class ClusterError(RightsizerError):
    """The Kubernetes API did not do what was asked."""


class ClusterUnreachable(ClusterError):
    """No connection, a time-out, or a 5xx after the retries."""


class ClusterBusy(ClusterError):
    """429 after the retries."""


class ClusterForbidden(ClusterError):
    """401 or 403: a right is missing, or quota or admission said no."""


class ClusterNotFound(ClusterError):
    """404: the object is gone."""


class ClusterStale(ClusterError):
    """409 without causes: the object changed since it was read, or it was replaced by another of the same name."""


class ClusterOwned(ClusterError):
    """409 with causes: other field managers own fields that we asked to set. `owners` maps a field's path to its manager."""

    def __init__(self, message: str, owners: dict[str, str]) -> None:
        super().__init__(message)
        self.owners = owners


class ClusterRejected(ClusterError):
    """The API server understood the request and found it invalid. Never retried."""


class ResizeReason(StrEnum):
    """The one word for why a pod is not resized in place, whoever found it out: we ourselves, or the API server."""

    POD_NOT_RUNNING = "PodNotRunning"
    POD_NOT_READY = "PodNotReady"
    OPTED_OUT = "OptedOut"
    UNSUPPORTED = "ResizeUnsupported"
    POD_LEVEL_RESOURCES = "PodLevelResources"
    QOS_CLASS_WOULD_CHANGE = "QosClassWouldChange"
    REQUEST_ABOVE_LIMIT = "RequestAboveLimit"
    NEEDS_ROLLOUT = "NeedsRollout"
    NEEDS_RESTART = "NeedsRestart"
    MEMORY_IN_USE = "MemoryInUse"
    NODE_TOO_SMALL = "NodeTooSmall"
    LIMIT_RANGE_FORBIDS = "LimitRangeForbids"
    QUOTA_EXCEEDED = "QuotaExceeded"
    REJECTED = "ResizeRejected"


class ResizeRefused(ClusterRejected):
    """The API server does not resize the pod, and asking the same again does not help. `detail` says why, in the server's words."""

    def __init__(self, message: str, *, reason: ResizeReason, detail: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.detail = detail
