from __future__ import annotations

import dataclasses

import pytest

from rightsizer.workload import (
    RESOURCES,
    Container,
    ContainerKey,
    FieldPath,
    OwnerRef,
    ResourceName,
    Role,
    SizeField,
    Sizes,
    Workload,
    WorkloadRef,
    workload_of,
)

FULL = Sizes(cpu_request=216, cpu_limit=432, memory_request=384, memory_limit=576)
EQUAL = Sizes(cpu_request=100, cpu_limit=100, memory_request=200, memory_limit=200)


def workload(*containers: Container) -> Workload:
    ref = WorkloadRef("shop", "Deployment", "web")
    return Workload(ref, uid="u", api_version="apps/v1", resource_version="1", generation=1, containers=containers, replicas=2)


@pytest.mark.parametrize(
    ("resource", "field", "value"),
    [("cpu", "request", 216), ("cpu", "limit", 432), ("memory", "request", 384), ("memory", "limit", 576)],
)
def test_each_of_the_four_sizes_is_read_and_replaced_by_name(resource: ResourceName, field: SizeField, value: int) -> None:
    assert FULL.get(resource, field) == value
    for new in (7, None):
        changed = FULL.with_value(resource, field, new)
        assert changed.get(resource, field) == new
        assert changed.with_value(resource, field, value) == FULL


def test_sizes_start_unset() -> None:
    assert all(Sizes().get(resource, field) is None for resource in RESOURCES for field in ("request", "limit"))


@pytest.mark.parametrize(
    ("sizes", "guaranteed"),
    [
        (EQUAL, True),
        (dataclasses.replace(EQUAL, cpu_request=None, memory_request=None), True),
        (dataclasses.replace(EQUAL, cpu_request=99), False),
        (dataclasses.replace(EQUAL, memory_request=199), False),
        (dataclasses.replace(EQUAL, cpu_limit=None), False),
        (dataclasses.replace(EQUAL, memory_limit=None), False),
        (dataclasses.replace(EQUAL, cpu_request=0, cpu_limit=0), False),
        (Sizes(), False),
    ],
)
def test_a_pod_is_guaranteed_when_limits_are_set_and_requests_equal_them(sizes: Sizes, guaranteed: bool) -> None:
    assert workload(Container("app", sizes)).guaranteed is guaranteed


@pytest.mark.parametrize("role", list(Role))
def test_every_container_counts_for_the_class_of_the_pod(role: Role) -> None:
    assert not workload(Container("app", EQUAL), Container("other", FULL, role)).guaranteed
    assert workload(Container("app", EQUAL), Container("other", EQUAL, role)).guaranteed


def test_a_workload_without_containers_is_not_guaranteed() -> None:
    assert not workload().guaranteed


def test_main_containers_and_sidecars_are_sized_and_init_containers_are_not() -> None:
    app, sidecar, init = Container("app", FULL), Container("proxy", FULL, Role.SIDECAR), Container("setup", FULL, Role.INIT)
    assert workload(init, sidecar, app).sizable == (sidecar, app)


def test_a_container_is_found_by_name() -> None:
    app = Container("app", FULL)
    assert workload(app).container("app") is app
    assert workload(app).container("nope") is None


REPLICA_SET_OWNERS = {("shop", "web-5d9c7b"): OwnerRef("Deployment", "web"), ("shop", "canary-1"): OwnerRef("Rollout", "canary")}


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        (None, None),
        (OwnerRef("StatefulSet", "db"), WorkloadRef("shop", "StatefulSet", "db")),
        (OwnerRef("DaemonSet", "agent-x1"), WorkloadRef("shop", "DaemonSet", "agent-x1")),
        (OwnerRef("ReplicaSet", "web-5d9c7b"), WorkloadRef("shop", "Deployment", "web")),
        (OwnerRef("ReplicaSet", "canary-1"), WorkloadRef("shop", "Rollout", "canary")),
        (OwnerRef("ReplicaSet", "api-v2-7f9d5b6c4d"), WorkloadRef("shop", "Deployment", "api-v2")),
        (OwnerRef("ReplicaSet", "lonely"), None),
        (OwnerRef("ReplicaSet", "-abc"), None),
        (OwnerRef("ReplicaSet", "web-12345678901"), None),
    ],
)
def test_the_workload_behind_a_pod_is_found_by_owners_and_by_names(owner: OwnerRef | None, expected: WorkloadRef | None) -> None:
    assert workload_of("shop", owner, REPLICA_SET_OWNERS) == expected


def test_an_owner_in_another_namespace_does_not_count() -> None:
    owners = {("other", "web-5d9c7b"): OwnerRef("Rollout", "web")}
    assert workload_of("shop", OwnerRef("ReplicaSet", "web-5d9c7b"), owners) == WorkloadRef("shop", "Deployment", "web")
    assert workload_of("shop", OwnerRef("ReplicaSet", "web-5d9c7b")) == WorkloadRef("shop", "Deployment", "web")


def test_names_that_people_read() -> None:
    assert str(WorkloadRef("shop", "Deployment", "web")) == "Deployment/web"
    assert str(FieldPath("app", "cpu", "request")) == "app.cpu.request"


def test_keys_have_an_order() -> None:
    keys = [ContainerKey(WorkloadRef("b", "Deployment", "a"), "a"), ContainerKey(WorkloadRef("a", "Deployment", "b"), "z")]
    assert sorted(keys) == keys[::-1]
