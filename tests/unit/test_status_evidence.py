"""How evidence stands in a status: round figures, rewritten only when they say something else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rightsizer.status.evidence import evidence_status, of_container
from rightsizer.workload import Container, Sizes
from tests.unit.builders import GI, MI, WIDE, evidence, figures, workload

WEB = workload()
SOME = evidence(changes=0.1, cpu=figures(above=0.003, request=216), memory=figures(request=400 * MI))


def test_the_short_form() -> None:
    assert of_container(Container("app", WIDE), SOME) == "7d: 0 OOM, 0.3% above, 0.1/day, -61% mem"


@pytest.mark.parametrize(
    ("request_", "said"), [(WIDE.memory_request, "0% mem"), (2 * GI, "+100% mem"), (1.001 * GI, "0% mem"), (0.5 * GI, "-50% mem")]
)
def test_more_and_less(request_: float, said: str) -> None:
    found = replace(SOME, memory=figures(request=request_))
    assert of_container(Container("app", WIDE), found).split(", ")[3] == said


def test_nothing_is_saved_where_nothing_is_requested() -> None:
    assert of_container(Container("app", Sizes()), SOME) == "7d: 0 OOM, 0.3% above, 0.1/day"


def test_the_status() -> None:
    assert evidence_status(WEB, {"app": SOME}, old={}, awaited=True) == {
        "summary": "7d: 0 OOM, 0.3% above, 0.1/day, -61% mem",
        "window": "7d",
        "oomKills": 0,
        "timeAboveRequest": "0.3%",
        "changesPerDay": "0.1",
        "saved": {"cpu": "57%", "memory": "61%"},
    }


def test_containers_are_told_together() -> None:
    two = workload(Container("app", WIDE), Container("proxy", WIDE))
    other = evidence(days=6.2, changes=0.5, cpu=figures(above=0.02, request=10), memory=figures(kills=2, request=MI))
    found = evidence_status(two, {"app": SOME, "proxy": other, "gone": other}, old={}, awaited=True)
    assert (found["window"], found["oomKills"], found["timeAboveRequest"], found["changesPerDay"]) == ("7d", 2, "2%", "0.6")


def test_without_evidence_the_written_one_stays_while_it_is_awaited() -> None:
    written = evidence_status(WEB, {"app": SOME}, old={}, awaited=True)
    assert evidence_status(WEB, {}, old=written, awaited=True) == written
    assert evidence_status(WEB, {}, old={}, awaited=True) == {}
    assert evidence_status(WEB, {}, old=written, awaited=False) == {}
    assert evidence_status(WEB, {"app": SOME}, old=written, awaited=False) == written


@pytest.mark.parametrize(
    ("changed", "news"),
    [
        ({}, False),
        ({"cpu": figures(above=0.005, request=216)}, False),
        ({"cpu": figures(above=0.009, request=216)}, True),
        ({"cpu": figures(above=0.0, request=216)}, True),
        ({"cpu": figures(above=0.003, request=230)}, False),
        ({"cpu": figures(above=0.003, request=260)}, True),
        ({"memory": figures(kills=1, request=400 * MI)}, True),
        ({"changes": 0.2}, False),
        ({"changes": 0.0}, True),
        ({"days": 8.0}, True),
        ({"days": 7.2}, False),
        ({"days": 6.9}, False),
        ({"days": 5.9}, True),
    ],
)
def test_only_what_says_something_else_is_written(changed: dict[str, object], news: bool) -> None:
    written = evidence_status(WEB, {"app": SOME}, old={}, awaited=True)
    again = evidence_status(WEB, {"app": replace(SOME, **changed)}, old=written, awaited=True)  # type: ignore[arg-type]
    assert (again != written) == news


@pytest.mark.parametrize("edited", [{"saved": "much"}, {"timeAboveRequest": "x"}, {"saved": None}, {"window": 7}, {"window": "long"}])
def test_what_somebody_edited_is_written_anew(edited: dict[str, object]) -> None:
    written = evidence_status(WEB, {"app": SOME}, old={}, awaited=True)
    assert evidence_status(WEB, {"app": SOME}, old={**written, **edited}, awaited=True) == written
