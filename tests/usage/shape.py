"""What a container uses as a function of absolute time, so that history and live samples join without a seam.

A shape repeats a piece of a curve for ever and can be evaluated and integrated exactly at any time, which is what a
usage gauge and a usage counter need. It knows neither pods nor metrics nor where a curve came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class UsageShape:
    """A repeated piecewise curve: cores for CPU, bytes for memory.

    At unix time t the level is that of offset ``(t - anchor_seconds) mod period``, where the period is the last offset.
    """

    offsets: FloatArray
    """Seconds since the beginning of the piece: ascending, the first 0, the last the period."""
    levels: FloatArray
    """The level at each offset. The last one is the end of the piece; the next repetition starts at the first."""
    anchor_seconds: float = 0.0
    """A unix time at which the piece begins."""
    held: bool = False
    """Whether a level holds until the next offset (steps) instead of running to it in a straight line."""
    _integrals: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.offsets.ndim != 1 or self.offsets.shape != self.levels.shape or self.offsets.size < 2:
            raise ValueError("a shape needs at least two offsets and as many levels")
        if self.offsets[0] != 0.0 or np.any(np.diff(self.offsets) <= 0):
            raise ValueError("the offsets of a shape ascend from 0")
        if not np.all(np.isfinite(self.levels)) or np.any(self.levels < 0):
            raise ValueError("the levels of a shape are finite and not negative")
        heights = self.levels[:-1] if self.held else (self.levels[:-1] + self.levels[1:]) / 2
        object.__setattr__(self, "_integrals", np.concatenate([[0.0], np.cumsum(heights * np.diff(self.offsets))]))

    @property
    def period_seconds(self) -> float:
        return float(self.offsets[-1])

    @property
    def peak(self) -> float:
        """The highest level."""
        return float(self.levels.max())

    def at(self, times: ArrayLike) -> FloatArray:
        """The level at each unix time."""
        offsets, segments, _ = self._located(times)
        if self.held:
            return np.asarray(self.levels[segments], dtype=np.float64)
        return np.asarray(np.interp(offsets, self.offsets, self.levels), dtype=np.float64)

    def integral(self, *, start: ArrayLike, end: ArrayLike) -> FloatArray:
        """The exact area below the curve from each start to each end (core seconds for CPU)."""
        start_area, start_piece = self._area(start)
        end_area, end_piece = self._area(end)
        return np.asarray((end_piece - start_piece) * self._integrals[-1] + (end_area - start_area), dtype=np.float64)

    def scaled(self, factor: float, *, plus: float = 0.0) -> UsageShape:
        """The curve with every level times the factor plus a constant, not below 0."""
        return self._with(levels=np.maximum(self.levels * factor + plus, 0.0))

    def squeezed(self, period_seconds: float) -> UsageShape:
        """The same curve run through in another time."""
        return self._with(offsets=self.offsets * (period_seconds / self.period_seconds))

    def at_most(self, level: float) -> UsageShape:
        """The curve with its points cut at a level."""
        return self._with(levels=np.minimum(self.levels, level))

    def rises_above(self, level: float) -> tuple[float, ...]:
        """The offsets within the piece at which the curve comes to lie above a level."""
        above = self.levels > level
        return tuple(self.offsets[1:][above[1:] & ~above[:-1]].tolist())

    def _with(self, *, offsets: FloatArray | None = None, levels: FloatArray | None = None) -> UsageShape:
        return UsageShape(
            offsets=self.offsets if offsets is None else offsets,
            levels=self.levels if levels is None else levels,
            anchor_seconds=self.anchor_seconds,
            held=self.held,
        )

    def _located(self, times: ArrayLike) -> tuple[FloatArray, NDArray[np.intp], FloatArray]:
        pieces, offsets = np.divmod(np.asarray(times, dtype=np.float64) - self.anchor_seconds, self.period_seconds)
        segments = np.searchsorted(self.offsets, offsets, side="right") - 1
        return offsets, np.minimum(segments, self.offsets.size - 2), pieces

    def _area(self, times: ArrayLike) -> tuple[FloatArray, FloatArray]:
        offsets, segments, pieces = self._located(times)
        into = offsets - self.offsets[segments]
        heights = self.levels[segments]
        if not self.held:
            slopes = np.diff(self.levels) / np.diff(self.offsets)
            heights = heights + slopes[segments] * into / 2
        return self._integrals[segments] + heights * into, pieces


def constant(level: float) -> UsageShape:
    """The same level for ever."""
    return UsageShape(offsets=np.array([0.0, DAY_SECONDS]), levels=np.array([level, level]))


def steps(levels: Sequence[float], *, seconds_each: float) -> UsageShape:
    """Levels that each hold for the same time, over and over."""
    offsets = np.arange(len(levels) + 1, dtype=np.float64) * np.float64(seconds_each)
    return UsageShape(offsets=offsets, levels=np.array([*levels, levels[-1]], dtype=np.float64), held=True)


def ramp(low: float, high: float, *, period_seconds: float, anchor_seconds: float = 0.0) -> UsageShape:
    """A climb from low to high and a sudden fall back: a leak that ends with a restart."""
    return UsageShape(offsets=np.array([0.0, period_seconds]), levels=np.array([low, high]), anchor_seconds=anchor_seconds)


def recorded(times: ArrayLike, levels: ArrayLike, *, held: bool = False) -> UsageShape:
    """A recorded curve in a loop; missing levels (NaN) are bridged from their neighbours.

    Of a record of a day or more, whole days are kept: each repetition then begins at the same time of day, and a daily
    rhythm stays one. The last level holds to the end of the piece.

    Raises:
        ValueError: fewer than two levels were recorded.
    """
    moments, values = np.asarray(times, dtype=np.float64), np.asarray(levels, dtype=np.float64)
    known = np.isfinite(values)
    moments, values = moments[known], values[known]
    if moments.size < 2:
        raise ValueError("a recorded shape needs at least two levels")
    period = _loop_seconds(moments)
    offsets = moments - moments[0]
    inside = offsets < period
    return UsageShape(
        offsets=np.append(offsets[inside], period),
        levels=np.append(values[inside], values[inside][-1]),
        anchor_seconds=float(moments[0]),
        held=held,
    )


def _loop_seconds(moments: FloatArray) -> float:
    span = float(moments[-1] - moments[0] + np.median(np.diff(moments)))
    return span // DAY_SECONDS * DAY_SECONDS if span >= DAY_SECONDS else span
