"""The same decisions judged by the samples themselves, where they were taken more often than every five minutes.

Decisions are made, and judged everywhere else, by the mean of CPU over five minutes; what is above the request for a minute of them may
not be seen there. Which rules are judged, and how it is told, is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rightsizer.evidence.backtest import Decision, Series, backtest
from rightsizer.evidence.rules import Rule
from rightsizer.evidence.scores import start_of_judging
from rightsizer.history import SLOT_SECONDS
from rightsizer.methods.pace import pace_of
from rightsizer.methods.statistics import Numbers
from tests.accuracy.study import PROFILE, Sources

_MILLICORES_PER_CORE = 1000.0


@dataclass(frozen=True, slots=True)
class Samples:
    """CPU of one series as it was taken: unix seconds, ascending, and millicores."""

    times: NDArray[np.int64]
    cpu: Numbers


@dataclass(frozen=True, slots=True)
class Finer:
    """A source that was sampled more often than every five minutes: its series, and the samples of each by name."""

    source: str
    series: Sequence[Series]
    samples: Mapping[str, Samples]
    seconds: int


@dataclass(frozen=True, slots=True)
class Compared:
    """The share of the time above the CPU request of each series, 0 to 1: by means of five minutes, and by the samples."""

    by_means: Numbers
    by_samples: Numbers


def finer_sources(folder: Path, sources: Sources) -> list[Finer]:
    """Those of the sources that have a sample more often than every five minutes, in the median."""
    found = []
    for source, series in sources.items():
        rows = pd.read_csv(folder / f"{source}.csv.gz", usecols=["series", "unix_ts", "cpu_cores"], dtype={"series": str})
        seconds = rows.groupby("series")["unix_ts"].diff().median()
        if seconds < SLOT_SECONDS:
            known = rows.dropna(subset=["cpu_cores"])
            samples = {str(name): _samples(part) for name, part in known.groupby("series")}
            mine = [one for one in series if one.name in samples]
            found.append(Finer(source, mine, samples, int(seconds)))
    return found


def _samples(rows: pd.DataFrame) -> Samples:
    return Samples(rows["unix_ts"].to_numpy(dtype=np.int64), rows["cpu_cores"].to_numpy(dtype=np.float64) * _MILLICORES_PER_CORE)


def compare(finer: Finer, plan: Rule, *, strategy: str) -> Compared:
    """Judges the plan's decisions in both ways, over the same time."""
    shares: dict[str, float] = {}

    def take(one: Series, decided: Sequence[Decision]) -> None:
        shares[one.name] = above(finer.samples[one.name], decided, begin=_begin(one))

    verdict = backtest(finer.series, plan, pace_of(PROFILE, strategy=strategy), take=take)
    return Compared(verdict.cpu.above, np.array([shares[name] for name in verdict.names]))


def _begin(one: Series) -> int:
    """The unix second after which a series is judged: the end of the slot before the first that is."""
    start = int(start_of_judging(np.array([one.slots]))[0])
    return (one.first_slot + start - 1) * SLOT_SECONDS


def above(samples: Samples, decided: Sequence[Decision], *, begin: int) -> float:
    """The share of the samples after `begin` that are above the request in force; NaN where there is none."""
    places = np.searchsorted(np.array([decision.unix_ts for decision in decided], dtype=np.int64), samples.times, side="right") - 1
    requests = np.array([decision.cpu_request for decision in decided] + [np.nan])[places]
    judged = (samples.times > begin) & ~np.isnan(requests)
    return float((samples.cpu[judged] > requests[judged]).mean()) if judged.any() else float("nan")
