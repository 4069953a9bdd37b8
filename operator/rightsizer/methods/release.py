"""A release that changed what a container needs: usage from before it says nothing about what comes after.

How the moment of a release is learned, and how its change is found, is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from rightsizer.history import SLOT_SECONDS, UsageWindow, Values
from rightsizer.workload import RESOURCES, ResourceName

_DIGEST_SHOWN = 19
"""`sha256:` and twelve digits, as other tools show it."""


@dataclass(frozen=True, slots=True)
class Release:
    """When a container got another image (unix seconds), and which."""

    at: float
    image: str

    def __str__(self) -> str:
        """The release of 2025-11-06 12:00 UTC (image web:2)."""
        moment = datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"the release of {moment} (image {_short(self.image)})"


@dataclass(frozen=True, slots=True)
class Split:
    """The slots of one resource from `start` on (unix seconds) count, because the level changed with this release.

    `before_seconds`: how long it had been seen before that.
    """

    release: Release
    start: int
    before_seconds: int


Splits = Mapping[ResourceName, Split]


def since_releases(usage: UsageWindow, splits: Sequence[Splits]) -> UsageWindow:
    """The window without what was used before the release that split the history of a row; `splits` by row. A copy, where it differs."""
    for resource in RESOURCES:
        starts = {row: mine[resource].start for row, mine in enumerate(splits) if resource in mine}
        if starts:
            values = _since(usage.cpu if resource == "cpu" else usage.memory, starts, begin=usage.span.start)
            usage = replace(usage, cpu=values) if resource == "cpu" else replace(usage, memory=values)
    return usage


def _since(values: Values, starts: Mapping[int, int], *, begin: int) -> Values:
    kept = values.copy()
    for row, start in starts.items():
        kept[row, : max((start - begin) // SLOT_SECONDS, 0)] = np.nan
    return kept


def _short(image: str) -> str:
    """registry.example.com/shop/web@sha256:0123456789abcdef -> web@sha256:0123456789ab"""
    name, at, digest = image.rpartition("/")[2].partition("@")
    return f"{name}{at}{digest[:_DIGEST_SHOWN]}"
