"""CPU that is high only while a container starts. It is told, so that nobody takes the peak for a need: the limit carries it.

A start is seen in the usage itself: a pod more than in the slot before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rightsizer.history import Values
from rightsizer.methods.pace import Truth
from rightsizer.methods.statistics import Numbers, percentile

START_SLOTS = 3
"""A start is over after fifteen minutes: the slot in which the pod appears, and two more, for the rate of the first one is of its half."""

SPIKE, SPIKE_TOLD = 2.0, 1.6
"""How many times the usual upper level (p95 outside of starts) the peak of a start is; to be told first, and to be told on."""

LEAST_SPIKE = 50.0
"""Millicores: what is smaller is no reason to look."""

LEAST_STARTS = 2
"""One start may have met with something else."""

OF_THE_STARTS = 2 / 3
"""The share of the starts that must have a spike."""


@dataclass(frozen=True, slots=True)
class Spikes:
    """Rows with start-up spikes. `starts`: how many starts were seen; `peak`: millicores, the largest of them; `usual`: p95 outside."""

    found: Truth
    starts: Numbers
    peak: Numbers
    usual: Numbers


def spikes(cpu: Values, pods: NDArray[np.uint16], *, told: Truth) -> Spikes:
    """The start-up spikes of CPU (rows, slots) in millicores; `told`: rows of which it is told already."""
    more = pods[:, 1:] > pods[:, :-1]
    some = np.flatnonzero(more.sum(axis=1) >= LEAST_STARTS)
    found, nothing = np.zeros(len(cpu), dtype=np.bool_), np.full(len(cpu), np.nan)
    number, highest, usual = np.zeros(len(cpu)), nothing, nothing.copy()
    if len(some):
        starts = _starts(pods[some], more[some])
        number[some] = starts.sum(axis=1)
        after, near = _after_starts(cpu[some], starts)
        usual[some] = percentile(np.where(near, np.float32(np.nan), cpu[some]), 0.95)
        highest[some] = np.fmax.reduce(after, axis=1)
        least = np.fmax(usual[some] * np.where(told[some], SPIKE_TOLD, SPIKE), LEAST_SPIKE)
        spiky = (after >= least[:, np.newaxis]).sum(axis=1)
        found[some] = (spiky >= LEAST_STARTS) & (spiky >= number[some] * OF_THE_STARTS)
    return Spikes(found, number, highest, usual)


def _starts(pods: NDArray[np.uint16], more: Truth) -> Truth:
    """The slots in which a pod appeared. What was before the first one that was seen is not known; later, no pod is a pod less."""
    starts = np.zeros(pods.shape, dtype=np.bool_)
    starts[:, 1:] = more & (np.maximum.accumulate(pods, axis=1)[:, :-1] > 0)
    return starts


def _after_starts(cpu: Values, starts: Truth) -> tuple[Values, Truth]:
    """At each start the peak of its slots (NaN elsewhere), and which slots belong to a start."""
    peaks, near = cpu.copy(), starts.copy()
    for distance in range(1, START_SLOTS):
        peaks[:, :-distance] = np.fmax(peaks[:, :-distance], cpu[:, distance:])
        near[:, distance:] |= starts[:, :-distance]
    return np.where(starts, peaks, np.float32(np.nan)), near
