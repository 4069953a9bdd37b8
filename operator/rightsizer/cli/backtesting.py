"""`rightsizer backtest`: what a rule would have done over recorded usage, beside other rules."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from rightsizer.cli import verdicts
from rightsizer.cli.exits import ExitCode
from rightsizer.cli.page import Courses, as_page
from rightsizer.cli.profile_file import read_documents, read_profile
from rightsizer.cli.progress import ProgressBar
from rightsizer.cli.series_files import read_series
from rightsizer.errors import InvalidInput
from rightsizer.evidence.backtest import Decision, Judging, Series, Take, Verdict, backtest
from rightsizer.evidence.rules import Plan, Rule, learned, measured, rule_of
from rightsizer.evidence.scores import start_of_judging
from rightsizer.history import SLOT_SECONDS
from rightsizer.methods import known_methods
from rightsizer.methods.pace import IN_PLACE, Pace, pace_of
from rightsizer.methods.plugin import Asked, installed
from rightsizer.profile import DEFAULT_METHOD, LEARNED, Profile
from rightsizer.quantities import format_duration, format_percentage

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
    plans: list[Rule] = [_own_plan(profile, method, bounded)]
    plans += [rule_of(name, window_seconds=profile.window_seconds) for name in dict.fromkeys(options["rules"])]
    pace = pace_of(profile, strategy=options["strategy"] or profile.apply.strategy)
    courses: dict[str, Sequence[Decision]] = {}
    with ProgressBar() as bar, _trajectory(options["trajectory"]) as write:
        take = _kept(courses, write) if options["output"] == "html" else write
        series = read_series(options["history"], bar.report)
        found = []
        for number, plan in enumerate(plans):

            def report(done: int, plan: Rule = plan) -> None:
                bar.report(f"replaying {plan.name}", done, len(series))

            found.append(
                backtest(series, plan, pace, starts=_judging(options["score_after"]), take=None if number else take, report=report)
            )
    click.echo(_rendered(options["output"], found, series, courses, told=_told(profile, method, pace)))
    return ExitCode.FINE


def _own_plan(profile: Profile, method: str, bounded: tuple[bool, bool]) -> Rule:
    """The profile's rule by this method. Raises InvalidInput for one that is not installed."""
    if method == LEARNED:
        return learned(profile.default_rule, profile.risk, window_seconds=profile.window_seconds, bounded=bounded)
    plan = measured(profile.default_rule, window_seconds=profile.window_seconds, bounded=bounded)
    if method == DEFAULT_METHOD:
        return plan
    plugin = installed().get(method)
    if plugin is None:
        raise InvalidInput(f"--method {method}: no such method is installed; known are {', '.join(sorted(known_methods()))}")
    cpu = replace(plan.cpu, estimator=Asked(plugin, "cpu", plan.cpu.window))
    return Plan(method, cpu, replace(plan.memory, estimator=Asked(plugin, "memory", plan.memory.window)))


def _rendered(output: str, found: Sequence[Verdict], series: Sequence[Series], courses: Courses, *, told: str) -> str:
    return as_page(found, series, courses, told=told) if output == "html" else _RENDERINGS[output](found)


def _told(profile: Profile, method: str, pace: Pace) -> str:
    """What was replayed, in a sentence."""
    rule, speeds = profile.default_rule, IN_PLACE if pace.fast else "Rollout"
    what = method
    if method == DEFAULT_METHOD:
        cpu, memory = (f"{one.told_statistic} + {format_percentage(one.buffer)}" for one in (rule.cpu, rule.memory))
        what = f"CPU {cpu}, memory {memory}"
    return (
        f"{what} of {format_duration(profile.window_seconds)}, at the speeds of {speeds}; each decision "
        "saw only what was there by then, and is judged by what came next."
    )


def _profile(path: Path | None) -> tuple[Profile, tuple[bool, bool]]:
    """The profile, and whether it names bounds for CPU and for memory: those of the schema are not meant for a judgement of the rule."""
    if path is None:
        return Profile("default", "default"), (False, False)
    profile = read_profile(path, replayed=True)
    spec = read_documents(path)[0].get("spec") or {}
    return profile, (_bounded(spec, "cpu"), _bounded(spec, "memory"))


def _bounded(spec: Mapping[str, Any], resource: str) -> bool:
    return any((spec.get(resource) or {}).get(bound) is not None for bound in ("min", "max"))


def _judging(after_seconds: int | None) -> Judging:
    if after_seconds is None:
        return start_of_judging
    return lambda lengths: np.full(len(lengths), after_seconds // SLOT_SECONDS)


def _kept(courses: dict[str, Sequence[Decision]], write: Take | None) -> Take:
    """Keeps the decisions of each series, besides what else is done with them."""

    def take(series: Series, decided: Sequence[Decision]) -> None:
        courses[series.name] = decided
        if write is not None:
            write(series, decided)

    return take


@contextmanager
def _trajectory(path: Path | None) -> Iterator[Take | None]:
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
