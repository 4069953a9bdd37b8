"""Asks the usage source, few questions at a time, and asks for less where that is too much. Knows nothing of histories or workloads.

A question that fails is halved until the namespace that is to blame stands alone, so that one bad namespace costs the others nothing.
A server that is away, or fails again and again, is left in peace until the next cycle.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from rightsizer.cycle.questions import Question, halve
from rightsizer.errors import UsageSourceError, UsageSourceOverloaded, UsageSourceTimeout, UsageSourceUnreachable
from rightsizer.history import UsageBatch
from rightsizer.ports import OomSeries, PodOwners

logger = logging.getLogger(__name__)

MOST_FAILURES_IN_A_ROW = 12
"""Enough to halve from two thousand namespaces down to the one that is to blame, and few enough not to pester a sick server."""

MOST_FAILURES_ALONE = 11
"""Enough to halve a week of one namespace down to a slot; after that, the namespace is left in peace."""

SLOW_FACTOR = 4.0
"""An answer that took so many times longer per value than the best one shows a server with other things to do."""

LONGEST_REST_SECONDS = 10.0
VALUES_WORTH_TIMING = 100_000
"""What an answer costs besides its values counts for nothing in one of so many: a refresh of the newest slots tells nothing of the pace."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A question with what answers it. `owners` None: of no pod the owner had to be asked for."""

    question: Question
    batches: Sequence[UsageBatch]
    owners: PodOwners | None
    oom_kills: Sequence[OomSeries]

    @property
    def values(self) -> int:
        """How many values came, gaps included."""
        return sum(batch.values.size for batch in self.batches)


Read = Callable[[Question], Answered]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A question that could not be answered now. `unasked`: other namespaces about which nothing was asked any more because of it."""

    question: Question
    error: UsageSourceError
    unasked: tuple[str, ...] = ()


def never() -> bool:
    """Nobody stops it."""
    return False


class Asking:
    """A pool of `at_once` askers. `clock` counts seconds; when `stopping` answers True, no further question is begun.

    `answered`, `halved` and `failed` count questions, `left` those that the last `ask` did not begin in its time. `given_up`: the server
    is to blame.
    """

    def __init__(
        self,
        *,
        at_once: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        stopping: Callable[[], bool] = never,
    ) -> None:
        self._at_once = at_once
        self._clock = clock
        self._sleep = sleep
        self._stopping = stopping
        self._best_pace = float("inf")
        self._failures = 0
        self._failures_alone: Counter[str] = Counter()
        self.answered = self.halved = self.failed = self.left = 0
        self.given_up = False

    def ask(self, read: Read, questions: Iterable[Question], *, until: float) -> Iterator[Answered | Unanswered]:
        """Answers as they come, not in order. After the time `until` (of `clock`) no further question is begun.

        What was not begun is simply left out: it is still missing, and asked for in the next cycle.
        """
        waiting = deque(questions)
        self._failures, self.left, self.given_up = 0, 0, False
        self._failures_alone.clear()
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="usage") as pool:
            running: dict[Future[tuple[Answered, float]], Question] = {}
            while waiting or running:
                while waiting and len(running) < self._at_once and self._may_begin(until):
                    question = self._without_blamed(waiting.popleft())
                    if question.namespaces:
                        running[pool.submit(self._timed, read, question)] = question
                if not running:
                    break
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    outcome = self._judge(running.pop(future), future, waiting)
                    if outcome is not None:
                        yield outcome
        self.left = len(waiting)

    def _may_begin(self, until: float) -> bool:
        return self._clock() < until and not self._stopping()

    def _without_blamed(self, question: Question) -> Question:
        return question.without([name for name, count in self._failures_alone.items() if count >= MOST_FAILURES_ALONE])

    def _timed(self, read: Read, question: Question) -> tuple[Answered, float]:
        started = self._clock()
        answered = read(question)
        return answered, self._clock() - started

    def _judge(self, question: Question, future: Future[tuple[Answered, float]], waiting: deque[Question]) -> Answered | Unanswered | None:
        try:
            answered, seconds = future.result()
        except UsageSourceError as error:
            return self._after(_without_frames(error), question, waiting)
        self._failures = 0
        self.answered += 1
        self._rest_after(answered, seconds)
        return answered

    def _after(self, error: UsageSourceError, question: Question, waiting: deque[Question]) -> Unanswered | None:
        self._count_failure(question)
        if isinstance(error, UsageSourceUnreachable) or self._failures >= MOST_FAILURES_IN_A_ROW:
            # Not a question's fault: what waits would fail as well.
            unasked = {name for other in waiting for name in other.namespaces}
            waiting.clear()
            self.given_up = True
            self.failed += 1
            return Unanswered(question, error, unasked=tuple(sorted(unasked.difference(question.namespaces))))
        halves = halve(question) if self._worth_halving(error, question) else None
        if halves is None:
            self.failed += 1
            return Unanswered(question, error)
        logger.info("asking for half of %d namespaces, %d slots: %s", len(question.namespaces), question.span.slots, error)
        self.halved += 1
        waiting.extendleft(reversed(halves))
        return None

    def _count_failure(self, question: Question) -> None:
        """A namespace that fails alone again is to blame itself, and not the server."""
        if len(question.namespaces) == 1:
            (name,) = question.namespaces
            self._failures_alone[name] += 1
            self._failures += self._failures_alone[name] == 1
        else:
            self._failures += 1

    def _worth_halving(self, error: UsageSourceError, question: Question) -> bool:
        if len(question.namespaces) > 1:
            return True
        too_much = isinstance(error, UsageSourceOverloaded | UsageSourceTimeout)
        return too_much and self._failures_alone[question.namespaces[0]] < MOST_FAILURES_ALONE

    def _rest_after(self, answered: Answered, seconds: float) -> None:
        if answered.values < VALUES_WORTH_TIMING:
            return
        pace = seconds / answered.values
        self._best_pace = min(self._best_pace, pace)
        if pace > SLOW_FACTOR * self._best_pace and not self._stopping():
            self._sleep(min(seconds, LONGEST_REST_SECONDS))


def _without_frames(error: UsageSourceError) -> UsageSourceError:
    """The error without where it came from: those frames would keep an answer of hundreds of megabytes alive as long as the error."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
