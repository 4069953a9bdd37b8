"""Turns a scenario into TSDB blocks that Prometheus opens at start, keeping complete days in a cache between runs.

A UTC day has the same content whenever it is made, so only the current day is made again. It knows how promtool is called;
where promtool and the data folder of Prometheus are is the caller's business.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.usage.exposition import write_openmetrics
from tests.usage.pod import SAME_NAME_GAP_SECONDS
from tests.usage.shape import DAY_SECONDS
from tests.usage.workload import WorkloadUsage, scenario_digest

CONTENT_VERSION = 1
"""Raise when the written text changes for the same scenario, or old days would be taken from caches."""

Progress = Callable[[int, int], None]
"""Called with (parts done, parts in all), the first time with 0 done."""

# promtool parses its whole input once per block, and by default makes a block of every two hours. A bound this large
# leaves a day whole except when it holds the edge of a range, which comes every 60 days.
_LARGEST_BLOCK = "1500h"

_PARALLEL_PARTS = 2

_UNSETTLED = "from-"
_UNSETTLED_KEPT_SECONDS = 3600.0


class HistoryLoadError(Exception):
    """promtool did not make blocks from the history; the text holds what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A piece of history that becomes one folder of blocks."""

    begin: float
    end: float
    until: float
    directory: Path


def load_history(
    workloads: Sequence[WorkloadUsage],
    *,
    days: float,
    until: float,
    cache_directory: Path,
    promtool: Path,
    interval_seconds: float = 60.0,
    progress: Progress | None = None,
) -> list[Path]:
    """Makes the blocks of at least the last ``days`` before ``until`` (unix time) and returns their folders, oldest first.

    The history begins at the beginning of a UTC day, unless less than a day is asked for: then it is made whole and not
    kept. The folders belong to the cache: copy or hard-link them, do not move them.

    Raises:
        HistoryLoadError: promtool failed.
    """
    tell = progress or (lambda _done, _all: None)
    name = scenario_digest(workloads, interval_seconds, CONTENT_VERSION)[:16]
    parts = list(_parts(days=days, until=until, directory=cache_directory / name))
    _discard_unsettled(cache_directory / name)
    tell(0, len(parts))
    with ThreadPoolExecutor(max_workers=_PARALLEL_PARTS) as pool:
        running = [pool.submit(_make_part, part, workloads, promtool=promtool, interval_seconds=interval_seconds) for part in parts]
        try:
            for done, finished in enumerate(as_completed(running), start=1):
                finished.result()
                tell(done, len(parts))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [block for part in parts for block in _blocks(part.directory)]


def _parts(*, days: float, until: float, directory: Path) -> list[_Part]:
    begin = until - days * DAY_SECONDS
    if days >= 1:
        begin = math.floor(begin / DAY_SECONDS) * DAY_SECONDS
    # The last minutes of a day just over still depend on until: StatefulSet pods leave room for the live ones.
    settled = math.floor((until - SAME_NAME_GAP_SECONDS) / DAY_SECONDS) * DAY_SECONDS if days >= 1 else begin
    complete = [begin + index * DAY_SECONDS for index in range(round((settled - begin) / DAY_SECONDS))]
    return [
        *(_whole_day(start, directory=directory) for start in complete),
        _Part(begin=settled, end=until, until=until, directory=directory / f"{_UNSETTLED}{settled:.0f}-{until:.0f}"),
    ]


def _whole_day(start: float, *, directory: Path) -> _Part:
    day = datetime.fromtimestamp(start, tz=UTC).strftime("%Y-%m-%d")
    return _Part(begin=start, end=start + DAY_SECONDS, until=math.inf, directory=directory / day)


def _make_part(part: _Part, workloads: Sequence[WorkloadUsage], *, promtool: Path, interval_seconds: float) -> None:
    if part.directory.is_dir():
        return
    part.directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=part.directory.parent))
    try:
        text, blocks = unfinished / "history.om", unfinished / "blocks"
        blocks.mkdir()
        with text.open("w", encoding="utf-8", buffering=1 << 20) as stream:
            samples = write_openmetrics(
                stream,
                workloads,
                begin=part.begin,
                end=part.end,
                until=part.until,
                interval_seconds=interval_seconds,
            )
        if samples:
            _create_blocks(promtool, text=text, blocks=blocks)
        _publish(blocks, part.directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _publish(blocks: Path, directory: Path) -> None:
    try:
        blocks.rename(directory)
    except OSError:
        # Somebody else made the same part in the meantime; its content is the same.
        if not directory.is_dir():
            raise


def _create_blocks(promtool: Path, *, text: Path, blocks: Path) -> None:
    command = [str(promtool), "tsdb", "create-blocks-from", "--quiet", f"--max-block-duration={_LARGEST_BLOCK}"]
    try:
        made = subprocess.run([*command, "openmetrics", str(text), str(blocks)], capture_output=True, text=True, check=False)
    except OSError as error:
        raise HistoryLoadError(f"promtool cannot be run: {error}") from error
    if made.returncode != 0:
        raise HistoryLoadError(f"promtool ended with {made.returncode}: {made.stderr.strip()[-2000:]}")


def _discard_unsettled(directory: Path) -> None:
    """Removes the parts that ended at the "now" of former runs; the young ones may still be in use by another run."""
    for part in directory.glob(f"{_UNSETTLED}*"):
        try:
            age_seconds = time.time() - part.stat().st_mtime
        except FileNotFoundError:
            continue
        if age_seconds > _UNSETTLED_KEPT_SECONDS:
            shutil.rmtree(part, ignore_errors=True)


def _blocks(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if (path / "meta.json").is_file())
