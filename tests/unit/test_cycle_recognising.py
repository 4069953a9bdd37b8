"""When what fools recommendations is recognised, and how long that stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rightsizer.cycle import recognising
from rightsizer.cycle.measuring import ReadingLimits
from rightsizer.cycle.recognising import Recognising
from rightsizer.history import SLOT_SECONDS, Span, UsageWindow
from rightsizer.methods.finding import NOTHING_KNOWN, Recognised
from rightsizer.methods.patterns.recognising import recognise
from tests.unit.builders import MI, usage_window
from tests.unit.world import World

HOUR = 12


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The containers that were recognised, as it is done."""
    names: list[str] = []

    def noted(usage: UsageWindow, rows: Any, *rest: Any) -> list[Recognised]:
        names.extend(np.array([key.container for key in usage.keys])[rows].tolist())
        return recognise(usage, rows, *rest)

    monkeypatch.setattr(recognising, "recognise", noted)
    return names


def due_rows(found: Recognising, usage: UsageWindow) -> list[int]:
    return found.due(usage.keys, usage.span)


def window(*, slot: int = 0, rows: int = 2, days: int = 2) -> UsageWindow:
    slots = days * 288
    found = usage_window([[100.0] * slots] * rows, [[100.0 * MI] * slots] * rows)
    later = slot * SLOT_SECONDS
    return replace(found, span=Span(found.span.start + later, found.span.end + later))


def recognised_at(found: Recognising, slot: int, **fields: Any) -> list[Recognised]:
    usage = window(slot=slot, **fields)
    return found.of(usage, [NOTHING_KNOWN] * len(usage.keys))


def test_each_comes_once_an_hour(looked_at: list[str]) -> None:
    found = Recognising()
    for slot in range(1 + 3 * HOUR):
        recognised_at(found, slot)
    assert looked_at.count("c0") == looked_at.count("c1") == 1 + 3


def test_in_between_the_answer_is_the_same(looked_at: list[str]) -> None:
    found = Recognising()
    first = recognised_at(found, 0)
    calm = usage_window([[0.0] * 2 * 288] * 2, [[100.0 * MI] * 2 * 288] * 2)
    assert found.of(calm, [NOTHING_KNOWN] * 2) == first != Recognising().of(calm, [NOTHING_KNOWN] * 2)


def test_those_that_began_together_are_spread_over_the_hour(looked_at: list[str]) -> None:
    found = Recognising()
    chunks = [replace(window(rows=1), keys=(replace(window(rows=1).keys[0], container=f"c{chunk}"),)) for chunk in range(24)]

    def cycle(slot: int) -> int:
        looked_at.clear()
        for chunk in chunks:
            later = slot * SLOT_SECONDS
            found.of(replace(chunk, span=Span(chunk.span.start + later, chunk.span.end + later)), [NOTHING_KNOWN])
        return len(looked_at)

    assert [cycle(slot) for slot in range(25)] == [24, *[2] * 24]


def test_what_is_due_is_known_before_the_usage_is(looked_at: list[str]) -> None:
    found = Recognising()
    assert due_rows(found, window()) == [0, 1]
    recognised_at(found, 0)
    assert due_rows(found, window()) == []
    assert due_rows(found, window(slot=HOUR)) == [0, 1]


def test_a_new_container_is_recognised_at_once(looked_at: list[str]) -> None:
    found = Recognising()
    recognised_at(found, 0, rows=1)
    recognised_at(found, 0, rows=2)
    assert looked_at == ["c0", "c1"]


def test_another_window_needs_another_look(looked_at: list[str]) -> None:
    found = Recognising()
    recognised_at(found, 0, rows=1)
    recognised_at(found, 0, rows=1, days=3)
    assert looked_at == ["c0", "c0"]


def test_what_is_forgotten_is_recognised_anew(looked_at: list[str]) -> None:
    found = Recognising()
    recognised_at(found, 0)
    found.forget_all_but({window().keys[1]})
    recognised_at(found, 0)
    assert looked_at == ["c0", "c1", "c0"]


class TestInTheCluster:
    def world(self) -> World:
        world = World()
        world.apply_profile()
        world.add_deployment()
        return world

    def test_cycles_in_between_recognise_nothing(self, looked_at: list[str]) -> None:
        world = self.world()
        world.run_cycle()
        looked_at.clear()
        for _ in range(HOUR):
            world.next_slot()
            world.run_cycle()
        assert looked_at == ["app"]

    def test_while_the_past_is_being_read_nothing_lasts(self, looked_at: list[str]) -> None:
        world = self.world()
        world.limits = ReadingLimits(at_once=1, portion_seconds=0)
        world.restart()
        assert [report.read < 1 for report in world.run_cycles(3)] == [True] * 3
        assert looked_at == ["app"] * 3

    def test_when_the_rest_of_the_past_is_there_all_is_looked_at_again(self, looked_at: list[str]) -> None:
        world = self.world()
        world.limits = ReadingLimits(at_once=1, portion_seconds=0)
        world.restart()
        assert world.run_cycle().read < 1
        looked_at.clear()
        world.measuring._limits = ReadingLimits(at_once=1)
        assert world.run_cycle().read == 1
        assert looked_at == ["app"]
