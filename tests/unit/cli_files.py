"""Small manifests and usage files for the tests of the command line, and the command itself as a function."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from click.testing import CliRunner, Result

from rightsizer.cli import main
from rightsizer.settings import PREFIX

HEADER = "namespace,workload,pod,container,unix_ts,cpu_cores,memory_bytes"
NOW = 1_763_640_000
"""2025-11-20 12:00 UTC, a whole slot."""
MI = 2**20
NO_KUBECONFIG = "/nowhere/kubeconfig"


def run(*arguments: object) -> Result:
    """`rightsizer ...`, with stdout and stderr apart, no cluster or server in reach, and no setting of the person who runs the tests."""
    environment: dict[str, str | None] = {name: None for name in os.environ if name.startswith(PREFIX)}
    # The client reads KUBECONFIG when it is imported, which may have been before.
    with patch("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", NO_KUBECONFIG):
        runner = CliRunner(env={**environment, "KUBECONFIG": NO_KUBECONFIG})
        return runner.invoke(main, [str(argument) for argument in arguments])


def objects(result: Result) -> dict[str, dict[str, Any]]:
    """The objects of `-o json`, by workload."""
    return {one["workload"]: one for one in json.loads(result.stdout)}


def deployment(name: str = "web", *, namespace: str | None = "shop", **changes: Any) -> dict[str, Any]:
    """A Deployment with one container `app` that asks for 500m and 1Gi, limits twice that."""
    resources = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": 1, "memory": "2Gi"}}
    manifest: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name} | ({} if namespace is None else {"namespace": namespace}),
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "app", "image": "i", "resources": resources}]}}},
    }
    return {**manifest, **changes}


def profile(spec: Mapping[str, Any], *, name: str = "ours", namespace: str | None = None) -> dict[str, Any]:
    metadata = {"name": name} | ({} if namespace is None else {"namespace": namespace})
    return {"apiVersion": "rightsizer.dev/v1alpha1", "kind": "ResourceProfile", "metadata": metadata, "spec": dict(spec)}


def write_manifests(place: Path, *manifests: Mapping[str, Any]) -> Path:
    place.mkdir(exist_ok=True)
    (place / "all.yaml").write_text(yaml.safe_dump_all(manifests))
    return place


def steady_rows(
    workload: str = "Deployment/web", *, hours: float = 24, pod: str = "web-5d9c7b-abcde", cpu: str = "0.18", memory: int = 320 * MI
) -> list[str]:
    """Usage that stays the same, a row for each slot up to NOW."""
    slots = round(hours * 12)
    return [f"shop,{workload},{pod},app,{NOW - 300 * back},{cpu},{memory}" for back in range(slots)]


def write_history(path: Path, rows: Iterable[str], *, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path
