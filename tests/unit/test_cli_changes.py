"""`rightsizer history` and `rightsizer revert` before a faked cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from rightsizer.cli import changes
from rightsizer.errors import ClusterForbidden
from rightsizer.ports import Recorded
from rightsizer.workload import WorkloadRef
from tests.unit.cli_files import run
from tests.unit.test_cli_live import ReadableFakeCluster
from tests.unit.world import World

WEB = WorkloadRef("shop", "Deployment", "web")


class RevertibleFakeCluster(ReadableFakeCluster):
    """Implements `ReadableRecommendations`."""

    def ask_to_revert(self, recorded: Recorded, *, change_time: float) -> None:
        self.called("ask_to_revert")
        stored = self.stored_recommendations[recorded.workload]
        stored.recorded = replace(stored.recorded, revert_asked=change_time)


class Desk:
    """A person's terminal. The operator has changed web, and goes on by one cycle whenever the person waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World()
        self.cluster = self.world.cluster = RevertibleFakeCluster()
        self.world.restart()
        self.world.add_deployment()
        self.world.add_deployment("quiet", days=0)
        self.world.apply_profile()
        self.go_on()
        self.while_waiting: Callable[[], object] = self.go_on
        monkeypatch.setattr(changes, "_open", lambda options: self.cluster)
        monkeypatch.setattr("time.sleep", lambda seconds: self.while_waiting())

    def go_on(self) -> None:
        self.world.run_cycles(1)
        self.cluster.end_rollout(WEB)
        self.world.run_cycles(1)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(monkeypatch)


class TestHistory:
    @pytest.mark.parametrize("arguments", [["-n", "shop"], ["deploy/web", "-n", "shop"], ["-A"], ["-n", "shop", "-n", "other"]])
    def test_tells_what_was_changed(self, desk: Desk, arguments: list[str]) -> None:
        header, line = run("history", *arguments).stdout.splitlines()
        assert header.split() == ["NAMESPACE", "WORKLOAD", "TIME", "STRATEGY", "OUTCOME", "CHANGE", "MESSAGE"]
        told = "app cpu 500m -> 216m, app memory 1Gi -> 384Mi  every pod runs with the new values"
        assert line.split("  ", 1)[0] == "shop"
        assert line.endswith(f"Rollout   Succeeded  {told}")

    def test_newest_first_as_json(self, desk: Desk) -> None:
        run("revert", "deploy/web", "-n", "shop")
        told = json.loads(run("history", "-n", "shop", "-o", "json").stdout)
        assert [(one["workload"], one["outcome"], one.get("reverts")) for one in told] == [
            ("Deployment/web", "Succeeded", "somebody asked for it"),
            ("Deployment/web", "Succeeded", None),
        ]
        assert told[0]["time"] > told[1]["time"]

    def test_of_what_was_not_changed(self, desk: Desk) -> None:
        result = run("history", "deploy/quiet", "-n", "shop")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "note: nothing was changed\n")

    def test_of_nobody(self, desk: Desk) -> None:
        result = run("history", "deploy/nobody", "-n", "shop")
        assert (result.exit_code, result.stderr) == (5, "error: there is no recommendation for Deployment/nobody here\n")

    def test_that_may_not_be_read(self, desk: Desk) -> None:
        desk.cluster.fail(ClusterForbidden("no right"), call="recommendations_of")
        result = run("history", "-n", "shop")
        assert result.exit_code == 3
        assert "no right" in result.stderr

    def test_of_all_and_of_some(self, desk: Desk) -> None:
        assert run("history", "-A", "-n", "shop").exit_code == 2


class TestRevert:
    def test_is_asked_for_and_waited_for(self, desk: Desk) -> None:
        result = run("revert", "deploy/web", "-n", "shop")
        assert result.exit_code == 0, result.stderr
        asked, done = result.stdout.splitlines()
        assert asked.endswith(": app cpu 216m -> 500m, app memory 384Mi -> 1Gi")
        assert done == "RevertSucceeded: the former values are back: somebody asked for it"
        assert desk.world.sizes().cpu_request == 500

    def test_without_an_operator_it_stays_asked_for(self, desk: Desk) -> None:
        desk.while_waiting = lambda: None
        result = run("revert", "deploy/web", "-n", "shop", "--wait", "1m")
        assert (result.exit_code, "the operator has not done it yet" in result.stderr) == (0, True)
        assert run("revert", "deploy/web", "-n", "shop", "--wait", "0m").exit_code == 0

    def test_of_a_reversal(self, desk: Desk) -> None:
        run("revert", "deploy/web", "-n", "shop")
        result = run("revert", "deploy/web", "-n", "shop")
        assert result.exit_code == 2
        assert "is RevertSucceeded" in result.stderr

    def test_of_what_was_never_changed(self, desk: Desk) -> None:
        result = run("revert", "deploy/quiet", "-n", "shop")
        assert (result.exit_code, "deploy/quiet was not changed" in result.stderr) == (2, True)

    @pytest.mark.parametrize("name", ["deploy/nobody", "sts/web"])
    def test_of_nobody(self, desk: Desk, name: str) -> None:
        assert run("revert", name, "-n", "shop").exit_code == 5

    @pytest.mark.parametrize("name", ["web", "pod/web", "deploy/"])
    def test_of_what_is_no_workload(self, desk: Desk, name: str) -> None:
        assert run("revert", name, "-n", "shop").exit_code == 2

    def test_that_may_not_be_asked_for(self, desk: Desk) -> None:
        desk.cluster.fail(ClusterForbidden("no right to patch"), call="ask_to_revert")
        result = run("revert", "deploy/web", "-n", "shop")
        assert (result.exit_code, "no right to patch" in result.stderr) == (3, True)
