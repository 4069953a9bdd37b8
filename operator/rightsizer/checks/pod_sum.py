"""What a pod asks for as a whole, as the scheduler and quotas count it. What a pod asks for beside its containers is not known here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rightsizer.checks.differences import effective
from rightsizer.workload import Container, ResourceName, Role, SizeField, Sizes


def pod_sum(containers: Iterable[Container], resource: ResourceName, field: SizeField, changed: Mapping[str, Sizes] | None = None) -> int:
    """Millicores or bytes: of all that run together, or of what an init container needs beside the sidecars before it, if that is more.

    `changed`: sizes to be counted in place of those that some of the containers have. What is not set counts as 0.
    """
    together, sidecars, starting = 0, 0, 0
    for one in containers:
        value = effective((changed or {}).get(one.name, one.sizes), resource, field) or 0
        if one.role is Role.MAIN:
            together += value
        elif one.role is Role.SIDECAR:
            sidecars += value
        else:
            starting = max(starting, sidecars + value)
    return max(together + sidecars, starting)
