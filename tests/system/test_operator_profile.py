"""What happens when somebody changes a profile or an annotation while the operator runs, with a cycle a minute.

What happens within seconds then happens because of the change.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.operator_process import OperatorProcess, running
from tests.scenario import GENEROUS, WORKED_EXAMPLE, Stage, annotate, profile

pytestmark = pytest.mark.system

WEB = "edited/Deployment/web"
SECONDS = 10.0


@pytest.fixture
def operator(stage: Stage) -> Iterator[OperatorProcess]:
    with stage.ruled_by(profile("edited", "Recommend")), running(stage.operator(CYCLE_SECONDS="60")) as operator:
        stage.wait_state(WEB, "Recommended", "RecommendOnly")
        yield operator


def wanted(stage: Stage) -> object:
    (only,) = stage.recommendation(WEB)["containers"]
    return only["recommended"]


@pytest.mark.usefixtures("operator")
def test_an_edit_acts_within_seconds(stage: Stage) -> None:
    assert wanted(stage) == WORKED_EXAMPLE
    stage.bed.apply(profile("edited", "Recommend", cpu={"buffer": "100%"}))
    doubled = {"requests": {"cpu": "360m", "memory": "384Mi"}, "limits": {"cpu": "720m", "memory": "576Mi"}}
    stage.bed.wait_for(lambda: wanted(stage) == doubled, SECONDS, "recommendation by the edited profile")


@pytest.mark.usefixtures("operator")
def test_an_annotation_takes_back_what_was_recommended_before(stage: Stage) -> None:
    annotate(stage.bed, WEB, "rightsizer.dev/mode=Ignore")
    stage.bed.apply(profile("edited", "Recommend", cpu={"buffer": "30%"}))
    stage.bed.wait_for(lambda: stage.summary(WEB).get("state") == "Ignored", SECONDS, "the state Ignored over a former recommendation")
    assert "recommended" not in stage.recommendation(WEB)["containers"][0]
    annotate(stage.bed, WEB, "rightsizer.dev/mode-")
    stage.bed.apply(profile("edited", "Recommend"))
    stage.bed.wait_for(lambda: stage.summary(WEB).get("state") == "Recommended", SECONDS, "the recommendation is back")


@pytest.mark.usefixtures("operator")
def test_deleting_it_deletes_its_recommendations_and_leaves_the_workloads(stage: Stage) -> None:
    before = stage.workload(WEB)
    stage.bed.kubectl("delete", "resourceprofile", "all", "--namespace=edited")
    stage.bed.wait_for(lambda: not stage.bed.kubectl.items("resourcerecommendations", namespace="edited"), SECONDS, "deletion")
    assert stage.workload(WEB)["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


@pytest.mark.usefixtures("operator")
def test_the_mode_ignore_deletes_them_too(stage: Stage) -> None:
    stage.bed.apply(profile("edited", "Ignore"))
    stage.bed.wait_for(lambda: not stage.bed.kubectl.items("resourcerecommendations", namespace="edited"), SECONDS, "deletion")
    assert stage.condition("edited", "Measuring")["reason"] == "ModeIgnore"


@pytest.mark.usefixtures("operator")
def test_a_second_profile_is_overruled_and_says_so(stage: Stage) -> None:
    stage.bed.apply(profile("edited", "Apply", name="younger"))
    stage.bed.wait_for(lambda: stage.condition("edited", "Ready", name="younger").get("reason") == "PartlyOverruled", SECONDS, "condition")
    assert stage.resources(WEB) == GENEROUS
    assert "an older profile rules 1 workload" in stage.condition("edited", "Ready", name="younger")["message"]


@pytest.mark.usefixtures("operator")
def test_changes_to_several_profiles_at_once_are_one_cycle(stage: Stage, operator: OperatorProcess) -> None:
    before = operator.metric("rightsizer_cycles_total", outcome="ok")
    names = [f"more-{number}" for number in range(5)]
    stage.bed.apply(*(profile("edited", "Recommend", name=name) for name in names))
    stage.bed.wait_for(lambda: all(stage.condition("edited", "Ready", name=name) for name in names), SECONDS, "all are looked at")
    assert operator.metric("rightsizer_cycles_total", outcome="ok") - before <= 2
