"""The result for people: the table, what became of the goals, the plot, and the machine it was measured on.

`python -m tests.bench.report` renders `docs/benchmarks.md` again from what the last run left in `build/bench`. Text outside the two
marks of that page is kept.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rightsizer import __version__
from tests.bench.goals import CPU_STEP_SECONDS, Goal, judged
from tests.bench.plot import Panel, svg
from tests.bench.record import ARMS, Phase, Record, find, read_records, sizes_of
from tests.testbed.pins import module_file, prometheus_release, required_version

ROOT = Path(__file__).parents[2]
RESULT_FOLDER = ROOT / "build" / "bench"
RECORDS_FILE = RESULT_FOLDER / "measure.json"
MACHINE_FILE = RESULT_FOLDER / "measure-machine.json"
PAGE = ROOT / "docs" / "benchmarks.md"
PLOT_NAME = "benchmarks-measure.svg"
BEGIN, END = "<!-- bench-measure begins: made by `make bench-measure` -->", "<!-- bench-measure ends -->"

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
NEW_PAGE = f"# Benchmarks\n\n{BEGIN}\n{END}\n"


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
    prometheus = required_version(module_file("prometheus").read_text(), "github.com/prometheus/prometheus")
    return {
        "date": datetime.now(tz=UTC).strftime("%Y-%m-%d"),
        "processor": f"{_cores()} cores, {_first(Path('/proc/cpuinfo'), 'model name')}",
        "memory": f"{int(_first(Path('/proc/meminfo'), 'MemTotal').split()[0]) / 1_048_576:.0f} GiB",
        "system": f"Linux {platform.release()}, Python {platform.python_version()}",
        "versions": f"Rightsizer {__version__}, Prometheus {prometheus_release(prometheus)}, Kubernetes {_kubernetes()}",
    }


def _cores() -> int:
    return _first_count(Path("/proc/cpuinfo"), "processor")


def _kubernetes() -> str:
    return required_version(module_file("kubernetes").read_text(), "k8s.io/kubernetes").removeprefix("v")


def _first(file: Path, name: str) -> str:
    values = [line.partition(":")[2].strip() for line in file.read_text().splitlines() if line.startswith(name)]
    return values[0] if values else "unknown"


def _first_count(file: Path, name: str) -> int:
    return sum(line.startswith(name) for line in file.read_text().splitlines())


def section(records: Sequence[Record], measured_on: Mapping[str, str]) -> str:
    """What stands between the marks."""
    days = max(record.days for record in records)
    return f"""## Measuring

Generated clusters, {days} days of history, a sample every 60 s, 20 % of the pods replaced a day; `containers` run at any time. A real
Prometheus with its default limits and a real API server run on the same machine. `per-container` asks as tools do that ask for each
container: owners, pods, phase, CPU quantile and memory peak as subqueries at 75 s, two counts, ten at a time. `cluster-wide` asks one
subquery per resource for everything. `backfill`: from nothing until the whole window is read and every recommendation is written.
`cycle`: of twelve, five minutes apart, the middle of times and API requests, the mean of the server's work, the highest peak; the
server was started anew before. In each of these a slot of usage is new, in every second one the last five are asked for again, and a few
recommendations move with it and are written; the goal for writes is about one more cycle, in which nothing is new, as in four of five.
MB are 10^6 bytes, a peak counts mapped files too. Repeat it with `make bench-measure`.

{_machine_line(measured_on)}

{table(records)}

![Prometheus CPU over the number of containers]({PLOT_NAME})

### Goals

{goals_table(judged(records))}

### Where the time goes

{bounds(records)}
"""


def _machine_line(measured_on: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in measured_on.items()) + "."


def page(former: str, made: str) -> str:
    """The page with the part between the marks replaced. Raises ValueError where it has lost its marks."""
    before, begin, rest = former.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has lost its marks: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{made.strip()}\n\n{END}{after}"


def write_docs(records: Sequence[Record], measured_on: Mapping[str, str], *, file: Path = PAGE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    former = file.read_text() if file.is_file() else NEW_PAGE
    file.write_text(page(former, section(records, measured_on)))
    file.with_name(PLOT_NAME).write_text(plot(records))


def main() -> None:
    if not RECORDS_FILE.is_file():
        sys.exit("nothing was measured yet: run `make bench-measure` first")
    write_docs(read_records(RECORDS_FILE), json.loads(MACHINE_FILE.read_text()))


if __name__ == "__main__":
    main()
