"""Prints the figures of every rule, by source: mean / median / worst series. `python -m tests.accuracy.page` writes `docs/accuracy.md`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from rightsizer.evidence.backtest import Verdict
from rightsizer.evidence.rules import RULES, Rule, rule_of
from rightsizer.methods.pace import STRATEGIES
from rightsizer.workload import RESOURCES
from tests.accuracy.study import (
    FIGURES,
    FOLDER_VARIABLE,
    PROFILE,
    TRACES,
    divided,
    judged,
    read_sources,
    share_within,
    summaries,
    with_budget,
    with_statistics,
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.accuracy", description=__doc__)
    parser.add_argument("--strategy", choices=STRATEGIES, default="InPlace")
    parser.add_argument("--rule", action="append", choices=list(RULES), help="instead of all rules; may be repeated")
    parser.add_argument("--cpu", default="", help="another statistic for Measured, such as load-p95/24h")
    parser.add_argument("--memory", default="", help="the same for memory")
    parser.add_argument("--measured-only", action="store_true")
    parser.add_argument("--budget", action="append", type=float, default=[], help="judge Learned with this time above, in %%, too")
    arguments = parser.parse_args()
    sources, _ = divided(read_sources(Path(os.environ.get(FOLDER_VARIABLE, TRACES))))
    plans: list[Rule] = [with_statistics(arguments.cpu, arguments.memory)]
    if not arguments.measured_only:
        plans += [with_budget(None), *(with_budget(budget / 100) for budget in arguments.budget)]
        plans += [rule_of(name, window_seconds=PROFILE.window_seconds) for name in arguments.rule or RULES]
    for plan in plans:
        tell(plan.name, judged(sources, plan, strategy=arguments.strategy))


def tell(name: str, verdicts: Mapping[str, Verdict]) -> None:
    """All figures of one rule."""
    print(f"\n{name}")
    for resource in RESOURCES:
        share = share_within(verdicts, resource, 0.01)
        print(f"  {resource}: {share * 100:.1f} % of the series at most 1 % of their time above the request")
        for title, figure in FIGURES[resource].items():
            for source, found in summaries(verdicts, resource, figure):
                print(f"    {title:12} {source:24} {found.mean:8.2f} / {found.median:8.2f} / {found.worst:8.2f}")


if __name__ == "__main__":
    main()
