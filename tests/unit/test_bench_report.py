"""How the benchmark is told: the table, the plot, and the page that keeps what people wrote."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.plot import Axis, Panel, axis, svg
from tests.bench.record import Record, for_each_phase
from tests.bench.report import PLOT_NAME, machine, number, plot, section, table, write_docs

OURS = Record(
    arm="rightsizer",
    phase="backfill",
    containers=1_000,
    wall_s=12.345,
    prometheus_cpu_s=7.5,
    prometheus_peak_mb=212.4,
    requests=121,
    bytes=174_000_000,
    operator_cpu_s=8.0,
    operator_rss_mb=101.0,
    api_requests=40,
    api_writes=0,
)
THEIRS = Record(
    arm="per-container",
    phase="backfill",
    containers=1_000,
    wall_s=600,
    prometheus_cpu_s=1_000,
    prometheus_peak_mb=300,
    requests=3_500,
    bytes=5e8,
    sized_containers=500,
    asked_containers=50,
)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0, "0"),
        (0.25, "0.25"),
        (0.3, "0.3"),
        (0.004, "0"),
        (3.0, "3"),
        (12.34, "12.3"),
        (10.0, "10"),
        (123.4, "123"),
        (3_500, "3,500"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


def test_table_with_its_notes() -> None:
    lines = table([OURS, replace(THEIRS, trouble="HTTP 503")]).splitlines()
    titles, rule, ours, theirs = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[:4])
    assert titles[:4] == ["containers", "arm", "phase", "wall s"]
    assert {len(line) for line in lines[:4]} == {len(lines[0])}
    assert set("".join(rule)) == {"-"}
    assert ours == ["1,000", "rightsizer", "backfill", "12.3", "7.5", "212", "121", "174", "8", "101", "40", "0"]
    assert theirs == ["1,000", "per-container*†", "backfill", "600", "1,000", "300", "3,500", "500", "", "", "", ""]
    assert lines[4:] == [
        "",
        "\\* 1,000: asked for 50 of 500 declared containers and scaled up, but for the peak.",
        "† per-container, backfill, 1,000: HTTP 503",
    ]


def test_section_holds_the_table_the_goals_and_where_it_was_measured() -> None:
    records = [OURS, *for_each_phase(THEIRS)]
    text = section(records, {"date": "2026-01-31", "processor": "2 cores, X"})
    assert "14 days of history" in text
    assert f"Prometheus takes up to {max(one.prometheus_peak_mb or 0 for one in records) / 1_000:.1f} GB of memory" in text
    assert all(f"`{name}=" in text for name in ("SIZES", "DAYS", "SAMPLE", "ARMS"))
    assert "date: 2026-01-31; processor: 2 cores, X." in text
    assert table(records) in text
    assert (
        "| one query per container: requests against our backfill | at least 50 times | 28.9 times, 1,000 containers | not judged |" in text
    )
    assert "| 1,000 | backfill | 12.3 | 7.5 | 8 |" in text
    assert f"]({PLOT_NAME})" in text


def test_docs_are_written_anew_with_the_plot_beside(tmp_path: Path) -> None:
    file = tmp_path / "docs" / "benchmarks.md"
    write_docs([OURS], {}, file=file)
    first = file.read_text()
    write_docs([OURS], {}, file=file)
    assert file.read_text() == first
    assert first.startswith("# Benchmarks\n")
    ET.fromstring((tmp_path / "docs" / PLOT_NAME).read_text())


def test_machine_is_described() -> None:
    found = machine()
    assert " cores, " in found["processor"]
    assert found["memory"].endswith(" GiB")
    assert "Prometheus 3." in found["versions"]
    assert "Kubernetes 1." in found["versions"]


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [([1_000, 10_000], 3, 4), ([0.02, 7], -2, 1), ([5], 0, 1), ([100], 2, 3), ([], 0, 1), ([0, -1, 50], 1, 2)],
)
def test_axis_spans_whole_decades(values: list[float], low: int, high: int) -> None:
    found = axis(values, start=0, end=1)
    assert (found.low, found.high) == (low, high)


def test_axis_is_logarithmic() -> None:
    found = Axis(0, 2, start=100, end=300)
    assert [found.at(value) for value in (1, 10, 100)] == pytest.approx([100, 200, 300])
    assert found.ticks() == pytest.approx([1, 10, 100])


def test_svg_draws_each_line_and_escapes_its_name() -> None:
    drawn = svg([Panel("a & b", "x", "y", {"<ours>": [(10, 1.0), (1, 0.1)], "none": [], "zero": [(1, 0.0)]})])
    root = ET.fromstring(drawn)
    (line,) = root.iter(f"{SVG}polyline")
    places = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert places == [(70.0, 270.0), (400.0, 40.0)]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"a & b", "<ours>", "x", "y"} <= set(texts)
    assert "none" not in texts


def test_plot_has_both_phases_and_leaves_out_what_failed() -> None:
    cycle = replace(OURS, phase="cycle", prometheus_cpu_s=0.0)
    records = [OURS, cycle, *for_each_phase(THEIRS), *for_each_phase(replace(THEIRS, arm="cluster-wide", trouble="HTTP 503"))]
    root = ET.fromstring(plot(records))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts.count("rightsizer") == texts.count("per-container") == 2
    assert "cluster-wide" not in texts
