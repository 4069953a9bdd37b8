"""A ResourceProfile as a frozen value with every default filled in. It does not know how it was written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rightsizer.profile.rule import DAY_SECONDS, DEFAULT_RULE, ApplyRule, ContainerRule, Mode, RiskBudget
from rightsizer.profile.selector import LabelSelector

NO_RISK_BUDGET = RiskBudget()
DEFAULT_KINDS = ("Deployment", "StatefulSet", "DaemonSet")
DEFAULT_WINDOW_SECONDS = 14 * DAY_SECONDS
DEFAULT_RAISE_AFTER_SECONDS = DAY_SECONDS
DEFAULT_LOWER_AFTER_SECONDS = 7 * DAY_SECONDS


@dataclass(frozen=True, slots=True)
class Problem:
    """A field that the operator could not use. The default stands in its place."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True, slots=True)
class Profile:
    """A ResourceProfile. Times in seconds; `created_at` in unix seconds, for the order among profiles."""

    namespace: str
    name: str
    uid: str = ""
    generation: int = 0
    created_at: float = 0.0
    mode: Mode = Mode.RECOMMEND
    kinds: tuple[str, ...] = DEFAULT_KINDS
    selector: LabelSelector = field(default_factory=LabelSelector)
    window_seconds: int = DEFAULT_WINDOW_SECONDS
    raise_after_seconds: int = DEFAULT_RAISE_AFTER_SECONDS
    lower_after_seconds: int = DEFAULT_LOWER_AFTER_SECONDS
    default_rule: ContainerRule = DEFAULT_RULE
    container_rules: Mapping[str, ContainerRule] = field(default_factory=dict)
    apply: ApplyRule = field(default_factory=ApplyRule)
    problems: tuple[Problem, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)
    method: str = "Measured"
    risk: RiskBudget = NO_RISK_BUDGET

    def rule_for(self, container: str) -> ContainerRule:
        return self.container_rules.get(container, self.default_rule)
