"""The past that cannot be read, by namespace: asked for again with growing pauses, and in the end left out for a day.

One question that always fails would else be asked in every cycle, and its namespace would never be lowered. What is left out is a gap
like any other: how much of a history may be gaps is not decided here.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

from rightsizer.cycle.trouble import trouble_of
from rightsizer.cycle.wanted import slots
from rightsizer.errors import UsageSourceError
from rightsizer.history import SLOT_SECONDS, Span
from rightsizer.history.spans import Spans, joined
from rightsizer.quantities import format_duration
from rightsizer.status.conditions import Trouble

logger = logging.getLogger(__name__)

PAUSES_SECONDS = (300, 1_800, 7_200)
"""Before the second, third and fourth try: a server that is not well for two hours costs no history."""

LEFT_OUT_SECONDS = 86_400


@dataclass(slots=True)
class _Patience:
    """`tries`: in a row that brought nothing new. `left_out`: what is not asked for before `again_at`; empty: nothing of the past is."""

    tries: int
    again_at: float
    why: Trouble
    left_out: Spans = ()


class Unreadable:
    """What is known of it since the process started. Times in unix seconds."""

    def __init__(self) -> None:
        self._patience: dict[str, _Patience] = {}

    def rests(self, namespace: str, *, now: float) -> bool:
        """Whether nothing of its past is to be asked for now."""
        patience = self._patience.get(namespace)
        return patience is not None and now < patience.again_at and not patience.left_out

    def left_out(self, namespace: str, *, now: float) -> Spans:
        """What counts as read although it was not."""
        patience = self._patience.get(namespace)
        return () if patience is None or now >= patience.again_at else patience.left_out

    def failed(self, namespace: str, error: UsageSourceError, *, unread: Collection[Span], progress: bool, now: float) -> None:
        """A question about its past went unanswered. `unread`: what is missing now; `progress`: others were answered."""
        if self.rests(namespace, now=now) and not progress:
            # A slot that is new enough to be asked for again in any case is no further try.
            return
        before, told = self._patience.get(namespace), self.trouble(namespace)
        tries = 1 if before is None or progress else before.tries + 1
        if tries <= len(PAUSES_SECONDS):
            self._patience[namespace] = _Patience(tries, now + PAUSES_SECONDS[tries - 1], trouble_of(error))
        else:
            self._patience[namespace] = _Patience(tries, now + LEFT_OUT_SECONDS, trouble_of(error), joined(unread))
        if (trouble := self.trouble(namespace)) is not None and trouble != told:
            logger.warning("namespace %s: %s", namespace, trouble.message)

    def answered(self, namespace: str, *, now: float) -> None:
        """All that was asked of its past was answered. What is left out stays so for its time."""
        if not self.left_out(namespace, now=now):
            self._patience.pop(namespace, None)

    def forget_all_but(self, namespaces: Collection[str]) -> None:
        self._patience = {name: patience for name, patience in self._patience.items() if name in namespaces}

    def trouble(self, namespace: str) -> Trouble | None:
        """What to tell of its past, in words that stay as they are while nothing changes; None where there is nothing to tell."""
        patience = self._patience.get(namespace)
        if patience is None:
            return None
        if patience.left_out:
            what = f"{format_duration(slots(patience.left_out) * SLOT_SECONDS)} of the past cannot be read and count as a gap"
        else:
            what = "a part of the past could not be read yet"
        return Trouble(patience.why.reason, f"{what}: {patience.why.message}")
