"""The whole product on a real cluster: what it does to workloads of each kind, what it leaves alone, and when it is quiet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import scenario
from tests.operator_process import OperatorProcess, running
from tests.scenario import GENEROUS, WORKED_EXAMPLE, Stage, annotate, profile

pytestmark = pytest.mark.system

CHANGED = (
    "shop/Deployment/web",
    "shop/Deployment/payments",
    "shop/Deployment/catalog",
    "shop/StatefulSet/database",
    "shop/DaemonSet/agent",
    "rules/Deployment/mesh",
    "rules/Deployment/unlimited",
    "rules/Deployment/kept",
)

PROFILES = (
    profile("shop"),
    profile("view", "Recommend"),
    profile("quiet"),
    profile(
        "rules",
        name="exceptions",
        workloads={"selector": {"matchLabels": {"app": "mesh"}}},
        containers=[{"name": "istio-proxy", "mode": "Ignore"}, {"name": "app", "memory": {"buffer": "40%"}}],
    ),
    profile("rules", name="unlimited", workloads={"selector": {"matchLabels": {"app": "unlimited"}}}, cpu={"limit": {"policy": "None"}}),
    profile(
        "rules",
        name="kept",
        workloads={"selector": {"matchLabels": {"app": "kept"}}},
        cpu={"limit": {"policy": "Keep"}},
        memory={"limit": {"policy": "Keep"}},
    ),
)


@pytest.fixture(scope="module")
def asked_before(stage: Stage) -> int:
    """How many requests operators of other tests made."""
    return len(stage.bed.audit_events(stage.operator().user))


@pytest.fixture(scope="module")
def operator(stage: Stage, asked_before: int) -> Iterator[OperatorProcess]:
    """Running, and done with all that there is to change. `asked_before` has to be counted before it starts."""
    assert asked_before >= 0
    annotate(stage.bed, "shop/Deployment/held", "rightsizer.dev/paused=true")
    stage.bed.kubectl("annotate", "namespace", "quiet", "rightsizer.dev/mode=Ignore")
    with stage.ruled_by(*PROFILES), running(stage.operator(LOG_LEVEL="debug")) as operator:
        stage.wait_changed(*CHANGED)
        stage.wait_state("view/Deployment/web", "Recommended", "RecommendOnly")
        operator.wait_for_cycles(2)
        yield operator


@pytest.mark.usefixtures("operator")
class TestWhatItChanges:
    def test_the_worked_example_comes_out_exactly(self, stage: Stage) -> None:
        assert stage.resources("shop/Deployment/web") == WORKED_EXAMPLE
        assert stage.generation("shop/Deployment/web") == 2

    def test_the_pods_run_with_the_new_values_in_one_new_replica_set(self, stage: Stage) -> None:
        replica_sets = stage.owned("replicasets", "shop/Deployment/web")
        assert sorted(one["spec"]["replicas"] for one in replica_sets) == [0, 2]
        status = stage.workload("shop/Deployment/web")["status"]
        assert (status["observedGeneration"], status["updatedReplicas"], status["readyReplicas"]) == (2, 2, 2)
        pods = stage.bed.kubectl.items("pods", namespace="shop", selector="app=web")
        assert [pod["spec"]["containers"][0]["resources"] for pod in pods] == [WORKED_EXAMPLE] * 2

    def test_the_fields_belong_to_our_manager(self, stage: Stage) -> None:
        web = stage.bed.kubectl("get", "deployment", "web", "--namespace=shop", "--show-managed-fields", "--output=json")
        assert '"manager": "rightsizer"' in web

    def test_the_recommendation_says_what_was_measured_and_what_was_done(self, stage: Stage) -> None:
        status = stage.recommendation("shop/Deployment/web")
        (only,) = status["containers"]
        assert (only["current"], only["recommended"]) == (WORKED_EXAMPLE, WORKED_EXAMPLE)
        assert (only["explanation"]["cpu"]["statistic"], only["explanation"]["memory"]["statistic"]) == (
            "load-p94 (half-life 15h)",
            "load-p96 (half-life 3d)",
        )
        assert (status["summary"]["state"], status["summary"]["reason"]) == ("Applied", "UpToDate")
        assert {one["type"] for one in status["conditions"] if one["status"] == "True"} == {"Measured", "Recommended", "Applied"}

    def test_the_past_is_replayed_and_told_in_a_column(self, stage: Stage) -> None:
        evidence = stage.recommendation("shop/Deployment/web")["evidence"]
        assert (evidence["oomKills"], evidence["timeAboveRequest"], evidence["changesPerDay"]) == (0, "0%", "0.0")
        shown = stage.bed.kubectl("get", "resourcerecommendations", "--namespace=shop")
        assert "EVIDENCE" in shown.splitlines()[0]
        assert evidence["summary"] in shown
        assert ": 0 OOM, 0% above, 0.0/day, " in evidence["summary"]

    def test_the_last_change_keeps_what_was_before(self, stage: Stage) -> None:
        change = stage.last_change("shop/Deployment/web")
        assert (change["strategy"], change["outcome"]) == ("Rollout", "Succeeded")
        assert change["previous"] == [{"name": "app", **GENEROUS}]
        assert change["applied"] == [{"name": "app", **WORKED_EXAMPLE}]

    def test_events_tell_of_the_change_on_the_workload_and_of_the_profile(self, stage: Stage) -> None:
        assert stage.events("shop/Deployment/web") == [("Normal", "Resizing")]
        assert sorted(stage.events("shop/ResourceProfile/all")) == [("Normal", "Measuring"), ("Normal", "Understood")]

    def test_the_profile_counts_its_workloads(self, stage: Stage) -> None:
        found = stage.bed.get("resourceprofile", "all", namespace="shop")
        assert found is not None
        assert found["status"]["workloads"] == {"matched": 6, "measured": 6, "waiting": 2, "changed": 5}
        assert stage.condition("shop", "Ready")["status"] == "True"

    def test_guaranteed_stays_guaranteed(self, stage: Stage) -> None:
        sizes = stage.resources("shop/Deployment/payments")
        assert sizes == {"requests": WORKED_EXAMPLE["requests"], "limits": WORKED_EXAMPLE["requests"]}
        (pod,) = stage.bed.kubectl.items("pods", namespace="shop", selector="app=payments")
        assert pod["status"]["qosClass"] == "Guaranteed"

    def test_an_autoscaler_on_cpu_holds_back_cpu_only(self, stage: Stage) -> None:
        sizes = stage.resources("shop/Deployment/catalog")
        assert sizes == {"requests": {"cpu": "500m", "memory": "384Mi"}, "limits": {"cpu": "1", "memory": "576Mi"}}
        summary = stage.summary("shop/Deployment/catalog")
        assert (summary["state"], summary["reason"], summary["cpu"]) == ("Blocked", "HpaOnSameResource", "500m -> 216m")

    def test_a_stateful_set_that_asks_for_too_little_is_raised(self, stage: Stage) -> None:
        assert stage.resources("shop/StatefulSet/database", "postgres") == WORKED_EXAMPLE
        assert stage.generation("shop/StatefulSet/database") == 2

    def test_a_daemon_set_is_sized_with_its_native_sidecar(self, stage: Stage) -> None:
        assert stage.resources("shop/DaemonSet/agent", "agent") == WORKED_EXAMPLE
        sidecar = stage.resources("shop/DaemonSet/agent", "shipper")
        assert sidecar == {"requests": {"cpu": "24m", "memory": "48Mi"}, "limits": {"cpu": "48m", "memory": "72Mi"}}
        assert len(stage.workload("shop/DaemonSet/agent")["spec"]["template"]["spec"]["initContainers"]) == 1
        assert stage.generation("shop/DaemonSet/agent") == 2

    def test_exceptions_by_container_name(self, stage: Stage) -> None:
        assert stage.resources("rules/Deployment/mesh", "istio-proxy") == GENEROUS
        sizes = stage.resources("rules/Deployment/mesh")
        assert sizes == {"requests": {"cpu": "216m", "memory": "448Mi"}, "limits": {"cpu": "432m", "memory": "672Mi"}}

    def test_policy_none_removes_the_limit_in_one_rollout(self, stage: Stage) -> None:
        sizes = stage.resources("rules/Deployment/unlimited")
        assert sizes == {"requests": WORKED_EXAMPLE["requests"], "limits": {"memory": "576Mi"}}
        assert stage.generation("rules/Deployment/unlimited") == 2
        assert len(stage.owned("replicasets", "rules/Deployment/unlimited")) == 2

    def test_policy_keep_leaves_the_limits(self, stage: Stage) -> None:
        sizes = stage.resources("rules/Deployment/kept")
        assert sizes == {"requests": WORKED_EXAMPLE["requests"], "limits": GENEROUS["limits"]}


@pytest.mark.usefixtures("operator")
class TestWhatItLeavesAlone:
    def test_recommend_never_touches(self, stage: Stage) -> None:
        assert stage.generation("view/Deployment/web") == 1
        assert stage.resources("view/Deployment/web") == GENEROUS
        assert stage.recommendation("view/Deployment/web")["containers"][0]["recommended"] == WORKED_EXAMPLE
        assert "lastChange" not in stage.recommendation("view/Deployment/web")

    def test_the_annotation_paused_holds_the_change_back_and_says_so(self, stage: Stage) -> None:
        assert stage.resources("shop/Deployment/held") == GENEROUS
        assert len(stage.owned("replicasets", "shop/Deployment/held")) == 1
        summary = stage.summary("shop/Deployment/held")
        assert (summary["state"], summary["reason"], summary["memory"]) == ("Blocked", "Paused", "1Gi -> 384Mi")
        assert ("Warning", "Paused") in stage.events("shop/Deployment/held")

    def test_a_namespace_can_opt_out(self, stage: Stage) -> None:
        assert stage.generation("quiet/Deployment/web") == 1
        summary = stage.summary("quiet/Deployment/web")
        assert (summary["state"], summary["reason"]) == ("Ignored", "ModeIgnore")

    def test_nothing_of_ours_is_put_on_a_workload_or_a_profile(self, stage: Stage) -> None:
        found = [stage.workload("shop/Deployment/web"), stage.bed.get("resourceprofile", "all", namespace="shop") or {}]
        assert [one["metadata"].get("finalizers") for one in found] == [None, None]
        annotations = [name for one in found for name in one["metadata"].get("annotations", {})]
        assert [name for name in annotations if not name.startswith("deployment.kubernetes.io/")] == []


class TestWhenThereIsNoNews:
    def test_nothing_is_written(self, stage: Stage, operator: OperatorProcess) -> None:
        before = len(stage.writes(operator.user))
        operator.wait_for_cycles(6)
        assert stage.writes(operator.user)[before:] == []

    def test_no_request_was_refused(self, stage: Stage, operator: OperatorProcess, asked_before: int) -> None:
        codes = [event["responseStatus"]["code"] for event in stage.bed.audit_events(operator.user)[asked_before:]]
        assert len(codes) > 100
        assert [code for code in codes if code in (401, 403)] == []

    def test_its_own_metrics_tell_where_the_workloads_stand(self, operator: OperatorProcess) -> None:
        assert operator.metric("rightsizer_workloads", mode="Apply", state="Applied") == 7
        assert operator.metric("rightsizer_workloads", mode="Recommend", state="Recommended") == 1
        assert operator.get("/healthz") == (200, "ok\n")


def test_scenario_is_known_by_heart() -> None:
    """The figures of this file stand or fall with these."""
    web = next(usage for usage in scenario.workloads() if (usage.namespace, usage.name) == ("shop", "web"))
    assert (web.containers[0].cpu.levels.max(), web.containers[0].memory.levels.max()) == (0.18, 320 * scenario.MEBIBYTE)
