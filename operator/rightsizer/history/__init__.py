"""The usage history: fixed-size rings of 5-minute values per container, merged from what the usage source answered.

A slot is named by its end: the slot `t` (unix seconds, a multiple of `SLOT_SECONDS`) covers (t - 300 s, t]. The history does not
know where values come from or what they are used for.
"""

from __future__ import annotations

from rightsizer.history.history import History
from rightsizer.history.usage import SLOT_SECONDS, PodSeries, Span, UsageBatch, UsageKind, UsageWindow, Values, last_slot

__all__ = ["SLOT_SECONDS", "History", "PodSeries", "Span", "UsageBatch", "UsageKind", "UsageWindow", "Values", "last_slot"]
