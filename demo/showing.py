"""Waits until the operator is done and shows what it did, with the commands that a person would use for it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from demo import cost, results
from demo.cast import EXAMPLE, SHOWS
from demo.cluster import OPERATOR, OPERATOR_USER
from demo.clusterless import run_rightsizer
from demo.cost import Cost, Meter, Reading
from demo.results import Key, Manifest, Scene
from demo.screen import DemoFailed, Screen
from tests.testbed import Testbed

RESULT_SECONDS = 240.0
SECONDS_BETWEEN_LOOKS = 1.0
_WIDEST = max(map(len, SHOWS.values()))
_KINDS = "deployments,statefulsets,daemonsets"
_ROLLOUT_COLUMNS = (
    "NAME:.metadata.name",
    "GENERATION:.metadata.generation",
    "PODS:.spec.replicas",
    "UPDATED:.status.updatedReplicas",
    "READY:.status.readyReplicas",
    "CPU:.spec.template.spec.containers[0].resources.requests.cpu",
    "MEMORY:.spec.template.spec.containers[0].resources.requests.memory",
    "CPU-LIMIT:.spec.template.spec.containers[0].resources.limits.cpu",
    "MEMORY-LIMIT:.spec.template.spec.containers[0].resources.limits.memory",
)
_EVENT_COLUMNS = ("WORKLOAD:.involvedObject.name", "REASON:.reason", "MESSAGE:.message")


class Stage:
    """Looks at the cluster of the demo."""

    def __init__(self, bed: Testbed) -> None:
        self.bed = bed

    def workloads(self) -> list[Manifest]:
        """Those of the two namespaces of the demo."""
        namespaces = (results.APPLYING, results.RECOMMENDING)
        return [item for namespace in namespaces for item in self.bed.kubectl.items(_KINDS, namespace=namespace)]

    def scene(self) -> Scene:
        """What the cluster holds now."""
        namespace, name = EXAMPLE
        pods = self.bed.kubectl.items("pods", namespace=namespace, selector=f"app={name}")
        return Scene(
            recommendations=results.by_workload(self.bed.kubectl.items("resourcerecommendations", namespace="")),
            workloads=results.by_key(self.workloads()),
            example_pods=[pod for pod in pods if "deletionTimestamp" not in pod["metadata"]],
            refused=self._refused(),
        )

    def _refused(self) -> list[str]:
        events = self.bed.audit_events(OPERATOR_USER)
        refused = (event for event in events if event.get("responseStatus", {}).get("code") in (401, 403))
        return sorted({f"{event['verb']} {event['requestURI'].partition('?')[0]}" for event in refused})


def wait_for_results(stage: Stage, meter: Meter, screen: Screen) -> tuple[Scene, Reading]:
    """The scene when every workload has its recommendation and no rollout is on its way, and the cost as soon as all was read."""
    screen.heading("The operator reads two weeks of usage, recommends and resizes")
    deadline = time.monotonic() + RESULT_SECONDS
    backfill: Reading | None = None
    with screen.step("waiting for the recommendations and for the rollouts to end"):
        while True:
            stage.bed.processes.check_alive(OPERATOR)
            backfill = backfill or _whole_window(meter)
            scene = stage.scene()
            left = results.unfinished(scene)
            if backfill is None:
                left.append("the whole window")
            elif not left:
                return scene, backfill
            if time.monotonic() > deadline:
                raise DemoFailed(f"not finished after {RESULT_SECONDS:g} s: {', '.join(left)}")
            time.sleep(SECONDS_BETWEEN_LOOKS)


def _whole_window(meter: Meter) -> Reading | None:
    reading = meter.read()
    return reading if reading is not None and reading.whole else None


def show_results(stage: Stage, scene: Scene, before: Mapping[Key, Manifest], screen: Screen) -> None:
    """The tables. `before`: the workloads as they were when the operator started."""
    namespace, name = EXAMPLE
    screen.say(
        "Each workload has a ResourceRecommendation (rr). In shop they are applied already, where no check objects: EVIDENCE then",
        "compares with the new sizes.",
    )
    kubectl(stage.bed, screen, "get", "rr", "-A")
    screen.heading(f"How the numbers of {name} came about")
    _rightsizer(stage.bed, screen, "explain", f"deploy/{name}", "-n", namespace)
    screen.heading("How good the numbers are: the rule, today's sizes and other rules, replayed over the same past")
    screen.say(
        "Each decision sees only what was there by then, and is judged by what came next. Nothing was changed in batch, so current is",
        "what people guessed. Slack was requested and not used; unmet was used above the request.",
    )
    _rightsizer(stage.bed, screen, "backtest", "-n", results.RECOMMENDING, "--rule", "current", "--rule", "vpa", "--rule", "p95+20")
    screen.heading("The rollouts that it made")
    kubectl(stage.bed, screen, "get", "deployments", "-n", namespace, "-o", _columns(_ROLLOUT_COLUMNS))
    resized = ("get", "events", "-n", namespace, "--field-selector", "reason=Resizing")
    kubectl(stage.bed, screen, *resized, "-o", _columns(_EVENT_COLUMNS))
    screen.heading("What each workload shows")
    for workload, shows, became in results.lines(scene):
        screen.say(f"{workload:<11} {shows:<{_WIDEST}}  {became}")
    screen.line()
    screen.say(
        f"All pods of the namespace {namespace} requested {results.totals(before, namespace)}",
        f"and request now {results.totals(scene.workloads, namespace)}. {screen.seconds:.0f} s since the start.",
    )


def show_cost(meter: Meter, backfill: Reading, scene: Scene, screen: Screen) -> Cost:
    """What measuring cost and covered. `backfill`: as it was told when all of the window had been read."""
    screen.heading("What measuring cost, and what it covers")
    with screen.step("waiting for a cycle in which there is nothing to ask"):
        found = Cost(backfill, meter.cycles_until_quiet())
    screen.line()
    screen.say(
        *cost.table(found).splitlines(),
        "",
        "Usage is asked for when a 5-minute slot has ended, for all containers at once, and kept. Written is only what changed:",
        "recommendations, events, resizes. The CPU of Prometheus includes what it does anyway, scraping.",
        "",
        "Share of the window of 14 days with values, by workload:",
        *cost.coverage_lines(scene.recommendations),
    )
    return found


def _columns(columns: Sequence[str]) -> str:
    return f"custom-columns={','.join(columns)}"


def _rightsizer(bed: Testbed, screen: Screen, *arguments: str) -> None:
    asked = (*arguments, "--prometheus-url", bed.prometheus_url)
    screen.shown(f"rightsizer {' '.join(asked)}", run_rightsizer(asked, kubeconfig=bed.kubeconfig))


def kubectl(bed: Testbed, screen: Screen, *arguments: str) -> None:
    """A command of kubectl with its output; long lists of columns are not shown."""
    shown = " ".join(argument if not argument.startswith("custom-columns=") else "custom-columns=..." for argument in arguments)
    screen.shown(f"kubectl {shown}", bed.kubectl(*arguments))
