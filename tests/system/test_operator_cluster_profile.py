"""One profile for many namespaces on a real API server: what it selects, what it leaves, how fast it acts, and what is left of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.operator_process import OperatorProcess, running
from tests.scenario import GENEROUS, WORKED_EXAMPLE, Stage, cluster_profile, profile, staged, steady
from tests.testbed import KubectlError

pytestmark = pytest.mark.system

TEAM_A = {"matchLabels": {"team": "a"}}
NAMES = ("one", "two", "three")
SECONDS = 15.0


@pytest.fixture
def stage(binaries: Path, tmp_path: Path) -> Iterator[Stage]:
    """A cluster of its own, whose namespaces `one` and `two` are of team a."""
    assert binaries.is_dir()
    with staged(tmp_path, tuple(steady(name, "web") for name in NAMES)) as ready:
        for name in ("one", "two"):
            ready.bed.kubectl("label", "namespace", name, "team=a")
        yield ready


def web(name: str) -> str:
    return f"{name}/Deployment/web"


def recommended(stage: Stage) -> set[str]:
    """The namespaces with a recommendation."""
    return {one["metadata"]["namespace"] for one in stage.bed.kubectl.items("resourcerecommendations", namespace="")}


def matched(stage: Stage) -> tuple[int, int]:
    """Namespaces and workloads, as the profile tells them."""
    status = stage.cluster_status()
    return status.get("namespaces", -1), status.get("workloads", {}).get("matched", -1)


def wait_recommended(stage: Stage, *names: str) -> None:
    stage.bed.wait_for(lambda: recommended(stage) == set(names), SECONDS, f"recommendations in {names}")


def test_a_cluster_wide_profile_from_its_first_day_to_its_last(stage: Stage) -> None:
    with stage.ruled_by(cluster_profile(namespaceSelector=TEAM_A)), running(stage.operator()) as operator:
        sizes_what_it_selects(stage)
        follows_labels(stage)
        comes_after_profiles_of_a_namespace(stage)
        without_a_selector_leaves_the_system_alone(stage)
        nothing_is_refused(stage, operator)
        stage.bed.kubectl("delete", "clusterresourceprofile", "everywhere")
        wait_recommended(stage)
    acts_within_seconds(stage)
    is_gone_after_an_uninstall(stage)


def sizes_what_it_selects(stage: Stage) -> None:
    stage.wait_changed(web("one"), web("two"))
    assert [stage.resources(web(name)) for name in NAMES] == [WORKED_EXAMPLE, WORKED_EXAMPLE, GENEROUS]
    assert recommended(stage) == {"one", "two"}
    found = stage.bed.get("resourcerecommendation", "deployment-web", namespace="one")
    assert found is not None
    assert found["spec"]["profileRef"] == {"kind": "ClusterResourceProfile", "name": "everywhere"}
    stage.bed.wait_for(lambda: matched(stage) == (2, 2), SECONDS, "counts")
    header, row = (line.split() for line in stage.bed.kubectl("get", "crp").splitlines())
    assert dict(zip(header, row, strict=True)) | {"AGE": ""} == {
        "NAME": "everywhere",
        "MODE": "Apply",
        "NAMESPACES": "2",
        "WORKLOADS": "2",
        "READY": "True",
        "MEASURING": "Measuring",
        "AGE": "",
    }
    told = partial(stage.events, "default/ClusterResourceProfile/everywhere")
    stage.bed.wait_for(lambda: sorted(told()) == [("Normal", "Measuring"), ("Normal", "Understood")], SECONDS, "events")


def follows_labels(stage: Stage) -> None:
    stage.bed.kubectl("label", "namespace", "three", "team=a")
    stage.wait_changed(web("three"))
    stage.bed.kubectl("label", "namespace", "two", "team-")
    wait_recommended(stage, "one", "three")
    stage.bed.wait_for(lambda: matched(stage) == (2, 2), SECONDS, "counts")
    assert stage.resources(web("two")) == WORKED_EXAMPLE, "a workload that is left keeps its sizes"


def comes_after_profiles_of_a_namespace(stage: Stage) -> None:
    with stage.ruled_by(profile("one", "Ignore")):
        wait_recommended(stage, "three")
        overruled = partial(stage.cluster_condition, "Ready")
        stage.bed.wait_for(lambda: overruled().get("reason") == "PartlyOverruled", SECONDS, "condition")
    wait_recommended(stage, "one", "three")


def without_a_selector_leaves_the_system_alone(stage: Stage) -> None:
    stage.bed.apply(cluster_profile("Recommend"))
    wait_recommended(stage, *NAMES)
    # The cluster has these besides: kube-system, kube-public, kube-node-lease, and rightsizer with the operator's own Deployment.
    others = {one["metadata"]["name"] for one in stage.bed.kubectl.items("namespaces")} - set(NAMES)
    assert others == {"default", "kube-system", "kube-public", "kube-node-lease", "rightsizer"}
    stage.bed.wait_for(lambda: matched(stage) == (4, 3), SECONDS, "counts")


def nothing_is_refused(stage: Stage, operator: OperatorProcess) -> None:
    codes = {event["responseStatus"]["code"] for event in stage.bed.audit_events(operator.user) if "responseStatus" in event}
    assert codes & {401, 403} == set()


def acts_within_seconds(stage: Stage) -> None:
    """With a cycle in ten minutes, it is the watch that tells."""
    with running(stage.operator(CYCLE_SECONDS="600")) as operator:
        stage.bed.wait_for(lambda: operator.metric("rightsizer_cycles_total", outcome="ok"), SECONDS, "first cycle")
        with stage.ruled_by(cluster_profile("Recommend", namespaceSelector=TEAM_A)):
            wait_recommended(stage, "one", "three")
            stage.bed.apply(cluster_profile("Ignore", namespaceSelector=TEAM_A))
            wait_recommended(stage)


def is_gone_after_an_uninstall(stage: Stage) -> None:
    operator = stage.operator()
    stage.bed.apply(cluster_profile("Recommend", namespaceSelector=TEAM_A))
    with running(operator):
        wait_recommended(stage, "one", "three")
    folder = Path(__file__).parents[2] / "manifests"
    stage.bed.kubectl("delete", "-k", str(folder), "--timeout=60s")
    for kind in ("clusterresourceprofiles", "resourcerecommendations"):
        with pytest.raises(KubectlError, match=r"the server (doesn't have a resource type|could not find)"):
            stage.bed.kubectl("get", kind)
    listed = stage.bed.kubectl("get", "clusterroles,clusterrolebindings,namespaces", "-o", "json")
    assert [one["metadata"]["name"] for one in json.loads(listed)["items"] if "rightsizer" in one["metadata"]["name"]] == []
    assert [stage.resources(web(name)) for name in NAMES] == [WORKED_EXAMPLE] * 3
