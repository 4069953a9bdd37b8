from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from rightsizer.change import BEING_RESIZED
from rightsizer.pod import Pod, PodContainer, ResizeCondition
from rightsizer.strategies.turns import MOST_LEFT, Turn, next_turn
from rightsizer.workload import RolloutPhase, Sizes
from tests.unit.builders import GI, MI, NOW, WIDE, WORKED

HOUR = 3_600
COMPLETE, IN_PROGRESS, FAILED = RolloutPhase.COMPLETE, RolloutPhase.IN_PROGRESS, RolloutPhase.FAILED


def pod(name: str, sizes: Sizes = WIDE, **fields: Any) -> Pod:
    """Ready, and as it asks for."""
    app = PodContainer("app", sizes.memory_limit, sizes=sizes, actual=sizes, allocated=sizes, started_at=NOW - HOUR, ready=True)
    begun = Pod("shop", name, None, "Running", NOW - HOUR, (app,), uid=f"u-{name}", generation=2, observed_generation=2, ready=True)
    return replace(begun, **{"qos_class": "Burstable", **fields})


def asking(name: str, **fields: Any) -> Pod:
    """It asks for WORKED, and the kubelet still has WIDE."""
    (app,) = pod(name).containers
    return pod(name, containers=(replace(app, sizes=WORKED),), **fields)


def deferred(since: float) -> ResizeCondition:
    return ResizeCondition("Deferred", "no room", since=since, generation=2)


def turn(
    *pods: Pod, left: Mapping[str, str] | None = None, asked: float = NOW - 60, peak: float = 200 * MI, wanted: Sizes = WORKED
) -> Turn:
    return next_turn(pods, {"app": wanted}, left=left or {}, asked_at=lambda _: asked, memory_peaks={"app": peak}, now=NOW)


def phase(found: Turn) -> tuple[str | None, RolloutPhase, str]:
    return None if found.pod is None else found.pod.name, found.progress.phase, found.progress.message


class TestOneAtATime:
    def test_the_first_by_name(self) -> None:
        assert phase(turn(pod("b"), pod("a"))) == ("a", IN_PROGRESS, BEING_RESIZED)

    def test_the_next_when_the_one_before_has_it_and_is_ready(self) -> None:
        assert phase(turn(pod("a", WORKED), pod("b")))[0] == "b"

    def test_all_have_it(self) -> None:
        assert phase(turn(pod("a", WORKED), pod("b", WORKED))) == (None, COMPLETE, "")

    def test_there_is_none(self) -> None:
        assert phase(turn()) == (None, COMPLETE, "")

    @pytest.mark.parametrize("ended", [{"deleting": True}, {"phase": "Succeeded"}, {"phase": "Failed"}])
    def test_one_that_goes_does_not_count(self, ended: dict[str, Any]) -> None:
        assert phase(turn(pod("a", **ended))) == (None, COMPLETE, "")

    @pytest.mark.parametrize(
        "busy",
        [
            asking("a"),
            asking("a", observed_generation=1),
            asking("a", pending=deferred(NOW - 60)),
            asking("a", progress=ResizeCondition("Error", "no cgroup", since=NOW - 60)),
            pod("a", WORKED, ready=False, unready_since=NOW - 60),
            pod("a", ready=False, unready_since=NOW - 60),
            pod("a", phase="Pending", ready=False),
        ],
        ids=["in-progress", "proposed", "deferred", "error", "unready-after", "unready-before", "pending"],
    )
    def test_nobody_else_while_one_is_on_its_way(self, busy: Pod) -> None:
        assert phase(turn(busy, pod("b")))[:2] == (None, IN_PROGRESS)

    def test_a_pod_that_is_to_be_created_with_it_is_not_waited_for(self) -> None:
        assert phase(turn(asking("a", phase="Pending", ready=False), pod("b", WORKED))) == (None, COMPLETE, "")


class TestGivenUp:
    @pytest.mark.parametrize(
        ("found", "asked", "words"),
        [
            (asking("a", pending=ResizeCondition("Infeasible", "too big", since=NOW, generation=2)), NOW, "is Infeasible: too big"),
            (asking("a", pending=deferred(NOW - HOUR)), NOW, "is Deferred: no room"),
            (asking("a", progress=ResizeCondition("Error", "no cgroup", since=NOW)), NOW - 600, "is Error: no cgroup"),
            (asking("a"), NOW - 600, "is InProgress"),
            (asking("a", observed_generation=1), NOW - 600, "is Proposed"),
            (pod("a", annotations={"rightsizer.dev/mode": "Ignore"}), NOW, "has the annotation rightsizer.dev/mode: Ignore"),
            (pod("a", qos_class="BestEffort"), NOW, "is BestEffort"),
        ],
        ids=["infeasible", "deferred", "error", "not-taken", "not-seen", "opted-out", "best-effort"],
    )
    def test_first_told_then_counted(self, found: Pod, asked: float, words: str) -> None:
        now = turn(found, pod("b"), asked=asked)
        assert [(one.name, words in why) for one, why in now.left.items()] == [("a", True)]
        assert now.progress.phase is IN_PROGRESS
        later = turn(found, pod("b", WORKED), left={"a": "in vain"}, asked=asked)
        assert phase(later) == (None, COMPLETE, "1 of 2 pods are resized; in vain")
        assert later.left == {}

    @pytest.mark.parametrize(
        ("found", "asked"),
        [
            (asking("a", pending=deferred(NOW - HOUR + 1)), NOW),
            (asking("a", progress=ResizeCondition("Error", "no cgroup", since=NOW)), NOW - 599),
            (asking("a"), NOW - 599),
        ],
    )
    def test_not_before_its_time(self, found: Pod, asked: float) -> None:
        assert (turn(found, asked=asked).left, turn(found, asked=asked).progress.phase) == ({}, IN_PROGRESS)

    def test_of_all_pods_is_a_failure(self) -> None:
        assert phase(turn(pod("a"), left={"a": "in vain"})) == (None, FAILED, "no pod could be resized: in vain")

    def test_of_pods_that_are_gone_is_none(self) -> None:
        assert phase(turn(left={"a": "in vain"})) == (None, COMPLETE, "")

    def test_so_many_that_no_more_are_tried(self) -> None:
        left = {f"a-{number:02}": "in vain" for number in range(MOST_LEFT)}
        pods = [*(pod(name) for name in left), pod("b"), pod("c", qos_class="BestEffort")]
        assert phase(turn(*pods, left=left))[:2] == (None, FAILED)
        assert turn(*pods, left=left).left == {}
        assert phase(turn(*pods, pod("d", WORKED), left=left))[:2] == (None, COMPLETE)

    def test_one_that_is_not_ready_for_long_is_passed_over(self) -> None:
        unready = pod("a", ready=False, unready_since=NOW - 600)
        assert phase(turn(unready, pod("b")))[0] == "b"
        assert phase(turn(unready, pod("b", WORKED))) == (None, COMPLETE, "1 of 2 pods are resized; pod a is not ready")
        assert phase(turn(unready)) == (None, FAILED, "no pod could be resized: pod a is not ready")


class TestNotReady:
    def test_one_gets_more_all_the_same(self) -> None:
        more = replace(WIDE, memory_limit=3 * GI)
        unready = pod("a", ready=False, unready_since=NOW - 60)
        assert phase(turn(unready, wanted=more))[0] == "a"
        assert phase(turn(unready, wanted=replace(more, cpu_request=100)))[0] is None

    def test_one_that_asks_for_it_and_stays_unready_is_waited_for_only_so_long(self) -> None:
        assert phase(turn(pod("a", WORKED, ready=False, unready_since=NOW - 599)))[1] is IN_PROGRESS
        assert phase(turn(pod("a", WORKED, ready=False, unready_since=NOW - 600)))[1] is FAILED


def test_a_limit_is_not_lowered_to_the_recent_peak() -> None:
    found = turn(pod("a"), peak=500 * MI)
    (why,) = found.left.values()
    assert "is not lowered below 1.2 x its recent peak" in why
