"""What becomes of a change: by each strategy, done harm, undone by others, taken back; on a real API server, with kwok for a kubelet."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operator_process import OperatorProcess, install_in_place, install_on_create, running
from tests.scenario import GENEROUS, WORKED_EXAMPLE, Manifest, Stage, profile, resources_of, staged, steady
from tests.testbed.bed import OOM_ANNOTATION
from tests.usage.manifest import workload_manifest

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

RESIZE = "testbed.rightsizer.dev/resize"
CRASH_LOOP = "testbed.rightsizer.dev/crash-loop"
ROLLED = ("well", "killed", "crashing", "never-ready", "put-back", "taken-over", "asked")
RESIZED = ("resized", "deferred", "infeasible", "falls-back")
PLACE = "changes"


def rule(names: tuple[str, ...], name: str, **apply: object) -> Manifest:
    selector = {"matchExpressions": [{"key": "app", "operator": "In", "values": list(names)}]}
    return profile(PLACE, name=name, workloads={"selector": selector}, apply={"verify": {"period": "1m"}, **apply})


PROFILES = (
    rule(ROLLED, "rolled"),
    rule(RESIZED[:3], "resized", strategy="InPlace"),
    rule(RESIZED[3:], "falls-back", strategy="InPlace", fallback="Rollout"),
)


NEW_PODS_HANG = (
    {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": "new-pods-hang"},
        "spec": {
            "matchConstraints": {
                "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
            },
            "matchConditions": [{"name": "app", "expression": "object.metadata.?labels['app'].orValue('') == 'never-ready'"}],
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [
                {
                    "patchType": "ApplyConfiguration",
                    "applyConfiguration": {
                        "expression": 'Object{metadata: Object.metadata{annotations: {"testbed.rightsizer.dev/not-ready": "true"}}}'
                    },
                }
            ],
        },
    },
    {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": "new-pods-hang"},
        "spec": {"policyName": "new-pods-hang"},
    },
)


@pytest.fixture(scope="module")
def stage(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A cluster of its own, where pods can be resized; nothing is ruled yet."""
    assert binaries.is_dir()
    usages = [steady(PLACE, name) for name in (*ROLLED, *RESIZED)]
    with staged(tmp_path_factory.mktemp("changes"), usages) as ready:
        install_on_create(ready.bed)
        install_in_place(ready.bed)
        for name, word in (("deferred", "Deferred"), ("infeasible", "Infeasible"), ("falls-back", "Infeasible")):
            ready.bed.kubectl("annotate", "pod", pod_of(ready, name)["metadata"]["name"], "-n", PLACE, f"{RESIZE}={word}")
        ready.bed.kubectl("patch", "deployment", "never-ready", "-n", PLACE, "-p", '{"spec":{"progressDeadlineSeconds":5}}')
        ready.bed.apply(*NEW_PODS_HANG)
        yield ready


@pytest.fixture(scope="module")
def operator(stage: Stage) -> Iterator[OperatorProcess]:
    """Running; two of the workloads were harmed while they were being watched."""
    with stage.ruled_by(*PROFILES), running(stage.operator()) as started:
        for name in ("killed", "crashing"):
            wait_outcome(stage, name, "Verifying")
        stage.bed.kubectl("annotate", "pod", pod_of(stage, "killed")["metadata"]["name"], "-n", PLACE, f"{OOM_ANNOTATION}=app")
        stage.bed.kubectl("annotate", "pod", pod_of(stage, "crashing")["metadata"]["name"], "-n", PLACE, f"{CRASH_LOOP}=app")
        yield started


def pod_of(stage: Stage, name: str) -> Manifest:
    pods = stage.bed.kubectl.items("pods", namespace=PLACE, selector=f"app={name}")
    running = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"] and pod["status"].get("containerStatuses")]
    return max(running, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def reference(name: str) -> str:
    return f"{PLACE}/Deployment/{name}"


def wait_outcome(stage: Stage, name: str, *outcomes: str, seconds: float = 120.0) -> Manifest:
    stage.bed.wait_for(lambda: stage.last_change(reference(name)).get("outcome") in outcomes, seconds, f"{name} {outcomes}")
    return stage.last_change(reference(name))


def wait_taken_back(stage: Stage, name: str) -> Manifest:
    def back() -> bool:
        change = stage.last_change(reference(name))
        return bool(change.get("reverts")) and change["outcome"] == "Succeeded"

    stage.bed.wait_for(back, 150.0, f"{name} taken back")
    return stage.last_change(reference(name))


def rightsizer(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("rightsizer")
    command = [str(program), *arguments, "--kubeconfig", str(stage.bed.kubeconfig)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120.0, check=False)


class TestRollout:
    def test_is_watched_and_then_succeeds(self, stage: Stage, operator: OperatorProcess) -> None:
        assert wait_outcome(stage, "well", "Verifying", "Succeeded")["previous"][0]["requests"] == GENEROUS["requests"]
        wait_outcome(stage, "well", "Succeeded")
        assert stage.resources(reference("well")) == WORKED_EXAMPLE

    def test_that_kills_for_memory_is_taken_back(self, stage: Stage, operator: OperatorProcess) -> None:
        assert "killed for memory" in wait_taken_back(stage, "killed")["reverts"]
        assert stage.resources(reference("killed")) == GENEROUS
        assert stage.summary(reference("killed"))["reason"] == "BackingOff"
        assert ("Warning", "Reverting") in stage.events(reference("killed"))

    def test_that_never_gets_ready_is_taken_back(self, stage: Stage, operator: OperatorProcess) -> None:
        """Its new pods hang, and its deadline is 5 s. With the former values it has the former pods, which run."""
        assert "ProgressDeadlineExceeded" in wait_taken_back(stage, "never-ready")["reverts"]
        assert stage.resources(reference("never-ready")) == GENEROUS
        stage.bed.kubectl("rollout", "status", "deployment", "never-ready", "-n", PLACE, "--timeout=30s")

    def test_that_crashes_is_taken_back(self, stage: Stage, operator: OperatorProcess) -> None:
        assert "crashes again and again" in wait_taken_back(stage, "crashing")["reverts"]
        assert stage.resources(reference("crashing")) == GENEROUS

    def test_that_kubectl_puts_back_is_left_so(self, stage: Stage, operator: OperatorProcess) -> None:
        wait_outcome(stage, "put-back", "Verifying", "Succeeded")
        stage.bed.kubectl("apply", "-f", "-", stdin=json.dumps(workload_manifest(steady(PLACE, "put-back"))))
        wait_outcome(stage, "put-back", "Undone")
        stage.wait_state(reference("put-back"), "Blocked", "RevertedByOther")
        operator.wait_for_cycles(3)
        assert stage.resources(reference("put-back")) == GENEROUS

    def test_that_a_controller_puts_back_is_left_so_and_it_is_named(self, stage: Stage, operator: OperatorProcess) -> None:
        wait_outcome(stage, "taken-over", "Verifying", "Succeeded")
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "taken-over", "namespace": PLACE},
            "spec": {"template": {"spec": {"containers": [{"name": "app", "resources": GENEROUS}]}}},
        }
        manager = "--field-manager=argocd-controller"
        stage.bed.kubectl("apply", "--server-side", "--force-conflicts", manager, "-f", "-", stdin=json.dumps(body))
        assert "argocd-controller" in wait_outcome(stage, "taken-over", "Undone")["message"]
        operator.wait_for_cycles(3)
        assert stage.resources(reference("taken-over")) == GENEROUS

    def test_is_taken_back_when_a_person_asks_for_it(self, stage: Stage, operator: OperatorProcess) -> None:
        wait_outcome(stage, "asked", "Verifying", "Succeeded")
        done = rightsizer(stage, "revert", "deploy/asked", "-n", PLACE)
        assert (done.returncode, done.stderr) == (0, "")
        assert "RevertSucceeded" in done.stdout
        assert stage.resources(reference("asked")) == GENEROUS
        told = rightsizer(stage, "history", "deploy/asked", "-n", PLACE, "-o", "json")
        assert [(one["outcome"], "reverts" in one) for one in json.loads(told.stdout)] == [("Succeeded", True), ("Succeeded", False)]
        again = rightsizer(stage, "revert", "deploy/asked", "-n", PLACE)
        assert again.returncode == 2
        assert "nothing to take back" in again.stderr


class TestInPlace:
    def test_resizes_the_pod_that_runs(self, stage: Stage, operator: OperatorProcess) -> None:
        before = pod_of(stage, "resized")["metadata"]["uid"]
        wait_outcome(stage, "resized", "Verifying", "Succeeded")
        pod = pod_of(stage, "resized")
        assert pod["metadata"]["uid"] == before
        assert pod["spec"]["containers"][0]["resources"] == WORKED_EXAMPLE
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
        assert stage.resources(reference("resized")) == GENEROUS

    def test_waits_for_room_on_the_node(self, stage: Stage, operator: OperatorProcess) -> None:
        stage.bed.wait_for(
            lambda: "Deferred" in stage.last_change(reference("deferred")).get("message", ""), 60.0, "the word of the kubelet"
        )
        stage.bed.kubectl("annotate", "pod", pod_of(stage, "deferred")["metadata"]["name"], "-n", PLACE, f"{RESIZE}-")
        wait_outcome(stage, "deferred", "Verifying", "Succeeded")

    def test_what_never_fits_is_taken_back(self, stage: Stage, operator: OperatorProcess) -> None:
        assert "Infeasible" in wait_taken_back(stage, "infeasible")["reverts"]
        assert pod_of(stage, "infeasible")["spec"]["containers"][0]["resources"] == GENEROUS

    def test_or_rolled_out_where_the_profile_says_so(self, stage: Stage, operator: OperatorProcess) -> None:
        stage.bed.wait_for(lambda: stage.last_change(reference("falls-back")).get("strategy") == "Rollout", 60.0, "the other strategy")
        wait_outcome(stage, "falls-back", "Verifying", "Succeeded")
        assert resources_of(stage.workload(reference("falls-back"))) == WORKED_EXAMPLE
