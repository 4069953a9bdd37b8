from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rightsizer.evidence.backtest import Series
from rightsizer.evidence.rules import Plan, rule_of
from rightsizer.methods.levels import DAY_SLOTS
from tests.accuracy.page import MARKS, PLOTS, Set, study, write
from tests.accuracy.study import (
    FOLDER_VARIABLE,
    LEAST_DAYS,
    TRACES,
    judged,
    read_sources,
    share_within,
    summaries,
    with_statistics,
)
from tests.bench.evidence import generated, measure, measure_update


def constant(name: str, level: float, *, memory: bool = True) -> Series:
    usage = np.full(4 * DAY_SLOTS, level, dtype=np.float32)
    return Series(name, 1, usage, usage * np.float32(2**20) if memory else np.full_like(usage, np.nan))


def test_the_traces_of_the_project_are_sources() -> None:
    sources = read_sources(TRACES)
    assert set(sources) == {"azure-v1-vm", "google-2011-job", "operate-first-k8s"}  # the fourth has less than a day
    assert all(one.slots >= LEAST_DAYS * DAY_SLOTS for series in sources.values() for one in series)


def test_figures_by_source_and_of_all() -> None:
    sources = {"one": [constant("a", 100)], "other": [constant("b", 50), constant("c", 80, memory=False)]}
    verdicts = judged(sources, with_statistics("", ""), strategy="InPlace")
    found = dict(summaries(verdicts, "memory", lambda scores: scores.slack))
    assert list(found) == ["one", "other", "all"]
    assert found["all"].worst == pytest.approx(1 - 1 / 1.2)
    assert share_within(verdicts, "cpu", 0.01) == 1


@pytest.mark.parametrize(
    ("cpu", "memory", "name"),
    [
        ("", "", "Measured"),
        ("p90", "mean", "p90 | mean"),
        ("load-p95/24h", "p99", "load-p95 (half-life 24h) | p99"),
        ("load-p95", "load-p95", "load-p95 (half-life 15h) | load-p95 (half-life 3d)"),
    ],
)
def test_other_statistics_can_be_tried(cpu: str, memory: str, name: str) -> None:
    assert with_statistics(cpu, memory).name == name


def test_it_prints_every_source(tmp_path: Path) -> None:
    lines = ["series,unix_ts,cpu_cores,memory_bytes", *(f"a,{300 * slot},0.1,1000000" for slot in range(1, 4 * DAY_SLOTS))]
    (tmp_path / "mine.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    command = [sys.executable, "-m", "tests.accuracy", "--rule", "vpa", "--budget", "1"]
    done = subprocess.run(command, env={**os.environ, FOLDER_VARIABLE: str(tmp_path)}, capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line and not line.startswith(" ")] == ["Measured", "Learned", "Learned 1 %", "vpa"]
    assert "mine" in done.stdout


def test_the_benchmark_replays_what_it_generates() -> None:
    blocks = list(generated(5, slots=DAY_SLOTS))
    assert [len(block) for block in blocks] == [5]
    assert np.isnan(blocks[0][0].cpu).any()
    assert measure(3, days=2) > 0
    assert measure(3, days=2, method="Learned") > 0
    assert measure_update(3, days=2) > 0
    assert measure_update(3, days=2, method="Learned") > 0


def studied(*plans: Plan, **sources: list[Series]) -> Set:
    return study("Ours", sources, plans)


def test_the_page_tells_sources_figures_and_losses(tmp_path: Path) -> None:
    plans = [with_statistics("", ""), rule_of("max/0.65", window_seconds=14 * 86_400), rule_of("krr", window_seconds=14 * 86_400)]
    one = studied(*plans, first=[constant("a", 100)], second=[constant("b", 50), constant("c", 80, memory=False)])
    file = tmp_path / "docs" / "accuracy.md"
    write([one], ["Measured"], file=file)
    text = file.read_text()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert ["second", "2", "1", "4"] in cells
    assert ["Measured", *["16.67 / 16.67 / 16.67"], *["0.00 / 0.00 / 0.00"] * 3, "100.0"] in cells
    assert ["second", "max/0.65", "35.00 / 35.00 / 35.00", *["0.00 / 0.00 / 0.00"] * 3] in cells
    assert "- CPU, InPlace, all series: Measured slack 16.67, above % 0.00; `krr` 0.00 and 0.00" in text
    assert "`max/0.65` 35" not in text[text.index("What we lose at") :]
    assert all((file.with_name(plot)).read_text().startswith("<svg") for plot in PLOTS)


def test_what_stands_around_the_figures_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "accuracy.md"
    file.write_text(f"# Mine\n\n{MARKS.begin}\nold\n{MARKS.end}\n\nWhat was tried.\n")
    write([studied(with_statistics("", ""), first=[constant("a", 100)])], ["Measured"], file=file)
    text = file.read_text()
    assert text.startswith("# Mine\n")
    assert text.endswith("\n\nWhat was tried.\n")
    assert "No rule is better in slack and in a violation at once" in text
    assert "\nold\n" not in text


def test_a_further_folder_is_a_further_set(tmp_path: Path) -> None:
    lines = ["series,unix_ts,cpu_cores,memory_bytes", *(f"a,{300 * slot},0.1,1000000" for slot in range(1, 4 * DAY_SLOTS))]
    (tmp_path / "mine.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    command = [sys.executable, "-m", "tests.accuracy.page", "--page", str(tmp_path / "page.md"), "--traces", str(tmp_path)]
    subprocess.run(command, env={**os.environ, FOLDER_VARIABLE: str(tmp_path)}, capture_output=True, text=True, check=True)
    assert [line for line in (tmp_path / "page.md").read_text().splitlines() if line.startswith("## ")] == [
        "## Slack against violations",
        "## The traces of the project",
        "## All recorded usage at hand",
        "## What we lose at",
    ]


def test_a_folder_without_usage_is_an_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.accuracy.page", "--page", str(tmp_path / "page.md"), "--traces", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, (tmp_path / "page.md").exists()) == (1, False)
    assert "no recorded usage in it" in done.stderr
