"""Writes that do not depend on each other, a few at a time, while the cycle looks at the next workload. Knows nothing of what is written.

Most of a write is waiting for the API server, which spends several times the processor time of ours on it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

Outcome = TypeVar("Outcome")


class Writing:
    """Use it in a `with`: at its end all is written, or what has not begun is given up where an exception ended it.

    With `at_once` 1 each is written at its place, by the thread that asks for it.
    """

    def __init__(self, *, at_once: int) -> None:
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="writes") if at_once > 1 else None

    def later(self, write: Callable[[], Outcome]) -> Future[Outcome]:
        """The outcome of `write`, or its exception; without other threads, the exception is raised here."""
        return self._pool.submit(write) if self._pool is not None else done(write())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=kind is not None)


def handed_on(inner: Future[Outcome], outer: Future[Outcome]) -> None:
    """What becomes of `inner` becomes of `outer`."""

    def pass_on(ended: Future[Outcome]) -> None:
        if ended.cancelled():
            outer.cancel()
        elif (error := ended.exception()) is not None:
            outer.set_exception(error)
        else:
            outer.set_result(ended.result())

    inner.add_done_callback(pass_on)


def done(outcome: Outcome) -> Future[Outcome]:
    """What needs no more doing."""
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future
