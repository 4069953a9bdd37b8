"""The custom resources and the manifests in front of a real API server: what it refuses, fills in, prints and admits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.testbed import KubectlError, Testbed
from tests.unit.test_crds import PLURALS, SPEC_DEFAULTS
from tests.unit.test_manifests import APPLY_GRANTS, RECOMMEND_GRANTS, Grant

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "manifests" / "examples").glob("*.yaml"))
ACCOUNT = "system:serviceaccount:rightsizer:rightsizer"
NAMESPACE = "custom-resources"

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def cluster(bed: Testbed) -> Testbed:
    """The shared cluster with the definitions installed and a namespace of this module's own."""
    bed.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "crds"))
    wait_established(bed)
    bed.create_namespace(NAMESPACE)
    return bed


@pytest.fixture(scope="module")
def fresh_cluster() -> Iterator[Testbed]:
    """A cluster in which nothing of the product is installed."""
    with Testbed.start(prometheus=False) as bed:
        yield bed


def wait_established(bed: Testbed) -> None:
    definitions = [f"crd/{plural}.rightsizer.dev" for plural in PLURALS]
    bed.kubectl("wait", "--for=condition=Established", "--timeout=30s", *definitions)
    bed.wait_for(lambda: short_names_known(bed), timeout_seconds=30.0, what="short names of the custom resources")


def short_names_known(bed: Testbed) -> bool:
    """Discovery follows a moment after a definition is established."""
    try:
        bed.kubectl("get", "rp,crp,rr", "--all-namespaces")
    except KubectlError:
        return False
    return True


def profile(spec: Any, *, name: str = "tried") -> Manifest:
    return {
        "apiVersion": "rightsizer.dev/v1alpha1",
        "kind": "ResourceProfile",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def create(bed: Testbed, manifest: Manifest) -> Manifest:
    """What the API server would store; nothing is stored."""
    answer = bed.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(manifest))
    return dict(json.loads(answer))


def refusal(bed: Testbed, manifest: Manifest) -> str:
    with pytest.raises(KubectlError) as raised:
        create(bed, manifest)
    return raised.value.stderr


APP: Manifest = {"name": "app"}

REFUSED = [
    # percentages
    ({"cpu": {"buffer": "20"}}, "spec.cpu.buffer", "whole percentage from 0% to 300%"),
    ({"cpu": {"buffer": "-5%"}}, "spec.cpu.buffer", "whole percentage"),
    ({"cpu": {"buffer": "301%"}}, "spec.cpu.buffer", "whole percentage"),
    ({"memory": {"buffer": "1.5%"}}, "spec.memory.buffer", "whole percentage"),
    ({"memory": {"buffer": 20}}, "spec.memory.buffer", "must be of type string"),
    ({"apply": {"minimumChange": "101%"}}, "spec.apply.minimumChange", "whole percentage from 0% to 100%"),
    ({"containers": [APP | {"memory": {"buffer": "lots"}}]}, "spec.containers[0].memory.buffer", "whole percentage"),
    # ratios
    ({"cpu": {"limit": {"ratio": 0.9}}}, "spec.cpu.limit.ratio", "greater than or equal to 1"),
    ({"memory": {"limit": {"ratio": 0}}}, "spec.memory.limit.ratio", "greater than or equal to 1"),
    ({"memory": {"limit": {"ratio": 101, "maxRatio": 101}}}, "spec.memory.limit.ratio", "less than or equal to 100"),
    ({"memory": {"limit": {"ratio": 3}}}, "spec.memory.limit.maxRatio", "raise maxRatio to at least the ratio"),
    ({"containers": [APP | {"cpu": {"limit": {"ratio": 0.5}}}]}, "spec.containers[0].cpu.limit.ratio", "equal to 1"),
    ({"containers": [APP | {"memory": {"limit": {"ratio": 3}}}]}, "spec.containers", "raise maxRatio there"),
    ({"cpu": {"limit": {"maxRatio": 2}}}, "spec.cpu.limit.maxRatio", "unknown field"),
    ({"cpu": {"limit": {"policy": "Double"}}}, "spec.cpu.limit.policy", '"Ratio", "None", "Keep"'),
    # minimum and maximum
    ({"cpu": {"min": "2", "max": "1500m"}}, "spec.cpu.min", "min (2) is above max (1500m)"),
    ({"cpu": {"min": "17"}}, "spec.cpu.min", "min (17) is above max (16)"),
    ({"memory": {"min": "1Gi", "max": "1000Mi"}}, "spec.memory.min", "min (1Gi) is above max (1000Mi)"),
    ({"containers": [APP | {"cpu": {"min": "17"}}]}, "spec.containers", "cpu.min is above cpu.max"),
    ({"containers": [APP | {"memory": {"max": "16Mi"}}]}, "spec.containers", "memory.min is above memory.max"),
    # quantities
    ({"cpu": {"min": "ten"}}, "spec.cpu.min", "quantity of CPU"),
    ({"cpu": {"min": "-1"}}, "spec.cpu.min", "at least 1m"),
    ({"cpu": {"max": 16}}, "spec.cpu.max", "must be of type string"),
    ({"cpu": {"max": "1 core"}}, "spec.cpu.max", "quantity of CPU"),
    ({"cpu": {"max": "10Mi"}}, "spec.cpu.max", "quantity of CPU"),
    ({"memory": {"min": "512m"}}, "spec.memory.min", "a small m means thousandths"),
    ({"memory": {"max": "64GB"}}, "spec.memory.max", "quantity of memory"),
    ({"containers": [APP | {"memory": {"min": "much"}}]}, "spec.containers[0].memory.min", "quantity of memory"),
    # risk
    ({"risk": {"timeAboveRequest": "1"}}, "spec.risk.timeAboveRequest", "from 0.05% to 10%"),
    ({"risk": {"timeAboveRequest": "0.01%"}}, "spec.risk.timeAboveRequest", "from 0.05% to 10%"),
    ({"risk": {"timeAboveRequest": "10.5%"}}, "spec.risk.timeAboveRequest", "from 0.05% to 10%"),
    ({"risk": {"oomKillsPer1000Days": 0}}, "spec.risk.oomKillsPer1000Days", "greater than or equal to 1"),
    # evidence
    ({"evidence": {"maxTimeAboveRequest": "0.55%"}}, "spec.evidence.maxTimeAboveRequest", "up to one decimal"),
    ({"evidence": {"maxTimeAboveRequest": "100.1%"}}, "spec.evidence.maxTimeAboveRequest", "from 0% to 100%"),
    # statistics
    ({"cpu": {"statistic": "p49"}}, "spec.cpu.statistic", "percentile from p50 to p99.9"),
    ({"cpu": {"statistic": "p100"}}, "spec.cpu.statistic", "percentile from p50 to p99.9"),
    ({"cpu": {"statistic": "p99.95"}}, "spec.cpu.statistic", "percentile from p50 to p99.9"),
    ({"memory": {"statistic": "median"}}, "spec.memory.statistic", "mean or max"),
    ({"cpu": {"statistic": "load-max"}}, "spec.cpu.statistic", "percentile from p50 to p99.9"),
    ({"cpu": {"statistic": "p95", "halfLife": "30m"}}, "spec.cpu.halfLife", "from 1h to 30d"),
    ({"cpu": {"statistic": "p95", "halfLife": "31d"}}, "spec.cpu.halfLife", "from 1h to 30d"),
    ({"memory": {"statistic": "max", "halfLife": "12h"}}, "spec.memory.halfLife", "only percentiles have a half-life"),
    ({"containers": [APP | {"cpu": {"statistic": "mean", "halfLife": "1d"}}]}, "spec.containers[0].cpu.halfLife", "only percentiles"),
    ({"containers": [APP | {"cpu": {"statistic": "P95"}}]}, "spec.containers[0].cpu.statistic", "percentile"),
    # durations
    ({"window": "two weeks"}, "spec.window", "1h to 30d"),
    ({"window": "14"}, "spec.window", "1h to 30d"),
    ({"window": "31d"}, "spec.window", "1h to 30d"),
    ({"window": "721h"}, "spec.window", "1h to 30d"),
    ({"window": "0h"}, "spec.window", "1h to 30d"),
    ({"minimumHistory": {"raise": "1w"}}, "spec.minimumHistory.raise", "30m, 24h or 7d"),
    ({"minimumHistory": {"lower": "-1d"}}, "spec.minimumHistory.lower", "30m, 24h or 7d"),
    ({"minimumHistory": {"raise": "15d"}}, "spec.minimumHistory.raise", "(15d) is longer than the window (14d)"),
    ({"window": "24h"}, "spec.minimumHistory.lower", "(7d) is longer than the window (24h)"),
    ({"apply": {"lowerAtMostEvery": "1d12h"}}, "spec.apply.lowerAtMostEvery", "30m, 24h or 7d"),
    ({"apply": {"lowerAtMostEvery": "31d"}}, "spec.apply.lowerAtMostEvery", "up to 30d"),
    # words
    ({"mode": False}, "spec.mode", "must be of type string"),
    ({"mode": "Auto"}, "spec.mode", '"Ignore", "Recommend", "Apply"'),
    ({"method": "Best guess"}, "spec.method", "the name of a method, such as Measured"),
    ({"method": "m" * 64}, "spec.method", "63"),
    ({"apply": {"windows": [{"start": "9:00"}]}}, "spec.apply.windows[0].start", "before 24:00"),
    ({"apply": {"windows": [{"start": "24:00"}]}}, "spec.apply.windows[0].start", "before 24:00"),
    ({"apply": {"windows": [{"end": "24:01"}]}}, "spec.apply.windows[0].end", "up to 24:00"),
    ({"apply": {"windows": [{"start": "08:00", "end": "08:00"}]}}, "spec.apply.windows[0].end", "must not be the same"),
    ({"apply": {"windows": [{"days": ["Monday"]}]}}, "spec.apply.windows[0].days[0]", '"Mon"'),
    ({"apply": {"windows": [{"days": []}]}}, "spec.apply.windows[0].days", "at least 1"),
    ({"apply": {"windows": [{"timezone": "UTC"}]}}, "spec.apply.windows[0].timezone", "unknown field"),
    ({"apply": {"raiseOutsideWindows": "yes"}}, "spec.apply.raiseOutsideWindows", "boolean"),
    ({"apply": {"strategy": "Recreate"}}, "spec.apply.strategy", '"Rollout", "InPlace", "OnCreate"'),
    ({"workloads": {"kinds": ["Job"]}}, "spec.workloads.kinds[0]", '"DaemonSet", "CronJob", "Rollout"'),
    ({"workloads": {"kinds": []}}, "spec.workloads.kinds", "at least 1 items"),
    ({"workloads": {"kinds": ["Deployment", "Deployment"]}}, "spec.workloads.kinds[1]", "Duplicate value"),
    ({"containers": [APP | {"mode": "Apply"}]}, "spec.containers[0].mode", '"Ignore"'),
    ({"containers": [APP, APP]}, "spec.containers[1]", "Duplicate value"),
    ({"containers": [{"name": "My App"}]}, "spec.containers[0].name", "container name"),
    # selectors
    ({"workloads": {"selector": {"matchLabels": {"tier": "a b"}}}}, "selector.matchLabels[tier]", "label value"),
    ({"workloads": {"selector": {"matchLabels": {"a b": "web"}}}}, "selector.matchLabels", "label key"),
    (
        {"workloads": {"selector": {"matchExpressions": [{"key": "tier", "operator": "In"}]}}},
        "selector.matchExpressions[0].values",
        "name at least one",
    ),
    (
        {"workloads": {"selector": {"matchExpressions": [{"key": "tier", "operator": "Exists", "values": ["web"]}]}}},
        "selector.matchExpressions[0].values",
        "remove them",
    ),
    (
        {"workloads": {"selector": {"matchExpressions": [{"key": "tier", "operator": "Like", "values": ["web"]}]}}},
        "selector.matchExpressions[0].operator",
        '"In", "NotIn", "Exists", "DoesNotExist"',
    ),
    # typing errors
    ({"cpu": {"bufer": "20%"}}, "spec.cpu.bufer", "unknown field"),
    ({"windows": []}, "spec.windows", "unknown field"),
]


@pytest.mark.parametrize(("spec", "field", "words"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_bad_profile_is_refused_with_its_field(cluster: Testbed, spec: Manifest, field: str, words: str) -> None:
    said = refusal(cluster, profile(spec))
    assert field in said
    assert words in said
    assert "evaluation error" not in said
    assert "no such" not in said


def cluster_profile(spec: Any) -> Manifest:
    return {"apiVersion": "rightsizer.dev/v1alpha1", "kind": "ClusterResourceProfile", "metadata": {"name": "tried"}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"namespaceSelector": {"matchLabels": {"team": "a b"}}}, "spec.namespaceSelector.matchLabels[team]", "label value"),
        ({"namespaceSelector": {"matchLabels": {"a b": "x"}}}, "spec.namespaceSelector.matchLabels", "label key"),
        ({"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In"}]}}, "matchExpressions[0].values", "at least one"),
        ({"namespaceSelector": {"names": ["shop"]}}, "spec.namespaceSelector.names", "unknown field"),
        ({"namespaceSelector": ["shop"]}, "spec.namespaceSelector", "must be of type object"),
        ({"cpu": {"min": "2", "max": "1500m"}}, "spec.cpu.min", "min (2) is above max (1500m)"),
        ({"window": "31d"}, "spec.window", "1h to 30d"),
    ],
)
def test_a_bad_cluster_wide_profile_is_refused_with_its_field(cluster: Testbed, spec: Manifest, field: str, words: str) -> None:
    said = refusal(cluster, cluster_profile(spec))
    assert field in said
    assert words in said
    assert "evaluation error" not in said


@pytest.mark.parametrize("selector", [None, {}, {"matchLabels": {"team": "a"}}])
def test_a_cluster_wide_profile_reads_back_with_every_default_and_its_selector(cluster: Testbed, selector: Manifest | None) -> None:
    spec = {} if selector is None else {"namespaceSelector": selector}
    assert create(cluster, cluster_profile(spec))["spec"] == SPEC_DEFAULTS | spec


def test_a_profile_of_a_namespace_has_no_selector_of_namespaces(cluster: Testbed) -> None:
    assert 'unknown field "spec.namespaceSelector"' in refusal(cluster, profile({"namespaceSelector": {}}))


ACCEPTED: list[Manifest] = [
    {"cpu": {"statistic": "p50", "buffer": "0%", "limit": {"ratio": 1}}},
    {"cpu": {"statistic": "p99.9", "buffer": "300%", "limit": {"ratio": 100}}},
    {"cpu": {"statistic": "load-p94", "halfLife": "15h"}, "memory": {"statistic": "p99", "halfLife": "30d"}},
    {"containers": [APP | {"cpu": {"statistic": "load-p50.5", "halfLife": "1h"}, "memory": {"halfLife": "2d"}}]},
    {"cpu": {"statistic": "mean", "limit": {"policy": "None"}, "min": "1m", "max": "0.5"}},
    {"memory": {"statistic": "max", "limit": {"ratio": 1.5, "maxRatio": 1.5}, "min": "1Mi", "max": "1Mi"}},
    {"memory": {"limit": {"policy": "Keep", "ratio": 2}}},
    {"method": "Learned", "risk": {"timeAboveRequest": "0.3%", "oomKillsPer1000Days": 1}},
    {"evidence": {"maxTimeAboveRequest": "0.5%"}},
    {"evidence": {"maxTimeAboveRequest": "100.0%"}},
    {"method": "Learned", "risk": {"timeAboveRequest": "10%", "oomKillsPer1000Days": 2.5}},
    {"window": "1h", "minimumHistory": {"raise": "0h", "lower": "60m"}},
    {"window": "30d", "minimumHistory": {"raise": "30d", "lower": "720h"}},
    {"window": "036h", "minimumHistory": {"raise": "0m", "lower": "1d"}},
    {"apply": {"minimumChange": "0%", "lowerAtMostEvery": "0h"}},
    {"apply": {"minimumChange": "100%", "lowerAtMostEvery": "43200m"}},
    {"apply": {"windows": [], "raiseOutsideWindows": False}},
    {"apply": {"windows": [{}, {"days": ["Sat", "Sun"], "start": "22:00", "end": "04:00", "timeZone": "Europe/Paris"}]}},
    {"workloads": {"kinds": ["DaemonSet"], "selector": {}}},
    {"workloads": {"selector": {"matchLabels": {"app.kubernetes.io/name": "web_1.2", "bare": ""}}}},
    {"workloads": {"selector": {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist", "values": []}]}}},
    {"containers": [APP | {"cpu": {"min": "17", "max": "20"}, "memory": {"limit": {"ratio": 3, "maxRatio": 3}}}]},
    {"cpu": {"max": "2"}, "containers": [APP | {"cpu": {"min": "1"}}, {"name": "proxy", "mode": "Ignore"}]},
]


@pytest.mark.parametrize("spec", ACCEPTED, ids=json.dumps)
def test_values_at_the_edge_are_accepted(cluster: Testbed, spec: Manifest) -> None:
    assert create(cluster, profile(spec))["spec"].keys() >= SPEC_DEFAULTS.keys()


@pytest.mark.parametrize("spec", [{}, None], ids=["empty", "null"])
def test_a_profile_that_says_nothing_reads_back_with_every_default(cluster: Testbed, spec: Manifest | None) -> None:
    assert create(cluster, profile(spec))["spec"] == SPEC_DEFAULTS


def test_a_profile_without_spec_reads_back_with_every_default(cluster: Testbed) -> None:
    manifest = profile({})
    del manifest["spec"]
    assert create(cluster, manifest)["spec"] == SPEC_DEFAULTS


def test_a_field_that_is_set_keeps_the_defaults_beside_it(cluster: Testbed) -> None:
    spec = create(cluster, profile({"cpu": {"limit": {"policy": "Keep"}}}))["spec"]
    assert spec["cpu"] == SPEC_DEFAULTS["cpu"] | {"limit": {"policy": "Keep", "ratio": 2}}  # type: ignore[operator]


def test_an_exception_reads_back_as_it_was_written(cluster: Testbed) -> None:
    exceptions = [APP | {"memory": {"buffer": "40%"}}, {"name": "proxy", "mode": "Ignore"}]
    assert create(cluster, profile({"containers": exceptions}))["spec"]["containers"] == exceptions


def test_the_largest_profile_stays_within_the_cost_of_the_rules(cluster: Testbed) -> None:
    rules = {"cpu": {"min": "20m", "max": "4"}, "memory": {"limit": {"ratio": 1.2, "maxRatio": 1.8}, "min": "64Mi"}}
    spec = {"containers": [{"name": f"container-{number}"} | rules for number in range(50)]}
    assert len(create(cluster, profile(spec))["spec"]["containers"]) == 50


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("rp", "recommends for every workload"),
        ("rp.spec.mode", "ENUM:"),
        ("rp.spec.cpu.statistic", "Default load-p94"),
        ("rp.spec.memory.limit.maxRatio", "twice the recent peak"),
        ("rp.spec.containers.memory.buffer", "Instead of spec.memory.buffer"),
        ("rp.status.conditions", "Ready:"),
        ("crp", "every namespace but those of the system"),
        ("crp.spec.namespaceSelector", "selects exactly what it says"),
        ("rr.status.containers.explanation.cpu.text", "redone by hand"),
        ("rr.status.lastChange.outcome", "Superseded"),
    ],
)
def test_kubectl_explains_the_fields(cluster: Testbed, path: str, words: str) -> None:
    assert words in " ".join(cluster.kubectl("explain", path).split())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_accepted(cluster: Testbed, path: Path) -> None:
    assert "created" in cluster.kubectl("create", "--dry-run=server", "-n", NAMESPACE, "-f", str(path))


VALUES = {"requests": {"cpu": "216m", "memory": "384Mi"}, "limits": {"cpu": "432m", "memory": "576Mi"}}
BEFORE = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}
SINCE = "2026-01-02T03:00:00Z"


def condition(kind: str, reason: str) -> Manifest:
    said = {"type": kind, "status": "True", "reason": reason, "message": "As wanted."}
    return said | {"lastTransitionTime": SINCE, "observedGeneration": 3}


def explained(measured: str, text: str) -> Manifest:
    inputs = {"statistic": "p95", "window": "14d", "measured": measured, "buffer": "20%"}
    return inputs | {"samples": 4032, "coverage": "97%", "pods": 3, "clamp": "None", "text": text}


RECOMMENDATION_STATUS: Manifest = {
    "mode": "Apply",
    "observedGeneration": 3,
    "measuredAt": SINCE,
    "summary": {
        "workload": "Deployment/web",
        "cpu": "500m -> 216m",
        "memory": "1Gi -> 384Mi",
        "state": "Applied",
        "reason": "RolledOut",
        "message": "All 3 pods run with the recommended values.",
    },
    "containers": [
        {
            "name": "app",
            "current": BEFORE,
            "recommended": VALUES,
            "explanation": {
                "cpu": explained("180m", "p95 of 14d = 180m, + 20% = 216m; limit 2 x 216m = 432m"),
                "memory": explained("320Mi", "max of 14d = 320Mi, + 20% = 384Mi; limit 1.5 x 384Mi = 576Mi"),
            },
        }
    ],
    "evidence": {
        "summary": "7d: 0 OOM, 0.3% above, 0.1/day, -61% mem",
        "window": "7d",
        "oomKills": 0,
        "timeAboveRequest": "0.3%",
        "changesPerDay": "0.1",
        "saved": {"cpu": "57%", "memory": "61%"},
    },
    "savings": {"cpu": "852m", "memory": "-64Mi"},
    "lastChange": {
        "time": SINCE,
        "strategy": "Rollout",
        "outcome": "Succeeded",
        "lastLowered": SINCE,
        "message": "Rolled out in 40 s.",
        "previous": [{"name": "app"} | BEFORE],
        "applied": [{"name": "app"} | VALUES],
    },
    "conditions": [condition("Measured", "Fresh"), condition("Recommended", "Sized"), condition("Applied", "RolledOut")],
}


def recommendation(name: str) -> Manifest:
    return {
        "apiVersion": "rightsizer.dev/v1alpha1",
        "kind": "ResourceRecommendation",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "0-1-2"},
            "profileRef": {"kind": "ResourceProfile", "name": "web"},
        },
    }


def write_with_status(bed: Testbed, manifest: Manifest, status: Manifest) -> Manifest:
    bed.apply(manifest)
    whole = json.dumps({key: manifest[key] for key in ("apiVersion", "kind", "metadata")} | {"status": status})
    answer = bed.kubectl("apply", "--server-side", "--subresource=status", "-o", "json", "-f", "-", stdin=whole)
    return dict(json.loads(answer))


def table(text: str) -> dict[str, str]:
    """The only row of what kubectl printed, by column; columns are two or more blanks apart."""
    header, row = text.rstrip("\n").splitlines()
    starts = [at for at, letter in enumerate(header) if letter != " " and (at == 0 or header[at - 1] == " ")]
    ends = [*starts[1:], None]
    return {header[start:end].strip(): row[start:end].strip() for start, end in zip(starts, ends, strict=True)}


def test_a_whole_recommendation_is_stored_without_loss(cluster: Testbed) -> None:
    stored = write_with_status(cluster, recommendation("without-loss"), RECOMMENDATION_STATUS)
    assert stored["status"] == RECOMMENDATION_STATUS
    assert stored["spec"] == recommendation("without-loss")["spec"]


def test_kubectl_get_shows_a_recommendation_in_one_line(cluster: Testbed) -> None:
    write_with_status(cluster, recommendation("in-one-line"), RECOMMENDATION_STATUS)
    row = table(cluster.kubectl("get", "rr", "in-one-line", "-n", NAMESPACE, "-o", "wide"))
    row.pop("AGE")
    assert row == {
        "NAME": "in-one-line",
        "WORKLOAD": "Deployment/web",
        "MODE": "Apply",
        "CPU": "500m -> 216m",
        "MEMORY": "1Gi -> 384Mi",
        "EVIDENCE": "7d: 0 OOM, 0.3% above, 0.1/day, -61% mem",
        "STATE": "Applied",
        "REASON": "RolledOut",
        "PROFILE": "web",
        "MESSAGE": "All 3 pods run with the recommended values.",
    }


def test_kubectl_get_shows_a_profile_in_one_line(cluster: Testbed) -> None:
    status = {
        "observedGeneration": 1,
        "workloads": {"matched": 12, "measured": 9, "waiting": 3, "changed": 2},
        "conditions": [condition("Ready", "Understood"), condition("Measuring", "Answering")],
    }
    stored = write_with_status(cluster, profile({}, name="in-one-line"), status)
    assert stored["status"] == status
    row = table(cluster.kubectl("get", "rp", "in-one-line", "-n", NAMESPACE))
    row.pop("AGE")
    assert row == {
        "NAME": "in-one-line",
        "MODE": "Recommend",
        "WORKLOADS": "12",
        "READY": "True",
        "MEASURING": "Answering",
    }


def test_the_category_lists_both_kinds(cluster: Testbed) -> None:
    cluster.apply(profile({}, name="of-the-category"), recommendation("of-the-category"))
    listed = cluster.kubectl("get", "rightsizer", "-n", NAMESPACE, "-o", "name").split()
    assert "resourceprofile.rightsizer.dev/of-the-category" in listed
    assert "resourcerecommendation.rightsizer.dev/of-the-category" in listed


def allowed(bed: Testbed, grant: Grant) -> bool:
    """Whether the operator's ServiceAccount may do this in any namespace; look at a Deployment, at its own."""
    group, resource, verb = grant
    resource, _, subresource = resource.partition("/")
    attributes = {"group": group, "resource": resource, "subresource": subresource, "verb": verb}
    if grant == ("apps", "deployments", "get"):
        attributes |= {"namespace": "rightsizer", "name": "rightsizer"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": ACCOUNT, "resourceAttributes": attributes},
    }
    answer = bed.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(review))
    return bool(json.loads(answer)["status"]["allowed"])


def install(bed: Testbed, folder: str) -> None:
    bed.kubectl("apply", "-k", str(ROOT / folder))
    wait_established(bed)
    bed.kubectl("rollout", "status", "deployment/rightsizer", "-n", "rightsizer", "--timeout=60s")


def wait_rights(bed: Testbed, *, granted: set[Grant], refused: set[Grant]) -> None:
    """The authorizer follows a moment after the roles."""
    bed.wait_for(
        lambda: all(allowed(bed, grant) for grant in granted) and not any(allowed(bed, grant) for grant in refused),
        timeout_seconds=30.0,
        what="exactly the rights of the roles",
    )


NEVER: set[Grant] = {("", "secrets", "list"), ("", "pods", "delete"), ("apps", "deployments", "delete")}


def test_both_variants_install_one_after_the_other_with_their_rights(fresh_cluster: Testbed) -> None:
    fresh_cluster.kubectl("delete", "--ignore-not-found", "-f", str(ROOT / "manifests" / "apply-rbac.yaml"))
    install(fresh_cluster, "manifests/recommend-only")
    wait_rights(fresh_cluster, granted=RECOMMEND_GRANTS, refused=APPLY_GRANTS | NEVER)
    install(fresh_cluster, "manifests")
    wait_rights(fresh_cluster, granted=RECOMMEND_GRANTS | APPLY_GRANTS, refused=NEVER)


def test_an_installation_can_be_repeated_without_a_change(fresh_cluster: Testbed) -> None:
    install(fresh_cluster, "manifests")
    again = fresh_cluster.kubectl("apply", "-k", str(ROOT / "manifests")).splitlines()
    assert [line for line in again if not line.endswith("unchanged")] == []
