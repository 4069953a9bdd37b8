"""The admission policies in front of a real API server: whom they size, what they keep valid, and that every pod is created."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from tests.testbed import KubectlError, Testbed

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
SIZED_BY = "deployment-web@2026-01-31T08:00:00Z"

GENEROUS = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}
WORKED = {"requests": {"cpu": "216m", "memory": "384Mi"}, "limits": {"cpu": "432m", "memory": "576Mi"}}
SAME = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}

Json = dict[str, Any]


def sizes(cpu: str = "", memory: str = "", cpu_limit: str = "", memory_limit: str = "") -> Json:
    requests = {name: value for name, value in (("cpu", cpu), ("memory", memory)) if value}
    limits = {name: value for name, value in (("cpu", cpu_limit), ("memory", memory_limit)) if value}
    return {name: section for name, section in (("requests", requests), ("limits", limits)) if section}


def pod_sizes(namespace: str, workloads: Mapping[str, Mapping[str, Json]]) -> Json:
    entries = {name: {"sizedBy": SIZED_BY, "containers": dict(containers)} for name, containers in workloads.items()}
    metadata = {"name": "rightsizer", "namespace": namespace}
    return {"apiVersion": "rightsizer.dev/v1alpha1", "kind": "PodSizes", "metadata": metadata, "spec": {"workloads": entries}}


def container(resources: Json | None = None, *, name: str = "app", **more: Any) -> Json:
    return {"name": name, "image": "registry.example/app:1", "resources": resources or {}, **more}


def pod(
    namespace: str,
    resources: Json | None = None,
    *,
    owner: tuple[str, str] = ("ReplicaSet", "web-5d9c7b"),
    annotations: Json | None = None,
    inits: list[Json] | None = None,
    spec: Json | None = None,
    **more: Any,
) -> Json:
    """As a controller creates it, by default as one of Deployment/web."""
    kind, name = owner
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": True}
    metadata: Json = {"name": "tried", "namespace": namespace, "ownerReferences": [reference], "annotations": annotations or {}}
    metadata["labels"] = {"pod-template-hash": name.rpartition("-")[2]} if kind == "ReplicaSet" else {}
    wanted = {"containers": [container(resources, **more)], "initContainers": inits or [], **(spec or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": wanted}


def created(bed: Testbed, manifest: Json) -> Json:
    """The pod as it would be stored. Fails the test where it is refused."""
    answer = bed.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(manifest))
    return dict(json.loads(answer))


def resources_of(found: Json, name: str = "app") -> Json:
    both = [*found["spec"]["containers"], *found["spec"].get("initContainers", [])]
    return next(dict(one["resources"]) for one in both if one["name"] == name)


def mark(found: Json, name: str) -> str:
    return str(found["metadata"].get("annotations", {}).get(f"rightsizer.dev/{name}", ""))


def not_sized(found: Json, reason: str, resources: Json) -> bool:
    return (mark(found, "not-sized"), mark(found, "sized-by"), resources_of(found)) == (reason, "", resources)


# Values that the definition refuses today; each is stored beforehand, as by an older definition or a hand in etcd.
BAD: dict[str, tuple[Json, Json, str]] = {
    "request-above-the-templates-limit": (sizes("2", "1Gi"), GENEROUS, "RequestAboveLimit"),
    "request-above-its-limit": (sizes("500m", "1Gi", "300m", "2Gi"), GENEROUS, "RequestAboveLimit"),
    "limit-below-the-templates-request": (sizes(cpu_limit="100m"), GENEROUS, "RequestAboveLimit"),
    "memory-above-its-limit": (sizes("100m", "3Gi"), GENEROUS, "RequestAboveLimit"),
    "negative": (sizes("-1", "384Mi"), GENEROUS, "InvalidQuantity"),
    "no-quantity": (sizes("abc", "384Mi"), GENEROUS, "InvalidQuantity"),
    "a-blank": (sizes("100m", "5 Mi"), GENEROUS, "InvalidQuantity"),
    "requests-only-for-a-guaranteed-pod": (sizes("216m", "384Mi"), SAME, "QosClassWouldChange"),
    "equal-sizes-for-a-burstable-pod": (sizes("1", "1Gi", "1", "1Gi"), GENEROUS, "QosClassWouldChange"),
    "best-effort": (sizes("216m", "384Mi", "432m", "576Mi"), {}, "BestEffort"),
    "empty": ({"requests": {"cpu": "", "memory": "384Mi"}}, GENEROUS, "InvalidQuantity"),
}


def without_rules(value: Any) -> Any:
    """A definition that accepts what today's refuses."""
    if isinstance(value, dict):
        dropped = ("x-kubernetes-validations", "minLength", "minProperties")
        return {name: without_rules(item) for name, item in value.items() if name not in dropped}
    return [without_rules(item) for item in value] if isinstance(value, list) else value


def place(case: str) -> str:
    return f"bad-{case}"


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    """A cluster of its own with the policies, and what today's definition would refuse already in it."""
    with Testbed.start() as running:
        definition = (ROOT / "crds" / "podsizes.yaml").read_text()
        running.apply(without_rules(yaml.safe_load(definition)))
        running.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/podsizes.rightsizer.dev")
        names = [place(case) for case in BAD]
        running.apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ["sized", *names]))
        running.wait_for(lambda: stored(running), what="the definition in force")
        running.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "crds"))
        running.create_namespace("rightsizer")
        running.kubectl("apply", "-k", str(ROOT / "manifests" / "on-create"))
        running.create_namespace("sized")
        workloads = {name: {"app": WORKED} for name in ("Deployment/web", "Deployment/a-b-c", "StatefulSet/db", "DaemonSet/log")}
        workloads |= {"CronJob/backup": {"app": WORKED}, "Rollout/canary": {"app": WORKED}}
        workloads["Deployment/mesh"] = {"app": WORKED, "proxy": sizes("24m", "48Mi"), "setup": sizes("24m", "48Mi")}
        running.apply(pod_sizes("sized", workloads))
        running.wait_for(lambda: mark(created(running, pod("sized", GENEROUS)), "sized-by"), what="the policies in force")
        yield running


def stored(bed: Testbed) -> bool:
    try:
        bed.apply(*(pod_sizes(place(case), {"Deployment/web": {"app": entry}}) for case, (entry, _, _) in BAD.items()))
    except KubectlError:
        return False
    return True


class TestWhoIsSized:
    @pytest.mark.parametrize(
        "owner",
        [
            ("ReplicaSet", "web-5d9c7b"),
            ("ReplicaSet", "a-b-c-5d9c7b"),
            ("StatefulSet", "db"),
            ("DaemonSet", "log"),
            ("Job", "backup-29384756"),
        ],
    )
    def test_pods_of_each_kind_of_owner(self, bed: Testbed, owner: tuple[str, str]) -> None:
        found = created(bed, pod("sized", GENEROUS, owner=owner))
        assert resources_of(found) == WORKED
        assert (mark(found, "sized-by"), mark(found, "sized-from")) == (SIZED_BY, "app=500m/1/1Gi/2Gi")

    def test_pods_of_an_argo_rollout(self, bed: Testbed) -> None:
        manifest = pod("sized", GENEROUS, owner=("ReplicaSet", "canary-5d9c7b"))
        manifest["metadata"]["labels"] = {"rollouts-pod-template-hash": "5d9c7b"}
        assert resources_of(created(bed, manifest)) == WORKED

    @pytest.mark.parametrize("owner", [("ReplicaSet", "other-5d9c7b"), ("Job", "backup-by-hand"), ("StatefulSet", "web"), ("Node", "n")])
    def test_no_others(self, bed: Testbed, owner: tuple[str, str]) -> None:
        found = created(bed, pod("sized", GENEROUS, owner=owner))
        assert (resources_of(found), mark(found, "sized-by"), mark(found, "not-sized")) == (GENEROUS, "", "")

    def test_a_bare_replica_set_is_no_deployment(self, bed: Testbed) -> None:
        manifest = pod("sized", GENEROUS, owner=("ReplicaSet", "web-5d9c7b"))
        manifest["metadata"]["labels"] = {}
        assert resources_of(created(bed, manifest)) == GENEROUS

    def test_a_pod_without_a_controller_is_left_alone(self, bed: Testbed) -> None:
        manifest = pod("sized", GENEROUS)
        del manifest["metadata"]["ownerReferences"]
        assert resources_of(created(bed, manifest)) == GENEROUS

    @pytest.mark.parametrize("mode", ["Ignore", "Recommend", "off"])
    def test_a_pod_can_opt_out(self, bed: Testbed, mode: str) -> None:
        found = created(bed, pod("sized", GENEROUS, annotations={"rightsizer.dev/mode": mode}))
        assert (resources_of(found), mark(found, "not-sized")) == (GENEROUS, "")

    def test_a_namespace_can_opt_out(self, bed: Testbed) -> None:
        bed.create_namespace("opted-out")
        bed.apply(pod_sizes("opted-out", {"Deployment/web": {"app": WORKED}}))
        bed.wait_for(lambda: resources_of(created(bed, pod("opted-out", GENEROUS))) == WORKED, what="sizes")
        bed.kubectl("annotate", "namespace", "opted-out", "rightsizer.dev/mode=Recommend")
        bed.wait_for(lambda: resources_of(created(bed, pod("opted-out", GENEROUS))) == GENEROUS, what="no sizes")

    def test_without_its_entry_a_workload_gets_what_its_template_says(self, bed: Testbed) -> None:
        bed.create_namespace("leaving")
        bed.apply(pod_sizes("leaving", {"Deployment/web": {"app": WORKED}}))
        bed.wait_for(lambda: resources_of(created(bed, pod("leaving", GENEROUS))) == WORKED, what="sizes")
        bed.apply(pod_sizes("leaving", {}))
        bed.wait_for(lambda: resources_of(created(bed, pod("leaving", GENEROUS))) == GENEROUS, what="no sizes")


class TestWhatIsSized:
    def test_native_sidecars_and_no_other_init_containers(self, bed: Testbed) -> None:
        inits = [
            container({"requests": {"cpu": "100m"}}, name="proxy", restartPolicy="Always"),
            container({"requests": {"cpu": "100m"}}, name="setup"),
        ]
        found = created(bed, pod("sized", GENEROUS, owner=("ReplicaSet", "mesh-5d9c7b"), inits=inits))
        assert resources_of(found) == WORKED
        assert resources_of(found, "proxy") == {"requests": {"cpu": "24m", "memory": "48Mi"}}
        assert resources_of(found, "setup") == {"requests": {"cpu": "100m"}}
        assert mark(found, "sized-from") == "app=500m/1/1Gi/2Gi,proxy=100m///"

    def test_other_resources_and_odd_lists_stay_as_they_are(self, bed: Testbed) -> None:
        gpu = {"requests": {"cpu": "500m", "nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}}
        odd: Json = {
            "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
            "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "name": "b", "protocol": "TCP"}],
        }
        found = created(bed, pod("sized", gpu, **odd))
        (only,) = found["spec"]["containers"]
        assert only["resources"]["requests"] == {**WORKED["requests"], "nvidia.com/gpu": "1"}
        assert {name: only[name] for name in odd} == odd

    def test_a_pod_with_resources_of_its_own_is_left_alone(self, bed: Testbed) -> None:
        found = created(bed, pod("sized", GENEROUS, spec={"resources": {"limits": {"cpu": "4", "memory": "8Gi"}}}))
        assert not_sized(found, "PodLevelResources", GENEROUS)

    def test_guaranteed_pods_are_sized_with_equal_limits(self, bed: Testbed) -> None:
        bed.create_namespace("guaranteed")
        equal = sizes("216m", "384Mi", "216m", "384Mi")
        bed.apply(pod_sizes("guaranteed", {"Deployment/web": {"app": equal}}))
        bed.wait_for(lambda: resources_of(created(bed, pod("guaranteed", SAME))) == equal, what="sizes")
        assert created(bed, pod("guaranteed", SAME))["status"]["qosClass"] == "Guaranteed"


@pytest.mark.parametrize("case", BAD)
def test_a_pod_is_created_whatever_the_sizes_say(bed: Testbed, case: str) -> None:
    _, template, reason = BAD[case]
    found = created(bed, pod(place(case), template))
    assert not_sized(found, reason, template)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (sizes("abc"), "must be a quantity of CPU"),
        (sizes("-1"), "must be a quantity of CPU"),
        (sizes("1Mi"), "must be a quantity of CPU"),
        (sizes(memory="5 Mi"), "must be a quantity of memory"),
        (sizes(memory="100m"), "must be a quantity of memory"),
        (sizes("2", cpu_limit="1"), "cpu: the request is above the limit"),
        (sizes(memory="2Gi", memory_limit="1Gi"), "memory: the request is above the limit"),
        ({"requests": {"gpu": "1"}}, "unknown field"),
    ],
)
def test_the_definition_refuses(bed: Testbed, entry: Json, words: str) -> None:
    with pytest.raises(KubectlError) as raised:
        bed.apply(pod_sizes("sized", {"Deployment/web": {"app": entry}}))
    assert re.search(words, raised.value.stderr) or "field not declared in schema" in raised.value.stderr


def test_the_definition_knows_one_name(bed: Testbed) -> None:
    manifest = pod_sizes("sized", {})
    manifest["metadata"]["name"] = "another"
    with pytest.raises(KubectlError, match="its name is rightsizer"):
        bed.apply(manifest)


def at_container(**limits: Json) -> Json:
    return {"type": "Container", **limits}


def at_pod(**limits: Json) -> Json:
    return {"type": "Pod", **limits}


@dataclass(frozen=True, slots=True)
class Limited:
    """The items of LimitRanges, one of each, and what becomes of a pod that is sized there: by default from GENEROUS to WORKED."""

    limits: tuple[Json, ...]
    wanted: Json
    reason: str = ""
    entry: Json = field(default_factory=lambda: WORKED)
    template: Json = field(default_factory=lambda: GENEROUS)


EQUAL = sizes("216m", "384Mi", "216m", "384Mi")
WIDE_APART = sizes("100m", "384Mi", "432m", "576Mi")

LIMITED: dict[str, Limited] = {
    "min": Limited((at_container(min={"cpu": "300m", "memory": "500Mi"}),), sizes("300m", "500Mi", "432m", "576Mi")),
    "max": Limited(
        (at_container(max={"cpu": "1", "memory": "2Gi"}),),
        sizes("600m", "384Mi", "1", "576Mi"),
        entry=sizes("600m", "384Mi", "1200m", "576Mi"),
    ),
    "both": Limited((at_container(min={"cpu": "300m"}, max={"memory": "500Mi"}),), sizes("300m", "384Mi", "432m", "500Mi")),
    "two": Limited(
        (at_container(min={"cpu": "300m"}, max={"cpu": "2"}), at_container(min={"memory": "550Mi"}, max={"memory": "4Gi"})),
        sizes("300m", "550Mi", "432m", "576Mi"),
    ),
    "two-items-of-one": Limited(
        (at_container(min={"cpu": "250m"}), at_container(min={"cpu": "300m"})), sizes("300m", "384Mi", "432m", "576Mi")
    ),
    "guaranteed-min": Limited(
        (at_container(min={"cpu": "300m", "memory": "500Mi"}),), sizes("300m", "500Mi", "300m", "500Mi"), entry=EQUAL, template=SAME
    ),
    "guaranteed-max": Limited(
        (at_container(max={"cpu": "1", "memory": "1Gi"}),), SAME, entry=sizes("1200m", "2Gi", "1200m", "2Gi"), template=SAME
    ),
    "would-become-guaranteed": Limited((at_container(min={"cpu": "450m", "memory": "600Mi"}),), GENEROUS, "LimitRange"),
    "ratio-kept": Limited((at_container(maxLimitRequestRatio={"cpu": "2", "memory": "2"}),), WORKED),
    "ratio-broken": Limited((at_container(maxLimitRequestRatio={"cpu": "2"}),), GENEROUS, "LimitRange", entry=WIDE_APART),
    "pod-max-kept": Limited((at_pod(max={"cpu": "1", "memory": "2Gi"}),), WORKED),
    "pod-max-broken": Limited((at_pod(max={"cpu": "1"}),), GENEROUS, "LimitRange", entry=sizes("600m", "384Mi", "1200m", "576Mi")),
    "pod-min-broken": Limited((at_pod(min={"memory": "512Mi"}),), GENEROUS, "LimitRange"),
    "pod-ratio-broken": Limited((at_pod(maxLimitRequestRatio={"cpu": "2"}),), GENEROUS, "LimitRange", entry=WIDE_APART),
}


@pytest.fixture(scope="module")
def limited(bed: Testbed) -> Testbed:
    """A namespace for each case, with its LimitRanges and sizes."""
    for name in LIMITED:
        bed.create_namespace(name)
    bed.apply(*(pod_sizes(name, {"Deployment/web": {"app": case.entry}}) for name, case in LIMITED.items()))
    bed.apply(*(limit_range(name, number, one) for name, case in LIMITED.items() for number, one in enumerate(case.limits)))
    return bed


class TestLimitRanges:
    @pytest.mark.parametrize("name", LIMITED)
    def test_the_pod_is_created_within_them(self, limited: Testbed, name: str) -> None:
        case = LIMITED[name]
        limited.wait_for(lambda: looks_as_wanted(limited, name), timeout_seconds=10, what=f"{name} as wanted")
        found = created(limited, pod(name, case.template))
        assert (resources_of(found), mark(found, "not-sized")) == (case.wanted, case.reason)
        assert bool(mark(found, "sized-by")) != bool(case.reason)

    def test_what_was_not_set_is_not_set_afterwards(self, limited: Testbed) -> None:
        """The pod gets back what it asked for, and no more."""
        template = {"requests": {"cpu": "500m", "memory": "1Gi"}}
        limited.wait_for(lambda: mark(created(limited, pod("pod-min-broken", template)), "not-sized"), what="the LimitRange in force")
        found = resources_of(created(limited, pod("pod-min-broken", template)))
        assert (found["requests"], found.get("limits", {})) == (template["requests"], {})


def limit_range(namespace: str, number: int, limit: Json) -> Json:
    metadata = {"name": f"limits-{number}", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": [limit]}}


def looks_as_wanted(bed: Testbed, name: str) -> bool:
    """The policies hear of new LimitRanges and sizes a moment later than the check of the API server itself."""
    try:
        found = created(bed, pod(name, LIMITED[name].template))
    except KubectlError:
        return False
    return resources_of(found) == LIMITED[name].wanted


class TestQuotas:
    """The pod asks for 100m where its entry says 216m."""

    TEMPLATE: ClassVar[Json] = sizes("100m", "384Mi", "432m", "576Mi")

    @pytest.mark.parametrize(
        ("name", "hard", "wanted"),
        [
            ("room", {"requests.cpu": "216m"}, "216m"),
            ("no-room", {"requests.cpu": "215m"}, "100m"),
            ("no-room-by-its-other-name", {"cpu": "215m"}, "100m"),
            ("no-matter", {"pods": "10", "limits.memory": "576Mi"}, "216m"),
        ],
    )
    def test_a_raise_is_taken_back_where_there_is_no_room(self, bed: Testbed, name: str, hard: Json, wanted: str) -> None:
        bed.create_namespace(name)
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota", "namespace": name}, "spec": {"hard": hard}}
        bed.apply(quota, pod_sizes(name, {"Deployment/web": {"app": WORKED}}))
        bed.wait_for(lambda: "used" in (bed.get("resourcequota", "quota", namespace=name) or {}).get("status", {}), what="a counted quota")
        bed.wait_for(lambda: created_with(bed, name, self.TEMPLATE, wanted), what="the policies to know")
        found = created(bed, pod(name, self.TEMPLATE))
        assert (resources_of(found)["requests"]["cpu"], mark(found, "not-sized")) == (wanted, "ResourceQuota" if wanted == "100m" else "")


def created_with(bed: Testbed, namespace: str, template: Json, cpu: str) -> bool:
    try:
        found = created(bed, pod(namespace, template))
    except KubectlError:
        return False
    marked = mark(found, "sized-by") or mark(found, "not-sized")
    return bool(marked) and bool(resources_of(found)["requests"]["cpu"] == cpu)


class TestControllers:
    """What real controllers create."""

    def test_each_controller_gets_its_pods_sized(self, bed: Testbed) -> None:
        bed.create_namespace("controllers")
        kinds = ("Deployment", "StatefulSet", "DaemonSet")
        bed.apply(pod_sizes("controllers", {f"{kind}/web-1": {"app": WORKED} for kind in kinds} | {"CronJob/night": {"app": WORKED}}))
        bed.wait_for(
            lambda: resources_of(created(bed, pod("controllers", GENEROUS, owner=("StatefulSet", "web-1")))) == WORKED, what="sizes"
        )
        bed.apply(*(workload(kind, "web-1") for kind in kinds), job("night-29384756"))
        bed.wait_for(lambda: len(owners(bed)) == 4, what="a pod of each")
        assert owners(bed) == {"ReplicaSet": WORKED, "StatefulSet": WORKED, "DaemonSet": WORKED, "Job": WORKED}
        assert bed.kubectl.items("deployments", namespace="controllers")[0]["metadata"]["generation"] == 1


def owners(bed: Testbed) -> dict[str, Json]:
    pods = bed.kubectl.items("pods", namespace="controllers")
    return {one["metadata"]["ownerReferences"][0]["kind"]: resources_of(one) for one in pods}


def workload(kind: str, name: str) -> Json:
    labels = {"app": f"{kind.lower()}-{name}"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container(GENEROUS)]}}
    spec: Json = {"selector": {"matchLabels": labels}, "template": template}
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "controllers"}, "spec": spec}


def job(name: str) -> Json:
    template = {"spec": {"restartPolicy": "Never", "containers": [container(GENEROUS)]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "controllers"}, "spec": {"template": template}}
