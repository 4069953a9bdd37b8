"""Recommendations as JSON or YAML: a list with one object for each workload, in the words of a ResourceRecommendation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import yaml

from rightsizer.checks.facts import Objection
from rightsizer.cli.assessing import Assessed
from rightsizer.cli.table import note
from rightsizer.status.recommendation import render


def as_objects(assessed: Iterable[Assessed], *, now: float) -> list[dict[str, Any]]:
    """`containers`, `savings`, `measuredAt`, `mode`, `state`, `reason` and `message` as in a ResourceRecommendation's status.

    `containers[].note` and `checks` tell what would hold an automatic change back. `now` in unix seconds.
    """
    return [_object(one, now) for one in assessed]


def as_json(objects: list[dict[str, Any]]) -> str:
    return json.dumps(objects, indent=2, ensure_ascii=False)


def as_yaml(objects: list[dict[str, Any]]) -> str:
    return yaml.safe_dump(objects, sort_keys=False, allow_unicode=True, width=120).rstrip("\n")


def _object(one: Assessed, now: float) -> dict[str, Any]:
    status = render(one.standing, old={}, now=now)
    summary, workload = status["summary"], one.workload
    notes = {container.name: note(one.standing, container) for container in workload.sizable}
    return {
        "namespace": workload.ref.namespace,
        "workload": str(workload.ref),
        "replicas": workload.replicas,
        "profile": one.ruled.profile.name or None,
        "mode": status["mode"],
        "state": summary["state"],
        "reason": summary["reason"],
        "message": summary["message"],
        "measuredAt": status.get("measuredAt"),
        "containers": [{**container, "note": notes[container["name"]]} for container in status["containers"]],
        "savings": status.get("savings", {}),
        "evidence": status.get("evidence", {}),
        "checks": [_check(objection) for objection in one.standing.verdict.objections],
    }


def _check(objection: Objection) -> dict[str, Any]:
    fields = None if objection.paths is None else sorted(str(path) for path in objection.paths)
    return {"reason": str(objection.reason), "message": objection.message, "fields": fields}
