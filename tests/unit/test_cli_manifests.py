"""Manifests from files: what is read of them, what the API server would have added, and errors that name file and object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rightsizer.cli.manifest_files import Manifests, read_manifests
from rightsizer.cli.profile_file import read_profile
from rightsizer.errors import InvalidInput
from rightsizer.workload import RolloutPhase, ScalingMetric, Sizes, WorkloadRef
from tests.unit.cli_files import deployment, profile, write_manifests

GI = 2**30
WEB = WorkloadRef("shop", "Deployment", "web")


def read(place: Path, *manifests: dict[str, Any]) -> Manifests:
    return read_manifests(write_manifests(place, *manifests), namespace="default")


def autoscaler(**spec: Any) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    version = spec.pop("version", "v2")
    metadata = {"name": "web", "namespace": "shop"}
    return {
        "apiVersion": f"autoscaling/{version}",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": {"scaleTargetRef": target, **spec},
    }


def test_a_deployment_is_read_as_from_the_api(tmp_path: Path) -> None:
    workload = read(tmp_path, deployment()).workloads[WEB]
    assert workload.containers[0].sizes == Sizes(cpu_request=500, cpu_limit=1000, memory_request=GI, memory_limit=2 * GI)
    assert (workload.replicas, workload.rollout, workload.uid) == (2, RolloutPhase.COMPLETE, "")


def test_a_status_is_believed_where_there_is_one(tmp_path: Path) -> None:
    exported = deployment(status={"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1})
    assert read(tmp_path, exported).workloads[WEB].rollout is RolloutPhase.IN_PROGRESS


def test_the_namespace_is_filled_in(tmp_path: Path) -> None:
    found = read_manifests(write_manifests(tmp_path, deployment(namespace=None)), namespace="mine")
    assert list(found.workloads) == [WorkloadRef("mine", "Deployment", "web")]


def test_lists_and_typed_lists_are_opened(tmp_path: Path) -> None:
    bare = {name: value for name, value in deployment("bare").items() if name not in ("kind", "apiVersion")}
    found = read(
        tmp_path,
        {"apiVersion": "v1", "kind": "List", "items": [deployment("one"), deployment("two")]},
        {"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [bare]},
    )
    assert sorted(ref.name for ref in found.workloads) == ["bare", "one", "two"]


def test_all_yaml_files_of_all_folders_are_read_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "one.yml").write_text(yaml.safe_dump(deployment("one")))
    (tmp_path / "two.yaml").write_text("---\n---\n" + yaml.safe_dump(deployment("two")) + "---\n- op: replace\n")
    (tmp_path / "readme.md").write_text("{{ not yaml")
    assert sorted(ref.name for ref in read_manifests(tmp_path, namespace="default").workloads) == ["one", "two"]
    assert len(read_manifests(tmp_path / "two.yaml", namespace="default").workloads) == 1


def test_kinds_of_no_use_are_passed_over(tmp_path: Path) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"generateName": "x"}}
    other = deployment(apiVersion="example.com/v1")
    assert not read(tmp_path, service, other, {"replicaCount": 3}).workloads


@pytest.mark.parametrize(
    ("manifest", "metrics"),
    [
        (autoscaler(), (ScalingMetric("cpu", "Utilization"),)),
        (autoscaler(version="v1", targetCPUUtilizationPercentage=60), (ScalingMetric("cpu", "Utilization"),)),
        (
            autoscaler(metrics=[{"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue"}}}]),
            (ScalingMetric("memory", "AverageValue"),),
        ),
        (autoscaler(metrics=[{"type": "External", "external": {}}]), ()),
    ],
)
def test_autoscalers_with_the_defaults_of_the_api(tmp_path: Path, manifest: dict[str, Any], metrics: tuple[ScalingMetric, ...]) -> None:
    found = read(tmp_path, manifest).autoscalers[0]
    assert (found.target, found.metrics) == (WEB, metrics)


def test_profiles_and_annotations_of_namespaces_are_read(tmp_path: Path) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": {"rightsizer.dev/mode": "Ignore"}}}
    found = read(tmp_path, namespace, profile({"window": "7d"}))
    assert found.annotations == {"shop": {"rightsizer.dev/mode": "Ignore"}}
    assert (found.profiles[0].namespace, found.profiles[0].window_seconds) == ("default", 7 * 86_400)


def test_cluster_wide_profiles_and_labels_of_namespaces_are_read(tmp_path: Path) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "a"}}}
    found = read(tmp_path, namespace, {**profile({"namespaceSelector": {"matchLabels": {"team": "a"}}}), "kind": "ClusterResourceProfile"})
    assert found.labels == {"shop": {"team": "a"}}
    assert (found.profiles[0].cluster_wide, found.profiles[0].covers("shop", found.labels["shop"])) == (True, True)


def without(path: str) -> dict[str, Any]:
    manifest = deployment()
    *parents, last = path.split(".")
    place: Any = manifest
    for parent in parents:
        place = place[parent]
    del place[last]
    return manifest


def with_containers(containers: Any) -> dict[str, Any]:
    return deployment(spec={"template": {"spec": {"containers": containers}}})


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (without("metadata.name"), "all.yaml: a Deployment without metadata.name"),
        (without("metadata"), "all.yaml: a Deployment without metadata.name"),
        (without("spec.template"), "all.yaml: Deployment/web: the field template is missing"),
        (without("spec"), "all.yaml: Deployment/web: the field spec is missing"),
        (with_containers([]), "all.yaml: Deployment/web: spec.template.spec.containers is empty"),
        (with_containers([{"image": "i"}]), "all.yaml: Deployment/web: the field name is missing"),
        (with_containers("app"), "all.yaml: Deployment/web: a field is not of the shape"),
        (
            with_containers([{"name": "app", "resources": {"requests": {"cpu": "half"}}}]),
            "all.yaml: Deployment/web: container app: resources.requests.cpu: 'half' is not a number",
        ),
        (
            with_containers([{"name": "app", "resources": {"limits": {"memory": "1Q"}}}]),
            "all.yaml: Deployment/web: container app: resources.limits.memory: '1Q' has the unknown suffix",
        ),
        (deployment(spec={"replicas": "two", "template": {}}), "Deployment/web: spec.replicas: 'two' is not a whole number of 0 or more"),
        (
            profile({"containers": [{"name": "app"}, {"name": "app"}]}),
            "all.yaml: spec.containers[1].name: app is named twice: remove one of them",
        ),
        (with_containers([{"name": "app", "resources": ["cpu"]}]), "all.yaml: Deployment/web: a field is not of the shape"),
        (
            deployment(metadata={"name": "web", "labels": {"version": 1.0}}),
            "all.yaml: Deployment/web: metadata.labels: version must be a text, is 1.0 (put it in quotes)",
        ),
        (deployment(metadata={"name": "web", "annotations": ["x"]}), "metadata.annotations must be a mapping"),
        (autoscaler(scaleTargetRef={"kind": "Deployment"}), "all.yaml: HorizontalPodAutoscaler/web: the field name is missing"),
        (profile({"cpu": {"bufer": "20%"}}), "all.yaml: spec.cpu.bufer: unknown field"),
    ],
)
def test_what_the_api_server_would_refuse_is_named(tmp_path: Path, manifest: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, manifest)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["a: [1, 2", "a: {{ .Values.x }}", "a: 'b", "\tx: 1", "a: \x00"])
def test_bad_yaml_is_told_with_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(deployment()))
    (tmp_path / "sad.yaml").write_text(text)
    with pytest.raises(InvalidInput, match=r"sad\.yaml: is not YAML: "):
        read_manifests(tmp_path, namespace="default")


def test_the_same_workload_twice_is_told_with_both_files(tmp_path: Path) -> None:
    for name in ("base.yaml", "overlay.yaml"):
        (tmp_path / name).write_text(yaml.safe_dump(deployment()))
    with pytest.raises(InvalidInput, match=r"overlay\.yaml: Deployment/web of namespace shop is in .*base\.yaml too"):
        read_manifests(tmp_path, namespace="default")


def test_a_folder_without_yaml_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no file named \*\.yaml"):
        read_manifests(tmp_path, namespace="default")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (yaml.safe_dump(profile({"cpu": {"buffer": "-5%"}})), "rule.yaml: spec.cpu.buffer: must be"),
        (yaml.safe_dump(profile({"memory": {"limit": {"ratio": 0.5}}})), "rule.yaml: spec.memory.limit.ratio: must be"),
        (yaml.safe_dump(profile({"cpu": {"statistic": "p42"}})), "rule.yaml: spec.cpu.statistic: must be"),
        (yaml.safe_dump(profile({"cpu": {"min": "2", "max": "1"}})), "rule.yaml: spec.cpu.min: min (2) is above max (1)"),
        (yaml.safe_dump(deployment()), "rule.yaml: must hold one ResourceProfile or ClusterResourceProfile, holds kind Deployment"),
        ("", "rule.yaml: must hold one ResourceProfile or ClusterResourceProfile, holds nothing"),
        ("- a\n", "must hold one ResourceProfile or ClusterResourceProfile, holds a list"),
        ("hello there\n", "must hold one ResourceProfile or ClusterResourceProfile, holds a text"),
        ("42\n", "must hold one ResourceProfile or ClusterResourceProfile, holds only 42"),
        ("a: 1\n---\nb: 2\n", "must hold one ResourceProfile or ClusterResourceProfile, holds 2 documents"),
        ("a: [", "rule.yaml: is not YAML"),
    ],
)
def test_a_profile_that_cannot_be_used_is_told_with_its_field(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "rule.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read_profile(path)
    assert words in str(caught.value)
