"""Loading history: which parts are made, which come from the cache, and one real load."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.testbed.binaries import binaries_folder
from tests.usage import ContainerUsage, WorkloadUsage, constant
from tests.usage.blocks import HistoryLoadError, load_history
from tests.usage.quantity import MEBIBYTE

DAY = 86_400.0
MIDNIGHT = 20_700 * DAY
NOON = MIDNIGHT + DAY / 2

SCENARIO = (
    WorkloadUsage(
        namespace="shop",
        kind="Deployment",
        name="web",
        containers=(ContainerUsage(name="app", cpu=constant(0.18), memory=constant(320.0 * MEBIBYTE)),),
    ),
)

FAKE_PROMTOOL = """#!/bin/sh
for argument; do text=$blocks; blocks=$argument; done
[ -e "$(dirname "$0")/broken" ] && echo "no space left" >&2 && exit 3
touch "$(dirname "$0")/calls/$$"
mkdir "$blocks/BLOCK$$" && wc -l < "$text" > "$blocks/BLOCK$$/meta.json"
"""


@pytest.fixture
def promtool(tmp_path: Path) -> Path:
    """Stands in for promtool: makes one block, notes each call, fails when a file named broken lies beside it."""
    (tmp_path / "bin" / "calls").mkdir(parents=True)
    path = tmp_path / "bin" / "promtool"
    path.write_text(FAKE_PROMTOOL)
    path.chmod(0o755)
    return path


def load(promtool: Path, *, days: float = 3, until: float = NOON, **options: float) -> list[Path]:
    cache = promtool.parent.parent / "cache"
    return load_history(SCENARIO, days=days, until=until, cache_directory=cache, promtool=promtool, **options)  # type: ignore[arg-type]


def calls(promtool: Path) -> int:
    return len(list((promtool.parent / "calls").iterdir()))


def test_whole_days_and_the_current_one_become_folders_in_order(promtool: Path) -> None:
    blocks = load(promtool)
    assert [block.parent.name[:10] for block in blocks] == ["2026-09-01", "2026-09-02", "2026-09-03", "from-17884"]
    assert calls(promtool) == 4


def test_complete_days_come_from_the_cache(promtool: Path) -> None:
    first = load(promtool)
    later = load(promtool, until=NOON + 600)
    assert later[:3] == first[:3]
    assert later[3] != first[3]
    assert calls(promtool) == 5


def test_a_longer_history_makes_only_what_is_missing(promtool: Path) -> None:
    load(promtool)
    assert len(load(promtool, days=5)) == 6
    assert calls(promtool) == 6


def test_another_interval_shares_nothing(promtool: Path) -> None:
    assert not set(load(promtool)) & set(load(promtool, interval_seconds=30.0))


def test_a_day_just_over_is_not_yet_kept(promtool: Path) -> None:
    names = [block.parent.name for block in load(promtool, days=2, until=MIDNIGHT + 60)]
    assert names == ["2026-09-02", f"from-{MIDNIGHT - DAY:.0f}-{MIDNIGHT + 60:.0f}"]


def test_hours_are_made_whole(promtool: Path) -> None:
    (block,) = load(promtool, days=0.25)
    assert block.parent.name == f"from-{NOON - DAY / 4:.0f}-{NOON:.0f}"
    usage_and_state_lines = 2 * 360 + 2 * 90 + 90 + 6
    assert int((block / "meta.json").read_text()) == usage_and_state_lines


def test_progress_is_told_from_none_to_all(promtool: Path) -> None:
    told: list[tuple[int, int]] = []
    cache = promtool.parent.parent / "cache"
    load_history(
        SCENARIO,
        days=2,
        until=NOON,
        cache_directory=cache,
        promtool=promtool,
        progress=lambda done, parts: told.append((done, parts)),
    )
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_failure_says_what_promtool_said_and_leaves_nothing_behind(promtool: Path) -> None:
    (promtool.parent / "broken").touch()
    with pytest.raises(HistoryLoadError, match="ended with 3: no space left"):
        load(promtool)
    (scenario,) = (promtool.parent.parent / "cache").iterdir()
    assert list(scenario.iterdir()) == []


def test_an_absent_promtool_is_named(tmp_path: Path) -> None:
    with pytest.raises(HistoryLoadError, match="cannot be run"):
        load_history(SCENARIO, days=0.1, until=NOON, cache_directory=tmp_path, promtool=tmp_path / "promtool")


def test_old_unsettled_parts_are_cleared_away_and_young_ones_stay(promtool: Path) -> None:
    old, young = (load(promtool, days=0.1, until=NOON + offset)[0].parent for offset in (0, 60))
    two_hours_ago = time.time() - 7200
    os.utime(old, (two_hours_ago, two_hours_ago))
    load(promtool, days=0.1, until=NOON + 120)
    assert not old.exists()
    assert young.exists()


def test_promtool_makes_one_block_of_a_day(tmp_path: Path) -> None:
    promtool = binaries_folder() / "promtool"
    if not promtool.is_file():
        pytest.skip("promtool is not built: make testbed")
    blocks = load_history(SCENARIO, days=1, until=NOON, cache_directory=tmp_path, promtool=promtool)
    metas = [json.loads((block / "meta.json").read_text()) for block in blocks]
    assert [meta["stats"]["numSamples"] for meta in metas] == [2 * 1440 + 3 * 360, 2 * 720 + 3 * 180]
    assert [(meta["minTime"], meta["maxTime"]) for meta in metas] == [
        (int(begin * 1000), int((end - 60) * 1000) + 1) for begin, end in ((MIDNIGHT - DAY, MIDNIGHT), (MIDNIGHT, NOON))
    ]
