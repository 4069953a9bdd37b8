"""The operator ends, in order or killed, and the API server under it: nothing is lost, nothing is done twice."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operator_process import OperatorProcess, running
from tests.prometheus_server import Asked, PrometheusServer, Reply, forwarded
from tests.scenario import ALIKE, WORKED_EXAMPLE, Manifest, Stage, profile, staged, steady
from tests.system.writes_seen import WritesSeen

pytestmark = pytest.mark.system

KILLS = 12


def references(in_namespace: str) -> list[str]:
    return [f"{in_namespace}/{kind}/{name}" for kind, name in ALIKE]


def end_state(stage: Stage, reference: str) -> Manifest:
    """What must not depend on how often the operator was killed."""
    revisions = "replicasets" if "/Deployment/" in reference else "controllerrevisions"
    status = stage.recommendation(reference)
    # How much was seen is left out: it grows when a slot ends in between.
    recommended = [{name: one[name] for name in ("name", "current", "recommended")} for one in status["containers"]]
    return {
        "template": stage.workload(reference)["spec"]["template"]["spec"],
        "generation": stage.generation(reference),
        "revisions": len(stage.owned(revisions, reference)),
        "summary": status["summary"],
        "containers": recommended,
        "change": {name: status["lastChange"][name] for name in ("strategy", "outcome", "message", "previous", "applied")},
    }


def test_killed_at_random_moments_it_ends_as_if_undisturbed(stage: Stage) -> None:
    with stage.ruled_by(profile("calm")), running(stage.operator()):
        stage.wait_changed(*references("calm"))
        undisturbed = {name: end_state(stage, f"calm/{kind}/{name}") for kind, name in ALIKE}
    assert {one["generation"] for one in undisturbed.values()} == {2}

    operator = stage.operator()
    with stage.ruled_by(profile("kills")):
        written = kill_often(stage, operator)
        assert sum(count > 0 for count in written) >= KILLS // 2, f"most kills came when all was done: {written}"
        with running(operator):
            stage.wait_changed(*references("kills"))
            operator.wait_for_cycles(2)
            for kind, name in ALIKE:
                assert end_state(stage, f"kills/{kind}/{name}") == undisturbed[name]


def kill_often(stage: Stage, operator: OperatorProcess) -> list[int]:
    """Kills it after a few writes, again and again; how many writes each of its lives had."""
    chance = random.Random(20)
    written = []
    for _ in range(KILLS):
        seen = WritesSeen(stage.bed, operator.user)
        operator.start()
        try:
            seen.wait(chance.randint(1, 6))
            time.sleep(chance.uniform(0.0, 0.03))
        finally:
            operator.kill()
            written.append(seen.look())
            seen.close()
    return written


def test_sigterm_ends_it_within_seconds(stage: Stage) -> None:
    operator = stage.operator(CYCLE_SECONDS="60")
    with stage.ruled_by(profile("asked", "Recommend")), running(operator):
        operator.wait_for_cycles(1)
        started = time.monotonic()
        assert operator.stop() == 0
        assert time.monotonic() - started < 5.0


def test_sigterm_in_the_middle_of_the_first_reading_ends_it_within_seconds(stage: Stage) -> None:
    """The past is read in many parts; one is waited for, not all."""
    real = forwarded(stage.bed.prometheus_url)

    with PrometheusServer(Reply()) as front:
        front.answer(lambda asked: time.sleep(0.5) or real(asked))  # type: ignore[func-returns-value]
        operator = stage.operator(prometheus_url=front.url)
        with stage.ruled_by(profile("asked", "Recommend")), running(operator):
            stage.bed.wait_for(lambda: len(front.asked) >= 4, what="the reading under way")
            started = time.monotonic()
            assert operator.stop() == 0
            assert time.monotonic() - started < 5.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_within_seconds_while_prometheus_hangs(stage: Stage, number: signal.Signals) -> None:
    """No time limit is waited for: the question under way is cut, and nobody asks another."""
    released = threading.Event()

    def hang(asked: Asked) -> Reply:
        released.wait(60)
        return Reply(status=500)

    with PrometheusServer(Reply()) as front:
        front.answer(hang)
        operator = stage.operator(prometheus_url=front.url)
        try:
            with stage.ruled_by(profile("asked", "Recommend")), running(operator):
                stage.bed.wait_for(lambda: front.asked, what="the first question")
                asked, started = len(front.asked), time.monotonic()
                assert operator.end(number) == 0
                assert time.monotonic() - started < 10.0
                assert len(front.asked) == asked
                assert "Traceback" not in operator.text()
        finally:
            released.set()


class TestTheApiServerGoesAway:
    @pytest.fixture(scope="class")
    @staticmethod
    def own(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
        """A cluster of its own: its API server is killed."""
        assert binaries.is_dir()
        with staged(tmp_path_factory.mktemp("own"), [steady("one", "web"), steady("two", "web")]) as ready:
            yield ready

    def test_health_fails_while_it_is_away_and_the_work_goes_on_when_it_is_back(self, own: Stage) -> None:
        operator = own.operator(STALLED_AFTER_SECONDS="3")
        with own.ruled_by(profile("one", "Recommend")), running(operator):
            own.wait_state("one/Deployment/web", "Recommended", "RecommendOnly")
            assert operator.get("/healthz")[0] == 200
            own.bed.kill_api_server()
            try:
                own.bed.wait_for(lambda: operator.get("/healthz")[0] == 503, 20.0, "health to fail")
                assert "no progress" in operator.get("/healthz")[1]
            finally:
                own.bed.start_api_server()
            own.bed.wait_for(lambda: operator.get("/healthz")[0] == 200, 30.0, "health to come back")
            own.bed.apply(profile("one", "Apply"))
            own.wait_changed("one/Deployment/web")
            assert own.resources("one/Deployment/web") == WORKED_EXAMPLE
            assert operator.returncode is None

    def test_profiles_are_watched_again_when_it_is_back(self, own: Stage) -> None:
        operator = own.operator(CYCLE_SECONDS="120")
        with own.ruled_by(profile("two", "Recommend")), running(operator):
            own.wait_state("two/Deployment/web", "Recommended", "RecommendOnly")
            own.bed.kill_api_server()
            time.sleep(2.0)
            own.bed.start_api_server()
            own.bed.apply(profile("two", "Recommend", cpu={"buffer": "100%"}))
            own.bed.wait_for(lambda: own.summary("two/Deployment/web")["cpu"] == "500m -> 360m", 40.0, "the edited profile")
            assert operator.returncode is None
