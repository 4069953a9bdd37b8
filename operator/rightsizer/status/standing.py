"""Where a workload stands at the end of a cycle, in one word and a reason.

The reason is the check's own word where a check holds a change back. Nothing here decides what happens; it only tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rightsizer.change import Change, Outcome
from rightsizer.checks.facts import FieldChange, Objection, Reason, Verdict
from rightsizer.evidence.proof import Evidence
from rightsizer.methods.recommendation import ContainerRecommendation
from rightsizer.profile import ON_CREATE, Mode
from rightsizer.status.conditions import Trouble
from rightsizer.status.dead_band import Stand
from rightsizer.workload import RESOURCES, RolloutPhase, Workload


class State(StrEnum):
    """The word that `kubectl get` shows.

    WAITING: for more history, or for the replay of it. RECOMMENDED: there is something to change. APPLIED: the workload has what is
    recommended, or nearly. ROLLING_OUT: our change is on its way to the pods. VERIFYING: it is there, and watched. REVERTING: it did harm
    and is taken back. BLOCKED: a check holds the change back. STALE: usage cannot be measured now.
    """

    WAITING = "Waiting"
    RECOMMENDED = "Recommended"
    APPLIED = "Applied"
    ROLLING_OUT = "RollingOut"
    VERIFYING = "Verifying"
    REVERTING = "Reverting"
    BLOCKED = "Blocked"
    IGNORED = "Ignored"
    STALE = "Stale"


MODE_IGNORE = "ModeIgnore"
RECOMMEND_ONLY = "RecommendOnly"
READY_TO_APPLY = "ReadyToApply"
ROLLOUT_FAILED = "RolloutFailed"
UP_TO_DATE = "UpToDate"
NOT_VALID = "NotValid"
METHOD_FAILED = "MethodFailed"

_AS_RECOMMENDED = "requests and limits are as recommended"
_AS_RECOMMENDED_AT_CREATION = "pods are created with what is recommended; those that ran before keep theirs until they are replaced"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a workload's status is rendered from.

    `changes`: the numbers in which the recommendations differ from the template, and `verdict` what the checks say to them. `change`: the
    newest change that was made; `history`: those before it, newest first. `trouble`: why usage could not be measured this time.
    `minimum_change` is a share. `evidence`: by container; `evidence_awaited`: what is written of it may still hold, as nothing was replayed
    since the operator's start; `replay_troubles`: why a plug-in left it out, by container. `stand`: what still stands of what is written,
    where that was found out already.
    """

    workload: Workload
    mode: Mode
    minimum_change: float
    recommendations: Mapping[str, ContainerRecommendation]
    changes: tuple[FieldChange, ...] = ()
    verdict: Verdict = field(default_factory=Verdict)
    change: Change | None = None
    trouble: Trouble | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    evidence_awaited: bool = False
    replay_troubles: Mapping[str, str] = field(default_factory=dict)
    history: tuple[Change, ...] = ()
    stand: Stand | None = None

    @property
    def measured(self) -> bool:
        """Whether anything of any container was measured."""
        return any(found.explanation(resource) is not None for found in self.recommendations.values() for resource in RESOURCES)

    @property
    def method_trouble(self) -> str:
        """What the method could not say although there was usage, by container."""
        return "; ".join(f"{name}: {found.trouble}" for name, found in sorted(self.recommendations.items()) if found.trouble)

    @property
    def told(self) -> Objection | None:
        """The first objection, where nothing is left to change."""
        return None if self.verdict.allowed or not self.verdict.objections else self.verdict.objections[0]


@dataclass(frozen=True, slots=True)
class Told:
    """State, reason and message: the short form of a standing."""

    state: State
    reason: str
    message: str


def tell(standing: Standing) -> Told:
    """The short form: first what is going on, then what cannot be known, then what holds back, then what there is to do."""
    return _going_on(standing) or _unknown(standing) or _settled(standing) or _held_back(standing) or _to_do(standing)


def stale(standing: Standing) -> Trouble | None:
    """Why the usage of the whole workload is not fresh, if it is not."""
    if standing.trouble is not None:
        return standing.trouble
    objections = (objection for objection in standing.verdict.objections if objection.reason is Reason.STALE_METRICS)
    return next((Trouble(str(objection.reason), objection.message) for objection in objections if objection.paths is None), None)


def _going_on(standing: Standing) -> Told | None:
    if standing.mode is Mode.IGNORE:
        return Told(State.IGNORED, MODE_IGNORE, "the mode is Ignore")
    change = standing.change
    if change is None:
        return None
    if change.outcome is Outcome.VERIFYING:
        return Told(State.VERIFYING, str(Reason.VERIFYING), change.message)
    if change.in_hand:
        state = State.REVERTING if change.reverts else State.ROLLING_OUT
        return Told(state, str(Reason.ROLLOUT_IN_PROGRESS), change.message)
    if change.outcome is Outcome.FAILED and standing.workload.rollout is RolloutPhase.FAILED:
        return Told(State.BLOCKED, ROLLOUT_FAILED, change.message)
    return None


def _unknown(standing: Standing) -> Told | None:
    trouble = stale(standing)
    if trouble is not None:
        return Told(State.STALE, trouble.reason, trouble.message)
    if standing.method_trouble and not standing.changes:
        return Told(State.BLOCKED, METHOD_FAILED, standing.method_trouble)
    if not standing.measured:
        return Told(State.WAITING, str(Reason.NOT_ENOUGH_HISTORY), "no usage of any container has been seen yet")
    return None


def _settled(standing: Standing) -> Told | None:
    if standing.changes:
        return None
    return Told(State.APPLIED, UP_TO_DATE, _AS_RECOMMENDED_AT_CREATION if _at_creation(standing) else _AS_RECOMMENDED)


def _at_creation(standing: Standing) -> bool:
    return standing.mode is Mode.APPLY and standing.change is not None and standing.change.strategy == ON_CREATE


def _held_back(standing: Standing) -> Told | None:
    objection = standing.told
    if objection is None:
        return None
    if objection.reason is Reason.NO_EVIDENCE and standing.mode is not Mode.APPLY:
        return None
    if objection.reason in (Reason.NOT_ENOUGH_HISTORY, Reason.NO_EVIDENCE):
        return Told(State.WAITING, str(objection.reason), objection.message)
    if standing.mode is not Mode.APPLY:
        return None
    states = {Reason.CHANGE_TOO_SMALL: State.APPLIED, Reason.STALE_METRICS: State.STALE}
    return Told(states.get(objection.reason, State.BLOCKED), str(objection.reason), objection.message)


def _to_do(standing: Standing) -> Told:
    if standing.mode is not Mode.APPLY:
        return Told(State.RECOMMENDED, RECOMMEND_ONLY, "the mode is Recommend: nothing is changed")
    if not standing.verdict.allowed:
        return Told(State.BLOCKED, NOT_VALID, "what is recommended makes no valid pod together with the rest of the template")
    return Told(State.RECOMMENDED, READY_TO_APPLY, "every check passed: it will be applied")
