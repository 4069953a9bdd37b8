"""How the usage source is asked: a few at a time, less where it is too much, and not at all where it is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from rightsizer.cycle import asking
from rightsizer.cycle.asking import Answered, Asking, Unanswered
from rightsizer.cycle.questions import Question
from rightsizer.errors import (
    UsageAnswerInvalid,
    UsageSourceError,
    UsageSourceOverloaded,
    UsageSourceTimeout,
    UsageSourceUnreachable,
)
from rightsizer.history import SLOT_SECONDS, Span, UsageBatch

TOO_MUCH = UsageSourceOverloaded(422, "too many samples")
SLOW = UsageSourceTimeout("no answer within 30 s")
DOWN = UsageSourceUnreachable("connection refused")
FOREVER = float("inf")


def question(*namespaces: str, first: int = 1, last: int = 1) -> Question:
    return Question(namespaces, Span(first * SLOT_SECONDS, last * SLOT_SECONDS), 30)


class Server:
    """Answers at once, unless `refuse` says otherwise; keeps what it was asked in order."""

    def __init__(self, refuse: Callable[[Question], UsageSourceError | None] = lambda question: None) -> None:
        self.refuse = refuse
        self.asked: list[Question] = []
        self.values = 0

    def read(self, question: Question) -> Answered:
        self.asked.append(question)
        error = self.refuse(question)
        if error is not None:
            raise error
        batch = UsageBatch("cpu", question.span, (), np.empty((0, self.values), dtype=np.float32))
        return Answered(question, [batch], None, [])


def ask(server: Server, questions: Iterable[Question], *, until: float = FOREVER, on: Asking | None = None) -> tuple[set[str], list[str]]:
    """The namespaces that were answered in part, and those that were not."""
    answered: set[str] = set()
    unanswered: list[str] = []
    for outcome in (on or Asking(at_once=1)).ask(server.read, questions, until=until):
        if isinstance(outcome, Unanswered):
            unanswered += [*outcome.question.namespaces, *outcome.unasked]
        else:
            answered.update(outcome.question.namespaces)
    return answered, unanswered


def bad(*names: str, error: UsageSourceError = TOO_MUCH) -> Callable[[Question], UsageSourceError | None]:
    return lambda question: error if set(names) & set(question.namespaces) else None


def test_nothing_to_ask() -> None:
    server = Server()
    assert (ask(server, []), server.asked) == ((set(), []), [])


def test_in_the_given_order() -> None:
    server, questions = Server(), [question("a", first=slot, last=slot) for slot in (9, 5, 1)]
    ask(server, questions)
    assert server.asked == questions


class TestHalving:
    @pytest.mark.parametrize("error", [TOO_MUCH, SLOW, UsageAnswerInvalid("half a JSON")], ids=lambda error: type(error).__name__)
    @pytest.mark.parametrize("at_once", [1, 2])
    def test_down_to_the_namespace_that_is_to_blame(self, error: UsageSourceError, at_once: int) -> None:
        names = [f"n{number:02}" for number in range(37)]
        server, on = Server(bad("n05", error=error)), Asking(at_once=at_once)
        answered, unanswered = ask(server, [question(*names)], on=on)
        assert (answered, unanswered) == (set(names) - {"n05"}, ["n05"])
        assert (on.failed, on.given_up) == (1, False)
        assert 4 <= on.halved <= 6

    def test_of_a_thousand_namespaces(self) -> None:
        names = [f"n{number:03}" for number in range(1_000)]
        answered, unanswered = ask(Server(bad("n000")), [question(*names)])
        assert (len(answered), unanswered) == (999, ["n000"])

    def test_by_time_where_there_is_one_namespace(self) -> None:
        server = Server(lambda question: TOO_MUCH if question.span.slots > 40 else None)
        on = Asking(at_once=1)
        assert ask(server, [question("a", last=288)], on=on) == ({"a"}, [])
        assert (on.halved, on.failed) == (7, 0)
        told = [one.span.end for one in server.asked if one.span.slots <= 40]
        assert told == sorted(told, reverse=True)

    def test_an_answer_that_is_wrong_does_not_get_better_in_parts(self) -> None:
        server = Server(bad("a", error=UsageAnswerInvalid("HTML")))
        assert ask(server, [question("a", last=288)]) == (set(), ["a"])
        assert len(server.asked) == 1

    def test_ends_for_a_namespace_that_always_fails_and_goes_on_with_the_others(self) -> None:
        server = Server(bad("a", error=SLOW))
        days = [question("a", "b", first=1 + 288 * day, last=288 * (day + 1)) for day in (2, 1, 0)]
        answered, unanswered = ask(server, days)
        assert (answered, set(unanswered)) == ({"b"}, {"a"})
        assert [one.span for one in server.asked if one.namespaces == ("b",)] == [day.span for day in days]
        # Halved by namespaces, then ten times alone, and never again.
        assert sum("a" in one.namespaces for one in server.asked) == 1 + asking.MOST_FAILURES_ALONE


class TestGivingUp:
    def test_a_server_that_is_away_is_asked_once(self) -> None:
        server, on = Server(bad("a", "b", "c", error=DOWN)), Asking(at_once=1)
        assert ask(server, [question("a", "b"), question("b", "c")], on=on) == (set(), ["a", "b", "c"])
        assert (len(server.asked), on.given_up, on.failed) == (1, True, 1)

    def test_a_server_that_fails_on_everything_is_left_in_peace(self) -> None:
        names = [f"n{number:03}" for number in range(500)]
        server, on = Server(lambda question: SLOW), Asking(at_once=1)
        _, unanswered = ask(server, [question(*names)], on=on)
        assert set(unanswered) == set(names)
        assert (len(server.asked), on.given_up) == (asking.MOST_FAILURES_IN_A_ROW, True)

    def test_the_next_time_all_is_tried_again(self) -> None:
        server, on = Server(bad("a", error=DOWN)), Asking(at_once=1)
        ask(server, [question("a")], on=on)
        server.refuse = lambda question: None
        assert ask(server, [question("a")], on=on) == ({"a"}, [])
        assert not on.given_up

    def test_a_fault_of_our_own_is_not_swallowed(self) -> None:
        def read(question: Question) -> Answered:
            raise RuntimeError("oh")

        with pytest.raises(RuntimeError, match="oh"):
            list(Asking(at_once=2).ask(read, [question("a"), question("b")], until=FOREVER))


class TestTime:
    def test_nothing_is_begun_after_it(self) -> None:
        seconds = iter(range(0, 1_000, 1))
        on = Asking(at_once=1, clock=lambda: float(next(seconds)))
        server = Server()
        answered, unanswered = ask(server, [question(name) for name in "abcdef"], until=6.0, on=on)
        assert unanswered == []
        assert 0 < len(answered) < 6
        assert on.left == 6 - len(answered)

    def test_none_at_all(self) -> None:
        on = Asking(at_once=1, clock=lambda: 5.0)
        assert ask(Server(), [question("a")], until=5.0, on=on) == (set(), [])
        assert on.left == 1

    def test_stopping_ends_it_after_what_is_under_way(self) -> None:
        server = Server()
        on = Asking(at_once=1, stopping=lambda: len(server.asked) == 2)
        ask(server, [question(name) for name in "abcdef"], on=on)
        assert (len(server.asked), on.left) == (2, 4)


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_at_most_so_many_are_under_way(at_once: int) -> None:
    lock = threading.Lock()
    running = most = 0
    server = Server()

    def read(question: Question) -> Answered:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return server.read(question)

    questions = [question("a", first=slot, last=slot) for slot in range(1, 13)]
    assert len(list(Asking(at_once=at_once).ask(read, questions, until=FOREVER))) == 12
    assert most == at_once


class TestRest:
    def rests(self, *seconds: float, values: int = 100_000, stopping: bool = False) -> list[float]:
        """How long was rested after answers that took so long."""
        rests: list[float] = []
        now, durations, server = [0.0], iter(seconds), Server()
        server.values = values

        def read(question: Question) -> Answered:
            now[0] += next(durations)
            batch = UsageBatch("cpu", question.span, (), np.empty((1, values), dtype=np.float32))
            return Answered(question, [batch], None, [])

        on = Asking(at_once=1, clock=lambda: now[0], sleep=rests.append, stopping=lambda: stopping and now[0] > sum(seconds) - 0.01)
        list(on.ask(read, [question("a", first=slot, last=slot) for slot in range(1, len(seconds) + 1)], until=FOREVER))
        return rests

    def test_after_an_answer_that_took_much_longer_than_the_best(self) -> None:
        assert self.rests(1.0, 1.0, 5.0, 2.0, 60.0) == [5.0, 10.0]

    def test_not_after_small_answers(self) -> None:
        assert self.rests(0.1, 5.0, values=10) == []

    def test_not_when_it_is_to_stop(self) -> None:
        assert self.rests(1.0, 5.0, stopping=True) == []
