"""What is sent to resize a pod, and when nothing is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rightsizer.errors import ResizeReason
from rightsizer.pod import Pod, PodContainer
from rightsizer.strategies.in_place import asks_for, render, resizable, sized
from rightsizer.workload import FieldPath, OwnerRef, Role, Sizes
from tests.unit.builders import GI, MI, WIDE, WORKED

APP = PodContainer("app", 2 * GI, sizes=WIDE, actual=WIDE, allocated=WIDE, started_at=100.0, ready=True)
SMALL = Sizes(cpu_request=50, memory_request=64 * MI)
PROXY = PodContainer("proxy", None, role=Role.SIDECAR, sizes=SMALL, actual=SMALL, allocated=SMALL, started_at=100.0, ready=True)
SAME = Sizes(500, 500, GI, GI)
GUARANTEED = replace(APP, memory_limit=GI, sizes=SAME, actual=SAME, allocated=SAME)
PEAKS = {"app": 320.0 * MI, "proxy": 32.0 * MI}


def pod(*containers: PodContainer, **fields: Any) -> Pod:
    whole = Pod("shop", "web-5d9c7b-aaaaa", OwnerRef("ReplicaSet", "web-5d9c7b"), "Running", 0.0, containers or (APP,))
    whole = replace(whole, uid="u-1", resource_version="7", generation=1, observed_generation=1, ready=True, qos_class="Burstable")
    return replace(whole, **fields)


class TestRender:
    def test_worked_example(self) -> None:
        patch = render(pod(), {"app": WORKED})
        assert patch is not None
        assert (patch.namespace, patch.pod) == ("shop", "web-5d9c7b-aaaaa")
        resources = {"requests": {"cpu": "216m", "memory": "384Mi"}, "limits": {"cpu": "432m", "memory": "576Mi"}}
        assert patch.body == {
            "metadata": {"uid": "u-1", "resourceVersion": "7"},
            "spec": {"containers": [{"name": "app", "resources": resources}]},
        }

    def test_only_what_differs(self) -> None:
        patch = render(pod(APP, PROXY), {"app": replace(WIDE, cpu_request=216), "proxy": SMALL})
        assert patch is not None
        assert patch.body["spec"] == {"containers": [{"name": "app", "resources": {"requests": {"cpu": "216m"}}}]}

    def test_a_sidecar_is_an_init_container(self) -> None:
        patch = render(pod(APP, PROXY), {"proxy": Sizes(cpu_request=24)})
        assert patch is not None
        assert patch.body["spec"] == {"initContainers": [{"name": "proxy", "resources": {"requests": {"cpu": "24m"}}}]}

    def test_nothing_is_taken_away(self) -> None:
        assert render(pod(), {"app": Sizes()}) is None

    def test_no_patch_where_the_pod_asks_for_it_already(self) -> None:
        assert render(pod(), {"app": WIDE}) is None
        assert asks_for(pod(), {"app": WIDE})
        assert not asks_for(pod(), {"app": WORKED})

    def test_a_container_that_the_pod_does_not_have_is_passed_over(self) -> None:
        assert render(pod(), {"other": WORKED}) is None

    def test_as_the_pod_is_afterwards(self) -> None:
        after = sized(pod(APP, PROXY), {"app": Sizes(cpu_request=216), "proxy": Sizes(cpu_limit=100)})
        assert [container.sizes for container in after.containers] == [replace(WIDE, cpu_request=216), replace(SMALL, cpu_limit=100)]
        assert render(after, {"app": Sizes(cpu_request=216), "proxy": Sizes(cpu_limit=100)}) is None


RESTARTING = replace(APP, restarts_for=("memory",))
LOWER_LIMIT = {"app": Sizes(memory_limit=384 * MI, memory_request=384 * MI)}
OPTED_OUT = {"rightsizer.dev/mode": "Ignore"}


@pytest.mark.parametrize(
    ("found", "wanted", "reason"),
    [
        pytest.param(pod(), {"app": WORKED}, None, id="worked example"),
        pytest.param(pod(APP, PROXY), {"app": WORKED, "proxy": SMALL}, None, id="with a sidecar"),
        pytest.param(pod(), {}, None, id="nothing"),
        pytest.param(pod(deleting=True), {"app": WORKED}, ResizeReason.POD_NOT_RUNNING, id="being deleted"),
        pytest.param(pod(phase="Pending"), {"app": WORKED}, ResizeReason.POD_NOT_RUNNING, id="pending"),
        pytest.param(pod(phase="Succeeded"), {"app": WORKED}, ResizeReason.POD_NOT_RUNNING, id="finished"),
        pytest.param(pod(ready=False), {"app": WORKED}, ResizeReason.POD_NOT_READY, id="not ready"),
        pytest.param(pod(annotations=OPTED_OUT), {"app": WORKED}, ResizeReason.OPTED_OUT, id="opted out"),
        pytest.param(pod(annotations={"rightsizer.dev/mode": "Apply"}), {"app": WORKED}, None, id="not opted out"),
        pytest.param(pod(replace(APP, actual=None)), {"app": WORKED}, ResizeReason.UNSUPPORTED, id="old kubelet"),
        pytest.param(pod(pod_level=True), {"app": WORKED}, ResizeReason.POD_LEVEL_RESOURCES, id="sizes of the pod itself"),
        pytest.param(pod(qos_class="BestEffort"), {"app": WORKED}, ResizeReason.QOS_CLASS_WOULD_CHANGE, id="best effort"),
        pytest.param(pod(), {"app": SAME}, ResizeReason.QOS_CLASS_WOULD_CHANGE, id="would become guaranteed"),
        pytest.param(pod(others_guaranteed=False), {"app": SAME}, None, id="burstable because of an init container"),
        pytest.param(pod(APP, PROXY), {"app": SAME}, None, id="burstable because of a sidecar"),
        pytest.param(
            pod(GUARANTEED, qos_class="Guaranteed"),
            {"app": Sizes(cpu_request=216)},
            ResizeReason.QOS_CLASS_WOULD_CHANGE,
            id="would no longer be guaranteed",
        ),
        pytest.param(pod(GUARANTEED, qos_class="Guaranteed"), {"app": Sizes(216, 216, 512 * MI, 512 * MI)}, None, id="stays guaranteed"),
        pytest.param(pod(), {"app": Sizes(cpu_request=1001)}, ResizeReason.REQUEST_ABOVE_LIMIT, id="request above the pod's limit"),
        pytest.param(pod(), {"app": Sizes(memory_limit=512 * MI)}, ResizeReason.REQUEST_ABOVE_LIMIT, id="limit below the pod's request"),
        pytest.param(pod(RESTARTING), {"app": WORKED}, ResizeReason.NEEDS_RESTART, id="restarts for memory"),
        pytest.param(pod(RESTARTING), {"app": Sizes(cpu_request=216)}, None, id="restarts for memory and only cpu changes"),
        pytest.param(pod(), LOWER_LIMIT, None, id="memory limit at 1.2 x the peak"),
    ],
)
def test_resizable(found: Pod, wanted: dict[str, Sizes], reason: ResizeReason | None) -> None:
    refusal = resizable(found, wanted, memory_peaks=PEAKS)
    assert (refusal.reason if refusal is not None else None) is reason


def test_a_restart_may_be_asked_for() -> None:
    assert resizable(pod(RESTARTING), {"app": WORKED}, memory_peaks=PEAKS, restarts_allowed=True) is None


@pytest.mark.parametrize(
    ("container", "limit", "peaks", "refused"),
    [
        pytest.param(APP, 384 * MI, PEAKS, False, id="1.2 x the peak"),
        pytest.param(APP, 384 * MI - 1, PEAKS, True, id="below"),
        pytest.param(APP, GI, {}, True, id="peak unknown"),
        pytest.param(APP, 2 * GI, {}, False, id="not changed"),
        pytest.param(APP, 3 * GI, {"app": 3.0 * GI}, False, id="raised"),
        pytest.param(
            replace(APP, memory_limit=None, sizes=Sizes(100, None, 64 * MI)), 96 * MI, {"app": 90.0 * MI}, True, id="the first limit"
        ),
        pytest.param(replace(APP, memory_limit=GI), GI, {"app": 3.0 * GI}, False, id="back to what the kubelet has still set"),
    ],
)
def test_memory_limit_is_not_lowered_below_the_peak(container: PodContainer, limit: int, peaks: dict[str, float], refused: bool) -> None:
    refusal = resizable(pod(container), {"app": Sizes(memory_request=64 * MI, memory_limit=limit)}, memory_peaks=peaks)
    assert (refusal is not None) is refused
    if refusal is not None:
        assert (refusal.reason, refusal.path) == (ResizeReason.MEMORY_IN_USE, FieldPath("app", "memory", "limit"))


def test_messages_name_the_number_and_the_bound() -> None:
    refusal = resizable(pod(), {"app": Sizes(memory_request=64 * MI, memory_limit=300 * MI)}, memory_peaks=PEAKS)
    assert refusal is not None
    assert refusal.message == "app.memory.limit is not lowered below 1.2 x its recent peak: 300Mi < 384Mi"
    refusal = resizable(pod(RESTARTING), {"app": WORKED}, memory_peaks=PEAKS)
    assert refusal is not None
    assert refusal.message == "app.memory.limit: the resizePolicy of app has it restarted when its memory is resized"
