from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from rightsizer.cli import main, series_files
from rightsizer.cli.series_files import read_series
from rightsizer.errors import InvalidInput
from tests.unit import cli_files

HEADER = "series,unix_ts,cpu_cores,memory_bytes"
MI = 2**20
START = 1_650_000_000 // 300 * 300
DAY = 86_400


def rows(name: str, *, days: float, cores: float = 0.1, memory: float = 100 * MI, step: int = 300, begin: int = START) -> list[str]:
    return [f"{name},{begin + step * (number + 1)},{cores},{memory:.0f}" for number in range(round(days * DAY / step))]


def written(path: Path, *lines: str) -> Path:
    text = "\n".join([HEADER, *lines, ""])
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["backtest", *(str(argument) for argument in arguments)])


def fine(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    return result.stderr


def trajectory(path: Path, *arguments: object) -> list[dict[str, str]]:
    fine("--trajectory", path, *arguments)
    with path.open() as stream:
        return list(csv.DictReader(stream))


def profile(path: Path, spec: str) -> Path:
    path.write_text(f"apiVersion: rightsizer.dev/v1alpha1\nkind: ResourceProfile\nmetadata: {{name: web}}\nspec: {spec}\n")
    return path


def test_oom_events_are_the_mean_of_the_series_that_were_judged(tmp_path: Path) -> None:
    killed = rows("a", days=3)
    killed[600] = killed[600].rsplit(",", 1)[0] + f",{900 * MI}"
    without_memory = [line.rsplit(",", 1)[0] + "," for line in rows("b", days=3)]
    history = written(tmp_path / "usage.csv", *killed, *without_memory, *rows("c", days=0.5))
    (found,) = json.loads(fine("--history", history, "-o", "json"))
    assert found["memory"]["oom_events"] == {"mean": 1.0, "median": 1.0, "worst": 1.0}
    assert [one["memory"]["oom_events"] for one in found["series"]] == [1.0, None, None]
    lines = fine("--history", history, "-o", "csv").splitlines()
    assert [line.split(",")[10] for line in lines if ",memory," in line] == ["1", "", ""]
    assert "1.00 / 1.00 / 1.00" in fine("--history", history).split("memory, ")[1]


@pytest.mark.parametrize("end", ["\n", "\n\n", "\r\n \r\n", ",,,\n\n"])
@pytest.mark.parametrize("rows_at_once", [1, 2, 500_000])
def test_empty_lines_at_the_end_are_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, rows_at_once: int) -> None:
    monkeypatch.setattr(series_files, "ROWS_AT_ONCE", rows_at_once)
    path = written(tmp_path / "usage.csv", *rows("web", days=3 / 288))
    path.write_text(path.read_text() + end)
    (found,) = read_series([path], lambda *told: None)
    assert found.slots == 3
    path.write_text(path.read_text() + rows("web", days=5 / 288)[4])
    with pytest.raises(InvalidInput, match=":5: series: a name is needed"):
        read_series([path], lambda *told: None)


def test_the_times_of_a_series_are_compared_over_all_files(tmp_path: Path) -> None:
    late = written(tmp_path / "late.csv", "a,1650000000,0.1,5")
    early = written(tmp_path / "early.csv", "b,3,0.1,5", "a,3,0.1,5")
    assert f"{early}:3: unix_ts: more than 5 years from another sample of the series" in refused("--history", late, "--history", early)


@pytest.fixture
def usage(tmp_path: Path) -> Path:
    return written(tmp_path / "usage.csv", *rows("web", days=3), *rows("db", days=3, cores=0.5, memory=400 * MI))


def test_the_worked_example_without_rounding(tmp_path: Path) -> None:
    history = written(tmp_path / "usage.csv", *rows("web", days=2, cores=0.18, memory=320 * MI))
    found = trajectory(tmp_path / "out.csv", "--history", history)
    assert found == [
        {
            "series": "web",
            "unix_ts": str(START + DAY + 1),
            "cpu_request_cores": "0.216",
            "cpu_limit_cores": "0.432",
            "memory_request_bytes": "402653184",
            "memory_limit_bytes": "603979776",
            "reason": "cpu:First memory:First",
        }
    ]


def test_a_trajectory_is_sorted_by_series_and_time(tmp_path: Path) -> None:
    lines = [*rows("b", days=1.5), *rows("a", days=3), *rows("b", days=1.5, cores=0.9, begin=START + DAY * 3 // 2)]
    found = trajectory(tmp_path / "out.csv", "--history", written(tmp_path / "usage.csv", *lines), "--strategy", "InPlace")
    assert [(row["series"], int(row["unix_ts"])) for row in found] == sorted((row["series"], int(row["unix_ts"])) for row in found)
    assert [row["reason"] for row in found if row["series"] == "b"][1] == "cpu:AboveRequest"


def test_the_table_has_every_rule_asked_for(usage: Path) -> None:
    text = fine("--history", usage, "--rule", "p95+20", "--rule", "max/0.65", "--rule", "p95+20")
    cpu, memory = text.strip().split("\n\n")
    assert [line.split()[0] for line in cpu.splitlines()[2:]] == ["Measured", "p95+20", "max/0.65"]
    assert cpu.splitlines()[0] == "CPU, 2 series: mean / median / worst"
    assert memory.splitlines()[1].split("   ")[0] == "RULE"
    assert "35.00 / 35.00 / 35.00" in cpu.splitlines()[-1]


def test_json_tells_sets_and_series(usage: Path) -> None:
    found = json.loads(fine("--history", usage, "-o", "json"))
    assert [one["rule"] for one in found] == ["Measured"]
    assert found[0]["cpu"]["slack"]["mean"] == pytest.approx(1 - 1 / 1.2, rel=1e-5)
    assert [series["name"] for series in found[0]["series"]] == ["db", "web"]
    assert found[0]["series"][0]["memory"]["oom_free"] == 1
    assert (found[0]["series"][0]["cpu"]["oom_free"], found[0]["memory"]["queued"]["mean"]) == (None, None)
    assert found[0]["series"][0]["cpu"]["reaction"] is None


def test_csv_has_one_line_for_each_rule_series_and_resource(usage: Path) -> None:
    found = list(csv.DictReader(fine("--history", usage, "-o", "csv", "--rule", "mean+20").splitlines()))
    assert [(row["rule"], row["series"], row["resource"]) for row in found] == [
        (rule, series, resource) for rule in ("Measured", "mean+20") for series in ("db", "web") for resource in ("cpu", "memory")
    ]
    assert (float(found[0]["above"]), found[0]["reaction"]) == (0, "")


@pytest.mark.parametrize("form", ["plain", "gzip", "marked"])
def test_forms_of_the_same_file(tmp_path: Path, form: str) -> None:
    path = written(tmp_path / ("usage.csv.gz" if form == "gzip" else "usage.csv"), *rows("web", days=2))
    if form == "marked":
        path.write_text(path.read_text(), encoding="utf-8-sig")
    assert json.loads(fine("--history", path, "-o", "json"))[0]["series"][0]["name"] == "web"


def test_several_files_follow_one_option_and_one_series_may_be_in_both(tmp_path: Path) -> None:
    first = written(tmp_path / "first.csv", *rows("web", days=1))
    second = written(tmp_path / "second.csv", *rows("web", days=1, begin=START + DAY), *rows("db", days=2))
    both = fine("--history", first, second, "-o", "csv")
    assert both == fine("--history", first, "--history", second, "-o", "csv")
    assert both.count("web") == 2


def test_samples_are_brought_to_slots(tmp_path: Path) -> None:
    lines = ["a,1650000001,0.1,5", "a,1650000300,0.3,9", "a,1650000301,0.5,", "a,1650000901,,7", "a,1650001000,,"]
    (series,) = read_series([written(tmp_path / "usage.csv", *lines)], lambda *told: None)
    assert series.first_slot == 1650000300 // 300
    assert series.cpu.tolist() == pytest.approx([200, 500, float("nan"), float("nan")], nan_ok=True)
    assert series.memory.tolist() == pytest.approx([9, float("nan"), float("nan"), 7], nan_ok=True)


def test_long_files_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "usage.csv", *rows("a", days=0.1, step=60), *rows("b", days=0.1, step=60))
    whole = read_series([path], lambda *told: None)
    monkeypatch.setattr("rightsizer.cli.series_files.ROWS_AT_ONCE", 7)
    parts = read_series([path], lambda *told: None)
    for one, other in zip(whole, parts, strict=True):
        assert (one.name, one.first_slot) == (other.name, other.first_slot)
        assert np.array_equal(one.cpu, other.cpu)
        assert np.array_equal(one.memory, other.memory)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["a,1,0.1,5", "a,x,0.1,5"], ":3: unix_ts: 'x' is not a number"),
        (["a,,0.1,5"], ":2: unix_ts: a time in unix seconds is needed"),
        (["a,-5,0.1,5"], ":2: unix_ts: a time in unix seconds is needed"),
        (["a,1650000000000,0.1,5"], ":2: unix_ts: too late: write unix seconds, not milliseconds"),
        (["a,1,0.1,5", "a,2,-0.1,5"], ":3: cpu_cores: no usage: a number of 0 or more, or nothing for a gap"),
        (["a,1,0.1,5", "a,2,inf,5"], ":3: cpu_cores: no usage"),
        (["a,1,0.1,5", "a,2,0.1,many"], ":3: memory_bytes: 'many' is not a number"),
        (["a,1,0.1,5", "a,2,0.1,-1"], ":3: memory_bytes: no usage"),
        ([",1,0.1,5"], ":2: series: a name is needed"),
        (["a,1,0.1,5", "", "a,2,0.1,5"], ":3: series: a name is needed"),
        (["a,1,0.1,5", "a,2,1e36,5"], ":3: cpu_cores: no usage: above 1e+09"),
        (["a,1,0.1,1e39"], ":2: memory_bytes: no usage: above 1e+15"),
        (["a,1650000000,0.1,5", "b,1,0.1,5", "a,1807900000,0.1,5"], ":4: unix_ts: more than 5 years from another sample of the series"),
        (["a,1,0.1,5", "a,1650000000,0.1,5"], ":3: unix_ts: more than 5 years from another sample of the series"),
        (["a,2,0.1,5", "b,1,1,1", "a,2,0.1,5"], ":4: unix_ts: the series has a sample of this time already"),
        (["a,2,0.1,5", "b,9,1,1", "a,1,0.1,5"], ":4: unix_ts: earlier than the sample before it: sort the rows of a series by time"),
        (["a,1,0.1,5", "a,2,0.1,5,6"], ":3: 5 fields, but the first line has 4"),
        (["a,1,0.1,5,6"], ":2: 5 fields, but the first line has 4"),
        (["a,1,0.1,5,6,7", "a,2,0.1,5"], ":2: 6 fields, but the first line has 4"),
        (["a,1,0.1,5", "a,2,0.1,5,"], ":3: 5 fields, but the first line has 4"),
        (["a,1,0.1,5", "a,2"], ":3: 2 fields, but the first line has 4"),
        (["a"], ":2: 1 fields, but the first line has 4"),
        (["a,1,0.1,5", '"a,2,0.1,5', "a,3,0.1,5"], ":3: is no CSV: unexpected end of data"),
        (["a,1,0.1,5", "a\0,2,0.1,5"], ":3: a NUL byte is in it"),
        ([], "no sample in it"),
    ],
)
def test_a_broken_file_is_told_with_its_line(tmp_path: Path, lines: Sequence[str], told: str) -> None:
    path = written(tmp_path / "usage.csv", *lines)
    message = refused("--history", path)
    assert message.startswith(f"error: {path}")
    assert told in message


@pytest.mark.parametrize("at_once", [1, 2])
def test_lines_are_counted_over_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr("rightsizer.cli.series_files.ROWS_AT_ONCE", at_once)
    path = written(tmp_path / "usage.csv", "a,3,0.1,5", "a,4,0.1,5", "b,1,0.1,5", "a,2,0.1,5")
    assert f"{path}:5: unix_ts: earlier" in refused("--history", path)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("usage.csv", b"", "is empty: the first line must name the columns"),
        (
            "usage.csv",
            b"series,time,cpu_cores,memory_bytes\na,1,2,3\n",
            ":1: no column unix_ts; needed are series,unix_ts,cpu_cores,memory_bytes",
        ),
        (
            "usage.csv",
            b"series,unix_ts,cpu_cores,memory_bytes,cpu_cores\na,1,2,3,4\n",
            ":1: column cpu_cores is there more than once",
        ),
        ("usage.csv", b"series,unix_ts,cpu_cores,memory_bytes\n\xff\xfe,1,2,3\n", "is not UTF-8 text"),
        ("usage.csv.gz", b"series,unix_ts", "is broken gzip"),
        ("usage.csv.gz", gzip.compress(b"series,unix_ts,cpu_cores,memory_bytes\na,1,2,3\n")[:30], "is broken gzip"),
    ],
)
def test_what_is_no_history_at_all(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert f"{path}" in (message := refused("--history", path))
    assert told in message


def test_parquet_is_read_where_its_reader_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usage: Path) -> None:
    path = tmp_path / "usage.parquet"
    path.write_bytes(b"")
    frame = pd.read_csv(usage)
    monkeypatch.setattr(pd, "read_parquet", lambda path: frame)
    assert fine("--history", path, "-o", "csv") == fine("--history", usage, "-o", "csv")
    monkeypatch.setattr(pd, "read_parquet", lambda path: frame.iloc[:0].astype(object))
    assert refused("--history", path) == f"error: {path}: no sample in it\n"
    monkeypatch.setattr(pd, "read_parquet", lambda path: frame)
    frame["cpu_cores"] = "much"
    assert "column cpu_cores does not hold numbers" in refused("--history", path)


@pytest.mark.parametrize(
    ("error", "told"),
    [(ImportError("no pyarrow"), "pip install 'rightsizer[parquet]'"), (ValueError("bad magic"), "is no Parquet file: bad magic")],
)
def test_why_parquet_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str) -> None:
    def fail(path: Path) -> Any:
        raise error

    path = tmp_path / "usage.parquet"
    path.write_bytes(b"")
    monkeypatch.setattr(pd, "read_parquet", fail)
    assert told in refused("--history", path)


@pytest.mark.parametrize(("spec", "request_cores"), [("{}", "0.0012"), ("{cpu: {min: 50m}}", "0.05"), ("{cpu: {buffer: 50%}}", "0.0015")])
def test_bounds_count_only_where_the_profile_writes_them(tmp_path: Path, spec: str, request_cores: str) -> None:
    history = written(tmp_path / "usage.csv", *rows("web", days=2, cores=0.001))
    found = trajectory(tmp_path / "out.csv", "--history", history, "--profile", profile(tmp_path / "profile.yaml", spec))
    assert [row["cpu_request_cores"] for row in found] == [request_cores]


def test_the_profile_says_how_much_must_have_been_seen(tmp_path: Path, usage: Path) -> None:
    spec = profile(tmp_path / "profile.yaml", "{minimumHistory: {raise: 36h}}")
    assert {int(row["unix_ts"]) for row in trajectory(tmp_path / "out.csv", "--history", usage, "--profile", spec)} == {
        START + DAY * 3 // 2 + 1
    }


def test_the_strategy_decides_about_haste(tmp_path: Path) -> None:
    history = written(tmp_path / "usage.csv", *rows("web", days=2), *rows("web", days=0.01, cores=0.9, begin=START + 2 * DAY))
    found = {name: trajectory(tmp_path / "out.csv", "--history", history, "--strategy", name) for name in ("InPlace", "Rollout")}
    assert [len(rows) for rows in found.values()] == [2, 1]
    assert trajectory(tmp_path / "out.csv", "--history", history) == found["Rollout"]


def test_the_method_that_learns_tells_its_choice(tmp_path: Path, usage: Path) -> None:
    found = json.loads(fine("--history", usage, "--method", "Learned", "-o", "json"))
    assert [one["rule"] for one in found] == ["Learned"]
    assert found[0]["series"][0]["choice"]["cpu"].startswith("steady: ")
    assert found[0]["series"][0]["choice"]["memory"] == "steady: the only form of this resource under this strategy"
    assert "choice" not in json.loads(fine("--history", usage, "-o", "json"))[0]["series"][0]


@pytest.mark.parametrize(("budget", "request_cores"), [("0.3%", 0.104), ("3%", 0.104 * 10**-0.045)])
def test_the_profile_says_how_much_may_be_risked(tmp_path: Path, budget: str, request_cores: float) -> None:
    history = written(tmp_path / "usage.csv", *rows("web", days=1))
    spec = profile(tmp_path / "profile.yaml", f"{{method: Learned, risk: {{timeAboveRequest: {budget}}}, apply: {{strategy: Rollout}}}}")
    found = trajectory(tmp_path / "out.csv", "--history", history, "--profile", spec, "--strategy", "InPlace")
    assert float(found[0]["cpu_request_cores"]) == pytest.approx(request_cores, rel=0.005)


def test_judging_later(usage: Path) -> None:
    found = {
        after: json.loads(fine("--history", usage, "-o", "json", *after))[0]["cpu"]["days"]["mean"]
        for after in ((), ("--score-after", "60h"))
    }
    assert list(found.values()) == pytest.approx([2, 0.5])


def test_a_trajectory_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    broken = written(tmp_path / "usage.csv", "a,x,1,1")
    assert "nowhere/out.csv: cannot be written" in refused("--history", broken, "--trajectory", "nowhere/out.csv")
    there = tmp_path / "there.csv"
    there.write_text("old")
    for out in (there, tmp_path / "new.csv"):
        assert "'x' is not a number" in refused("--history", broken, "--trajectory", out)
    assert (there.read_text(), (tmp_path / "new.csv").exists()) == ("old", False)


@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_trajectory_never_overwrites_the_usage(tmp_path: Path, usage: Path, through_a_link: bool) -> None:
    before, out = usage.read_bytes(), usage
    if through_a_link:
        out = tmp_path / "link.csv"
        out.symlink_to(usage)
    other = written(tmp_path / "other.csv", *rows("cache", days=3))
    message = refused("--history", other, usage, "--trajectory", out)
    assert message == f"error: --trajectory {out} would overwrite --history {usage}: name another file\n"
    assert usage.read_bytes() == before


def test_a_trajectory_never_overwrites_a_profile_or_a_manifest(tmp_path: Path, usage: Path) -> None:
    spec = profile(tmp_path / "profile.yaml", "{}")
    assert f"would overwrite --profile {spec}" in refused("--history", usage, "--profile", spec, "--trajectory", spec)
    manifests = cli_files.write_manifests(tmp_path / "deploy", cli_files.deployment())
    result = of_manifests(tmp_path, "--trajectory", manifests / "all.yaml")
    assert (result.exit_code, f"would overwrite --manifests {manifests}" in result.stderr) == (2, True)
    other = manifests / "out.csv"
    other.write_text("old")
    assert of_manifests(tmp_path, "--trajectory", other).exit_code == 0
    assert other.read_text().startswith("series,")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--method", "Guess"), "--method Guess: no such method is installed; known are Learned, Measured"),
        (("--rule", "best"), "'best' is not one of"),
        (("--score-after", "soon"), "must be a whole number of minutes, hours or days"),
        (("--trajectory", "nowhere/out.csv"), "nowhere/out.csv: cannot be written"),
        (("--strategy", "OnCreate"), "'OnCreate' is not one of"),
    ],
)
def test_options_that_cannot_be_followed(usage: Path, arguments: Sequence[str], told: str) -> None:
    result = run("--history", usage, *arguments)
    assert result.exit_code == 2
    assert told in result.stderr


def test_a_cluster_or_a_history_is_needed() -> None:
    told = cli_files.run("backtest")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "--manifests DIR with --history FILE" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-n", "shop"), "--namespace goes with a cluster or with --manifests"),
        (("-A",), "--all-namespaces goes with"),
        (("--workload", "deploy/web"), "--workload goes with"),
        (("--context", "east"), "--context goes with"),
        (("--prometheus-insecure",), "--prometheus-insecure goes with"),
        (("--prometheus-header", "a=b"), "--prometheus-header goes with"),
        (("--now", "1769860800"), "--now goes with"),
        (("--rule", "current"), "--rule current: a file of series does not tell the sizes in force; a cluster does, or --manifests DIR"),
    ],
)
def test_what_a_file_of_series_knows_nothing_of(usage: Path, arguments: Sequence[str], told: str) -> None:
    assert told in refused("--history", usage, *arguments)


def of_manifests(tmp_path: Path, *arguments: object, rows: Sequence[str] = ()) -> Result:
    history = cli_files.write_history(tmp_path / "pods.csv", rows or cli_files.steady_rows(hours=72))
    manifests = cli_files.write_manifests(tmp_path / "deploy", cli_files.deployment(), cli_files.deployment("idle"))
    return cli_files.run("backtest", "--manifests", manifests, "--history", history, *arguments)


def test_workloads_from_manifests_beside_the_sizes_in_them(tmp_path: Path) -> None:
    result = of_manifests(tmp_path, "-o", "json", "--rule", "current", "--trajectory", tmp_path / "out.csv")
    own, current = json.loads(result.stdout)
    assert (own["rule"], current["rule"]) == ("Measured", "current")
    assert [one["name"] for one in own["series"]] == ["shop/Deployment/web/app"]
    assert own["cpu"]["slack"]["mean"] == pytest.approx(1 - 180 / 216, rel=1e-3)
    assert (current["cpu"]["slack"]["mean"], current["memory"]["slack"]["mean"]) == pytest.approx((1 - 180 / 500, 1 - 320 / 1024), rel=1e-3)
    (decided,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert decided["series"] == "shop/Deployment/web/app"
    assert float(decided["cpu_request_cores"]) == pytest.approx(0.216)
    assert result.stderr.splitlines() == [
        "note: left out, because nothing was measured of them: shop/Deployment/idle/app",
        "note: no profile fits any workload: the default profile is used",
    ]


def test_one_file_of_pods_goes_with_manifests(tmp_path: Path, usage: Path) -> None:
    result = of_manifests(tmp_path, "--history", usage)
    assert (result.exit_code, result.stderr) == (2, "error: --history: with --manifests it is one file\n")


def test_nothing_measured_is_exit_code_5(tmp_path: Path) -> None:
    result = of_manifests(tmp_path, "--workload", "deploy/idle")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.splitlines()[-1] == "error: nothing was measured of any of these containers"


def test_the_help_tells_the_figures_and_what_is_left_out() -> None:
    text = " ".join(fine("--help").split())
    for words in ("SLACK", "not rounded", "bounds min and max count only", "several may follow"):
        assert words in text


def test_html_is_one_page_and_the_trajectory_goes_beside_it(usage: Path, tmp_path: Path) -> None:
    page = fine("--history", usage, "-o", "html", "--rule", "vpa", "--trajectory", tmp_path / "out.csv")
    assert page.startswith("<!DOCTYPE html>")
    assert page.rstrip().endswith("</html>")
    assert "<h3>web</h3>" in page
    assert "load-p94 (half-life 15h) + 20%" in page
    assert "at the speeds of Rollout" in page
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("lines", "arguments", "told"),
    [
        (
            rows("web", days=0.9),
            (),
            "nothing was judged, because the usage reaches over no more than the 24h after which judging begins: web",
        ),
        (
            rows("web", days=3),
            ("--score-after", "3d"),
            "nothing was judged, because the usage reaches over no more than the 3d after which judging begins: web",
        ),
        ([f"web,{START},,", f"web,{START + 3 * DAY},,"], (), "nothing was judged, because there is no value: web"),
        (
            [*rows("web", days=0.5), f"web,{START + 3 * DAY},,"],
            (),
            "nothing was judged, because there is no value after the first 24h, and judging begins there: web",
        ),
        (
            rows("web", days=2),
            ("--score-after", "1h", "--profile", "{minimumHistory: {raise: 3d}}"),
            "nothing was judged, because nothing was decided before the last value (see minimumHistory.raise): web",
        ),
        ([",".join([*row.split(",")[:3], ""]) for row in rows("web", days=3)], (), "no memory was judged, because there is no value: web"),
        (rows("web", days=3), (), None),
    ],
)
def test_why_nothing_was_judged(tmp_path: Path, lines: Sequence[str], arguments: Sequence[str], told: str | None) -> None:
    given = [profile(tmp_path / "profile.yaml", each) if each.startswith("{") else each for each in arguments]
    result = run("--history", written(tmp_path / "usage.csv", *lines), *given)
    assert (result.exit_code, result.stderr) == (0, f"note: {told}\n" if told else "")


def test_series_that_were_not_judged_beside_others_are_named(tmp_path: Path) -> None:
    result = run("--history", written(tmp_path / "usage.csv", *rows("db", days=3), *rows("web", days=0.5), *rows("app", days=0.5)))
    assert "CPU, 1 series" in result.stdout
    assert result.stderr.endswith("after which judging begins: app, web\n")


def test_a_resource_that_nobody_recorded_has_no_table(tmp_path: Path) -> None:
    lines = [",".join([*row.split(",")[:3], ""]) for row in rows("web", days=3)]
    text = fine("--history", written(tmp_path / "usage.csv", *lines))
    assert text.startswith("CPU, 1 series")
    assert text.endswith("\n\nmemory: nothing was judged\n")
