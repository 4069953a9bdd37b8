"""The life of one change: what was intended, what became of it, whether it did harm, and how it is taken back."""

from __future__ import annotations

from rightsizer.change.change import (
    BEING_RESIZED,
    IN_FORCE,
    RESTARTING,
    Change,
    Outcome,
    Progress,
    by_rollout,
    made,
    not_lowered,
    raises,
    start,
)
from rightsizer.change.observing import Watch, cut_short, dropped, observe, watched_from_now
from rightsizer.change.reversal import back_off_seconds, start_reversal, to_be_repeated, to_be_reverted
from rightsizer.change.signs import NOT_READY_SECONDS, Sign, SignKind, raised_paths, restless, signs_of

__all__ = [
    "BEING_RESIZED",
    "IN_FORCE",
    "NOT_READY_SECONDS",
    "RESTARTING",
    "Change",
    "Outcome",
    "Progress",
    "Sign",
    "SignKind",
    "Watch",
    "back_off_seconds",
    "by_rollout",
    "cut_short",
    "dropped",
    "made",
    "not_lowered",
    "observe",
    "raised_paths",
    "raises",
    "restless",
    "signs_of",
    "start",
    "start_reversal",
    "to_be_repeated",
    "to_be_reverted",
    "watched_from_now",
]
