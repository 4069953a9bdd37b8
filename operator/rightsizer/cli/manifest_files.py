"""Workloads, autoscalers, profiles and namespaces from YAML manifests, read by the same parsers as the answers of the API server.

What the API server would add (defaults, uid, status) is filled in here; what it would refuse raises InvalidInput with file and object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rightsizer.cli.profile_file import profile_of, read_documents
from rightsizer.cluster.autoscaler_json import parse_autoscaler
from rightsizer.cluster.endpoint import workload_endpoint
from rightsizer.cluster.metadata import annotations_of, labels_of
from rightsizer.cluster.workload_json import parse_workload, sized_elsewhere
from rightsizer.errors import InvalidInput, InvalidQuantity
from rightsizer.profile import CLUSTER_KIND, KIND, KINDS, Profile
from rightsizer.workload import Autoscaler, RolloutPhase, Workload, WorkloadRef

SUFFIXES = (".yaml", ".yml")

Manifest = dict[str, Any]


@dataclass(slots=True)
class Manifests:
    """What the manifests declare. `annotations`, `labels`: of the namespaces.

    `uncounted`: DaemonSets whose number of pods no manifest tells.
    """

    workloads: dict[WorkloadRef, Workload] = field(default_factory=dict)
    autoscalers: list[Autoscaler] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    annotations: dict[str, Mapping[str, str]] = field(default_factory=dict)
    labels: dict[str, Mapping[str, str]] = field(default_factory=dict)
    uncounted: set[WorkloadRef] = field(default_factory=set)
    _files: dict[WorkloadRef, Path] = field(default_factory=dict)

    def add(self, manifest: Manifest, path: Path) -> None:
        """Take one object; a kind that is of no use here is passed over. Raises InvalidInput."""
        kind, group = manifest.get("kind"), str(manifest.get("apiVersion", "")).partition("/")[0]
        if kind in KINDS and group == _group(kind) and not sized_elsewhere(workload_endpoint(kind), manifest):
            self._add_workload(_read(parse_workload_manifest, manifest, path), manifest, path)
        elif kind == "HorizontalPodAutoscaler" and group == "autoscaling":
            self.autoscalers.append(_read(parse_autoscaler_manifest, manifest, path))
        elif kind in (KIND, CLUSTER_KIND) and group == "rightsizer.dev":
            self.profiles.append(profile_of(manifest, path))
        elif kind == "Namespace" and group == "v1":
            name = manifest["metadata"]["name"]
            self.annotations[name], self.labels[name] = _read(annotations_of, manifest, path), _read(labels_of, manifest, path)

    def _add_workload(self, workload: Workload, manifest: Manifest, path: Path) -> None:
        ref = workload.ref
        if ref in self.workloads:
            first, place = self._files[ref], f"{ref} of namespace {ref.namespace}"
            raise InvalidInput(f"{path}: {place} is in {first} too: leave one of them out, else it is not clear which one counts")
        self.workloads[ref], self._files[ref] = workload, path
        if ref.kind == "DaemonSet" and not manifest.get("status"):
            self.uncounted.add(ref)


def read_manifests(place: Path, *, namespace: str) -> Manifests:
    """All manifests of a folder and the folders in it, or of one file. `namespace` is that of manifests that name none.

    Raises InvalidInput.
    """
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    if not files:
        raise InvalidInput(f"{place}: no file named *.yaml or *.yml in it")
    manifests = Manifests()
    for path in files:
        for document in read_documents(path):
            for manifest in _objects(document):
                manifests.add(_with_metadata(manifest, path, namespace), path)
    return manifests


def parse_workload_manifest(manifest: Manifest) -> Workload:
    """A workload as the API server would have it. Without a status it counts as rolled out: nobody says that it is not."""
    replicas = (manifest.get("spec") or {}).get("replicas")
    if replicas is not None and (not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0):
        raise InvalidInput(f"spec.replicas: {replicas!r} is not a whole number of 0 or more")
    workload = parse_workload(workload_endpoint(manifest["kind"]), manifest)
    if not workload.containers:
        raise InvalidInput("spec.template.spec.containers is empty")
    return workload if manifest.get("status") else replace(workload, rollout=RolloutPhase.COMPLETE, rollout_message="")


def parse_autoscaler_manifest(manifest: Manifest) -> Autoscaler:
    """An autoscaler of v2 or v1. One that names no metric scales on the utilization of CPU: the API server's default."""
    spec = manifest["spec"]
    if not spec.get("metrics"):
        metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}
        manifest = {**manifest, "spec": {**spec, "metrics": [metric]}}
    return parse_autoscaler(manifest)


def _group(kind: str) -> str:
    return workload_endpoint(kind).api_version.partition("/")[0]


def _objects(document: Any) -> Iterator[Manifest]:
    """The objects of a document, those of a list one by one. What is no object (values of Helm, patches) is none."""
    if not isinstance(document, dict):
        return
    kind, items = str(document.get("kind", "")), document.get("items")
    if not kind.endswith("List") or not isinstance(items, list):
        yield document
        return
    for item in items:
        if isinstance(item, dict):
            # The items of a typed list (`DeploymentList`) do not say what they are.
            own = {"kind": kind.removesuffix("List"), "apiVersion": document.get("apiVersion")} if kind != "List" else {}
            yield {**own, **item}


def _with_metadata(manifest: Manifest, path: Path, namespace: str) -> Manifest:
    metadata = manifest.get("metadata")
    if manifest.get("kind") not in (*KINDS, "HorizontalPodAutoscaler", KIND, CLUSTER_KIND, "Namespace"):
        return manifest
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str) or not name:
        raise InvalidInput(f"{path}: a {manifest['kind']} without metadata.name")
    for field_name in ("labels", "annotations"):
        _check_texts(metadata.get(field_name), f"{path}: {manifest['kind']}/{name}: metadata.{field_name}")
    if manifest["kind"] in (KIND, CLUSTER_KIND):
        return {**manifest, "metadata": {"namespace": namespace, **metadata}}
    return {**manifest, "metadata": {"namespace": namespace, "uid": "", "resourceVersion": "", **metadata}}


def _check_texts(values: Any, place: str) -> None:
    if values is None:
        return
    if not isinstance(values, dict):
        raise InvalidInput(f"{place} must be a mapping")
    for key, value in values.items():
        if not isinstance(value, str):
            raise InvalidInput(f"{place}: {key} must be a text, is {value!r} (put it in quotes)")


def _read(parse: Any, manifest: Manifest, path: Path) -> Any:
    place = f"{path}: {manifest['kind']}/{manifest['metadata']['name']}"
    try:
        return parse(manifest)
    except (InvalidInput, InvalidQuantity) as error:
        raise InvalidInput(f"{place}: {error}") from error
    except KeyError as error:
        raise InvalidInput(f"{place}: the field {error.args[0]} is missing") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise InvalidInput(f"{place}: a field is not of the shape that the API asks for: {error}") from error
