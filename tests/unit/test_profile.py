from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from rightsizer.errors import InvalidProfile, InvalidQuantity
from rightsizer.methods import known_methods
from rightsizer.profile import (
    DEFAULT_RULE,
    ApplyRule,
    EvidenceRule,
    LabelSelector,
    LimitPolicy,
    LimitRule,
    Mode,
    Problem,
    Profile,
    Requirement,
    RiskBudget,
    Statistic,
    effective_mode,
    load_profile,
    lowest,
    parse_profile,
    parse_statistic,
    select_profile,
    with_known_method,
)
from rightsizer.quantities import GIBIBYTE, MEBIBYTE
from rightsizer.workload import MODE_ANNOTATION, Workload, WorkloadRef

EVERYTHING = """
apiVersion: rightsizer.dev/v1alpha1
kind: ResourceProfile
metadata: {name: web, namespace: shop, uid: abc, generation: 3, creationTimestamp: 2026-01-31T12:00:00Z, labels: {team: a}}
spec:
  mode: Apply
  workloads:
    kinds: [StatefulSet, Deployment]
    selector: {matchLabels: {tier: web}, matchExpressions: [{key: env, operator: NotIn, values: [test, dev]}]}
  method: Measured
  window: 36h
  minimumHistory: {raise: 30m, lower: 1d}
  cpu: {statistic: p99.5, buffer: 5%, limit: {policy: None}, min: 1m, max: "2"}
  memory: {statistic: mean, buffer: 300%, limit: {ratio: 1.25, maxRatio: 3}, min: 1Mi, max: 1Gi}
  containers:
    - {name: istio-proxy, mode: Ignore}
    - {name: app, memory: {buffer: 40%, limit: {policy: Keep}}}
  apply: {strategy: Rollout, minimumChange: 5%, lowerAtMostEvery: 0h}
  evidence: {maxOOMKills: 2, maxTimeAboveRequest: 3%}
status: {observedGeneration: 2}
"""


def manifest(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "shop"}
    return {"apiVersion": "rightsizer.dev/v1alpha1", "kind": "ResourceProfile", "metadata": metadata, "spec": spec}


def nested(path: str, value: Any) -> dict[str, Any]:
    name, _, rest = path.partition(".")
    return {name: nested(rest, value) if rest else value}


def test_an_empty_spec_is_a_complete_profile() -> None:
    profile = parse_profile(manifest())
    assert profile == Profile(namespace="shop", name="web")
    assert profile.mode is Mode.RECOMMEND
    assert profile.kinds == ("Deployment", "StatefulSet", "DaemonSet", "CronJob")
    assert (profile.window_seconds, profile.raise_after_seconds, profile.lower_after_seconds) == (14 * 86400, 86400, 7 * 86400)
    assert profile.apply == ApplyRule(strategy="Rollout", minimum_change=0.1, lower_at_most_every_seconds=86400)
    assert profile.evidence == EvidenceRule(max_oom_kills=0, max_time_above_request=0.01)


def test_the_default_rules_are_those_of_the_schema() -> None:
    cpu, memory = parse_profile(manifest()).rule_for("app").cpu, parse_profile(manifest()).rule_for("app").memory
    assert (cpu.statistic, cpu.buffer, cpu.minimum, cpu.maximum) == ("load-p94", 0.2, 10, 16_000)
    assert (cpu.half_life_seconds, memory.half_life_seconds) == (15 * 3600, 72 * 3600)
    assert cpu.limit == LimitRule(LimitPolicy.RATIO, ratio=2.0, max_ratio=None)
    assert (memory.statistic, memory.buffer, memory.minimum, memory.maximum) == ("load-p96", 0.2, 32 * MEBIBYTE, 64 * GIBIBYTE)
    assert memory.limit == LimitRule(LimitPolicy.RATIO, ratio=1.5, max_ratio=2.0)


def test_every_field_is_read() -> None:
    profile = load_profile(yaml.safe_load(EVERYTHING))
    assert (profile.namespace, profile.name, profile.uid, profile.generation) == ("shop", "web", "abc", 3)
    assert profile.created_at == datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
    assert profile.mode is Mode.APPLY
    assert profile.kinds == ("Deployment", "StatefulSet")
    assert profile.selector == LabelSelector({"tier": "web"}, (Requirement("env", "NotIn", ("test", "dev")),))
    assert (profile.window_seconds, profile.raise_after_seconds, profile.lower_after_seconds) == (36 * 3600, 1800, 86400)
    assert profile.apply == ApplyRule("Rollout", minimum_change=0.05, lower_at_most_every_seconds=0)
    assert profile.evidence == EvidenceRule(max_oom_kills=2, max_time_above_request=0.03)
    assert profile.status == {"observedGeneration": 2}
    cpu, memory = profile.default_rule.cpu, profile.default_rule.memory
    assert (cpu.statistic, cpu.buffer, cpu.limit, cpu.minimum, cpu.maximum) == ("p99.5", 0.05, LimitRule(LimitPolicy.NONE, 2.0), 1, 2000)
    assert (memory.statistic, memory.buffer, memory.limit) == ("mean", 3.0, LimitRule(LimitPolicy.RATIO, 1.25, 3.0))
    assert (memory.minimum, memory.maximum) == (MEBIBYTE, GIBIBYTE)
    assert profile.problems == ()


def test_an_exception_overrides_only_what_it_sets() -> None:
    profile = parse_profile(yaml.safe_load(EVERYTHING))
    app, rest = profile.rule_for("app"), profile.rule_for("other")
    assert app.cpu == rest.cpu == profile.default_rule.cpu
    assert app.memory.buffer == 0.4
    assert app.memory.limit == LimitRule(LimitPolicy.KEEP, 1.25, 3.0)
    assert (app.memory.statistic, app.memory.minimum, app.memory.maximum) == ("mean", MEBIBYTE, GIBIBYTE)
    assert not app.ignored
    assert profile.rule_for("istio-proxy").ignored


def test_a_risk_budget_is_read_with_learned() -> None:
    spec = {"method": "Learned", "risk": {"timeAboveRequest": "0.3%", "oomKillsPer1000Days": 2}}
    profile = with_known_method(parse_profile(manifest(mode="Apply", **spec)), known_methods())
    assert (profile.mode, profile.method, profile.risk) == (Mode.APPLY, "Learned", RiskBudget(0.003, 2.0))
    assert profile.problems == ()
    assert profile.kills_seconds == 500 * 86400
    assert parse_profile(manifest(**spec | {"risk": {"oomKillsPer1000Days": 1000}})).kills_seconds == 14 * 86400
    assert RiskBudget().kill_memory_seconds == 0


def test_a_budget_that_the_evidence_would_not_accept_is_told_and_not_used() -> None:
    spec: dict[str, Any] = {"method": "Learned", "risk": {"timeAboveRequest": "3%", "oomKillsPer1000Days": 2}}
    profile = parse_profile(manifest(**spec))
    assert profile.risk == RiskBudget(None, 2.0)
    (problem,) = profile.problems
    assert str(problem).startswith("spec.risk.timeAboveRequest: 3% is more than spec.evidence.maxTimeAboveRequest (1%) accepts")
    with pytest.raises(InvalidProfile, match="is more than"):
        load_profile(manifest(**spec))
    assert load_profile(manifest(**spec), replayed=True).risk.time_above_request == 0.03
    assert parse_profile(manifest(**spec, evidence={"maxTimeAboveRequest": "3%"})).problems == ()


@pytest.mark.parametrize(
    ("most", "risk", "refused"),
    [("0%", {}, True), ("0.2%", {}, True), ("0.3%", {}, False), ("0.2%", {"timeAboveRequest": "0.1%"}, False)],
)
def test_evidence_that_does_not_accept_the_default_budget_is_told_and_counts(most: str, risk: dict[str, str], refused: bool) -> None:
    spec: dict[str, Any] = {"method": "Learned", "evidence": {"maxTimeAboveRequest": most}, "risk": risk}
    profile = parse_profile(manifest(**spec))
    assert profile.evidence.max_time_above_request == pytest.approx(float(most[:-1]) / 100)
    assert [problem.field for problem in profile.problems if problem.kept] == ["spec.evidence.maxTimeAboveRequest"] * refused
    assert len(profile.problems) == refused
    assert parse_profile(manifest(**spec | {"method": "Measured", "risk": {}})).problems == ()
    if refused:
        with pytest.raises(InvalidProfile, match=r"is less than the 0\.3% of CPU that Learned may risk by default"):
            load_profile(manifest(**spec))


def test_a_risk_budget_without_learned_is_told() -> None:
    spec = {"risk": {"timeAboveRequest": "1%"}}
    told = "only the method Learned has a risk budget"
    (problem,) = parse_profile(manifest(**spec)).problems
    assert problem.field == "spec.risk"
    assert told in problem.message
    with pytest.raises(InvalidProfile, match=told):
        load_profile(manifest(**spec))


REFUSED = [
    ("mode", "Off", "must be Ignore, Recommend or Apply, is 'Off'"),
    ("mode", False, "is False"),
    ("method", "Best guess", "must be the name of a method, such as Measured"),
    ("method", "", "must be the name of a method"),
    ("method", "m" * 64, "up to 63 letters"),
    ("method", 95, "must be the name of a method"),
    ("risk.timeAboveRequest", "1", "from 0.05% to 10%"),
    ("risk.timeAboveRequest", "0.04%", "from 0.05% to 10%"),
    ("risk.timeAboveRequest", "11%", "from 0.05% to 10%"),
    ("risk.timeAboveRequest", 1, "from 0.05% to 10%"),
    ("risk.oomKillsPer1000Days", 0, "must be a number from 1 to 1000"),
    ("risk.oomKillsPer1000Days", "1", "must be a number from 1 to 1000"),
    ("window", "0d", "from 1h to 30d"),
    ("window", "31d", "from 1h to 30d"),
    ("window", "90m", "from 1h to 30d"),
    ("window", 14, "from 1h to 30d"),
    ("minimumHistory.raise", "1w", "such as 30m, 24h or 7d"),
    ("minimumHistory.lower", "721h", "up to 30d"),
    ("minimumHistory", "24h", "must be a mapping"),
    ("cpu", 5, "must be a mapping"),
    ("cpu.statistic", "p49", "p50 to p99.9"),
    ("cpu.statistic", "p100", "p50 to p99.9"),
    ("cpu.statistic", 95, "p50 to p99.9"),
    ("cpu.statistic", "load-max", "p50 to p99.9"),
    ("cpu.halfLife", "30m", "from 1h to 30d, such as 12h"),
    ("memory.halfLife", "0h", "from 1h to 30d, such as 12h"),
    ("memory.halfLife", 12, "from 1h to 30d, such as 12h"),
    ("cpu.buffer", "20", "whole percentage from 0% to 300%"),
    ("cpu.buffer", "301%", "whole percentage from 0% to 300%"),
    ("cpu.buffer", "-5%", "whole percentage from 0% to 300%"),
    ("cpu.buffer", 20, "whole percentage from 0% to 300%"),
    ("cpu.limit.policy", "Never", "must be Ratio, None or Keep"),
    ("cpu.limit.ratio", 0.9, "must be a number from 1 to 100"),
    ("cpu.limit.ratio", "2", "must be a number from 1 to 100"),
    ("cpu.limit.ratio", True, "must be a number from 1 to 100"),
    ("cpu.limit.ratio", float("nan"), "must be a number from 1 to 100"),
    ("cpu.min", "abc", "must be a quantity of CPU of at least 1m"),
    ("cpu.min", "0", "must be a quantity of CPU of at least 1m"),
    ("cpu.max", 16, "put it in quotes"),
    ("cpu.min", "17", "min (17) is above max (16)"),
    ("memory.min", "64m", "must be a quantity of memory of at least 1Mi"),
    ("memory.max", "5Mb", "unknown suffix 'Mb'"),
    ("memory.min", "65Gi", "min (65Gi) is above max (64Gi)"),
    ("memory.limit.maxRatio", 1.2, "maxRatio (1.2) is below ratio (1.5)"),
    ("containers", {"name": "app"}, "must be a list"),
    ("apply.minimumChange", "101%", "from 0% to 100%"),
    ("apply.lowerAtMostEvery", "45d", "up to 30d"),
    ("evidence.maxOOMKills", -1, "a whole number from 0 to 1,000"),
    ("evidence.maxOOMKills", "0", "a whole number"),
    ("evidence.maxTimeAboveRequest", "0.55%", "a percentage from 0% to 100% with up to one decimal"),
    ("evidence.maxTimeAboveRequest", "100.1%", "a percentage from 0% to 100% with up to one decimal"),
]


@pytest.mark.parametrize(("path", "value", "message"), REFUSED)
def test_a_bad_value_is_named_and_the_default_stands_in(path: str, value: Any, message: str) -> None:
    profile = parse_profile(manifest(**nested(path, value)))
    assert [problem.field for problem in profile.problems] == [f"spec.{path}"]
    assert message in profile.problems[0].message
    assert profile == Profile(namespace="shop", name="web", problems=profile.problems)


@pytest.mark.parametrize(("path", "value", "message"), REFUSED)
def test_a_bad_value_in_a_file_is_an_error(path: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidProfile) as raised:
        load_profile(manifest(**nested(path, value)))
    assert raised.value.field == f"spec.{path}"
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("containers", "path", "message"),
    [
        ([{"name": "app", "memory": {"buffer": "x"}}], "[0].memory.buffer", "whole percentage"),
        ([{"name": "a"}, {"name": "app", "cpu": {"min": "17"}}], "[1].cpu.min", "min (17) is above max (16)"),
        ([{"name": "app", "memory": {"limit": {"ratio": 2.5}}}], "[0].memory.limit.maxRatio", "is below ratio (2.5)"),
        ([{"name": "app"}, {"name": "app", "mode": "Ignore"}], "[1].name", "named twice"),
        ([{"mode": "Ignore"}], "[0].name", "is missing"),
        ([{"name": "App"}], "[0].name", "container name"),
        (["app"], "[0]", "must be a mapping"),
    ],
)
def test_a_bad_exception_is_named_by_its_place_and_the_profiles_rule_counts(containers: list[Any], path: str, message: str) -> None:
    profile = parse_profile(manifest(containers=containers))
    assert profile.problems[0].field == f"spec.containers{path}"
    assert message in profile.problems[0].message
    assert profile.rule_for("app") == DEFAULT_RULE


def test_the_rest_of_a_profile_goes_on_working() -> None:
    profile = parse_profile(manifest(window="7d", cpu={"buffer": "a lot", "statistic": "p90"}))
    assert profile.problems == (Problem("spec.cpu.buffer", "must be a whole percentage from 0% to 300%, such as 20%, is 'a lot'"),)
    assert (profile.window_seconds, profile.default_rule.cpu.statistic, profile.default_rule.cpu.buffer) == (7 * 86400, "p90", 0.2)


def test_more_history_than_the_window_is_named_and_cut_to_the_window() -> None:
    profile = parse_profile(manifest(minimumHistory={"raise": "15d"}))
    message = "15d is longer than the window (14d): set it to at most 14d, or make the window longer"
    assert profile.problems == (Problem("spec.minimumHistory.raise", message),)
    assert profile.raise_after_seconds == 14 * 86400


def test_a_window_shorter_than_the_default_history_is_named_and_lowers_it() -> None:
    profile = parse_profile(manifest(window="1d"))
    assert [problem.field for problem in profile.problems] == ["spec.minimumHistory.lower"]
    assert profile.lower_after_seconds == 86400


@pytest.mark.parametrize(
    "selector",
    [
        "tier=web",
        {"matchLabels": {"tier": 1}},
        {"matchLabels": ["tier"]},
        {"matchExpressions": [{"key": "tier", "operator": "Like"}]},
        {"matchExpressions": [{"operator": "Exists"}]},
        {"matchExpressions": [{"key": "tier", "operator": "In"}]},
        {"matchExpressions": [{"key": "tier", "operator": "Exists", "values": ["web"]}]},
        {"matchExpressions": [{"key": "tier", "operator": "In", "values": "web"}]},
    ],
)
def test_a_selector_that_cannot_be_read_matches_nothing(selector: Any) -> None:
    profile = parse_profile(manifest(workloads={"selector": selector}))
    assert profile.problems[0].field.startswith("spec.workloads.selector")
    assert not profile.selector.matches({"tier": "web"})
    assert not profile.selector.matches({})


@pytest.mark.parametrize(
    ("kinds", "left", "field"),
    [(["Deployment", "Job"], ("Deployment",), "kinds[1]"), ([], (), "kinds"), ("Deployment", (), "kinds"), ([["x"]], (), "kinds[0]")],
)
def test_kinds_that_cannot_be_read_are_left_out(kinds: Any, left: tuple[str, ...], field: str) -> None:
    profile = parse_profile(manifest(workloads={"kinds": kinds}))
    assert profile.kinds == left
    assert [problem.field for problem in profile.problems] == [f"spec.workloads.{field}"]


@pytest.mark.parametrize("strategy", ["Rollout", "InPlace", "OnCreate"])
def test_strategies(strategy: str) -> None:
    profile = parse_profile(manifest(mode="Apply", apply={"strategy": strategy}))
    assert (profile.mode, profile.apply.strategy, profile.problems) == (Mode.APPLY, strategy, ())


def test_an_unknown_strategy_is_not_replaced_by_one_that_restarts_pods() -> None:
    profile = parse_profile(manifest(mode="Apply", apply={"strategy": "Restart"}))
    assert profile.mode is Mode.RECOMMEND
    assert profile.problems == (Problem("spec.apply.strategy", "must be Rollout, InPlace or OnCreate, is 'Restart'"),)


def test_an_exception_with_an_unreadable_mode_leaves_the_container_alone() -> None:
    profile = parse_profile(manifest(containers=[{"name": "app", "mode": "Off"}]))
    assert profile.rule_for("app").ignored
    assert profile.problems[0].field == "spec.containers[0].mode"


@pytest.mark.parametrize("value", [None, {}])
def test_null_counts_as_absent(value: Any) -> None:
    assert parse_profile(manifest(cpu=value, workloads=value, mode=None)) == Profile(namespace="shop", name="web")


@pytest.mark.parametrize("broken", [{}, {"metadata": 1, "spec": [], "status": "x"}, {"spec": {"containers": [None]}}])
def test_any_content_gives_a_profile(broken: Mapping[str, Any]) -> None:
    assert parse_profile(broken).default_rule == DEFAULT_RULE


@pytest.mark.parametrize(
    ("path", "field"),
    [("heedroom", "spec.heedroom"), ("cpu.limit.maxRatio", "spec.cpu.limit.maxRatio"), ("apply.hours", "spec.apply.hours")],
)
def test_an_unknown_field_of_a_file_is_an_error_that_names_the_known_ones(path: str, field: str) -> None:
    written = manifest(**nested(path, 3))
    with pytest.raises(InvalidProfile, match="unknown field; known here: ") as raised:
        load_profile(written)
    assert raised.value.field == field
    assert parse_profile(written) == Profile(namespace="shop", name="web")


@pytest.mark.parametrize(
    ("change", "field"),
    [({"apiVersion": "v1"}, "apiVersion"), ({"kind": None}, "kind"), ({"metadata": {}}, "metadata.name"), ({"stray": 1}, "stray")],
)
def test_a_file_must_be_a_named_profile(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidProfile) as raised:
        load_profile({**manifest(), **change})
    assert raised.value.field == field


def test_a_quoted_time_of_creation_is_read_too() -> None:
    written = manifest()
    written["metadata"]["creationTimestamp"] = "2026-01-31T12:00:00Z"
    assert parse_profile(written).created_at == datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(("field", "value"), [("creationTimestamp", "yesterday"), ("generation", "3"), ("generation", True), ("uid", 7)])
def test_bad_metadata_is_named_too(field: str, value: Any) -> None:
    written = manifest()
    written["metadata"][field] = value
    assert [problem.field for problem in parse_profile(written).problems] == [f"metadata.{field}"]


def test_a_problem_reads_as_field_and_message() -> None:
    assert str(Problem("spec.cpu.buffer", "is bad")) == "spec.cpu.buffer: is bad"


def test_the_rule_of_a_resource_is_found_by_its_name() -> None:
    assert DEFAULT_RULE.resource("cpu") is DEFAULT_RULE.cpu
    assert DEFAULT_RULE.resource("memory") is DEFAULT_RULE.memory


@pytest.mark.parametrize(("text", "percentile"), [("p50", 50.0), ("p95", 95.0), ("p99.9", 99.9), ("max", 100.0), ("mean", None)])
def test_statistics_are_read(text: str, percentile: float | None) -> None:
    statistic = parse_statistic(text)
    assert (statistic.name, statistic.percentile) == (text, percentile)


def test_a_percentile_of_the_load() -> None:
    assert parse_statistic("load-p94") == Statistic("load-p94", 94.0, by_load=True)


@pytest.mark.parametrize(
    ("cpu", "told"),
    [
        ({"statistic": "p95"}, "p95"),
        ({"statistic": "p95", "halfLife": "36h"}, "p95 (half-life 36h)"),
        ({"statistic": "load-p99"}, "load-p99 (half-life 15h)"),
        ({"statistic": "load-p99", "halfLife": "3d"}, "load-p99 (half-life 3d)"),
        ({"statistic": "max"}, "max"),
        ({"statistic": "mean"}, "mean"),
    ],
)
def test_a_half_life_goes_with_its_statistic(cpu: dict[str, str], told: str) -> None:
    profile = parse_profile(manifest(cpu=cpu))
    assert profile.problems == ()
    assert profile.default_rule.cpu.told_statistic == told


@pytest.mark.parametrize("statistic", ["max", "mean"])
def test_what_has_no_half_life_is_told(statistic: str) -> None:
    profile = parse_profile(manifest(memory={"statistic": statistic, "halfLife": "12h"}))
    assert [problem.field for problem in profile.problems] == ["spec.memory.halfLife"]
    assert profile.default_rule.memory.half_life_seconds is None


def test_an_exception_keeps_the_half_life_of_its_profile_only_with_the_statistic() -> None:
    same, other = {"name": "same", "cpu": {"buffer": "5%"}}, {"name": "other", "cpu": {"statistic": "load-p80"}}
    profile = parse_profile(manifest(cpu={"statistic": "load-p99", "halfLife": "6h"}, containers=[same, other]))
    told = [profile.rule_for(name).cpu.told_statistic for name in ("same", "other", "any")]
    assert told == ["load-p99 (half-life 6h)", "load-p80 (half-life 15h)", "load-p99 (half-life 6h)"]


@pytest.mark.parametrize("text", ["", "p", "p49.9", "p100", "p9", "p99.99", "P95", "median", "95", "p95 "])
def test_an_unknown_statistic_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuantity, match=r"p50 to p99\.9"):
        parse_statistic(text)


def test_modes_are_ordered() -> None:
    modes = [Mode.IGNORE, Mode.RECOMMEND, Mode.APPLY]
    for index, mode in enumerate(modes):
        assert [mode.allows(other) for other in modes] == [position <= index for position in range(3)]
    assert lowest(Mode.APPLY, Mode.IGNORE, Mode.RECOMMEND) is Mode.IGNORE
    assert lowest(Mode.APPLY, Mode.RECOMMEND) is Mode.RECOMMEND


LABELS = {"tier": "web", "env": "prod"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (LabelSelector(), True),
        (LabelSelector({"tier": "web"}), True),
        (LabelSelector({"tier": "db"}), False),
        (LabelSelector({"tier": "web", "zone": "a"}), False),
        (LabelSelector({}, (Requirement("env", "In", ("prod", "test")),)), True),
        (LabelSelector({}, (Requirement("env", "In", ("test",)),)), False),
        (LabelSelector({}, (Requirement("zone", "In", ("a",)),)), False),
        (LabelSelector({}, (Requirement("env", "NotIn", ("test",)),)), True),
        (LabelSelector({}, (Requirement("env", "NotIn", ("prod",)),)), False),
        (LabelSelector({}, (Requirement("zone", "NotIn", ("a",)),)), True),
        (LabelSelector({}, (Requirement("env", "Exists"),)), True),
        (LabelSelector({}, (Requirement("zone", "Exists"),)), False),
        (LabelSelector({}, (Requirement("zone", "DoesNotExist"),)), True),
        (LabelSelector({}, (Requirement("env", "DoesNotExist"),)), False),
        (LabelSelector({"tier": "web"}, (Requirement("env", "In", ("prod",)), Requirement("env", "NotIn", ("prod",)))), False),
    ],
)
def test_selectors_match_as_kubernetes_matches(selector: LabelSelector, matches: bool) -> None:
    assert selector.matches(LABELS) is matches


def workload(*, kind: str = "Deployment", labels: Mapping[str, str] = LABELS) -> Workload:
    ref = WorkloadRef("shop", kind, "web")
    return Workload(ref, uid="u", api_version="apps/v1", resource_version="1", generation=1, containers=(), replicas=1, labels=labels)


def profile(name: str, *, created_at: float = 0.0, namespace: str = "shop", **fields: Any) -> Profile:
    return Profile(namespace=namespace, name=name, created_at=created_at, **fields)


def test_the_older_profile_wins_and_the_losers_are_told() -> None:
    young, old, same = profile("a", created_at=20), profile("z", created_at=10), profile("b", created_at=20)
    selection = select_profile(workload(), [young, same, old])
    assert selection.profile == old
    assert selection.losers == (young, same)


@pytest.mark.parametrize(
    "other",
    [
        profile("elsewhere", namespace="other"),
        profile("kinds", kinds=("StatefulSet",)),
        profile("labels", selector=LabelSelector({"tier": "db"})),
    ],
)
def test_a_profile_that_does_not_match_neither_wins_nor_loses(other: Profile) -> None:
    assert select_profile(workload(), [other]).profile is None
    later = profile("later", created_at=99)
    assert select_profile(workload(), [other, later]) == select_profile(workload(), [later])


def test_the_annotation_of_the_pod_template_counts_too() -> None:
    none: dict[str, str] = {}
    answer = effective_mode(
        profile("p", mode=Mode.APPLY), workload_annotations=none, namespace_annotations=none, pod_annotations={MODE_ANNOTATION: "off"}
    )
    assert answer.mode is Mode.RECOMMEND
    assert "of the pod template: 'off' is neither" in answer.notes[0]


@pytest.mark.parametrize(
    ("mode", "of_workload", "of_namespace", "effective", "note"),
    [
        (Mode.APPLY, None, None, Mode.APPLY, None),
        (Mode.APPLY, "Recommend", None, Mode.RECOMMEND, None),
        (Mode.APPLY, None, "Ignore", Mode.IGNORE, None),
        (Mode.APPLY, "Recommend", "Ignore", Mode.IGNORE, None),
        (Mode.APPLY, "Ignore", "Recommend", Mode.IGNORE, None),
        (Mode.APPLY, "Apply", None, Mode.APPLY, None),
        (Mode.RECOMMEND, "Apply", None, Mode.RECOMMEND, "of the workload: it can only lower the mode of the profile, which is Recommend"),
        (Mode.IGNORE, None, "Recommend", Mode.IGNORE, "of the namespace: it can only lower"),
        (Mode.APPLY, "off", None, Mode.RECOMMEND, "of the workload: 'off' is neither Ignore nor Recommend"),
        (Mode.APPLY, "", "Ignore", Mode.IGNORE, "of the workload: '' is neither"),
    ],
)
def test_annotations_can_only_lower_the_mode(
    mode: Mode, of_workload: str | None, of_namespace: str | None, effective: Mode, note: str | None
) -> None:
    annotations = [{} if value is None else {MODE_ANNOTATION: value} for value in (of_workload, of_namespace)]
    answer = effective_mode(profile("p", mode=mode), workload_annotations=annotations[0], namespace_annotations=annotations[1])
    assert answer.mode is effective
    assert len(answer.notes) == (0 if note is None else 1)
    assert note is None or note in answer.notes[0]
