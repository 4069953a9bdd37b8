"""When a number moves: enough history, the dead band, slow lowering, fast raising. The same for today's checks and the replayed past.

Every function is one comparison over arrays or single numbers, units as given, and knows nothing of the change that follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rightsizer.history import SLOT_SECONDS
from rightsizer.methods.statistics import Numbers
from rightsizer.profile import Profile

Truth = NDArray[np.bool_]
Number = TypeVar("Number", int, float, NDArray[np.int64], NDArray[np.float64])

STALE_AFTER_SECONDS = 15 * 60
"""Three slots: a scrape that failed once and a cycle that came late are no reason to stop."""

LEAST_COVERAGE = 0.5
"""Share of the history that must have values: below it, percentiles say more about the gaps than about the usage."""

LEAST_RUNS = 3
"""The same for what runs now and then, whose history is mostly gaps: what was seen of so many runs is enough to lower."""

SHORTEST_RUN_SLOTS = 3
"""Of a run of so many slots at least one was filled. The CPU of a shorter one is told as a mean with the time in which it did not run."""

UNSEEN_SECONDS = 24 * 3_600
"""What runs now and then may run unseen for so long: a run that ends between two scrapes leaves nothing."""

HISTORY_SLACK = 0.01
"""What may be missing of the history asked for: a window of seven days never holds quite seven days when a slot at its edge is empty."""

FAST_MARGIN = 1.2
"""What a fast raise leaves above the largest of the values that asked for it."""

CLIMB_SLOTS = 4
CLIMB_MOST = 2.0
"""Memory that is raised at once while it climbs gets what it would use if it climbed so for 20 minutes more, up to twice what it uses: most
kills come where memory doubles within two or three slots, and too much is lowered again after hours."""

RAISE_CHANGES = 2.0
"""At a full hour a size is raised only by so many times the minimum change: half of the small raises would not be needed a day later, and
what is urgent is raised by its own rules."""

NEAR_LIMIT = 0.9
"""Memory that uses this share of its limit is raised at once, under every strategy: a restart is less harm than a kill."""

SETTLE_SECONDS = 2 * 3_600
"""A size that was raised at once is not lowered in this time: usage that jumped once jumps again."""

ROLLOUT_HOLD_SECONDS = 54 * 3_600
"""Where a change restarts pods, a size falls only to the largest that was wanted in this time: half as many changes for little slack."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the sizes of a profile follow. Times in seconds; changes as shares.

    `minimum_change`: what lowering has to be worth; `raise_change`: what raising at a full hour has to be. `fast`: usage above the request
    raises it at once, without waiting for the hour; `far_above`: so does already one value so many times the request, not only two above
    it. `hold_seconds`: only the largest target of this time is lowered to. `settle_seconds`: for this time after a fast raise nothing is
    lowered. `steady`: it runs all the time; of what does not, gaps are no lack of values.
    """

    raise_after_seconds: int
    lower_after_seconds: int
    minimum_change: float
    raise_change: float
    lower_every_seconds: int
    fast: bool
    hold_seconds: int = 0
    settle_seconds: int = 0
    far_above: float = math.inf
    steady: bool = True


IN_PLACE = "InPlace"
STRATEGIES = (IN_PLACE, "Rollout")


def pace_of(profile: Profile, *, strategy: str) -> Pace:
    """The speeds of a profile under a strategy: raising at once only where that restarts nothing, holding where it does."""
    in_place = strategy == IN_PLACE
    return Pace(
        raise_after_seconds=profile.raise_after_seconds,
        lower_after_seconds=profile.lower_after_seconds,
        minimum_change=profile.apply.minimum_change,
        raise_change=profile.apply.minimum_change * RAISE_CHANGES,
        lower_every_seconds=profile.apply.lower_at_most_every_seconds,
        fast=in_place,
        hold_seconds=0 if in_place else ROLLOUT_HOLD_SECONDS,
        settle_seconds=SETTLE_SECONDS,
    )


def long_enough(history_seconds: Number, needed_seconds: int) -> bool | Truth:
    """Whether the history, from its first value to its last, is as long as asked for."""
    return needed_seconds - history_seconds <= needed_seconds * HISTORY_SLACK


def covered(samples: int, history_seconds: int) -> float:
    """The share of the history that has values."""
    return samples * SLOT_SECONDS / history_seconds if history_seconds else 0.0


def fresh(age_seconds: Number) -> bool | Truth:
    """Whether the newest value is young enough to decide by."""
    return age_seconds <= STALE_AFTER_SECONDS


def far_enough(before: Numbers, after: Numbers, least: float | Numbers) -> Truth:
    """Whether a number would move by at least this share of what it is; the first one always does."""
    moved: Truth = (np.abs(after - before) >= least * before) & (after != before)
    return moved | (np.isnan(before) & ~np.isnan(after))


def above_request(previous: Numbers, newest: Numbers, request: Numbers, far_above: float) -> Truth:
    """Whether two values in a row are above the request, or the newest one is far above it. A gap is above nothing."""
    return ((previous > request) & (newest > request)) | (newest > request * far_above)


def climbing_to(previous: Numbers, newest: Numbers) -> Numbers:
    """What memory that climbs is about to use; NaN where it does not climb, or the value before the newest is not known."""
    ahead = np.fmin(newest + CLIMB_SLOTS * (newest - previous), newest * CLIMB_MOST)
    return np.where(newest > previous, ahead, np.nan)


def near_limit(newest: Numbers, limit: Numbers) -> Truth:
    """Whether memory comes so close to its limit that it should not wait."""
    return newest >= limit * NEAR_LIMIT
