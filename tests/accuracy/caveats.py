"""What the figures of the accuracy page leave out, each in a sentence and a table: days counted otherwise, short series, short bursts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rightsizer.methods.pace import STRATEGIES
from rightsizer.methods.statistics import Numbers
from rightsizer.workload import ResourceName
from tests.accuracy.markdown import markdown
from tests.accuracy.samples import Compared, Finer
from tests.accuracy.sets import ALL, Found, Set
from tests.accuracy.study import FIGURES, LEAST_DAYS, Sources, pooled_oom_free, summaries

_WITH_SHORT: Sequence[tuple[ResourceName, str]] = (
    ("cpu", "slack %"),
    ("cpu", "above %"),
    ("cpu", "unmet %"),
    ("memory", "slack %"),
    ("memory", "above %"),
    ("memory", "OOM days %"),
)
_OOM_FREE = """### OOM-free days, counted in two ways

The tables above and the plots have the mean over the series, in which each series counts as one, whether it lasted for four days or for
thirty. Where all days of all series are counted together, long series count for more, and a kill in a short one for less."""
_SHORT = """Left out are {number} series that are shorter than {days} days ({counts}): judging begins after the first day, and figures
of less than two days say more about chance than about a rule. With all of them, as far as they last for more than a day, the means over the
series are ({strategy}):"""
_SAMPLES = """### CPU of {source}, {strategy}, judged by each sample

This source has a sample every {seconds} s. The operator decides, and all other figures of this page judge, by the mean of CPU over 5
minutes: a minute above the request between quiet ones is not seen there. These are the same decisions over the same time, judged by every
sample; bursts that are shorter still are not seen here either."""


def oom_free_days(one: Set) -> str:
    """Both means of the days without a kill."""
    rows = []
    for found in one.of(STRATEGIES[0]):
        other = next(each for each in one.of(STRATEGIES[1]) if each.plan == found.plan)
        rows.append([found.plan, *_oom_free(one.sources, found), *_oom_free(one.sources, other)])
    means = ("mean over the series", "all days together")
    head = ["rule", *(f"{strategy}, {mean}, %" for strategy in STRATEGIES[:2] for mean in means)]
    return f"{_OOM_FREE}\n\n{markdown(head, rows)}"


def _oom_free(sources: Sources, found: Found) -> list[str]:
    days = found.mean("memory", "OOM days %").get(ALL)
    return ["-", "-"] if days is None else [f"{100 - days:.2f}", f"{pooled_oom_free(sources, found.verdicts) * 100:.2f}"]


def short_series(one: Set) -> str:
    """What is left out, and what it would change."""
    if not one.short:
        return f"No series is shorter than {LEAST_DAYS} days: none is left out."
    counts = ", ".join(f"{source} {len(series)}" for source, series in one.short.items())
    rows = [[found.plan, *_means(one, found)] for found in one.of(STRATEGIES[0])]
    head = ["rule", *(f"{resource} {figure}" for resource, figure in _WITH_SHORT)]
    told = _SHORT.format(number=sum(map(len, one.short.values())), days=LEAST_DAYS, counts=counts, strategy=STRATEGIES[0])
    return f"{told}\n\n{markdown(head, rows)}"


def _means(one: Set, found: Found) -> Iterator[str]:
    short = next(each for each in one.found_short if (each.plan, each.strategy) == (found.plan, found.strategy))
    verdicts = {**found.verdicts, **{f"{source}, short": verdict for source, verdict in short.verdicts.items()}}
    for resource, figure in _WITH_SHORT:
        whole = dict(summaries(verdicts, resource, FIGURES[resource][figure])).get(ALL)
        yield "-" if whole is None else f"{whole.mean:.2f}"


def by_samples(one: Set) -> list[str]:
    """CPU judged by each sample, of the sources that have more of them."""
    return [_by_samples(finer, list(plans.items())) for finer, plans in one.compared]


def _by_samples(finer: Finer, plans: Sequence[tuple[str, Compared]]) -> str:
    rows = [[name, *_above(compared.by_means), *_above(compared.by_samples)] for name, compared in plans]
    figures = ("above %", "series above for at most 1 % of the time, %")
    head = ["rule", *(f"by {what}: {figure}" for what in ("means of 5 minutes", f"samples of {finer.seconds} s") for figure in figures)]
    told = _SAMPLES.format(source=finer.source, strategy=STRATEGIES[0], seconds=finer.seconds)
    return f"{told}\n\n{markdown(head, rows)}"


def _above(shares: Numbers) -> list[str]:
    known = shares[np.isfinite(shares)]
    return [f"{known.mean() * 100:.2f}", f"{(known <= 0.01).mean() * 100:.1f}"] if len(known) else ["-", "-"]
