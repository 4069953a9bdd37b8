"""The custom resource definitions as files: what can be said about a schema without an API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rightsizer.change import Outcome
from rightsizer.checks.creation import MOST_ENTRIES
from rightsizer.profile import parse_profile
from tests.cluster_profile_definition import SOURCE, TARGET
from tests.cluster_profile_definition import definition as definition_of_cluster_profile

CRDS = Path(__file__).parents[2] / "crds"
PLURALS = ("resourceprofiles", "clusterresourceprofiles", "resourcerecommendations", "podsizes")
PROFILES = PLURALS[:2]

Schema = dict[str, Any]

RATIO_LIMIT = {"policy": "Ratio", "ratio": 2.0}
SPEC_DEFAULTS = {
    "mode": "Recommend",
    "workloads": {"kinds": ["Deployment", "StatefulSet", "DaemonSet", "CronJob"]},
    "method": "Measured",
    "window": "14d",
    "minimumHistory": {"raise": "24h", "lower": "7d"},
    "cpu": {"statistic": "load-p94", "buffer": "20%", "limit": RATIO_LIMIT, "min": "10m", "max": "16"},
    "memory": {
        "statistic": "load-p96",
        "buffer": "20%",
        "limit": {"policy": "Ratio", "ratio": 1.5, "maxRatio": 2.0},
        "min": "32Mi",
        "max": "64Gi",
    },
    "apply": {
        "strategy": "Rollout",
        "minimumChange": "10%",
        "lowerAtMostEvery": "24h",
        "raiseOutsideWindows": True,
        "takeOwnership": "FromTools",
        "maxConcurrent": 1,
        "pauseAfterFailure": "1h",
        "verify": {"period": "30m", "maxThrottled": "25%"},
    },
    "evidence": {"maxOOMKills": 0, "maxTimeAboveRequest": "1%"},
}


def definition(plural: str) -> Schema:
    loaded: Schema = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    return loaded


def version(plural: str) -> Schema:
    (only,) = definition(plural)["spec"]["versions"]
    return dict(only)


def root(plural: str) -> Schema:
    return dict(version(plural)["schema"]["openAPIV3Schema"])


def walk(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema below and including this one, with its path."""
    yield path or ".", schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from walk(schema["additionalProperties"], f"{path}.*")


def filled(schema: Schema, value: Any) -> Any:
    """The value with the schema's defaults filled in, as the API server does."""
    if not isinstance(value, dict):
        return value
    result = dict(value)
    for name, child in schema.get("properties", {}).items():
        if name not in result and "default" in child:
            result[name] = child["default"]
        if name in result:
            result[name] = filled(child, result[name])
    return result


@pytest.mark.parametrize(
    ("plural", "kind", "short_name", "scope"),
    [
        ("resourceprofiles", "ResourceProfile", "rp", "Namespaced"),
        ("clusterresourceprofiles", "ClusterResourceProfile", "crp", "Cluster"),
        ("resourcerecommendations", "ResourceRecommendation", "rr", "Namespaced"),
    ],
)
def test_names_of_the_kind(plural: str, kind: str, short_name: str, scope: str) -> None:
    spec = definition(plural)["spec"]
    assert definition(plural)["metadata"]["name"] == f"{plural}.rightsizer.dev"
    assert (spec["group"], spec["scope"]) == ("rightsizer.dev", scope)
    assert spec["names"] == {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
        "shortNames": [short_name],
        "categories": ["rightsizer"],
    }


@pytest.mark.parametrize("plural", PLURALS)
def test_one_version_served_and_stored_with_a_status_subresource(plural: str) -> None:
    only = version(plural)
    assert (only["name"], only["served"], only["storage"]) == ("v1alpha1", True, True)
    # PodSizes are read by policies, and nobody tells of them there.
    assert only.get("subresources") == (None if plural == "podsizes" else {"status": {}})


@pytest.mark.parametrize("plural", PLURALS)
def test_every_field_has_a_type_and_a_description(plural: str) -> None:
    types = {"object", "array", "string", "integer", "number", "boolean"}
    assert [path for path, schema in walk(root(plural)) if schema.get("type") not in types] == []
    assert [path for path, schema in walk(root(plural)) if not is_sentence(schema.get("description", ""))] == []


def is_sentence(text: str) -> bool:
    return len(text) >= 10 and text.endswith(".") and (text[0].isupper() or text[0].isdigit())


@pytest.mark.parametrize("plural", PLURALS)
def test_every_field_has_an_end_to_its_size(plural: str) -> None:
    assert [path for path, schema in walk(root(plural)) if not is_bounded(schema)] == []


def is_bounded(schema: Schema) -> bool:
    if schema["type"] == "string":
        return "maxLength" in schema or "enum" in schema
    if schema["type"] == "array":
        return "maxItems" in schema
    return "additionalProperties" not in schema or "maxProperties" in schema


@pytest.mark.parametrize("plural", PLURALS)
def test_every_list_says_how_it_is_merged(plural: str) -> None:
    lists = [(path, schema) for path, schema in walk(root(plural)) if schema["type"] == "array"]
    assert lists or plural == "podsizes"
    assert [path for path, schema in lists if "x-kubernetes-list-type" not in schema] == []


@pytest.mark.parametrize("plural", PLURALS)
def test_no_field_lets_unknown_fields_through(plural: str) -> None:
    objects = [(path, schema) for path, schema in walk(root(plural)) if schema["type"] == "object"]
    assert [path for path, schema in objects if not schema.keys() & {"properties", "additionalProperties"}] == []
    assert "x-kubernetes-preserve-unknown-fields" not in (CRDS / f"{plural}.yaml").read_text()


@pytest.mark.parametrize("plural", PROFILES)
def test_every_rule_says_in_words_what_is_expected_and_of_which_field(plural: str) -> None:
    rules = [(path, schema, rule) for path, schema in walk(root(plural)) for rule in schema.get("x-kubernetes-validations", [])]
    assert len(rules) > 20
    assert [path for path, _, rule in rules if not rule.get("message")] == []
    of_objects = [(path, rule) for path, schema, rule in rules if "properties" in schema]
    assert [path for path, rule in of_objects if "fieldPath" not in rule] == []


@pytest.mark.parametrize("plural", PLURALS)
def test_formats_are_checked_in_words_and_not_by_patterns(plural: str) -> None:
    assert [path for path, schema in walk(root(plural)) if "pattern" in schema] == []


@pytest.mark.parametrize("plural", PROFILES)
def test_an_empty_profile_is_filled_with_every_default(plural: str) -> None:
    assert filled(root(plural), {})["spec"] == SPEC_DEFAULTS
    assert filled(root(plural), {"spec": {}})["spec"] == SPEC_DEFAULTS


def test_both_profiles_have_the_same_spec_but_for_the_namespaces() -> None:
    ours, theirs = root("clusterresourceprofiles")["properties"]["spec"], root("resourceprofiles")["properties"]["spec"]
    selector = ours["properties"].pop("namespaceSelector")
    assert ours == theirs
    assert "default" not in selector, "where it is not written, the system namespaces are left out"


def test_the_selector_of_namespaces_is_checked_like_that_of_workloads() -> None:
    ours = dict(walk(root("clusterresourceprofiles")["properties"]["spec"]["properties"]["namespaceSelector"]))
    theirs = dict(walk(root("resourceprofiles")["properties"]["spec"]["properties"]["workloads"]["properties"]["selector"]))
    assert {path: without_description(schema) for path, schema in ours.items() if path != "."} == {
        path: without_description(schema) for path, schema in theirs.items() if path != "."
    }


def without_description(schema: Schema) -> Schema:
    nested = ("description", "properties", "items", "additionalProperties")
    return {key: value for key, value in schema.items() if key not in nested}


def test_both_profiles_have_the_same_status_but_for_the_number_of_namespaces() -> None:
    ours, theirs = (dict(walk(root(plural)["properties"]["status"])) for plural in reversed(PROFILES))
    assert set(ours) - set(theirs) == {".namespaces"}
    assert set(theirs) - set(ours) == set()


def test_the_definition_of_the_cluster_wide_profile_is_made_from_the_other() -> None:
    assert TARGET.read_text() == definition_of_cluster_profile(SOURCE.read_text()), "run `make crds`"


def test_a_definition_without_the_expected_parts_is_not_copied() -> None:
    with pytest.raises(ValueError, match="shortNames: \\[rp\\]' is there 0 times"):
        definition_of_cluster_profile(SOURCE.read_text().replace("[rp]", "[prof]"))


def test_the_operator_has_the_same_defaults_as_the_schema() -> None:
    spelled_out = parse_profile({"spec": SPEC_DEFAULTS})
    assert spelled_out.problems == ()
    assert parse_profile({"spec": {}}) == spelled_out


def test_the_schema_knows_every_outcome_of_a_change() -> None:
    known = dict(walk(root("resourcerecommendations")))[".status.lastChange.outcome"]["enum"]
    assert known == [outcome.value for outcome in Outcome]


def test_exceptions_of_a_container_have_no_defaults() -> None:
    exceptions = root("resourceprofiles")["properties"]["spec"]["properties"]["containers"]
    assert [path for path, schema in walk(exceptions) if "default" in schema] == []


@pytest.mark.parametrize("resource", ["cpu", "memory"])
def test_exceptions_of_a_container_offer_the_same_fields_as_the_profile(resource: str) -> None:
    spec = root("resourceprofiles")["properties"]["spec"]["properties"]
    exception = spec["containers"]["items"]["properties"][resource]
    assert [path for path, _ in walk(exception)] == [path for path, _ in walk(spec[resource])]


@pytest.mark.parametrize("resource", ["cpu", "memory"])
def test_exceptions_of_a_container_are_checked_like_the_profile(resource: str) -> None:
    spec = root("resourceprofiles")["properties"]["spec"]["properties"]
    checks = ("type", "enum", "minimum", "maximum", "maxLength", "x-kubernetes-validations")
    ours = dict(walk(spec["containers"]["items"]["properties"][resource]))
    for path, schema in walk(spec[resource]):
        if schema["type"] != "object":  # pairs of fields are compared with the profile's values, at the top
            assert {key: ours[path].get(key) for key in checks} == {key: schema.get(key) for key in checks}, path


@pytest.mark.parametrize("plural", PLURALS)
def test_printer_columns_point_at_fields_of_the_schema(plural: str) -> None:
    known = {path for path, _ in walk(root(plural))} | {".metadata.creationTimestamp"}
    for column in version(plural)["additionalPrinterColumns"]:
        path = column["jsonPath"].replace("[?(@.type==", "[]|").split("|")[0]
        assert path in known, column


@pytest.mark.parametrize(
    ("plural", "columns", "wide"),
    [
        ("resourceprofiles", ["Mode", "Workloads", "Ready", "Measuring", "Age"], []),
        ("clusterresourceprofiles", ["Mode", "Namespaces", "Workloads", "Ready", "Measuring", "Age"], []),
        (
            "resourcerecommendations",
            ["Workload", "Mode", "CPU", "Memory", "Evidence", "State", "Reason", "Age"],
            ["Profile", "Message"],
        ),
    ],
)
def test_columns_of_kubectl_get(plural: str, columns: list[str], wide: list[str]) -> None:
    shown = version(plural)["additionalPrinterColumns"]
    assert [column["name"] for column in shown if not column.get("priority")] == columns
    assert [column["name"] for column in shown if column.get("priority")] == wide


def test_the_operator_knows_how_many_entries_a_namespace_may_have() -> None:
    workloads = root("podsizes")["properties"]["spec"]["properties"]["workloads"]
    assert (workloads["maxProperties"], workloads["x-kubernetes-map-type"]) == (MOST_ENTRIES, "atomic")


def test_kustomization_names_every_definition() -> None:
    listed = yaml.safe_load((CRDS / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(f"{plural}.yaml" for plural in PLURALS)
