"""Kubernetes label selectors, matched the way the API server matches them. They know labels and nothing of what carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]


@dataclass(frozen=True, slots=True)
class Requirement:
    """One `matchExpressions` entry of a label selector."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        if self.operator == "Exists":
            return self.key in labels
        if self.operator == "DoesNotExist":
            return self.key not in labels
        # NotIn also fits where the label is missing, as in Kubernetes.
        listed = self.key in labels and labels[self.key] in self.values
        return listed if self.operator == "In" else not listed


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """A Kubernetes label selector; the empty one matches everything."""

    match_labels: Mapping[str, str] = field(default_factory=dict)
    match_expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether all its labels and all its expressions fit."""
        same = all(labels.get(key) == value for key, value in self.match_labels.items())
        return same and all(requirement.matches(labels) for requirement in self.match_expressions)


MATCHES_NOTHING = LabelSelector(match_expressions=(Requirement(key="", operator="In"),))
