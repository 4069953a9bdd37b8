"""The commands of a cluster and a usage source, both faked: which profile counts, and every trouble with its exit code."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from rightsizer.checks.confines import Bounds, DisruptionBudget, LimitRange, Quota, VerticalAutoscaler
from rightsizer.cli.live import ALL_NAMESPACES, Live
from rightsizer.errors import (
    ClusterError,
    ClusterForbidden,
    ClusterNotFound,
    ClusterUnreachable,
    UsageAnswerInvalid,
    UsageSourceOverloaded,
    UsageSourceRefused,
    UsageSourceUnreachable,
)
from rightsizer.ports import Listing, Recorded
from rightsizer.profile import LabelSelector, Profile
from rightsizer.strategies.on_create import PodSizes
from rightsizer.workload import OwnerRef, Sizes, WorkloadRef
from tests.fakes import FakeCluster
from tests.unit.cli_files import profile, run
from tests.unit.world import World

WEB = WorkloadRef("shop", "Deployment", "web")


class ReadableFakeCluster(FakeCluster):
    """Implements `ReadableCluster`."""

    def cluster_profiles(self) -> tuple[Profile, ...]:
        self.called("cluster_profiles")
        return tuple(one for one in self.profiles() if one.cluster_wide)

    def profiles_of(self, namespaces: Sequence[str]) -> Listing[Profile]:
        failed = self._failed("profiles_of", namespaces)
        return Listing(tuple(one for one in self.profiles() if one.namespace in namespaces), failed)

    def recommendations_of(self, namespaces: Sequence[str]) -> Listing[Recorded]:
        failed = self._failed("recommendations_of", namespaces)
        return Listing(tuple(one for one in self.recommendations() if one.workload.namespace in namespaces), failed)

    def pod_sizes_of(self, namespaces: Sequence[str]) -> Listing[PodSizes]:
        failed = self._failed("pod_sizes_of", namespaces)
        return Listing(tuple(one for one in self.pod_sizes() if one.namespace in namespaces), failed)


class Desk:
    """A person's terminal before a faked cluster."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World()
        self.cluster = self.world.cluster = ReadableFakeCluster()
        self.source = self.world.source
        self.world.restart()
        self.namespaces: Sequence[str] | None = ("shop",)
        for command in ("recommending", "explaining", "cohorts"):
            monkeypatch.setattr(f"rightsizer.cli.{command}.open_origin", self._origin)

    def _origin(self, options: Mapping[str, Any], report: Any) -> Live:
        return Live(
            self.cluster,
            self.source,
            namespaces=self.namespaces,
            profile=options["profile"],
            report=report,
            described="a fake",
            now=self.world.clock.now,
        )

    def recommend(self, *options: object) -> Result:
        before = self.cluster.writes
        result = run("recommend", *options)
        assert self.cluster.writes == before, "it wrote"
        return result

    def recommended(self, *options: object) -> list[dict[str, Any]]:
        result = self.recommend("-o", "json", *options)
        assert result.exit_code == 0, result.stderr
        found: list[dict[str, Any]] = json.loads(result.stdout)
        return found

    def replayed(self, *options: object) -> list[dict[str, Any]]:
        result = run("backtest", "-o", "json", *options)
        assert result.exit_code == 0, result.stderr
        found: list[dict[str, Any]] = json.loads(result.stdout)
        return found


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(monkeypatch)


def test_the_worked_example(desk: Desk) -> None:
    desk.world.add_deployment()
    (web,) = desk.recommended()
    assert web["containers"][0]["recommended"] == {
        "requests": {"cpu": "216m", "memory": "384Mi"},
        "limits": {"cpu": "432m", "memory": "576Mi"},
    }
    assert desk.cluster.writes == 0
    assert desk.cluster.made("emit") == 0


def test_the_profiles_of_the_cluster_rule_and_the_default_rules_the_rest(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.world.add_deployment("api", labels={"tier": "api"})
    desk.world.apply_profile(workloads={"selector": {"matchLabels": {"tier": "api"}}}, cpu={"buffer": "50%"})
    result = desk.recommend("-o", "json")
    found = {one["workload"]: one for one in json.loads(result.stdout)}
    assert [(one["profile"], one["mode"]) for one in found.values()] == [("all", "Apply"), (None, "Recommend")]
    assert found["Deployment/api"]["containers"][0]["recommended"]["requests"]["cpu"] == "270m"
    assert result.stderr == "note: no profile fits shop/Deployment/web: the default profile is used\n"


@pytest.mark.parametrize(("team", "profile", "cpu"), [("a", "everywhere", "270m"), ("b", None, "216m")])
def test_a_cluster_wide_profile_rules_where_it_selects_the_namespace(desk: Desk, team: str, profile: str | None, cpu: str) -> None:
    desk.world.add_deployment()
    desk.cluster.namespace_labels["shop"] = {"team": team}
    desk.world.apply_cluster_profile(namespaceSelector={"matchLabels": {"team": "a"}}, cpu={"buffer": "50%"})
    (web,) = desk.recommended()
    assert (web["profile"], web["containers"][0]["recommended"]["requests"]["cpu"]) == (profile, cpu)
    told = run("explain", "deploy/web").stdout
    assert ("everywhere (cluster-wide), mode Apply" in told) == (profile is not None)


def test_a_profile_of_the_namespace_goes_before_a_cluster_wide_one(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.world.apply_cluster_profile(created="2020-01-01", cpu={"buffer": "50%"})
    desk.world.apply_profile(cpu={"buffer": "100%"})
    (web,) = desk.recommended()
    assert (web["profile"], web["containers"][0]["recommended"]["requests"]["cpu"]) == ("all", "360m")


def test_cluster_wide_profiles_that_may_not_be_listed_are_told(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.cluster.fail(ClusterForbidden("no"), call="cluster_profiles")
    result = desk.recommend()
    assert result.exit_code == 0
    assert "note: ClusterResourceProfiles may not be listed" in result.stderr


def test_what_is_wrong_with_a_cluster_wide_profile_is_told(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.world.apply_cluster_profile(cpu={"buffer": "lots"}, containers=[{"name": "ghost", "mode": "Ignore"}])
    result = desk.recommend()
    assert "note: profile everywhere (cluster-wide): spec.cpu.buffer: must be" in result.stderr
    assert "note: profile everywhere (cluster-wide): spec.containers names what no workload has: ghost" in result.stderr


@pytest.mark.parametrize(("selector", "code"), [({"team": "a"}, 0), ({"team": "b"}, 5), ({"kubernetes.io/metadata.name": "shop"}, 0)])
def test_the_selector_of_a_cluster_wide_profile_of_a_file_counts(desk: Desk, tmp_path: Path, selector: dict[str, str], code: int) -> None:
    desk.world.add_deployment()
    desk.cluster.namespace_labels["shop"] = {"team": "a"}
    rule = tmp_path / "rule.yaml"
    spec = {"namespaceSelector": {"matchLabels": selector}}
    rule.write_text(json.dumps({**profile(spec), "kind": "ClusterResourceProfile"}))
    result = desk.recommend("--profile", rule)
    assert result.exit_code == code
    assert ("its namespaceSelector fit none of them" in result.stderr) == bool(code)


def test_explain_tells_the_age_of_the_last_sample_and_throttling(desk: Desk) -> None:
    desk.world.add_deployment()
    calm = run("explain", "deploy/web").stdout
    desk.world.use("web-5d9c7b-ccccc", owner=OwnerRef("ReplicaSet", "web-5d9c7b"), throttled=0.4, days=6.9)
    throttled = run("explain", "deploy/web").stdout
    assert "the last is of 2025-11-20 12:00 UTC (1 minute ago)" in calm
    assert "throttled" not in calm
    assert "in 50 % of these slots it was throttled in more than 5% of the CFS periods: usage then is a lower bound" in throttled
    assert throttled.count("a lower bound") == 2


def test_a_profile_file_goes_before_those_of_the_cluster(desk: Desk, tmp_path: Path) -> None:
    desk.world.add_deployment()
    desk.world.apply_profile(cpu={"buffer": "50%"})
    rule = tmp_path / "rule.yaml"
    rule.write_text(json.dumps(profile({"cpu": {"buffer": "100%"}})))
    (web,) = desk.recommended("--profile", rule)
    assert (web["profile"], web["containers"][0]["recommended"]["requests"]["cpu"]) == ("ours", "360m")


def test_without_the_custom_resources_the_default_profile_is_used(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.cluster.fail(ClusterNotFound("no such kind"), call="profiles_of")
    desk.cluster.fail(ClusterNotFound("no such kind"), call="recommendations_of", namespace="shop")
    result = desk.recommend()
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "note: the cluster does not know ResourceProfiles",
        "note: no profile fits any workload: the default profile is used",
    ]


def test_what_is_wrong_with_a_profile_is_noted(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.world.apply_profile(cpu={"buffer": "a lot"})
    assert "note: profile shop/all: spec.cpu.buffer: must be" in desk.recommend().stderr


def test_all_namespaces(desk: Desk) -> None:
    for namespace in ("bank", "shop"):
        desk.world.add_deployment(namespace=namespace)
    desk.namespaces = ALL_NAMESPACES
    assert [one["namespace"] for one in desk.recommended()] == ["bank", "shop"]


def test_an_oom_kill_is_counted(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.world.kill_for_memory(limit=512 * 2**20)
    (web,) = desk.recommended()
    assert web["containers"][0]["recommended"]["requests"]["memory"] == "384Mi"
    assert web["containers"][0]["recommended"]["limits"]["memory"] == "615Mi"
    assert (
        "4. limit    limit 615Mi: OOM-killed at a limit of 512Mi, x 1.2 = 614.4Mi, rounded up to 615Mi"
        in run("explain", "deploy/web").stdout
    )


def test_the_last_change_is_told_and_cools_down(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.world.apply_profile(window="7d", minimumHistory={"lower": "1h"})
    desk.world.run_cycle()
    desk.world.end_rollouts()
    desk.world.run_cycle()
    desk.source.usages.clear()
    desk.world.use("web-5d9c7b-aaaaa", owner=None, cpu=20, memory=50 * 2**20)
    text = run("explain", "deploy/web").stdout
    assert "Last change: 2025-11-20 12:01 UTC by Rollout, Succeeded: app cpu 500m -> 216m, app memory 1Gi -> 384Mi;" in text
    assert "CoolingDown: lowered at 2025-11-20 12:01 UTC" in text


def test_pods_that_are_sized_at_creation_are_told_as_new_ones_are(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.world.apply_profile(apply={"strategy": "OnCreate"})
    desk.world.run_cycle()
    (web,) = desk.recommended()
    assert (web["state"], web["reason"]) == ("Applied", "UpToDate")
    assert web["containers"][0]["current"]["requests"]["cpu"] == "216m"
    assert "by OnCreate, Succeeded" in run("explain", "deploy/web").stdout


def test_sizes_for_new_pods_that_may_not_be_read_are_noted(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.world.apply_profile(apply={"strategy": "OnCreate"})
    desk.world.run_cycle()
    desk.cluster.fail(ClusterForbidden("no"), call="pod_sizes_of", namespace="shop")
    result = desk.recommend()
    assert result.exit_code == 0
    assert "PodSizes of shop may not be read" in result.stderr


def test_nobody_asks_for_sizes_where_there_are_none(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.recommend()
    assert desk.cluster.made("pod_sizes_of", "pod_sizes") == 0


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        ({"stored_limit_ranges": [LimitRange("shop", "l", (Bounds(ratio={"cpu": 1.5}),))]}, "LimitRangeForbids"),
        ({"stored_quotas": [Quota("shop", "q", {("cpu", "request"): 9}, {})]}, "-"),
        (
            {"stored_vertical_autoscalers": [VerticalAutoscaler("shop", "v", WEB, "apps", {"*": frozenset(("memory",))})]},
            "VpaActive(memory)",
        ),
        ({"stored_disruption_budgets": [DisruptionBudget("shop", "b", LabelSelector(), pods=2, allowed=0)]}, "PodDisruptionBudgetForbids"),
        ({"namespace_annotations": {"shop": {"rightsizer.dev/freeze": "true"}}}, "Frozen"),
    ],
    ids=["limit-range", "quota", "vpa", "budget", "freeze"],
)
def test_what_stands_around_is_told_whatever_the_mode(desk: Desk, standing: dict[str, Any], words: str) -> None:
    desk.world.add_deployment()
    for name, value in standing.items():
        setattr(desk.cluster, name, value)
    assert desk.recommend().stdout.splitlines()[1].split()[-1] == words


def test_a_window_that_is_shut_is_told(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.world.apply_profile(apply={"windows": [{"start": "03:00", "end": "04:00"}]})
    assert desk.recommend().stdout.splitlines()[1].split()[-1] == "OutsideWindow"


def test_what_stands_around_and_may_not_be_read_is_noted_and_hides_nothing_else(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.cluster.stored_limit_ranges = [LimitRange("shop", "l", (Bounds(ratio={"cpu": 1.5}),))]
    desk.cluster.fail(ClusterForbidden("nodes is forbidden"), call="nodes")
    desk.cluster.fail(ClusterForbidden("vpa is forbidden"), call="vertical_autoscalers", namespace="shop")
    result = desk.recommend()
    assert result.stdout.splitlines()[1].split()[-1] == "LimitRangeForbids"
    (note,) = [line for line in result.stderr.splitlines() if "told in part only" in line]
    assert "VerticalPodAutoscalers could not be read: vpa is forbidden; Nodes and DaemonSets could not be read: nodes is forbidden" in note


def test_a_change_of_a_former_workload_of_the_same_name_is_not_believed(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.world.apply_profile()
    desk.world.run_cycle()
    desk.cluster.edit(WorkloadRef("shop", "Deployment", "web"), uid="another")
    assert "Last change" not in run("explain", "deploy/web").stdout


def test_a_namespace_that_may_not_be_listed_is_an_error_after_the_others(desk: Desk) -> None:
    desk.namespaces = ("bank", "shop")
    desk.cluster.namespace_annotations["bank"] = {}
    desk.world.add_deployment()
    desk.cluster.fail(ClusterForbidden("list deployments: HTTP 403: no"), call="workloads", namespace="bank")
    result = desk.recommend()
    assert (result.exit_code, "Deployment/web" in result.stdout) == (3, True)
    assert result.stderr.splitlines()[-1].startswith("error: namespace bank: list deployments: HTTP 403: no (the rights to list")


@pytest.mark.parametrize("call", ["workloads", "profiles_of", "autoscalers"])
@pytest.mark.parametrize("error", [ClusterUnreachable("GET /x: timed out"), ClusterForbidden("HTTP 403: no")])
def test_a_cluster_that_does_not_answer_is_exit_code_3(desk: Desk, call: str, error: ClusterError) -> None:
    desk.world.add_deployment()
    desk.cluster.fail(error, call=call, namespace="shop")
    result = desk.recommend()
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(f"error: {error} (")
    assert result.stderr.count("\n") == 1


def test_namespaces_that_may_not_be_listed_are_only_needed_for_all(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.cluster.fail(ClusterForbidden("HTTP 403: no"), call="namespaces")
    result = desk.recommend()
    assert (result.exit_code, "opt-out by annotation of a namespace is not seen" in result.stderr) == (0, True)
    desk.namespaces = ALL_NAMESPACES
    assert desk.recommend().exit_code == 3


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (UsageSourceUnreachable("no connection to http://p: refused"), "check --prometheus-url and the other --prometheus options"),
        (UsageSourceRefused(403, "not you"), "check --prometheus-url and the other --prometheus options"),
        (
            UsageSourceRefused(401, "who are you?"),
            "check --prometheus-bearer-token-file, or --prometheus-username and --prometheus-password-file",
        ),
    ],
)
def test_a_usage_source_that_does_not_answer_is_exit_code_4(desk: Desk, error: Exception, advice: str) -> None:
    desk.world.add_deployment()
    desk.source.fail(error)
    for arguments in (("recommend",), ("explain", "deploy/web")):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (4, "")
        assert result.stderr == f"error: {error} ({advice})\n"


def test_trouble_with_one_namespace_is_told_after_the_others(desk: Desk) -> None:
    desk.namespaces = ("bank", "shop")
    for namespace in desk.namespaces:
        desk.world.add_deployment(namespace=namespace)
    desk.source.fail(UsageSourceOverloaded(422, "too many samples"), call="usage", namespace="bank")
    result = desk.recommend()
    notes = [line.split()[-1] for line in result.stdout.splitlines()[1:3]]
    assert (result.exit_code, notes) == (4, ["UsageSourceOverloaded", "-"])
    assert result.stderr.splitlines()[-1] == "error: namespace bank: UsageSourceOverloaded: HTTP 422: too many samples"
    assert "warning:" not in result.stderr


def test_a_past_that_could_not_be_read_whole_is_told_as_well(desk: Desk) -> None:
    desk.namespaces = ("bank",)
    desk.world.add_deployment(namespace="bank")
    desk.source.fail(UsageAnswerInvalid("half a JSON"), call="usage", skip=4, times=1)
    result = desk.recommend()
    assert (result.exit_code, result.stdout.splitlines()[1].split()[-1]) == (4, "UsageAnswerInvalid")
    assert result.stderr.splitlines()[-1].endswith("a part of the past could not be read yet: half a JSON")


def test_metrics_that_are_missing_are_told(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.source.hidden = {"cpu", "memory"}
    result = desk.recommend()
    assert result.exit_code == 4
    assert "error: namespace shop: MetricsMissing: " in result.stderr


def test_an_empty_cluster_is_exit_code_5(desk: Desk) -> None:
    desk.cluster.namespace_annotations["shop"] = {}
    result = desk.recommend()
    assert result.exit_code == 5
    assert "no workload (Deployment, StatefulSet, DaemonSet, CronJob) in namespace shop (name others with -n" in result.stderr
    desk.namespaces = ALL_NAMESPACES
    assert "in the cluster" in desk.recommend().stderr


def test_a_namespace_that_is_not_there_is_wrong_usage_also_beside_others(desk: Desk) -> None:
    desk.world.add_deployment()
    for desk.namespaces in (("nope",), ("shop", "nope")):
        result = desk.recommend()
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == "error: the cluster has no namespace nope: name others with -n, or all with -A\n"


def test_a_namespace_without_workloads_beside_others_is_noted(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.cluster.namespace_annotations["empty"] = {}
    desk.namespaces = ("shop", "empty")
    result = desk.recommend()
    assert (result.exit_code, result.stderr.splitlines()[0]) == (0, "note: no workload in namespace empty")


def test_exceptions_for_containers_that_no_workload_has_are_noted(desk: Desk, tmp_path: Path) -> None:
    for namespace in ("bank", "shop"):
        desk.world.add_deployment(namespace=namespace)
    desk.namespaces = ("bank", "shop")
    exceptions = [{"name": "app", "mode": "Ignore"}, {"name": "sidecarr", "mode": "Ignore"}]
    desk.world.apply_profile(containers=exceptions)
    assert "note: profile shop/all: spec.containers names what no workload has: sidecarr\n" in desk.recommend().stderr
    rule = tmp_path / "rule.yaml"
    rule.write_text(json.dumps(profile({"containers": exceptions})))
    assert desk.recommend("--profile", rule).stderr.splitlines() == [
        f"note: the profile ours of {rule} rules, and no other",
        "note: profile ours: spec.containers names what no workload has: sidecarr",
    ]


def test_explain_names_near_ones_without_reading_usage(desk: Desk) -> None:
    desk.world.add_deployment()
    result = run("explain", "deploy/wab")
    assert (result.exit_code, result.stderr) == (5, "error: there is no Deployment/wab in namespace shop; near it: Deployment/web\n")
    assert not desk.source.calls


def slack_by_series(verdict: Mapping[str, Any], resource: str = "cpu") -> dict[str, float]:
    return {one["name"]: one[resource]["slack"] for one in verdict["series"]}


def test_backtest_follows_each_containers_own_rule(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.world.add_deployment("api", labels={"tier": "api"})
    desk.world.add_deployment("proxy", labels={"tier": "api"}, container="side")
    desk.world.apply_profile(
        workloads={"selector": {"matchLabels": {"tier": "api"}}},
        cpu={"buffer": "50%"},
        containers=[{"name": "side", "cpu": {"min": "360m"}}],
    )
    own, current = desk.replayed("--rule", "current")
    assert slack_by_series(own) == pytest.approx(
        {"shop/Deployment/api/app": 1 / 3, "shop/Deployment/proxy/side": 1 / 2, "shop/Deployment/web/app": 1 / 6}, rel=1e-3
    )
    assert list(slack_by_series(current).values()) == pytest.approx([1 - 180 / 500] * 3, rel=1e-3)
    assert own["cpu"]["days"]["mean"] == pytest.approx(7, abs=0.01)


def test_backtest_reads_only_and_tells_what_recommend_tells(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.world.add_deployment("idle", days=0)
    before = desk.cluster.writes
    result = run("backtest")
    assert (result.exit_code, desk.cluster.writes) == (0, before)
    assert result.stdout.startswith("CPU, 1 series: mean / median / worst\n")
    assert result.stderr.splitlines() == [
        "note: left out, because nothing was measured of them: shop/Deployment/idle/app",
        "note: no profile fits any workload: the default profile is used",
    ]


def test_backtest_of_some_workloads_and_by_a_profile_file(desk: Desk, tmp_path: Path) -> None:
    for name in ("api", "cart", "web"):
        desk.world.add_deployment(name)
    desk.world.apply_profile(cpu={"buffer": "50%"}, window="7d")
    rule = tmp_path / "rule.yaml"
    rule.write_text(json.dumps(profile({"cpu": {"buffer": "100%"}, "window": "10d"})))
    (own,) = desk.replayed("--workload", "deploy/web", "--workload", "Deployment/api", "--profile", rule)
    assert slack_by_series(own) == pytest.approx({"shop/Deployment/api/app": 1 / 2, "shop/Deployment/web/app": 1 / 2}, rel=1e-3)
    assert own["cpu"]["days"]["mean"] == pytest.approx(3, abs=0.01)
    unknown = run("backtest", "--workload", "deploy/wab")
    assert (unknown.exit_code, unknown.stderr) == (
        5,
        "error: there is no Deployment/wab in namespace shop; near it: Deployment/web\n",
    )


def test_backtest_knows_modes_methods_speeds_and_guaranteed_pods(desk: Desk, tmp_path: Path) -> None:
    same = Sizes(1000, 1000, 2**30, 2**30)
    desk.world.add_deployment(sizes=same)
    desk.world.add_deployment("left", annotations={"rightsizer.dev/mode": "Ignore"})
    (own,) = desk.replayed("--trajectory", tmp_path / "out.csv")
    assert list(slack_by_series(own)) == ["shop/Deployment/web/app"]
    (decided,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert decided["cpu_limit_cores"] == decided["cpu_request_cores"]
    assert decided["memory_limit_bytes"] == decided["memory_request_bytes"]
    page = run("backtest", "-o", "html", "--strategy", "InPlace").stdout
    assert "at the speeds of InPlace" in page
    assert "<h3>shop/Deployment/web/app</h3>" in page
    assert [one["rule"] for one in desk.replayed("--method", "Learned")] == ["Learned"]


def test_backtest_of_different_rules_says_so_on_the_page(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.world.add_deployment("api", labels={"tier": "api"})
    desk.world.apply_profile(workloads={"selector": {"matchLabels": {"tier": "api"}}}, cpu={"buffer": "50%"})
    assert "each container by the rule of its own profile, 2 in all" in run("backtest", "-o", "html").stdout


def test_backtest_flags_throttled_usage(desk: Desk) -> None:
    desk.world.add_deployment()
    desk.world.use("web-5d9c7b-ccccc", owner=OwnerRef("ReplicaSet", "web-5d9c7b"), throttled=0.4, days=3.5)
    (own,) = desk.replayed()
    assert own["cpu"]["censored"]["mean"] == pytest.approx(0.5, abs=0.01)


def test_backtest_with_a_namespace_in_trouble(desk: Desk) -> None:
    desk.namespaces = ("bank", "shop")
    for namespace in desk.namespaces:
        desk.world.add_deployment(namespace=namespace)
    desk.source.fail(UsageSourceOverloaded(422, "too many samples"), call="usage", namespace="bank")
    result = run("backtest", "-o", "csv")
    assert (result.exit_code, "shop/Deployment/web/app" in result.stdout) == (4, True)
    assert result.stderr.splitlines()[-1] == "error: namespace bank: UsageSourceOverloaded: HTTP 422: too many samples"
    desk.namespaces = ("bank",)
    alone = run("backtest")
    assert (alone.exit_code, alone.stdout) == (4, "")


@pytest.mark.parametrize("command", [("run",), ("recommend",), ("explain", "deploy/web")])
def test_every_command_tells_a_kubeconfig_that_is_none_with_its_name_and_the_code_of_the_cluster(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "kubeconfig").write_text("garbage")
    result = run(*command, "--kubeconfig", tmp_path / "kubeconfig", "--prometheus-url", "http://127.0.0.1:1")
    assert result.exit_code == 3
    assert result.stderr.startswith(f"error: no access to a cluster by the kubeconfig {tmp_path / 'kubeconfig'}: it holds no kubeconfig")
    assert result.stderr.rstrip().endswith("(check the kubeconfig and its context, or name another with --kubeconfig)")


@pytest.mark.parametrize("command", ["run", "recommend"])
def test_without_any_kubeconfig_every_command_ends_with_the_code_of_the_cluster(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    for module in ("kubernetes.config.kube_config", "rightsizer.cluster.connection"):
        monkeypatch.setattr(f"{module}.KUBE_CONFIG_DEFAULT_LOCATION", "/nowhere/config")
    result = run(command, "--prometheus-url", "http://127.0.0.1:1")
    assert result.exit_code == 3, result.stderr
    assert result.stderr.startswith("error: no access to a cluster by the kubeconfig /nowhere/config: ")
    assert result.stderr.rstrip().endswith("(check the kubeconfig and its context, or name another with --kubeconfig)")
