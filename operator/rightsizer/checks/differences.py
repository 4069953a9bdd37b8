"""What a recommendation would change in a workload, and what the workload would then look like.

A change is only made as a whole that the API server accepts and that keeps the pods' QoS class; what the checks leave of it is cut down
to such a whole here. Nothing here knows why a change was left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rightsizer.checks.facts import FieldChange
from rightsizer.methods.recommendation import ContainerRecommendation
from rightsizer.workload import RESOURCES, Container, FieldPath, ResourceName, SizeField, Sizes, Workload

_FIELDS: tuple[SizeField, SizeField] = ("request", "limit")


def effective(sizes: Sizes, resource: ResourceName, field: SizeField) -> int | None:
    """The number that is in force: a request that is left out is the limit."""
    value = sizes.get(resource, field)
    return sizes.limit(resource) if value is None and field == "request" else value


def differences(recommendations: Mapping[str, ContainerRecommendation], workload: Workload) -> tuple[FieldChange, ...]:
    """The numbers in which the recommendations differ from the template as it is now, in the template's order.

    Left out are containers that are not in the template, and resources that could not be measured.
    """
    return tuple(
        change
        for container in workload.sizable
        if (recommendation := recommendations.get(container.name)) is not None
        for resource in RESOURCES
        if recommendation.explanation(resource) is not None
        for change in _of_resource(container, recommendation.wanted, resource)
    )


def _of_resource(container: Container, wanted: Sizes, resource: ResourceName) -> Iterable[FieldChange]:
    limit_moves = container.sizes.limit(resource) != wanted.limit(resource)
    for field in _FIELDS:
        before, after = effective(container.sizes, resource, field), wanted.get(resource, field)
        # Without its own number, a request would move along with the limit.
        written_out = field == "request" and container.sizes.request(resource) is None and limit_moves and after is not None
        if before != after or written_out:
            yield FieldChange(FieldPath(container.name, resource, field), before, after)


def sizes_after(workload: Workload, changes: Iterable[FieldChange]) -> dict[str, Sizes]:
    """The full sizes, after these changes, of the containers that they change."""
    sizes: dict[str, Sizes] = {}
    for change in changes:
        path = change.path
        container = workload.container(path.container)
        if container is None:
            continue
        before = sizes.get(path.container, container.sizes)
        sizes[path.container] = before.with_value(path.resource, path.field, change.after)
    return sizes


def coherent(workload: Workload, changes: Iterable[FieldChange]) -> tuple[FieldChange, ...]:
    """Those of the changes that can be made together: no request above its limit, and a Guaranteed pod stays Guaranteed.

    Where the request alone or the limit alone cannot be changed, neither is: the pair as it is now is always valid.
    """
    changes = tuple(changes)
    after = sizes_after(workload, changes)
    return tuple(change for change in changes if _fits(workload, change.path, after))


def _fits(workload: Workload, path: FieldPath, after: Mapping[str, Sizes]) -> bool:
    container = workload.container(path.container)
    if container is None:
        return False
    before, sizes = container.sizes, after[path.container]
    if _follows_limit(before, sizes, path.resource):
        return False
    return _valid(sizes, path.resource, guaranteed=workload.guaranteed)


def _follows_limit(before: Sizes, after: Sizes, resource: ResourceName) -> bool:
    """Whether a request that is left out would change because its limit does."""
    return after.request(resource) is None and before.limit(resource) != after.limit(resource)


def _valid(sizes: Sizes, resource: ResourceName, *, guaranteed: bool) -> bool:
    request, limit = effective(sizes, resource, "request"), sizes.limit(resource)
    if guaranteed:
        return limit is not None and request == limit
    return request is None or limit is None or request <= limit
