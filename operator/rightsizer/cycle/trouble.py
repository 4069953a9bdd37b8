"""What went wrong with the usage source, as the constant word and the sentence of a condition."""

from __future__ import annotations

from rightsizer.errors import (
    UsageAnswerInvalid,
    UsageSourceError,
    UsageSourceOverloaded,
    UsageSourceRefused,
    UsageSourceTimeout,
    UsageSourceUnreachable,
)
from rightsizer.status.conditions import Trouble

UNREACHABLE = "UsageSourceUnreachable"

# The first that fits: a kind of error stands before the kind that it belongs to.
_REASONS: tuple[tuple[type[UsageSourceError], str], ...] = (
    (UsageSourceUnreachable, UNREACHABLE),
    (UsageSourceTimeout, "UsageSourceTimeout"),
    (UsageSourceOverloaded, "UsageSourceOverloaded"),
    (UsageSourceRefused, "UsageSourceRefused"),
    (UsageAnswerInvalid, "UsageAnswerInvalid"),
    (UsageSourceError, "UsageSourceFailed"),
)


def trouble_of(error: UsageSourceError) -> Trouble:
    reason = next(reason for kind, reason in _REASONS if isinstance(error, kind))
    return Trouble(reason, str(error))
