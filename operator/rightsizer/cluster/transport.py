"""One request to the API server, with its time limit, its bounded retries and its error.

Knows HTTP, but neither how a connection is made nor what the objects mean. What may be sent again is the caller's to say: every
write here is idempotent but the creation of an event.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from rightsizer.cluster.failure import failure_of
from rightsizer.errors import ClusterError, ClusterUnreachable
from rightsizer.stopping import Stopping

OnRequest = Callable[[str, str, int, float], None]
"""Called after each attempt with verb, kind of object (`deployments`, `pods`), HTTP status (0: no answer) and seconds."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `verb` is the word that RBAC uses; `target` the plural, with `/status` where that is written."""

    method: str
    verb: str
    target: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    content_type: str = "application/json"
    accept: str = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `retry_after_seconds` is None where the server did not name a time."""

    status: int
    content: bytes
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one call. All times in seconds.

    A call takes at most `attempts` times connect + read, plus the pauses between: the first of `first_pause`, doubling up to
    `longest_pause`, each with a random part; a `Retry-After` of the server is obeyed up to `longest_retry_after`.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    attempts: int = 4
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 8.0
    longest_retry_after_seconds: float = 15.0

    def pause(self, attempt: int, *, retry_after_seconds: float | None, share: float) -> float:
        """Seconds to wait after the attempt (counted from 1). `share` in 0..1 is the random part.

        Half of the pause is fixed and half is random, so that many clients do not come back at the same moment.
        """
        if retry_after_seconds is not None:
            return min(retry_after_seconds, self.longest_retry_after_seconds) + share * self.first_pause_seconds
        whole = min(self.first_pause_seconds * 2.0 ** (attempt - 1), self.longest_pause_seconds)
        return whole * (0.5 + 0.5 * share)


class Wire(Protocol):
    """A connection to one API server. Raises ClusterUnreachable where there is no answer at all."""

    def send(self, request: Request, *, connect_seconds: float, read_seconds: float) -> Answer: ...

    def close(self) -> None: ...


def ignore_request(verb: str, target: str, status: int, seconds: float) -> None:
    """The callback of those who do not count."""


class Transport:
    """Sends requests over a wire, again where that can help, and answers the JSON or raises a ClusterError.

    When `stopping` is set, no further request is sent, and every call raises Stopped.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        limits: Limits | None = None,
        on_request: OnRequest = ignore_request,
        stopping: Stopping | None = None,
        sleep: Callable[[float], object] | None = None,
        share: Callable[[], float] = random.random,
    ) -> None:
        self._wire = wire
        self._limits = limits or Limits()
        self._on_request = on_request
        self._stopping = stopping or Stopping()
        self._sleep = sleep or self._stopping.wait
        self._share = share

    def call(self, request: Request) -> dict[str, Any]:
        """The answer's JSON object, after retries for connection trouble, 429 and 5xx. Raises ClusterError."""
        attempt = 1
        while True:
            try:
                return self._attempt(request, read_seconds=self._limits.read_seconds)
            except _Again as again:
                if attempt >= self._limits.attempts:
                    raise again.failure from None
                self._sleep(self._limits.pause(attempt, retry_after_seconds=again.retry_after_seconds, share=self._share()))
            attempt += 1

    def call_once(self, request: Request, *, read_seconds: float) -> dict[str, Any]:
        """The answer's JSON object from a single attempt, for what must not be sent twice. Raises ClusterError."""
        try:
            return self._attempt(request, read_seconds=read_seconds)
        except _Again as again:
            raise again.failure from None

    def close(self) -> None:
        self._wire.close()

    def _attempt(self, request: Request, *, read_seconds: float) -> dict[str, Any]:
        answer = self._send(request, read_seconds=read_seconds)
        if 200 <= answer.status < 300:
            return _decoded(request, answer)
        failure = failure_of(answer.status, answer.content, action=f"{request.verb} {request.path}", target=request.target)
        if failure.passing:
            raise _Again(failure.error, answer.retry_after_seconds)
        raise failure.error

    def _send(self, request: Request, *, read_seconds: float) -> Answer:
        self._stopping.check()
        status = 0
        started = time.perf_counter()
        try:
            answer = self._wire.send(request, connect_seconds=self._limits.connect_seconds, read_seconds=read_seconds)
            status = answer.status
        except ClusterUnreachable as error:
            # What went wrong after the order to stop may have been cut.
            self._stopping.check()
            raise _Again(error, None) from None
        finally:
            self._on_request(request.verb, request.target, status, time.perf_counter() - started)
        return answer


class _Again(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, failure: ClusterError, retry_after_seconds: float | None) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.retry_after_seconds = retry_after_seconds


def _decoded(request: Request, answer: Answer) -> dict[str, Any]:
    # A proxy between us and the server may answer 200 with a page of its own while the server restarts.
    try:
        decoded = _loaded(answer.content)
    except orjson.JSONDecodeError as error:
        raise _Again(ClusterUnreachable(f"{request.verb} {request.path}: the answer is no JSON ({error})"), None) from None
    if not isinstance(decoded, dict):
        raise _Again(ClusterUnreachable(f"{request.verb} {request.path}: the answer is no JSON object"), None)
    return decoded


def _loaded(content: bytes) -> Any:
    # JSON has no cycles, yet the collector would walk the growing tree again and again: three quarters of the time that a page takes.
    collecting = gc.isenabled()
    if collecting:
        # Only who found it enabled: else, of two threads, one could disable it after the other enabled it again, for good.
        gc.disable()
    try:
        return orjson.loads(content)
    finally:
        if collecting:
            gc.enable()
