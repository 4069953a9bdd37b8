"""Profiles of the whole cluster: how they are read, which namespaces they cover, and who rules where several fit."""

from __future__ import annotations

from typing import Any

import pytest

from rightsizer.cycle.assignment import assign, places_of
from rightsizer.errors import InvalidProfile
from rightsizer.profile import Mode, Profile, load_profile, parse_profile, select_profile
from rightsizer.workload import Workload, WorkloadRef

TEAM_A = {"team": "a", "env": "prod"}


def manifest(*, kind: str = "ClusterResourceProfile", metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "rightsizer.dev/v1alpha1", "kind": kind, "metadata": {"name": "all", **(metadata or {})}, "spec": spec}


def workload(namespace: str = "shop", name: str = "web", *, kind: str = "Deployment", **labels: str) -> Workload:
    ref = WorkloadRef(namespace, kind, name)
    return Workload(ref, uid="u", api_version="apps/v1", resource_version="1", generation=1, containers=(), replicas=1, labels=labels)


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator} | ({"values": list(values)} if values else {})]}


@pytest.mark.parametrize("metadata", [{}, {"namespace": "shop"}])
def test_it_has_no_namespace_whatever_its_manifest_says(metadata: dict[str, Any]) -> None:
    profile = load_profile(manifest(metadata=metadata))
    assert (profile.namespace, profile.cluster_wide, profile.kind, profile.title) == (
        "",
        True,
        "ClusterResourceProfile",
        "all (cluster-wide)",
    )


def test_that_of_a_namespace_is_none() -> None:
    profile = load_profile(manifest(kind="ResourceProfile", metadata={"namespace": "shop"}))
    assert (profile.cluster_wide, profile.kind, profile.title) == (False, "ResourceProfile", "shop/all")


def test_all_but_its_place_is_read_alike() -> None:
    spec: dict[str, Any] = {"mode": "Apply", "cpu": {"buffer": "30%"}, "containers": [{"name": "app", "mode": "Ignore"}]}
    cluster_wide, own = parse_profile(manifest(**spec)), parse_profile(manifest(kind="ResourceProfile", **spec))
    assert (cluster_wide.mode, cluster_wide.default_rule, cluster_wide.container_rules) == (own.mode, own.default_rule, own.container_rules)
    assert cluster_wide.problems == ()


@pytest.mark.parametrize(
    ("selector", "namespace", "labels", "covered"),
    [
        pytest.param(None, "shop", {}, True, id="by default any namespace"),
        pytest.param(None, "kube-system", {}, False, id="by default not kube-system"),
        pytest.param(None, "kube-public", {}, False, id="by default not kube-public"),
        pytest.param(None, "kube-node-lease", {}, False, id="by default not kube-node-lease"),
        pytest.param(None, "kube-apps", {}, True, id="by default any other name"),
        pytest.param(None, "sizing", {"app.kubernetes.io/name": "rightsizer"}, False, id="by default not that of the operator"),
        pytest.param({}, "kube-system", {}, True, id="an empty one selects every namespace"),
        pytest.param({}, "rightsizer", {"app.kubernetes.io/name": "rightsizer"}, True, id="an empty one selects the operator's"),
        pytest.param({"matchLabels": {"team": "a"}}, "shop", TEAM_A, True, id="label"),
        pytest.param({"matchLabels": {"team": "b"}}, "shop", TEAM_A, False, id="other value"),
        pytest.param({"matchLabels": {"team": "a"}}, "shop", {}, False, id="no label"),
        pytest.param({"matchLabels": {"team": "a"}}, "kube-system", {"team": "a"}, True, id="what is written selects system namespaces"),
        pytest.param(expression("env", "In", "prod", "test"), "shop", TEAM_A, True, id="In"),
        pytest.param(expression("env", "NotIn", "prod"), "shop", TEAM_A, False, id="NotIn"),
        pytest.param(expression("env", "NotIn", "prod"), "shop", {}, True, id="NotIn without the label"),
        pytest.param(expression("team", "Exists"), "shop", TEAM_A, True, id="Exists"),
        pytest.param(expression("team", "DoesNotExist"), "shop", TEAM_A, False, id="DoesNotExist"),
        pytest.param({"matchLabels": {"team": "a"}, **expression("env", "In", "test")}, "shop", TEAM_A, False, id="all have to fit"),
        pytest.param({"matchLabels": {"kubernetes.io/metadata.name": "shop"}}, "shop", {}, True, id="name"),
        pytest.param({"matchLabels": {"kubernetes.io/metadata.name": "shop"}}, "bank", {}, False, id="other name"),
    ],
)
def test_covers(selector: dict[str, Any] | None, namespace: str, labels: dict[str, str], covered: bool) -> None:
    profile = parse_profile(manifest() if selector is None else manifest(namespaceSelector=selector))
    assert profile.problems == ()
    assert profile.covers(namespace, labels) is covered


@pytest.mark.parametrize(
    ("selector", "field"),
    [
        (["shop"], "spec.namespaceSelector"),
        ("shop", "spec.namespaceSelector"),
        ({"matchLabels": {"team": 1}}, "spec.namespaceSelector.matchLabels.team"),
        (expression("team", "Like", "a"), "spec.namespaceSelector.matchExpressions[0].operator"),
        (expression("team", "In"), "spec.namespaceSelector.matchExpressions[0].values"),
        (expression("team", "Exists", "a"), "spec.namespaceSelector.matchExpressions[0].values"),
    ],
)
def test_a_selector_that_cannot_be_read_selects_nothing_and_is_named(selector: Any, field: str) -> None:
    profile = parse_profile(manifest(namespaceSelector=selector))
    assert profile.problems[0].field == field
    assert profile.problems[0].message.endswith("; until then nothing is selected")
    assert not profile.covers("shop", TEAM_A)
    with pytest.raises(InvalidProfile, match="namespaceSelector"):
        load_profile(manifest(namespaceSelector=selector))


def test_a_profile_of_a_namespace_has_no_selector_of_namespaces() -> None:
    with pytest.raises(InvalidProfile, match=r"spec\.namespaceSelector: unknown field"):
        load_profile(manifest(kind="ResourceProfile", namespaceSelector={}))


def own(name: str, *, created_at: float = 0.0, namespace: str = "shop", **fields: Any) -> Profile:
    return Profile(namespace=namespace, name=name, uid=name, created_at=created_at, **fields)


def everywhere(name: str, *, created_at: float = 0.0, **fields: Any) -> Profile:
    return own(name, created_at=created_at, namespace="", **fields)


@pytest.mark.parametrize(
    ("profiles", "winner", "losers"),
    [
        pytest.param([everywhere("wide")], "wide", [], id="alone"),
        pytest.param([everywhere("wide", created_at=1), own("own", created_at=9)], "own", ["wide"], id="own one, though younger"),
        pytest.param([everywhere("young", created_at=9), everywhere("old", created_at=1)], "old", ["young"], id="older of two"),
        pytest.param([everywhere("b"), everywhere("a")], "a", ["b"], id="of one age, by name"),
        pytest.param(
            [everywhere("old", created_at=1), own("late", created_at=9), own("early", created_at=5), everywhere("older")],
            "early",
            ["late", "older", "old"],
            id="all in order",
        ),
        pytest.param([everywhere("wide"), own("elsewhere", namespace="bank")], "wide", [], id="another namespace's does not count"),
        pytest.param([everywhere("wide"), own("own", kinds=("DaemonSet",))], "wide", [], id="own one of another kind"),
        pytest.param([everywhere("wide"), own("own", mode=Mode.IGNORE)], "own", ["wide"], id="own one that ignores"),
        pytest.param([everywhere("wide", kinds=("DaemonSet",))], None, [], id="another kind"),
    ],
)
def test_who_rules(profiles: list[Profile], winner: str | None, losers: list[str]) -> None:
    for order in (profiles, profiles[::-1]):
        selection = select_profile(workload(), order)
        assert (selection.profile.name if selection.profile else None, [one.name for one in selection.losers]) == (winner, losers)


def test_labels_of_the_namespace_decide() -> None:
    profile = parse_profile(manifest(namespaceSelector={"matchLabels": {"team": "a"}}))
    assert select_profile(workload(), [profile], namespace_labels=TEAM_A).profile == profile
    assert select_profile(workload(team="a"), [profile]).profile is None


def test_assignment_counts_what_each_lost() -> None:
    workloads = [workload("shop"), workload("bank"), workload("bank", "api"), workload("mail")]
    profiles = [own("own", namespace="bank"), everywhere("wide"), everywhere("late", created_at=9)]
    found = assign(workloads, profiles, {}, labels={})
    assert {str(ref.namespace): ruled.profile.name for ref, ruled in found.ruled.items()} == {"shop": "wide", "bank": "own", "mail": "wide"}
    assert found.overruled == {"wide": 2, "late": 4}


def test_places_are_those_of_profiles_and_those_that_cluster_wide_ones_select() -> None:
    labels = {"shop": TEAM_A, "bank": {}, "kube-system": {}}
    selecting = parse_profile(manifest(namespaceSelector={"matchLabels": {"team": "a"}}))
    assert places_of([own("own", namespace="mail")], labels) == ["mail"]
    assert places_of([everywhere("wide")], labels) == ["bank", "shop"]
    assert places_of([selecting, own("own", namespace="bank")], labels) == ["bank", "shop"]
    assert places_of([], labels) == []
