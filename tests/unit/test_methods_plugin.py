from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rightsizer.errors import InvalidInput, MethodFailed
from rightsizer.methods import METHODS, known_methods
from rightsizer.methods.measured import ROWS_AT_ONCE, Measured
from rightsizer.methods.plugin import GROUP, Asked, Plugin, installed
from tests.unit import cli_files
from tests.unit.builders import MI, PLAIN_RULE, WIDE, WORKED, container_facts, usage_window

NAN = float("nan")
DOCS = Path(__file__).parents[2] / "docs" / "plugins.md"


def plugin(function: Callable[..., Any], name: str = "Mine") -> Plugin:
    return Plugin(name, lambda: function)


def highest(values: Any, ends: Any, *, resource: str, window: int) -> Any:
    return np.stack([np.nanmax(values[:, : end + 1], axis=1) for end in ends], axis=1)


def recommend(function: Callable[..., Any], rows: int = 1, *, slots: int = 300) -> list[Any]:
    usage = usage_window([[180.0] * slots] * rows, [[320.0 * MI] * slots] * rows)
    return plugin(function).recommend(usage, [container_facts(f"c{row}") for row in range(rows)])


def raises(error: BaseException) -> Callable[..., Any]:
    def levels(*_: Any, **__: Any) -> Any:
        raise error

    return levels


def answers(answer: Any) -> Callable[..., Any]:
    return lambda values, ends, **_: answer


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, entry_points: str, **modules: str) -> None:
    """A package as pip would leave it."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    metadata = folder / "somebodys_methods-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys-methods\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{entry_points}\n")
    monkeypatch.syspath_prepend(str(folder))


def documented(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def burst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the documentation, installed."""
    points = tomllib.loads(documented("toml"))["project"]["entry-points"][GROUP]
    install(tmp_path, monkeypatch, "\n".join(f"{name} = {place}" for name, place in points.items()), rightsizer_burst=documented("python"))


def test_the_rest_of_the_rule_is_the_profiles() -> None:
    (found,) = recommend(highest)
    assert (found.wanted, found.trouble) == (WORKED, "")
    assert found.cpu.text.startswith("Mine of 25h (300 values, 100.0 %, 1 pod) = 180m; + 20 % = 216m; limit 2 x 216m")


def test_rows_keep_their_order_over_blocks_and_rules() -> None:
    rows = ROWS_AT_ONCE + 3
    usage = usage_window([[float(row + 100)] * 2 for row in range(rows)], [[320.0 * MI] * 2] * rows)
    facts = [container_facts(f"c{row}", rule=PLAIN_RULE if row % 2 else container_facts().rule) for row in range(rows)]
    found = plugin(highest).recommend(usage, facts)
    assert [one.cpu.measurement.value for one in found if one.cpu] == [row + 100 for row in range(rows)]


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (raises(ZeroDivisionError("division by zero")), "method Mine failed for cpu: ZeroDivisionError: division by zero"),
        (raises(SystemExit(3)), "method Mine failed for cpu: SystemExit: 3"),
        (raises(KeyError()), "method Mine failed for cpu: KeyError"),
        (answers(5.0), "method Mine answered shape () for cpu, not (1, 1)"),
        (answers(np.zeros((2, 1))), "method Mine answered shape (2, 1) for cpu, not (1, 1)"),
        (answers(None), "method Mine answered shape () for cpu, not (1, 1)"),
        (answers("much"), "method Mine failed for cpu: ValueError"),
        (answers([[NAN]]), "method Mine answered no number from 0 to 1e+15 for cpu"),
        (answers([[-1.0]]), "method Mine answered no number from 0 to 1e+15 for cpu"),
        (answers([[np.inf]]), "method Mine answered no number from 0 to 1e+15 for cpu"),
        (answers([[1e300]]), "method Mine answered no number from 0 to 1e+15 for cpu"),
        (answers([[180 + 2j]]), "method Mine failed for cpu: TypeError: a level cannot be a complex number"),
        (lambda values, ends: values, "method Mine failed for cpu: TypeError"),
    ],
)
def test_what_it_does_wrong_is_told_and_nothing_is_wanted(function: Callable[..., Any], told: str) -> None:
    (found,) = recommend(function)
    assert (found.wanted, found.cpu, found.memory) == (WIDE, None, None)
    assert found.trouble.startswith(told)


def test_what_cannot_be_loaded_is_told() -> None:
    def load() -> Any:
        raise ModuleNotFoundError("No module named 'theirs'")

    usage = usage_window([[1.0]], [[1.0]])
    (found,) = Plugin("Mine", load).recommend(usage, [container_facts()])
    assert found.trouble.startswith("method Mine failed for cpu: ModuleNotFoundError: No module named 'theirs'")


def test_one_bad_number_costs_its_own_container_and_resource() -> None:
    def levels(values: Any, ends: Any, *, resource: str, window: int) -> Any:
        found = highest(values, ends, resource=resource, window=window)
        if resource == "memory":
            found[1] = NAN
        return found

    found = recommend(levels, 3)
    assert [one.trouble for one in found] == ["", "method Mine answered no number from 0 to 1e+15 for memory", ""]
    assert [one.wanted for one in (found[0], found[2])] == [WORKED, WORKED]
    assert found[1].wanted == replace(WIDE, cpu_request=216, cpu_limit=432)


def test_a_container_without_usage_is_no_trouble() -> None:
    (found,) = plugin(answers([[NAN]])).recommend(usage_window([[NAN]], [[NAN]]), [container_facts()])
    assert (found.trouble, found.cpu) == ("", None)


def test_it_cannot_write_to_the_usage() -> None:
    def levels(values: Any, ends: Any, **_: Any) -> Any:
        values[:] = 0
        return np.zeros((1, 1))

    usage = usage_window([[180.0]], [[1.0]])
    (found,) = plugin(levels).recommend(usage, [container_facts()])
    assert "read-only" in found.trouble
    assert usage.cpu[0, 0] == 180


def test_a_replay_refuses_what_the_operator_would_tell() -> None:
    values = np.ones((1, 50), dtype=np.float32)
    ends = np.array([11, 23, 35])
    assert Asked(plugin(highest), "cpu", 20).levels(values, ends).tolist() == [[1, 1, 1]]
    with pytest.raises(MethodFailed, match=r"no number from 0 to 1e\+15 for cpu"):
        Asked(plugin(answers([[1, NAN, 1]])), "cpu", 50).levels(values, ends)
    with pytest.raises(MethodFailed, match="ZeroDivisionError"):
        Asked(plugin(raises(ZeroDivisionError())), "cpu", 20).levels(values, ends)


def test_a_replay_refuses_what_looks_ahead() -> None:
    def levels(values: Any, ends: Any, **_: Any) -> Any:
        return np.repeat(values.max(axis=1)[:, np.newaxis], len(ends), axis=1)

    values = np.arange(50, dtype=np.float32)[np.newaxis]
    with pytest.raises(MethodFailed, match="Mine looks ahead: a level for memory depends on columns after its own"):
        Asked(plugin(levels), "memory", 20).levels(values, np.array([11, 23, 35]))


def peeking(slots: int, of: Callable[..., Any] = np.max) -> Callable[..., Any]:
    """Of the window, and of so many slots after it."""

    def levels(values: Any, ends: Any, *, window: int, **_: Any) -> Any:
        return np.stack([of(values[:, max(end + 1 - window, 0) : end + 1 + slots], axis=1) for end in ends], axis=1)

    return levels


def daily(seed: int, *, days: int = 7) -> Any:
    """Usage with a day and bursts; its future seldom matters to the maximum of its past."""
    random, slots = np.random.default_rng(seed), np.arange(days * 288)
    return (100 * (1 + 0.5 * np.sin(slots / 288 * 2 * np.pi)) + random.gamma(1, 20, days * 288))[np.newaxis].astype(np.float32)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("of", [np.max, np.min, np.mean])
@pytest.mark.parametrize("slots", [1, 72])
def test_a_replay_refuses_who_looks_a_little_ahead(seed: int, of: Callable[..., Any], slots: int) -> None:
    values = daily(seed)
    ends = np.arange(11, values.shape[1], 12)
    with pytest.raises(MethodFailed, match="Mine looks ahead"):
        Asked(plugin(peeking(slots, of)), "cpu", values.shape[1]).levels(values, ends)
    assert Asked(plugin(peeking(0, of)), "cpu", values.shape[1]).levels(values, ends).shape == (1, len(ends))


def test_a_replay_shows_what_the_operator_would_show() -> None:
    """All that it is given, whatever it was asked for, and how much that is."""

    def levels(values: Any, ends: Any, **_: Any) -> Any:
        return np.stack([np.nansum(values[:, : end + 1], axis=1) + 1000 * (end + 1) for end in ends], axis=1)

    values, ends = daily(3), np.arange(11, 2016, 12)
    found = Asked(plugin(levels), "cpu", 288).levels(values, ends)
    live = [Asked(plugin(levels), "cpu", 288).levels(values[:, max(end - 287, 0) : end + 1], np.array([min(end, 287)])) for end in ends]
    assert found == pytest.approx(np.concatenate(live, axis=1))
    assert found[0, -1] == pytest.approx(values[0, ends[-1] - 287 : ends[-1] + 1].sum() + 288_000)


def test_builtin_names_cannot_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "Measured = theirs:levels\nOther = theirs:levels")
    assert "Other" in known_methods()
    assert known_methods()["Measured"] is METHODS["Measured"]
    assert METHODS["Measured"] == Measured()
    assert isinstance(installed()["Measured"], Plugin)


@pytest.mark.usefixtures("burst")
def test_the_documented_example_recommends(tmp_path: Path) -> None:
    manifests = cli_files.write_manifests(tmp_path / "m", cli_files.deployment(), cli_files.profile({"method": "Burst"}, namespace="shop"))
    history = cli_files.write_history(tmp_path / "usage.csv", cli_files.steady_rows())
    result = cli_files.run("explain", "deploy/web", "-n", "shop", "--manifests", manifests, "--history", history)
    assert result.exit_code == 0, result.output
    assert "method Burst" in result.stdout
    assert "Burst of 14d (288 values" in result.stdout
    assert "CPU: request 500m -> 216m" in result.stdout
    assert len(documented("python").splitlines()) <= 11


@pytest.mark.usefixtures("burst")
def test_the_documented_example_is_replayed(tmp_path: Path) -> None:
    lines = [f"web,{1_650_000_000 + 300 * number},0.1,1e8" for number in range(3 * 288)]
    history = tmp_path / "usage.csv"
    history.write_text("\n".join(["series,unix_ts,cpu_cores,memory_bytes", *lines]) + "\n")
    result = cli_files.run("backtest", "--history", history, "--method", "Burst", "-o", "json", "--rule", "p95+20")
    assert result.exit_code == 0, result.output
    ours, rule = json.loads(result.stdout)
    assert ours["rule"] == "Burst"
    assert ours["cpu"]["slack"]["mean"] == pytest.approx(rule["cpu"]["slack"]["mean"])
    refused = cli_files.run("backtest", "--history", history, "--method", "Guess")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "error: --method Guess: no such method is installed; known are Burst, Learned, Measured\n",
    )


def test_a_profile_file_with_a_method_that_is_not_installed_is_refused(tmp_path: Path) -> None:
    from rightsizer.cli.profile_file import read_profile

    path = tmp_path / "profile.yaml"
    path.write_text(yaml.safe_dump(cli_files.profile({"method": "Burst"})))
    with pytest.raises(InvalidInput, match=r"profile.yaml: spec.method: no method Burst is installed; known are Learned, Measured"):
        read_profile(path)


def test_a_failing_method_is_told_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "Bad = bad_method:levels", bad_method="def levels(*_, **__): raise ValueError('never mind')\n")
    manifests = cli_files.write_manifests(tmp_path / "m", cli_files.deployment(), cli_files.profile({"method": "Bad"}, namespace="shop"))
    history = cli_files.write_history(tmp_path / "usage.csv", cli_files.steady_rows())
    where = ("-n", "shop", "--manifests", manifests, "--history", history)
    assert "MethodFailed" in cli_files.run("recommend", *where).stdout
    told = cli_files.run("explain", "deploy/web", *where).stdout
    assert "CPU: method Bad failed for cpu: ValueError: never mind" in told
