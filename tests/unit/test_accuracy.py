from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rightsizer.evidence.backtest import Decision, Series
from rightsizer.evidence.rules import Plan, rule_of
from rightsizer.methods.levels import DAY_SLOTS
from rightsizer.workload import RESOURCES
from tests.accuracy.page import MARKS, OURS, PLOTS, WIDER, write
from tests.accuracy.samples import Samples, above, compare, finer_sources
from tests.accuracy.sets import Set, study
from tests.accuracy.study import (
    FOLDER_VARIABLE,
    LEAST_DAYS,
    TRACES,
    divided,
    judged,
    pooled_oom_free,
    read_sources,
    share_within,
    summaries,
    with_our_limits,
    with_statistics,
)
from tests.bench.evidence import generated, measure, measure_update


def constant(name: str, level: float, *, memory: bool = True) -> Series:
    usage = np.full(4 * DAY_SLOTS, level, dtype=np.float32)
    return Series(name, 1, usage, usage * np.float32(2**20) if memory else np.full_like(usage, np.nan))


def test_the_traces_of_the_project_are_sources() -> None:
    sources, short = divided(read_sources(TRACES))
    assert set(sources) == {"azure-v1-vm", "google-2011-job", "operate-first-k8s"}  # the fourth has less than a day
    assert all(one.slots >= LEAST_DAYS * DAY_SLOTS for series in sources.values() for one in series)
    assert {source: len(series) for source, series in short.items()} == {"nezha-online-boutique": 20, "operate-first-k8s": 10}


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


def minutes(path: Path, *, burst: float) -> Path:
    """Four days with a sample each minute; every fifth minute of the last day is a burst."""
    lines = ["series,unix_ts,cpu_cores,memory_bytes"]
    for minute in range(1, 4 * 1440 + 1):
        cores = burst if minute > 3 * 1440 and minute % 5 == 0 else 0.1
        lines.append(f"a,{60 * minute},{cores},1000000")
    (path / "mine.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def test_bursts_between_the_means_are_seen_by_samples_only(tmp_path: Path) -> None:
    sources = read_sources(minutes(tmp_path, burst=0.175))
    (finer,) = finer_sources(tmp_path, sources)
    assert (finer.source, finer.seconds, list(finer.samples)) == ("mine", 60, ["a"])
    found = compare(finer, with_statistics("", ""), strategy="InPlace")
    assert found.by_means.tolist() == [0]  # 115m of 120m
    assert found.by_samples.tolist() == pytest.approx([1440 / 5 / (3 * 1440)], rel=0.2)


def test_sources_of_five_minutes_are_not_finer() -> None:
    sources, _ = divided(read_sources(TRACES))
    assert [(one.source, one.seconds, len(one.series)) for one in finer_sources(TRACES, sources)] == [("operate-first-k8s", 60, 40)]


def test_a_sample_is_judged_by_the_request_in_force() -> None:
    samples = Samples(np.array([300, 301, 599, 600, 601, 900]), np.array([90.0, 110, 90, 110, 110, 130]))
    decided = [Decision(time, request, 0, 0, 0, "") for time, request in ((301, 100.0), (601, 120.0))]
    assert above(samples, decided, begin=0) == 3 / 5  # nothing is in force at 300
    assert above(samples, decided, begin=600) == 1 / 2
    assert np.isnan(above(samples, [], begin=0))


def test_all_days_together_count_long_series_for_more() -> None:
    killed, quiet = constant("a", 100), constant("b", 100)
    killed.memory[3 * DAY_SLOTS + 7] *= 9
    long = Series("c", 1, np.tile(quiet.cpu, 8), np.tile(quiet.memory, 8))
    sources = {"one": [killed, quiet, constant("d", 1, memory=False)], "other": [long]}
    verdicts = judged(sources, with_statistics("", ""), strategy="InPlace")
    days = dict(summaries(verdicts, "memory", lambda scores: scores.oom_free))["all"]
    assert days.mean == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert pooled_oom_free(sources, verdicts) == pytest.approx(1 - 1 / (3 + 3 + 25))


def test_the_page_tells_what_is_left_out(tmp_path: Path) -> None:
    plan = with_statistics("", "")
    folder = minutes(tmp_path, burst=0.175)
    sources, short = {"mine": read_sources(folder)["mine"]}, {"mine": [Series("s", 1, *[np.full(500, 50, dtype=np.float32)] * 2)]}
    write([study("Ours", sources, [plan], short=short, finer=finer_sources(folder, sources))], ["Measured"], file=tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "Left out are 1 series that are shorter than 3 days (mine 1)" in text
    assert "OOM-free days, counted in two ways" in text
    assert "### CPU of mine, InPlace, judged by each sample" in text
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert ["Measured", *["100.00"] * 4] in cells
    assert any(row[:3] == ["Measured", "0.00", "100.0"] and float(row[3]) > 5 and row[4] == "0.0" for row in cells)


def test_a_rule_may_be_given_our_limits() -> None:
    plan = with_our_limits("autopilot")
    assert (plan.name, plan.memory.limit.ratio, plan.cpu.limit.ratio) == ("autopilot, limit 2 x", 2.0, 2.0)
    one = studied(plan, first=[constant("a", 100)])
    assert [[found.plan for found in one.of("InPlace", resource)] for resource in RESOURCES] == [[], [plan.name]]


def test_what_was_made_of_more_usage_is_kept_without_it(tmp_path: Path) -> None:
    plans = [with_statistics("", ""), rule_of("max/0.65", window_seconds=14 * 86_400)]
    ours, more = study(OURS, {"mine": [constant("a", 100)]}, plans), study(WIDER, {"theirs": [constant("b", 50)]}, plans)
    file, plots = tmp_path / "page.md", [tmp_path / name for name in PLOTS]
    (told,) = write([ours, more], ["Measured"], file=file)
    assert all(str(each) in told for each in (file, *plots))
    text = file.read_text().replace("mine ", "gone ").replace("| theirs", "| kept__")
    file.write_text(text)
    for plot in plots:
        plot.write_text("drawn of more")

    wrote, kept = write([ours], ["Measured"], file=file)
    assert (wrote, f"{FOLDER_VARIABLE}=DIR" in kept, all(name in kept for name in PLOTS)) == (f"wrote {file}", True, True)
    assert [plot.read_text() for plot in plots] == ["drawn of more"] * 3
    assert file.read_text() == text.replace("gone ", "mine ")  # with its date, its losses and the sentence about the plots
    assert text.count(f"### {WIDER}") == 1


def test_a_page_that_knows_no_more_usage_is_made_whole(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    for _ in range(2):
        assert len(write([study(OURS, {"mine": [constant("a", 100)]}, [with_statistics("", "")])], ["Measured"], file=file)) == 1
    assert f"{OURS}, at the speeds of" in file.read_text()
