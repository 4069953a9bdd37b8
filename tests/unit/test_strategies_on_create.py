"""What is written for new pods, what comes back of it, and how a workload looks through it."""

from __future__ import annotations

from typing import Any

import pytest

from rightsizer.checks.confines import Bounds
from rightsizer.checks.facts import FieldChange
from rightsizer.cluster.confines_json import parse_limit_range, parse_pod_sizes, parse_quota
from rightsizer.strategies.on_create import Entry, PodSizes, changed, fitting, render, sized
from rightsizer.workload import Container, FieldPath, Role, Sizes
from tests.unit.builders import GI, MI, WIDE, WORKED, workload

SINCE = 1_769_846_400.0
WEB = Entry({"app": WORKED}, "deployment-web", SINCE)
WORKED_TEXT = {"requests": {"cpu": "216m", "memory": "384Mi"}, "limits": {"cpu": "432m", "memory": "576Mi"}}


def item(spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": "rightsizer"}, "spec": spec}


class TestRender:
    def test_names_the_recommendation_and_the_sizes(self) -> None:
        assert render(PodSizes("shop", {"Deployment/web": WEB})) == {
            "workloads": {"Deployment/web": {"sizedBy": "deployment-web@2026-01-31T08:00:00Z", "containers": {"app": WORKED_TEXT}}}
        }

    def test_only_what_is_set(self) -> None:
        entry = Entry({"app": Sizes(cpu_request=100)}, "r", SINCE)
        assert render(PodSizes("shop", {"a": entry}))["workloads"]["a"]["containers"] == {"app": {"requests": {"cpu": "100m"}}}

    def test_in_one_order_whatever_came_first(self) -> None:
        one, other = {"b": WEB, "a": WEB}, {"a": WEB, "b": WEB}
        assert list(render(PodSizes("shop", one))["workloads"]) == list(render(PodSizes("shop", other))["workloads"]) == ["a", "b"]

    def test_nothing_is_an_empty_map(self) -> None:
        assert render(PodSizes("shop", {})) == {"workloads": {}}

    def test_comes_back_as_it_was(self) -> None:
        wanted = PodSizes("shop", {"Deployment/web": WEB, "StatefulSet/db": Entry({"a": Sizes(memory_limit=MI)}, "statefulset-db", SINCE)})
        assert parse_pod_sizes(item(render(wanted))) == wanted


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"sizedBy": "deployment-web", "containers": {"app": WORKED_TEXT}},
        {"sizedBy": "deployment-web@yesterday", "containers": {"app": WORKED_TEXT}},
        {"sizedBy": "deployment-web@2026-01-31T08:00:00Z"},
        {"sizedBy": "deployment-web@2026-01-31T08:00:00Z", "containers": {"app": {"requests": {"cpu": "abc"}}}},
        {"sizedBy": "deployment-web@2026-01-31T08:00:00Z", "containers": {"app": "216m"}},
    ],
)
def test_an_entry_that_cannot_be_read_is_left_out(entry: dict[str, Any]) -> None:
    assert parse_pod_sizes(item({"workloads": {"Deployment/web": entry}})).entries == {}


def test_without_a_spec_there_are_none() -> None:
    assert parse_pod_sizes(item(None)) == PodSizes("shop", {})


class TestThroughAnEntry:
    def test_the_workload_is_as_its_new_pods(self) -> None:
        found = sized(workload(managers={FieldPath("app", "cpu", "request"): "argocd"}), WEB)
        assert (found.containers[0].sizes, found.managers, found.sized_at) == (WORKED, {}, SINCE)

    def test_what_is_not_named_is_that_of_the_template(self) -> None:
        found = sized(workload(Container("app", WIDE), Container("other", WIDE)), Entry({"app": Sizes(cpu_limit=700)}, "r", SINCE))
        assert [one.sizes for one in found.containers] == [WIDE.with_value("cpu", "limit", 700), WIDE]

    def test_without_one_it_is_as_its_template_and_was_never_sized(self) -> None:
        found = sized(workload(sized_at=5.0, managers={FieldPath("app", "cpu", "request"): "argocd"}), None)
        assert (found.containers[0].sizes, found.managers, found.sized_at) == (WIDE, {}, None)

    def test_containers_that_left_are_dropped(self) -> None:
        both = Entry({"app": WORKED, "left": WORKED}, "r", SINCE)
        assert fitting(both, workload()) == Entry({"app": WORKED}, "r", SINCE)
        assert fitting(both, workload(Container("new", WIDE), Container("left", WIDE, Role.INIT))) is None

    @pytest.mark.parametrize(
        ("template", "sizes", "fits"),
        [
            (Sizes(cpu_request=100, cpu_limit=500), Sizes(cpu_request=400), True),
            (Sizes(cpu_request=100, cpu_limit=300), Sizes(cpu_request=400), False),
            (Sizes(memory_request=GI), Sizes(memory_limit=MI), False),
            (Sizes(cpu_limit=100, memory_limit=MI), Sizes(cpu_request=50), False),
            (Sizes(cpu_limit=100, memory_limit=MI), Sizes(cpu_request=50, cpu_limit=50), True),
            (Sizes(cpu_request=50, cpu_limit=100, memory_limit=MI), Sizes(cpu_request=100), False),
            (Sizes(), Sizes(cpu_request=50), False),
        ],
        ids=["fits", "above-limit", "below-request", "no-longer-guaranteed", "guaranteed", "becomes-guaranteed", "best-effort"],
    )
    def test_one_that_the_policy_would_not_follow_is_dropped(self, template: Sizes, sizes: Sizes, fits: bool) -> None:
        entry = Entry({"app": sizes}, "r", SINCE)
        assert fitting(entry, workload(Container("app", template))) == (entry if fits else None)

    def test_changes_are_added_to_what_stands(self) -> None:
        first = changed(None, [FieldChange(FieldPath("app", "cpu", "request"), 500, 216)], recommendation="r", since=1.0)
        second = changed(first, [FieldChange(FieldPath("app", "cpu", "limit"), 1000, 432)], recommendation="r", since=2.0)
        assert second == Entry({"app": Sizes(cpu_request=216, cpu_limit=432)}, "r", 2.0)


class TestReading:
    def test_a_limit_range(self) -> None:
        limits = [
            {"type": "Container", "min": {"cpu": "50m"}, "max": {"memory": "1Gi"}, "maxLimitRequestRatio": {"cpu": "1500m", "memory": "2"}},
            {"type": "Pod", "max": {"cpu": "2", "nvidia.com/gpu": "1"}},
            {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
        ]
        found = parse_limit_range({"metadata": {"namespace": "shop", "name": "l"}, "spec": {"limits": limits}})
        assert found.bounds == (
            Bounds(least={"cpu": 50}, most={"memory": 1024 * MI}, ratio={"cpu": 1.5, "memory": 2.0}),
            Bounds(per_pod=True, most={"cpu": 2000}),
        )

    def test_a_quota_under_all_its_names(self) -> None:
        hard = {"cpu": "1", "requests.memory": "1Gi", "limits.cpu": "2", "limits.memory": "2Gi", "pods": "10"}
        found = parse_quota({"metadata": {"namespace": "shop", "name": "q"}, "spec": {"hard": hard}, "status": {"used": {"cpu": "500m"}}})
        assert found.hard == {
            ("cpu", "request"): 1000,
            ("memory", "request"): 1024 * MI,
            ("cpu", "limit"): 2000,
            ("memory", "limit"): 2048 * MI,
        }
        assert found.used == {("cpu", "request"): 500}

    def test_a_quota_that_nobody_counted_yet(self) -> None:
        assert parse_quota({"metadata": {"namespace": "shop", "name": "q"}, "spec": {"hard": {"cpu": "1"}}}).used == {}
