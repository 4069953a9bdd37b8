"""The repository keeps its own promises: what the README names exists, and versions, settings and targets agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import Field, fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import rightsizer
from rightsizer.checks.facts import Reason
from rightsizer.cli.exits import ExitCode
from rightsizer.errors import ResizeReason
from rightsizer.metrics import OperatorMetrics
from rightsizer.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LOCKS = ("requirements.lock", "requirements-dev.lock")
TEXTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"), ROOT / "tests" / "testbed" / "README.md"])
LINK = re.compile(r"\]\((?P<target>[^)#\s]+)")


def test_the_source_root_is_no_package() -> None:
    # A package named `operator` would hide the standard library's.
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_the_standard_library_keeps_its_operator() -> None:
    code = "import operator; print(operator.add(1, 2))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"


def test_the_version_is_told_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == rightsizer.__version__
    assert f"## {rightsizer.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_registry(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|--(extra-)?index-url|--find-links|--trusted-host)\b", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_dependency_has_hashes(lock: str) -> None:
    entries = re.split(r"\n(?=[a-z])", (ROOT / lock).read_text())
    assert len(entries) > 20
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_both_locks_agree() -> None:
    running, developing = (dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE)) for lock in LOCKS)
    # kept by the constraint; the development lock holds everything that runs
    assert {name: developing.get(name) for name in running} == running


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(text: Path) -> None:
    targets = [match["target"] for match in LINK.finditer(text.read_text())]
    relative = [target for target in targets if "://" not in target]
    assert [target for target in relative if not (text.parent / target).exists()] == []


def test_the_readme_shows_pictures_that_are_well_formed() -> None:
    shown = [target for target in LINK.findall(README) if target.endswith(".svg")]
    assert shown
    for target in shown:
        picture = (ROOT / target).read_text()
        ElementTree.fromstring(picture)
        assert "url(" not in re.sub(r"url\(#", "", picture), "a picture must not load anything"


def help_of_make() -> str:
    return subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_bare_make_prints_help_and_starts_nothing() -> None:
    printed = help_of_make()
    assert "demo" in printed
    assert "test" in printed


def test_the_help_tells_every_target_and_no_other() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split())
    told = set(re.findall(r"^  ([a-z0-9-]+) ", help_of_make(), re.MULTILINE))
    assert told == phony
    assert {target for target in told if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()


def test_the_readme_names_only_targets_that_exist() -> None:
    told = set(re.findall(r"^  ([a-z0-9-]+) ", help_of_make(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z0-9-]+)`", README)) <= told


def test_the_readme_has_every_setting_with_its_default() -> None:
    rows = dict(re.findall(rf"^\| `{PREFIX}([A-Z_]+)` \| ([^|]*) \|", README, re.MULTILINE))
    assert set(rows) == {item.name.upper() for item in fields(Settings)}
    assert {name: default.strip() for name, default in rows.items()} == {item.name.upper(): written(item) for item in fields(Settings)}


def written(setting: Field[Any]) -> str:
    match setting.default:
        case bool(flag):
            return str(flag).lower()
        case int() | float() as number:
            return f"{number:g}"
        case str(text) if text:
            return text
        case _:
            return "none"


def test_the_readme_has_every_exit_code() -> None:
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)} == {int(code) for code in ExitCode}


def test_the_readme_explains_every_reason_of_a_check() -> None:
    assert [str(reason) for reason in Reason if f"`{reason}`" not in README] == []


def test_the_readme_explains_why_a_pod_is_not_resized() -> None:
    assert [str(reason) for reason in ResizeReason if f"`{reason}`" not in README] == []


def test_the_readme_has_every_metric_of_the_operator() -> None:
    own = {family.name for family in OperatorMetrics().registry.collect() if family.name.startswith("rightsizer_")}
    assert own
    assert [name for name in sorted(own) if f"`{name}" not in README] == []
