"""One question to the Prometheus API and its answer, within a time limit: connection, secrets, retries, bounds, and what went wrong.

It does not know what is asked for. Every trouble leaves as one of the UsageSourceErrors, with words for the person who has to act.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import requests
import urllib3
from prometheus_api_client import PrometheusConnect
from urllib3.exceptions import HTTPError as TransportError
from urllib3.exceptions import InsecureRequestWarning, ReadTimeoutError

from rightsizer.errors import (
    UsageAnswerInvalid,
    UsageNotRaw,
    UsageSourceError,
    UsageSourceOverloaded,
    UsageSourceRefused,
    UsageSourceTimeout,
    UsageSourceUnreachable,
)
from rightsizer.prometheus.adapter import StoppableAdapter, arriving
from rightsizer.prometheus.answer import Answer, Body, Complaint, complaint, decode, is_html
from rightsizer.prometheus.endpoint import Authentication, Endpoint
from rightsizer.stopping import Stopping

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.5
# A server that asks for more patience than this is better asked again in the next cycle.
LONGEST_PAUSE_SECONDS = 10.0
# The server should give up, and say so, before we stop listening.
SERVER_SHARE_OF_TIME = 0.9

LATER = frozenset({429, 502, 503})
# Query limits as Prometheus, Mimir, Thanos and VictoriaMetrics put them.
ASK_FOR_LESS = (
    "too many samples",
    "exceeded maximum resolution",
    "err-mimir-max-",
    "-search.max",
    "exceeded series limit",
    "exceeded chunks limit",
    "exceeded bytes limit",
)

# Each server reads its own and passes over the others. Without the first two, Thanos and a cluster of VictoriaMetrics answer with what the
# reachable stores hold and call it a success: half of the usage would be taken for the whole. Without `nocache`, VictoriaMetrics
# answers a question about the last 30 s for an earlier time, and a repeated one from its cache, without what came late.
WHOLE_AND_FRESH = {"partial_response": "false", "deny_partial_response": "1", "nocache": "1"}
# What Thanos says, some of its versions as an error, where no store reaches as far back as the question: there is nothing.
NOTHING_THERE = "No StoreAPIs matched for this query"
_LET_IN = ": is a token, or a username with its password, missing or wrong?"


Result = TypeVar("Result")


class RequestObserver(Protocol):
    """Told of each request when it has ended, well or not: what was asked for, how long it took, how many bytes came back."""

    def __call__(self, kind: str, *, seconds: float, size_bytes: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[Result]):
    """A question whose answer is read as it comes: what is sent, the type that the answer must have, and what makes a result of its pieces.

    `read` is called anew for each try, and raises UsageSourceError where the pieces are not what they should be.
    """

    path: str
    body: bytes
    headers: Mapping[str, str]
    content_type: str
    read: Callable[[Iterator[bytes]], Result]


class Line(Protocol):
    """Another way to the server than HTTP from here. Each call may raise UsageSourceError."""

    def post(
        self, path: str, form: Mapping[str, str], *, headers: Mapping[str, str], timeout_seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the answer to a form. It may give up after `timeout_seconds` without a byte."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: Body


@dataclass(frozen=True, slots=True)
class _Trouble:
    error: UsageSourceError
    retry: bool = False
    pause_seconds: float | None = None


class Connection:
    """The way to one endpoint, by `line` where one is given.

    When `stopping` is set, no further question is sent, and every call raises Stopped; where it cuts, also what is under way.
    `clock` counts seconds and need not know the date; `jitter` gives numbers in [0, 1).
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        on_request: RequestObserver | None = None,
        line: Line | None = None,
        stopping: Stopping | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._endpoint = endpoint
        self._on_request = on_request
        self._line = line
        self._clock = clock
        self._stopping = stopping or Stopping()
        self._sleep = sleep or self._stopping.wait
        self._jitter = jitter
        self._warned: set[str] = set()
        self._session = requests.Session()
        if not endpoint.verify:
            # Two lines of urllib3 for each request; once is enough for what was asked for.
            urllib3.disable_warnings(InsecureRequestWarning)
            logger.info("the certificate of %s is not checked", endpoint.url)
        # Retries are counted here and not in the adapter, which knows neither our time limit nor the texts of the API.
        self._prometheus = PrometheusConnect(
            url=endpoint.url.rstrip("/"),
            session=self._session,
            auth=Authentication(endpoint),
            method="POST",
        )
        self._session.mount(self._prometheus.url, StoppableAdapter(self._stopping, retries=urllib3.Retry(0, read=False)))
        # Packing an answer costs the server more than the bytes cost a cluster's network; `headers` may ask for it.
        self._session.headers.update({"Accept-Encoding": "identity", **endpoint.headers})

    def close(self) -> None:
        self._prometheus.close()
        if self._line is not None:
            self._line.close()

    def ask(self, path: str, form: Mapping[str, str], *, kind: str) -> Answer:
        """The answer to a POST of `form`. Raises UsageSourceError, at the latest shortly after the time limit."""
        answer = self._patiently(lambda deadline: self._attempt(path, form, kind=kind, deadline=deadline))
        self._log_warnings(answer)
        return answer

    def stream(self, reading: Reading[Result], *, kind: str) -> Result:
        """What `reading` makes of the answer to its POST. Raises UsageSourceError as `ask` does, and UsageNotRaw for another type."""
        if self._line is not None:
            raise UsageNotRaw("nothing but forms can be sent by this way")
        return self._patiently(lambda deadline: self._attempt_reading(reading, kind=kind, deadline=deadline))

    def _patiently(self, attempting: Callable[[float], Result | _Trouble]) -> Result:
        deadline = self._clock() + self._endpoint.timeout_seconds
        attempt = 0
        while isinstance(outcome := self._unless_stopped(attempting, deadline), _Trouble):
            pause = self._pause_seconds(outcome, attempt)
            if not outcome.retry or attempt == self._endpoint.retries or self._clock() + pause >= deadline:
                raise outcome.error
            logger.info("asking Prometheus again in %.1f s: %s", pause, outcome.error)
            self._sleep(pause)
            attempt += 1
        return outcome

    def _unless_stopped(self, attempting: Callable[[float], Result | _Trouble], deadline: float) -> Result | _Trouble:
        self._stopping.check()
        try:
            outcome = attempting(deadline)
        except UsageSourceError:
            # What went wrong after the order to stop may have been cut.
            self._stopping.check()
            raise
        if isinstance(outcome, _Trouble):
            self._stopping.check()
        return outcome

    def _attempt(self, path: str, form: Mapping[str, str], *, kind: str, deadline: float) -> Answer | _Trouble:
        def judge(response: requests.Response, pieces: Iterator[bytes]) -> Answer | _Trouble:
            return _judge(_reply(response, pieces), url=self._endpoint.url)

        if self._line is not None:
            return self._attempt_by(self._line, path, form, kind=kind, deadline=deadline)
        return self._exchange(path, form, {}, judge, kind=kind, deadline=deadline)

    def _attempt_by(self, line: Line, path: str, form: Mapping[str, str], *, kind: str, deadline: float) -> Answer | _Trouble:
        started, remaining = self._clock(), max(deadline - self._clock(), 0.1)
        size = 0
        try:
            status, headers, body = line.post(path, _whole(form, remaining), headers=self._endpoint.headers, timeout_seconds=remaining)
            size = len(body)
            self._check_size(size, status)
            return _judge(_Reply(status, headers, body), url=self._endpoint.url)
        except UsageSourceUnreachable as error:
            return _Trouble(error, retry=True)
        finally:
            if self._on_request is not None:
                self._on_request(kind, seconds=self._clock() - started, size_bytes=size)

    def _attempt_reading(self, reading: Reading[Result], *, kind: str, deadline: float) -> Result | _Trouble:
        url = self._endpoint.url

        def judge(response: requests.Response, pieces: Iterator[bytes]) -> Result | _Trouble:
            if response.status_code != 200:
                reply = _reply(response, pieces)
                return _refusal(reply, _complaint(reply, url=url), url=url)
            content_type = response.headers.get("Content-Type", "no type")
            if not content_type.startswith(reading.content_type):
                raise UsageNotRaw(f"{url}{reading.path} answers {content_type}, not {reading.content_type}")
            try:
                return reading.read(pieces)
            except UsageAnswerInvalid as error:
                return _Trouble(UsageAnswerInvalid(f"{url}: {error}"))

        return self._exchange(reading.path, reading.body, reading.headers, judge, kind=kind, deadline=deadline)

    def _exchange(
        self,
        path: str,
        content: Mapping[str, str] | bytes,
        headers: Mapping[str, str],
        judge: Callable[[requests.Response, Iterator[bytes]], Result | _Trouble],
        *,
        kind: str,
        deadline: float,
    ) -> Result | _Trouble:
        """Sends one request and lets its answer be judged while it comes; what breaks on the way may be tried again."""
        started, remaining = self._clock(), max(deadline - self._clock(), 0.1)
        framed = isinstance(content, bytes)
        if not isinstance(content, bytes):
            content = _whole(content, remaining)
        size = 0

        def pieces(response: requests.Response) -> Iterator[bytes]:
            nonlocal size
            for piece in self._pieces(response, deadline=deadline, framed=framed):
                size += len(piece)
                yield piece

        try:
            with self._session.post(
                f"{self._prometheus.url}{path}",
                data=content,
                headers=headers,
                auth=self._prometheus.auth,
                timeout=(min(CONNECT_SECONDS, remaining), remaining),
                verify=self._endpoint.trust,
                cert=self._endpoint.identity,
                allow_redirects=False,
                stream=True,
            ) as response:
                return judge(response, pieces(response))
        except (requests.RequestException, TransportError, OSError) as error:
            named = self._named(error)
            if isinstance(named, UsageSourceUnreachable):
                return _Trouble(named, retry=True)
            raise named from error
        finally:
            if self._on_request is not None:
                self._on_request(kind, seconds=self._clock() - started, size_bytes=size)

    def _pieces(self, response: requests.Response, *, deadline: float, framed: bool) -> Iterator[bytes]:
        """The body in pieces as they come, so that neither a huge nor a dripping answer holds us."""
        size = 0
        for piece in arriving(response.raw, framed=framed):
            size += len(piece)
            self._check_size(size, response.status_code)
            yield piece
            if self._clock() > deadline:
                raise self._timed_out()

    def _check_size(self, size: int, status: int) -> None:
        if size > self._endpoint.max_answer_bytes:
            raise UsageSourceOverloaded(status, f"the answer is longer than {self._endpoint.max_answer_bytes} bytes")

    def _named(self, error: Exception) -> UsageSourceError:
        if isinstance(error, requests.exceptions.SSLError):
            return UsageSourceUnreachable(f"{self._endpoint.url}: {_tls_words(self._endpoint, _innermost(error))}")
        if isinstance(error, requests.ConnectTimeout):
            return UsageSourceUnreachable(f"{self._endpoint.url}: no connection within the time limit")
        if isinstance(error, requests.ReadTimeout | ReadTimeoutError):
            return self._timed_out()
        if isinstance(error, requests.ConnectionError | TransportError | OSError) and not isinstance(error, ValueError):
            return UsageSourceUnreachable(f"{self._endpoint.url}: {_innermost(error)}")
        # Without its words: they repeat the header or URL that is wrong, which may be a secret.
        return UsageSourceError(f"{self._endpoint.url}: the request could not be made ({type(error).__name__})")

    def _timed_out(self) -> UsageSourceTimeout:
        return UsageSourceTimeout(f"{self._endpoint.url}: no full answer within {self._endpoint.timeout_seconds:g} s")

    def _pause_seconds(self, trouble: _Trouble, attempt: int) -> float:
        if trouble.pause_seconds is not None:
            return trouble.pause_seconds
        return min(FIRST_PAUSE_SECONDS * 2.0**attempt, LONGEST_PAUSE_SECONDS) * (0.5 + self._jitter())

    def _log_warnings(self, answer: Answer) -> None:
        for text in answer.warnings:
            if text not in self._warned:
                self._warned.add(text)
                logger.warning("Prometheus warns: %s", text)


def _whole(form: Mapping[str, str], remaining: float) -> Mapping[str, str]:
    return {**form, **WHOLE_AND_FRESH, "timeout": f"{remaining * SERVER_SHARE_OF_TIME:.3f}"}


def _reply(response: requests.Response, pieces: Iterator[bytes]) -> _Reply:
    body = bytearray()
    for piece in pieces:
        body += piece
    return _Reply(response.status_code, response.headers, body)


def _judge(reply: _Reply, *, url: str) -> Answer | _Trouble:
    if reply.status != 200:
        words = _complaint(reply, url=url)
        return Answer(iter(()), (NOTHING_THERE,)) if words.message.endswith(NOTHING_THERE) else _refusal(reply, words, url=url)
    try:
        outcome = decode(reply.body)
    except UsageAnswerInvalid as error:
        return _Trouble(UsageAnswerInvalid(f"{url}: {error}"))
    return outcome if isinstance(outcome, Answer) else _refusal(reply, outcome, url=url)


def _complaint(reply: _Reply, *, url: str) -> Complaint:
    return complaint(reply.body) or Complaint("", _words(reply, url=url))


def _refusal(reply: _Reply, words: Complaint, *, url: str) -> _Trouble:
    # Prometheus says 503 also where the question itself took too long: to ask the same again would only do harm.
    # 429 is about other questions too, also where VictoriaMetrics names a -search.max flag (of requests at a time).
    if words.error_type == "timeout" or (reply.status != 429 and any(text in words.message for text in ASK_FOR_LESS)):
        return _Trouble(UsageSourceOverloaded(reply.status, str(words), url=url))
    if reply.status == 504:
        return _Trouble(UsageSourceTimeout(f"{url}: HTTP 504: {words}"))
    kind = UsageSourceOverloaded if reply.status in (429, 503) else UsageSourceRefused
    pause = _retry_after(reply.headers)
    patient = pause is None or pause <= LONGEST_PAUSE_SECONDS
    error = kind(reply.status, f"{words}{_LET_IN if reply.status == 401 else ''}", url=url)
    return _Trouble(error, retry=reply.status in LATER and patient, pause_seconds=pause)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """In seconds; None where the header is absent or names a date."""
    text = headers.get("Retry-After", "").strip()
    return float(text) if text.isdecimal() else None


def _words(reply: _Reply, *, url: str) -> str:
    if 300 <= reply.status < 400:
        return f"redirected to {reply.headers.get('Location', 'nowhere')}, which is not followed: name that address if it is the Prometheus"
    if reply.status == 404 and url.rstrip("/").endswith("/api/v1"):
        return "no Prometheus API below it: give the address without /api/v1"
    if is_html(reply.body):
        return "answered HTML, not JSON: is this the Prometheus URL?"
    text = " ".join(reply.body[:300].decode(errors="replace").split()) or "no reason given"
    if reply.status == 404:
        return f"{text}: is this the Prometheus URL, up to, not including, /api/v1?"
    return text


def _tls_words(endpoint: Endpoint, words: str) -> str:
    # What the libraries say where the files do not fit, and where the other side ends the handshake.
    if "NO_CERTIFICATE" in words and endpoint.ca_file is not None:
        return f"the CA file {endpoint.ca_file} holds no certificate (PEM): {words}"
    if any(sign in words for sign in ("KEY_VALUES_MISMATCH", "PEM", "private key")):
        files = f"{endpoint.client_certificate_file} and {endpoint.client_key_file}"
        return f"the client certificate and its key cannot be used (do {files} belong together, the key not encrypted?): {words}"
    if any(sign in words for sign in ("ALERT", "EOF")):
        asked = "does it ask for a client certificate?" if endpoint.identity is None else "does it trust our client certificate?"
        return f"the server ended the TLS connection ({asked}): {words}"
    return f"no trusted TLS connection (is a CA file needed?): {words}"


def _innermost(error: BaseException) -> str:
    """What it all began with ("Connection refused"), without the wrappings of three libraries."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__
