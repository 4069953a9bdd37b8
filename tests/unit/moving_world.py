"""A world that goes on by itself between cycles: controllers replace pods, kubelets run them, and what must go wrong goes wrong once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rightsizer.pod import Pod, PodContainer
from rightsizer.status.times import unix_seconds
from rightsizer.workload import RolloutPhase, Sizes, WorkloadRef
from tests.unit.builders import WIDE
from tests.unit.world import World

WEB = WorkloadRef("shop", "Deployment", "web")
PODS = ("web-5d9c7b-aaaaa", "web-5d9c7b-bbbbb")


class MovingWorld(World):
    """Deployment/web of the worked example with two pods. `trouble`: what happens once, when a pod has other sizes than WIDE. `churn`: pods
    come and go, so that they always have the sizes of new ones."""

    def __init__(self, trouble: Callable[[MovingWorld], object] | None = None, *, churn: bool = False, **apply: Any) -> None:
        super().__init__()
        self.trouble = trouble
        self.churn = churn
        self.add_deployment(days=2)
        self.apply_profile(window="1d", minimumHistory={"raise": "1h", "lower": "1h"}, apply={"verify": {"period": "2m"}, **apply})

    def minutes(self, count: int) -> None:
        """A cycle in each; then the cluster goes on."""
        for _ in range(count):
            self.run_cycles(1)
            self.go_on()

    def go_on(self) -> None:
        if self.workload().rollout is RolloutPhase.IN_PROGRESS:
            self.replace_pods()
            self.cluster.end_rollout(WEB)
        if self.churn and self.pod_sizes() != self.sizes_of_new_pods():
            self.replace_pods()
        if self.trouble is not None and any(self.pod_sizes(name) != WIDE for name in PODS):
            trouble, self.trouble = self.trouble, None
            trouble(self)

    def replace_pods(self) -> None:
        """Every pod is deleted and comes back, sized by the template and by what stands for new pods."""
        for name in PODS:
            self.run_pod(name, self.sizes_of_new_pods())

    def sizes_of_new_pods(self) -> Sizes:
        stored = self.cluster.stored_pod_sizes.get("shop")
        entry = None if stored is None else stored.entries.get(str(WEB))
        return self.sizes() if entry is None else entry.sizes["app"]

    def run_pod(self, name: str, sizes: Sizes) -> Pod:
        app = PodContainer("app", sizes.memory_limit, sizes=sizes, actual=sizes, allocated=sizes, started_at=self.clock.time, ready=True)
        uid = f"{name}-{self.clock.time:.0f}"
        return self.cluster.edit_pod(name, uid=uid, created_at=self.clock.time, containers=(app,), ready=True, unready_since=None)

    def pod_sizes(self, name: str = PODS[0]) -> Sizes:
        return self.cluster.pod(name).containers[0].sizes

    def suffer(self, name: str = PODS[0], **fields: Any) -> None:
        """Something happens to the container of a pod: fields of `PodContainer`."""
        pod = self.cluster.pod(name)
        self.cluster.edit_pod(name, containers=tuple(replace(one, **fields) for one in pod.containers))

    def changes(self) -> list[tuple[str, str, bool]]:
        """Strategy, outcome, and whether it took another back; newest first."""
        status = self.recommended()
        found = [*([status["lastChange"]] if "lastChange" in status else []), *status.get("history", [])]
        return [(one["strategy"], one["outcome"], "reverts" in one) for one in found]


@dataclass(frozen=True, slots=True)
class End:
    """All that counts when it is quiet again."""

    template: Sizes
    new_pods: Sizes
    pods: tuple[Sizes, ...]
    told: tuple[str, str]
    changes: tuple[tuple[str, str, bool], ...]
    failures: int
    applied: int
    resized: tuple[tuple[str, str], ...]


def end_of(world: MovingWorld) -> End:
    return End(
        template=world.sizes(),
        new_pods=world.sizes_of_new_pods(),
        pods=tuple(world.pod_sizes(name) for name in PODS),
        told=world.told(),
        changes=tuple(world.changes()),
        failures=world.last_change().get("failures", 0),
        applied=len(world.cluster.applied),
        resized=tuple((patch.pod, str(patch.body["spec"])) for patch in world.cluster.resized),
    )


def killed(world: MovingWorld) -> None:
    world.suffer(oom_killed_at=world.clock.time, ended_at=world.clock.time, restarts=1)


def never_ready(world: MovingWorld) -> None:
    world.cluster.fail_rollout(WEB, "ProgressDeadlineExceeded")


def asked_back(world: MovingWorld) -> None:
    """A person wants the newest change taken back."""
    stored = world.cluster.stored_recommendations[WEB]
    stored.recorded = replace(stored.recorded, revert_asked=unix_seconds(world.last_change()["time"]))
