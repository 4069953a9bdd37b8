from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import kopf
import pytest

from rightsizer import handlers
from rightsizer.cycle.measuring import ReadingLimits
from rightsizer.errors import ClusterUnreachable, InvalidSettings
from rightsizer.handlers import EndlessBackoff, Loop, ProfileWatch, SystemClock
from rightsizer.metrics import Health, OperatorMetrics
from rightsizer.settings import Settings
from tests.fakes import FakeClock
from tests.unit.test_history import batch, key
from tests.unit.world import World

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me}}]
clusters: [{name: here, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: me, user: {token: abc}}]
"""


def eventually(fact: Callable[[], bool], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)


class Running:
    """A loop over a small cluster, and how often it went round."""

    def __init__(self, *, cycle_seconds: float) -> None:
        self.world = World()
        self.world.add_deployment()
        self.world.apply_profile(window="1d", minimumHistory={"raise": "1h", "lower": "1h"})
        self.metrics = OperatorMetrics()
        self.clock = FakeClock(0)
        self.health = Health(stalled_after_seconds=900, clock=self.clock.now)
        self.loop = Loop(self.world.cycle, self.world.measuring, self.metrics, self.health, cycle_seconds=cycle_seconds)

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0

    @property
    def ended(self) -> float:
        return self.value("rightsizer_cycles_total", outcome="ok")

    @property
    def failed(self) -> float:
        return self.value("rightsizer_cycles_total", outcome="failed")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "QUIET_SECONDS", 0.01)


@pytest.fixture
def lazy() -> Iterator[Running]:
    """Its second cycle is an hour away, unless it is woken."""
    running = Running(cycle_seconds=3_600)
    running.loop.start()
    yield running
    running.loop.stop()


class TestLoop:
    def test_runs_a_cycle_at_once_and_counts_it(self, lazy: Running) -> None:
        eventually(lambda: lazy.ended == 1)
        eventually(lambda: lazy.value("rightsizer_history_bytes") > 0)
        assert lazy.value("rightsizer_changes_total") == 1
        assert lazy.value("rightsizer_workloads", mode="Apply", state="RollingOut") == 1
        assert lazy.value("rightsizer_history_containers") == 1
        assert abs(lazy.value("rightsizer_last_cycle_timestamp_seconds") - time.time()) < 60

    def test_tells_what_it_read_or_changed_and_else_keeps_quiet(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, logger=handlers.__name__)
        running = Running(cycle_seconds=3_600)
        running.world.apply_profile(mode="Recommend")

        def told() -> list[str]:
            return [record.levelname for record in caplog.records if record.msg.startswith("cycle of")]

        running.loop.start()
        try:
            eventually(lambda: told() == ["INFO"])
            running.loop.wake()
            eventually(lambda: told() == ["INFO", "DEBUG"])
            running.world.next_slot()
            running.loop.wake()
            eventually(lambda: told() == ["INFO", "DEBUG", "INFO"])
        finally:
            running.loop.stop()
        assert "1 workloads, 0 changed, 0 failed, 1 answers of the usage source" in caplog.records[-1].getMessage()

    def test_waits_for_its_time(self, lazy: Running) -> None:
        eventually(lambda: lazy.ended == 1)
        time.sleep(0.05)
        assert lazy.ended == 1

    def test_goes_on_by_itself(self) -> None:
        running = Running(cycle_seconds=0.01)
        running.loop.start()
        try:
            eventually(lambda: running.ended >= 3)
        finally:
            running.loop.stop()

    def test_does_not_wait_while_there_is_a_past_to_be_read(self) -> None:
        running = Running(cycle_seconds=3_600)
        running.world.limits = ReadingLimits(portion_seconds=0)
        running.world.restart()
        running.loop = Loop(running.world.cycle, running.world.measuring, running.metrics, running.health, cycle_seconds=3_600)
        running.loop.start()
        try:
            eventually(lambda: running.ended >= 3)
            assert 0 < running.value("rightsizer_history_read_share") < 1
        finally:
            running.loop.stop()

    def test_wake_runs_early(self, lazy: Running) -> None:
        eventually(lambda: lazy.ended == 1)
        lazy.loop.wake()
        eventually(lambda: lazy.ended == 2)

    def test_several_wakes_in_a_row_are_one_cycle(self, lazy: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handlers, "QUIET_SECONDS", 0.2)
        eventually(lambda: lazy.ended == 1)
        for _ in range(5):
            lazy.loop.wake()
        eventually(lambda: lazy.ended == 2)
        time.sleep(0.05)
        assert lazy.ended == 2

    def test_wake_in_mid_cycle_is_not_lost(self) -> None:
        running = Running(cycle_seconds=3_600)
        inside, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            inside.set()
            assert go_on.wait(10)

        running.world.in_mid_cycle = wait
        running.loop.start()
        try:
            assert inside.wait(10)
            running.loop.wake()
            go_on.set()
            eventually(lambda: running.ended == 2)
        finally:
            go_on.set()
            running.loop.stop()

    def test_stop_waits_for_the_running_cycle(self) -> None:
        running = Running(cycle_seconds=3_600)
        inside, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            inside.set()
            assert go_on.wait(10)

        running.world.in_mid_cycle = wait
        running.loop.start()
        assert inside.wait(10)
        stopping = threading.Thread(target=running.loop.stop)
        stopping.start()
        stopping.join(0.05)
        assert stopping.is_alive()
        go_on.set()
        stopping.join(10)
        assert (stopping.is_alive(), running.ended) == (False, 1)

    @pytest.mark.parametrize(
        ("error", "words"),
        [(ClusterUnreachable("no connection"), "ended early: no connection"), (RuntimeError("oh"), "a fault of Rightsizer")],
    )
    def test_lives_on_after_a_cycle_that_failed(self, error: Exception, words: str, caplog: pytest.LogCaptureFixture) -> None:
        running = Running(cycle_seconds=3_600)
        running.world.cluster.fail(error, call="profiles", times=1)
        running.loop.start()
        try:
            eventually(lambda: running.failed == 1)
            assert words in caplog.text
            running.loop.wake()
            eventually(lambda: running.ended == 1)
            assert running.failed == 1
        finally:
            running.loop.stop()

    def test_only_a_good_cycle_is_progress(self) -> None:
        running = Running(cycle_seconds=3_600)
        running.world.cluster.fail(ClusterUnreachable("no connection"), call="profiles", times=1)
        running.clock.time = 1_000
        running.loop.start()
        try:
            eventually(lambda: running.failed == 1)
            assert running.health.trouble() is not None
            running.loop.wake()
            eventually(lambda: running.health.trouble() is None)
        finally:
            running.loop.stop()


def meta(generation: int | None, uid: str = "u") -> dict[str, Any]:
    return {"uid": uid, "generation": generation}


class TestProfileWatch:
    @pytest.mark.parametrize("kind", [None, "ADDED", "MODIFIED"])
    def test_a_new_one_matters(self, kind: str | None) -> None:
        assert ProfileWatch().matters(kind, meta(1))

    def test_an_echo_of_a_status_does_not(self) -> None:
        watch = ProfileWatch()
        watch.matters("ADDED", meta(1))
        assert not watch.matters("MODIFIED", meta(1))

    def test_another_generation_does(self) -> None:
        watch = ProfileWatch()
        watch.matters("ADDED", meta(1))
        assert watch.matters("MODIFIED", meta(2))

    def test_a_deletion_does(self) -> None:
        watch = ProfileWatch()
        watch.matters("ADDED", meta(1))
        assert watch.matters("DELETED", meta(1))
        assert watch.matters("ADDED", meta(1))

    def test_each_is_watched_by_itself(self) -> None:
        watch = ProfileWatch()
        watch.matters("ADDED", meta(1, "a"))
        assert watch.matters("ADDED", meta(1, "b"))

    def test_without_a_generation(self) -> None:
        assert ProfileWatch().matters("ADDED", meta(None))


class TestEndlessBackoff:
    def test_never_ends_and_is_bounded(self) -> None:
        waits = list(itertools.islice(EndlessBackoff(), 1_000))
        assert len(waits) == 1_000
        assert 0.5 <= waits[0] <= 1.5
        assert all(0.5 <= wait <= 90 for wait in waits)
        assert all(30 <= wait <= 90 for wait in waits[10:])

    def test_is_jittered_and_starts_anew_each_time(self) -> None:
        backoff = EndlessBackoff()
        assert len(set(itertools.islice(backoff, 100))) > 90
        assert next(iter(backoff)) <= 1.5


def test_the_clock_is_that_of_the_system() -> None:
    assert abs(SystemClock().now() - time.time()) < 5


@pytest.fixture
def registry() -> kopf.OperatorRegistry:
    return handlers._registry(Running(cycle_seconds=3_600).loop)


def activity(registry: kopf.OperatorRegistry, name: str) -> Callable[..., Any]:
    found = {handler.activity.value: handler.fn for handler in registry._activities.get_all_handlers() if handler.activity is not None}
    return found[name]


class TestRegistry:
    def test_holds_nothing_that_needs_a_finalizer_or_an_annotation(self, registry: kopf.OperatorRegistry) -> None:
        others = (registry._changing, registry._spawning, registry._indexing, registry._webhooks)
        assert [list(other.get_all_handlers()) for other in others] == [[], [], [], []]
        activities = sorted(handler.activity.value for handler in registry._activities.get_all_handlers() if handler.activity is not None)
        assert activities == ["authentication", "cleanup", "startup"]

    def test_watches_profiles_by_group_version_and_name(self, registry: kopf.OperatorRegistry) -> None:
        selectors = [handler.selector for handler in registry._watching.get_all_handlers()]
        watched = [(one.group, one.version, one.any_name) for one in selectors if one is not None]
        assert watched == [("rightsizer.dev", "v1alpha1", plural) for plural in ("resourceprofiles", "clusterresourceprofiles")]

    @pytest.mark.parametrize("index", [0, 1])
    def test_an_event_that_matters_wakes_the_loop(self, index: int) -> None:
        running = Running(cycle_seconds=3_600)
        registry = handlers._registry(running.loop)
        activity(registry, "startup")()
        handler = list(registry._watching.get_all_handlers())[index]
        event: Callable[..., Any] = handler.fn
        try:
            eventually(lambda: running.ended == 1)
            event(type="ADDED", meta=meta(1))
            eventually(lambda: running.ended == 2)
            event(type="MODIFIED", meta=meta(1))
            time.sleep(0.05)
            assert running.ended == 2
        finally:
            activity(registry, "cleanup")()
        assert not running.loop._thread.is_alive()

    @pytest.mark.parametrize(
        ("kubeconfig", "in_cluster", "found"), [("/x", True, "kubeconfig"), (None, True, "service account"), (None, False, "kubeconfig")]
    )
    def test_logs_in_where_the_cluster_adapter_does(
        self, registry: kopf.OperatorRegistry, monkeypatch: pytest.MonkeyPatch, kubeconfig: str | None, in_cluster: bool, found: str
    ) -> None:
        monkeypatch.delenv("KUBECONFIG", raising=False)
        if kubeconfig is not None:
            monkeypatch.setenv("KUBECONFIG", kubeconfig)
        monkeypatch.setattr(kopf, "login_with_kubeconfig", lambda **_: "kubeconfig")
        monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: "service account" if in_cluster else None)
        assert activity(registry, "authentication")(logger=logging.getLogger()) == found


def test_kopf_settings() -> None:
    settings = handlers._kopf_settings()
    assert isinstance(settings.networking.error_backoffs, EndlessBackoff)
    assert settings.scanning.disabled
    assert settings.peering.standalone
    assert not settings.posting.enabled
    assert (settings.networking.request_timeout, settings.networking.connect_timeout, settings.watching.chunk_size) == (30, 10, 500)


class TestRun:
    @pytest.fixture
    def kubeconfig(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        # `run` sets it; what is set here is put back afterwards.
        monkeypatch.setenv("KUBECONFIG", "")
        path = tmp_path / "kubeconfig"
        path.write_text(KUBECONFIG)
        return str(path)

    def test_serves_while_kopf_runs_and_cleans_up(
        self, kubeconfig: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "rightsizer.handlers")
        seen: dict[str, Any] = {}

        def run(**given: Any) -> None:
            port = int(caplog.messages[-1].rpartition(" ")[2])
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthz")
            seen.update(given, port=port, status=connection.getresponse().status)
            connection.close()

        monkeypatch.setattr(kopf, "run", run)
        settings = Settings(
            prometheus_url="http://127.0.0.1:1", http_address="127.0.0.1", http_port=0, history_folder=Path(kubeconfig).parent / "history"
        )
        handlers.run(settings, kubeconfig=kubeconfig)
        assert (seen["status"], seen["standalone"], seen["clusterwide"]) == (200, True, True)
        with pytest.raises(ConnectionRefusedError):
            HTTPConnection("127.0.0.1", seen["port"], timeout=5).connect()

    def test_refuses_wrong_settings_before_anything_starts(self, kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kopf, "run", lambda **_: pytest.fail("it was started"))
        settings = Settings(prometheus_url="http://user:secret@127.0.0.1:1")
        with pytest.raises(InvalidSettings):
            handlers.run(settings, kubeconfig=kubeconfig)

    def test_refuses_files_that_cannot_be_read_before_anything_starts(self, kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kopf, "run", lambda **_: pytest.fail("it was started"))
        settings = Settings(prometheus_url="https://127.0.0.1:1", prometheus_ca_file=Path("/nope"))
        with pytest.raises(InvalidSettings, match=r"RIGHTSIZER_PROMETHEUS_CA_FILE .*: /nope cannot be read"):
            handlers.run(settings, kubeconfig=kubeconfig)


def test_progress_of_a_backfill_is_health_and_a_line_for_each_tenth(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rightsizer.handlers")
    clock = FakeClock(0)
    health = Health(stalled_after_seconds=900, clock=clock.now)
    clock.time = 1_000
    progress = handlers._progress_to(health)
    progress(1.0)
    assert (health.trouble(), caplog.messages) == (None, [])
    for share in (0.02, 0.25, 0.28, 0.31, 1.0, 1.0):
        progress(share)
    assert caplog.messages == [f"history: {percent} % of the window read" for percent in (0, 20, 30, 100)]


@pytest.mark.parametrize(("changed", "kept"), [({}, 1), ({"prometheus_matchers": 'cluster="west"'}, 0), ({"cycle_seconds": 30.0}, 1)])
def test_the_history_of_another_usage_source_is_not_joined(tmp_path: Path, changed: dict[str, Any], kept: int) -> None:
    before = Settings(prometheus_url="http://prometheus", history_folder=tmp_path, prometheus_matchers='cluster="east"')
    history = handlers._new_history(before)(10)
    history.add(batch([[1]]), [key()])
    history.close()
    history = handlers._new_history(replace(before, **changed))(10)
    assert len(history) == kept
    history.close()
