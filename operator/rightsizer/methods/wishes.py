"""What the method `Learned` wants of one resource of many containers, beside what is requested now. Arrays of shape (containers,).

Nothing here knows how it was learned, or which bounds it is put into.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rightsizer.methods.recommendation import ContainerFacts, Learnt
from rightsizer.methods.statistics import Numbers
from rightsizer.workload import ResourceName

_MARGIN_STEPS = 200
"""Margins are told in steps of half a per cent: they move a little with every hour, and what is told of them need not."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Millicores or bytes, NaN where nothing was learned or nothing bounds.

    `levels` x (1 + `margins`) is the target. `keep`: what is requested now, where it is neither to be raised nor to be lowered;
    `kill_floors` and `guards`: the least that replayed kills and `Measured` leave.
    """

    levels: Numbers
    margins: Numbers
    keep: Numbers
    kill_floors: Numbers
    guards: Numbers


def learnt_of(facts: Sequence[ContainerFacts], resource: ResourceName) -> list[Learnt | None]:
    """What was learned of each container; None for nothing."""
    return [None if fact.learnt is None else fact.learnt.get(resource) for fact in facts]


def wishes_of(learnt: Sequence[Learnt | None], requested: Numbers) -> Wishes | None:
    """What is wanted, with these requests now (NaN: none); None where nothing was learned of any.

    raise to  lower to  requested  wanted
    100m      104m      90m        100m
    100m      104m      102m       102m    kept
    100m      104m      150m       104m
    100m      104m      -          100m
    """
    if all(one is None for one in learnt):
        return None
    raise_to, lower_to, margins, kill_floors, guards = _columns(learnt)
    rests = (raise_to <= requested) & (lower_to >= requested)
    margins = np.ceil(np.round(margins * _MARGIN_STEPS, 6)) / _MARGIN_STEPS
    targets = np.where(raise_to <= requested, lower_to, raise_to)
    return Wishes(targets / (1 + margins), margins, np.where(rests, requested, np.nan), kill_floors, guards)


def _columns(learnt: Sequence[Learnt | None]) -> Numbers:
    nothing = (np.nan,) * 5
    rows = [nothing if one is None else (one.raise_to, one.lower_to, one.margin, one.kill_floor, one.guard) for one in learnt]
    return np.array(rows, dtype=np.float64).T
