"""`rightsizer backtest`: what rules would have done over the usage of a cluster or of files."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

from rightsizer.cli import verdicts as renderings
from rightsizer.cli.cohorts import Cohort, Replayable, of_files, of_workloads
from rightsizer.cli.exits import ExitCode, NothingMatched, note
from rightsizer.cli.manifest_files import SUFFIXES
from rightsizer.cli.options import one_history, refuse_for_series
from rightsizer.cli.page import Courses, as_page
from rightsizer.cli.progress import ProgressBar, Report
from rightsizer.cli.recommending import tell_failures, tell_notes
from rightsizer.cli.unjudged import unjudged
from rightsizer.errors import InvalidInput
from rightsizer.evidence.backtest import Decision, Judging, Series, Take, Verdict, backtest, merged
from rightsizer.evidence.rules import CURRENT, Current, Rule, rule_of
from rightsizer.evidence.scores import start_of_judging
from rightsizer.history import SLOT_SECONDS
from rightsizer.workload import Sizes

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
    "table": renderings.as_table,
    "json": renderings.as_json,
    "csv": renderings.as_csv,
}


def backtest_all(options: Mapping[str, Any]) -> ExitCode:
    """Prints how the profiles' rules and those to compare with would have done. Raises RightsizerError where nothing can be told."""
    names = list(dict.fromkeys(options["rules"]))
    _refuse_input(options["trajectory"], options)
    courses: dict[str, Sequence[Decision]] = {}
    with ProgressBar() as bar, _trajectory(options["trajectory"]) as write:
        found = _read(options, names, bar.report)
        if not found.series:
            return _nothing(found)
        take = _kept(courses, write) if options["output"] == "html" else write
        starts = _judging(options["score_after"])
        verdicts = [_verdict(found, None, starts, take, bar.report), *(_verdict(found, name, starts, None, bar.report) for name in names)]
    click.echo(_rendered(options["output"], verdicts, found, courses))
    for text in unjudged(found.series, verdicts[0], starts):
        note(text)
    return _end(found)


def _read(options: Mapping[str, Any], rules: Sequence[str], report: Report) -> Replayable:
    """Raises InvalidInput for options that do not go together."""
    if not options["history"] or options["manifests"]:
        return of_workloads(one_history(options), report)
    refuse_for_series(options)
    if CURRENT in rules:
        raise InvalidInput(f"--rule {CURRENT}: a file of series does not tell the sizes in force; a cluster does, or --manifests DIR")
    return of_files(options, report)


def _nothing(found: Replayable) -> ExitCode:
    code = _end(found)
    if code is ExitCode.FINE:
        raise NothingMatched("nothing was measured of any of these containers")
    return code


def _end(found: Replayable) -> ExitCode:
    """Tells on stderr what there is to say about the reading."""
    if found.declared is None or found.usage is None:
        return ExitCode.FINE
    tell_notes(found.ruled, found.declared, found.usage)
    return tell_failures(found.declared, found.usage)


def _verdict(found: Replayable, name: str | None, starts: Judging, take: Take | None, report: Report) -> Verdict:
    """On the rule of this name, or on each container's own."""
    verdicts, before, total = [], 0, len(found.series)
    for cohort in found.cohorts:
        plan = cohort.own if name is None else _rule(name, cohort, found.sizes or {})

        def told(done: int, plan: Rule = plan, before: int = before) -> None:
            report(f"replaying {plan.name}", before + done, total)

        verdicts.append(backtest(cohort.series, plan, cohort.pace, starts=starts, take=take, report=told))
        before += len(cohort.series)
    return merged(verdicts)


def _rule(name: str, cohort: Cohort, sizes: Mapping[str, Sizes]) -> Rule:
    return Current(sizes) if name == CURRENT else rule_of(name, window_seconds=cohort.window_seconds)


def _rendered(output: str, found: Sequence[Verdict], replayed: Replayable, courses: Courses) -> str:
    return as_page(found, replayed.series, courses, told=replayed.told) if output == "html" else _RENDERINGS[output](found)


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


def _refuse_input(path: Path | None, options: Mapping[str, Any]) -> None:
    """Raises InvalidInput where the file to be written is one of those that are read."""
    if path is None or not path.exists():
        return
    named: list[tuple[str, Path]] = [("--history", one) for one in options["history"]]
    named += [(f"--{name.replace('_', '-')}", read) for name, read in options.items() if isinstance(read, Path) and name != "trajectory"]
    for option, read in named:
        if read.samefile(path) or (read.is_dir() and path.suffix in SUFFIXES and read.resolve() in path.resolve().parents):
            raise InvalidInput(f"--trajectory {path} would overwrite {option} {read}: name another file")


@contextmanager
def _trajectory(path: Path | None) -> Iterator[Take | None]:
    """Takes the decisions of each series in any order, and writes them in that of their names when all are there."""
    if path is None:
        yield None
        return
    _check_writable(path)
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
        raise _unwritable(path, error) from error


def _check_writable(path: Path) -> None:
    """Raises InvalidInput before the long work and not after it. A file that is there stays as it is, and none is left where none is."""
    there = path.exists()
    if there and not path.is_file():
        # Whoever reads a pipe would take this for its end.
        return
    try:
        with path.open("a", encoding="utf-8"):
            pass
        if not there:
            path.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput(f"{path}: cannot be written: {error.strerror}")


def _row(name: str, decision: Decision) -> list[str]:
    cores = (decision.cpu_request / _MILLICORES_PER_CORE, decision.cpu_limit / _MILLICORES_PER_CORE)
    sizes = (*cores, decision.memory_request, decision.memory_limit)
    return [name, str(decision.unix_ts), *("" if math.isnan(size) else f"{size:.9g}" for size in sizes), decision.reason]
