from __future__ import annotations

from typing import Any

import pytest

from rightsizer.checks.facts import FieldChange
from rightsizer.strategies.patch import Patch
from rightsizer.strategies.rollout import render
from rightsizer.workload import Container, FieldPath, ResourceName, Role, SizeField, Sizes, Workload, WorkloadRef
from tests.unit.builders import GI, MI, WIDE, WORKED, check_facts, sidecar, workload

METADATA = {"name": "web", "namespace": "shop", "uid": "u-1", "resourceVersion": "77"}
WORKED_RESOURCES = {"requests": {"cpu": "216m", "memory": "384Mi"}, "limits": {"cpu": "432m", "memory": "576Mi"}}


def path(container: str, resource: ResourceName, field: SizeField) -> FieldPath:
    return FieldPath(container, resource, field)


def change(container: str, resource: ResourceName, field: SizeField, after: int | None) -> FieldChange:
    return FieldChange(path(container, resource, field), 1, after)


def pod_spec(body: Any) -> Any:
    return body["spec"]["template"]["spec"]


def all_paths(*containers: str) -> frozenset[FieldPath]:
    return frozenset(
        FieldPath(name, resource, field) for name in containers for resource in ("cpu", "memory") for field in ("request", "limit")
    )


def test_the_worked_example() -> None:
    facts = check_facts()
    assert render(facts.workload, facts.changes) == Patch(
        workload=WorkloadRef("shop", "Deployment", "web"),
        api_version="apps/v1",
        apply_body={
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": METADATA,
            "spec": {"template": {"spec": {"containers": [{"name": "app", "resources": WORKED_RESOURCES}]}}},
        },
        removal_body=None,
    )


def test_what_we_own_is_applied_again_with_the_value_it_has() -> None:
    deployment = workload(Container("app", WORKED), owned=all_paths("app"))
    patch = render(deployment, [change("app", "cpu", "request", 300)])
    resources = {"requests": {"cpu": "300m", "memory": "384Mi"}, "limits": {"cpu": "432m", "memory": "576Mi"}}
    assert pod_spec(patch.apply_body) == {"containers": [{"name": "app", "resources": resources}]}


def test_what_others_own_is_left_to_them() -> None:
    patch = render(workload(owned=frozenset({path("app", "memory", "request")})), [change("app", "cpu", "request", 300)])
    assert pod_spec(patch.apply_body) == {"containers": [{"name": "app", "resources": {"requests": {"cpu": "300m", "memory": "1Gi"}}}]}


def test_what_we_own_in_a_container_that_does_not_change_is_kept() -> None:
    deployment = workload(Container("app", WIDE), Container("web", WORKED), owned=all_paths("web"))
    patch = render(deployment, [change("app", "cpu", "limit", 2000)])
    assert pod_spec(patch.apply_body) == {
        "containers": [{"name": "app", "resources": {"limits": {"cpu": "2"}}}, {"name": "web", "resources": WORKED_RESOURCES}]
    }


def test_a_container_that_left_the_template_is_never_named() -> None:
    deployment = workload(owned=all_paths("gone"))
    patch = render(deployment, [change("app", "cpu", "request", 216), change("gone", "cpu", "request", 216)])
    assert pod_spec(patch.apply_body) == {"containers": [{"name": "app", "resources": {"requests": {"cpu": "216m"}}}]}


def test_a_field_of_ours_that_somebody_removed_is_not_brought_back() -> None:
    deployment = workload(Container("app", Sizes(cpu_request=500)), owned=all_paths("app"))
    assert pod_spec(render(deployment, []).apply_body) == {"containers": [{"name": "app", "resources": {"requests": {"cpu": "500m"}}}]}


def test_native_sidecars_are_init_containers() -> None:
    deployment = workload(Container("app", WIDE), sidecar("proxy", WIDE), Container("migrate", WIDE, Role.INIT))
    changes = [change(name, "cpu", "request", 216) for name in ("migrate", "proxy", "app")]
    resources = {"requests": {"cpu": "216m"}}
    assert pod_spec(render(deployment, changes).apply_body) == {
        "containers": [{"name": "app", "resources": resources}],
        "initContainers": [{"name": "proxy", "resources": resources}],
    }


def test_containers_come_in_the_order_of_the_template() -> None:
    deployment = workload(Container("b", WIDE), Container("a", WIDE), Container("c", WIDE))
    patch = render(deployment, [change(name, "cpu", "request", 216) for name in ("c", "a", "b")])
    assert [entry["name"] for entry in pod_spec(patch.apply_body)["containers"]] == ["b", "a", "c"]


def test_a_limit_that_goes_is_null_only_where_null_means_removal() -> None:
    deployment = workload(owned=all_paths("app"))
    patch = render(deployment, [change("app", "cpu", "request", 216), change("app", "cpu", "limit", None)])
    assert pod_spec(patch.apply_body) == {
        "containers": [{"name": "app", "resources": {"requests": {"cpu": "216m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}}]
    }
    assert patch.removal_body is not None
    assert patch.removal_body["metadata"] == METADATA
    assert pod_spec(patch.removal_body) == {
        "containers": [{"name": "app", "resources": {"requests": {"cpu": "216m"}, "limits": {"cpu": None}}}]
    }


def test_a_removal_alone() -> None:
    patch = render(workload(), [change("app", "memory", "limit", None)])
    assert pod_spec(patch.apply_body) == {}
    assert patch.removal_body is not None
    assert pod_spec(patch.removal_body) == {"containers": [{"name": "app", "resources": {"limits": {"memory": None}}}]}


def test_no_change_applies_what_we_own() -> None:
    deployment = workload(Container("app", WORKED), owned=all_paths("app"))
    patch = render(deployment, [])
    assert pod_spec(patch.apply_body) == {"containers": [{"name": "app", "resources": WORKED_RESOURCES}]}
    assert patch.removal_body is None


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_other_kinds(kind: str) -> None:
    deployment: Workload = workload(ref=WorkloadRef("shop", kind, "web"))
    body = render(deployment, [change("app", "cpu", "request", 216)]).apply_body
    assert (body["kind"], body["apiVersion"]) == (kind, "apps/v1")


@pytest.mark.parametrize(
    ("resource", "value", "text"),
    [
        ("cpu", 2000, "2"),
        ("cpu", 1500, "1500m"),
        ("memory", GI, "1Gi"),
        ("memory", 1536 * MI, "1536Mi"),
        ("memory", 100 * MI + 1, "104857601"),
    ],
)
def test_quantities_are_exact(resource: ResourceName, value: int, text: str) -> None:
    body = render(workload(), [change("app", resource, "request", value)]).apply_body
    assert pod_spec(body)["containers"][0]["resources"] == {"requests": {resource: text}}
