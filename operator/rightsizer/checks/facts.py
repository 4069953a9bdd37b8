"""What a check may look at, and what it may answer. Facts are gathered elsewhere; a check is a pure function of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rightsizer.checks.confines import Confines
from rightsizer.evidence.proof import Evidence
from rightsizer.methods.recommendation import Clamp, ContainerRecommendation
from rightsizer.profile import Profile
from rightsizer.workload import Autoscaler, FieldPath, Workload


class Reason(StrEnum):
    """The one word that stands in status, event, metric and log alike, in the order of the chain."""

    STOPPED = "Stopped"
    FROZEN = "Frozen"
    PAUSED = "Paused"
    SURROUNDINGS_UNKNOWN = "SurroundingsUnknown"
    ADMISSION_POLICY_MISSING = "AdmissionPolicyMissing"
    POD_SIZES_FULL = "PodSizesFull"
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    VERIFYING = "Verifying"
    BACKING_OFF = "BackingOff"
    REVERTED_BY_OTHER = "RevertedByOther"
    STALE_METRICS = "StaleMetrics"
    NOT_ENOUGH_HISTORY = "NotEnoughHistory"
    NO_EVIDENCE = "NoEvidence"
    EVIDENCE_TOO_WEAK = "EvidenceTooWeak"
    HPA_ON_SAME_RESOURCE = "HpaOnSameResource"
    VPA_ACTIVE = "VpaActive"
    LIMIT_RANGE_FORBIDS = "LimitRangeForbids"
    QUOTA_EXCEEDED = "QuotaExceeded"
    NODE_TOO_SMALL = "NodeTooSmall"
    DISRUPTION_BUDGET_FORBIDS = "PodDisruptionBudgetForbids"
    OWNED_BY_GITOPS = "OwnedByGitOps"
    OWNED_BY_OTHER = "OwnedByOther"
    NOT_MERGEABLE = "NotMergeable"
    NEEDS_ROLLOUT = "NeedsRollout"
    QOS_CLASS_WOULD_CHANGE = "QosClassWouldChange"
    MEMORY_IN_USE = "MemoryInUse"
    COOLING_DOWN = "CoolingDown"
    CHANGE_TOO_SMALL = "ChangeTooSmall"
    OUTSIDE_WINDOW = "OutsideWindow"
    QUEUE_STOPPED = "QueueStopped"
    ANOTHER_ROLLOUT_RUNNING = "AnotherRolloutRunning"


class Direction(StrEnum):
    """RAISE gives a container more room: a higher or first request, a higher or removed limit. LOWER takes room away."""

    RAISE = "Raise"
    LOWER = "Lower"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One number that would change. None: not set. Millicores or bytes.

    The request of a container that has only a limit counts as that limit, because the API server makes it so; writing it out beside a
    new limit is a change too, even to the same number.
    """

    path: FieldPath
    before: int | None
    after: int | None

    @property
    def direction(self) -> Direction:
        if self.before is None or self.after is None:
            # The first request gives room and the first limit takes it; with the last one it is the other way round.
            first = self.before is None
            return Direction.RAISE if first == (self.path.field == "request") else Direction.LOWER
        return Direction.LOWER if self.after < self.before else Direction.RAISE


NO_CONFINES = Confines()


@dataclass(frozen=True, slots=True)
class Failure:
    """A change that came to nothing or was taken back `at` a time (unix seconds), and for how long the like is not tried again. `raised`:
    what it had given more of."""

    at: float
    message: str
    wait_seconds: int
    raised: frozenset[FieldPath] = frozenset()


@dataclass(frozen=True, slots=True)
class Undone:
    """Somebody put former values back: who (the field manager, if that is known), of the change of which time, and the values."""

    by: str
    at: float
    values: Mapping[FieldPath, int | None]


@dataclass(frozen=True, slots=True)
class CheckFacts:
    """All that the chain looks at for one workload. Times in unix seconds.

    `changes` are the numbers in which the recommendation differs from the template. `last_lowered`: when it was last lowered, if ever.
    `failure`: of the newest change, where it came to nothing or was taken back; `undone`: where others took it back; `verifying`: it is
    being watched. `history_read`: whether the whole window of its
    namespace has been read from the usage source; while it has not, more may have been used than is known. `evidence`: by container, of
    those whose past was replayed; `replay_troubles`: why a plug-in left it, or a part of it, out. `last_raised`: when the newest change of
    it raised something, if it did. `confines`: what its namespace and the API server allow its pods.
    """

    now: float
    workload: Workload
    profile: Profile
    recommendations: Mapping[str, ContainerRecommendation]
    changes: tuple[FieldChange, ...]
    autoscalers: tuple[Autoscaler, ...] = ()
    last_lowered: float | None = None
    failure: Failure | None = None
    undone: Undone | None = None
    verifying: bool = False
    history_read: bool = True
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    last_raised: float | None = None
    confines: Confines = NO_CONFINES
    replay_troubles: Mapping[str, str] = field(default_factory=dict)

    def clamps(self, path: FieldPath) -> tuple[Clamp, ...]:
        """What decided the recommended numbers of this container's resource, beside the statistic."""
        found = self.recommendations.get(path.container)
        explained = None if found is None else found.explanation(path.resource)
        return () if explained is None else (explained.request_clamp, explained.limit_clamp)


@dataclass(frozen=True, slots=True)
class Objection:
    """Why some or all changes may not be made now. `paths` None: none of them."""

    reason: Reason
    message: str
    paths: frozenset[FieldPath] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is left to change after the chain. Where nothing is left, `objections[0]` is the reason that is told."""

    allowed: tuple[FieldChange, ...] = ()
    objections: tuple[Objection, ...] = ()
