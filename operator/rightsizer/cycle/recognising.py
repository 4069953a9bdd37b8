"""What fools recommendations, recognised of each container about once an hour, and remembered in between.

It changes slowly and costs more than the numbers themselves, so that each cycle recognises only a part of the containers. Numbers that
depend on it stand still in between. What is remembered is lost with the process: then all are recognised at once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from rightsizer.history import SLOT_SECONDS, Span, UsageWindow
from rightsizer.methods.finding import Known, Recognised
from rightsizer.methods.patterns.recognising import recognise
from rightsizer.workload import ContainerKey

RENEWED_SECONDS = 3_600
"""The finest that is recognised lasts hours. Only throttling could be told sooner, and its values are seen by the percentiles as late."""

_TURNS = RENEWED_SECONDS // SLOT_SECONDS


@dataclass(frozen=True, slots=True)
class _Kept:
    """`slots`: the length of the window that it was recognised in; `due`: the slot from which on it is too old."""

    recognised: Recognised
    slots: int
    due: int


class Recognising:
    """What is recognised of each container. Not for several threads at once."""

    def __init__(self) -> None:
        self._kept: dict[ContainerKey, _Kept] = {}
        self._turn = 0

    def forget_all_but(self, keys: Collection[ContainerKey]) -> None:
        self._kept = {key: kept for key, kept in self._kept.items() if key in keys}

    def due(self, keys: Sequence[ContainerKey], span: Span) -> list[int]:
        """The places of those that will be recognised when they are asked for in a window of this span."""
        return [place for place, key in enumerate(keys) if self._is_due(key, span)]

    def of(self, usage: UsageWindow, known: Sequence[Known]) -> list[Recognised]:
        """What there is to recognise in each row, some of it up to an hour old. `known`: by row, what is known besides usage."""
        due = self.due(usage.keys, usage.span)
        if due:
            found = recognise(usage, np.array(due, dtype=np.intp), [known[row] for row in due])
            self._keep(usage, [usage.keys[row] for row in due], found)
        return [self._kept[key].recognised for key in usage.keys]

    def _is_due(self, key: ContainerKey, span: Span) -> bool:
        kept = self._kept.get(key)
        return kept is None or kept.slots != span.slots or span.end >= kept.due

    def _keep(self, usage: UsageWindow, keys: Sequence[ContainerKey], found: Sequence[Recognised]) -> None:
        # Those that are new together, as all are after a start, come in turns from then on: the first of them after 5 minutes, the last
        # after an hour. Rows of one window stay together, for a few of each would cost nearly as much as all.
        self._turn += 1
        first = usage.span.end + (1 + self._turn % _TURNS) * SLOT_SECONDS
        for key, recognised in zip(keys, found, strict=True):
            due = usage.span.end + RENEWED_SECONDS if key in self._kept else first
            self._kept[key] = _Kept(recognised, usage.span.slots, due)
