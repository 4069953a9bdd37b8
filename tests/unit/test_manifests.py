"""The manifests as files: what the installation grants, and how the operator's pod is confined."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from rightsizer import __version__
from rightsizer.cluster.admission import NAMES as ADMISSION_NAMES
from rightsizer.profile import CLUSTER_KIND, KIND, Profile, load_profile
from tests.unit.test_crds import PLURALS

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
APPLY = MANIFESTS
RECOMMEND_ONLY = MANIFESTS / "recommend-only"
ON_CREATE = MANIFESTS / "on-create"
IN_PLACE = MANIFESTS / "in-place"
EXAMPLES = sorted((MANIFESTS / "examples").glob("*.yaml"))

Manifest = dict[str, Any]
Grant = tuple[str, str, str]

READ_VERBS = {"get", "list", "watch"}
RECOMMEND_GRANTS: set[Grant] = {
    ("rightsizer.dev", "resourceprofiles", "list"),
    ("rightsizer.dev", "resourceprofiles", "watch"),
    ("rightsizer.dev", "resourceprofiles/status", "patch"),
    ("rightsizer.dev", "clusterresourceprofiles", "list"),
    ("rightsizer.dev", "clusterresourceprofiles", "watch"),
    ("rightsizer.dev", "clusterresourceprofiles/status", "patch"),
    ("rightsizer.dev", "resourcerecommendations", "list"),
    ("rightsizer.dev", "resourcerecommendations", "create"),
    ("rightsizer.dev", "resourcerecommendations", "patch"),
    ("rightsizer.dev", "resourcerecommendations", "delete"),
    ("rightsizer.dev", "resourcerecommendations/status", "patch"),
    ("rightsizer.dev", "podsizes", "list"),
    ("apps", "deployments", "list"),
    ("apps", "statefulsets", "list"),
    ("apps", "daemonsets", "list"),
    ("apps", "replicasets", "list"),
    ("batch", "cronjobs", "list"),
    ("argoproj.io", "rollouts", "list"),
    ("autoscaling", "horizontalpodautoscalers", "list"),
    ("", "pods", "list"),
    ("", "namespaces", "list"),
    ("", "events", "create"),
}
SURROUNDINGS_GRANTS: set[Grant] = {
    ("", "limitranges", "list"),
    ("", "resourcequotas", "list"),
    ("", "nodes", "list"),
    ("autoscaling.k8s.io", "verticalpodautoscalers", "list"),
    ("apps", "deployments", "get"),
}
"""Of whoever changes anything. The last one is for the operator's own Deployment only."""

ON_CREATE_GRANTS: set[Grant] = SURROUNDINGS_GRANTS | {
    ("rightsizer.dev", "podsizes", "create"),
    ("rightsizer.dev", "podsizes", "patch"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies", "get"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", "get"),
}
APPLY_GRANTS: set[Grant] = SURROUNDINGS_GRANTS | {
    ("policy", "poddisruptionbudgets", "list"),
    ("apps", "deployments", "patch"),
    ("apps", "statefulsets", "patch"),
    ("apps", "daemonsets", "patch"),
    ("batch", "cronjobs", "patch"),
    ("argoproj.io", "rollouts", "patch"),
}


def documents(path: Path) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


@cache
def installed(folder: Path) -> list[Manifest]:
    """Every manifest that the folder's kustomization leads to."""
    (kustomization,) = documents(folder / "kustomization.yaml")
    result: list[Manifest] = []
    for resource in kustomization["resources"]:
        target = (folder / resource).resolve()
        result += installed(target) if target.is_dir() else documents(target)
    return result


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def roles(folder: Path) -> list[Manifest]:
    return [*of_kind(installed(folder), "ClusterRole"), *of_kind(installed(folder), "Role")]


def grants(folder: Path) -> set[Grant]:
    return {
        (group, resource, verb)
        for role in roles(folder)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def deployment() -> Manifest:
    (only,) = of_kind(installed(APPLY), "Deployment")
    return only


def pod_spec() -> Manifest:
    return dict(deployment()["spec"]["template"]["spec"])


def container() -> Manifest:
    (only,) = pod_spec()["containers"]
    return dict(only)


def identity(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def test_recommend_only_grants_exactly_this() -> None:
    assert grants(RECOMMEND_ONLY) == RECOMMEND_GRANTS


def test_recommend_only_cannot_write_to_workloads() -> None:
    assert {grant for grant in grants(RECOMMEND_ONLY) if grant[0] == "apps" and grant[2] not in READ_VERBS} == set()


def test_apply_grants_patch_on_workloads_and_nothing_else_beside() -> None:
    assert grants(APPLY) - grants(RECOMMEND_ONLY) == APPLY_GRANTS


def test_on_create_grants_its_own_objects_and_a_look_at_the_policies() -> None:
    assert grants(ON_CREATE) == ON_CREATE_GRANTS
    (role,) = of_kind(installed(ON_CREATE), "ClusterRole")
    policies = {identity(one).split("/")[1] for one in of_kind(installed(ON_CREATE), "MutatingAdmissionPolicy")}
    assert [set(rule["resourceNames"]) for rule in role["rules"] if "resourceNames" in rule] == [policies]


def test_in_place_grants_resizes_and_nothing_else_of_pods() -> None:
    assert grants(IN_PLACE) == {("", "pods/resize", "patch")}
    assert grants(IN_PLACE) & (grants(APPLY) | grants(ON_CREATE)) == set()


@pytest.mark.parametrize("kind", ["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"])
def test_on_create_installs_the_policies_that_the_operator_looks_for(kind: str) -> None:
    assert sorted(one["metadata"]["name"] for one in of_kind(installed(ON_CREATE), kind)) == sorted(ADMISSION_NAMES)


def test_no_policy_fails_a_pod() -> None:
    policies = of_kind(installed(ON_CREATE), "MutatingAdmissionPolicy")
    assert {one["spec"]["failurePolicy"] for one in policies} == {"Ignore"}
    bindings = of_kind(installed(ON_CREATE), "MutatingAdmissionPolicyBinding")
    assert {one["spec"]["paramRef"]["parameterNotFoundAction"] for one in bindings} == {"Allow"}


def test_the_variants_differ_only_in_the_write_role_and_its_binding() -> None:
    more = [manifest for manifest in installed(APPLY) if manifest not in installed(RECOMMEND_ONLY)]
    assert [identity(manifest) for manifest in more] == [
        "ClusterRole/rightsizer-apply",
        "ClusterRoleBinding/rightsizer-apply",
        "Role/rightsizer-apply",
        "RoleBinding/rightsizer-apply",
    ]
    assert len(installed(APPLY)) == len(installed(RECOMMEND_ONLY)) + 4


def test_nothing_is_granted_by_wildcard_or_granted_twice() -> None:
    listed = [
        (group, resource, verb)
        for role in roles(APPLY)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
    assert len(listed) == len(set(listed))
    assert [grant for grant in listed if any("*" in part for part in grant)] == []


def test_every_role_is_bound_to_the_operators_account() -> None:
    manifests = installed(APPLY)
    (account,) = of_kind(manifests, "ServiceAccount")
    subject = {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": "rightsizer"}
    bindings = [*of_kind(manifests, "ClusterRoleBinding"), *of_kind(manifests, "RoleBinding")]
    assert all(binding["subjects"] == [subject] for binding in bindings)
    bound = sorted(binding["roleRef"]["name"] for binding in bindings)
    assert bound == sorted(role["metadata"]["name"] for role in roles(APPLY))
    assert pod_spec()["serviceAccountName"] == subject["name"]


def test_the_namespace_comes_first_and_holds_everything_namespaced() -> None:
    manifests = installed(APPLY)
    cluster_wide = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    assert identity(manifests[0]) == "Namespace/rightsizer"
    namespaced = [manifest for manifest in manifests if manifest["kind"] not in cluster_wide]
    assert {manifest["metadata"]["namespace"] for manifest in namespaced} == {"rightsizer"}


def test_every_definition_is_installed() -> None:
    names = {crd["metadata"]["name"] for crd in of_kind(installed(RECOMMEND_ONLY), "CustomResourceDefinition")}
    assert names == {f"{plural}.rightsizer.dev" for plural in PLURALS}


def test_the_container_has_no_privileges() -> None:
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_pod_runs_as_a_user_without_rights_under_seccomp() -> None:
    context = pod_spec()["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["runAsGroup"] == 65532
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_a_cluster_wide_profile_leaves_the_namespace_of_the_operator_alone() -> None:
    (namespace,) = of_kind(installed(APPLY), "Namespace")
    assert not Profile(namespace="", name="all").covers("rightsizer", namespace["metadata"]["labels"])


def test_the_namespace_admits_only_confined_pods() -> None:
    (namespace,) = of_kind(installed(APPLY), "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_only_tmp_and_the_history_can_be_written_and_have_an_end() -> None:
    assert container()["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}, {"name": "history", "mountPath": "/var/lib/rightsizer"}]
    assert {volume["name"]: volume["emptyDir"] for volume in pod_spec()["volumes"]} == {
        "tmp": {"sizeLimit": "64Mi"},
        "history": {"sizeLimit": "1Gi"},
    }


def test_the_history_is_kept_in_its_volume() -> None:
    (config,) = of_kind(installed(APPLY), "ConfigMap")
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    assert config["data"]["RIGHTSIZER_HISTORY_FOLDER"] == mounts["history"]


def test_one_operator_at_a_time() -> None:
    spec = deployment()["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_operator_has_requests_and_limits_of_its_own() -> None:
    assert container()["resources"] == {
        "requests": {"cpu": "100m", "memory": "200Mi"},
        "limits": {"cpu": "1", "memory": "400Mi"},
    }


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes_ask_for_the_health_of_the_cycle(probe: str) -> None:
    assert container()[probe]["httpGet"] == {"path": "/healthz", "port": "http"}


def test_the_first_cycle_has_five_minutes() -> None:
    startup = container()["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 300


def test_a_stop_has_a_minute() -> None:
    assert pod_spec()["terminationGracePeriodSeconds"] == 60


def test_the_service_leads_to_the_operators_port() -> None:
    (service,) = of_kind(installed(APPLY), "Service")
    labels = deployment()["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert deployment()["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["ports"][0]["targetPort"] in {port["name"] for port in container()["ports"]}


def test_the_scrape_annotations_name_the_operators_port() -> None:
    annotations = deployment()["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(container()["ports"][0]["containerPort"])


def test_settings_come_from_the_config_map() -> None:
    (config,) = of_kind(installed(APPLY), "ConfigMap")
    assert container()["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
    assert all(re.fullmatch(r"RIGHTSIZER_[A-Z_]+", name) for name in config["data"])
    assert "RIGHTSIZER_PROMETHEUS_URL" in config["data"]


def test_the_image_is_of_this_version() -> None:
    assert container()["image"] == f"rightsizer:{__version__}"
    assert container()["args"] == ["run"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_profiles_named_like_their_file(path: Path) -> None:
    (profile,) = documents(path)
    assert profile["apiVersion"] == "rightsizer.dev/v1alpha1"
    assert profile["kind"] in (KIND, CLUSTER_KIND)
    assert profile["metadata"] == {"name": path.stem}


def test_examples_are_not_installed() -> None:
    assert len(EXAMPLES) == 4
    assert of_kind(installed(APPLY), KIND) == of_kind(installed(APPLY), CLUSTER_KIND) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_use_only_fields_of_the_schema(path: Path) -> None:
    (profile,) = documents(path)
    (crd,) = documents(ROOT / "crds" / f"{profile['kind'].lower()}s.yaml")
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert unknown_fields(schema, profile["spec"]) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_understood_by_the_operator(path: Path) -> None:
    (profile,) = documents(path)
    assert load_profile(profile).problems == ()


def unknown_fields(schema: Manifest, value: Any, path: str = "spec") -> list[str]:
    if isinstance(value, list):
        return [found for item in value for found in unknown_fields(schema["items"], item, f"{path}[]")]
    if not isinstance(value, dict) or "additionalProperties" in schema:
        return []
    known = schema.get("properties", {})
    here = [f"{path}.{name}" for name in value if name not in known]
    return here + [
        found for name, child in value.items() if name in known for found in unknown_fields(known[name], child, f"{path}.{name}")
    ]


def final_stage() -> list[str]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return text[text.rindex("\nFROM ") :].strip().splitlines()


def test_the_image_runs_as_the_user_of_the_manifests() -> None:
    context = pod_spec()["securityContext"]
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}" in final_stage()


def test_the_last_stage_of_the_image_installs_nothing() -> None:
    runs = [line for line in final_stage() if line.startswith("RUN ")]
    assert [line for line in runs if re.search(r"\b(install|apt-get|wheel --|build)\b", line)] == []
    assert any("pip uninstall" in line for line in runs)


def test_both_stages_of_the_image_share_one_base() -> None:
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert bases[0].startswith("python:3.11-slim")
