"""Is there a node that is large enough? What nodes have for a pod, and the check that asks.

What is left beside the DaemonSets counts, not what other pods leave free: those can be moved, and the scheduler sees to it. Of what ties
a pod to nodes, the node selector counts; affinity, taints and tolerations do not: a node may be taken for one that the pod cannot use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rightsizer.checks.confines import Room
from rightsizer.checks.differences import sizes_after
from rightsizer.checks.facts import CheckFacts, Direction, Objection, Reason
from rightsizer.checks.pod_sum import pod_sum
from rightsizer.quantities import format_cpu, format_memory
from rightsizer.workload import RESOURCES, ResourceName, Workload

_NOTHING = Room(0, 0)


@dataclass(frozen=True, slots=True)
class Node:
    """A node with what it has for pods, all of them together. One that is not ready, or is cordoned, takes none."""

    name: str
    labels: Mapping[str, str]
    allocatable: Room
    usable: bool = True


class NodeRooms:
    """The room that nodes have for one pod beside the DaemonSets that run there."""

    def __init__(self, nodes: Iterable[Node] = (), daemon_sets: Iterable[Workload] = ()) -> None:
        """`daemon_sets`: of the whole cluster. Each counts on every node that its node selector fits."""
        daemon_sets = tuple(daemon_sets)
        self._asked = {one.ref: Room(_asked(one, "cpu"), _asked(one, "memory")) for one in daemon_sets}
        sets = [(one.node_selector, self._asked[one.ref]) for one in daemon_sets]
        self._nodes = [(node.labels, _beside(node, sets)) for node in nodes if node.usable]
        self._largest: dict[frozenset[tuple[str, str]], tuple[Room, ...]] = {}

    def of(self, workload: Workload) -> tuple[Room, ...]:
        """The largest for the pods of a workload, without those that another one is as large as in both; empty where no node fits."""
        own = self._asked.get(workload.ref, _NOTHING)
        key = frozenset(workload.node_selector.items())
        if key not in self._largest:
            self._largest[key] = largest(room for labels, room in self._nodes if _selects(workload.node_selector, labels))
        return tuple(Room(room.cpu + own.cpu, room.memory + own.memory) for room in self._largest[key])


def largest(rooms: Iterable[Room]) -> tuple[Room, ...]:
    """Those that no other one is at least as large as in both resources."""
    found: list[Room] = []
    for room in sorted(rooms, key=lambda room: (room.cpu, room.memory), reverse=True):
        if not found or room.memory > found[-1].memory:
            found.append(room)
    return tuple(found)


def node_too_small(facts: CheckFacts) -> Objection | None:
    """A pod would ask for more than before, and for more than any node has."""
    rooms, containers = facts.confines.rooms, facts.workload.containers
    after = sizes_after(facts.workload, facts.changes)
    asked = Room(pod_sum(containers, "cpu", "request", after), pod_sum(containers, "memory", "request", after))
    if not rooms or any(asked.cpu <= room.cpu and asked.memory <= room.memory for room in rooms):
        return None
    grown = [name for name in RESOURCES if asked.get(name) > pod_sum(containers, name, "request")]
    # Where each alone has its node, but no node has both, either of them is too much.
    too_much = [name for name in grown if all(asked.get(name) > room.get(name) for room in rooms)] or grown
    held = frozenset(
        one.path
        for one in facts.changes
        if one.path.resource in too_much and one.path.field == "request" and one.direction is Direction.RAISE
    )
    return Objection(Reason.NODE_TOO_SMALL, _message(asked, rooms), held) if held else None


def _message(asked: Room, rooms: Sequence[Room]) -> str:
    has = " or ".join(_written(room) for room in rooms)
    return f"a pod would request {_written(asked)}; the largest node has {has} beside its DaemonSets"


def _written(room: Room) -> str:
    return f"{format_cpu(room.cpu)} CPU and {format_memory(room.memory)}"


def _asked(workload: Workload, resource: ResourceName) -> int:
    return pod_sum(workload.containers, resource, "request")


def _beside(node: Node, daemon_sets: Iterable[tuple[Mapping[str, str], Room]]) -> Room:
    there = [room for selector, room in daemon_sets if _selects(selector, node.labels)]
    cpu, memory = (node.allocatable.get(name) - sum(room.get(name) for room in there) for name in RESOURCES)
    return Room(cpu, memory)


def _selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())
