"""Memory that is needed now: after an OOM kill, or close to its limit. What relieves it is not held back by what only has to be polite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rightsizer.checks.facts import Direction, FieldChange
from rightsizer.methods.pace import NEAR_LIMIT
from rightsizer.methods.recommendation import Clamp, ContainerRecommendation

_URGENT = (Clamp.OOM_KILL, Clamp.NEAR_LIMIT)

Recommendations = Mapping[str, ContainerRecommendation]


def relieves(recommendations: Recommendations, change: FieldChange) -> bool:
    """Whether this number is raised because memory was too little."""
    found = recommendations.get(change.path.container)
    explained = None if found is None else found.explanation(change.path.resource)
    if explained is None or change.path.resource != "memory" or change.direction is not Direction.RAISE:
        return False
    # Where the statistic alone asks for as much already, no clamp tells of it.
    limit, newest = found.current.memory_limit if found is not None else None, explained.measurement.last_value
    near_limit = limit is not None and newest is not None and newest >= limit * NEAR_LIMIT
    return near_limit or explained.request_clamp in _URGENT or explained.limit_clamp in _URGENT


def under_pressure(recommendations: Recommendations, changes: Iterable[FieldChange]) -> bool:
    return any(relieves(recommendations, change) for change in changes)
