"""The result for people: the table, what became of the goals, the plot, and the machine it was measured on.

`python -m tests.bench.report` renders `docs/benchmarks.md` again from what the last run left in `build/bench`. Text outside the two
marks of that page is kept.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests import made_page
from tests.bench.goals import CPU_STEP_SECONDS, Goal, judged
from tests.bench.plot import Panel, svg
from tests.bench.record import ARMS, Phase, Record, find, read_records, sizes_of
from tests.made_page import Marks, machine_line
from tests.testbed.pins import module_file, prometheus_version, required_version

ROOT = Path(__file__).parents[2]
RESULT_FOLDER = ROOT / "build" / "bench"
RECORDS_FILE = RESULT_FOLDER / "measure.json"
MACHINE_FILE = RESULT_FOLDER / "measure-machine.json"
PAGE = ROOT / "docs" / "benchmarks.md"
PLOT_NAME = "benchmarks-measure.svg"
MARKS = Marks("<!-- bench-measure begins: made by `make bench-measure` -->", "<!-- bench-measure ends -->")

BYTES_PER_MB = 1_000_000
COLUMNS = (
    ("containers", "containers"),
    ("arm", "arm"),
    ("phase", "phase"),
    ("wall s", "wall_s"),
    ("Prometheus CPU s", "prometheus_cpu_s"),
    ("Prometheus peak MB", "prometheus_peak_mb"),
    ("requests", "requests"),
    ("MB read", "bytes"),
    ("operator CPU s", "operator_cpu_s"),
    ("operator MB", "operator_rss_mb"),
    ("API requests", "api_requests"),
    ("API writes", "api_writes"),
)
NEW_PAGE = f"# Benchmarks\n\n{MARKS.begin}\n{MARKS.end}\n"


def number(value: float | None) -> str:
    """Three digits that count; whole from 100 on; nothing where there is no value."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}".removesuffix(".0") if abs(value) >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")


def table(records: Sequence[Record]) -> str:
    """Markdown that can be read as it is. What was scaled up, or went wrong, is marked and told below."""
    rows = [[title for title, _ in COLUMNS], *(_row(record) for record in records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join([*lines, "", *_notes(records)]).strip()


def _row(record: Record) -> list[str]:
    cells = []
    for _, name in COLUMNS:
        value = getattr(record, name)
        if name == "bytes" and value is not None:
            value /= BYTES_PER_MB
        cells.append(value if isinstance(value, str) else number(value))
    mark = ("*" if record.asked_containers else "") + ("†" if record.trouble else "")
    cells[1] += mark
    return cells


def _notes(records: Sequence[Record]) -> list[str]:
    notes = []
    for record in records:
        if record.asked_containers and record.phase == "backfill":
            asked = f"asked for {record.asked_containers:,} of {record.sized_containers:,} declared containers and scaled up"
            notes.append(f"\\* {record.containers:,}: {asked}, but for the peak.")
    notes += [f"† {one.arm}, {one.phase}, {one.containers:,}: {one.trouble}" for one in records if one.trouble]
    return notes


def goals_table(goals: Sequence[Goal]) -> str:
    rows = [f"| {goal.title} | {goal.bound} | {goal.measured} | {goal.verdict} |" for goal in goals]
    return "\n".join(["| what | must | measured | |", "| --- | --- | --- | --- |", *rows])


def bounds(records: Sequence[Record]) -> str:
    """Where the time of our own arm goes, per size and phase."""
    rows = [
        "| containers | phase | wall s | Prometheus CPU s | operator CPU s | waiting for the API s | samples read |",
        "|" + " --- |" * 7,
    ]
    for record in records:
        if record.arm == "rightsizer":
            values = (record.wall_s, record.prometheus_cpu_s, record.operator_cpu_s, record.api_s, record.samples)
            rows.append(f"| {record.containers:,} | {record.phase} | " + " | ".join(number(value) for value in values) + " |")
    return "\n".join(rows)


def plot(records: Sequence[Record]) -> str:
    """Prometheus' CPU over the number of containers; of what was too short to be counted, the step in which it is counted."""
    return svg([_panel(records, "backfill", "the whole window, once"), _panel(records, "cycle", "each further cycle")])


def _panel(records: Sequence[Record], phase: Phase, title: str) -> Panel:
    lines: dict[str, list[tuple[float, float]]] = {}
    for arm in ARMS:
        found = [find(records, arm=arm, phase=phase, containers=size) for size in sizes_of(records)]
        lines[arm] = [
            (float(one.containers), max(one.prometheus_cpu_s, CPU_STEP_SECONDS))
            for one in found
            if one is not None and one.prometheus_cpu_s is not None and not one.trouble
        ]
    return Panel(title, "containers", "Prometheus CPU, s", lines)


def machine() -> dict[str, str]:
    """What was measured, where and when."""
    kubernetes = required_version(module_file("kubernetes").read_text(), "k8s.io/kubernetes").removeprefix("v")
    return made_page.machine(f"Prometheus {prometheus_version()}, Kubernetes {kubernetes}")


def section(records: Sequence[Record], measured_on: Mapping[str, str]) -> str:
    """What stands between the marks."""
    days = max(record.days for record in records)
    peak_gb = max(record.prometheus_peak_mb or 0.0 for record in records) / 1_000
    return f"""## Measuring

Generated clusters, {days} days of history, a sample every 60 s, 20 % of the pods replaced a day; `containers` run at any time. Workloads
declare half as many, since several pods run of most; each is sized, and asked for, once. A real
Prometheus with its default limits and a real API server run on the same machine. `per-container` asks as tools do that ask for each
declared container: owners, pods, phase, CPU quantile and memory peak as subqueries at 75 s, two counts, ten at a time. So it does for a
sample of them, and the figures are scaled up to all: wall time and CPU too are not those of a whole scan. `cluster-wide` asks one
subquery per resource for everything. These two keep nothing from one time to the next: they are measured once, and the same figures
stand in both phases. `MB read` are the bytes of Prometheus' answers.
`backfill`: from nothing until the whole window is read and every recommendation is written. A new one takes two writes, of the object
and of its status; where the reading takes longer than one cycle may, a status is written again when more was read.
`cycle`: of twelve, five minutes apart, the middle of times and API requests, the mean of the server's work, the highest peak; the
server was started anew before. In each of these a slot of usage is new, in every second one the last five are asked for again, and a few
recommendations move with it and are written; the goal for writes is about one more cycle, in which nothing is new, as in four of five.
MB are 10^6 bytes, a peak counts mapped files too.

Repeat it with `make bench-measure`: on two cores five minutes, and three more the first time, when the histories are made (3 GB in
`~/.cache/rightsizer/bench`). Prometheus takes up to {peak_gb:.1f} GB of memory in it, most of all for `cluster-wide`. A smaller run
prints its table and leaves this page alone: `SIZES="200 1000"` (containers), `DAYS=7`, `SAMPLE=20` (declared containers that
`per-container` asks for), `ARMS="rightsizer per-container"` (which takes a third of the memory), in any combination.

{machine_line(measured_on)}

{table(records)}

![Prometheus CPU over the number of containers]({PLOT_NAME})

### Goals

{goals_table(judged(records))}

### Where the time goes

{bounds(records)}

`samples read` are those that PromQL went through. The raw chunks in which the backfill reads the past are none of them: their size is in
`MB read` above. `waiting for the API` is summed over the writes that are under way at a time, beside the other work.
"""


def write_docs(records: Sequence[Record], measured_on: Mapping[str, str], *, file: Path = PAGE) -> None:
    MARKS.write(file, section(records, measured_on), new_page=NEW_PAGE)
    file.with_name(PLOT_NAME).write_text(plot(records))


def main() -> None:
    if not RECORDS_FILE.is_file():
        sys.exit("nothing was measured yet: run `make bench-measure` first")
    write_docs(read_records(RECORDS_FILE), json.loads(MACHINE_FILE.read_text()))


if __name__ == "__main__":
    main()
