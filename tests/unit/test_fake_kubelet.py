"""The faked cluster resizes as a real one does, and its kubelet comes to every end."""

from __future__ import annotations

import pytest

from rightsizer.errors import ClusterNotFound, ClusterStale, ResizeReason, ResizeRefused
from rightsizer.pod import Pod, ResizeState
from rightsizer.strategies.in_place import ResizePatch, render
from tests.fake_kubelet import Kubelet
from tests.unit.builders import WIDE, WORKED
from tests.unit.world import World

NAME = "web-5d9c7b-aaaaa"


def patch(pod: Pod) -> ResizePatch:
    found = render(pod, {"app": WORKED})
    assert found is not None
    return found


@pytest.fixture
def world() -> World:
    world = World()
    world.add_deployment()
    return world


@pytest.mark.parametrize(
    ("does", "state"),
    [
        (Kubelet.APPLIES, ResizeState.SETTLED),
        (Kubelet.DEFERS, ResizeState.DEFERRED),
        (Kubelet.FINDS_INFEASIBLE, ResizeState.INFEASIBLE),
        (Kubelet.FAILS, ResizeState.ERROR),
        (Kubelet.DOES_NOT_LOOK, ResizeState.PROPOSED),
        (Kubelet.DOES_NOTHING, ResizeState.IN_PROGRESS),
    ],
)
def test_every_end(world: World, does: Kubelet, state: ResizeState) -> None:
    world.cluster.kubelet_of[NAME] = does
    before = world.cluster.pod(NAME)
    assert before.resize_state is ResizeState.SETTLED
    assert world.cluster.resize(patch(before)).resize_state is ResizeState.PROPOSED
    after = world.cluster.pod(NAME)
    assert (after.resize_state, after.containers[0].sizes, after.generation) == (state, WORKED, before.generation + 1)
    assert after.containers[0].actual == (WORKED if does is Kubelet.APPLIES else WIDE)
    assert world.cluster.let_kubelet(NAME, Kubelet.APPLIES).resize_state is ResizeState.SETTLED


def test_a_refusal_changes_nothing(world: World) -> None:
    world.cluster.fail(ResizeRefused("no", reason=ResizeReason.QUOTA_EXCEEDED, detail="no"), call="resize", times=1)
    before = world.cluster.pod(NAME)
    with pytest.raises(ResizeRefused):
        world.cluster.resize(patch(before))
    assert (world.cluster.pod(NAME), world.cluster.resized) == (before, [])


def test_a_pod_that_changed_or_went(world: World) -> None:
    asked = patch(world.cluster.pod(NAME))
    world.cluster.edit_pod(NAME, ready=False)
    with pytest.raises(ClusterStale):
        world.cluster.resize(asked)
    world.cluster.stored_pods.clear()
    with pytest.raises(ClusterNotFound):
        world.cluster.resize(asked)


def test_pods_of_workloads(world: World) -> None:
    world.add_deployment("other", namespace="else")
    assert {pod.namespace for pod in world.cluster.pods_of([world.workload()]).items} == {"shop"}
