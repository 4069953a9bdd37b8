"""`rightsizer backtest`: what a rule would have done over recorded usage, beside other rules."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

from rightsizer.cli import verdicts
from rightsizer.cli.exits import ExitCode
from rightsizer.cli.profile_file import read_documents, read_profile
from rightsizer.cli.progress import ProgressBar
from rightsizer.cli.series_files import read_series
from rightsizer.errors import InvalidInput
from rightsizer.evidence.backtest import Decision, Judging, Series, Verdict, backtest
from rightsizer.evidence.rules import Rule, learned, measured, rule_of
from rightsizer.evidence.scores import start_of_judging
from rightsizer.history import SLOT_SECONDS
from rightsizer.methods.pace import pace_of
from rightsizer.profile import Profile

TRAJECTORY_COLUMNS = (
    "series",
    "unix_ts",
    "cpu_request_cores",
    "cpu_limit_cores",
    "memory_request_bytes",
    "memory_limit_bytes",
    "reason",
)
_MILLICORES_PER_CORE = 1000.0
_RENDERINGS: Mapping[str, Callable[[Sequence[Verdict]], str]] = {
    "table": verdicts.as_table,
    "json": verdicts.as_json,
    "csv": verdicts.as_csv,
}


def backtest_files(options: Mapping[str, Any]) -> ExitCode:
    """Prints how the profile's rule and those to compare with would have done. Raises InvalidInput."""
    profile, bounded = _profile(options["profile"])
    method = options["method"] or profile.method
    plans: list[Rule] = [_of_method(method, profile, bounded)]
    plans += [rule_of(name, window_seconds=profile.window_seconds) for name in dict.fromkeys(options["rules"])]
    pace = pace_of(profile, strategy=options["strategy"] or profile.apply.strategy)
    with ProgressBar() as bar, _trajectory(options["trajectory"]) as write:
        series = read_series(options["history"], bar.report)
        found = []
        for number, plan in enumerate(plans):

            def report(done: int, plan: Rule = plan) -> None:
                bar.report(f"replaying {plan.name}", done, len(series))

            found.append(
                backtest(series, plan, pace, starts=_judging(options["score_after"]), take=None if number else write, report=report)
            )
    click.echo(_RENDERINGS[options["output"]](found))
    return ExitCode.FINE


def _profile(path: Path | None) -> tuple[Profile, tuple[bool, bool]]:
    """The profile, and whether it names bounds for CPU and for memory: those of the schema are not meant for a judgement of the rule."""
    if path is None:
        return Profile("default", "default"), (False, False)
    profile = read_profile(path, replayed=True)
    spec = read_documents(path)[0].get("spec") or {}
    return profile, (_bounded(spec, "cpu"), _bounded(spec, "memory"))


def _of_method(method: str, profile: Profile, bounded: tuple[bool, bool]) -> Rule:
    if method == "Learned":
        return learned(profile.default_rule, profile.risk, window_seconds=profile.window_seconds, bounded=bounded)
    return measured(profile.default_rule, window_seconds=profile.window_seconds, bounded=bounded)


def _bounded(spec: Mapping[str, Any], resource: str) -> bool:
    return any((spec.get(resource) or {}).get(bound) is not None for bound in ("min", "max"))


def _judging(after_seconds: int | None) -> Judging:
    if after_seconds is None:
        return start_of_judging
    return lambda lengths: np.full(len(lengths), after_seconds // SLOT_SECONDS)


@contextmanager
def _trajectory(path: Path | None) -> Iterator[Callable[[Series, Sequence[Decision]], None] | None]:
    """Takes the decisions of each series in any order, and writes them in that of their names when all are there."""
    if path is None:
        yield None
        return
    found: dict[str, list[list[str]]] = {}

    def take(series: Series, decided: Sequence[Decision]) -> None:
        found[series.name] = [_row(series.name, decision) for decision in decided]

    yield take
    try:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(TRAJECTORY_COLUMNS)
            for name in sorted(found):
                writer.writerows(found[name])
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be written: {error.strerror}") from error


def _row(name: str, decision: Decision) -> list[str]:
    cores = (decision.cpu_request / _MILLICORES_PER_CORE, decision.cpu_limit / _MILLICORES_PER_CORE)
    sizes = (*cores, decision.memory_request, decision.memory_limit)
    return [name, str(decision.unix_ts), *("" if math.isnan(size) else f"{size:.9g}" for size in sizes), decision.reason]
