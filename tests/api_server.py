"""A small HTTP server in the place of an API server, for answers that a real one gives only in trouble.

A test says what each path answers, in order; the last answer is repeated. Every request is kept, to be looked at afterwards.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `body` is sent as JSON, bytes as they are. `status` 0 closes the connection without a word."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0


Answering = Reply | Callable[[Received], Reply]


def refusal(
    status: int, message: str = "no", *, causes: Sequence[Mapping[str, str]] = (), headers: Mapping[str, str] | None = None
) -> Reply:
    """The Status object that a real API server sends with an error."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status}
    return Reply(status, body | ({"details": {"causes": list(causes)}} if causes else {}), headers or {})


def paged(items: Sequence[Any]) -> Callable[[Received], Reply]:
    """A list that is answered in pages as `limit` and `continue` ask for."""

    def answer(received: Received) -> Reply:
        start, limit = int(received.query.get("continue", "0")), int(received.query["limit"])
        following = str(start + limit) if start + limit < len(items) else ""
        return Reply(body={"metadata": {"continue": following}, "items": list(items[start : start + limit])})

    return answer


class ApiServer:
    """The server on a free port of 127.0.0.1; use it in a `with`. Paths that no test spoke of answer 404."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self._answers: dict[tuple[str, str], list[Answering]] = {}
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def on(self, method: str, path: str, *answers: Answering) -> None:
        """What a path answers, one after the other."""
        self._answers[(method, path)] = list(answers)

    def asked(self, method: str, path: str) -> list[Received]:
        return [received for received in self.received if (received.method, received.path) == (method, path)]

    def kubeconfig(self, folder: Path, *, token: str = "secret") -> str:
        """The path of a new kubeconfig for this server."""
        path = folder / "kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": {"token": token}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "current-context": "fake",
        }
        path.write_text(json.dumps(content))
        return str(path)

    def start(self) -> None:
        """Listen; after a stop again on the same port."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> ApiServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def reply_to(self, received: Received) -> Reply:
        self.received.append(received)
        answers = self._answers.get((received.method, received.path))
        if not answers:
            return refusal(404, f"{received.path} is not known")
        answer = answers[0] if len(answers) == 1 else answers.pop(0)
        return answer if isinstance(answer, Reply) else answer(received)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        return type("BoundHandler", (_Handler,), {"api_server": self})


class _Handler(BaseHTTPRequestHandler):
    """Answers every method alike; bound to its ApiServer by a subclass."""

    api_server: ApiServer

    def do_GET(self) -> None:
        received = self._receive()
        reply = self.api_server.reply_to(received)
        time.sleep(reply.delay_seconds)
        self.close_connection = True
        if reply.status:
            self._send(reply)

    do_PATCH = do_POST = do_DELETE = do_GET

    def _receive(self) -> Received:
        parts = urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        form = self.headers.get("Content-Type") == "application/x-www-form-urlencoded"
        body = dict(parse_qsl(text.decode())) if form else json.loads(text) if text else None
        return Received(self.command, parts.path, dict(parse_qsl(parts.query)), dict(self.headers), body)

    def _send(self, reply: Reply) -> None:
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        # The client may have run out of patience.
        with suppress(ConnectionError):
            self.send_response(reply.status)
            for name, value in ({"Content-Length": str(len(content))} | dict(reply.headers)).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass
