"""A ResourceProfile or ClusterResourceProfile as frozen values with every default filled in, and how a workload finds its profile.

The schema of the custom resource refuses what it can. `parse_profile` collects what only the operator can see as problems that
name the field; the rest of the profile goes on working with the default in that field's place.
"""

from __future__ import annotations

from rightsizer.profile.change_window import DAYS, ChangeWindow, next_opening
from rightsizer.profile.manifest import API_VERSION, load_profile, parse_profile
from rightsizer.profile.profile import (
    CLUSTER_KIND,
    DEFAULT_KINDS,
    DEFAULT_METHOD,
    KIND,
    KINDS,
    LEARNED,
    Problem,
    Profile,
    kinds_to_list,
    unknown_method,
    with_known_method,
)
from rightsizer.profile.rule import (
    ALWAYS,
    AT_CREATION,
    DAY_SECONDS,
    DEFAULT_RULE,
    DEFAULT_TIME_ABOVE_REQUEST,
    FROM_TOOLS,
    IN_PLACE,
    NEVER,
    ON_CREATE,
    ROLLOUT,
    ApplyRule,
    ContainerRule,
    EvidenceRule,
    LimitPolicy,
    LimitRule,
    Mode,
    ResourceRule,
    RiskBudget,
    Statistic,
    VerifyRule,
    half_life_of,
    lowest,
    parse_statistic,
)
from rightsizer.profile.selection import EffectiveMode, Selection, effective_mode, select_profile
from rightsizer.profile.selector import LabelSelector, Requirement

__all__ = [
    "ALWAYS",
    "API_VERSION",
    "AT_CREATION",
    "CLUSTER_KIND",
    "DAYS",
    "DAY_SECONDS",
    "DEFAULT_KINDS",
    "DEFAULT_METHOD",
    "DEFAULT_RULE",
    "DEFAULT_TIME_ABOVE_REQUEST",
    "FROM_TOOLS",
    "IN_PLACE",
    "KIND",
    "KINDS",
    "LEARNED",
    "NEVER",
    "ON_CREATE",
    "ROLLOUT",
    "ApplyRule",
    "ChangeWindow",
    "ContainerRule",
    "EffectiveMode",
    "EvidenceRule",
    "LabelSelector",
    "LimitPolicy",
    "LimitRule",
    "Mode",
    "Problem",
    "Profile",
    "Requirement",
    "ResourceRule",
    "RiskBudget",
    "Selection",
    "Statistic",
    "VerifyRule",
    "effective_mode",
    "half_life_of",
    "kinds_to_list",
    "load_profile",
    "lowest",
    "next_opening",
    "parse_profile",
    "parse_statistic",
    "select_profile",
    "unknown_method",
    "with_known_method",
]
