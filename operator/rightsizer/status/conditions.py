"""Conditions of the custom resources: one aspect each, with a constant reason for programs and a message for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rightsizer.status.times import rfc3339

ConditionStatus = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition as it is found now."""

    type: str
    status: ConditionStatus
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why usage could not be measured this time: a constant word and a sentence."""

    reason: str
    message: str


def merge(old: Sequence[Mapping[str, Any]], new: Iterable[Condition], *, now: float) -> list[dict[str, str]]:
    """The conditions for the status, in the order of `new`; those that are not in `new` go.

    `lastTransitionTime` stays while the status does, also when reason or message change.
    """
    before = {condition.get("type"): condition for condition in old}
    return [
        {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": _since(before.get(condition.type), condition, now),
        }
        for condition in new
    ]


def _since(before: Mapping[str, Any] | None, condition: Condition, now: float) -> str:
    if before is not None and before.get("status") == condition.status and "lastTransitionTime" in before:
        return str(before["lastTransitionTime"])
    return rfc3339(now)
