"""The rights of both installations against the audit log: nothing is refused, and nothing is granted that is never used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.operator_process import OperatorProcess, install, running
from tests.prometheus_server import Answering, Asked, PrometheusServer, Reply, forwarded
from tests.scenario import (
    GENEROUS,
    WORKED_EXAMPLE,
    Manifest,
    Stage,
    cluster_profile,
    now_and_then,
    profile,
    requested,
    staged,
    steady,
)
from tests.unit.test_manifests import APPLY_GRANTS, RECOMMEND_GRANTS, Grant

pytestmark = pytest.mark.system

SEEN_AS_PATCH: set[Grant] = {("rightsizer.dev", "resourcerecommendations", "create")}
"""Server-Side Apply of an object that is new needs the right to create, and is a patch in the audit log."""

USED_BY_HAND: set[Grant] = {("argoproj.io", "rollouts", "patch")}
"""What `test_operator_kinds` shows to be needed: nothing here plays Argo's controller."""

WORKLOADS = (
    steady("sized", "web"),
    steady("sized", "store", kind="StatefulSet"),
    steady("sized", "agent", kind="DaemonSet"),
    now_and_then("sized", "night"),
    steady("stateless", "web"),
    steady("unallowed", "web"),
)


@pytest.fixture
def stage(binaries: Path, tmp_path: Path) -> Iterator[Stage]:
    """A cluster of its own, with the installation that only recommends."""
    assert binaries.is_dir()
    with staged(tmp_path, WORKLOADS, recommend_only=True) as ready:
        yield ready


def without_kube_state_metrics(real: Answering, *, in_namespace: str) -> Answering:
    """A server that has never heard of kube-state-metrics in this namespace; one question may be about several."""

    def answer(asked: Asked) -> Reply:
        reply, query = real(asked), asked.form.get("query", asked.form.get("match[]", ""))
        if "kube_" not in query or "container_cpu" in query:
            return reply
        content = json.loads(reply.body)
        if asked.path.endswith("series"):
            content["data"] = [labels for labels in content["data"] if labels.get("namespace") != in_namespace]
            return replace(reply, body=json.dumps(content).encode())
        found = content["data"]["result"]
        content["data"]["result"] = [series for series in found if series["metric"].get("namespace") != in_namespace]
        return replace(reply, body=json.dumps(content).encode())

    return answer


def requests_of(stage: Stage, operator: OperatorProcess, *, after: int) -> list[Manifest]:
    """Its requests for objects since the audit log had so many of its requests."""
    return [event for event in stage.bed.audit_events(operator.user)[after:] if "objectRef" in event]


def refused(events: list[Manifest]) -> set[tuple[Grant, str]]:
    """What was refused, and in which namespace."""
    denied = [event for event in events if event["responseStatus"]["code"] in (401, 403)]
    return {(requested(event), event["objectRef"].get("namespace", "")) for event in denied}


def run_through(stage: Stage, operator: OperatorProcess, mode: str, *, goal: tuple[str, str]) -> None:
    """All that an operator may meet: each kind of workload, a usage source without kube-state-metrics, a profile that goes."""
    kinds = ["Deployment", "StatefulSet", "DaemonSet", "CronJob", "Rollout"]
    selector = {"matchLabels": {"kubernetes.io/metadata.name": "sized"}}
    wide = cluster_profile(mode, namespaceSelector=selector, workloads={"kinds": kinds})
    profiles = [profile("stateless", mode), wide]
    with stage.ruled_by(*profiles), running(operator):
        of_kinds = ("sized/Deployment/web", "sized/StatefulSet/store", "sized/DaemonSet/agent", "sized/CronJob/night")
        for reference in (*of_kinds, "stateless/Deployment/web"):
            stage.wait_state(reference, *goal)
        assert "kube-state-metrics is missing" in stage.condition("stateless", "Measuring")["message"]
        assert "come from kube-state-metrics" in stage.cluster_condition("Measuring")["message"]
        stage.bed.kubectl("delete", "resourceprofile", "all", "--namespace=stateless")
        stage.bed.wait_for(lambda: not stage.bed.kubectl.items("resourcerecommendations", namespace="stateless"), what="deletion")
        operator.wait_for_cycles(1)


def test_rights_are_what_is_needed_in_both_installations(stage: Stage) -> None:
    with PrometheusServer(Reply()) as front:
        front.answer(without_kube_state_metrics(forwarded(stage.bed.prometheus_url), in_namespace="stateless"))
        operator = stage.operator(prometheus_url=front.url)
        run_through(stage, operator, "Recommend", goal=("Recommended", "RecommendOnly"))
        recommending = requests_of(stage, operator, after=0)
        assert refused(recommending) == set()
        assert {requested(event) for event in recommending} == RECOMMEND_GRANTS - SEEN_AS_PATCH

        before = len(stage.bed.audit_events(operator.user))
        with stage.ruled_by(profile("unallowed")), running(operator):
            # Without the right to see whether changes are stopped, they are; nothing else is tried.
            stage.wait_state("unallowed/Deployment/web", "Blocked", "Stopped")
            operator.wait_for_cycles(3)
            assert 'cannot get resource "deployments"' in stage.summary("unallowed/Deployment/web")["message"]
            assert stage.resources("unallowed/Deployment/web") == GENEROUS
        trying = requests_of(stage, operator, after=before)
        assert refused(trying) == {(("apps", "deployments", "get"), "rightsizer")}

        install(stage.bed)
        before = len(stage.bed.audit_events(operator.user))
        run_through(stage, operator, "Apply", goal=("Applied", "UpToDate"))
        applying = requests_of(stage, operator, after=before)
        assert refused(applying) == set()
        assert {requested(event) for event in applying} == (RECOMMEND_GRANTS | APPLY_GRANTS) - SEEN_AS_PATCH - USED_BY_HAND
        assert stage.resources("stateless/Deployment/web") == WORKED_EXAMPLE
