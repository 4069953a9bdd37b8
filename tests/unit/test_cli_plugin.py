"""What the command line tells of a method that somebody installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result

from tests.unit.cli_files import deployment, profile, run, steady_rows, write_history, write_manifests
from tests.unit.test_methods_plugin import install

METHODS = """
import numpy as np

def highest(values, ends, *, resource, window):
    return np.fmax.accumulate(values, axis=1)[:, ends]

def half(values, ends, *, resource, window):
    if resource == "memory":
        raise ValueError("no\\n  memory")
    return highest(values, ends, resource=resource, window=window)

def ahead(values, ends, *, resource, window):
    return np.repeat(np.fmax.reduce(values, axis=1, keepdims=True), len(ends), axis=1)

def small(values, ends, *, resource, window):
    if np.nanmax(values) > 400 and resource == "cpu":
        raise ValueError("too much")
    return highest(values, ends, resource=resource, window=window)
"""


@pytest.fixture(autouse=True)
def methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = (f"{name} = cli_test_methods:{name.lower()}" for name in ("Highest", "Half", "Ahead", "Small"))
    place = tmp_path / "installed"
    place.mkdir()
    install(place, monkeypatch, "\n".join([*points, "Bad Name = cli_test_methods:highest"]), cli_test_methods=METHODS)


def by(method: str, tmp_path: Path, command: str, *arguments: object) -> Result:
    spec = {"method": method, "minimumHistory": {"lower": "24h"}}
    manifests = write_manifests(tmp_path / "deploy", deployment(), profile(spec, namespace="shop"))
    history = write_history(tmp_path / "pods.csv", steady_rows(hours=60))
    return run(command, *arguments, "--manifests", manifests, "--history", history)


def explained(method: str, tmp_path: Path) -> str:
    result = by(method, tmp_path, "explain", "deploy/web", "-n", "shop")
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_rule_that_is_told_is_that_of_the_method(tmp_path: Path) -> None:
    text = explained("Highest", tmp_path)
    assert "rule     spec.cpu of the profile: Highest + 20% over 14d" in text
    assert "rule     spec.memory of the profile: Highest + " in text
    assert "load-p" not in text


def test_why_a_replay_failed_is_told_in_place_of_too_little(tmp_path: Path) -> None:
    told = "method Ahead looks ahead: a level for cpu depends on columns after its own"
    text = explained("Ahead", tmp_path)
    assert f"  Evidence: none, the replay failed: {told}" in text
    assert f"NoEvidence: app is not lowered, as the replay of its past failed: {told}" in text
    assert "too little was seen" not in text
    assert "before this rule was replayed" not in text


def test_a_failure_is_told_on_one_line_of_its_resource(tmp_path: Path) -> None:
    text = explained("Half", tmp_path)
    told = "method Half failed for memory: ValueError: no memory"
    assert f"\n  Memory: {told}; nothing is recommended\n" in text
    assert told not in text.partition("  CPU: ")[2].partition("  Memory: ")[0]
    assert f"    part of the replay failed: {told}\n" in text


def series(tmp_path: Path) -> Path:
    lines = [f"{name},{300 * (slot + 1)},{cores},1000000" for name, cores in (("a", 0.1), ("b", 0.5)) for slot in range(600)]
    return write_history(tmp_path / "series.csv", lines, header="series,unix_ts,cpu_cores,memory_bytes")


def test_a_backtest_names_the_series_for_which_a_method_failed(tmp_path: Path) -> None:
    result = run("backtest", "--history", series(tmp_path), "--method", "Small")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: b: method Small failed for cpu: ValueError: too much\n"


def test_a_method_that_no_profile_can_name_is_refused(tmp_path: Path) -> None:
    result = run("backtest", "--history", series(tmp_path), "--method", "Bad Name")
    assert result.exit_code == 2
    assert "must be the name of a method, such as Measured" in result.stderr
