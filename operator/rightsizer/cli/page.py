"""How rules did, as one page for a browser that needs nothing else: no script, no network. pandas is at home here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from rightsizer.cli import verdicts as figures
from rightsizer.cli.drawing import STYLE
from rightsizer.cli.timeline import timeline, track
from rightsizer.cli.tradeoff import Mark, front, tradeoff
from rightsizer.evidence.backtest import Decision, Series, Verdict
from rightsizer.evidence.scores import Scores
from rightsizer.methods.statistics import Numbers
from rightsizer.workload import RESOURCES, ResourceName

WORST = 10
IDEAL = "perfect"
"""The rule that knows the future: a bound to look at, not one to follow."""

_TITLES: Mapping[ResourceName, str] = {"cpu": "CPU", "memory": "Memory"}
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; color: #16202b; background: #fff; max-width: 1340px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.5rem; margin: 0 0 4px; } h2 { font-size: 1.15rem; margin: 32px 0 8px; } h3 { font-size: 1rem; margin: 0 0 4px; }
h3 { overflow-wrap: anywhere; } figure { margin: 0; }
p { max-width: 75ch; margin: 4px 0 12px; } .quiet { color: #5a6673; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap: 16px; }
.plots svg { width: 100%; height: auto; max-width: 560px; }
.wide { overflow-x: auto; }
.wide { margin: 0 0 20px; } .wide:focus-visible { outline: 2px solid #5b7fa6; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 4px 0 4px 24px; text-align: right; white-space: nowrap; border-bottom: 1px solid #dde3e9; }
th { font-weight: 400; } thead th, .ours th, .ours td { font-weight: 600; }
th:first-child { text-align: left; padding: 4px 0; position: sticky; left: 0; background: #fff; }
article { margin: 0 0 20px; break-inside: avoid; }
.key { display: inline-block; width: 18px; border-top: 2px solid; vertical-align: middle; }
.key.used { border-color: #5b7fa6; } .key.request { border-color: #c2410c; } .key.limit { border-color: #7a8794; border-top-style: dotted; }
@media screen and (prefers-color-scheme: dark) {
  body, th:first-child { color: #dfe6ed; background: #161b22; } .quiet { color: #93a1af; }
  th, td { border-color: #333e4a; }
  .key.used { border-color: #8fb4dd; } .key.request { border-color: #ff9b63; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 11px; color: #000; background: #fff; } .wide { overflow: visible; }
  table { font-size: 9px; } th:first-child { background: none; color: #000; } .plots, table { break-inside: avoid; }
}
"""

_HEAD = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rightsizer backtest</title>
<style>{_STYLE}{STYLE}</style>
</head>
<body>
<main>
"""


@dataclass(frozen=True, slots=True)
class Harm:
    """A figure that tells of harm, in per cent."""

    title: str
    resource: ResourceName
    percent: Callable[[Scores], Numbers]

    @property
    def heading(self) -> str:
        return f"{_TITLES[self.resource]}: {self.title}"


HARMS = (
    Harm("time above request", "cpu", lambda scores: scores.above * 100),
    Harm("time above request", "memory", lambda scores: scores.above * 100),
    Harm("days with an OOM kill", "memory", lambda scores: (1 - scores.oom_free) * 100),
)

Courses = Mapping[str, Sequence[Decision]]


def as_page(verdicts: Sequence[Verdict], series: Sequence[Series], courses: Courses, *, told: str) -> str:
    """The page. `courses`: the decisions of the first rule by series. `told`: what was replayed, in a sentence."""
    parts = [
        "<h1>Backtest</h1>",
        f'<p class="quiet">{escape(told)}</p>',
        "<h2>Slack against violations</h2>",
        *_plots(verdicts),
        "<h2>Figures</h2>",
        "<p>Mean / median / worst series. Slack: requested but not used. Unmet: used above the request, as a share of all usage.</p>",
        *(_table(verdicts, resource) for resource in RESOURCES),
        f"<h2>The worst containers under {escape(verdicts[0].plan)}</h2>",
        f"<p>{f'The {WORST} with' if len(series) > WORST else 'By'} most time above the request and most days with an OOM kill, worst "
        "first. Of each stretch of time the highest usage is drawn: "
        '<span class="key used"></span> used, <span class="key request"></span> requested, '
        '<span class="key limit"></span> memory limit.</p>',
        *_worst_articles(verdicts[0], {one.name: one for one in series}, courses),
    ]
    return _HEAD + "\n".join(parts) + "\n</main>\n</body>\n</html>"


def marks_of(verdicts: Sequence[Verdict], harm: Harm) -> list[Mark]:
    """Where each rule stands in the mean over its series; the first one is ours. Rules without a value have no place."""
    found = []
    for number, verdict in enumerate(verdicts):
        scores = verdict.scores(harm.resource)
        slack, violations = _mean(scores.slack) * 100, _mean(harm.percent(scores))
        if math.isfinite(slack) and math.isfinite(violations):
            found.append(Mark(verdict.plan, slack, violations, "ideal" if verdict.plan == IDEAL else "rule" if number else "ours"))
    return found


def _mean(values: Numbers) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _plots(verdicts: Sequence[Verdict]) -> list[str]:
    """The plots with what there is to say about them."""
    found = [(harm, marks) for harm in HARMS if (marks := marks_of(verdicts, harm))]
    if not found:
        return ["<p>Nothing could be judged: the series are too short, or too much of them is missing.</p>"]
    sentences = ["Mean over the series; the nearer to the lower left, the better."]
    if any(len(front(marks)) > 1 for _, marks in found):
        sentences.append("The dashed line joins the rules that no other beats in both.")
    if any(mark.kind == "ideal" for _, marks in found for mark in marks):
        sentences.append("The hollow mark knows the future.")
    drawn = "".join(f"<figure>{tradeoff(harm.heading, harm.title, marks)}</figure>" for harm, marks in found)
    return [f"<p>{' '.join(sentences)}</p>", f'<div class="plots">{drawn}</div>']


def _table(verdicts: Sequence[Verdict], resource: ResourceName) -> str:
    title, judged = _TITLES[resource], figures.judged(verdicts, resource)
    if not judged:
        return f"<p>{title}: nothing was judged.</p>"
    (_, *heads), *rows = figures.rows(verdicts, resource)
    corner = f'<th scope="col">{title}, {judged} series</th>'
    columns = "".join(f'<th scope="col">{escape(head.lower().replace("oom", "OOM"))}</th>' for head in heads)
    lines = [
        ("<tr>" if number else '<tr class="ours">')
        + f'<th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for number, (name, *cells) in enumerate(rows)
    ]
    # With the focus on it, the keys scroll what is too wide.
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{title}: figures of each rule"><table>\n'
        f"<thead><tr>{corner}{columns}</tr></thead>\n<tbody>\n" + "\n".join(lines) + "\n</tbody></table></div>"
    )


def worst(verdict: Verdict, *, most: int = WORST) -> pd.DataFrame:
    """The series with most harm, worst first: a column for each of `HARMS`, in per cent, NaN where it has no meaning."""
    columns = {harm.heading: harm.percent(verdict.scores(harm.resource)) for harm in HARMS}
    frame = pd.DataFrame(columns, index=pd.Index(verdict.names, name="series"), dtype="float64")
    # By name among equals, so that the page is the same whatever the order of the files.
    return frame.assign(all=frame.sum(axis=1)).sort_index().sort_values("all", ascending=False, kind="stable").head(most)


def _worst_articles(verdict: Verdict, series: Mapping[str, Series], courses: Courses) -> list[str]:
    return [
        _article(series[str(name)], courses.get(str(name), ()), {heading: float(row[heading]) for heading in row.index if heading != "all"})
        for name, row in worst(verdict).iterrows()
    ]


def _article(one: Series, decided: Sequence[Decision], harms: Mapping[str, float]) -> str:
    told = "; ".join(f"{heading} {percent:.2f} %" for heading, percent in harms.items() if math.isfinite(percent))
    drawn = [
        timeline(_TITLES[resource], track(one, decided, resource), resource, shows_limit=resource == "memory")
        for resource in RESOURCES
        if np.isfinite(one.usage(resource)).any()
    ]
    heading = f'<h3>{escape(one.name)}</h3>\n<p class="quiet">{escape(told) or "nothing was judged"}</p>'
    return f'<article>\n{heading}\n<div class="plots">{"".join(drawn)}</div>\n</article>'
