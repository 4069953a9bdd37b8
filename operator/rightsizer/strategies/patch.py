"""A change of a workload as the request that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rightsizer.workload import WorkloadRef


@dataclass(frozen=True, slots=True)
class Patch:
    """The body for the API server and how it is sent.

    `apply_body`: Server-Side Apply of every size field that we own or want to own, with uid and resourceVersion as preconditions.
    `removal_body`: set only where a limit has to go: a strategic merge patch with everything at once, because Server-Side Apply
    would need two rollouts for that. The apply body is then only asked (dry run) for conflicts.
    """

    workload: WorkloadRef
    api_version: str
    apply_body: Mapping[str, Any]
    removal_body: Mapping[str, Any] | None = None
