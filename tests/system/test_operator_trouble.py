"""Trouble with the cluster: things that are not as expected, that move in mid-cycle, or that the operator may not touch.

Each case has a workload beside it that is well: it has to be served as if nothing were.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.operator_process import NAMESPACE, OperatorProcess, running
from tests.prometheus_server import Answering, Asked, PrometheusServer, Reply, forwarded
from tests.scenario import GENEROUS, WORKED_EXAMPLE, Manifest, Stage, annotate, profile, steady
from tests.testbed import KubectlError
from tests.usage.manifest import workload_manifest

pytestmark = pytest.mark.system

FAULT = "this is a fault of Rightsizer"


@pytest.fixture
def front(stage: Stage) -> Iterator[PrometheusServer]:
    """In front of the real Prometheus."""
    with PrometheusServer(Reply()) as server:
        server.answer(forwarded(stage.bed.prometheus_url))
        yield server


def before_usage_is_answered(real: Answering, act: Callable[[], None]) -> Answering:
    """Lets something happen in the middle of the first cycle: workloads were read, and nothing was written yet."""
    waiting = [act]

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("query_range") and waiting:
            waiting.pop()()
        return real(asked)

    return answer


def delete(stage: Stage, reference: str) -> None:
    place, kind, name = reference.split("/")
    stage.bed.kubectl("delete", kind, name, "--namespace", place, "--wait")


class TestAWorkloadThatMovesInMidCycle:
    def run(self, stage: Stage, front: PrometheusServer, in_namespace: str, act: Callable[[], None]) -> OperatorProcess:
        """Until `moving/web` or what stays beside it was changed; two more cycles for what comes after."""
        front.answer(before_usage_is_answered(forwarded(stage.bed.prometheus_url), act))
        operator = stage.operator(prometheus_url=front.url)
        with running(operator):
            stage.wait_changed(f"{in_namespace}/Deployment/stays")
            operator.wait_for_cycles(2)
        assert FAULT not in operator.text()
        return operator

    def test_deleted_stays_deleted(self, stage: Stage, front: PrometheusServer) -> None:
        with stage.ruled_by(profile("leaving")):
            self.run(stage, front, "leaving", lambda: delete(stage, "leaving/Deployment/web"))
            assert stage.bed.get("deployment", "web", namespace="leaving") is None
            assert stage.recommendation("leaving/Deployment/web") == {}
            assert stage.resources("leaving/Deployment/stays") == WORKED_EXAMPLE

    def test_deleted_and_made_again_is_another_one(self, stage: Stage, front: PrometheusServer) -> None:
        web = "moving/Deployment/again"

        def make_again() -> None:
            delete(stage, web)
            stage.bed.apply(workload_manifest(steady("moving", "again")))

        with stage.ruled_by(profile("moving")):
            operator = self.run(stage, front, "moving", make_again)
            # The garbage collector may be quicker: then the record of the intent is gone with its owner before its status is written, and
            # nothing is tried at all.
            collected = f"{web} went away in mid-cycle" in operator.text()
            assert refused(stage, operator, web) == ([] if collected else [409])
            assert stage.resources(web) == WORKED_EXAMPLE
            assert len(stage.owned("replicasets", web)) == 2

    def test_edited_is_read_again_and_changed_once(self, stage: Stage, front: PrometheusServer) -> None:
        web = "shifting/Deployment/web"
        with stage.ruled_by(profile("shifting")):
            operator = self.run(stage, front, "shifting", lambda: annotate(stage.bed, web, "somebody=else"))
            stage.wait_changed(web)
            assert refused(stage, operator, web) == [409]
            assert stage.resources(web) == WORKED_EXAMPLE
            assert len(stage.owned("replicasets", web)) == 2
            assert stage.workload(web)["metadata"]["annotations"]["somebody"] == "else"


def refused(stage: Stage, operator: OperatorProcess, reference: str) -> list[int]:
    """The codes with which the operator's patches of this Deployment were refused, whoever tried before."""
    place, _, name = reference.split("/")
    wanted = {"resource": "deployments", "namespace": place, "name": name}
    patches = [event for event in stage.writes(operator.user) if wanted.items() <= event["objectRef"].items()]
    return [event["responseStatus"]["code"] for event in patches if event["responseStatus"]["code"] >= 400]


@pytest.fixture(scope="class")
def strange(stage: Stage) -> Iterator[OperatorProcess]:
    """Workloads that are not as one thinks, and a pod that belongs to nobody and eats five cores."""
    stage.bed.kubectl("scale", "deployment/sleeping", "--namespace=strange", "--replicas=0")
    rename = [{"op": "replace", "path": "/spec/template/spec/containers/0/name", "value": "main"}]
    stage.bed.kubectl("patch", "deployment", "renamed", "--namespace=strange", "--type=json", "--patch", json.dumps(rename))
    stage.bed.kubectl("rollout", "status", "deployment", "renamed", "--namespace=strange", "--timeout=30s")
    with PrometheusServer(Reply()) as front:
        front.answer(with_bare_pod(forwarded(stage.bed.prometheus_url)))
        operator = stage.operator(prometheus_url=front.url)
        with stage.ruled_by(profile("strange")), running(operator):
            stage.wait_changed("strange/Deployment/web")
            operator.wait_for_cycles(2)
            yield operator


def with_bare_pod(real: Answering) -> Answering:
    def answer(asked: Asked) -> Reply:
        reply = real(asked)
        if not (bare := bare_pod(asked)):
            return reply
        body = json.loads(reply.body)
        body["data"]["result"] += bare
        return Reply(reply.status, json.dumps(body, separators=(",", ":")).encode())

    return answer


def bare_pod(asked: Asked) -> list[Manifest]:
    """Its series in the answer to a question for usage. To one for controllers it is not in the answer, as it has none."""
    values = {"container_cpu": "5", "container_memory": str(5 * 2**30)}
    value = next((value for metric, value in values.items() if metric in asked.form.get("query", "")), None)
    if value is None or not asked.path.endswith("query_range"):
        return []
    labels = {"namespace": "strange", "pod": 'ba"r\\e\n', "container": "app"}
    return [{"metric": labels, "values": [[float(asked.form["end"]), value]]}]


class TestStrangeThings:
    @pytest.mark.usefixtures("strange")
    def test_zero_replicas_are_sized_for_when_it_wakes_up(self, stage: Stage) -> None:
        stage.wait_changed("strange/Deployment/sleeping")
        assert stage.resources("strange/Deployment/sleeping") == WORKED_EXAMPLE
        assert stage.recommendation("strange/Deployment/sleeping")["savings"] == {"cpu": "0", "memory": "0"}

    @pytest.mark.usefixtures("strange")
    def test_a_renamed_container_has_no_history_and_is_left_alone(self, stage: Stage) -> None:
        stage.wait_state("strange/Deployment/renamed", "Waiting", "NotEnoughHistory")
        containers = stage.workload("strange/Deployment/renamed")["spec"]["template"]["spec"]["containers"]
        assert [(one["name"], one["resources"]) for one in containers] == [("main", GENEROUS)]

    @pytest.mark.usefixtures("strange")
    def test_a_pod_without_owner_counts_for_nobody(self, stage: Stage) -> None:
        assert stage.resources("strange/Deployment/web") == WORKED_EXAMPLE
        found = stage.bed.kubectl.items("resourcerecommendations", namespace="strange")
        assert sorted(one["metadata"]["name"] for one in found) == ["deployment-renamed", "deployment-sleeping", "deployment-web"]

    def test_no_cycle_failed(self, strange: OperatorProcess) -> None:
        assert strange.metric("rightsizer_cycles_total", outcome="failed") == 0
        assert FAULT not in strange.text()


@pytest.mark.parametrize("trouble", ["No space left on device", "Read-only file system"])
def test_a_history_folder_that_cannot_be_written_is_told_and_does_not_matter(stage: Stage, tmp_path: Path, trouble: str) -> None:
    """The operator goes on in memory, and says so in its log and in the status of the profile."""
    with small_disk(tmp_path, read_only=trouble.startswith("Read-only")):
        operator = stage.operator(HISTORY_FOLDER=str(tmp_path / "history"))
        with stage.ruled_by(profile("view", "Recommend")), running(operator):
            stage.wait_state("view/Deployment/web", "Recommended", "RecommendOnly")
            assert stage.recommendation("view/Deployment/web")["containers"][0]["recommended"] == WORKED_EXAMPLE
            measuring = stage.condition("view", "Measuring")
            assert measuring["status"] == "True"
            assert "the history is in memory only: " in measuring["message"] or "the history goes on in memory: " in measuring["message"]
            assert trouble in measuring["message"]
            assert trouble in operator.text()
            assert operator.metric("rightsizer_cycles_total", outcome="failed") == 0


@contextmanager
def small_disk(folder: Path, *, read_only: bool) -> Iterator[None]:
    """A file system of 300 kB of its own at this place."""
    options = "size=300k,ro" if read_only else "size=300k"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class TestANamespaceThatIsForbidden:
    OPEN = ("door-a/Deployment/web", "door-c/Deployment/web", "door-d/Deployment/web")
    CLOSED = "door-b/Deployment/web"

    def profiles(self, mode: str) -> list[Manifest]:
        return [profile(f"door-{letter}", mode) for letter in "abcd"]

    def test_where_writing_is_refused_the_rest_goes_on(self, stage: Stage) -> None:
        operator = stage.operator()
        with nobody_resizes(stage, "door-b", user=operator.user), stage.ruled_by(*self.profiles("Apply")), running(operator):
            stage.wait_changed(*self.OPEN)
            stage.wait_changed(self.CLOSED, outcome="Failed")
            stage.wait_state(self.CLOSED, "Blocked", "BackingOff")
            assert "nobody resizes here" in stage.summary(self.CLOSED)["message"]
            assert ("Warning", "ResizeFailed") in stage.events(self.CLOSED)
            operator.wait_for_cycles(3)
            assert refused(stage, operator, self.CLOSED) == [403], "asked again at once"
            assert stage.resources(self.CLOSED) == GENEROUS
            assert operator.metric("rightsizer_cycles_total", outcome="failed") == 0

    def test_where_reading_is_refused_the_rest_goes_on(self, stage: Stage) -> None:
        open_ones = ("door-a", "door-c", "door-d")
        stage.bed.apply(*narrow_account(open_ones))
        operator = stage.operator(account="narrow")
        with stage.ruled_by(*self.profiles("Recommend")), running(operator):
            for name in open_ones:
                stage.wait_measuring(name, "Measuring")
                assert stage.recommendation(f"{name}/Deployment/web")["containers"][0]["recommended"] == WORKED_EXAMPLE
            stage.wait_measuring("door-b", "WorkloadsNotListed")
            assert "door-b" in stage.condition("door-b", "Measuring")["message"]
            assert stage.recommendation(self.CLOSED) == {}
            operator.wait_for_cycles(2)
            assert operator.metric("rightsizer_cycles_total", outcome="failed") == 0


@contextmanager
def nobody_resizes(stage: Stage, in_namespace: str, *, user: str) -> Iterator[None]:
    """A policy of the cluster's owner that refuses this user's changes to Deployments of one namespace."""
    trial = json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": in_namespace}})
    options = ("--server-side", "--field-manager=trial", "--dry-run=server", f"--as={user}", "--filename=-")

    def in_force() -> bool:
        try:
            stage.bed.kubectl("apply", *options, stdin=trial)
        except KubectlError as error:
            return "nobody resizes here" in error.stderr
        return False

    stage.bed.apply(*denial(in_namespace, user=user))
    try:
        stage.bed.wait_for(in_force, 20.0, "the policy in force")
        yield
    finally:
        stage.bed.kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "nobody-resizes")


def denial(in_namespace: str, *, user: str) -> list[Manifest]:
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}
    place = {"matchLabels": {"kubernetes.io/metadata.name": in_namespace}}
    specs: dict[str, Manifest] = {
        "ValidatingAdmissionPolicy": {
            "matchConstraints": {"namespaceSelector": place, "resourceRules": [rule]},
            "matchConditions": [{"name": "user", "expression": f"request.userInfo.username == '{user}'"}],
            "validations": [{"expression": "false", "message": "nobody resizes here", "reason": "Forbidden"}],
        },
        "ValidatingAdmissionPolicyBinding": {"policyName": "nobody-resizes", "validationActions": ["Deny"]},
    }
    return [
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "nobody-resizes"}, "spec": spec}
        for kind, spec in specs.items()
    ]


def narrow_account(namespaces: tuple[str, ...]) -> list[Manifest]:
    """An account that may do what it needs in the whole cluster, but may look at workloads and their scaling in some namespaces only."""
    own = [
        ("rightsizer.dev", ["resourceprofiles", "clusterresourceprofiles"], ["list", "watch"]),
        ("rightsizer.dev", ["resourceprofiles/status", "clusterresourceprofiles/status", "resourcerecommendations/status"], ["patch"]),
        ("rightsizer.dev", ["resourcerecommendations"], ["list", "create", "patch", "delete"]),
        ("", ["namespaces"], ["list"]),
        ("", ["events"], ["create"]),
    ]
    looking = [
        ("apps", ["deployments", "statefulsets", "daemonsets", "replicasets"], ["list"]),
        ("batch", ["cronjobs"], ["list"]),
        ("autoscaling", ["horizontalpodautoscalers"], ["list"]),
        ("", ["pods"], ["list"]),
    ]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "narrow", "namespace": NAMESPACE}}
    roles = [_role("narrow", own), _role("narrow-looking", looking)]
    return [account, *roles, _binding("narrow"), *(_binding("narrow-looking", name) for name in namespaces)]


def _role(name: str, rules: list[tuple[str, list[str], list[str]]]) -> Manifest:
    written = [{"apiGroups": [group], "resources": resources, "verbs": verbs} for group, resources, verbs in rules]
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": written}


def _binding(role: str, in_namespace: str | None = None) -> Manifest:
    metadata = {"name": role} | ({"namespace": in_namespace} if in_namespace else {})
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding" if in_namespace else "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "narrow", "namespace": NAMESPACE}],
    }
