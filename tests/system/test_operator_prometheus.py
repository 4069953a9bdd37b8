"""The usage source in trouble, and what asking it costs: down, slow, talking nonsense, without metrics, and then well again.

The operator of these tests lives some hours ago, so that a slot of five minutes ends when a test puts its clock forward.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.operator_process import OperatorProcess, running
from tests.prometheus_server import Answering, Asked, PrometheusServer, Reply, failure, forwarded, matrix, vector
from tests.scenario import GENEROUS, SLOT_SECONDS, WORKED_EXAMPLE, Manifest, Stage, profile
from tests.shifted_operator import ShiftedClock

pytestmark = pytest.mark.system

HOURS_AGO = -4 * 3600.0
EARLY_IN_A_SLOT_SECONDS = 10.0
PATIENCE = {"PROMETHEUS_TIMEOUT_SECONDS": "1", "PROMETHEUS_RETRIES": "0"}
WEB = "trouble/Deployment/web"
AWAY = "away/Deployment/web"


Disturbed = Callable[[Answering], Answering]
"""From what the real one says to what is said."""


def always(reply: Reply) -> Disturbed:
    return lambda _real: lambda _asked: reply


def no_samples(asked: Asked) -> Reply:
    return matrix() if asked.path.endswith("query_range") else vector()


def without_container_label(real: Answering) -> Answering:
    """What the real one answers, had nobody ever written this label."""

    def answer(asked: Asked) -> Reply:
        reply = real(asked)
        return Reply(reply.status, reply.body.replace(b'"container":', b'"container_name":'))

    return answer


def cut_off(real: Answering) -> Answering:
    """Half a JSON, with nothing wrong about its length."""

    def answer(asked: Asked) -> Reply:
        reply = real(asked)
        return Reply(reply.status, reply.body[: len(reply.body) // 2])

    return answer


def broken_off(real: Answering) -> Answering:
    """As from a server that is killed in the middle of it."""

    def answer(asked: Asked) -> Reply:
        reply = real(asked)
        half = len(reply.body) // 2
        return Reply(reply.status, reply.body[:half], missing_bytes=len(reply.body) - half)

    return answer


def instead_of_numbers(text: str) -> Disturbed:
    """Every usage is this."""

    def disturbed(real: Answering) -> Answering:
        def answer(asked: Asked) -> Reply:
            reply = real(asked)
            if not asked.path.endswith("query_range"):
                return reply
            return Reply(reply.status, re.sub(rb',"[-+0-9.e]+"\]', f',"{text}"]'.encode(), reply.body))

        return answer

    return disturbed


HTML = Reply(200, b"<!doctype html><title>Sign in</title>", {"Content-Type": "text/html"})
TOO_MUCH = failure(422, "execution", "query processing would load too many samples into memory in query execution")

TROUBLES: dict[str, tuple[Disturbed, str, str]] = {
    "slow": (always(Reply(200, b"{}", delay_seconds=2.0)), "UsageSourceTimeout", "1 s"),
    "dripping": (always(Reply(200, b" " * 1_000, piece_bytes=1, piece_seconds=0.2)), "UsageSourceTimeout", "1 s"),
    "HTML": (always(HTML), "UsageAnswerInvalid", ""),
    "half a JSON": (cut_off, "UsageAnswerInvalid", "the answer"),
    "broken off": (broken_off, "UsageSourceUnreachable", "more expected"),
    "200 with an error": (always(failure(200, "execution", "found duplicate series")), "UsageSourceRefused", "found duplicate series"),
    "busy": (always(Reply(429, b"slow down", {"Retry-After": "3600"})), "UsageSourceOverloaded", "HTTP 429: slow down"),
    "internal error": (always(failure(500, "internal", "the disk is full")), "UsageSourceRefused", "the disk is full"),
    "too much asked": (always(TOO_MUCH), "UsageSourceOverloaded", "too many samples"),
    "unavailable": (always(failure(503, "unavailable", "starting up")), "UsageSourceOverloaded", "starting up"),
    "no samples": (lambda _: no_samples, "MetricsMissing", "container_cpu_usage_seconds_total"),
    "a label missing": (without_container_label, "UsageAnswerInvalid", "without the label container"),
}


@pytest.fixture(scope="module")
def front(stage: Stage) -> Iterator[PrometheusServer]:
    """In front of the real Prometheus."""
    with PrometheusServer(Reply()) as server:
        yield server


def recommended(status: Manifest) -> list[Manifest]:
    return [container["recommended"] for container in status["containers"]]


@pytest.fixture(scope="class")
def clock(stage: Stage) -> ShiftedClock:
    return stage.clock(shift_seconds=HOURS_AGO)


@pytest.fixture(scope="class")
def operator(stage: Stage, front: PrometheusServer, clock: ShiftedClock) -> Iterator[OperatorProcess]:
    """It has recommended for a workload that somebody may want to have changed."""
    front.answer(forwarded(stage.bed.prometheus_url))
    operator = stage.operator(prometheus_url=front.url, clock=clock, **PATIENCE)
    with stage.ruled_by(profile("trouble", "Recommend")), running(operator):
        yield operator


class TestWhileTheAnswersAreNoGood:
    """One operator for all: each test ends with everything well again."""

    @pytest.fixture
    def real(self, stage: Stage, front: PrometheusServer, operator: OperatorProcess, clock: ShiftedClock) -> Iterator[Answering]:
        """What the real Prometheus would say. Afterwards it says so again, and everything has to become well by itself."""
        answering = forwarded(stage.bed.prometheus_url)
        stage.wait_state(WEB, "Recommended", "RecommendOnly")
        yield answering
        stage.bed.apply(profile("trouble", "Recommend"))
        stage.bed.wait_for(lambda: stage.recommendation(WEB)["mode"] == "Recommend", what="the mode Recommend")
        front.answer(answering)
        clock.advance(SLOT_SECONDS)
        stage.wait_measuring("trouble", "Measuring")
        stage.wait_state(WEB, "Recommended", "RecommendOnly")
        assert operator.returncode is None
        assert stage.resources(WEB) == GENEROUS

    def assert_nothing_is_applied(self, stage: Stage) -> None:
        stage.bed.apply(profile("trouble", "Apply"))
        stage.bed.wait_for(lambda: stage.recommendation(WEB)["mode"] == "Apply", what="the mode Apply")
        assert stage.resources(WEB) == GENEROUS

    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_trouble_is_named_and_the_recommendation_stays(
        self, stage: Stage, front: PrometheusServer, real: Answering, clock: ShiftedClock, trouble: str
    ) -> None:
        answering, reason, words = TROUBLES[trouble]
        before = stage.recommendation(WEB)
        front.answer(answering(real))
        clock.advance(SLOT_SECONDS)
        stage.wait_measuring("trouble", reason)
        assert words in stage.condition("trouble", "Measuring")["message"]
        stage.wait_state(WEB, "Stale", reason)
        during = stage.recommendation(WEB)
        assert recommended(during) == recommended(before) == [WORKED_EXAMPLE]
        assert during["measuredAt"] == before["measuredAt"]
        self.assert_nothing_is_applied(stage)

    @pytest.mark.parametrize("values", ["none", "NaN", "+Inf"])
    def test_nothing_is_applied_on_usage_that_has_become_old(
        self, stage: Stage, front: PrometheusServer, real: Answering, clock: ShiftedClock, values: str
    ) -> None:
        """The server is well, but no samples of this namespace come in any more, or none that is a number."""
        if values == "none":
            front.answer(lambda asked: no_samples(asked) if asked.path.endswith("query_range") else real(asked))
        else:
            front.answer(instead_of_numbers(values)(real))
        clock.advance(4 * SLOT_SECONDS)
        stage.wait_state(WEB, "Stale", "StaleMetrics")
        assert stage.condition("trouble", "Measuring")["status"] == "True"
        self.assert_nothing_is_applied(stage)

    def test_the_operator_is_healthy_all_the_time(
        self, front: PrometheusServer, operator: OperatorProcess, real: Answering, clock: ShiftedClock
    ) -> None:
        """Restarting it would not help: its cycles end, and recommendations are kept."""
        front.answer(always(failure(503, "unavailable", "starting up"))(real))
        clock.advance(SLOT_SECONDS)
        operator.wait_for_cycles(3)
        assert operator.get("/healthz")[0] == 200


def test_prometheus_that_is_down_at_start_and_comes_up(stage: Stage) -> None:
    stage.bed.prometheus.stop()
    operator = stage.operator(clock=stage.clock(shift_seconds=HOURS_AGO), **PATIENCE)
    try:
        with stage.ruled_by(profile("away", "Recommend")), running(operator):
            stage.wait_measuring("away", "UsageSourceUnreachable")
            stage.wait_state(AWAY, "Stale", "UsageSourceUnreachable")
            assert stage.recommendation(AWAY)["summary"]["cpu"] == "500m -> ?"
            stage.bed.prometheus.start()
            stage.wait_state(AWAY, "Recommended", "RecommendOnly")
            assert operator.returncode is None
    finally:
        if not _answers(stage):
            stage.bed.prometheus.start()


def test_prometheus_that_goes_down_and_comes_back(stage: Stage) -> None:
    clock = stage.clock(shift_seconds=HOURS_AGO)
    operator = stage.operator(clock=clock, **PATIENCE)
    try:
        with stage.ruled_by(profile("away", "Recommend")), running(operator):
            stage.wait_state(AWAY, "Recommended", "RecommendOnly")
            stage.bed.prometheus.stop()
            clock.advance(SLOT_SECONDS)
            stage.wait_state(AWAY, "Stale", "UsageSourceUnreachable")
            assert recommended(stage.recommendation(AWAY)) == [WORKED_EXAMPLE]
            stage.bed.prometheus.start()
            stage.wait_state(AWAY, "Recommended", "RecommendOnly")
    finally:
        if not _answers(stage):
            stage.bed.prometheus.start()


def _answers(stage: Stage) -> bool:
    try:
        return forwarded(stage.bed.prometheus_url)(Asked("/api/v1/query", {"query": "1"}, {})).status == 200
    except OSError:
        return False


class TestCost:
    SLOTS = 2

    def asked_for(self, stage: Stage, in_namespace: str, *, workloads: int) -> tuple[Counter[str], Counter[str], int]:
        """Questions by kind for the whole past, and for some more slots; and what was written in the latter time."""
        # Slots end with the clock of the machine too: not within the next minutes, so that only those end that are put forward.
        clock = stage.clock(shift_seconds=HOURS_AGO - time.time() % SLOT_SECONDS + EARLY_IN_A_SLOT_SECONDS)
        with stage.ruled_by(profile(in_namespace, "Recommend")), running(stage.operator(clock=clock)) as operator:
            operator.wait_for_cycles(2)
            assert len(stage.bed.kubectl.items("resourcerecommendations", namespace=in_namespace)) == workloads
            at_start, written = self.questions(operator), len(stage.writes(operator.user))
            for _ in range(self.SLOTS):
                clock.advance(SLOT_SECONDS)
                operator.wait_for_cycles(2)
            return at_start, self.questions(operator) - at_start, len(stage.writes(operator.user)) - written

    def questions(self, operator: OperatorProcess) -> Counter[str]:
        found = operator.samples("rightsizer_usage_source_requests_total")
        return Counter({labels: int(value) for labels, value in found.items()})

    def test_questions_do_not_depend_on_the_number_of_containers(self, stage: Stage) -> None:
        one, eight = (self.asked_for(stage, name, workloads=count) for name, count in (("asked", 1), ("calm", 8)))
        assert one[:2] == eight[:2]
        assert sum(one[1].values()) <= 4 * self.SLOTS, one[1]
        assert (one[2], eight[2]) == (0, 0), "written although a slot brought nothing new"
