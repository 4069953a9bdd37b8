"""How the objects that we write are named."""

from __future__ import annotations

import hashlib

from rightsizer.workload import WorkloadRef

_LONGEST_NAME = 253
_DIGEST_LENGTH = 10


def recommendation_name(ref: WorkloadRef) -> str:
    """The name of a workload's recommendation: `deployment-web`, cut and ended with a digest where it would be too long."""
    name = f"{ref.kind.lower()}-{ref.name}"
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{name[: _LONGEST_NAME - _DIGEST_LENGTH - 1]}-{digest}"
