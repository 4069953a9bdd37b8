"""The generated cluster as values: what its workloads are and where the blocks with its usage history lie.

It reads what the program `usageblocks` wrote; how that is built and called is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLUSTER_FILE = "cluster.json"


@dataclass(frozen=True, slots=True)
class GeneratedContainer:
    """A container as its workload declares it."""

    name: str
    cpu_request_millicores: int
    memory_request_bytes: int


@dataclass(frozen=True, slots=True)
class GeneratedWorkload:
    """A Deployment or StatefulSet, as it stands at the end of the history."""

    namespace: str
    kind: str
    name: str
    replicas: int
    containers: tuple[GeneratedContainer, ...]


@dataclass(frozen=True, slots=True)
class GeneratedCluster:
    """A cluster and its history. `containers`: how many run at any time, all replicas counted; `end`: of the history, in unix seconds."""

    folder: Path
    containers: int
    days: int
    end: int
    samples: int
    workloads: tuple[GeneratedWorkload, ...]

    @property
    def namespaces(self) -> list[str]:
        return sorted({workload.namespace for workload in self.workloads})

    @property
    def sized_containers(self) -> list[tuple[GeneratedWorkload, str]]:
        """The containers of the workloads, replicas not counted: what is sized, and what other tools ask for one by one."""
        return [(workload, container.name) for workload in self.workloads for container in workload.containers]


def read_cluster(folder: Path) -> GeneratedCluster:
    written = json.loads((folder / CLUSTER_FILE).read_bytes())
    return GeneratedCluster(
        folder=folder,
        containers=written["containers"],
        days=written["days"],
        end=written["end"],
        samples=written["samples"],
        workloads=tuple(_workload(one) for one in written["workloads"]),
    )


def evenly(items: Sequence[Any], count: int) -> list[Any]:
    """So many of the items, at equal distances; all where there are fewer."""
    if count >= len(items):
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def _workload(written: dict[str, Any]) -> GeneratedWorkload:
    containers = tuple(
        GeneratedContainer(one["name"], one["cpuRequestMillicores"], one["memoryRequestBytes"]) for one in written["containers"]
    )
    return GeneratedWorkload(written["namespace"], written["kind"], written["name"], written["replicas"], containers)
