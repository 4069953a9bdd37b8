"""A small HTTP server in the place of a Prometheus, for answers that a real one gives only in trouble.

A test says what is answered, in order; the last answer is repeated. It may also answer by a function, such as `forwarded`, which stands
in front of a real one. Every request is kept, to be looked at afterwards.
"""

from __future__ import annotations

import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlencode

Labels = Mapping[str, str]
Points = Iterable[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in: a form, or a body of another type."""

    path: str
    form: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `delay_seconds`: before the first byte; `piece_seconds`: after each piece of `piece_bytes`.

    `missing_bytes`: promised and not sent. `repeated`: so many times the body, one after the other, of a length that is not told.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    piece_bytes: int | None = None
    piece_seconds: float = 0.0
    missing_bytes: int = 0
    repeated: int = 1


def matrix(*series: tuple[Labels, Points], warnings: Sequence[str] = ()) -> Reply:
    """The answer to a range query, in the compact form that Prometheus writes."""
    result = [{"metric": labels, "values": [[time, value] for time, value in points]} for labels, points in series]
    return success("matrix", result, warnings)


def vector(*samples: tuple[Labels, str], warnings: Sequence[str] = ()) -> Reply:
    return success("vector", [{"metric": labels, "value": [1_700_000_000.123, value]} for labels, value in samples], warnings)


def success(kind: str, result: Any, warnings: Sequence[str] = ()) -> Reply:
    extra = {"warnings": list(warnings)} if warnings else {}
    return as_json({"status": "success", "data": {"resultType": kind, "result": result}, **extra})


def failure(status: int, error_type: str, error: str) -> Reply:
    return as_json({"status": "error", "errorType": error_type, "error": error}, status=status)


def as_json(value: Any, *, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


Answering = Callable[[Asked], Reply]


def forwarded(url: str) -> Answering:
    """What the real Prometheus at this URL answers."""

    def ask(asked: Asked) -> Reply:
        content = asked.body or urlencode(asked.form).encode()
        kept = {name: value for name, value in asked.headers.items() if name.startswith(("Content-Type", "Content-Encoding", "X-"))}
        request = urllib.request.Request(f"{url}{asked.path}", data=content, headers=kept, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Reply(response.status, response.read(), {"Content-Type": response.headers["Content-Type"]})
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.read())

    return ask


RAW_PATH = "/api/v1/read"
NO_RAW_CHUNKS = Reply(404, b"404 page not found\n")


class PrometheusServer:
    """The server, on a free port of 127.0.0.1 while it is entered. With a TLS context it speaks HTTPS.

    Questions for raw chunks are answered by a function or by `reply_raw`; else it has none of them, and does not count the question.
    """

    def __init__(self, *replies: Reply, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self._replies = list(replies)
        self._raw_replies: list[Reply] = []
        self._answering: Answering | None = None
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients hang up on purpose
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._scheme = "http" if tls is None else "https"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def reply(self, *replies: Reply) -> None:
        """From now on, these."""
        self._replies = list(replies)
        self._answering = None

    def reply_raw(self, *replies: Reply) -> None:
        """From now on, these to questions for raw chunks."""
        self._raw_replies = list(replies)

    def answer(self, answering: Answering) -> None:
        """From now on, what this function says to each request. It is called from several threads."""
        self._answering = answering

    def __enter__(self) -> PrometheusServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Content-Type"] == "application/x-www-form-urlencoded":
                    asked = Asked(self.path, dict(parse_qsl(content.decode())), dict(self.headers))
                else:
                    asked = Asked(self.path, {}, dict(self.headers), content)
                # Also where there is no answer, because the real one is away.
                self.close_connection = True
                with suppress(OSError):
                    server._send(self, server._reply_to(asked))

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def _reply_to(self, asked: Asked) -> Reply:
        raw = asked.path.endswith(RAW_PATH)
        if raw and self._answering is None and not self._raw_replies:
            return NO_RAW_CHUNKS
        self.asked.append(asked)
        if self._answering is not None:
            return self._answering(asked)
        replies = self._raw_replies if raw else self._replies
        return replies.pop(0) if len(replies) > 1 else replies[0]

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        self._released.wait(reply.delay_seconds)
        handler.send_response(reply.status)
        for name, value in {**_length(reply), "Connection": "close", **reply.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        for _ in range(reply.repeated - 1):
            handler.wfile.write(reply.body)
        size = reply.piece_bytes or max(len(reply.body), 1)
        for start in range(0, len(reply.body), size):
            handler.wfile.write(reply.body[start : start + size])
            if reply.piece_bytes and self._released.wait(reply.piece_seconds):
                break


def _length(reply: Reply) -> dict[str, str]:
    return {"Content-Length": str(len(reply.body) + reply.missing_bytes)} if reply.repeated == 1 else {}
