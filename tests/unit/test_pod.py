"""Where a resize stands, told from what the pod asks for and what its kubelet says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rightsizer.pod import Pod, PodContainer, ResizeCondition, ResizeState
from rightsizer.workload import OwnerRef, Role, Sizes
from tests.unit.builders import GI, MI, WIDE, WORKED

SETTLED = PodContainer("app", 2 * GI, sizes=WIDE, actual=WIDE, allocated=WIDE, started_at=100.0, ready=True)
ASKED = replace(SETTLED, sizes=WORKED)


def pod(*containers: PodContainer, generation: int = 2, observed: int = 2, **fields: Any) -> Pod:
    owner = OwnerRef("ReplicaSet", "web-5d9c7b")
    return Pod("shop", "web-5d9c7b-aaaaa", owner, "Running", 0.0, containers, generation=generation, observed_generation=observed, **fields)


def told(reason: str, generation: int | None = 2) -> ResizeCondition:
    return ResizeCondition(reason, f"says {reason}", since=50.0, generation=generation)


@pytest.mark.parametrize(
    ("found", "state"),
    [
        pytest.param(pod(SETTLED), ResizeState.SETTLED, id="all is set"),
        pytest.param(pod(SETTLED, observed=1), ResizeState.SETTLED, id="something else of the pod changed"),
        pytest.param(pod(ASKED, observed=1), ResizeState.PROPOSED, id="not seen yet"),
        pytest.param(pod(ASKED), ResizeState.IN_PROGRESS, id="seen and nothing said"),
        pytest.param(pod(ASKED, progress=told("")), ResizeState.IN_PROGRESS, id="begun"),
        pytest.param(pod(ASKED, progress=told("Error")), ResizeState.ERROR, id="failed"),
        pytest.param(pod(ASKED, pending=told("Deferred")), ResizeState.DEFERRED, id="deferred"),
        pytest.param(pod(ASKED, pending=told("Infeasible")), ResizeState.INFEASIBLE, id="infeasible"),
        pytest.param(pod(ASKED, pending=told("Infeasible", None)), ResizeState.INFEASIBLE, id="of no generation"),
        pytest.param(pod(ASKED, pending=told("Infeasible", 1)), ResizeState.IN_PROGRESS, id="said of an earlier resize"),
        pytest.param(pod(ASKED, observed=1, pending=told("Infeasible", 1)), ResizeState.PROPOSED, id="a later resize is not seen yet"),
        pytest.param(
            pod(ASKED, pending=told("Deferred"), progress=told("Error")), ResizeState.DEFERRED, id="deferred after another failed"
        ),
        pytest.param(pod(SETTLED, pending=told("Deferred", 1)), ResizeState.SETTLED, id="taken back"),
        pytest.param(pod(replace(SETTLED, actual=None)), ResizeState.UNSUPPORTED, id="old kubelet"),
        pytest.param(pod(replace(SETTLED, actual=None, started_at=None)), ResizeState.IN_PROGRESS, id="nothing runs"),
        pytest.param(pod(replace(SETTLED, name="proxy", role=Role.SIDECAR, actual=None), SETTLED), ResizeState.IN_PROGRESS, id="sidecar"),
        pytest.param(pod(SETTLED, replace(ASKED, name="other")), ResizeState.IN_PROGRESS, id="one of two"),
    ],
)
def test_state(found: Pod, state: ResizeState) -> None:
    assert found.resize_state is state


@pytest.mark.parametrize(
    ("container", "settled"),
    [
        pytest.param(SETTLED, True, id="all"),
        pytest.param(replace(SETTLED, actual=WIDE.with_value("memory", "limit", GI)), False, id="another limit"),
        pytest.param(replace(SETTLED, allocated=WIDE.with_value("cpu", "request", 200)), False, id="another allocation"),
        pytest.param(replace(SETTLED, allocated=Sizes(cpu_request=500, memory_request=GI)), True, id="only requests are allocated"),
        pytest.param(replace(SETTLED, allocated=None), True, id="allocation is not told"),
        pytest.param(replace(SETTLED, sizes=Sizes(memory_request=GI)), True, id="values that nobody asked for"),
        pytest.param(replace(SETTLED, sizes=Sizes(), actual=Sizes(), allocated=Sizes()), True, id="nothing is asked for"),
    ],
)
def test_container_is_settled(container: PodContainer, settled: bool) -> None:
    assert container.settled is settled


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (pod(ASKED, pending=told("Deferred")), "says Deferred"),
        (pod(ASKED, progress=told("Error")), "says Error"),
        (pod(ASKED, progress=told("")), ""),
        (pod(SETTLED, pending=told("Deferred", 1)), ""),
    ],
)
def test_message_of_the_kubelet(found: Pod, message: str) -> None:
    assert found.resize_message == message


def test_container_by_name() -> None:
    assert pod(SETTLED).container("app") == SETTLED
    assert pod(SETTLED).container("other") is None
    assert SETTLED.memory_limit == 2048 * MI
