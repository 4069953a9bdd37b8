"""The operator is killed before and after each call that changes something, in every step of a change: nothing is lost or doubled.

What it reads between two such calls changes nothing: whoever is killed there was killed after the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.fake_kubelet import Kubelet
from tests.fakes import WRITES
from tests.unit.builders import WIDE, WORKED
from tests.unit.moving_world import End, MovingWorld, asked_back, end_of, killed, never_ready

MINUTES = 14
CHANGING = (*WRITES, "emit")


class PowerCut(BaseException):
    """Nothing in the operator may catch this: it ends there and then."""


@dataclass(frozen=True, slots=True)
class Story:
    """What is asked of the operator, and what goes wrong meanwhile."""

    apply: Mapping[str, Any]
    trouble: Callable[[MovingWorld], object] | None = None
    kubelet: Kubelet = Kubelet.APPLIES
    changes: tuple[tuple[str, str, bool], ...] = field(default=())
    sizes: Any = WORKED

    def begin(self) -> MovingWorld:
        world = MovingWorld(self.trouble, churn=self.apply.get("strategy") == "OnCreate", **self.apply)
        world.cluster.kubelet = self.kubelet
        return world


def succeeded(strategy: str) -> tuple[tuple[str, str, bool], ...]:
    return ((strategy, "Succeeded", False),)


def taken_back(strategy: str) -> tuple[tuple[str, str, bool], ...]:
    return ((strategy, "Succeeded", True), (strategy, "Failed", False))


def asked_for(strategy: str, outcome: str = "Succeeded") -> tuple[tuple[str, str, bool], ...]:
    return ((strategy, "Succeeded", True), (strategy, outcome, False))


STORIES = {
    "rollout": Story({}, changes=succeeded("Rollout")),
    "rollout-killed-for-memory": Story({}, killed, changes=taken_back("Rollout"), sizes=WIDE),
    "rollout-never-ready": Story({}, never_ready, changes=taken_back("Rollout"), sizes=WIDE),
    "rollout-asked-back": Story({}, asked_back, changes=asked_for("Rollout"), sizes=WIDE),
    "in-place-asked-back": Story({"strategy": "InPlace"}, asked_back, changes=asked_for("InPlace", "Superseded"), sizes=WIDE),
    "in-place": Story({"strategy": "InPlace"}, changes=succeeded("InPlace")),
    "in-place-killed-for-memory": Story({"strategy": "InPlace"}, killed, changes=taken_back("InPlace"), sizes=WIDE),
    "in-place-infeasible": Story({"strategy": "InPlace"}, kubelet=Kubelet.FINDS_INFEASIBLE, changes=taken_back("InPlace"), sizes=WIDE),
    "in-place-fallback": Story(
        {"strategy": "InPlace", "fallback": "Rollout"},
        kubelet=Kubelet.FINDS_INFEASIBLE,
        changes=(*succeeded("Rollout"), ("InPlace", "Failed", False)),
    ),
    "on-create": Story({"strategy": "OnCreate"}, changes=succeeded("OnCreate")),
    "on-create-killed-for-memory": Story({"strategy": "OnCreate"}, killed, changes=taken_back("OnCreate"), sizes=WIDE),
}


def live(world: MovingWorld) -> None:
    for _ in range(MINUTES):
        try:
            world.run_cycles(1)
        except PowerCut:
            world.restart()
        world.go_on()


def cut_at(world: MovingWorld, number: int | None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The power goes at the call of this number (None: at none). The calls, as they come."""
    calls: list[str] = []

    def counted(name: str, namespaces: object, *, after: bool = False) -> None:
        if name not in CHANGING:
            return
        calls.append(f"{'after' if after else 'at'} {name}")
        if len(calls) - 1 == number:
            raise PowerCut

    monkeypatch.setattr(world.cluster, "raise_fault", counted)
    return calls


def undisturbed(story: Story, monkeypatch: pytest.MonkeyPatch) -> tuple[End, list[str]]:
    world = story.begin()
    calls = cut_at(world, None, monkeypatch)
    live(world)
    return end_of(world), calls


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_undisturbed(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    end, _ = undisturbed(story, monkeypatch)
    assert end.changes == story.changes
    assert set(end.pods) == {story.sizes}


def comparable(end: End, story: Story) -> End:
    """A pod that was asked in vain, which could not be written any more, is asked once more, and again in vain."""
    return end if story.kubelet is Kubelet.APPLIES else replace(end, resized=tuple(sorted(set(end.resized))))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_killed_at_every_call_it_ends_the_same(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, calls = undisturbed(story, monkeypatch)
    wrong = {}
    for number, call in enumerate(calls):
        world = story.begin()
        cut_at(world, number, monkeypatch)
        live(world)
        if comparable(end := end_of(world), story) != comparable(expected, story):
            wrong[f"{number} {call}"] = end
    assert wrong == {}
