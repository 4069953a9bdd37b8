"""A profile, of one namespace or cluster-wide, as a frozen value with every default filled in. It does not know how it was written down."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rightsizer.profile.rule import DAY_SECONDS, DEFAULT_RULE, ApplyRule, ContainerRule, EvidenceRule, Mode, RiskBudget, lowest
from rightsizer.profile.selector import LabelSelector, Requirement

KIND = "ResourceProfile"
CLUSTER_KIND = "ClusterResourceProfile"
NO_RISK_BUDGET = RiskBudget()
DEFAULT_KINDS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob")
KINDS = (*DEFAULT_KINDS, "Rollout")
"""All that can be sized, in the order in which they are listed. Argo Rollouts are where a profile names the kind: few clusters have it."""

_SAME_NAMES = ("Deployment", "StatefulSet", "DaemonSet")

DEFAULT_WINDOW_SECONDS = 14 * DAY_SECONDS
DEFAULT_METHOD = "Measured"
LEARNED = "Learned"
DEFAULT_RAISE_AFTER_SECONDS = DAY_SECONDS
DEFAULT_LOWER_AFTER_SECONDS = 7 * DAY_SECONDS

NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"
"""The label with its name that the API server puts on every namespace."""

SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease")

ORDINARY_NAMESPACES = LabelSelector(
    match_expressions=(
        Requirement(NAMESPACE_NAME_LABEL, "NotIn", SYSTEM_NAMESPACES),
        Requirement("app.kubernetes.io/name", "NotIn", ("rightsizer",)),
    )
)
"""What a cluster-wide profile rules by default: not what the cluster itself needs, nor the operator, whose namespace carries that label."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A field that the operator could not use. The default stands in its place, unless it is `kept`: then the message tells what counts."""

    field: str
    message: str
    kept: bool = False

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True, slots=True)
class Profile:
    """A ResourceProfile, or a ClusterResourceProfile: that one has no namespace (""), and `namespace_selector` counts.

    Times in seconds; `created_at` in unix seconds, for the order among profiles.
    """

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
    evidence: EvidenceRule = field(default_factory=EvidenceRule)
    problems: tuple[Problem, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)
    method: str = DEFAULT_METHOD
    risk: RiskBudget = NO_RISK_BUDGET
    namespace_selector: LabelSelector = ORDINARY_NAMESPACES

    @property
    def cluster_wide(self) -> bool:
        return not self.namespace

    @property
    def kind(self) -> str:
        return CLUSTER_KIND if self.cluster_wide else KIND

    @property
    def title(self) -> str:
        """As people are told of it: `shop/web`, or `web (cluster-wide)`."""
        return f"{self.name} (cluster-wide)" if self.cluster_wide else f"{self.namespace}/{self.name}"

    def covers(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether it may rule workloads of this namespace, which has these labels."""
        if self.cluster_wide:
            return self.namespace_selector.matches({**labels, NAMESPACE_NAME_LABEL: namespace})
        return self.namespace == namespace

    @property
    def kills_seconds(self) -> int:
        """How long an OOM kill counts at least, in seconds: the window, or what the budget of the method `Learned` asks for."""
        return max(self.window_seconds, self.risk.kill_memory_seconds if self.method == LEARNED else 0)

    def rule_for(self, container: str) -> ContainerRule:
        return self.container_rules.get(container, self.default_rule)


def unknown_method(method: str, known: Collection[str]) -> Problem | None:
    """What is wrong with the name of a method, if it is none of the known ones."""
    if method in known:
        return None
    return Problem("spec.method", f"no method {method} is installed; known are {', '.join(sorted(known))}")


def with_known_method(profile: Profile, known: Collection[str]) -> Profile:
    """The profile; where its method is not known, with the default one, which then only recommends: it is not what was asked for."""
    problem = unknown_method(profile.method, known)
    if problem is None:
        return profile
    told = replace(problem, message=f"{problem.message}; nothing is changed")
    return replace(profile, method=DEFAULT_METHOD, mode=lowest(profile.mode, Mode.RECOMMEND), problems=(*profile.problems, told))


def kinds_to_list(profiles: Iterable[Profile]) -> tuple[str, ...]:
    """The kinds that these profiles name; those of the group apps always, since by its name a pod may be of any of them."""
    named = {kind for profile in profiles for kind in profile.kinds}
    return tuple(kind for kind in KINDS if kind in _SAME_NAMES or kind in named)
