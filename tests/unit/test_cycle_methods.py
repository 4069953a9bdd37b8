"""A method that somebody installed, in the running operator: what it does wrong costs its own containers, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from rightsizer.methods.plugin import GROUP
from tests.unit.builders import WIDE, WORKED
from tests.unit.world import World

LEVELS = """
import numpy as np

def highest(values, ends, *, resource, window):
    highest = np.fmax.accumulate(values, axis=1)
    return highest[:, ends]

def failing(values, ends, *, resource, window):
    raise ValueError("never mind")

def half(values, ends, *, resource, window):
    if resource == "memory":
        raise ValueError("no memory")
    return highest(values, ends, resource=resource, window=window)
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    (tmp_path / "cycle_test_methods.py").write_text(LEVELS)
    metadata = tmp_path / "cycle_test_methods-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: cycle-test-methods\nVersion: 1.0\n")
    points = ["Highest = cycle_test_methods:highest", "Failing = cycle_test_methods:failing", "Half = cycle_test_methods:half"]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *points, "Gone = not_there:levels", ""]))
    monkeypatch.syspath_prepend(str(tmp_path))
    world = World()
    for namespace in ("shop", "other"):
        world.add_deployment(namespace=namespace)
    world.apply_profile(namespace="other")
    return world


def test_a_plugin_sizes_as_the_built_in_method_does(world: World) -> None:
    world.apply_profile(method="Highest")
    world.run_cycle()
    assert (world.sizes(), world.sizes(namespace="other")) == (WORKED, WORKED)
    (container,) = world.recommended()["containers"]
    assert container["explanation"]["cpu"]["statistic"] == "Highest"


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("Failing", "app: method Failing failed for cpu: ValueError: never mind; method Failing failed for memory: ValueError: never mind"),
        ("Gone", "app: method Gone failed for cpu: ModuleNotFoundError: No module named 'not_there'; "),
    ],
)
def test_a_failing_plugin_costs_its_own_containers_a_condition(world: World, method: str, told: str) -> None:
    world.apply_profile(method=method)
    world.run_cycles(2)
    assert (world.sizes(), world.sizes(namespace="other")) == (WIDE, WORKED)
    assert world.told() == ("Blocked", "MethodFailed")
    condition = world.condition(world.recommended(), "Recommended")
    assert (condition["status"], condition["reason"]) == ("False", "MethodFailed")
    assert condition["message"].startswith(told)
    assert world.condition(world.recommended(), "Measured")["reason"] == "UsageSeen"
    assert world.condition(world.profile_status(), "Ready")["reason"] == "Understood"
    assert world.condition(world.recommended(namespace="other"), "Recommended")["reason"] == "Recommended"


def test_what_it_can_say_of_one_resource_is_used(world: World) -> None:
    world.apply_profile(method="Half")
    world.run_cycle()
    assert (world.sizes().cpu_request, world.sizes().memory_request) == (WORKED.cpu_request, WIDE.memory_request)
    assert world.condition(world.recommended(), "Recommended")["message"].startswith("app: method Half failed for memory")


def test_a_method_that_is_not_installed_is_told_on_the_profile_and_nothing_is_changed(world: World) -> None:
    world.apply_profile(method="Guess")
    world.run_cycle()
    ready = world.condition(world.profile_status(), "Ready")
    known = "Failing, Gone, Half, Highest, Learned, Measured"
    assert (ready["status"], ready["reason"]) == ("False", "InvalidField")
    assert ready["message"].startswith(f"spec.method: no method Guess is installed; known are {known}; nothing is changed")
    assert (world.told(), world.sizes()) == (("Recommended", "RecommendOnly"), WIDE)
    assert world.sizes(namespace="other") == WORKED


def test_a_plugin_that_works_again_is_believed_again(world: World) -> None:
    world.apply_profile(method="Failing")
    world.run_cycle()
    world.apply_profile(method="Highest")
    world.run_cycles(1)
    assert world.condition(world.recommended(), "Recommended")["reason"] == "Recommended"
    assert world.sizes() == WORKED
