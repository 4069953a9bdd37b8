"""Which series a backtest could not judge, and why. How they did otherwise is not known here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from rightsizer.cli.recommending import listed
from rightsizer.evidence.backtest import Judging, Series, Verdict
from rightsizer.history import SLOT_SECONDS, Values
from rightsizer.quantities import format_duration
from rightsizer.workload import RESOURCES

_NAMES = {"cpu": "CPU", "memory": "memory"}


def unjudged(series: Sequence[Series], verdict: Verdict, starts: Judging) -> Iterator[str]:
    """For each reason one line with the series that it holds for. `verdict`: on the rule by which they are judged first."""
    judged = {
        resource: {name for name, above in zip(verdict.names, verdict.scores(resource).above, strict=True) if np.isfinite(above)}
        for resource in RESOURCES
    }
    names: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for one in series:
        whys = {resource: _why(one.usage(resource), starts) for resource in RESOURCES if one.name not in judged[resource]}
        if len(whys) == len(RESOURCES) and len(set(whys.values())) == 1:
            names["nothing", whys["cpu"]].append(one.name)
        else:
            for resource, why in whys.items():
                names[f"no {_NAMES[resource]}", why].append(one.name)
    for (what, why), found in sorted(names.items()):
        yield f"{what} was judged, because {why}: {listed(sorted(found))}"


def _why(values: Values, starts: Judging) -> str:
    there = np.flatnonzero(np.isfinite(values))
    if not len(there):
        return "there is no value"
    start = int(starts(np.array([len(values)]))[0])
    after = format_duration(start * SLOT_SECONDS)
    if len(values) <= start:
        return f"the usage reaches over no more than the {after} after which judging begins"
    if there[-1] < start:
        return f"there is no value after the first {after}, and judging begins there"
    return "nothing was decided before the last value (see minimumHistory.raise)"
