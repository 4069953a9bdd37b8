"""Argo Rollouts: where their definition is installed, and only what their definition makes safe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from rightsizer.checks.chain import judge
from rightsizer.checks.facts import Reason
from rightsizer.checks.merging import not_mergeable
from rightsizer.cli.assessing import Declared
from rightsizer.cli.exits import NothingMatched
from rightsizer.cli.explaining import find_workload, parse_reference
from rightsizer.cli.manifest_files import read_manifests
from rightsizer.cluster import KubernetesCluster, connect
from rightsizer.cluster.endpoint import ARGO_ROLLOUTS
from rightsizer.cluster.kubernetes_cluster import ABSENT_SECONDS
from rightsizer.cluster.transport import Limits, Transport
from rightsizer.cluster.workload_json import parse_workload
from rightsizer.profile import ApplyRule, Profile, kinds_to_list, parse_profile
from rightsizer.workload import OwnerRef, RolloutPhase, Workload, WorkloadRef
from tests.api_objects import Json, deployment, managed, template_fields
from tests.api_server import ApiServer, Reply, refusal
from tests.unit.builders import check_facts, workload
from tests.unit.test_checks import change
from tests.unit.world import World

CANARY = WorkloadRef("shop", "Rollout", "canary")
APP = 'k:{"name":"app"}'
BY_NAME = managed("kubectl-client-side-apply", "Update", template_fields({APP: {"f:image": {}}}))
AS_ONE = managed("kubectl-client-side-apply", "Update", template_fields({}))
LIST = "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts"


def rollout(*, status: Json | None = None, managed_fields: tuple[Json, ...] = (BY_NAME,), **spec: Any) -> Json:
    """As an item of a list: three replicas, generation 2, well."""
    well = {"phase": "Healthy", "observedGeneration": "2"}
    return deployment("canary", spec=spec, status=well if status is None else status, metadata={"managedFields": list(managed_fields)})


def argo(**fields: Any) -> Workload:
    return workload(**{"ref": CANARY, "api_version": "argoproj.io/v1alpha1", **fields})


@pytest.mark.parametrize(
    ("status", "phase", "message"),
    [
        pytest.param({"phase": "Healthy", "observedGeneration": "2"}, RolloutPhase.COMPLETE, "", id="well"),
        pytest.param({"phase": "Progressing", "observedGeneration": "2"}, RolloutPhase.IN_PROGRESS, "Progressing", id="under way"),
        pytest.param(
            {"phase": "Paused", "message": "CanaryPauseStep", "observedGeneration": "2"},
            RolloutPhase.IN_PROGRESS,
            "Paused: CanaryPauseStep",
            id="at a step",
        ),
        pytest.param(
            {"phase": "Degraded", "message": "RolloutAborted: ...", "observedGeneration": "2"},
            RolloutPhase.FAILED,
            "Degraded: RolloutAborted: ...",
            id="aborted",
        ),
        pytest.param(
            {"phase": "Healthy", "observedGeneration": "1"},
            RolloutPhase.IN_PROGRESS,
            "the controller has not seen the newest template yet",
            id="of an older template",
        ),
        pytest.param({}, RolloutPhase.IN_PROGRESS, "the controller has not seen the newest template yet", id="without a controller"),
    ],
)
def test_where_it_stands_is_what_its_controller_tells(status: Json, phase: RolloutPhase, message: str) -> None:
    found = parse_workload(ARGO_ROLLOUTS, rollout(status=status))
    assert (found.ref, found.replicas) == (CANARY, 3)
    assert (found.rollout, found.rollout_message) == (phase, message)


def test_scaled_to_nothing_it_is_complete_and_paused_it_is_left_alone() -> None:
    assert parse_workload(ARGO_ROLLOUTS, rollout(status={}, replicas=0)).rollout is RolloutPhase.COMPLETE
    assert parse_workload(ARGO_ROLLOUTS, rollout(paused=True)).paused


class TestMerging:
    @pytest.mark.parametrize(("fields", "by_name"), [((BY_NAME,), True), ((AS_ONE,), False), ((AS_ONE, BY_NAME), True), ((), False)])
    def test_how_its_containers_are_held_tells_how_they_are_merged(self, fields: tuple[Json, ...], by_name: bool) -> None:
        assert parse_workload(ARGO_ROLLOUTS, rollout(managed_fields=fields)).merged_by_name is by_name

    def test_a_list_that_would_be_replaced_is_never_applied(self) -> None:
        facts = check_facts(argo(merged_by_name=False))
        verdict = judge(facts)
        assert verdict.allowed == ()
        assert Reason.NOT_MERGEABLE in [objection.reason for objection in verdict.objections]

    def test_at_creation_it_does_not_matter(self) -> None:
        profile = Profile("shop", "web", apply=ApplyRule(strategy="OnCreate"))
        assert not_mergeable(check_facts(argo(merged_by_name=False), profile=profile)) is None

    def test_a_limit_is_not_taken_away(self) -> None:
        removal = change("app.cpu.limit", 1000, None)
        found = not_mergeable(check_facts(argo(), changes=(removal, change("app.cpu.request", 500, 216))))
        assert found is not None
        assert (found.reason, found.paths) == (Reason.NOT_MERGEABLE, frozenset({removal.path}))

    def test_what_is_merged_by_name_passes(self) -> None:
        assert not_mergeable(check_facts(argo())) is None
        assert len(judge(check_facts(argo())).allowed) == 4

    def test_other_kinds_are_merged_as_kubernetes_does(self) -> None:
        assert not_mergeable(check_facts(workload(), changes=(change("app.cpu.limit", 1000, None),))) is None


class TestListing:
    @pytest.fixture
    def server(self) -> Iterator[ApiServer]:
        with ApiServer() as server:
            yield server

    @pytest.fixture
    def now(self) -> list[float]:
        return [1_000.0]

    @pytest.fixture
    def cluster(self, server: ApiServer, tmp_path: Path, now: list[float]) -> Iterator[KubernetesCluster]:
        cluster = connect(server.kubeconfig(tmp_path), None, limits=Limits(attempts=1), sleep=lambda seconds: None)
        transport = cluster._transport
        assert isinstance(transport, Transport)
        yield KubernetesCluster(transport, now=lambda: now[0])
        cluster.close()

    def test_without_the_definition_there_are_none_and_they_are_asked_for_seldom(
        self, server: ApiServer, cluster: KubernetesCluster, now: list[float]
    ) -> None:
        server.on("GET", LIST, refusal(404, "NotFound"))
        for _ in range(3):
            assert cluster.workloads(["Rollout"], ["shop"]).items == ()
        assert cluster.workloads(["Rollout"], ["shop"]).failed == {}
        assert [request.path for request in server.received] == [LIST]
        now[0] += ABSENT_SECONDS
        server.on("GET", LIST, Reply(body={"metadata": {}, "items": [rollout()]}))
        assert [one.ref for one in cluster.workloads(["Rollout"], ["shop"]).items] == [CANARY]

    def test_one_that_takes_the_template_of_a_deployment_is_left_to_that(self, server: ApiServer, cluster: KubernetesCluster) -> None:
        borrowing = rollout(workloadRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"})
        del borrowing["spec"]["template"]
        server.on("GET", LIST, Reply(body={"metadata": {}, "items": [borrowing, rollout()]}))
        assert [one.ref for one in cluster.workloads(["Rollout"], ["shop"]).items] == [CANARY]


@pytest.mark.parametrize(
    ("named", "listed"),
    [
        ([["Deployment"]], ("Deployment", "StatefulSet", "DaemonSet")),
        ([["CronJob"], ["Deployment"]], ("Deployment", "StatefulSet", "DaemonSet", "CronJob")),
        ([["Rollout"]], ("Deployment", "StatefulSet", "DaemonSet", "Rollout")),
        ([None], ("Deployment", "StatefulSet", "DaemonSet", "CronJob")),
        ([], ("Deployment", "StatefulSet", "DaemonSet")),
    ],
)
def test_kinds_are_listed_where_a_profile_names_them(named: list[list[str] | None], listed: tuple[str, ...]) -> None:
    profiles = [_profile({} if kinds is None else {"workloads": {"kinds": kinds}}) for kinds in named]
    assert kinds_to_list(profiles) == listed


def _profile(spec: Json) -> Profile:
    metadata = {"name": "all", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return parse_profile({"metadata": metadata, "spec": spec})


class TestScenario:
    @pytest.fixture
    def world(self) -> World:
        """Rollout/canary, sized too large, and a profile that names the kind."""
        world = World()
        world.apply_profile(workloads={"kinds": ["Rollout"]})
        world.cluster.add_workload(argo(uid="shop-canary"))
        world.use("canary-5d9c7b-aaaaa", owner=OwnerRef("ReplicaSet", "canary-5d9c7b"))
        for owners in (world.source.replica_sets, world.cluster.stored_replica_sets):
            owners["shop", "canary-5d9c7b"] = OwnerRef("Rollout", "canary")
        return world

    @pytest.mark.parametrize("kube_state_metrics", [True, False])
    def test_is_measured_by_its_replica_sets_and_rolled_out(self, world: World, kube_state_metrics: bool) -> None:
        world.source.kube_state_metrics = kube_state_metrics
        world.run_cycle()
        assert world.workload("canary", kind="Rollout").containers[0].sizes.cpu_request == 216
        world.next_slot()
        world.run_cycle()
        assert world.recommended("canary", kind="Rollout")["lastChange"]["outcome"] == "InProgress"

    def test_an_oom_kill_is_that_of_the_rollout_also_without_kube_state_metrics(self, world: World) -> None:
        world.source.kube_state_metrics = False
        world.kill_for_memory("canary-5d9c7b-aaaaa", limit=600 * 2**20)
        world.run_cycle()
        assert world.workload("canary", kind="Rollout").containers[0].sizes.memory_limit == 720 * 2**20

    def test_is_not_looked_at_by_default(self, world: World) -> None:
        world.apply_profile()
        world.run_cycle()
        assert world.recommended("canary", kind="Rollout") == {}


@pytest.mark.parametrize(
    ("text", "kind"),
    [("cj/x", "CronJob"), ("CronJob/x", "CronJob"), ("cronjobs.batch/x", "CronJob"), ("ro/x", "Rollout"), ("Rollout/x", "Rollout")],
)
def test_the_command_line_takes_both_kinds_as_kubectl_does(text: str, kind: str) -> None:
    assert parse_reference(text) == (kind, "x")


def test_a_rollout_that_nobody_looked_for_is_told_so() -> None:
    declared = Declared(workloads=(workload(),), profiles=())
    with pytest.raises(NothingMatched, match=r"spec\.workloads\.kinds of a profile names it"):
        find_workload("Rollout", "canary", declared)


def test_manifests_of_both_kinds_are_read(tmp_path: Path) -> None:
    item = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", **rollout()}
    borrowing = replace_spec(item, {"workloadRef": {"kind": "Deployment", "name": "web"}})
    job = {"template": item["spec"]["template"]}
    cron_job = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "night"}, "spec": {"jobTemplate": {"spec": job}}}
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([item, borrowing, cron_job]))
    found = read_manifests(tmp_path, namespace="shop")
    assert sorted(found.workloads) == [WorkloadRef("shop", "CronJob", "night"), CANARY]


def replace_spec(item: Json, spec: Json) -> Json:
    return {**item, "metadata": {**item["metadata"], "name": "borrowing"}, "spec": spec}


def test_a_rollout_that_degrades_after_a_change_failed() -> None:
    degraded = replace(argo(), rollout=RolloutPhase.FAILED, rollout_message="Degraded: ProgressDeadlineExceeded")
    assert next(one.reason for one in judge(check_facts(degraded)).objections) is Reason.ROLLOUT_IN_PROGRESS
