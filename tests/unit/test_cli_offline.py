"""`recommend` and `explain` from files: the demo's workloads, profiles, forms of output, and what a person may get wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from rightsizer.cli import main
from rightsizer.settings import Settings
from tests.unit.cli_files import NOW, deployment, objects, profile, run, steady_rows, write_history, write_manifests
from tests.usage.demo_scenario import manifests, workloads
from tests.usage.history_file import write_csv

CHOSEN = ("web", "catalog", "node-agent", "payments", "preview")


@dataclass(frozen=True)
class Files:
    manifests: Path
    history: Path

    @property
    def options(self) -> tuple[object, ...]:
        return ("--manifests", self.manifests, "--history", self.history)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Some workloads of the demo with two weeks of usage."""
    folder = tmp_path_factory.mktemp("demo")
    history = folder / "usage.csv.gz"
    write_csv([one for one in workloads() if one.name in CHOSEN], history, days=14, until=float(NOW))
    chosen = [one for one in manifests() if one["kind"] == "Namespace" or one["metadata"]["name"] in CHOSEN]
    return Files(write_manifests(folder / "manifests", *chosen), history)


@pytest.fixture
def web(tmp_path: Path) -> Files:
    """One Deployment with a day of usage."""
    return Files(write_manifests(tmp_path / "manifests", deployment()), write_history(tmp_path / "usage.csv", steady_rows()))


def test_the_worked_example_comes_out_exactly(demo: Files) -> None:
    result = run("recommend", *demo.options, "-o", "json")
    assert result.exit_code == 0, result.stderr
    web = objects(result)["Deployment/web"]
    assert web["containers"][0]["recommended"] == {
        "requests": {"cpu": "216m", "memory": "384Mi"},
        "limits": {"cpu": "432m", "memory": "576Mi"},
    }
    assert web["savings"] == {"cpu": "568m", "memory": "1280Mi"}
    assert (web["namespace"], web["replicas"], web["profile"], web["mode"]) == ("shop", 2, None, "Recommend")
    assert web["containers"][0]["explanation"]["cpu"]["measured"] == "180m"


def test_the_table_has_one_line_for_each_container_and_a_total(demo: Files) -> None:
    result = run("recommend", *demo.options)
    assert result.exit_code == 0
    lines = [re.split(r" {3,}", line) for line in result.stdout.splitlines()]
    assert lines[0] == ["NAMESPACE", "WORKLOAD", "CONTAINER", "CPU", "CPU LIMIT", "MEMORY", "MEMORY LIMIT", "EVIDENCE", "NOTE"]
    evidence = "7d: 0 OOM, 0% above, 0.0/day, -62% mem"
    assert ["shop", "Deployment/web", "app", "500m -> 216m", "1 -> 432m", "1Gi -> 384Mi", "2Gi -> 576Mi", evidence, "-"] in lines
    assert len(lines) == 1 + 6 + 2
    assert lines[-1][0].startswith("5 workloads, 10 pods: requests of CPU 5.60 -> 3.06 cores (45% less), memory 10.8Gi -> ")
    assert all(line == line.rstrip() for line in result.stdout.splitlines())


def test_table_json_and_yaml_tell_the_same_numbers(demo: Files) -> None:
    table, json_form, yaml_form = (run("recommend", *demo.options, "-o", form) for form in ("table", "json", "yaml"))
    assert yaml.safe_load(yaml_form.stdout) == json.loads(json_form.stdout)
    rows = {tuple(re.split(r" {3,}", line)[1:3]): re.split(r" {3,}", line) for line in table.stdout.splitlines()[1:-2]}
    for one in json.loads(json_form.stdout):
        for container in one["containers"]:
            row = rows[one["workload"], container["name"]]
            recommended = container["recommended"]
            expected = [recommended[part][name] for name in ("cpu", "memory") for part in ("requests", "limits")]
            assert [cell.split(" -> ")[-1] for cell in row[3:7]] == expected
            assert row[8] == container["note"]


def test_notes_tell_what_would_hold_a_change_back(demo: Files) -> None:
    found = objects(run("recommend", *demo.options, "-o", "json"))
    notes = {name: one["containers"][0]["note"] for name, one in found.items()}
    assert notes["Deployment/catalog"] == "HpaOnSameResource(cpu)"
    assert notes["Deployment/preview"] == "NotEnoughHistory"
    assert notes["Deployment/web"] == "-"
    assert found["Deployment/catalog"]["checks"][0]["fields"] == ["app.cpu.limit", "app.cpu.request"]


def test_a_guaranteed_pod_keeps_its_class(demo: Files) -> None:
    sizes = objects(run("recommend", *demo.options, "-o", "json"))["Deployment/payments"]["containers"][0]["recommended"]
    assert sizes["requests"] == sizes["limits"]


def test_the_pods_of_a_daemon_set_are_counted_in_the_history(demo: Files) -> None:
    agent = objects(run("recommend", *demo.options, "-o", "json"))["DaemonSet/node-agent"]
    assert agent["replicas"] == 2
    assert [container["name"] for container in agent["containers"]] == ["agent", "log-shipper"]


def test_namespaces_are_chosen(demo: Files) -> None:
    assert list(objects(run("recommend", *demo.options, "-n", "batch", "-o", "json"))) == ["Deployment/preview"]
    assert len(objects(run("recommend", *demo.options, "-n", "batch", "-n", "shop", "-o", "json"))) == 5


def test_explain_goes_step_by_step(demo: Files) -> None:
    result = run("explain", "deploy/web", "-n", "shop", *demo.options)
    assert result.exit_code == 0, result.stderr
    text = result.stdout
    for part in (
        "Deployment/web in namespace shop: 2 pods",
        "CPU: request 500m -> 216m, limit 1 -> 432m",
        "1. measure  load-p94 (half-life 15h) of 14d (4,0",
        " values, 99.9 %, busiest of up to 2 pods) = 180m",
        "the window has 4,032 slots; the values reach over 14.0 days, the last is of 2025-11-20 12:00 UTC (0 minutes ago)",
        "2. buffer   180m + 20 % = 216m",
        "216m is within minimum 10m and maximum 16",
        "Evidence: had this rule been applied in the 7d that were judged, each time by what was known then,",
        "the container would not have been killed for memory, and would not have been changed;",
        "CPU above the request for 0% of the time, with 216m requested in the mean, 57% less than the 500m of today",
        "limit 2 x 216m = 432m",
        "Memory: request 1Gi -> 384Mi, limit 2Gi -> 576Mi",
        "limit 1.5 x 384Mi = 576Mi",
        "spec.memory of the profile: load-p96 (half-life 3d) + 20% over 14d",
        "free to change: app.cpu.request, app.cpu.limit, app.memory.request, app.memory.limit",
        "CPU 1 -> 432m (saves 568m), Memory 2Gi -> 768Mi (saves 1280Mi)",
    ):
        assert part in text, part


def test_explain_tells_which_check_holds_back_what(demo: Files) -> None:
    text = run("explain", "deployment/catalog", "-n", "shop", *demo.options).stdout
    assert "HpaOnSameResource: HorizontalPodAutoscaler catalog scales on the utilization of cpu" in text
    assert "holds back: app.cpu.limit, app.cpu.request" in text
    assert "free to change: app.memory.request, app.memory.limit" in text


@pytest.mark.parametrize("reference", ["Deployment/web", "deployment/web", "deploy/web", "DEPLOY/web", "deployments.apps/web"])
def test_explain_takes_kinds_as_kubectl_does(web: Files, reference: str) -> None:
    assert run("explain", reference, *web.options).stdout.startswith("Deployment/web in namespace shop")


@pytest.mark.parametrize(
    ("reference", "code", "words"),
    [
        ("deploy/wab", 5, "error: there is no Deployment/wab in namespace shop; near it: Deployment/web\n"),
        ("sts/web", 5, "error: there is no StatefulSet/web in namespace shop; near it: Deployment/web\n"),
        ("deploy/entirely-else", 5, "error: there is no Deployment/entirely-else in namespace shop; there is: Deployment/web\n"),
        ("pod/web", 2, "error: 'pod' is no kind that can be sized: write one of Deployment (deploy), StatefulSet (sts), DaemonSet (ds), "),
        ("web", 2, "error: 'web': write KIND/NAME, such as Deployment/web"),
        ("deploy/a/b", 2, "error: 'deploy/a/b': write KIND/NAME"),
    ],
)
def test_explain_of_what_is_not_there(web: Files, reference: str, code: int, words: str) -> None:
    result = run("explain", reference, *web.options)
    assert result.exit_code == code
    assert result.stderr.startswith(words)
    assert result.stdout == ""


def test_explain_names_at_most_five_of_what_there_is(web: Files) -> None:
    write_manifests(web.manifests, *(deployment(name) for name in "abcdefg"))
    told = (
        "there is no Deployment/nope in namespace shop; there is: " + ", ".join(f"Deployment/{name}" for name in "abcde") + " and 2 more\n"
    )
    assert told in run("explain", "deploy/nope", *web.options).stderr
    write_manifests(web.manifests, deployment(), deployment("other", namespace="bank"))
    told = "there is no Deployment/wab in any of 2 namespaces; near it: Deployment/web in namespace shop\n"
    assert told in run("explain", "deploy/wab", *web.options).stderr


def test_explain_lists_the_fields_that_are_held_back_once(web: Files) -> None:
    checks = run("explain", "deploy/web", *web.options).stdout.partition("Checks before a change")[2]
    assert "NotEnoughHistory: " in checks
    assert [checks.count(f"app.{field}") for field in ("cpu.request", "cpu.limit", "memory.request", "memory.limit")] == [1, 1, 1, 1]


def test_explain_asks_which_one_of_several_namespaces(web: Files) -> None:
    write_manifests(web.manifests, deployment(), deployment(namespace="bank"))
    result = run("explain", "deploy/web", *web.options)
    assert (result.exit_code, "choose one with -n (bank, shop)" in result.stderr) == (2, True)


def test_a_profile_file_rules_in_place_of_the_default(web: Files, tmp_path: Path) -> None:
    rule = tmp_path / "profile.yaml"
    rule.write_text(yaml.safe_dump(profile({"cpu": {"buffer": "50%"}, "memory": {"limit": {"policy": "None"}}}, namespace="elsewhere")))
    result = run("recommend", *web.options, "--profile", rule, "-o", "json")
    found = objects(result)["Deployment/web"]
    assert found["profile"] == "ours"
    assert found["containers"][0]["recommended"] == {
        "requests": {"cpu": "270m", "memory": "384Mi"},
        "limits": {"cpu": "540m"},
    }
    assert result.stderr == f"note: the profile ours of {rule} rules, and no other\n"


def test_learned_is_explained_with_its_choice_and_its_promise(demo: Files, tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(yaml.safe_dump(profile({"method": "Learned"})))
    text = run("explain", "deploy/web", "-n", "shop", *demo.options, "--profile", file).stdout
    assert "method Learned" in text
    cpu = text.partition("  CPU: ")[2].partition("  Memory: ")[0]
    assert "    1. measure  Learned steady of 14d (" in cpu
    assert "    2. margin   " in cpu
    assert "policy Ratio: 2 x the request, the most that the rule allows" in cpu
    assert "       choice   steady: the only form of this resource under this strategy\n                a request below " in cpu
    assert re.search(r"a request below (\S+) is raised to it, one above (\S+) lowered to it\n", cpu)
    assert ", 0.3% are promised\n       rule     spec.cpu of the profile: Learned over 14d" in cpu
    web = objects(run("recommend", "-n", "shop", *demo.options, "--profile", file, "-o", "json"))["Deployment/web"]
    request = web["containers"][0]["recommended"]["requests"]["cpu"]
    assert f"request 500m -> {request}," in cpu


def test_the_help_tells_what_cannot_be_redone_by_hand() -> None:
    text = " ".join(run("explain", "--help").stdout.split())
    assert "By the method Learned" in text
    assert "`rightsizer backtest --trajectory FILE`" in text


def test_a_profile_among_the_manifests_rules_its_namespace(web: Files) -> None:
    write_manifests(web.manifests, deployment(), deployment("api"), profile({"cpu": {"buffer": "50%"}}, namespace="shop"))
    result = run("recommend", *web.options, "-o", "json")
    assert objects(result)["Deployment/web"]["profile"] == "ours"
    write_manifests(web.manifests, deployment(), profile({"cpu": {"buffer": "50%"}}, namespace="bank"))
    result = run("recommend", *web.options, "-o", "json")
    assert objects(result)["Deployment/web"]["profile"] is None
    assert result.stderr == "note: no profile fits any workload: the default profile is used\n"


@pytest.mark.parametrize(("team", "profile_name"), [("a", "ours"), ("b", None)])
def test_a_cluster_wide_profile_among_the_manifests_rules_the_namespaces_that_it_selects(
    web: Files, team: str, profile_name: str | None
) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": team}}}
    wide = {**profile({"namespaceSelector": {"matchLabels": {"team": "a"}}}), "kind": "ClusterResourceProfile"}
    write_manifests(web.manifests, deployment(), namespace, wide)
    result = run("recommend", *web.options, "-o", "json")
    assert objects(result)["Deployment/web"]["profile"] == profile_name


def test_what_the_profile_of_a_file_does_not_fit_is_left_out(web: Files, tmp_path: Path) -> None:
    rule = tmp_path / "profile.yaml"
    rule.write_text(yaml.safe_dump(profile({"workloads": {"kinds": ["DaemonSet"]}})))
    for arguments in (("recommend",), ("explain", "deploy/web")):
        result = run(*arguments, *web.options, "--profile", rule)
        assert (result.exit_code, result.stdout) == (5, "")
        assert "selector" in result.stderr


def test_an_ignored_workload_is_left_out_and_named(web: Files) -> None:
    ignored = deployment("quiet")
    ignored["metadata"]["annotations"] = {"rightsizer.dev/mode": "Ignore"}
    write_manifests(web.manifests, deployment(), ignored)
    result = run("recommend", *web.options, "-o", "json")
    assert list(objects(result)) == ["Deployment/web"]
    assert "note: left out, because the mode is Ignore: shop/Deployment/quiet\n" in result.stderr
    explained = run("explain", "deploy/quiet", *web.options)
    assert (explained.exit_code, "its mode is Ignore, by the annotation" in explained.stdout) == (0, True)


def test_nothing_but_ignored_workloads_is_nothing_to_recommend(web: Files) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": {"rightsizer.dev/mode": "Ignore"}}}
    write_manifests(web.manifests, namespace, deployment())
    assert run("recommend", *web.options).exit_code == 5


def test_containers_without_usage_and_ignored_ones_are_told(web: Files, tmp_path: Path) -> None:
    two = deployment()
    two["spec"]["template"]["spec"]["containers"] += [{"name": "idle"}, {"name": "proxy"}]
    write_manifests(web.manifests, two, profile({"containers": [{"name": "proxy", "mode": "Ignore"}]}, namespace="shop"))
    rows = [re.split(r" {3,}", line) for line in run("recommend", *web.options).stdout.splitlines()]
    assert rows[2][2:] == ["idle", "unset -> ?", "unset -> ?", "unset -> ?", "unset -> ?", "-", "NoUsage"]
    assert rows[3][2:] == ["proxy", "unset", "unset", "unset", "unset", "-", "ModeIgnore"]
    text = run("explain", "deploy/web", *web.options).stdout
    assert "CPU: no usage was seen in the last 14d; nothing is recommended" in text
    assert "left alone: the profile's rule for this container is mode Ignore" in text


def test_nothing_to_change_is_told(web: Files) -> None:
    fitting = {"requests": {"cpu": "216m", "memory": "384Mi"}, "limits": {"cpu": "432m", "memory": "576Mi"}}
    right = deployment()
    right["spec"]["template"]["spec"]["containers"][0]["resources"] = fitting
    write_manifests(web.manifests, right)
    assert run("recommend", *web.options).stdout.splitlines()[1].split()[3:] == ["216m", "432m", "384Mi", "576Mi", "-", "UpToDate"]
    assert "nothing would change" in run("explain", "deploy/web", *web.options).stdout


def test_usage_without_a_manifest_is_named(web: Files) -> None:
    write_history(web.history, [*steady_rows(), *steady_rows("CronJob/night")])
    assert "note: usage without a manifest: shop/CronJob/night\n" in run("recommend", *web.options).stderr


def test_the_total_of_a_large_cluster_stays_readable(web: Files) -> None:
    write_manifests(web.manifests, deployment(spec={**deployment()["spec"], "replicas": 20_000}))
    total = run("recommend", *web.options).stdout.splitlines()[-1]
    assert total == "1 workload, 20000 pods: requests of CPU 10,000.0 -> 4,320.0 cores (57% less), memory 19.5Ti -> 7.32Ti (62% less)"


def test_now_looks_back(web: Files) -> None:
    later = [row.replace(",0.18,", ",0.9,") for row in steady_rows(hours=12)]
    write_history(web.history, [*steady_rows(hours=24)[144:], *later])
    result = run("recommend", *web.options, "-o", "json", "--now", "2025-11-20T00:00:00Z")
    explanation = objects(result)["Deployment/web"]["containers"][0]["explanation"]["cpu"]
    assert (explanation["measured"], explanation["samples"]) == ("180m", 144)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "where does the usage come from? Give --prometheus-url URL"),
        (("--manifests", "{manifests}"), "--history is missing"),
        (("--history", "{history}"), "--manifests is missing"),
        (("--now", "1763640000"), "--manifests is missing"),
        (("--manifests", "{manifests}", "--history", "{history}", "--prometheus-url", "http://x"), "--prometheus-url goes with a cluster"),
        (("--manifests", "{manifests}", "--history", "{history}", "-A"), "--all-namespaces goes with a cluster"),
        (("--manifests", "{manifests}", "--history", "{history}", "--prometheus-insecure"), "--prometheus-insecure goes with a cluster"),
        (("--manifests", "{manifests}", "--history", "{history}", "--now", "soon"), "'soon' is no time"),
        (("--manifests", "{manifests}", "--history", "/nowhere.csv"), "does not exist"),
        (("--prometheus-url", "http://x", "-A", "-n", "shop"), "-n and -A: give one of the two"),
        (("--manifests", "{manifests}", "--history", "{history}", "-n", ""), "'' is no name of a namespace"),
        (("--prometheus-url", "http://x", "-n", "shop", "-n", "UPPER_bad"), "'UPPER_bad' is no name of a namespace"),
        (
            ("--prometheus-url", "http://x", "--prometheus-matchers", "cluster=east"),
            "'--prometheus-matchers': 'cluster=east' is no matcher",
        ),
        (("--prometheus-url", "http://x?y=1"), "RIGHTSIZER_PROMETHEUS_URL (or --prometheus-url): it ends before"),
        (("--prometheus-url", "http://me:pw@x"), "RIGHTSIZER_PROMETHEUS_URL (or --prometheus-url): it must not hold a password"),
        (("--prometheus-url", "https://x", "--prometheus-ca-file", "{history}"), "usage.csv holds no certificates to trust"),
        (("--prometheus-url", "x"), "RIGHTSIZER_PROMETHEUS_URL (or --prometheus-url): write http://HOST:PORT or https://HOST:PORT"),
        (
            ("--prometheus-url", "http://x", "--prometheus-timeout", "inf"),
            "RIGHTSIZER_PROMETHEUS_TIMEOUT_SECONDS (or --prometheus-timeout): ",
        ),
        (("--prometheus-url", "http://x", "--prometheus-header", "secret"), "write NAME=VALUE"),
        (("--prometheus-url", "http://x", "--prometheus-labels", "pods=pod_name"), "write namespace=NAME,pod=NAME,container=NAME"),
        (("--manifests", "{manifests}", "--history", "{history}", "--prometheus-kube-state-labels", "pod=p"), "goes with a cluster"),
        (("--prometheus-url", "http://x", "--prometheus-username", "me"), "a username and a password file"),
        (("--prometheus-url", "http://x", "--prometheus-ca-file", "{history}"), "(or --prometheus-ca-file): certificates are only checked"),
        (("-o", "xml"), "'xml' is not one of"),
        (("--frobnicate",), "No such option"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(web: Files, arguments: tuple[str, ...], words: str) -> None:
    filled = [argument.format(manifests=web.manifests, history=web.history) for argument in arguments]
    result = run("recommend", *filled)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_misspelt_setting_is_wrong_usage_also_where_no_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {**os.environ, "RIGHTSIZER_PROMETHEUS_URLL": "http://x"})
    runner = CliRunner()
    result = runner.invoke(main, ["recommend", "-n", "shop"])
    assert (result.exit_code, result.stderr.startswith("error: RIGHTSIZER_PROMETHEUS_URLL: no such setting")) == (2, True)


def test_run_tells_every_setting() -> None:
    told = " ".join(run("run", "--help").stdout.split())
    for item in fields(Settings):
        option = f"--{item.name.replace('_', '-')} "
        assert f"RIGHTSIZER_{item.name.upper()}" in told or option in told, item.name
    assert "recommend, explain" not in told
    assert "default: one found in the cluster" in run("recommend", "--help").stdout


def test_usage_outside_of_the_window_is_told(web: Files) -> None:
    result = run("recommend", *web.options, "--now", "2027-01-01T00:00:00Z")
    assert result.exit_code == 0
    assert (
        "note: no usage, or a single value, within the window of 14d up to 2027-01-01 00:00 UTC (--now); "
        "the rest is outside of it: shop/Deployment/web\n"
    ) in result.stderr
    assert "single value" not in run("recommend", *web.options).stderr
    write_history(web.history, steady_rows(hours=1)[:1])
    assert "single value" not in run("recommend", *web.options).stderr
    write_history(web.history, [*steady_rows(hours=1), f"shop,Deployment/web,web-0,app,{NOW + 20 * 86_400},0.1,1"])
    words = "2025-12-10 12:00 UTC (the newest sample of the file; --now TIME takes another end); the rest is outside of it: shop/Dep"
    for command in (("recommend",), ("explain", "deploy/web")):
        assert words in run(*command, *web.options).stderr


def test_usage_of_another_namespace_than_that_of_the_manifest_is_told(tmp_path: Path) -> None:
    manifests = write_manifests(tmp_path / "manifests", deployment(namespace=None))
    options = ("--manifests", manifests, "--history", write_history(tmp_path / "usage.csv", steady_rows(hours=1)))
    words = "note: Deployment/web is taken to be in namespace default, and its usage is of shop: write metadata.namespace into its manifest"
    for command in (("recommend",), ("explain", "deploy/web")):
        assert words in run(*command, *options).stderr
        assert "taken to be" not in run(*command, *options, "-n", "shop").stderr


def test_a_namespace_without_workloads_beside_others_is_noted(web: Files) -> None:
    result = run("recommend", *web.options, "-n", "shop", "-n", "bank")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (0, "note: no workload in namespace bank")


def test_a_cluster_and_settings_of_the_surroundings_are_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/elsewhere/kubeconfig")
    monkeypatch.setenv("RIGHTSIZER_LOG_LEVEL", "loud")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", "/elsewhere/kubeconfig")
    assert "/elsewhere" not in run("recommend", "--prometheus-url", "http://127.0.0.1:9").stderr
    assert run("recommend", "--prometheus-url", "http://127.0.0.1:9").exit_code == 3


def test_no_workload_is_exit_code_5(web: Files) -> None:
    result = run("recommend", *web.options, "-n", "bank")
    assert result.exit_code == 5
    assert "no workload of namespace bank in it (Deployment, StatefulSet, DaemonSet, CronJob, Rollout)" in result.stderr


@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_error_is_one_line_or_with_debug_a_traceback(web: Files, monkeypatch: pytest.MonkeyPatch, debug: bool) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("not\nforeseen")

    monkeypatch.setattr("rightsizer.cli.recommending.assess", broken)
    result = run("recommend", *web.options, *(["--debug"] if debug else []))
    assert result.exit_code == 1
    assert isinstance(result.exception, RuntimeError if debug else SystemExit)
    assert ("error: unexpected RuntimeError: not foreseen" in result.stderr) is not debug


def test_a_full_disk_is_no_fault_of_ours(web: Files) -> None:
    command = [sys.executable, "-c", "from rightsizer.cli import main; main()", "recommend", *map(str, web.options), "-o", "json"]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr.splitlines()[-1]) == (2, "error: the output cannot be written: No space left on device")


INTERRUPTED_WHILE_LOADING = """
import signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "rightsizer.cli.options":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
from rightsizer.cli import main
main()
"""


def test_an_interrupt_while_the_commands_are_loaded() -> None:
    result = subprocess.run([sys.executable, "-c", INTERRUPTED_WHILE_LOADING], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "interrupted\n")


def test_version_and_help_tell_what_is_needed() -> None:
    assert run("--version").stdout == "rightsizer, version 0.1.0\n"
    for command in ("recommend", "explain", "run"):
        assert "4  the usage source could not be reached, or it refused" in run(command, "--help").stdout
    assert run("no-such-command").exit_code == 2


def test_run_hands_settings_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    handed: list[object] = []
    monkeypatch.setattr("rightsizer.handlers.run", lambda settings, kubeconfig: handed.extend([settings, kubeconfig]))
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    result = run(
        "run", "--prometheus-url", "http://p", "--prometheus-insecure", "--prometheus-header", "X-Scope-OrgID=a", "--kubeconfig", kubeconfig
    )
    assert result.exit_code == 0, result.stderr
    settings, given = handed
    assert (settings.prometheus_url, settings.prometheus_verify, settings.prometheus_headers) == (  # type: ignore[attr-defined]
        "http://p",
        False,
        {"X-Scope-OrgID": "a"},
    )
    assert given == str(kubeconfig)
    assert "RIGHTSIZER_PROMETHEUS_URL" in run("run").stderr


def test_what_the_replay_could_judge_is_told_where_it_is_too_little(tmp_path: Path) -> None:
    """A day is there, and after an hour of it the rule would lower."""
    quick = profile({"minimumHistory": {"raise": "1h", "lower": "1h"}}, namespace="shop")
    manifests = write_manifests(tmp_path / "m", deployment(), quick)
    history = write_history(tmp_path / "usage.csv", steady_rows())
    told = run("explain", "deploy/web", "-n", "shop", "--manifests", manifests, "--history", history).stdout
    assert "Evidence: none, the replay could judge 23h of the 24h that are needed" in told
    assert "the replay could judge 23h of the cpu of app, which is not lowered before 24h were judged" in told
    table = run("recommend", "-n", "shop", "--manifests", manifests, "--history", history).stdout
    assert "0 OOM" not in table
