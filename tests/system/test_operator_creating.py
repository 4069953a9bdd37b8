"""The strategy OnCreate as a whole: the operator under its own account, the policies in the API server, and the pods that come of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.operator_process import OperatorProcess, install_on_create, running
from tests.scenario import GENEROUS, WORKED_EXAMPLE, Manifest, Stage, annotate, container, profile, requested, staged, steady
from tests.unit.test_manifests import ON_CREATE_GRANTS

pytestmark = pytest.mark.system

SMALL = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": WORKED_EXAMPLE["limits"]}
SAME = {"cpu": "1", "memory": "1Gi"}
SHIPPER = container("shipper", cpu=0.02, memory=40, requests={"cpu": "100m", "memory": "128Mi"}, limits={}, sidecar=True)


KILLED = 6


def small() -> Any:
    return container(requests=SMALL["requests"], limits=SMALL["limits"])


WORKLOADS = (
    steady("shop", "web-app", replicas=2),
    steady("shop", "payments", container(requests=SAME, limits=SAME)),
    steady("shop", "database", kind="StatefulSet"),
    steady("shop", "agent", container(), SHIPPER, kind="DaemonSet"),
    steady("shop", "leaving"),
    steady("shop", "deleted"),
    steady("shop", "template"),
    steady("limited", "web"),
    steady("tight", "small", small()),
    steady("roomy", "small", small()),
    *(steady("kills", f"web-{number}") for number in range(KILLED)),
)
PROFILES = tuple(profile(name, apply={"strategy": "OnCreate"}) for name in ("shop", "limited", "tight", "roomy"))
CHANGED = (
    "shop/Deployment/web-app",
    "shop/Deployment/payments",
    "shop/StatefulSet/database",
    "shop/DaemonSet/agent",
    "shop/Deployment/leaving",
    "shop/Deployment/deleted",
    "limited/Deployment/web",
    "roomy/Deployment/small",
)


def quota(namespace: str, **hard: str) -> Manifest:
    metadata = {"name": "quota", "namespace": namespace}
    names = {name.replace("_", "."): value for name, value in hard.items()}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": names}}


CONFINES = (
    {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "limits", "namespace": "limited"},
        "spec": {"limits": [{"type": "Container", "min": {"cpu": "300m"}, "max": {"cpu": "2", "memory": "4Gi"}}]},
    },
    quota("tight", requests_cpu="250m", requests_memory="512Mi"),
    quota("roomy", requests_cpu="2", requests_memory="4Gi"),
)


@pytest.fixture(scope="module")
def stage(binaries: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A cluster of its own, at first without the policies."""
    assert binaries is not None
    with staged(tmp_path_factory.mktemp("creating"), WORKLOADS, *CONFINES) as ready:
        yield ready


@pytest.fixture(scope="module")
def before(stage: Stage) -> dict[str, Any]:
    """What was told while the policies were missing."""
    return {}


@pytest.fixture(scope="module")
def operator(stage: Stage, before: dict[str, Any]) -> Iterator[OperatorProcess]:
    """Running, with the policies installed while it ran, and done with all that there is to change."""
    with stage.ruled_by(*PROFILES), running(stage.operator()) as operator:
        stage.wait_state("shop/Deployment/web-app", "Blocked", "AdmissionPolicyMissing")
        operator.wait_for_cycles(2)
        before["message"] = stage.summary("shop/Deployment/web-app")["message"]
        before["sizes"] = stage.bed.get("podsizes", "rightsizer", namespace="shop")
        install_on_create(stage.bed)
        stage.wait_changed(*CHANGED)
        operator.wait_for_cycles(2)
        yield operator


def sizes(stage: Stage, namespace: str) -> dict[str, Any]:
    found = stage.bed.get("podsizes", "rightsizer", namespace=namespace) or {"spec": {"workloads": {}}}
    return {name: entry["containers"] for name, entry in found["spec"]["workloads"].items()}


def replaced(stage: Stage, namespace: str, name: str) -> Manifest:
    """A pod of the workload that was created after all others of it were deleted. Waits: the policies hear of new sizes a moment later."""
    selector = f"app={name}"
    stage.bed.kubectl("delete", "pods", "--namespace", namespace, "--selector", selector, "--grace-period=0", "--force", "--wait=true")
    stage.bed.wait_for(lambda: stage.bed.kubectl.items("pods", namespace=namespace, selector=selector), what=f"new pods of {name}")
    return stage.bed.kubectl.items("pods", namespace=namespace, selector=selector)[0]


def resources(pod: Manifest, name: str = "app") -> Manifest:
    both = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    return next(dict(one["resources"]) for one in both if one["name"] == name)


def mark(pod: Manifest, name: str) -> str:
    return str(pod["metadata"].get("annotations", {}).get(f"rightsizer.dev/{name}", ""))


class TestWithoutThePolicies:
    def test_nothing_is_written_and_the_status_says_what_to_do(self, operator: OperatorProcess, before: dict[str, Any]) -> None:
        assert operator.returncode is None
        assert before["sizes"] is None
        assert "kubectl apply -k manifests/on-create/" in before["message"]


@pytest.mark.usefixtures("operator")
class TestNewPods:
    @pytest.mark.parametrize(
        ("reference", "wanted"),
        [
            ("shop/Deployment/web-app", WORKED_EXAMPLE),
            ("shop/StatefulSet/database", WORKED_EXAMPLE),
            ("shop/DaemonSet/agent", WORKED_EXAMPLE),
            ("shop/Deployment/payments", {"requests": WORKED_EXAMPLE["requests"], "limits": WORKED_EXAMPLE["requests"]}),
            ("roomy/Deployment/small", WORKED_EXAMPLE),
        ],
    )
    def test_get_what_is_recommended_and_say_by_which(self, stage: Stage, reference: str, wanted: Manifest) -> None:
        namespace, kind, name = reference.split("/")
        pod = replaced(stage, namespace, name)
        assert resources(pod) == wanted
        assert mark(pod, "sized-by") == f"{kind.lower()}-{name}@{stage.last_change(reference)['time']}"

    def test_a_native_sidecar_is_sized(self, stage: Stage) -> None:
        pod = replaced(stage, "shop", "agent")
        assert resources(pod, "shipper")["requests"] == {"cpu": "24m", "memory": "48Mi"}

    def test_guaranteed_stays_guaranteed(self, stage: Stage) -> None:
        assert replaced(stage, "shop", "payments")["status"]["qosClass"] == "Guaranteed"

    def test_templates_are_not_touched_and_nothing_was_rolled_out(self, stage: Stage) -> None:
        for reference in CHANGED:
            if not reference.endswith(("leaving", "deleted")):
                assert stage.generation(reference) == 1
        assert stage.resources("shop/Deployment/web-app") == GENEROUS

    def test_the_recommendation_tells_what_is_in_force(self, stage: Stage) -> None:
        status, change = stage.recommendation("shop/Deployment/web-app"), stage.last_change("shop/Deployment/web-app")
        assert (status["summary"]["state"], status["summary"]["reason"]) == ("Applied", "UpToDate")
        assert status["containers"][0]["current"] == WORKED_EXAMPLE
        assert (change["strategy"], change["outcome"]) == ("OnCreate", "Succeeded")
        assert "created from now on" in change["message"]


@pytest.mark.usefixtures("operator")
class TestWhatTheNamespaceAllows:
    def test_a_limit_range_moves_the_size(self, stage: Stage) -> None:
        assert sizes(stage, "limited")["Deployment/web"]["app"]["requests"]["cpu"] == "300m"
        assert resources(replaced(stage, "limited", "web"))["requests"] == {"cpu": "300m", "memory": "384Mi"}

    def test_a_quota_without_room_holds_the_raise_back_and_the_pod_comes_back(self, stage: Stage) -> None:
        stage.wait_state("tight/Deployment/small", "Blocked", "QuotaExceeded")
        pod = replaced(stage, "tight", "small")
        assert resources(pod)["requests"] == SMALL["requests"]
        assert "requests" not in sizes(stage, "tight").get("Deployment/small", {}).get("app", {})


class TestLeaving:
    def test_an_opted_out_workload_loses_its_entry(self, stage: Stage, operator: OperatorProcess) -> None:
        annotate(stage.bed, "shop/Deployment/leaving", "rightsizer.dev/mode=Recommend")
        stage.bed.wait_for(lambda: "Deployment/leaving" not in sizes(stage, "shop"), what="the entry gone")
        operator.wait_for_cycles(1)
        assert "Deployment/web-app" in sizes(stage, "shop")

    def test_a_deleted_workload_loses_its_entry(self, stage: Stage, operator: OperatorProcess) -> None:
        assert operator.returncode is None
        stage.bed.kubectl("delete", "deployment", "deleted", "--namespace=shop")
        stage.bed.wait_for(lambda: "Deployment/deleted" not in sizes(stage, "shop"), what="the entry gone")

    def test_the_annotation_on_the_pod_template_counts(self, stage: Stage, operator: OperatorProcess) -> None:
        assert operator.returncode is None
        stage.wait_changed("shop/Deployment/template")
        patch = '{"spec":{"template":{"metadata":{"annotations":{"rightsizer.dev/mode":"Ignore"}}}}}'
        stage.bed.kubectl("patch", "deployment", "template", "--namespace=shop", "--patch", patch)
        stage.bed.kubectl("rollout", "status", "deployment", "template", "--namespace=shop", "--timeout=60s")
        stage.bed.wait_for(lambda: "Deployment/template" not in sizes(stage, "shop"), what="the entry gone")
        assert resources(replaced(stage, "shop", "template")) == GENEROUS


class TestKilled:
    @pytest.mark.parametrize("writes", [1, 4, KILLED + 2])
    def test_in_mid_change_the_next_one_ends_it(self, stage: Stage, operator: OperatorProcess, writes: int) -> None:
        """kill -9 after so many writes: among the intents, and after the sizes."""
        names = {f"Deployment/web-{number}" for number in range(KILLED)}
        before = len(written_in(stage, operator, "kills"))
        stage.bed.wait_for(lambda: sizes(stage, "kills") == {}, what="nothing left of an earlier kill")
        with stage.ruled_by(profile("kills", apply={"strategy": "OnCreate"})):
            while len(written_in(stage, operator, "kills")) < before + writes:
                time.sleep(0.01)
            operator.kill()
            operator.start()
            stage.wait_changed(*(f"kills/{name}" for name in names))
            operator.wait_for_cycles(2)
            assert sizes(stage, "kills") == {name: {"app": WORKED_EXAMPLE} for name in names}
            marks = {stage.last_change(f"kills/{name}")["time"] for name in names}
            found = stage.bed.get("podsizes", "rightsizer", namespace="kills") or {}
            assert {entry["sizedBy"].partition("@")[2] for entry in found["spec"]["workloads"].values()} == marks


def written_in(stage: Stage, operator: OperatorProcess, namespace: str) -> list[Manifest]:
    """The writes to recommendations and sizes of a namespace, so far."""
    ours = [event for event in stage.writes(operator.user) if event["objectRef"].get("apiGroup") == "rightsizer.dev"]
    return [
        event for event in ours if event["objectRef"].get("namespace") == namespace and "profiles" not in event["objectRef"]["resource"]
    ]


class TestWhenThereIsNoNews:
    def test_nothing_is_written(self, stage: Stage, operator: OperatorProcess) -> None:
        operator.wait_for_cycles(3)
        before = len(stage.writes(operator.user))
        operator.wait_for_cycles(5)
        assert [event for event in stage.writes(operator.user)[before:] if event["objectRef"]["resource"] == "podsizes"] == []

    def test_every_right_was_used(self, stage: Stage, operator: OperatorProcess) -> None:
        used = {requested(event) for event in stage.bed.audit_events(operator.user) if "objectRef" in event}
        # Server-Side Apply of an object that is new needs the right to create, and is a patch in the audit log.
        assert ON_CREATE_GRANTS - {("rightsizer.dev", "podsizes", "create")} <= used

    def test_few_writes_for_many_changes(self, stage: Stage, operator: OperatorProcess) -> None:
        """Once for all workloads of a namespace, and once for each that left."""
        written = [event for event in stage.writes(operator.user) if event["objectRef"]["resource"] == "podsizes"]
        assert len([event for event in written if event["objectRef"]["namespace"] == "shop"]) <= 6
