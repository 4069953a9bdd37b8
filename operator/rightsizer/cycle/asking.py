"""Asks the usage source, few questions at a time, and asks for less where that is too much. Knows nothing of histories or workloads.

A question that fails is halved until the namespace that is to blame stands alone, so that one bad namespace costs the others nothing.
A server that is away, or fails again and again, is left in peace until the next cycle.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from rightsizer.cycle.questions import Question, halve
from rightsizer.errors import UsageSourceError, UsageSourceOverloaded, UsageSourceTimeout, UsageSourceUnreachable
from rightsizer.history import UsageBatch
from rightsizer.ports import OomSeries

logger = logging.getLogger(__name__)

MOST_FAILURES_IN_A_ROW = 8
"""Enough to halve from a thousand namespaces down to the one that is to blame, and few enough not to pester a sick server."""

SLOW_FACTOR = 4.0
"""An answer that took so many times longer per value than the best one shows a server with other things to do."""

LONGEST_REST_SECONDS = 10.0
VALUES_WORTH_TIMING = 20_000

@dataclass(frozen=True, slots=True)
class Answered:
    """A question with what answers it."""

    question: Question
    batches: Sequence[UsageBatch]
    oom_kills: Sequence[OomSeries]

    @property
    def values(self) -> int:
        """How many values came, gaps included."""
        return sum(batch.values.size for batch in self.batches)


Read = Callable[[Question], Answered]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A question that could not be answered now."""

    question: Question
    error: UsageSourceError


class Asking:
    """A pool of `at_once` askers. `clock` counts seconds."""

    def __init__(
        self, *, at_once: int, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._at_once = at_once
        self._clock = clock
        self._sleep = sleep
        self._best_pace = float("inf")
        self._failures = 0

    def ask(self, read: Read, questions: Iterable[Question], *, until: float) -> Iterator[Answered | Unanswered]:
        """Answers as they come, not in order. After the time `until` (of `clock`) no further question is begun.

        What was not begun is simply left out: it is still missing, and asked for in the next cycle.
        """
        waiting = deque(questions)
        self._failures = 0
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="usage") as pool:
            running: dict[Future[tuple[Answered, float]], Question] = {}
            while waiting or running:
                while waiting and len(running) < self._at_once and self._clock() < until:
                    question = waiting.popleft()
                    running[pool.submit(self._timed, read, question)] = question
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    outcome = self._judge(running.pop(future), future, waiting)
                    if outcome is not None:
                        yield outcome

    def _timed(self, read: Read, question: Question) -> tuple[Answered, float]:
        started = self._clock()
        answered = read(question)
        return answered, self._clock() - started

    def _judge(
        self, question: Question, future: Future[tuple[Answered, float]], waiting: deque[Question]
    ) -> Answered | Unanswered | None:
        try:
            answered, seconds = future.result()
        except UsageSourceError as error:
            return self._after(error, question, waiting)
        self._failures = 0
        self._rest_after(answered, seconds)
        return answered

    def _after(self, error: UsageSourceError, question: Question, waiting: deque[Question]) -> Unanswered | None:
        self._failures += 1
        if isinstance(error, UsageSourceUnreachable) or self._failures >= MOST_FAILURES_IN_A_ROW:
            # Not a question's fault: what waits would fail as well.
            unasked = {name for other in waiting for name in other.namespaces}
            waiting.clear()
            return Unanswered(replace(question, namespaces=tuple(sorted(unasked.union(question.namespaces)))), error)
        too_much = isinstance(error, UsageSourceOverloaded | UsageSourceTimeout)
        halves = halve(question) if too_much or len(question.namespaces) > 1 else None
        if halves is None:
            return Unanswered(question, error)
        logger.info("asking for half of %d namespaces, %d slots: %s", len(question.namespaces), question.span.slots, error)
        waiting.extendleft(reversed(halves))
        return None

    def _rest_after(self, answered: Answered, seconds: float) -> None:
        if answered.values < VALUES_WORTH_TIMING:
            return
        pace = seconds / answered.values
        self._best_pace = min(self._best_pace, pace)
        if pace > SLOW_FACTOR * self._best_pace:
            self._sleep(min(seconds, LONGEST_REST_SECONDS))
