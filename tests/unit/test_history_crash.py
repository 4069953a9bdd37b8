"""A history whose process dies at any moment: what is there afterwards is right, whatever is missing.

Each value says of which container and slot it is, so a value of another container, or of a round of the ring before, is seen.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from shutil import copytree, rmtree
from typing import Any

import numpy as np
import pytest

from rightsizer.history import SLOT_SECONDS, History, Span
from rightsizer.history.head import Head
from rightsizer.history.storage import MappedArray
from tests.unit.test_history import at, batch, key
from tests.unit.test_history_files import vanish

SLOTS = 120
STEADY = "w0"
MOST_STEPS = 5
"""How far time moves on at once."""


def value_of(name: str, place: int) -> int:
    """A whole number that is kept exactly. 120 slots later it is another one."""
    return (int(name[1:]) * 101 + place * 31) % 1999


def steps(kept: History, *, first: int, seed: int) -> Iterator[int]:
    """Adds, forgets and saves without end, and yields each place that was saved. Containers come and go, but for the steady one."""
    random, place = Random(seed), first
    alive, number = {STEADY: None}, first * 10 + 1
    while True:
        place += random.choice([1, 1, 1, 2, MOST_STEPS])
        for _ in range(random.randrange(4)):
            alive[f"w{number}"] = None
            number += 1
        names = list(alive)
        for resource in ("memory", "cpu"):
            values = [[value_of(name, place - 1), value_of(name, place)] for name in names]
            kept.add(batch(values, place=place - 1, resource=resource), [key(name) for name in names])
        if random.random() < 0.3:
            late = place - random.randrange(2, SLOTS)
            kept.add(batch([[value_of(STEADY, late)]], place=late), [key(STEADY)])
        kept.mark_read("shop", Span(at(place - 1), at(place)))
        for name in names[1:]:
            if random.random() < 0.15:
                del alive[name]
        kept.forget_all_but([key(name) for name in alive])
        if random.random() < 0.5:
            kept.save()
            yield place


def places_read(kept: History) -> set[int]:
    spans = kept.read_spans("shop")
    return {(slot - at(0)) // SLOT_SECONDS for span in spans for slot in range(span.start, span.end + 1, SLOT_SECONDS)}


def check(kept: History, *, saved: int) -> None:
    """All values are where they belong, and of the steady container those that were saved are there."""
    names = sorted(one.workload.name for one in kept)
    end = kept.newest(key(STEADY))
    assert end is not None
    # Time may have moved on further than the last value of the steady container.
    newest = (end - at(0)) // SLOT_SECONDS + MOST_STEPS
    places = range(newest - SLOTS + 1, newest + 1)
    seen = kept.window([key(name) for name in names], end=at(newest), seconds=SLOTS * SLOT_SECONDS, details=True)
    right = np.array([[value_of(name, place) for place in places] for name in names])
    for values in (seen.memory, seen.cpu, seen.cpu_mean):
        assert values is not None
        assert np.all(np.isnan(values) | (values == right))
    assert np.isin(seen.pods, [0, 1]).all()
    there = ~np.isnan(seen.memory[names.index(STEADY)])
    missing = {place for place, known in zip(places, there, strict=True) if not known}
    assert not missing & {place for place in places_read(kept) if newest - SLOTS < place <= saved}


# Dying between any two steps


class Deaths:
    """Copies the folder at a step, as a death would leave it, and checks what a new process would make of the copy."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self.saved: int | None = None
        self.checked = 0
        self._folder, self._random, self._busy = folder, Random(seed), False

    def watch(self, function: Callable[..., Any], *, share: float) -> Callable[..., Any]:
        """The function, with a death before or after it in this share of its calls."""

        def watched(*arguments: Any, **more: Any) -> Any:
            moment = self._random.random() / share
            self._die(moment < 0.5)
            answer = function(*arguments, **more)
            self._die(0.5 <= moment < 1)
            return answer

        return watched

    def _die(self, now: bool) -> None:
        if not now or self._busy or self.saved is None:
            return
        self._busy = True
        self._look(self.saved)
        self._busy = False

    def _look(self, saved: int) -> None:
        copy = self._folder.with_name("copy")
        copytree(self._folder, copy)
        kept = History(slots=SLOTS, folder=copy)
        check(kept, saved=saved)
        kept.close()
        rmtree(copy)
        self.checked += 1


@pytest.mark.parametrize("seed", range(3))
def test_a_death_between_any_two_steps_leaves_only_what_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    deaths = Deaths(tmp_path / "store", seed=seed)
    kept = History(slots=SLOTS, folder=tmp_path / "store")
    # Blocks of rows are written most often; before each number of the head something was brought about that it tells of.
    monkeypatch.setattr(MappedArray, "release", deaths.watch(MappedArray.release, share=0.05))
    monkeypatch.setattr(Head, "__setitem__", deaths.watch(Head.__setitem__, share=0.8))
    monkeypatch.setattr(Path, "replace", deaths.watch(Path.replace, share=0.5))
    for place in steps(kept, first=0, seed=seed):
        deaths.saved = place
        if place > 2 * SLOTS:
            break
    assert deaths.checked > 100
    kept.close()


# Dying for real


def write_until_killed(folder: str, seed: int) -> None:
    """What the other process does: goes on where the history ends, and tells each place that was saved."""
    kept = History(slots=SLOTS, folder=Path(folder))
    end = kept.newest(key(STEADY))
    first = 0 if end is None else (end - at(0)) // SLOT_SECONDS
    kept.forget_all_but([key(STEADY)])
    for place in steps(kept, first=first, seed=seed):
        print(place, flush=True)


WRITER = f"import sys; from {__name__} import write_until_killed; write_until_killed(sys.argv[1], int(sys.argv[2]))"


def kill_after(seconds: float, folder: Path, *, seed: int) -> int:
    """Start a writer, kill it so long after it saved for the first time, and answer the last place that it saved."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(seed)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": PATH}
    )
    assert writer.stdout is not None
    with writer, writer.stdout:
        try:
            lines = [writer.stdout.readline()]
            time.sleep(seconds)
        finally:
            writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
    # The last line may be half a one.
    return int([line for line in lines if line.endswith("\n")][-1])


PATH = os.pathsep.join(entry for entry in (str(Path(__file__).parents[2]), *sys.path) if entry)


def test_a_process_that_is_killed_again_and_again_leaves_only_what_is_right(tmp_path: Path) -> None:
    random, before = Random(11), -1
    for seed in range(6):
        saved = kill_after(random.uniform(0.0, 0.3), tmp_path, seed=seed)
        assert saved > before
        kept = History(slots=SLOTS, folder=tmp_path)
        assert kept.trouble is None
        check(kept, saved=saved)
        before = saved
        kept.close() if seed % 2 else vanish(kept)
