"""Writes `docs/accuracy.md` and its plots: every method and rule over recorded usage, by source, and what the methods lose at.

`python -m tests.accuracy.page`, or `make accuracy`. Text outside the marks of the page is kept: what was tried is told there, by hand. Kept
is also what was made of more recorded usage, where a run has only that of the project.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from rightsizer.cli.page import HARMS, IDEAL
from rightsizer.cli.tradeoff import Mark, tradeoff
from rightsizer.evidence.rules import RULES, rule_of
from rightsizer.methods.pace import STRATEGIES
from rightsizer.workload import RESOURCES, ResourceName
from tests.accuracy import caveats, keeping
from tests.accuracy.markdown import markdown
from tests.accuracy.samples import finer_sources
from tests.accuracy.sets import ALL, TITLES, Found, Set, study
from tests.accuracy.study import (
    FIGURES,
    FOLDER_VARIABLE,
    PROFILE,
    TRACES,
    Sources,
    Summary,
    divided,
    methods,
    read_sources,
    share_within,
    summaries,
    with_our_limits,
)
from tests.made_page import Marks, machine, machine_line

PAGE = Path(__file__).parents[2] / "docs" / "accuracy.md"
MARKS = Marks("<!-- accuracy begins: made by `make accuracy` -->", "<!-- accuracy ends -->")
OURS, WIDER = "The traces of the project", "All recorded usage at hand"
NEW_PAGE = f"# Accuracy\n\n{MARKS.begin}\n{MARKS.end}\n"
PLOTS = ("accuracy-cpu.svg", "accuracy-memory.svg", "accuracy-oom.svg")
"""In the order of `HARMS`."""
TRACES_PAGE = "../tests/traces/README.md#more-recorded-usage"
DEFAULT = PROFILE.apply.strategy
_LOSSES = f"""Where another rule needs no more slack and violates no more often, and is better in one of the two: means over the
series, those at the speeds of {DEFAULT} first, the only ones that a profile can choose today. A line of one source is a matter of a handful
of containers; those of all series count. Where a line names `Learned`, `method: Learned` is what to try; where it names another rule,
`rightsizer backtest --rule` tells whether your own usage is of that kind."""


def section(sets: Sequence[Set], ours: Sequence[str], measured_on: Mapping[str, str]) -> str:
    """What stands between the marks. `ours`: the names of the methods; the plots are of the last set, the largest."""
    pictures = "\n".join(f"![{harm.heading} against slack, each rule]({plot})" for harm, plot in zip(HARMS, PLOTS, strict=True))
    parts = [
        f"Repeat it with `make accuracy`; {FOLDER_VARIABLE} may name a folder with [more recorded usage]({TRACES_PAGE}), without which "
        "what was made of it stays as it is.",
        f"## {keeping.PLOTS}\n\n{sets[-1].title}, at the speeds of {STRATEGIES[0]}; mean over the series. The nearer to the lower "
        "left, the better; the dashed line joins the rules that no other beats in both; the hollow mark, "
        f"`{IDEAL}`, knows the future.\n\n{pictures}",
        *(_of_set(one, measured_on) for one in sets),
        f"## {keeping.LOSSES}\n\n{_LOSSES}",
        *(_losses(one, ours) for one in sets),
    ]
    return "\n\n".join(parts)


def _of_set(one: Set, measured_on: Mapping[str, str]) -> str:
    parts = [f"## {one.title}", machine_line(measured_on), _sources(one.sources), caveats.short_series(one)]
    for resource in RESOURCES:
        for strategy in STRATEGIES:
            found = one.of(strategy, resource)
            parts += [
                f"### {TITLES[resource]}, {strategy}",
                table(found, resource, sources=[ALL]),
                f"By source:\n\n{table(found, resource)}",
            ]
    parts += [caveats.oom_free_days(one), *caveats.by_samples(one)]
    return "\n\n".join(part for part in parts if part)


def _sources(sources: Sources) -> str:
    rows = []
    for source, series in sources.items():
        counts = [sum(bool(np.isfinite(one.usage(resource)).any()) for one in series) for resource in RESOURCES]
        days = np.median([one.slots for one in series]) * 300 / 86_400
        rows.append([source, *(str(count) for count in counts), f"{days:.0f}"])
    return markdown(["source", "CPU series", "memory series", "days (median)"], rows)


def table(found: Sequence[Found], resource: ResourceName, *, sources: Sequence[str] = ()) -> str:
    """Mean / median / worst series of each figure; `sources`: of these only, else of each without their sum."""
    rows = []
    for one in found:
        by_source: dict[str, list[str]] = {}
        for figure in FIGURES[resource].values():
            for source, summary in summaries(one.verdicts, resource, figure):
                by_source.setdefault(source, []).append(_written(summary))
        within = {ALL: f"{share_within(one.verdicts, resource, 0.01) * 100:.1f}"}
        for source, cells in by_source.items():
            if source in sources:
                rows.append([one.plan, *cells, within[source]])
            elif not sources and source != ALL:
                rows.append([source, one.plan, *cells])
    head = ["rule", *FIGURES[resource]] if sources else ["source", "rule", *FIGURES[resource]]
    return markdown(
        [*head, "series above for at most 1 % of the time, %"] if sources else head,
        rows if sources else sorted(rows, key=lambda row: row[0]),
    )


def _written(found: Summary) -> str:
    return f"{found.mean:.2f} / {found.median:.2f} / {found.worst:.2f}"


def _losses(one: Set, ours: Sequence[str]) -> str:
    # First what a profile can choose today.
    strategies = sorted(STRATEGIES, key=lambda name: name != DEFAULT)
    lines = [line for strategy in strategies for name in ours for line in _lost(one, strategy, name)]
    told = "\n".join(lines) or "- No rule is better in slack and in a violation at once, in any source or over all."
    return f"### {one.title}\n\n{told}"


def _lost(one: Set, strategy: str, name: str) -> Iterator[str]:
    """The rules that beat a method in one figure and are not worse in the other."""
    mine = next(each for each in one.of(strategy) if each.plan == name)
    for resource in RESOURCES:
        others = [each for each in one.of(strategy, resource) if each.plan not in (name, IDEAL)]
        for harm in list(FIGURES[resource])[1:-1]:
            slack, violations = mine.mean(resource, "slack %"), mine.mean(resource, harm)
            for source in slack:
                beaten = [_better(other, resource, harm, source, slack[source], violations[source]) for other in others]
                if any(beaten):
                    place = f"{TITLES[resource]}, {strategy}, {'all series' if source == ALL else source}"
                    mean = f"slack {slack[source]:.2f}, {harm} {violations[source]:.2f}"
                    yield f"- {place}: {name} {mean}; {', '.join(text for text in beaten if text)}"


def _better(other: Found, resource: ResourceName, harm: str, source: str, slack: float, violations: float) -> str:
    theirs, often = other.mean(resource, "slack %")[source], other.mean(resource, harm)[source]
    if theirs > slack or often > violations or (theirs, often) == (slack, violations):
        return ""
    return f"`{other.plan}` {theirs:.2f} and {often:.2f}"


def plots(one: Set, ours: Sequence[str]) -> dict[str, str]:
    """The drawings by the name of their file."""
    drawn = {}
    for plot, harm in zip(PLOTS, HARMS, strict=True):
        marks = []
        for found in one.of(STRATEGIES[0], harm.resource):
            slack = dict(summaries(found.verdicts, harm.resource, lambda scores: scores.slack * 100))[ALL].mean
            violations = dict(summaries(found.verdicts, harm.resource, harm.percent))[ALL].mean
            marks.append(Mark(found.plan, slack, violations, "ours" if found.plan in ours else "ideal" if found.plan == IDEAL else "rule"))
        drawn[plot] = tradeoff(harm.heading, harm.title, marks, alone=True)
    return drawn


def write(sets: Sequence[Set], ours: Sequence[str], *, file: Path = PAGE) -> list[str]:
    """The page, and the plots beside it. Returns what was written and what was kept, in words."""
    former = MARKS.within(file.read_text()) if file.is_file() else ""
    made = section(sets, ours, machine(f"numpy {np.__version__}"))
    if all(one.title != WIDER for one in sets) and keeping.keeps(former, WIDER):
        MARKS.write(file, keeping.with_kept(made, former, WIDER), new_page=NEW_PAGE)
        kept = f'kept what was made of more recorded usage ("{WIDER}", its losses, and {", ".join(PLOTS)})'
        return [f"wrote {file}", f"{kept}: {FOLDER_VARIABLE}=DIR makes it anew"]
    MARKS.write(file, made, new_page=NEW_PAGE)
    for name, drawn in plots(sets[-1], ours).items():
        file.with_name(name).write_text(drawn)
    return [f"wrote {', '.join(str(each) for each in (file, *map(file.with_name, PLOTS)))}"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.accuracy.page", description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE, help="another file to write")
    parser.add_argument("--traces", type=Path, default=TRACES, help="another folder in place of the project's traces")
    arguments = parser.parse_args()
    ours = methods()
    plans = [*ours, *(rule_of(name, window_seconds=PROFILE.window_seconds) for name in RULES), with_our_limits("autopilot")]
    folders = {OURS: arguments.traces}
    if FOLDER_VARIABLE in os.environ:
        folders[WIDER] = Path(os.environ[FOLDER_VARIABLE])
    sets = []
    for title, folder in folders.items():
        sources, short = divided(read_sources(folder))
        if not sources:
            sys.exit(f"{folder}: no recorded usage in it, files *.csv.gz with series of at least three days")
        print(f"{title}: {sum(len(series) for series in sources.values())} series, {len(plans)} rules", file=sys.stderr)
        sets.append(study(title, sources, plans, short=short, finer=finer_sources(folder, sources)))
    for told in write(sets, [plan.name for plan in ours], file=arguments.page):
        print(told, file=sys.stderr)


if __name__ == "__main__":
    main()
