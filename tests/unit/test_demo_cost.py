"""What the demo tells of cost and coverage: read from the real names of the operator's metrics, and seen where it is not as promised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import generate_latest

from demo import cost
from demo.cast import YOUNG
from demo.cost import Cost, Meter, Reading, Spent
from demo.screen import DemoFailed
from rightsizer.metrics import CycleFigures, OperatorMetrics

PROMETHEUS = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 4.5\n"
QUIET = Spent(cycles=1, api_requests=11, prometheus_cpu_seconds=0.07)
SLOT = Spent(cycles=1, questions=4, bytes=20_000, api_requests=11)
FIRST = Spent(cycles=3, questions=22, bytes=90_000, waiting_seconds=0.09, api_requests=107, writes=83)
COST = Cost(Reading(FIRST, containers=14, share_read=1.0), (SLOT, QUIET))


def figures(*, containers: int, read: float) -> CycleFigures:
    return CycleFigures(
        seconds=1,
        at=0,
        workloads={},
        reasons={},
        changes=0,
        reversals=0,
        failed_workloads=0,
        troubled_namespaces=0,
        history_containers=containers,
        history_bytes=0,
        history_read=read,
        questions_halved=0,
        questions_failed=0,
        proved_containers=0,
        proving_seconds=0,
    )


def operator_text(*, containers: int = 14, read: float = 1.0) -> str:
    metrics = OperatorMetrics()
    metrics.cycle_ended(figures(containers=containers, read=read))
    metrics.usage_source_request("usage", seconds=0.25, size_bytes=600)
    metrics.usage_source_request("load", seconds=0.25, size_bytes=400)
    for verb in ("list", "get", "patch", "create"):
        metrics.api_request(verb, "things", 200, 0.1)
    return generate_latest(metrics.registry).decode()


def test_counters_are_found_under_the_names_that_the_operator_gives_them() -> None:
    reading = cost.reading_of(operator_text(), PROMETHEUS)
    expected = Spent(
        cycles=1, questions=2, bytes=1000, waiting_seconds=0.5, prometheus_cpu_seconds=4.5, api_requests=4, writes=2
    )  # of this process, any CPU
    assert replace(reading.spent, operator_cpu_seconds=0) == expected
    assert reading.spent.operator_cpu_seconds > 0
    assert (reading.containers, reading.share_read) == (14, 1.0)


@pytest.mark.parametrize(("containers", "read", "whole"), [(14, 1.0, True), (14, 0.99, False), (0, 1.0, False)])
def test_the_window_is_whole_when_something_was_measured_and_nothing_is_left(containers: int, read: float, whole: bool) -> None:
    assert cost.reading_of(operator_text(containers=containers, read=read), PROMETHEUS).whole is whole


class Played(Meter):
    """Reads what the test says; the last reading stays."""

    def __init__(self, *readings: Spent) -> None:
        self._readings: Iterator[Spent] = iter(readings)
        self._last: Spent | None = None

    def read(self) -> Reading | None:
        return None if self._last is None else Reading(self._last, 14, 1.0)

    def cycles(self) -> float:
        self._last = next(self._readings, self._last)
        return 0 if self._last is None else self._last.cycles


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "SECONDS_BETWEEN_LOOKS", 0.0)


def counted(cycles: int, **more: float) -> Spent:
    return Spent(cycles=cycles, **more)


def test_a_cycle_is_measured_from_the_end_of_one_to_the_end_of_the_next() -> None:
    meter = Played(counted(7, writes=50), counted(7, writes=52), counted(8, writes=53), counted(8, writes=53), counted(9, writes=53))
    assert meter.cycles_until_quiet() == (counted(1),)


def test_a_cycle_that_read_a_slot_is_told_and_the_next_one_taken() -> None:
    meter = Played(counted(1), counted(2), counted(3, questions=4), counted(4, questions=4))
    assert meter.cycles_until_quiet() == (counted(1, questions=4), counted(1))


def test_two_cycles_at_once_are_not_taken_for_one() -> None:
    meter = Played(counted(1), counted(2), counted(4), counted(5))
    assert meter.cycles_until_quiet() == (counted(2), counted(1))


def test_an_operator_that_always_asks_or_never_ends_a_cycle_is_not_waited_for_endlessly(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DemoFailed, match="6 cycles in a row had something to ask"):
        Played(*(counted(number, questions=number) for number in range(1, 20))).cycles_until_quiet()
    monkeypatch.setattr(cost, "SECONDS_FOR_A_CYCLE", 0.01)
    with pytest.raises(DemoFailed, match=r"within 0\.01 s"):
        Played(counted(1)).cycles_until_quiet()


def test_an_operator_that_does_not_serve_yet_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def text(url: str) -> str:
        if url.startswith("http://operator"):
            raise ConnectionRefusedError
        return PROMETHEUS

    monkeypatch.setattr(cost, "_text", text)
    assert Meter(operator_url="http://operator", prometheus_url="http://prometheus").read() is None


def test_the_cpu_of_prometheus_counts_from_the_making_of_the_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = iter([PROMETHEUS, operator_text(), PROMETHEUS.replace("4.5", "6.25")])
    monkeypatch.setattr(cost, "_text", lambda url: next(texts))
    meter = Meter(operator_url="http://operator", prometheus_url="http://prometheus")
    reading = meter.read()
    assert reading is not None
    assert (reading.spent.prometheus_cpu_seconds, reading.spent.questions) == (1.75, 2)


def test_cycles_are_counted_without_a_look_at_prometheus(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = iter([PROMETHEUS, operator_text()])
    monkeypatch.setattr(cost, "_text", lambda url: next(texts))
    assert Meter(operator_url="http://operator", prometheus_url="http://prometheus").cycles() == 1


def test_the_table_has_a_line_for_each_time() -> None:
    head, first, slot, quiet = cost.table(COST).splitlines()
    assert head.split()[:3] == ["CYCLES", "QUESTIONS", "ANSWERS"]
    assert "14 containers, the whole window" in first
    assert first.split()[-2:] == ["107", "83"]
    assert slot.startswith("then, a 5-minute slot ended")
    assert quiet.startswith("then, nothing new")
    assert quiet.split()[3:6] == ["1", "0", "0.00"]
    assert len({len(line) for line in (head, first, slot, quiet)}) == 1


def recommended(name: str, *shares: str) -> dict[str, Any]:
    explanation = {resource: {"coverage": share} for resource, share in zip(("cpu", "memory"), shares, strict=False)}
    return {"metadata": {"name": name}, "status": {"containers": [{"name": "app", "explanation": explanation}, {"name": "mute"}]}}


WHOLE = {("shop", "web"): recommended("web", "100%", "100%"), ("batch", YOUNG): recommended(YOUNG, "1%", "2%")}


def test_workloads_of_the_same_coverage_share_a_line() -> None:
    more = {("shop", "db"): recommended("db", "100%", "100%"), ("shop", "mute"): recommended("mute")}
    assert list(cost.coverage_lines(WHOLE | more)) == [" 100 %  db, web", "   1 %  preview", "  none  mute"]


def test_nothing_to_object_to() -> None:
    assert [finding.text for finding in cost.findings(COST, WHOLE)] == [
        "100 % of the window was read, in 22 questions",
        "every workload but the new one has values for its whole window",
        "a cycle with nothing new: 0 questions, 11 API requests, 0 writes",
    ]
    assert all(finding.holds for finding in cost.findings(COST, WHOLE))


@pytest.mark.parametrize(
    ("measured", "recommendations", "words"),
    [
        (replace(COST, backfill=Reading(FIRST, 14, 0.5)), WHOLE, "50 % of the window"),
        (replace(COST, backfill=Reading(FIRST, 0, 1.0)), WHOLE, "100 % of the window"),
        (COST, {**WHOLE, ("shop", "db"): recommended("db", "100%", "80%")}, "not so: db"),
        (COST, {**WHOLE, ("shop", "db"): recommended("db")}, "not so: db"),
        (replace(COST, cycles=(replace(QUIET, writes=1),)), WHOLE, "1 writes"),
        (replace(COST, cycles=(SLOT,)), WHOLE, "4 questions"),
    ],
)
def test_each_broken_promise_is_seen(measured: Cost, recommendations: dict[tuple[str, str], Any], words: str) -> None:
    (broken,) = [finding.text for finding in cost.findings(measured, recommendations) if not finding.holds]
    assert words in broken
